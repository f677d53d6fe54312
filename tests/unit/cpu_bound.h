/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_CPU_BOUND_H
#define PS_TESTS_UNIT_CPU_BOUND_H
/*
 * For telling linear from quadratic: CPU time of this process, which a busy machine does not
 * stretch, and how much more of it a sanitizer build may take. Never for speed as such: `make
 * bench` shows that.
 */
#include <time.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define CPU_BOUND_FACTOR 20
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define CPU_BOUND_FACTOR 20
#endif
#endif
#ifndef CPU_BOUND_FACTOR
#define CPU_BOUND_FACTOR 1
#endif

static inline double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#endif
