/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codecs: what goes in comes out, at the exact limit and not one byte above, whatever sizes the
 * input claims; what is cut, changed or followed by something is corrupt.
 */
#include "common/wire/codec.h"

#include <libdeflate.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <zstd.h>

#include <cmocka.h>

#define MB ((size_t)1024 * 1024)

static const enum encoding compressing[] = {ENCODING_GZIP, ENCODING_ZSTD};

static struct codec *codec;

static int setup(void **state)
{
	(void)state;
	codec = codec_new();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	codec_free(codec);
	return 0;
}

/* Text that compresses about as an exposition does, the same each time. */
static struct buf make_text(size_t len)
{
	struct buf text = {0};

	for (unsigned i = 0; text.len < len; i++)
		buf_appendf(&text, "metric_%u{cpu=\"%u\"} %u\n", i / 7, i % 7, i * 2654435761u);
	text.len = len;
	return text;
}

static struct buf encode(enum encoding encoding, int level, struct slice in)
{
	struct buf out = {0};
	struct err err = {""};

	if (codec_encode(codec, encoding, level, in, &out, &err) < 0)
		fail_msg("%s: %s", encoding_name(encoding), err.text);
	return out;
}

/* Decodes behind a prefix, which must stay; on failure nothing else may be there. */
static void check_decode(const char *what, enum encoding encoding, struct slice in,
	size_t limit_bytes, enum codec_status want, struct slice text)
{
	struct buf out = {0};
	enum codec_status got;

	buf_append_str(&out, "before");
	got = codec_decode(codec, encoding, in, limit_bytes, &out);
	if (got != want)
		fail_msg("%s %s, %zu bytes, limit %zu: got %d, want %d", what,
			encoding_name(encoding), in.len, limit_bytes, got, want);
	assert_memory_equal(out.ptr, "before", 6);
	assert_int_equal(out.len, want == CODEC_OK ? 6 + text.len : 6);
	if (want == CODEC_OK && text.len > 0)
		assert_memory_equal(out.ptr + 6, text.ptr, text.len);
	if (out.capacity > 2 * limit_bytes + 16384)
		fail_msg("%s: %zu bytes allocated at a limit of %zu", what, out.capacity,
			limit_bytes);
	buf_free(&out);
}

static void test_names(void **state)
{
	(void)state;
	assert_int_equal(encoding_parse(SLICE("")), ENCODING_IDENTITY);
	for (int i = ENCODING_IDENTITY; i < ENCODING_UNKNOWN; i++)
		assert_int_equal(encoding_parse(slice_from(encoding_name(i))), i);
	assert_int_equal(encoding_parse(SLICE("unknown")), ENCODING_UNKNOWN);
	assert_int_equal(encoding_parse(SLICE("zstd-delta")), ENCODING_ZSTD_DELTA);
	assert_int_equal(encoding_parse(SLICE("zstd-delta ")), ENCODING_UNKNOWN);
	assert_int_equal(encoding_parse(SLICE("GZIP")), ENCODING_UNKNOWN);
	assert_int_equal(encoding_parse(SLICE("gzip ")), ENCODING_UNKNOWN);
}

static void test_round_trip(void **state)
{
	static const size_t sizes[] = {0, 1, 100, 4096, 57000, 300000, 3 * MB + 1};
	static const int levels[] = {1, 6, 3, 9, 6};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		for (size_t e = 0; e < ARRAY_LEN(compressing); e++)
			for (size_t l = 0; l < ARRAY_LEN(levels); l++) {
				struct buf text = make_text(sizes[i]);
				struct buf packed =
					encode(compressing[e], levels[l], buf_slice(&text));
				struct slice in = buf_slice(&packed);

				check_decode("round trip", compressing[e], in, sizes[i], CODEC_OK,
					buf_slice(&text));
				check_decode("ample", compressing[e], in, 64 * MB, CODEC_OK,
					buf_slice(&text));
				if (sizes[i] > 0)
					check_decode("one less", compressing[e], in, sizes[i] - 1,
						CODEC_TOO_LARGE, in);
				buf_free(&text);
				buf_free(&packed);
			}
}

static void test_identity(void **state)
{
	struct slice text = SLICE("text");
	struct buf out = {0};

	(void)state;
	check_decode("identity", ENCODING_IDENTITY, text, 4, CODEC_OK, text);
	check_decode("identity", ENCODING_IDENTITY, text, 3, CODEC_TOO_LARGE, text);
	check_decode("empty", ENCODING_IDENTITY, SLICE(""), 0, CODEC_OK, SLICE(""));
	check_decode("unknown", ENCODING_UNKNOWN, text, 100, CODEC_UNSUPPORTED, text);
	check_decode("delta", ENCODING_ZSTD_DELTA, text, 100, CODEC_UNSUPPORTED, text);
	assert_int_equal(codec_encode(codec, ENCODING_IDENTITY, 0, text, &out, NULL), 0);
	assert_true(slice_is(buf_slice(&out), "text"));
	buf_free(&out);
}

/* Every limit around every size at which the decoders allocate, without a size to guess from. */
static void test_every_limit(void **state)
{
	struct buf text = make_text(3000), out = {0};
	ZSTD_CStream *stream = ZSTD_createCStream();
	ZSTD_inBuffer in = {text.ptr, text.len, 0};
	ZSTD_outBuffer packed = {buf_reserve(&out, 8192), 8192, 0};

	(void)state;
	assert_int_equal(ZSTD_isError(ZSTD_initCStream(stream, 3)), 0);
	assert_int_equal(ZSTD_isError(ZSTD_compressStream(stream, &packed, &in)), 0);
	assert_int_equal(ZSTD_endStream(stream, &packed), 0);
	out.len = packed.pos;
	assert_true(ZSTD_getFrameContentSize(out.ptr, out.len) == ZSTD_CONTENTSIZE_UNKNOWN);
	for (size_t limit = 0; limit < 4000; limit++)
		check_decode("no content size", ENCODING_ZSTD, buf_slice(&out), limit,
			limit < 3000 ? CODEC_TOO_LARGE : CODEC_OK, buf_slice(&text));
	assert_false(codec_fits(codec, ENCODING_ZSTD, buf_slice(&out), 2999));
	assert_true(codec_fits(codec, ENCODING_ZSTD, buf_slice(&out), 3000));
	ZSTD_freeCStream(stream);
	buf_free(&out);
	buf_free(&text);
}

static void test_parts(void **state)
{
	(void)state;
	for (size_t e = 0; e < ARRAY_LEN(compressing); e++) {
		struct buf text = make_text(70000), packed = {0};

		for (size_t at = 0; at < text.len; at += 7000) {
			struct buf part =
				encode(compressing[e], 6, (struct slice){text.ptr + at, 7000});

			buf_append_slice(&packed, buf_slice(&part));
			buf_free(&part);
		}
		check_decode("parts", compressing[e], buf_slice(&packed), 70000, CODEC_OK,
			buf_slice(&text));
		check_decode("parts", compressing[e], buf_slice(&packed), 69999, CODEC_TOO_LARGE,
			buf_slice(&text));
		assert_true(codec_fits(codec, compressing[e], buf_slice(&packed), 70000));
		assert_false(codec_fits(codec, compressing[e], buf_slice(&packed), 69999));
		buf_append_char(&packed, 'x');
		check_decode("garbage behind", compressing[e], buf_slice(&packed), 80000,
			CODEC_CORRUPT, buf_slice(&text));
		buf_free(&packed);
		buf_free(&text);
	}
}

static void test_corrupt(void **state)
{
	(void)state;
	for (size_t e = 0; e < ARRAY_LEN(compressing); e++) {
		struct buf text = make_text(2000);
		struct buf packed = encode(compressing[e], 6, buf_slice(&text));

		for (size_t len = 0; len < packed.len; len++)
			check_decode("cut", compressing[e], (struct slice){packed.ptr, len}, MB,
				CODEC_CORRUPT, buf_slice(&text));
		/* Behind the checksum of the content nothing changed can pass for the text. */
		packed.ptr[packed.len / 2] ^= 0x10;
		check_decode("changed", compressing[e], buf_slice(&packed), MB, CODEC_CORRUPT,
			buf_slice(&text));
		check_decode("text", compressing[e], buf_slice(&text), MB, CODEC_CORRUPT,
			buf_slice(&text));
		buf_free(&packed);
		buf_free(&text);
	}
}

/* zlib's wrapping is not gzip, gzip is not zstd. */
static void test_other_formats(void **state)
{
	struct slice text = SLICE("the text of some other format");
	struct libdeflate_compressor *deflate = libdeflate_alloc_compressor(6);
	char zlib[256];
	size_t len = libdeflate_zlib_compress(deflate, text.ptr, text.len, zlib, sizeof(zlib));
	struct buf gzip = encode(ENCODING_GZIP, 6, text), zstd = encode(ENCODING_ZSTD, 3, text);

	(void)state;
	check_decode("zlib", ENCODING_GZIP, (struct slice){zlib, len}, MB, CODEC_CORRUPT, text);
	check_decode("zstd", ENCODING_GZIP, buf_slice(&zstd), MB, CODEC_CORRUPT, text);
	check_decode("gzip", ENCODING_ZSTD, buf_slice(&gzip), MB, CODEC_CORRUPT, text);
	libdeflate_free_compressor(deflate);
	buf_free(&gzip);
	buf_free(&zstd);
}

/* A hundred megabytes of zeros cost no more than the limit. */
static void test_bombs(void **state)
{
	struct slice zeros = {xcalloc(1, 100 * MB), 100 * MB};

	(void)state;
	for (size_t e = 0; e < ARRAY_LEN(compressing); e++) {
		struct buf bomb = encode(compressing[e], 1, zeros);

		check_decode("bomb", compressing[e], buf_slice(&bomb), MB, CODEC_TOO_LARGE, zeros);
		check_decode("bomb", compressing[e], buf_slice(&bomb), 0, CODEC_TOO_LARGE, zeros);
		assert_false(codec_fits(codec, compressing[e], buf_slice(&bomb), 100 * MB - 1));
		assert_true(codec_fits(codec, compressing[e], buf_slice(&bomb), 100 * MB));
		buf_free(&bomb);
	}
	free((char *)zeros.ptr);
}

/* A size claimed in the input decides nothing. */
static void test_lies(void **state)
{
	struct buf text = make_text(50000);
	struct buf packed = encode(ENCODING_GZIP, 6, buf_slice(&text)), longer = {0};
	unsigned char *isize = (unsigned char *)packed.ptr + packed.len - 4;

	(void)state;
	memset(isize, 0xff, 4);
	check_decode("claims 4 GB", ENCODING_GZIP, buf_slice(&packed), 60000, CODEC_CORRUPT,
		buf_slice(&text));
	memset(isize, 0, 4);
	check_decode("claims nothing", ENCODING_GZIP, buf_slice(&packed), 60000, CODEC_CORRUPT,
		buf_slice(&text));
	assert_false(codec_fits(codec, ENCODING_GZIP, buf_slice(&packed), 40000));
	buf_free(&packed);
	/* The last member's size is not that of all. */
	packed = encode(ENCODING_GZIP, 6, SLICE(""));
	longer = encode(ENCODING_GZIP, 6, buf_slice(&text));
	buf_append_slice(&longer, buf_slice(&packed));
	check_decode("ends in nothing", ENCODING_GZIP, buf_slice(&longer), 50000, CODEC_OK,
		buf_slice(&text));
	buf_free(&longer);
	buf_free(&packed);
	buf_free(&text);
}

/* A zstd frame header that claims 2^62 bytes, and one that wants a window of 2 GB. */
static void test_zstd_claims(void **state)
{
	(void)state;
	check_decode("content size", ENCODING_ZSTD,
		SLICE("\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x40\x01\0\0"), MB, CODEC_CORRUPT,
		SLICE(""));
	assert_false(codec_fits(
		codec, ENCODING_ZSTD, SLICE("\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x40\x01\0\0"), MB));
	check_decode("window", ENCODING_ZSTD, SLICE("\x28\xb5\x2f\xfd\0\xa8\x01\0\0"), MB, CODEC_OK,
		SLICE(""));
}

/* A library may still read what zstd wrote before RFC 8878, with decoders of that time. */
static void test_zstd_before_the_standard(void **state)
{
	static const char old[] = "\x27\xb5\x2f\xfd\0\0\xc0\0\0"; /* version 0.7, empty */
	struct buf in = encode(ENCODING_ZSTD, 3, SLICE("text"));

	(void)state;
	check_decode("old", ENCODING_ZSTD, SLICE(old), MB, CODEC_CORRUPT, SLICE(""));
	buf_append_slice(&in, SLICE(old));
	check_decode("old behind", ENCODING_ZSTD, buf_slice(&in), MB, CODEC_CORRUPT, SLICE(""));
	buf_free(&in);
}

/* Skippable frames are part of the standard; a dictionary is not part of the format. */
static void test_zstd_frames(void **state)
{
	static const char skippable[] = "\x50\x2a\x4d\x18\3\0\0\0abc";
	struct buf in = encode(ENCODING_ZSTD, 3, SLICE("text"));

	(void)state;
	check_decode("skippable", ENCODING_ZSTD, SLICE(skippable), 0, CODEC_OK, SLICE(""));
	buf_append_slice(&in, SLICE(skippable));
	check_decode("skippable behind", ENCODING_ZSTD, buf_slice(&in), 4, CODEC_OK, SLICE("text"));
	check_decode("skippable cut", ENCODING_ZSTD, (struct slice){in.ptr, in.len - 1}, 4,
		CODEC_CORRUPT, SLICE(""));
	check_decode("dictionary", ENCODING_ZSTD, SLICE("\x28\xb5\x2f\xfd\x21\7\0\1\0\0"), MB,
		CODEC_CORRUPT, SLICE(""));
	buf_free(&in);
}

static void test_fits(void **state)
{
	struct slice junk = SLICE("neither gzip nor zstd");

	(void)state;
	assert_true(codec_fits(codec, ENCODING_IDENTITY, junk, junk.len));
	assert_false(codec_fits(codec, ENCODING_IDENTITY, junk, junk.len - 1));
	assert_false(codec_fits(codec, ENCODING_UNKNOWN, junk, MB));
	assert_true(codec_fits(codec, ENCODING_GZIP, junk, MB));
	assert_true(codec_fits(codec, ENCODING_GZIP, junk, 10));
	assert_true(codec_fits(codec, ENCODING_ZSTD, junk, 10));
}

static void test_levels(void **state)
{
	static const struct {
		enum encoding encoding;
		int level;
		const char *error;
	} cases[] = {
		{ENCODING_GZIP, 0, "gzip has no level 0"},
		{ENCODING_GZIP, 13, "gzip has no level 13"},
		{ENCODING_ZSTD, 1000, "zstd has no level 1000"},
		{ENCODING_ZSTD_DELTA, 3, "needs a keyframe"},
		{ENCODING_UNKNOWN, 1, "unknown encoding"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = {0};
		struct err err = {""};

		assert_int_equal(codec_encode(codec, cases[i].encoding, cases[i].level, SLICE("x"),
					 &out, &err),
			-1);
		if (strstr(err.text, cases[i].error) == NULL)
			fail_msg("got \"%s\", want \"%s\"", err.text, cases[i].error);
		assert_int_equal(out.len, 0);
		buf_free(&out);
	}
}

/* Contexts are kept between calls, but not the level of the call before. */
static void test_levels_change(void **state)
{
	struct buf text = make_text(57000);

	(void)state;
	for (size_t e = 0; e < ARRAY_LEN(compressing); e++) {
		struct buf first = encode(compressing[e], 1, buf_slice(&text));
		struct buf other = encode(compressing[e], 9, buf_slice(&text));
		struct buf again = encode(compressing[e], 1, buf_slice(&text));

		if (slice_eq(buf_slice(&first), buf_slice(&other)))
			fail_msg("%s: levels 1 and 9 are the same", encoding_name(compressing[e]));
		assert_true(slice_eq(buf_slice(&first), buf_slice(&again)));
		buf_free(&first);
		buf_free(&other);
		buf_free(&again);
	}
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_every_limit),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_corrupt),
		cmocka_unit_test(test_other_formats),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_zstd_claims),
		cmocka_unit_test(test_zstd_before_the_standard),
		cmocka_unit_test(test_zstd_frames),
		cmocka_unit_test(test_fits),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_levels_change),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
