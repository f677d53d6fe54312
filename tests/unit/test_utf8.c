/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: every character there is, nothing that is none, and cuts that leave characters whole. */
#include "common/core/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static size_t encode(unsigned point, char text[4])
{
	static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
	size_t len = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;

	for (size_t i = len; i-- > 1; point >>= 6)
		text[i] = (char)(0x80 | (point & 0x3f));
	text[0] = (char)(leads[len] | point);
	return len;
}

static void test_every_character(void **state)
{
	(void)state;
	for (unsigned point = 0; point < 0x200000; point++) {
		bool valid = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
		char text[5] = {0, 0, 0, 0, 'x'};
		size_t len = encode(point, text), got = utf8_first((struct slice){text, 5});

		if (got != (valid ? len : 0))
			fail_msg("U+%04X: got %zu, want %zu", point, got, valid ? len : 0);
		for (size_t cut = 0; cut < len; cut++)
			if (utf8_first((struct slice){text, cut}) != 0)
				fail_msg("U+%04X, %zu bytes of it: is one", point, cut);
	}
}

/* All that begins with these two bytes and goes on with continuation bytes. */
static void test_every_beginning(void **state)
{
	int counts[5] = {0};

	(void)state;
	for (int pair = 0; pair < 256 * 256; pair++)
		counts[utf8_first((struct slice){
			(char[]){(char)(pair >> 8), (char)pair, '\x80', '\x80'}, 4})]++;
	assert_int_equal(counts[1], 128 * 256);
	assert_int_equal(counts[2], 30 * 64);
	assert_int_equal(counts[3], 32 + 14 * 64 + 32);
	assert_int_equal(counts[4], 48 + 3 * 64 + 16);
	assert_int_equal(utf8_first(SLICE("\xe2\x82x")), 0);
	assert_int_equal(utf8_first(SLICE("\xf0\x9f\x98x")), 0);
	assert_int_equal(utf8_first(SLICE("\xf0\x9fx\x80")), 0);
}

static const struct {
	struct slice text;
	size_t max_bytes, len;
} cuts[] = {
	{{"", 0}, 0, 0},
	{{"abc", 3}, 0, 0},
	{{"abc", 3}, 2, 2},
	{{"abc", 3}, 3, 3},
	{{"abc", 3}, 9, 3},
	{{"a\xc3\xb6", 3}, 2, 1},
	{{"a\xc3\xb6", 3}, 3, 3},
	{{"\xe2\x82\xac", 3}, 2, 0},
	{{"\xe2\x82\xac", 3}, 1, 0},
	{{"a\xf0\x9f\x98\x80z", 6}, 5, 5},
	{{"a\xf0\x9f\x98\x80z", 6}, 4, 1},
	{{"a\xf0\x9f\x98\x80z", 6}, 3, 1},
	{{"a\xf0\x9f\x98\x80z", 6}, 2, 1},
	{{"a\xf0\x9f\x98\x80z", 6}, 1, 1},
	{{"\x80\x80\x80\x80\x80\x80", 6}, 5, 5},
	{{"\x80\x80\x80\x80\x80\x80", 6}, 2, 2},
};

static void test_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
		struct slice got = utf8_cut(cuts[i].text, cuts[i].max_bytes);

		if (got.len != cuts[i].len || got.ptr != cuts[i].text.ptr)
			fail_msg("\"%.*s\" to %zu: got %zu, want %zu", SLICE_FMT(cuts[i].text),
				cuts[i].max_bytes, got.len, cuts[i].len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_character),
		cmocka_unit_test(test_every_beginning),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
