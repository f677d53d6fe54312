/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_HASH_H
#define PS_COMMON_CORE_HASH_H
/*
 * The two hashes of the project. Pure; any thread.
 *
 * hash64 is part of the wire format (subjects, message ids) and of the stable spreading of scrapes:
 * it must never change. Tables keyed by foreign strings use table.h, whose hash is seeded.
 */
#include <stddef.h>
#include <stdint.h>

/*
 * FNV-1a, 64 bit (offset basis 0xcbf29ce484222325, prime 0x100000001b3), followed by the finalizer
 * of MurmurHash3 (fmix64), which spreads FNV's weak high bits.
 */
uint64_t hash64(const void *bytes, size_t len);

/* The same, carried on from `state` (start with HASH64_START); finish with hash64_finish. */
#define HASH64_START UINT64_C(0xcbf29ce484222325)
uint64_t hash64_update(uint64_t state, const void *bytes, size_t len);
uint64_t hash64_finish(uint64_t state);

#endif
