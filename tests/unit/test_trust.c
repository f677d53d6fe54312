/* SPDX-License-Identifier: Apache-2.0 */
/* From when on silence is believed, call by call. */
#include "receiver/trust.h"

#include "common/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define WALL_MS  INT64_C(1700000000000)
#define MONO_MS  UINT64_C(5000)
#define NO_TRUST (-1)

struct call {
	bool is_heard, is_caught_up;
	int64_t wall_ms, mono_ms; /* since the start */
	int64_t since_ms;         /* expected, likewise; or NO_TRUST */
};

static const struct {
	const char *name;
	struct call calls[4];
	size_t count;
} cases[] = {
	{"not before it is heard to the end",
		{{false, true, 0, 0, NO_TRUST}, {true, false, 1000, 1000, NO_TRUST},
			{true, true, 2000, 2000, 2000}, {true, false, 3000, 3000, 2000}},
		4},
	{"a break begins it anew",
		{{true, true, 0, 0, 0}, {false, true, 1000, 1000, NO_TRUST},
			{true, true, 2000, 2000, 2000}},
		3},
	{"the clock is set forward",
		{{true, true, 0, 0, 0}, {true, true, 3601000, 1000, 3601000},
			{true, true, 3602000, 2000, 3601000}},
		3},
	{"the clock is set back", {{true, true, 0, 0, 0}, {true, true, -3599000, 1000, -3599000}},
		2},
	{"the clock is set while messages are pending",
		{{true, true, 0, 0, 0}, {true, false, 3601000, 1000, NO_TRUST},
			{true, true, 3602000, 2000, 3602000}},
		3},
	{"adjusted slowly",
		{{true, true, 0, 0, 0}, {true, true, 1900, 1000, 0}, {true, true, 2800, 2000, 0}},
		3},
};

static void test_calls(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct trust trust = {0};

		for (size_t k = 0; k < cases[i].count; k++) {
			const struct call *call = &cases[i].calls[k];
			int64_t expected =
				call->since_ms == NO_TRUST ? 0 : WALL_MS + call->since_ms;

			trust_update(&trust, call->is_heard, call->is_caught_up,
				WALL_MS + call->wall_ms, MONO_MS + (uint64_t)call->mono_ms);
			if (trust.since_ms != expected)
				fail_msg("%s: call %zu: got %lld, expected %lld", cases[i].name, k,
					(long long)trust.since_ms, (long long)expected);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
