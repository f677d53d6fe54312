/* SPDX-License-Identifier: Apache-2.0 */
/* Back-off: its bound by attempt, the spread of the waits under it, and readiness, its companion.
 */
#include "common/core/backoff.h"
#include "common/core/readiness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <limits.h>
#include <stdio.h>

static const struct {
	const char *name;
	uint64_t min_ms, max_ms;
	unsigned attempt;
	uint64_t bound_ms;
} bounds[] = {
	{"first", 100, 5000, 0, 100},
	{"second", 100, 5000, 1, 200},
	{"sixth", 100, 5000, 5, 3200},
	{"seventh reaches the maximum", 100, 5000, 6, 5000},
	{"far beyond", 100, 5000, 1000, 5000},
	{"no room to grow", 700, 700, 3, 700},
	{"never overflows", 1, UINT64_MAX, UINT_MAX, UINT64_MAX},
	{"half of the maximum", 2, 8, 2, 8},
};

static void test_bound(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
		struct backoff backoff = {bounds[i].min_ms, bounds[i].max_ms, bounds[i].attempt};

		print_message("%s\n", bounds[i].name);
		assert_int_equal(backoff_bound_ms(&backoff), bounds[i].bound_ms);
	}
}

static void test_waits_stay_under_the_bound_and_spread(void **state)
{
	uint64_t least = UINT64_MAX, most = 0;

	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct backoff backoff = {1000, 1000, 0};
		uint64_t wait = backoff_next_ms(&backoff);

		assert_in_range(wait, 1, 1000);
		least = wait < least ? wait : least;
		most = wait > most ? wait : most;
	}
	/* 2000 uniform draws all missing a tenth of the range: 1e-91. */
	assert_in_range(least, 1, 100);
	assert_in_range(most, 900, 1000);
}

static void test_attempts_count_until_reset(void **state)
{
	struct backoff backoff = {100, 5000, 0};

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(backoff_next_ms(&backoff), 1, 5000);
	assert_int_equal(backoff.attempt, 4);
	assert_int_equal(backoff_bound_ms(&backoff), 1600);
	backoff_reset(&backoff);
	assert_int_equal(backoff_bound_ms(&backoff), 100);
	backoff.attempt = UINT_MAX;
	assert_in_range(backoff_next_ms(&backoff), 1, 5000);
	assert_int_equal(backoff.attempt, UINT_MAX);
}

static void test_readiness_tells_change_from_repetition(void **state)
{
	struct readiness readiness = {0};
	struct buf why = {0};

	(void)state;
	assert_true(readiness_lose(&readiness, "stream \"%s\" is gone", "X"));
	assert_false(readiness_lose(&readiness, "stream \"X\" is gone"));
	assert_true(readiness_lose(&readiness, "again: %s", readiness.why));
	assert_false(readiness_get(&readiness, &why));
	assert_string_equal(buf_cstr(&why), "again: stream \"X\" is gone");
	assert_true(readiness_gain(&readiness));
	assert_false(readiness_gain(&readiness));
	assert_true(readiness_get(&readiness, NULL));
	assert_true(readiness_lose(&readiness, "%0600d", 1));
	assert_int_equal(strlen(readiness.why), sizeof(readiness.why) - 1);
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_waits_stay_under_the_bound_and_spread),
		cmocka_unit_test(test_attempts_count_until_reset),
		cmocka_unit_test(test_readiness_tells_change_from_repetition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
