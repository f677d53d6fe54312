/* SPDX-License-Identifier: Apache-2.0 */
#include "common/core/clock.h"

#include <stdatomic.h>
#include <sys/random.h>
#include <time.h>

static _Atomic int64_t frozen_wall_ms;

static uint64_t read_us(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int64_t clock_wall_ms(void)
{
	int64_t frozen = atomic_load_explicit(&frozen_wall_ms, memory_order_relaxed);

	return frozen != 0 ? frozen : (int64_t)(read_us(CLOCK_REALTIME) / 1000);
}

uint64_t clock_mono_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

uint64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

uint64_t random_u64(void)
{
	uint64_t value;

	if (getrandom(&value, sizeof(value), 0) != sizeof(value))
		value = read_us(CLOCK_MONOTONIC) * UINT64_C(0x9e3779b97f4a7c15);
	return value;
}

void clock_freeze_wall(int64_t ms)
{
	atomic_store(&frozen_wall_ms, ms);
}
