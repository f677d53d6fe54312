/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_WIRE_CODEC_H
#define PS_COMMON_WIRE_CODEC_H
/*
 * Content encodings of a frame's body, whole buffers at a time, never more than a stated number of
 * bytes out. Contexts are reused, so a codec belongs to one thread. No socket, no clock.
 * Limits are inclusive: a body of exactly limit_bytes passes.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

enum encoding {
	ENCODING_IDENTITY,
	ENCODING_GZIP,
	ENCODING_ZSTD,
	ENCODING_ZSTD_DELTA, /* decodes with its keyframe only */
	ENCODING_UNKNOWN,    /* named by the other side, not known to us */
};

/* The Content-Encoding token ("identity", "gzip", "zstd", "zstd-delta"), and back; empty is
 * identity, and case matters. */
const char *encoding_name(enum encoding encoding);
enum encoding encoding_parse(struct slice name);

struct codec;

struct codec *codec_new(void);
void codec_free(struct codec *codec);

/*
 * Appends the decoded body to `out`; more than `limit_bytes` decoded is CODEC_TOO_LARGE, and no
 * more than about that is ever allocated, whatever the input claims. gzip may have several members,
 * zstd several frames; anything behind the last is CODEC_CORRUPT. A delta is CODEC_UNSUPPORTED
 * here. `out` keeps its length unless CODEC_OK is returned.
 */
enum codec_status {
	CODEC_OK,
	CODEC_TOO_LARGE,
	CODEC_CORRUPT,
	CODEC_UNSUPPORTED,
};
enum codec_status codec_decode(struct codec *codec, enum encoding encoding, struct slice in,
	size_t limit_bytes, struct buf *out) MUST_CHECK;

/*
 * Whether `in` decodes to at most `limit_bytes`, at the least cost: deflate expands at most 1032
 * times, so that small bodies need no look; only where the bound could be passed is it decoded. A
 * corrupt body that stays below fits (the receiver judges it), one of unknown encoding does not. A
 * delta goes by the size that it states, which decoding enforces; one that states none does not
 * fit.
 */
bool codec_fits(struct codec *codec, enum encoding encoding, struct slice in, size_t limit_bytes);

/*
 * Appends `in` encoded. Identity copies. Levels are the library's (gzip 6, zstd 3 are usual); one
 * that the library lacks is an error, as is a delta here.
 */
int codec_encode(struct codec *codec, enum encoding encoding, int level, struct slice in,
	struct buf *out, struct err *err) MUST_CHECK;

/*
 * Appends `in` as one zstd frame that refers to `prefix`, with content size and checksum. Both are
 * only read, and not kept; where they overlap in memory the library finds less.
 */
int codec_encode_delta(struct codec *codec, struct slice prefix, int level, struct slice in,
	struct buf *out, struct err *err) MUST_CHECK;

/*
 * The way back: appends what `in` was, as codec_decode does. Another prefix than it was made with
 * is CODEC_CORRUPT, by the checksum; so is a frame without checksum or content size, with a
 * dictionary's id, more than one frame, or anything behind it.
 */
enum codec_status codec_decode_delta(struct codec *codec, struct slice prefix, struct slice in,
	size_t limit_bytes, struct buf *out) MUST_CHECK;

#endif
