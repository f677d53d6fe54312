/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_CLOCK_H
#define PS_COMMON_CORE_CLOCK_H
/*
 * The one place where time and randomness come from, so that tests can set both. Any thread.
 */
#include <stdint.h>

/* Milliseconds since the Unix epoch; may step. */
int64_t clock_wall_ms(void);

/* Monotonic time; microseconds and milliseconds since an arbitrary start. */
uint64_t clock_mono_us(void);
uint64_t clock_mono_ms(void);

/* Uniform over 64 bits, seeded by the kernel. Not for secrets. */
uint64_t random_u64(void);

/* For tests: stop the wall clock at `ms` (0 lets it run again). */
void clock_freeze_wall(int64_t ms);

#endif
