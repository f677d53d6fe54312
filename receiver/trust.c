/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A clock that is set forward makes every scrape look old at once, and all targets silent: their
 * groups would be deleted. What the two clocks drift apart between two calls tells.
 */
#include "receiver/trust.h"

#include <stdlib.h>

/* Far above what adjusting a clock slowly does in a second. */
#define STEP_MS 1000

static bool was_set(struct trust *trust, int64_t offset_ms)
{
	bool is_step = trust->has_offset && llabs(offset_ms - trust->offset_ms) > STEP_MS;

	trust->offset_ms = offset_ms;
	trust->has_offset = true;
	return is_step;
}

void trust_update(
	struct trust *trust, bool is_heard, bool is_caught_up, int64_t wall_ms, uint64_t mono_ms)
{
	bool is_step = was_set(trust, wall_ms - (int64_t)mono_ms);

	if (!is_heard)
		trust->since_ms = 0;
	else if (trust->since_ms == 0 || is_step)
		trust->since_ms = is_caught_up ? wall_ms : 0;
}
