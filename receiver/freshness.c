/* SPDX-License-Identifier: Apache-2.0 */
/* The bounds are multiples of the target's interval, from below by max_age. */
#include "receiver/freshness.h"

/* Silence of targets that never said their interval, where max_age is off. */
#define SILENCE_DEFAULT_MS (INT64_C(5) * 60 * 1000)
/* For targets that never said their interval. */
#define INTERVAL_DEFAULT_MS  (INT64_C(60) * 1000)
#define INTERVAL_BELIEVED_MS (INT64_C(24) * 60 * 60 * 1000)

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

bool freshness_is_stale(int64_t max_age_ms, int64_t since_ms, int64_t now_ms)
{
	return max_age_ms > 0 && now_ms - since_ms > max_age_ms;
}

int64_t freshness_reset_bound_ms(int64_t interval_ms, int64_t repeated_ms)
{
	return larger(2 * (interval_ms > 0 ? interval_ms : INTERVAL_DEFAULT_MS), repeated_ms);
}

int64_t freshness_silence_bound_ms(int64_t interval_ms, int64_t max_age_ms)
{
	int64_t believed_ms =
		interval_ms < INTERVAL_BELIEVED_MS ? interval_ms : INTERVAL_BELIEVED_MS;
	int64_t bound_ms = larger(believed_ms * 21 / 10, max_age_ms);

	return bound_ms > 0 ? bound_ms : SILENCE_DEFAULT_MS;
}
