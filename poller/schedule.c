/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All of it is arithmetic on milliseconds since the epoch. Nothing is remembered of the wall clock
 * but the last time served, so that a step of the clock costs at most one irregular gap.
 */
#include "poller/schedule.h"

#include "common/core/hash.h"

static int64_t modulo(int64_t value, int64_t by)
{
	int64_t rest = value % by;

	return rest < 0 ? rest + by : rest;
}

/* The last time up to now that belongs to this many steps back. */
static int64_t stamp_at(int64_t now_ms, unsigned steps_back)
{
	return now_ms -
	       modulo(now_ms - (int64_t)(steps_back % SCHEDULE_CYCLE_MS), SCHEDULE_CYCLE_MS);
}

static int64_t step_of(int64_t interval_ms)
{
	int64_t step_ms = interval_ms / SCHEDULE_STEPS_LEAST;

	return step_ms < 1 ? 1 : step_ms < SCHEDULE_STEP_MS ? step_ms : SCHEDULE_STEP_MS;
}

void schedule_init(
	struct schedule *schedule, struct slice subject, struct slice url, int64_t interval_ms)
{
	uint64_t state = hash64_update(HASH64_START, subject.ptr, subject.len);

	state = hash64_update(state, "", 1); /* keeps "ab" + "c" apart from "a" + "bc" */
	state = hash64_update(state, url.ptr, url.len);
	schedule->interval_ms = interval_ms;
	schedule->offset_ms = (int64_t)(hash64_finish(state) % (uint64_t)interval_ms);
	schedule->offset_ms -= schedule->offset_ms % step_of(interval_ms);
}

int64_t schedule_next(const struct schedule *schedule, int64_t now_ms, int64_t previous_ms)
{
	int64_t past_ms = modulo(now_ms - schedule->offset_ms, schedule->interval_ms);
	int64_t next_ms = now_ms - past_ms + schedule->interval_ms;

	return next_ms == previous_ms ? next_ms + schedule->interval_ms : next_ms;
}

int64_t schedule_stamp(struct schedule_stamp *stamp, int64_t now_ms)
{
	if (stamp_at(now_ms, stamp->steps_back) <= stamp->last_ms)
		stamp->steps_back++;
	stamp->last_ms = stamp_at(now_ms, stamp->steps_back);
	return stamp->last_ms;
}
