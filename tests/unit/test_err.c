/* SPDX-License-Identifier: Apache-2.0 */
/* Error texts: wrapped in order, cut rather than overflown, printable whatever they quote. */
#include "common/core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_set_and_wrap(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(err_setf(&err, "no such %s", "thing"), -1);
	assert_string_equal(err.text, "no such thing");
	assert_int_equal(err_wrapf(&err, "targets[%d]", 3), -1);
	assert_string_equal(err.text, "targets[3]: no such thing");
}

static void test_no_place_for_it_is_fine(void **state)
{
	(void)state;
	assert_int_equal(err_setf(NULL, "x"), -1);
	assert_int_equal(err_wrapf(NULL, "x"), -1);
}

static void test_long_texts_are_cut(void **state)
{
	struct err err;
	char context[600];

	(void)state;
	memset(context, 'c', sizeof(context) - 1);
	context[sizeof(context) - 1] = '\0';
	err_setf(&err, "%s", context);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	err_wrapf(&err, "front");
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_memory_equal(err.text, "front: ccc", 10);
	err_wrapf(&err, "%s", context);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	err_setf(&err, "inner");
	context[sizeof(err.text) - 3] = '\0';
	err_wrapf(&err, "%s", context);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void test_control_bytes_do_not_reach_a_log(void **state)
{
	struct err err;

	(void)state;
	err_setf(&err, "a\nb\033[31mc\177");
	assert_string_equal(err.text, "a?b?[31mc?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set_and_wrap),
		cmocka_unit_test(test_no_place_for_it_is_fine),
		cmocka_unit_test(test_long_texts_are_cut),
		cmocka_unit_test(test_control_bytes_do_not_reach_a_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
