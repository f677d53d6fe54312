/* SPDX-License-Identifier: Apache-2.0 */
/* What is found is in both texts, in order, and worth having; what is not our case is refused. */
#include "common/wire/line_diff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MB ((size_t)1024 * 1024)

static struct line_diff diff;

/* Bytes that stand in matches; fails if they are not what both texts say. */
static size_t check_matches(const char *name, struct slice earlier, struct slice later)
{
	size_t at = 0, sum = 0;

	for (size_t i = 0; i < diff.count; i++) {
		struct line_match match = diff.matches[i];

		if (match.at < at || match.len < LINE_MATCH_MIN_BYTES ||
			match.len > later.len - match.at || match.from > earlier.len ||
			match.len > earlier.len - match.from ||
			memcmp(later.ptr + match.at, earlier.ptr + match.from, match.len) != 0)
			fail_msg("%s: match %zu (at %zu, from %zu, %zu bytes) is none", name, i,
				match.at, match.from, match.len);
		at = match.at + match.len;
		sum += match.len;
	}
	return sum;
}

static const struct {
	const char *name, *earlier, *later;
	bool is_found;
	size_t count, bytes;
} cases[] = {
	{"the same", "a 1\nb 2\n", "a 1\nb 2\n", true, 1, 8},
	{"nothing before", "", "a 1\n", false, 0, 0},
	{"nothing after", "a 1\n", "", false, 0, 0},
	{"one value", "alpha 1\nbeta 2\n", "alpha 7\nbeta 2\n", true, 2, 6 + 8},
	{"a longer value", "alpha 1\nbeta 2\n", "alpha 1234\nbeta 2\n", true, 2, 7 + 8},
	{"a shorter value", "alpha 1234\nbeta 2\n", "alpha 1\nbeta 2\n", true, 2, 7 + 8},
	{"the last value", "alpha 1\nbeta 2", "alpha 1\nbeta 33", true, 1, 13},
	{"a line more", "alpha 1\ngamma 3\n", "alpha 1\nbeta 2\ngamma 3\n", true, 2, 8 + 8},
	{"a line less", "alpha 1\nbeta 2\ngamma 3\n", "alpha 1\ngamma 3\n", true, 2, 8 + 8},
	{"a line more at the end", "alpha 1\n", "alpha 1\nbeta 2\n", true, 1, 8},
	{"a line less at the end", "alpha 1\nbeta 2\n", "alpha 1\n", true, 1, 8},
	{"a label with a space", "m{a=\"x y\"} 1\nnext 1\n", "m{a=\"x z\"} 1\nnext 1\n", true, 2,
		7 + 8},
	{"a family more", "# HELP beta b c\n# TYPE beta gauge\nbeta 1\n",
		"# HELP alpha b c\n# TYPE alpha gauge\nalpha 1\n# HELP beta b c\n# TYPE beta "
		"gauge\nbeta 1\n",
		true, 2, 7 + 41},
	{"short lines", "a 1\nb 2\nc 3\n", "a 2\nb 3\nc 4\n", true, 0, 0},
	{"no line feed at all", "alpha beta gamma", "alpha beta gammb", true, 1, 15},
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct slice earlier = slice_from(cases[i].earlier);
		struct slice later = slice_from(cases[i].later);
		size_t sum;

		if (line_diff_find(&diff, earlier, later) != cases[i].is_found)
			fail_msg("%s: found is %d", cases[i].name, !cases[i].is_found);
		if (!cases[i].is_found)
			continue;
		sum = check_matches(cases[i].name, earlier, later);
		if (diff.count != cases[i].count || sum != cases[i].bytes)
			fail_msg("%s: %zu matches of %zu bytes, not %zu of %zu", cases[i].name,
				diff.count, sum, cases[i].count, cases[i].bytes);
	}
}

static struct buf numbered(unsigned from, unsigned to, unsigned step)
{
	struct buf text = {0};

	for (unsigned i = from; i < to; i += step)
		buf_appendf(&text, "metric_of_some_length_%u{label=\"value\"} %u\n", i, i * 7919);
	return text;
}

static void test_lines_that_went(void **state)
{
	struct buf all = numbered(0, 2000, 1), some = numbered(0, 2000, 50);

	(void)state;
	assert_true(line_diff_find(&diff, buf_slice(&all), buf_slice(&some)));
	assert_true(check_matches("went", buf_slice(&all), buf_slice(&some)) >= some.len - 64);
	buf_free(&all);
	buf_free(&some);
}

static void test_other_texts_are_refused(void **state)
{
	struct buf a = numbered(0, 2000, 1), b = numbered(100000, 102000, 1);

	(void)state;
	assert_false(line_diff_find(&diff, buf_slice(&a), buf_slice(&b)));
	buf_clear(&b);
	for (unsigned i = 2000; i-- > 0;)
		buf_appendf(&b, "metric_of_some_length_%u{label=\"value\"} %u\n", i, i);
	assert_false(line_diff_find(&diff, buf_slice(&a), buf_slice(&b)));
	buf_free(&a);
	buf_free(&b);
}

/* Repeats `unit` up to `len` bytes. */
static struct buf repeated(const char *unit, size_t len)
{
	struct buf text = {0};

	while (text.len < len)
		buf_append_str(&text, unit);
	text.len = len;
	return text;
}

/* Shapes that a careless walk would take quadratic time for: hours at this length. */
static void test_long_and_hostile(void **state)
{
	static const char *const units[] = {"\n", " ", "a", "a ", "a\n", "a 1\n", "# x\n", "\"",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1\n", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab 2\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		for (size_t k = 0; k < ARRAY_LEN(units); k++) {
			struct buf a = repeated(units[i], MB), b = repeated(units[k], MB);

			if (line_diff_find(&diff, buf_slice(&a), buf_slice(&b)))
				check_matches(units[k], buf_slice(&a), buf_slice(&b));
			buf_free(&a);
			buf_free(&b);
		}
}

static uint32_t random_next(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 16;
}

/* Small alphabets, so that much is the same; nothing may lie outside, and nothing be wrong. */
static void test_random_texts(void **state)
{
	static const char letters[] = "ab \n1#\"";
	uint32_t seed = 7;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct buf a = {0}, b = {0};
		size_t len = random_next(&seed) % 60;

		for (size_t i = 0; i < len; i++)
			buf_append_char(&a, letters[random_next(&seed) % (sizeof(letters) - 1)]);
		for (size_t i = 0; i < len; i++)
			buf_append_char(
				&b, random_next(&seed) % 4 != 0
					    ? a.ptr[i]
					    : letters[random_next(&seed) % (sizeof(letters) - 1)]);
		if (line_diff_find(&diff, buf_slice(&a), buf_slice(&b)))
			check_matches("random", buf_slice(&a), buf_slice(&b));
		buf_free(&a);
		buf_free(&b);
	}
}

static int teardown(void **state)
{
	(void)state;
	line_diff_free(&diff);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_lines_that_went),
		cmocka_unit_test(test_other_texts_are_refused),
		cmocka_unit_test(test_long_and_hostile),
		cmocka_unit_test(test_random_texts),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
