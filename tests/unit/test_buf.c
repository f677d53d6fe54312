/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes: growing, moving, comparing, and what an empty buf does. */
#include "common/core/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void test_append(void **state)
{
	struct buf buf = {0};

	(void)state;
	buf_append(&buf, NULL, 0);
	assert_null(buf.ptr);
	buf_append_str(&buf, "one");
	buf_append_char(&buf, ' ');
	buf_append_slice(&buf, SLICE("t\0wo"));
	buf_appendf(&buf, " %d%s", 3, "!");
	buf_appendf(&buf, "%s", "");
	assert_int_equal(buf.len, 11);
	assert_memory_equal(buf.ptr, "one t\0wo 3!", 11);
	assert_int_equal(strlen(buf_cstr(&buf)), 5);
	assert_int_equal(buf.len, 11);
	buf_clear(&buf);
	assert_int_equal(buf.len, 0);
	assert_string_equal(buf_cstr(&buf), "");
	buf_free(&buf);
	assert_null(buf.ptr);
	assert_string_equal(buf_cstr(&buf), "");
	buf_free(&buf);
}

/* Growth keeps what is there, and capacity never trails the length. */
static void test_growth(void **state)
{
	struct buf buf = {0};

	(void)state;
	for (size_t i = 0; i < 100000; i++) {
		buf_append_char(&buf, (char)(i % 251));
		assert_true(buf.len <= buf.capacity);
	}
	for (size_t i = 0; i < buf.len; i++)
		if (buf.ptr[i] != (char)(i % 251))
			fail_msg("byte %zu: got %d, want %d", i, buf.ptr[i], (char)(i % 251));
	assert_true(buf.capacity < 3 * buf.len);
	buf_free(&buf);
}

static void test_reserve(void **state)
{
	struct buf buf = {0};
	char *at;

	(void)state;
	assert_non_null(buf_reserve(&buf, 0));
	buf_append_str(&buf, "x");
	at = buf_reserve(&buf, 1000);
	assert_ptr_equal(at, buf.ptr + 1);
	assert_int_equal(buf.len, 1);
	assert_true(buf.capacity >= 1001);
	memset(at, 'y', 1000);
	assert_ptr_equal(buf_reserve(&buf, 1000), at);
	buf_free(&buf);
}

static void test_take(void **state)
{
	struct buf buf = {0}, taken;

	(void)state;
	buf_append_str(&buf, "content");
	taken = buf_take(&buf);
	assert_null(buf.ptr);
	assert_int_equal(buf.len, 0);
	assert_true(slice_is(buf_slice(&taken), "content"));
	buf_append_str(&buf, "other");
	assert_true(slice_is(buf_slice(&taken), "content"));
	buf_free(&taken);
	buf_free(&buf);
}

static const struct {
	struct slice a, b;
	int order;
} orders[] = {
	{{NULL, 0}, {NULL, 0}, 0},
	{{NULL, 0}, {"", 0}, 0},
	{{"", 0}, {"a", 1}, -1},
	{{"a", 1}, {"a", 1}, 0},
	{{"a", 1}, {"ab", 2}, -1},
	{{"b", 1}, {"ab", 2}, 1},
	{{"a\0a", 3}, {"a\0b", 3}, -1},
	{{"\xff", 1}, {"a", 1}, 1},
};

static int sign(int value)
{
	return (value > 0) - (value < 0);
}

static void test_compare(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
		assert_int_equal(sign(slice_cmp(orders[i].a, orders[i].b)), orders[i].order);
		assert_int_equal(sign(slice_cmp(orders[i].b, orders[i].a)), -orders[i].order);
		assert_int_equal(slice_eq(orders[i].a, orders[i].b), orders[i].order == 0);
	}
	assert_true(slice_is(SLICE("abc"), "abc"));
	assert_false(slice_is(SLICE("abc"), "abcd"));
	assert_int_equal(slice_from(NULL).len, 0);
}

static void test_dup(void **state)
{
	char *copy = slice_dup((struct slice){"abcdef", 3});
	char *empty = slice_dup((struct slice){NULL, 0});

	(void)state;
	assert_string_equal(copy, "abc");
	assert_string_equal(empty, "");
	free(copy);
	free(empty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_reserve),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_dup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
