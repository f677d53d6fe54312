/* SPDX-License-Identifier: Apache-2.0 */
/* The grid, steps of the clock, times that are never given twice, and the order of the agenda. */
#include "poller/schedule.h"

#include "common/core/clock.h"
#include "poller/agenda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1700000000000)

static void test_next(void **state)
{
	static const struct {
		const char *name;
		int64_t interval_ms, offset_ms, now_ms, previous_ms, want_ms;
	} cases[] = {
		{"later in this interval", 1000, 300, 10100, SCHEDULE_NONE, 10300},
		{"in the next interval", 1000, 300, 10400, SCHEDULE_NONE, 11300},
		{"on the grid: the one after", 1000, 300, 10300, SCHEDULE_NONE, 11300},
		{"just before the grid", 1000, 300, 10299, SCHEDULE_NONE, 10300},
		{"fired a moment early", 1000, 300, 10299, 10300, 11300},
		{"fired in time", 1000, 300, 10301, 10300, 11300},
		{"fired late", 1000, 300, 11299, 10300, 11300},
		{"fired an interval late", 1000, 300, 11301, 10300, 12300},
		{"clock set back", 1000, 300, 4200, 10300, 4300},
		{"clock set forward", 1000, 300, 99200, 10300, 99300},
		{"before the epoch", 1000, 300, -100, SCHEDULE_NONE, 300},
		{"interval of 1 ms", 1, 0, 5, 5, 6},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct schedule schedule = {cases[i].interval_ms, cases[i].offset_ms};
		int64_t got_ms = schedule_next(&schedule, cases[i].now_ms, cases[i].previous_ms);

		if (got_ms != cases[i].want_ms)
			fail_msg("%s: got %lld, want %lld", cases[i].name, (long long)got_ms,
				(long long)cases[i].want_ms);
	}
}

/* The offset is what keeps the load spread over restarts and versions: it must not change. */
static void test_offset_is_stable(void **state)
{
	struct schedule schedule, other;

	(void)state;
	schedule_init(&schedule, SLICE("prometheus.scrape.dc1.node.web1.0"),
		SLICE("http://web1:9100/metrics"), 60000);
	assert_int_equal(schedule.offset_ms, 23000);
	schedule_init(&other, SLICE("ab"), SLICE("c"), 1 << 30);
	schedule_init(&schedule, SLICE("a"), SLICE("bc"), 1 << 30);
	assert_int_not_equal(schedule.offset_ms, other.offset_ms);
}

static void test_spreads_evenly(void **state)
{
	enum { TARGETS = 10000, PARTS = 75, INTERVAL_MS = 15000 }; /* two steps in a part */
	int counts[PARTS] = {0};

	(void)state;
	for (int i = 0; i < TARGETS; i++) {
		char subject[64], url[64];
		struct schedule schedule;

		snprintf(subject, sizeof(subject), "prometheus.scrape.dc1.node.web%d.0", i);
		snprintf(url, sizeof(url), "http://web%d:9100/metrics", i);
		schedule_init(&schedule, slice_from(subject), slice_from(url), INTERVAL_MS);
		counts[schedule.offset_ms * PARTS / INTERVAL_MS]++;
	}
	/* 133 expected in each part; five standard deviations. */
	for (int i = 0; i < PARTS; i++)
		if (counts[i] < 76 || counts[i] > 190)
			fail_msg("part %d of the interval holds %d targets of 133", i, counts[i]);
}

static void test_offsets_are_steps(void **state)
{
	static const struct {
		int64_t interval_ms, step_ms;
	} cases[] = {
		{1, 1}, {49, 1}, {100, 2}, {1000, 20}, {5000, 100}, {15000, 100}, {86400000, 100}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t largest_ms = 0;

		for (int number = 0; number < 1000; number++) {
			char url[64];
			struct schedule schedule;

			snprintf(url, sizeof(url), "http://web%d:9100/metrics", number);
			schedule_init(&schedule, SLICE("s"), slice_from(url), cases[i].interval_ms);
			assert_int_equal(schedule.offset_ms % cases[i].step_ms, 0);
			if (schedule.offset_ms > largest_ms)
				largest_ms = schedule.offset_ms;
		}
		assert_in_range(
			largest_ms, (cases[i].interval_ms - 1) * 9 / 10, cases[i].interval_ms - 1);
	}
}

/* Whatever the clock does: never a wait above two intervals, and two in a row only after a step. */
static void test_survives_clock_steps(void **state)
{
	const struct schedule schedule = {15000, 4711};
	int64_t wall_ms = NOW_MS, tick_ms = SCHEDULE_NONE;
	uint64_t seed = 1;

	(void)state;
	for (int i = 0; i < 100000; i++) {
		int64_t next_ms = schedule_next(&schedule, wall_ms, tick_ms);
		int64_t wait_ms = next_ms - wall_ms;

		assert_in_range(wait_ms, 1, 2 * schedule.interval_ms);
		assert_int_equal(next_ms % schedule.interval_ms, schedule.offset_ms);
		assert_int_not_equal(next_ms, tick_ms);
		tick_ms = next_ms;
		seed = seed * UINT64_C(6364136223846793005) + 1;
		/* Timers are off by a few ms; now and then somebody sets the clock. */
		wall_ms = next_ms + (int64_t)(seed >> 60) - 8;
		if ((seed >> 32) % 50 == 0)
			wall_ms += (int64_t)(seed >> 40) % 200000 - 100000;
	}
}

/* One target on its grid, the clock set back again and again to moments it served before. */
static void test_no_time_is_given_twice(void **state)
{
	static const int64_t steps_back_ms[] = {0, 60000, 15000, 120000};
	struct schedule_stamp stamp = {0};
	int64_t given[400];
	size_t count = 0;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		for (int tick = 0; tick < 100; tick++) {
			int64_t grid_ms = NOW_MS - steps_back_ms[i] + tick * 15000;
			int64_t wall_ms = grid_ms + tick % 3;

			given[count] = schedule_stamp(&stamp, wall_ms);
			assert_in_range(wall_ms - given[count], 0, SCHEDULE_CYCLE_MS - 1);
			for (size_t j = 0; j < count; j++)
				if (given[j] == given[count])
					fail_msg("step %zu, tick %d: given as number %zu too", i,
						tick, j);
			count++;
		}
	}
	assert_int_equal(stamp.steps_back, 3);
}

static void test_same_moment_twice(void **state)
{
	struct schedule_stamp stamp = {0};
	int64_t first_ms = schedule_stamp(&stamp, NOW_MS);

	(void)state;
	assert_int_not_equal(schedule_stamp(&stamp, NOW_MS), first_ms);
}

static void test_agenda_keeps_order(void **state)
{
	enum { ITEMS = 1000, ROUNDS = 5000 };
	struct agenda agenda = {0};
	int served[ITEMS] = {0};
	uint64_t seed = 7, last = 0;

	(void)state;
	assert_null(agenda_first(&agenda));
	for (int i = 0; i < ITEMS; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1;
		agenda_add(&agenda, seed >> 50, &served[i]);
	}
	for (int i = 0; i < ROUNDS; i++) {
		const struct agenda_entry *first = agenda_first(&agenda);

		assert_true(first->due >= last);
		last = first->due;
		(*(int *)first->item)++;
		agenda_postpone_first(&agenda, first->due + (1 << 14));
	}
	for (int i = 0; i < ITEMS; i++)
		assert_int_equal(served[i], ROUNDS / ITEMS);
	agenda_fini(&agenda);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_offset_is_stable),
		cmocka_unit_test(test_spreads_evenly),
		cmocka_unit_test(test_offsets_are_steps),
		cmocka_unit_test(test_survives_clock_steps),
		cmocka_unit_test(test_no_time_is_given_twice),
		cmocka_unit_test(test_same_moment_twice),
		cmocka_unit_test(test_agenda_keeps_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
