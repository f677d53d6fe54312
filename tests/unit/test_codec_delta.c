/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deltas: with its keyframe a frame comes to what it was, at the exact limit and not one byte
 * above; with any other keyframe, or in any other form than the format's, it is corrupt.
 */
#include "common/wire/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <zstd.h>

#include <cmocka.h>

#define MB    ((size_t)1024 * 1024)
#define BLOCK ((size_t)128 * 1024) /* zstd's largest */

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

/* An exposition of about `len` bytes in which every tenth value is another one each `round`. */
static struct buf make_text(size_t len, unsigned round)
{
	struct buf text = {0};

	for (unsigned i = 0; text.len < len; i++)
		buf_appendf(&text, "metric_%u{cpu=\"%u\"} %u\n", i / 7, i % 7,
			(i + (i % 10 == 0 ? round : 0)) * 2654435761u);
	text.len = len;
	return text;
}

static struct buf encode(struct slice prefix, int level, struct slice in)
{
	struct buf out = {0};
	struct err err = {""};

	if (codec_encode_delta(codec, prefix, level, in, &out, &err) < 0)
		fail_msg("level %d, %zu bytes: %s", level, in.len, err.text);
	return out;
}

/* Decodes behind something, which must stay; on failure nothing else may be there. */
static void check_decode(const char *what, struct slice prefix, struct slice in, size_t limit_bytes,
	enum codec_status want, struct slice text)
{
	struct buf out = {0};
	enum codec_status got;

	buf_append_str(&out, "before");
	got = codec_decode_delta(codec, prefix, in, limit_bytes, &out);
	if (got != want)
		fail_msg("%s, %zu bytes, limit %zu: got %d, want %d", what, in.len, limit_bytes,
			got, want);
	assert_memory_equal(out.ptr, "before", 6);
	assert_int_equal(out.len, want == CODEC_OK ? 6 + text.len : 6);
	if (want == CODEC_OK && text.len > 0)
		assert_memory_equal(out.ptr + 6, text.ptr, text.len);
	if (out.capacity > 2 * limit_bytes + 16384)
		fail_msg("%s: %zu bytes allocated at a limit of %zu", what, out.capacity,
			limit_bytes);
	buf_free(&out);
}

static void test_round_trip(void **state)
{
	static const size_t sizes[] = {0, 1, 100, 4096, 57000, BLOCK - 1, BLOCK, BLOCK + 1,
		BLOCK + 5, 300000, 2 * BLOCK, 5 * MB + 1};
	static const int levels[] = {1, 3, 5, 1};

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(sizes); k++)
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
			struct buf key = make_text(sizes[k], 0), text = make_text(sizes[i], 1);
			struct buf packed = encode(
				buf_slice(&key), levels[i % ARRAY_LEN(levels)], buf_slice(&text));
			struct slice in = buf_slice(&packed);

			check_decode(
				"exact", buf_slice(&key), in, sizes[i], CODEC_OK, buf_slice(&text));
			check_decode(
				"ample", buf_slice(&key), in, 64 * MB, CODEC_OK, buf_slice(&text));
			if (sizes[i] > 0)
				check_decode("one less", buf_slice(&key), in, sizes[i] - 1,
					CODEC_TOO_LARGE, in);
			buf_free(&key);
			buf_free(&text);
			buf_free(&packed);
		}
}

/* What it is for: a small part of the whole, and next to nothing for the keyframe itself. */
static void check_smaller(size_t len)
{
	struct buf key = make_text(len, 0), text = make_text(len, 1), whole = {0};
	struct buf delta = encode(buf_slice(&key), 3, buf_slice(&text));
	struct buf copy = make_text(len, 0);
	struct buf same = encode(buf_slice(&key), 3, buf_slice(&copy));

	assert_int_equal(codec_encode(codec, ENCODING_ZSTD, 3, buf_slice(&text), &whole, NULL), 0);
	if (delta.len > whole.len / 2)
		fail_msg("%zu bytes: delta %zu, whole %zu", len, delta.len, whole.len);
	if (same.len > 64 + len / 1000)
		fail_msg("%zu bytes: %zu against itself", len, same.len);
	buf_free(&key);
	buf_free(&text);
	buf_free(&whole);
	buf_free(&delta);
	buf_free(&copy);
	buf_free(&same);
}

static void test_is_smaller(void **state)
{
	(void)state;
	check_smaller(57000);
	check_smaller(600000);
	check_smaller(10 * MB); /* far beyond the window of the level alone */
}

static void test_wrong_prefix(void **state)
{
	struct buf key = make_text(57000, 0), other = make_text(57000, 7);
	struct buf text = make_text(57000, 1);
	struct buf packed = encode(buf_slice(&key), 3, buf_slice(&text));
	struct slice in = buf_slice(&packed), none = SLICE("");

	(void)state;
	check_decode("other", buf_slice(&other), in, MB, CODEC_CORRUPT, none);
	check_decode("none", none, in, MB, CODEC_CORRUPT, none);
	check_decode("cut", (struct slice){key.ptr, key.len - 1}, in, MB, CODEC_CORRUPT, none);
	check_decode("the right one", buf_slice(&key), in, MB, CODEC_OK, buf_slice(&text));
	buf_free(&key);
	buf_free(&other);
	buf_free(&text);
	buf_free(&packed);
}

static void test_corrupt(void **state)
{
	struct buf key = make_text(3000, 0), text = make_text(3000, 1);
	struct buf packed = encode(buf_slice(&key), 3, buf_slice(&text));

	(void)state;
	for (size_t len = 0; len < packed.len; len++)
		check_decode("cut", buf_slice(&key), (struct slice){packed.ptr, len}, MB,
			CODEC_CORRUPT, SLICE(""));
	/* Behind the header: there a bit may only say what makes no difference. */
	for (size_t at = 7; at < packed.len; at++) {
		packed.ptr[at] ^= 0x10;
		check_decode("changed", buf_slice(&key), buf_slice(&packed), MB, CODEC_CORRUPT,
			SLICE(""));
		packed.ptr[at] ^= 0x10;
	}
	buf_append_char(&packed, 'x');
	check_decode("garbage behind", buf_slice(&key), buf_slice(&packed), MB, CODEC_CORRUPT,
		SLICE(""));
	buf_free(&key);
	buf_free(&text);
	buf_free(&packed);
}

/* The prefix is bytes, also if it begins as a dictionary of zstd's does. */
static void test_prefix_like_a_dictionary(void **state)
{
	struct buf key = {0}, text = make_text(5000, 1), packed;

	(void)state;
	buf_append(&key, "\x37\xa4\x30\xec\1\0\0\0", 8);
	buf_append_slice(&key, buf_slice(&text));
	packed = encode(buf_slice(&key), 3, buf_slice(&text));
	check_decode(
		"magic", buf_slice(&key), buf_slice(&packed), 5000, CODEC_OK, buf_slice(&text));
	check_decode("cut magic", (struct slice){key.ptr, 8}, buf_slice(&packed), 5000,
		CODEC_CORRUPT, SLICE(""));
	buf_free(&packed);
	packed = encode(buf_slice(&text), 3, buf_slice(&text));
	check_decode("no magic after it", buf_slice(&text), buf_slice(&packed), 5000, CODEC_OK,
		buf_slice(&text));
	buf_free(&key);
	buf_free(&text);
	buf_free(&packed);
}

/* One frame, by the library's own means, of any form. */
static struct buf compress(struct slice in, bool with_size, bool with_checksum)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	struct buf out = {0};
	size_t bound = ZSTD_compressBound(in.len);

	ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, with_size);
	ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, with_checksum);
	out.len = ZSTD_compress2(context, buf_reserve(&out, bound), bound, in.ptr, in.len);
	assert_int_equal(ZSTD_isError(out.len), 0);
	ZSTD_freeCCtx(context);
	return out;
}

static void test_forms(void **state)
{
	struct slice text = SLICE("some text of a target"), none = SLICE("");
	struct buf good = compress(text, true, true);
	struct buf no_size = compress(text, false, true), no_checksum = compress(text, true, false);
	struct buf two = {0};

	(void)state;
	check_decode("no prefix", none, buf_slice(&good), MB, CODEC_OK, text);
	check_decode("no content size", none, buf_slice(&no_size), MB, CODEC_CORRUPT, none);
	check_decode("no checksum", none, buf_slice(&no_checksum), MB, CODEC_CORRUPT, none);
	buf_append_slice(&two, buf_slice(&good));
	buf_append_slice(&two, buf_slice(&good));
	check_decode("two frames", none, buf_slice(&two), MB, CODEC_CORRUPT, none);
	buf_clear(&two);
	buf_append(&two, "\x50\x2a\x4d\x18\0\0\0\0", 8);
	check_decode("skippable", none, buf_slice(&two), MB, CODEC_CORRUPT, none);
	buf_append_slice(&two, buf_slice(&good));
	check_decode("skippable before", none, buf_slice(&two), MB, CODEC_CORRUPT, none);
	check_decode("version 0.7", none, SLICE("\x27\xb5\x2f\xfd\0\0\xc0\0\0"), MB, CODEC_CORRUPT,
		none);
	check_decode("dictionary", none, SLICE("\x28\xb5\x2f\xfd\x25\7\0\1\0\0\0\0\0\0"), MB,
		CODEC_CORRUPT, none);
	check_decode("empty", none, none, MB, CODEC_CORRUPT, none);
	check_decode("text", none, text, MB, CODEC_CORRUPT, none);
	buf_free(&good);
	buf_free(&no_size);
	buf_free(&no_checksum);
	buf_free(&two);
}

/* The size that a frame claims is bound by the limit, by what its blocks can hold, and true. */
static void test_claims(void **state)
{
	struct buf good = compress(SLICE("some text of a target"), true, true);

	(void)state;
	check_decode("2^62 bytes", SLICE(""),
		SLICE("\x28\xb5\x2f\xfd\xe4\0\0\0\0\0\0\0\x40\x01\0\0\0\0\0\0"), SIZE_MAX,
		CODEC_CORRUPT, SLICE(""));
	check_decode("16 MB in 20 bytes", SLICE(""),
		SLICE("\x28\xb5\x2f\xfd\xe4\0\0\0\1\0\0\0\0\x01\0\0\0\0\0\0"), 64 * MB,
		CODEC_CORRUPT, SLICE(""));
	/* One byte of size behind magic and descriptor. */
	good.ptr[5]++;
	check_decode("one more", SLICE(""), buf_slice(&good), MB, CODEC_CORRUPT, SLICE(""));
	good.ptr[5] -= 2;
	check_decode("one less", SLICE(""), buf_slice(&good), MB, CODEC_CORRUPT, SLICE(""));
	buf_free(&good);
}

/* A hundred megabytes of what the keyframe holds anyway cost no more than the limit. */
static void test_bomb(void **state)
{
	struct buf key = make_text(57000, 0), text = {0}, packed;

	(void)state;
	while (text.len < 100 * MB)
		buf_append_slice(&text, buf_slice(&key));
	packed = encode(buf_slice(&key), 1, buf_slice(&text));
	if (packed.len > text.len / 1000)
		fail_msg("no bomb: %zu bytes", packed.len);
	check_decode("bomb", buf_slice(&key), buf_slice(&packed), MB, CODEC_TOO_LARGE, SLICE(""));
	check_decode("bomb", buf_slice(&key), buf_slice(&packed), 0, CODEC_TOO_LARGE, SLICE(""));
	buf_free(&key);
	buf_free(&text);
	buf_free(&packed);
}

static void test_fits(void **state)
{
	struct buf key = make_text(5000, 0), text = make_text(5000, 1);
	struct buf packed = encode(buf_slice(&key), 3, buf_slice(&text));
	struct buf no_size = compress(buf_slice(&text), false, true);

	(void)state;
	assert_true(codec_fits(codec, ENCODING_ZSTD_DELTA, buf_slice(&packed), 5000));
	assert_false(codec_fits(codec, ENCODING_ZSTD_DELTA, buf_slice(&packed), 4999));
	assert_false(codec_fits(codec, ENCODING_ZSTD_DELTA, buf_slice(&no_size), 5000));
	assert_false(codec_fits(codec, ENCODING_ZSTD_DELTA, SLICE(""), 5000));
	buf_free(&key);
	buf_free(&text);
	buf_free(&packed);
	buf_free(&no_size);
}

static void test_levels(void **state)
{
	struct buf out = {0};
	struct err err = {""};

	(void)state;
	assert_int_equal(codec_encode_delta(codec, SLICE("k"), 1000, SLICE("x"), &out, &err), -1);
	assert_non_null(strstr(err.text, "zstd has no level 1000"));
	assert_int_equal(out.len, 0);
	buf_free(&out);
}

/* One context serves both, and neither leaves the other anything: no prefix, no window. */
static void test_beside_whole_frames(void **state)
{
	struct buf key = make_text(57000, 0), text = make_text(57000, 1);
	struct buf before = {0}, after = {0}, failed = {0}, delta;

	(void)state;
	assert_int_equal(codec_encode(codec, ENCODING_ZSTD, 3, buf_slice(&text), &before, NULL), 0);
	delta = encode(buf_slice(&key), 1, buf_slice(&text));
	assert_int_equal(
		codec_encode_delta(codec, buf_slice(&key), 1000, SLICE("x"), &failed, NULL), -1);
	assert_int_equal(codec_encode(codec, ENCODING_ZSTD, 3, buf_slice(&text), &after, NULL), 0);
	assert_true(slice_eq(buf_slice(&before), buf_slice(&after)));
	check_decode("delta", buf_slice(&key), buf_slice(&delta), MB, CODEC_OK, buf_slice(&text));
	buf_clear(&delta);
	assert_int_equal(
		codec_decode(codec, ENCODING_ZSTD, buf_slice(&after), 57000, &delta), CODEC_OK);
	assert_true(slice_eq(buf_slice(&delta), buf_slice(&text)));
	buf_free(&key);
	buf_free(&text);
	buf_free(&before);
	buf_free(&after);
	buf_free(&failed);
	buf_free(&delta);
}

/* Where values differ and lines stay, next to nothing but those values is sent. */
static void test_values_cost_little(void **state)
{
	static const size_t sizes[] = {57000, BLOCK, 3 * BLOCK};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct buf key = make_text(sizes[i], 0), text = make_text(sizes[i], 1);
		struct buf packed = encode(buf_slice(&key), 3, buf_slice(&text));
		size_t changed = sizes[i] / 28 / 10; /* of lines of about so many bytes */

		if (packed.len > changed * 9)
			fail_msg("%zu bytes come to %zu", sizes[i], packed.len);
		buf_free(&key);
		buf_free(&text);
		buf_free(&packed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_values_cost_little),
		cmocka_unit_test(test_is_smaller),
		cmocka_unit_test(test_wrong_prefix),
		cmocka_unit_test(test_corrupt),
		cmocka_unit_test(test_prefix_like_a_dictionary),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_bomb),
		cmocka_unit_test(test_fits),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_beside_whole_frames),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
