/* SPDX-License-Identifier: Apache-2.0 */
/* Exponential back-off with full jitter. The bound never overflows: it stops doubling at max_ms. */
#include "common/core/backoff.h"

#include "common/core/clock.h"

#include <assert.h>
#include <limits.h>

uint64_t backoff_bound_ms(const struct backoff *backoff)
{
	uint64_t bound = backoff->min_ms;

	assert(backoff->min_ms > 0 && backoff->min_ms <= backoff->max_ms);
	for (unsigned i = 0; i < backoff->attempt && bound < backoff->max_ms; i++)
		bound = bound > backoff->max_ms / 2 ? backoff->max_ms : bound * 2;
	return bound;
}

uint64_t backoff_next_ms(struct backoff *backoff)
{
	uint64_t wait = 1 + random_u64() % backoff_bound_ms(backoff);

	if (backoff->attempt < UINT_MAX)
		backoff->attempt++;
	return wait;
}

void backoff_reset(struct backoff *backoff)
{
	backoff->attempt = 0;
}
