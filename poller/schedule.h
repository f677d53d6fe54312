/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_SCHEDULE_H
#define PS_POLLER_SCHEDULE_H
/*
 * When a target is scraped, and which time its scrape carries. Each target has a grid of wall
 * times, one interval apart, shifted by a hash of what the target is: the load is spread evenly,
 * and a restart of the poller moves nothing. The shifts are whole steps, so that targets come in
 * small groups: one wake-up of every thread on the way serves a group, where it would serve one
 * target. It reads no clock and owns no timer. Pure; any thread.
 */
#include "common/core/buf.h"

/* A step is this, or a fiftieth of the interval if that is less. */
#define SCHEDULE_STEP_MS     100
#define SCHEDULE_STEPS_LEAST 50

struct schedule {
	int64_t interval_ms;
	int64_t offset_ms; /* the grid: every time that is this modulo the interval */
};

void schedule_init(
	struct schedule *schedule, struct slice subject, struct slice url, int64_t interval_ms);

/*
 * The next time on the grid after `now_ms`, other than `previous_ms`, the one served last: timers
 * and clocks disagree by a little, and what fired a moment early must not fire again. At most two
 * intervals ahead whatever the clock did meanwhile.
 */
#define SCHEDULE_NONE INT64_MIN
int64_t schedule_next(const struct schedule *schedule, int64_t now_ms, int64_t previous_ms);

/*
 * The times given to a target's scrapes; zero-initialise. A time is part of a message's identity,
 * so that no two scrapes may carry the same, not even when the clock is set back and the grid
 * brings it to the same moments again: each step back changes which milliseconds out of
 * SCHEDULE_CYCLE_MS are used, and the time is at most that much before `now_ms`.
 */
#define SCHEDULE_CYCLE_MS 4
struct schedule_stamp {
	int64_t last_ms;
	unsigned steps_back;
};
int64_t schedule_stamp(struct schedule_stamp *stamp, int64_t now_ms);

#endif
