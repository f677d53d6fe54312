/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zlib rather than libdeflate, which takes whole buffers only: pieces would be members of their
 * own, and there are clients (curl is one) that read but the first. Running out of memory ends the
 * process, as everywhere.
 */
#include "common/wire/stream_encoder.h"

#include <assert.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define GZIP_LEVEL      1
#define GZIP_WINDOW     (15 + 16) /* 16: gzip, not zlib */
#define GZIP_MEMORY     8
#define ZSTD_LEVEL      1
#define ZSTD_WINDOW_LOG 18 /* 256 kB: the same families of a few hundred targets */
#define ROOM_BYTES      ((size_t)16 << 10)

struct stream_encoder {
	z_stream gzip;
	ZSTD_CCtx *zstd; /* NULL: gzip */
};

struct stream_encoder *stream_encoder_new(enum encoding encoding)
{
	struct stream_encoder *encoder = xcalloc(1, sizeof(*encoder));

	assert(encoding == ENCODING_GZIP || encoding == ENCODING_ZSTD);
	if (encoding == ENCODING_GZIP) {
		if (deflateInit2(&encoder->gzip, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
			    Z_DEFAULT_STRATEGY) != Z_OK)
			abort();
		return encoder;
	}
	encoder->zstd = ZSTD_createCCtx();
	if (encoder->zstd == NULL)
		abort();
	ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
	ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_windowLog, ZSTD_WINDOW_LOG);
	return encoder;
}

static void add_gzip(z_stream *gzip, struct slice in, bool is_last, struct buf *out)
{
	int flush = is_last ? Z_FINISH : Z_NO_FLUSH;

	gzip->next_in = (Bytef *)(uintptr_t)in.ptr;
	gzip->avail_in = (uInt)in.len;
	do {
		gzip->next_out = (Bytef *)buf_reserve(out, ROOM_BYTES);
		gzip->avail_out = (uInt)ROOM_BYTES;
		(void)deflate(gzip, flush); /* it fails only where nothing is to be done */
		out->len += ROOM_BYTES - gzip->avail_out;
	} while (gzip->avail_out == 0);
}

static void add_zstd(ZSTD_CCtx *zstd, struct slice in, bool is_last, struct buf *out)
{
	ZSTD_EndDirective how = is_last ? ZSTD_e_end : ZSTD_e_continue;
	ZSTD_inBuffer from = {in.ptr, in.len, 0};
	size_t left;

	do {
		ZSTD_outBuffer to = {buf_reserve(out, ROOM_BYTES), ROOM_BYTES, 0};

		left = ZSTD_compressStream2(zstd, &to, &from, how);
		if (ZSTD_isError(left))
			abort(); /* memory is all that it can lack */
		out->len += to.pos;
	} while (from.pos < from.size || (is_last && left > 0));
}

void stream_encoder_add(
	struct stream_encoder *encoder, struct slice in, bool is_last, struct buf *out)
{
	assert(in.len <= UINT32_MAX);
	if (encoder->zstd == NULL)
		add_gzip(&encoder->gzip, in, is_last, out);
	else
		add_zstd(encoder->zstd, in, is_last, out);
}

void stream_encoder_free(struct stream_encoder *encoder)
{
	if (encoder == NULL)
		return;
	if (encoder->zstd == NULL)
		deflateEnd(&encoder->gzip);
	else
		ZSTD_freeCCtx(encoder->zstd);
	free(encoder);
}
