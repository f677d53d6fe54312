/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_KEYFRAME_H
#define PS_RECEIVER_KEYFRAME_H
/*
 * One keyframe: the exposition that frames of its target refer to, held compressed, shared by
 * counting. Immutable. It refuses what does not decode within a limit. Loop thread.
 */
#include "common/wire/codec.h"

struct keyframe;

/*
 * Takes a copy of the encoded exposition, in the form that costs least to hold and to decode. NULL
 * where it does not decode to at most `limit_bytes`, with the reason in `status`.
 */
struct keyframe *keyframe_new(struct codec *codec, enum encoding encoding, struct slice body,
	size_t limit_bytes, enum codec_status *status) MUST_CHECK;

struct keyframe *keyframe_ref(struct keyframe *keyframe);
void keyframe_unref(struct keyframe *keyframe); /* NULL is allowed */

/* What holding it costs, about. */
size_t keyframe_bytes(const struct keyframe *keyframe);

/* Appends the exposition. */
enum codec_status keyframe_decode(
	const struct keyframe *keyframe, struct codec *codec, struct buf *out) MUST_CHECK;

#endif
