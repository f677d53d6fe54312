/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_WIRE_CODEC_INTERNAL_H
#define PS_COMMON_WIRE_CODEC_INTERNAL_H
/* What codec*.c share: the contexts, and where encoded bytes go first. */
#include "common/wire/codec.h"
#include "common/wire/line_diff.h"

#include <libdeflate.h>
#include <zstd.h>

#define ZSTD_MAGIC_BYTES 4
/* A block comes to at most this. */
#define ZSTD_BLOCK_MAX_BYTES ((size_t)128 << 10)

struct codec {
	struct libdeflate_decompressor *inflate;
	struct libdeflate_compressor *deflate; /* of deflate_level; NULL until needed */
	int deflate_level;
	ZSTD_DCtx *unzstd;
	ZSTD_CCtx *zstd;
	struct buf scratch;

	/* codec_delta.c's: */
	struct line_diff diff;
	struct buf sequences;
	bool takes_sequences; /* the library makes frames out of matches that we found */
};

/* To be called after use of scratch. */
void codec_scratch_done(struct codec *codec);

/* Encodes into scratch, with whatever has been set for the context besides. */
int codec_encode_zstd(struct codec *codec, int level, struct slice in, struct err *err) MUST_CHECK;

/* Whether it is one zstd frame that says its size, which decoding enforces. */
bool codec_zstd_says_size(struct slice in, unsigned long long *size);

size_t codec_times(size_t size, size_t factor);
uint32_t codec_little_endian_32(const char *ptr);

/* Of codec_new and codec_free. */
void codec_delta_init(struct codec *codec);
void codec_delta_fini(struct codec *codec);

#endif
