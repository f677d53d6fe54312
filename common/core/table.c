/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables' hash: hash64 started from a random state, so that nobody outside can choose names that
 * collide.
 */
#include "common/core/table.h"

#include "common/core/clock.h"
#include "common/core/hash.h"

#include <pthread.h>

static uint64_t seed;
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void choose_seed(void)
{
	seed = random_u64();
}

uint32_t table_hash(const void *key, size_t len)
{
	pthread_once(&seeded, choose_seed);
	return (uint32_t)hash64_finish(hash64_update(HASH64_START ^ seed, key, len));
}
