/* SPDX-License-Identifier: Apache-2.0 */
/* The form in which a keyframe is held, and frames decoded with it: byte for byte what went in. */
#include "receiver/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define LIMIT 1000000

static void make_exposition(struct buf *out, int value)
{
	for (int i = 0; i < 500; i++)
		buf_appendf(out, "some_metric_total{device=\"d%d\",mode=\"m%d\"} %d\n", i / 7,
			i % 7, i % 50 == 0 ? i + value : i);
}

static void encode(struct codec *codec, enum encoding encoding, struct slice in, struct buf *out)
{
	struct err err;

	assert_int_equal(codec_encode(codec, encoding, 3, in, out, &err), 0);
}

static void expect_same(const struct buf *got, const struct buf *expected)
{
	assert_int_equal(got->len, expected->len);
	assert_memory_equal(got->ptr, expected->ptr, expected->len);
}

static const enum encoding encodings[] = {ENCODING_IDENTITY, ENCODING_GZIP, ENCODING_ZSTD};

/* Whatever it came as, it is held about as small as zstd makes it. */
static void test_forms(void **state)
{
	struct codec *codec = codec_new();
	struct buf body = {0}, decoded = {0};

	(void)state;
	make_exposition(&body, 0);
	for (size_t i = 0; i < ARRAY_LEN(encodings); i++) {
		struct buf encoded = {0};
		enum codec_status status;
		struct keyframe *keyframe;

		print_message("%s\n", encoding_name(encodings[i]));
		encode(codec, encodings[i], buf_slice(&body), &encoded);
		keyframe =
			keyframe_new(codec, encodings[i], buf_slice(&encoded), body.len, &status);
		assert_non_null(keyframe);
		assert_in_range(keyframe_encoded_bytes(keyframe), 100, body.len / 4);
		for (int expanded = 1; expanded >= 0; expanded--) {
			struct slice exposition;

			buf_clear(&decoded);
			assert_int_equal(
				keyframe_read(keyframe, codec, &decoded, &exposition), CODEC_OK);
			assert_int_equal(decoded.len, expanded ? 0 : body.len);
			assert_true(slice_eq(exposition, buf_slice(&body)));
			keyframe_shrink(keyframe);
		}
		assert_in_range(keyframe_expanded_bytes(keyframe), body.len, body.len + 100);
		keyframe_expand(keyframe, codec);
		keyframe_unref(keyframe);
		assert_null(keyframe_new(
			codec, encodings[i], buf_slice(&encoded), body.len - 1, &status));
		assert_int_equal(status, CODEC_TOO_LARGE);
		buf_free(&encoded);
	}
	buf_free(&decoded);
	buf_free(&body);
	codec_free(codec);
}

static void test_refused(void **state)
{
	struct codec *codec = codec_new();
	enum codec_status status;

	(void)state;
	assert_null(keyframe_new(codec, ENCODING_ZSTD, SLICE("rubbish"), LIMIT, &status));
	assert_int_equal(status, CODEC_CORRUPT);
	assert_null(keyframe_new(codec, ENCODING_ZSTD_DELTA, SLICE("delta"), LIMIT, &status));
	assert_int_equal(status, CODEC_UNSUPPORTED);
	assert_null(keyframe_new(codec, ENCODING_UNKNOWN, SLICE("x"), LIMIT, &status));
	assert_int_equal(status, CODEC_UNSUPPORTED);
	keyframe_unref(NULL);
	codec_free(codec);
}

/* An empty exposition is one. */
static void test_empty(void **state)
{
	struct codec *codec = codec_new();
	enum codec_status status;
	struct keyframe *keyframe =
		keyframe_new(codec, ENCODING_IDENTITY, SLICE(""), LIMIT, &status);
	struct buf decoded = {0};
	struct slice exposition;

	(void)state;
	assert_non_null(keyframe);
	assert_int_equal(keyframe_read(keyframe, codec, &decoded, &exposition), CODEC_OK);
	assert_int_equal(exposition.len, 0);
	buf_free(&decoded);
	keyframe_unref(keyframe);
	codec_free(codec);
}

static enum codec_status decode(
	struct codec *codec, struct keyframe *keyframe, struct slice body, struct buf *out)
{
	struct frame frame = {.scrape = {.encoding = ENCODING_ZSTD_DELTA, .up = true},
		.keyframe = keyframe,
		.body = body};

	assert_true(frame_needs_keyframe(&frame));
	return frame_decode(&frame, codec, LIMIT, out);
}

static void test_frames(void **state)
{
	struct codec *codec = codec_new();
	struct buf key = {0}, other = {0}, body = {0}, delta = {0}, decoded = {0};
	enum codec_status status;
	struct keyframe *keyframe, *wrong;
	struct err err;

	(void)state;
	make_exposition(&key, 0);
	make_exposition(&other, 100);
	make_exposition(&body, 7);
	keyframe = keyframe_new(codec, ENCODING_IDENTITY, buf_slice(&key), LIMIT, &status);
	wrong = keyframe_new(codec, ENCODING_IDENTITY, buf_slice(&other), LIMIT, &status);
	assert_int_equal(
		codec_encode_delta(codec, buf_slice(&key), 3, buf_slice(&body), &delta, &err), 0);
	assert_true(delta.len < 200);
	assert_int_equal(decode(codec, keyframe, buf_slice(&delta), &decoded), CODEC_OK);
	expect_same(&decoded, &body);
	buf_clear(&decoded);
	assert_int_equal(decode(codec, wrong, buf_slice(&delta), &decoded), CODEC_CORRUPT);
	assert_int_equal(decode(codec, NULL, buf_slice(&delta), &decoded), CODEC_CORRUPT);
	assert_int_equal(decoded.len, 0);
	keyframe_unref(keyframe);
	keyframe_unref(wrong);
	buf_free(&key);
	buf_free(&other);
	buf_free(&body);
	buf_free(&delta);
	buf_free(&decoded);
	codec_free(codec);
}

static void test_frames_hold_it(void **state)
{
	struct codec *codec = codec_new();
	enum codec_status status;
	struct keyframe *keyframe =
		keyframe_new(codec, ENCODING_IDENTITY, SLICE("body\n"), LIMIT, &status);
	struct frame *frame = xcalloc(1, sizeof(*frame));
	size_t before = frame_bytes(frame);

	(void)state;
	frame->keyframe = keyframe_ref(keyframe);
	assert_int_equal(frame_bytes(frame), before + keyframe_encoded_bytes(keyframe));
	keyframe_unref(keyframe);
	assert_false(frame_needs_keyframe(frame));
	frame_free(frame);
	codec_free(codec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_frames_hold_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
