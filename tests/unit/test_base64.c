/* SPDX-License-Identifier: Apache-2.0 */
/* Standard base64 with padding, and nothing else. */
#include "common/core/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
	const char *text, *expected; /* NULL: refused */
} cases[] = {
	{"Zg==", "f"},
	{"Zm8=", "fo"},
	{"Zm9v", "foo"},
	{"Zm9vYg==", "foob"},
	{"+/+/", "\xfb\xff\xbf"},
	{"", NULL},
	{"Zg", NULL},
	{"Zg=", NULL},
	{"Z===", NULL},
	{"====", NULL},
	{"Zm9v\n", NULL},
	{"Zm 9", NULL},
	{"-_-_", NULL},
	{"Zg==Zg==", NULL},
};

static void test_decode(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = {0};
		int result = base64_decode(slice_from(cases[i].text), &out);

		print_message("\"%s\"\n", cases[i].text);
		assert_int_equal(result, cases[i].expected == NULL ? -1 : 0);
		if (cases[i].expected != NULL)
			assert_string_equal(buf_cstr(&out), cases[i].expected);
		buf_free(&out);
	}
}

static const struct {
	const char *digits, *last_two, *expected; /* NULL: refused */
} unpadded[] = {
	{"", "+/", ""},
	{"YQ", "+/", "a"},
	{"YWI", "-_", "ab"},
	{"YWJj", "-_", "abc"},
	{"Pz8/", "+/", "???"},
	{"Pz8_", "-_", "???"},
	{"Pz8_", "+/", NULL},
	{"Pz8/", "-_", NULL},
	{"YQ==", "+/", NULL},
	{"Y Q", "+/", NULL},
};

static void test_digits(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(unpadded); i++) {
		struct buf out = {0};
		int result = base64_decode_digits(
			slice_from(unpadded[i].digits), unpadded[i].last_two, &out);

		print_message("%s\n", unpadded[i].digits);
		assert_int_equal(result, unpadded[i].expected == NULL ? -1 : 0);
		if (result == 0)
			assert_string_equal(buf_cstr(&out), unpadded[i].expected);
		buf_free(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode), cmocka_unit_test(test_digits)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
