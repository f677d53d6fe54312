/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_INDEX_H
#define PS_RECEIVER_SINK_PUSH_INDEX_H
/*
 * A table from 64-bit hashes to small numbers, for the thousands of look-ups that one body takes.
 * Keys are not kept: equal hashes count as equal keys, which among a million keys goes wrong once
 * in 37 million bodies. The hash is seeded, so that nobody can choose colliding names. Pure.
 */
#include "common/core/buf.h"

struct push_index {
	uint64_t *hashes;
	uint32_t *values; /* 0: free */
	size_t capacity;  /* a power of two, or 0 */
	size_t count;
};

/* Of this process. */
uint64_t push_hash_seed(void);

/* Carries `state` on over the bytes and their number. */
uint64_t push_hash(uint64_t state, struct slice bytes);

/*
 * The place of the key's value: 0 where it is new, and then the caller must set it. Valid until the
 * next call.
 */
uint32_t *push_index_at(struct push_index *index, uint64_t hash);

/* The value, or 0. */
uint32_t push_index_get(const struct push_index *index, uint64_t hash);
/* Empties it; its memory stays, unless it is very much. */
void push_index_clear(struct push_index *index);
void push_index_free(struct push_index *index);

#endif
