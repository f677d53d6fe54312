/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding is one shot into a guessed size, then again into twice as much where that was too
 * small. Since the whole output is at hand neither library keeps a window of its own, so that the
 * only memory a hostile input can ask for is the output, which the limit bounds. The guess is what
 * the input claims (gzip's ISIZE, zstd's content size), believed only as far as limit and format
 * allow; a lie costs another round.
 */
#include "common/wire/codec_internal.h"

#include <zstd_errors.h>

/* Deflate's best: 258 bytes for two bits. */
#define DEFLATE_MAX_EXPANSION 1032
#define SMALLEST_ROOM_BYTES   4096
/* Scratch above this is returned after use, so that one large body does not stay for ever. */
#define SCRATCH_KEEP_BYTES    (1024 * 1024)
#define DEFLATE_LEVEL_MIN     1
#define DEFLATE_LEVEL_MAX     12
#define GZIP_ISIZE_BYTES      4
#define GZIP_MEMBER_MIN_BYTES 18
static const char *const names[] = {
	[ENCODING_IDENTITY] = "identity",
	[ENCODING_GZIP] = "gzip",
	[ENCODING_ZSTD] = "zstd",
	[ENCODING_ZSTD_DELTA] = "zstd-delta",
	[ENCODING_UNKNOWN] = "unknown",
};

/* What one attempt at one gzip member or at all of a zstd body came to. */
enum attempt {
	ATTEMPT_OK,
	ATTEMPT_NO_ROOM,
	ATTEMPT_CORRUPT,
};

struct decoding {
	struct codec *codec;
	struct slice in; /* what is still to be decoded */
	size_t limit_bytes;
	struct buf *out;
	size_t start; /* of the body within out */
};

typedef enum attempt (*decode_fn)(struct decoding *decoding, size_t room_bytes);

const char *encoding_name(enum encoding encoding)
{
	return names[encoding];
}

enum encoding encoding_parse(struct slice name)
{
	if (name.len == 0)
		return ENCODING_IDENTITY;
	for (size_t i = 0; i < ENCODING_UNKNOWN; i++)
		if (slice_is(name, names[i]))
			return (enum encoding)i;
	return ENCODING_UNKNOWN;
}

static void *or_abort(void *context)
{
	if (context == NULL)
		abort();
	return context;
}

struct codec *codec_new(void)
{
	struct codec *codec = xcalloc(1, sizeof(*codec));

	codec->inflate = or_abort(libdeflate_alloc_decompressor());
	codec->unzstd = or_abort(ZSTD_createDCtx());
	codec->zstd = or_abort(ZSTD_createCCtx());
	codec_delta_init(codec);
	return codec;
}

void codec_free(struct codec *codec)
{
	if (codec == NULL)
		return;
	libdeflate_free_decompressor(codec->inflate);
	if (codec->deflate != NULL)
		libdeflate_free_compressor(codec->deflate);
	ZSTD_freeDCtx(codec->unzstd);
	ZSTD_freeCCtx(codec->zstd);
	codec_delta_fini(codec);
	buf_free(&codec->scratch);
	free(codec);
}

void codec_scratch_done(struct codec *codec)
{
	if (codec->scratch.capacity > SCRATCH_KEEP_BYTES)
		buf_free(&codec->scratch);
	buf_clear(&codec->scratch);
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t codec_times(size_t size, size_t factor)
{
	return size > SIZE_MAX / factor ? SIZE_MAX : size * factor;
}

static size_t room_left(const struct decoding *decoding)
{
	return decoding->limit_bytes - (decoding->out->len - decoding->start);
}

/* One member; on success it is taken off `in`. */
static enum attempt decode_gzip_member(struct decoding *decoding, size_t room_bytes)
{
	struct buf *out = decoding->out;
	size_t used = 0, made = 0;

	switch (libdeflate_gzip_decompress_ex(decoding->codec->inflate, decoding->in.ptr,
		decoding->in.len, buf_reserve(out, room_bytes), room_bytes, &used, &made)) {
	case LIBDEFLATE_SUCCESS:
		decoding->in.ptr += used;
		decoding->in.len -= used;
		out->len += made;
		return ATTEMPT_OK;
	case LIBDEFLATE_INSUFFICIENT_SPACE:
		return ATTEMPT_NO_ROOM;
	default:
		return ATTEMPT_CORRUPT;
	}
}

/* All frames at once. */
static enum attempt decode_zstd(struct decoding *decoding, size_t room_bytes)
{
	size_t made =
		ZSTD_decompressDCtx(decoding->codec->unzstd, buf_reserve(decoding->out, room_bytes),
			room_bytes, decoding->in.ptr, decoding->in.len);

	if (!ZSTD_isError(made)) {
		decoding->in.len = 0;
		decoding->out->len += made;
		return ATTEMPT_OK;
	}
	return ZSTD_getErrorCode(made) == ZSTD_error_dstSize_tooSmall ? ATTEMPT_NO_ROOM
								      : ATTEMPT_CORRUPT;
}

/* Tries with more room each time, up to the limit. */
static enum codec_status decode_growing(
	struct decoding *decoding, decode_fn decode, size_t guess_bytes)
{
	size_t room = smaller(guess_bytes, room_left(decoding));

	for (;;) {
		switch (decode(decoding, room)) {
		case ATTEMPT_OK:
			return CODEC_OK;
		case ATTEMPT_CORRUPT:
			return CODEC_CORRUPT;
		case ATTEMPT_NO_ROOM:
			break;
		}
		if (room == room_left(decoding))
			return CODEC_TOO_LARGE;
		room = codec_times(room < SMALLEST_ROOM_BYTES ? SMALLEST_ROOM_BYTES : room, 2);
		room = smaller(room, room_left(decoding));
	}
}

uint32_t codec_little_endian_32(const char *ptr)
{
	const unsigned char *at = (const unsigned char *)ptr;

	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
	       (uint32_t)at[3] << 24;
}

static size_t gzip_guess(struct slice in)
{
	if (in.len < GZIP_MEMBER_MIN_BYTES)
		return 0;
	return smaller(codec_times(in.len, DEFLATE_MAX_EXPANSION),
		codec_little_endian_32(in.ptr + in.len - GZIP_ISIZE_BYTES));
}

static enum codec_status decode_all_gzip(struct decoding *decoding)
{
	do {
		/* What is reserved already costs nothing to offer. */
		size_t spare = decoding->out->capacity - decoding->out->len;
		size_t guess = gzip_guess(decoding->in);
		enum codec_status status =
			decode_growing(decoding, decode_gzip_member, guess > spare ? guess : spare);

		if (status != CODEC_OK)
			return status;
	} while (decoding->in.len > 0);
	return CODEC_OK;
}

/*
 * Whether it is nothing but whole frames of RFC 8878. Most builds of the library also decode what
 * came before it, with code of that time, which is not to be reached from the network.
 */
static bool zstd_is_standard(struct slice in)
{
	while (in.len >= ZSTD_MAGIC_BYTES) {
		uint32_t magic = codec_little_endian_32(in.ptr);
		size_t len;

		if (magic != ZSTD_MAGICNUMBER &&
			(magic & ZSTD_MAGIC_SKIPPABLE_MASK) != ZSTD_MAGIC_SKIPPABLE_START)
			return false;
		len = ZSTD_findFrameCompressedSize(in.ptr, in.len);
		if (ZSTD_isError(len))
			return false;
		in = (struct slice){in.ptr + len, in.len - len};
	}
	return in.len == 0;
}

static enum codec_status decode_all_zstd(struct decoding *decoding)
{
	unsigned long long claimed = ZSTD_getFrameContentSize(decoding->in.ptr, decoding->in.len);
	size_t guess = decoding->limit_bytes;

	if (claimed == ZSTD_CONTENTSIZE_ERROR || !zstd_is_standard(decoding->in))
		return CODEC_CORRUPT;
	if (claimed == ZSTD_CONTENTSIZE_UNKNOWN)
		claimed = codec_times(decoding->in.len, 8);
	if (claimed < guess)
		guess = (size_t)claimed;
	return decode_growing(decoding, decode_zstd, guess);
}

static enum codec_status copy(struct decoding *decoding)
{
	if (decoding->in.len > decoding->limit_bytes)
		return CODEC_TOO_LARGE;
	buf_append_slice(decoding->out, decoding->in);
	return CODEC_OK;
}

enum codec_status codec_decode(struct codec *codec, enum encoding encoding, struct slice in,
	size_t limit_bytes, struct buf *out)
{
	struct decoding decoding = {codec, in, limit_bytes, out, out->len};
	enum codec_status status = CODEC_UNSUPPORTED;

	switch (encoding) {
	case ENCODING_IDENTITY:
		return copy(&decoding);
	case ENCODING_GZIP:
		status = in.len == 0 ? CODEC_CORRUPT : decode_all_gzip(&decoding);
		break;
	case ENCODING_ZSTD:
		status = in.len == 0 ? CODEC_CORRUPT : decode_all_zstd(&decoding);
		break;
	case ENCODING_ZSTD_DELTA:
	case ENCODING_UNKNOWN:
		break;
	}
	if (status != CODEC_OK)
		out->len = decoding.start;
	return status;
}

/* Whether it is one zstd frame that says its size, which decoding enforces. */
bool codec_zstd_says_size(struct slice in, unsigned long long *size)
{
	if (in.len == 0 || ZSTD_findFrameCompressedSize(in.ptr, in.len) != in.len)
		return false;
	*size = ZSTD_getFrameContentSize(in.ptr, in.len);
	return *size != ZSTD_CONTENTSIZE_UNKNOWN && *size != ZSTD_CONTENTSIZE_ERROR;
}

bool codec_fits(struct codec *codec, enum encoding encoding, struct slice in, size_t limit_bytes)
{
	unsigned long long size;
	enum codec_status status;

	if (encoding == ENCODING_IDENTITY)
		return in.len <= limit_bytes;
	if (encoding == ENCODING_UNKNOWN)
		return false;
	if (encoding == ENCODING_GZIP && in.len <= limit_bytes / DEFLATE_MAX_EXPANSION)
		return true;
	if (encoding == ENCODING_ZSTD && codec_zstd_says_size(in, &size))
		return size <= limit_bytes;
	if (encoding == ENCODING_ZSTD_DELTA)
		return codec_zstd_says_size(in, &size) && size <= limit_bytes;
	status = codec_decode(codec, encoding, in, limit_bytes, &codec->scratch);
	codec_scratch_done(codec);
	return status != CODEC_TOO_LARGE;
}

static int encode_gzip(struct codec *codec, int level, struct slice in, struct err *err)
{
	size_t bound;

	if (level < DEFLATE_LEVEL_MIN || level > DEFLATE_LEVEL_MAX)
		return err_setf(err, "gzip has no level %d (%d to %d)", level, DEFLATE_LEVEL_MIN,
			DEFLATE_LEVEL_MAX);
	if (codec->deflate == NULL || codec->deflate_level != level) {
		if (codec->deflate != NULL)
			libdeflate_free_compressor(codec->deflate);
		codec->deflate = or_abort(libdeflate_alloc_compressor(level));
		codec->deflate_level = level;
	}
	bound = libdeflate_gzip_compress_bound(codec->deflate, in.len);
	codec->scratch.len = libdeflate_gzip_compress(
		codec->deflate, in.ptr, in.len, buf_reserve(&codec->scratch, bound), bound);
	if (codec->scratch.len == 0)
		return err_setf(err, "gzip failed");
	return 0;
}

int codec_encode_zstd(struct codec *codec, int level, struct slice in, struct err *err)
{
	size_t bound = ZSTD_compressBound(in.len), made;

	if (level < ZSTD_minCLevel() || level > ZSTD_maxCLevel())
		return err_setf(err, "zstd has no level %d (%d to %d)", level, ZSTD_minCLevel(),
			ZSTD_maxCLevel());
	made = ZSTD_CCtx_setParameter(codec->zstd, ZSTD_c_compressionLevel, level);
	if (!ZSTD_isError(made))
		made = ZSTD_CCtx_setParameter(codec->zstd, ZSTD_c_checksumFlag, 1);
	if (!ZSTD_isError(made))
		made = ZSTD_compress2(
			codec->zstd, buf_reserve(&codec->scratch, bound), bound, in.ptr, in.len);
	if (ZSTD_isError(made))
		return err_setf(err, "zstd failed: %s", ZSTD_getErrorName(made));
	codec->scratch.len = made;
	return 0;
}

/* By way of scratch, since the bound is far above what comes out, and `out` may be kept. */
int codec_encode(struct codec *codec, enum encoding encoding, int level, struct slice in,
	struct buf *out, struct err *err)
{
	int result = -1;

	switch (encoding) {
	case ENCODING_IDENTITY:
		buf_append_slice(out, in);
		return 0;
	case ENCODING_GZIP:
		result = encode_gzip(codec, level, in, err);
		break;
	case ENCODING_ZSTD:
		result = codec_encode_zstd(codec, level, in, err);
		break;
	case ENCODING_ZSTD_DELTA:
		return err_setf(err, "a delta needs a keyframe");
	case ENCODING_UNKNOWN:
		return err_setf(err, "cannot encode to an unknown encoding");
	}
	if (result == 0)
		buf_append_slice(out, buf_slice(&codec->scratch));
	codec_scratch_done(codec);
	return result;
}
