/* SPDX-License-Identifier: Apache-2.0 */
/* What is encoded piece by piece decodes to the whole, as one member or frame. */
#include "common/wire/stream_encoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void make_text(struct buf *text, size_t lines)
{
	for (size_t i = 0; i < lines; i++)
		buf_appendf(text, "metric_%zu{a=\"%zu\"} %zu\n", i % 7, i * 7919 % 1000, i);
}

static void check(enum encoding encoding, size_t lines, size_t piece)
{
	struct stream_encoder *encoder = stream_encoder_new(encoding);
	struct codec *codec = codec_new();
	struct buf text = {0}, encoded = {0}, decoded = {0};

	make_text(&text, lines);
	for (size_t at = 0; at < text.len; at += piece)
		stream_encoder_add(encoder,
			(struct slice){
				text.ptr + at, text.len - at < piece ? text.len - at : piece},
			false, &encoded);
	stream_encoder_add(encoder, (struct slice){"", 0}, true, &encoded);
	assert_int_equal(
		codec_decode(codec, encoding, buf_slice(&encoded), 1 << 28, &decoded), CODEC_OK);
	assert_int_equal(decoded.len, text.len);
	assert_true(text.len == 0 || memcmp(decoded.ptr, text.ptr, text.len) == 0);
	assert_true(encoded.len < 64 + text.len / 3);
	stream_encoder_free(encoder);
	codec_free(codec);
	buf_free(&text);
	buf_free(&encoded);
	buf_free(&decoded);
}

static void test_round_trips(void **state)
{
	static const enum encoding encodings[] = {ENCODING_GZIP, ENCODING_ZSTD};
	static const size_t lines[] = {0, 1, 100, 50000}, pieces[] = {1000, 128 << 10, 1 << 24};

	(void)state;
	for (size_t e = 0; e < ARRAY_LEN(encodings); e++)
		for (size_t l = 0; l < ARRAY_LEN(lines); l++)
			for (size_t p = 0; p < ARRAY_LEN(pieces); p++)
				check(encodings[e], lines[l], pieces[p]);
}

/* The rest of what was added before, and the last piece at once. */
static void test_last_piece(void **state)
{
	struct stream_encoder *encoder = stream_encoder_new(ENCODING_GZIP);
	struct codec *codec = codec_new();
	struct buf encoded = {0}, decoded = {0};

	(void)state;
	stream_encoder_add(encoder, SLICE("a"), false, &encoded);
	stream_encoder_add(encoder, SLICE("b"), true, &encoded);
	assert_int_equal(
		codec_decode(codec, ENCODING_GZIP, buf_slice(&encoded), 100, &decoded), CODEC_OK);
	assert_string_equal(buf_cstr(&decoded), "ab");
	stream_encoder_free(encoder);
	stream_encoder_free(NULL);
	codec_free(codec);
	buf_free(&encoded);
	buf_free(&decoded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_last_piece),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
