/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_OUTAGES_H
#define PS_POLLER_OUTAGES_H
/*
 * What the log hears of targets that go down and come up: each by name, and again from time to time
 * while it stays down; but a whole network that goes down is a few names and a count. It decides
 * only what is said. Loop thread.
 */
#include "common/core/log.h"
#include "poller/target.h"

/* At most this many lines about single targets in each window; a summary counts the rest. */
#define OUTAGE_LINES     20
#define OUTAGE_WINDOW_MS LOG_REPEAT_INTERVAL_MS

/* A target that stays down is mentioned again this often. */
#define OUTAGE_REPEAT_MS ((uint64_t)10 * 60 * 1000)

/* Of all targets; zero-initialise. */
struct outages {
	uint64_t window_ms; /* when it began */
	unsigned lines;
	uint64_t went_down, still_down, came_up; /* in this window, and not said one by one */
	size_t down;                             /* targets, now */
};

/* Of one target; zero-initialise. */
struct outage {
	bool is_down;
	uint64_t failures; /* since it was last up */
	uint64_t down_said_ms, up_said_ms;
};

/* A scrape has ended; `error` is NULL where it succeeded. `now_ms` is monotonic. */
void outages_note(struct outages *outages, struct outage *outage, const struct target *target,
	const char *error, uint64_t now_ms);

/* Says what was left out in a window that is over. To be called now and then. */
void outages_tell(struct outages *outages, uint64_t now_ms);

#endif
