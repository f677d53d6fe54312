/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_FRESHNESS_H
#define PS_RECEIVER_FRESHNESS_H
/*
 * What times mean: when a scrape is too old, when an older one than the last is a reset of the
 * clock, and when a target is silent. Times are ms since the epoch. Pure; any thread.
 */
#include <stdbool.h>
#include <stdint.h>

/* Whether what has aged since `since_ms` is too old; never where max_age_ms is 0. */
bool freshness_is_stale(int64_t max_age_ms, int64_t since_ms, int64_t now_ms);

/*
 * A step back in a target's scrape time beyond this is a reset of its clock, one within it a scrape
 * that came late. `interval_ms` is 0 where unknown; what may come again by itself is not taken for
 * a reset either: `repeated_ms`, 0 if nothing does.
 */
int64_t freshness_reset_bound_ms(int64_t interval_ms, int64_t repeated_ms);

/* A target from which nothing came for longer is silent. `interval_ms` is 0 where unknown, and
 * believed up to a day, as it says how long the target may keep its place. */
int64_t freshness_silence_bound_ms(int64_t interval_ms, int64_t max_age_ms);

#endif
