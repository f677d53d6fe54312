/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_BACKOFF_H
#define PS_COMMON_CORE_BACKOFF_H
/*
 * How long to wait before trying again: a bound that doubles with each attempt, and under it a
 * random wait ("full jitter"), so that many clients of one failing server spread out. It computes;
 * it owns no timer. Any thread.
 */
#include <stdint.h>

/* Embedded and set by its owner: 0 < min_ms <= max_ms, attempt 0. */
struct backoff {
	uint64_t min_ms;
	uint64_t max_ms;
	unsigned attempt; /* waits handed out since the last reset */
};

/* The bound of the coming wait: min_ms doubled `attempt` times, at most max_ms. */
uint64_t backoff_bound_ms(const struct backoff *backoff);

/* The next wait, uniform over 1 … bound; raises the bound for the one after it. */
uint64_t backoff_next_ms(struct backoff *backoff);

/* After a success: starts again from min_ms. */
void backoff_reset(struct backoff *backoff);

#endif
