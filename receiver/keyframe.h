/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_KEYFRAME_H
#define PS_RECEIVER_KEYFRAME_H
/*
 * One keyframe: the exposition that frames of its target refer to, held compressed, and decoded too
 * as long as its owner can afford it; shared by counting. It refuses what does not decode within a
 * limit. Loop thread.
 */
#include "common/wire/codec.h"

struct keyframe;

/*
 * Takes a copy of the encoded exposition; it is expanded at first. NULL where it does not decode to
 * at most `limit_bytes`, with the reason in `status`.
 */
struct keyframe *keyframe_new(struct codec *codec, enum encoding encoding, struct slice body,
	size_t limit_bytes, enum codec_status *status) MUST_CHECK;

struct keyframe *keyframe_ref(struct keyframe *keyframe);
void keyframe_unref(struct keyframe *keyframe); /* NULL is allowed */

/* What holding it costs, about, and how much more while it is expanded (0: it need never be). */
size_t keyframe_encoded_bytes(const struct keyframe *keyframe);
size_t keyframe_expanded_bytes(const struct keyframe *keyframe);

/* Holds it decoded as well, so that reading it costs nothing; and no more. */
void keyframe_expand(struct keyframe *keyframe, struct codec *codec);
void keyframe_shrink(struct keyframe *keyframe);

/* The exposition: its own or in `scratch`, which it appends to; valid until either changes. */
enum codec_status keyframe_read(const struct keyframe *keyframe, struct codec *codec,
	struct buf *scratch, struct slice *exposition) MUST_CHECK;

#endif
