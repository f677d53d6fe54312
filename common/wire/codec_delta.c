/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deltas: zstd frames whose prefix is another text. What they have in common is found line by line
 * and handed to the library, which only writes it down: a fifth of the time that its own search
 * takes, and fewer bytes. That call is not of the library's stable interface, so it is tried at the
 * start; without it, and for texts that differ by more than values, the library searches itself.
 *
 * The way back is one frame that states its size, so that there is nothing to guess: it is decoded
 * into exactly that, in one call, where the library checks what a window could refer to against the
 * prefix itself.
 */
#define ZSTD_STATIC_LINKING_ONLY /* for ZSTD_compressSequences */
#include "common/wire/codec_internal.h"

#pragma weak ZSTD_compressSequences

/* Of a frame header's descriptor, the byte behind the magic. */
#define ZSTD_HAS_CHECKSUM   0x04
#define ZSTD_HAS_DICTIONARY 0x03
/* A block is at least three bytes. */
#define ZSTD_BLOCK_MIN_BYTES 3
/* So that all of prefix and body is in reach; costs nothing where both are at hand. */
#define WINDOW_LOG_MIN 17
#define WINDOW_LOG_MAX 27
/* A context above this is made anew after use, and so is what matches are kept in. */
#define CONTEXT_KEEP_BYTES   ((size_t)8 << 20)
#define SEQUENCES_KEEP_BYTES ((size_t)1 << 20)
#define PIECE_MIN_BYTES      4
#define PIECE_MIN_PARAMETER  3 /* what the library is told: it takes up to this many times more */
#define TRIAL_BYTES          ((size_t)4096)

/* The smallest window that reaches `bytes` back. */
static int window_log(size_t bytes)
{
	int log = WINDOW_LOG_MIN;

	while (log < WINDOW_LOG_MAX && bytes >> log != 0)
		log++;
	return log;
}

static void context_done(struct codec *codec)
{
	ZSTD_CCtx_reset(codec->zstd, ZSTD_reset_session_and_parameters);
	if (ZSTD_sizeof_CCtx(codec->zstd) <= CONTEXT_KEEP_BYTES)
		return;
	ZSTD_freeCCtx(codec->zstd);
	codec->zstd = ZSTD_createCCtx();
	if (codec->zstd == NULL)
		abort();
}

/* Searched by the library. */

static int encode_searching(
	struct codec *codec, struct slice prefix, int level, struct slice in, struct err *err)
{
	size_t reach = prefix.len + in.len;
	size_t set = ZSTD_CCtx_setParameter(codec->zstd, ZSTD_c_windowLog, window_log(reach));
	int result;

	if (!ZSTD_isError(set))
		set = ZSTD_CCtx_setParameter(codec->zstd, ZSTD_c_enableLongDistanceMatching, 1);
	if (!ZSTD_isError(set))
		set = ZSTD_CCtx_refPrefix(codec->zstd, prefix.ptr, prefix.len);
	if (ZSTD_isError(set))
		result = err_setf(err, "zstd failed: %s", ZSTD_getErrorName(set));
	else
		result = codec_encode_zstd(codec, level, in, err);
	context_done(codec);
	return result;
}

/* Found line by line. */

/*
 * Where blocks end is ours to say, or the library's to find out. Only in the latter case does it
 * look whether an offset is that of a sequence before, which most are; so texts of one block, where
 * there is nothing to find out, go without.
 */
static bool has_blocks(struct slice in)
{
	return in.len > ZSTD_BLOCK_MAX_BYTES;
}

/* Matches become sequences of the library's, block by block. */
struct writing {
	struct buf *sequences;
	size_t prefix_len, len;
	size_t at, block_end; /* what has been written of the text, and its block's end */
};

static void add_sequence(struct writing *writing, size_t literals, size_t offset, size_t len)
{
	const ZSTD_Sequence sequence = {.offset = (unsigned)offset,
		.litLength = (unsigned)literals,
		.matchLength = (unsigned)len};

	buf_append(writing->sequences, &sequence, sizeof(sequence));
}

static void end_block(struct writing *writing)
{
	add_sequence(writing, writing->block_end - writing->at, 0, 0);
	writing->at = writing->block_end;
	writing->block_end = writing->len - writing->at < ZSTD_BLOCK_MAX_BYTES
				     ? writing->len
				     : writing->at + ZSTD_BLOCK_MAX_BYTES;
}

/* Offsets count back through the text, then through the prefix before it. */
static void add_piece(struct writing *writing, struct line_match match)
{
	if (match.len < PIECE_MIN_BYTES)
		return;
	add_sequence(writing, match.at - writing->at, writing->prefix_len + match.at - match.from,
		match.len);
	writing->at = match.at + match.len;
}

/* No sequence crosses the end of a block. */
static void add_match(struct writing *writing, struct line_match match)
{
	while (match.at + match.len > writing->block_end) {
		struct line_match head = match;

		head.len = match.at < writing->block_end ? writing->block_end - match.at : 0;
		add_piece(writing, head);
		match.at += head.len;
		match.from += head.len;
		match.len -= head.len;
		end_block(writing);
	}
	add_piece(writing, match);
}

static void write_sequences(struct codec *codec, struct slice prefix, struct slice in)
{
	struct writing writing = {
		.sequences = &codec->sequences,
		.prefix_len = prefix.len,
		.len = in.len,
		.block_end = in.len < ZSTD_BLOCK_MAX_BYTES ? in.len : ZSTD_BLOCK_MAX_BYTES,
	};

	buf_clear(&codec->sequences);
	for (size_t i = 0; i < codec->diff.count; i++)
		add_match(&writing, codec->diff.matches[i]);
	if (!has_blocks(in))
		return;
	while (writing.block_end < in.len)
		end_block(&writing);
	end_block(&writing);
}

/* The prefix is not shown to the library: the offsets that lead there are all that matters. */
static size_t compress_sequences(struct codec *codec, size_t reach, int level, struct slice in)
{
	const struct {
		ZSTD_cParameter parameter;
		int value;
	} settings[] = {
		{ZSTD_c_compressionLevel, level},
		{ZSTD_c_checksumFlag, 1},
		{ZSTD_c_windowLog, window_log(reach)},
		{ZSTD_c_minMatch, PIECE_MIN_PARAMETER},
		{ZSTD_c_blockDelimiters, has_blocks(in) ? ZSTD_sf_explicitBlockDelimiters
							: ZSTD_sf_noBlockDelimiters},
	};
	size_t bound = ZSTD_compressBound(in.len), made = 0;

	for (size_t i = 0; i < ARRAY_LEN(settings) && !ZSTD_isError(made); i++)
		made = ZSTD_CCtx_setParameter(
			codec->zstd, settings[i].parameter, settings[i].value);
	if (!ZSTD_isError(made))
		made = ZSTD_compressSequences(codec->zstd, buf_reserve(&codec->scratch, bound),
			bound, (const ZSTD_Sequence *)(const void *)codec->sequences.ptr,
			codec->sequences.len / sizeof(ZSTD_Sequence), in.ptr, in.len);
	context_done(codec);
	return made;
}

static void sequences_done(struct codec *codec)
{
	if (codec->sequences.capacity <= SEQUENCES_KEEP_BYTES)
		return;
	buf_free(&codec->sequences);
	line_diff_free(&codec->diff);
}

/* False if that is not the way for these two. */
static bool encode_by_lines(struct codec *codec, struct slice prefix, int level, struct slice in)
{
	size_t reach = prefix.len + in.len, made;

	if (!codec->takes_sequences || reach >> WINDOW_LOG_MAX != 0 || level < ZSTD_minCLevel() ||
		level > ZSTD_maxCLevel() || !line_diff_find(&codec->diff, prefix, in))
		return false;
	write_sequences(codec, prefix, in);
	made = compress_sequences(codec, reach, level, in);
	sequences_done(codec);
	if (ZSTD_isError(made))
		return false;
	codec->scratch.len = made;
	return true;
}

int codec_encode_delta(struct codec *codec, struct slice prefix, int level, struct slice in,
	struct buf *out, struct err *err)
{
	int result = 0;

	if (!encode_by_lines(codec, prefix, level, in))
		result = encode_searching(codec, prefix, level, in, err);
	if (result == 0)
		buf_append_slice(out, buf_slice(&codec->scratch));
	codec_scratch_done(codec);
	return result;
}

/* The way back. */

/* Whether the frame is of the form that deltas have, and can come to what it states. */
static bool is_delta(struct slice in, unsigned long long *size)
{
	unsigned char descriptor;

	if (in.len <= ZSTD_MAGIC_BYTES || codec_little_endian_32(in.ptr) != ZSTD_MAGICNUMBER)
		return false;
	descriptor = (unsigned char)in.ptr[ZSTD_MAGIC_BYTES];
	if ((descriptor & ZSTD_HAS_CHECKSUM) == 0 || (descriptor & ZSTD_HAS_DICTIONARY) != 0)
		return false;
	return codec_zstd_says_size(in, size) &&
	       *size <= codec_times(in.len / ZSTD_BLOCK_MIN_BYTES, ZSTD_BLOCK_MAX_BYTES);
}

/*
 * A prefix is only ever bytes. One that begins as the library's dictionaries do would be taken for
 * such a thing by the call that needs no memory for it.
 */
static size_t decompress_with_prefix(
	ZSTD_DCtx *context, struct slice prefix, struct slice in, char *to, size_t room)
{
	size_t made;

	if (prefix.len < ZSTD_MAGIC_BYTES ||
		codec_little_endian_32(prefix.ptr) != ZSTD_MAGIC_DICTIONARY)
		return ZSTD_decompress_usingDict(
			context, to, room, in.ptr, in.len, prefix.ptr, prefix.len);
	made = ZSTD_DCtx_refPrefix(context, prefix.ptr, prefix.len);
	if (!ZSTD_isError(made))
		made = ZSTD_decompressDCtx(context, to, room, in.ptr, in.len);
	ZSTD_DCtx_reset(context, ZSTD_reset_session_and_parameters);
	return made;
}

enum codec_status codec_decode_delta(struct codec *codec, struct slice prefix, struct slice in,
	size_t limit_bytes, struct buf *out)
{
	unsigned long long size;
	size_t made;

	if (!is_delta(in, &size))
		return CODEC_CORRUPT;
	if (size > limit_bytes)
		return CODEC_TOO_LARGE;
	made = decompress_with_prefix(
		codec->unzstd, prefix, in, buf_reserve(out, (size_t)size), (size_t)size);
	if (ZSTD_isError(made))
		return CODEC_CORRUPT;
	out->len += made;
	return CODEC_OK;
}

/* Whether the library does what is asked of it, for two texts of about so many bytes. */
static bool try_sequences(struct codec *codec, size_t len)
{
	struct buf before = {0}, after = {0}, frame = {0}, back = {0};
	bool is_right = false;

	for (unsigned i = 0; after.len < len; i++) {
		buf_appendf(&before, "name{i=\"%u\"} %u\n", i, i % 3);
		buf_appendf(&after, "name{i=\"%u\"} %u\n", i, i % 2);
	}
	if (encode_by_lines(codec, buf_slice(&before), 1, buf_slice(&after))) {
		buf_append_slice(&frame, buf_slice(&codec->scratch));
		is_right = codec_decode_delta(codec, buf_slice(&before), buf_slice(&frame),
				   after.len, &back) == CODEC_OK &&
			   slice_eq(buf_slice(&back), buf_slice(&after));
	}
	codec_scratch_done(codec);
	buf_free(&before);
	buf_free(&after);
	buf_free(&frame);
	buf_free(&back);
	return is_right;
}

void codec_delta_init(struct codec *codec)
{
	codec->takes_sequences = ZSTD_compressSequences != NULL;
	codec->takes_sequences = try_sequences(codec, TRIAL_BYTES) &&
				 try_sequences(codec, ZSTD_BLOCK_MAX_BYTES + TRIAL_BYTES);
}

void codec_delta_fini(struct codec *codec)
{
	line_diff_free(&codec->diff);
	buf_free(&codec->sequences);
}
