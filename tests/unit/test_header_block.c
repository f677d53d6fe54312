/* SPDX-License-Identifier: Apache-2.0 */
/* Header blocks as they come, sound and broken. */
#include "common/wire/header_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
	const char *name, *block, *header, *expected; /* NULL: not there */
	int times;
} finds[] = {
	{"the first line is none", "NATS/1.0\r\n\r\n", "NATS/1.0", NULL, 0},
	{"plain", "NATS/1.0\r\nA: 1\r\nB: 2\r\n\r\n", "B", "2", 1},
	{"the first of two", "NATS/1.0\r\nA: 1\r\nA: 2\r\n\r\n", "A", "1", 2},
	{"by exact name", "NATS/1.0\r\na: 1\r\nAB: 2\r\n\r\n", "A", NULL, 0},
	{"blanks around", "NATS/1.0\r\nA: \t 1 2 \t\r\n\r\n", "A", "1 2", 1},
	{"empty", "NATS/1.0\r\nA:\r\nB: 2\r\n\r\n", "A", "", 1},
	{"without CR", "NATS/1.0\nA: 1\n\n", "A", "1", 1},
	{"without an end", "NATS/1.0\r\nA: 1", "A", "1", 1},
	{"without a colon", "NATS/1.0\r\nA\r\nA: 1\r\n", "A", "1", 1},
	{"nothing", "", "A", NULL, 0},
};

static void test_find(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(finds); i++) {
		struct slice value = {"untouched", 9};
		int times = header_block_find(slice_from(finds[i].block), finds[i].header, &value);
		char *text = slice_dup(value);

		print_message("%s\n", finds[i].name);
		assert_int_equal(times, finds[i].times);
		assert_string_equal(text, times > 0 ? finds[i].expected : "untouched");
		free(text);
	}
}

static const struct {
	const char *block;
	int status;
	const char *words;
} statuses[] = {
	{"NATS/1.0 404 No Messages\r\n\r\n", 404, "No Messages"},
	{"NATS/1.0 503\r\n\r\n", 503, ""},
	{"NATS/1.0\r\nA: 1\r\n\r\n", 0, ""},
	{"NATS/1.0 40\r\n\r\n", 0, ""},
	{"NATS/1.0 abc\r\n\r\n", 0, ""},
	{"NATS\r\n", 0, ""},
	{"", 0, ""},
};

static void test_status(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		struct slice words;
		int status = header_block_status(slice_from(statuses[i].block), &words);
		char *text = slice_dup(words);

		assert_int_equal(status, statuses[i].status);
		assert_string_equal(text, statuses[i].words);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
