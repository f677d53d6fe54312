/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing, linear probing, at most half full. */
#include "receiver/sink/push_index.h"

#include "common/core/table.h"

#define FIRST_CAPACITY 1024
#define MAX_KEPT       65536 /* of an empty one */

uint64_t push_hash_seed(void)
{
	return (uint64_t)table_hash("high", 4) << 32 | table_hash("low", 3);
}

/* The two halves of the product, folded: the mixing step of wyhash and its relatives. */
static uint64_t fold(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t push_hash(uint64_t state, struct slice bytes)
{
	uint64_t word;

	state = fold(
		state ^ UINT64_C(0xa0761d6478bd642f), bytes.len ^ UINT64_C(0xe7037ed1a0b428db));
	while (bytes.len >= sizeof(word)) {
		memcpy(&word, bytes.ptr, sizeof(word));
		state = fold(state ^ word, UINT64_C(0x8ebc6af09c88c6e3));
		bytes.ptr += sizeof(word);
		bytes.len -= sizeof(word);
	}
	if (bytes.len == 0)
		return state;
	word = 0;
	memcpy(&word, bytes.ptr, bytes.len);
	return fold(state ^ word, UINT64_C(0x589965cc75374cc3));
}

static size_t find(const struct push_index *index, uint64_t hash)
{
	size_t at = hash & (index->capacity - 1);

	while (index->values[at] != 0 && index->hashes[at] != hash)
		at = (at + 1) & (index->capacity - 1);
	return at;
}

static void grow(struct push_index *index)
{
	struct push_index larger = {.count = index->count};

	larger.capacity = index->capacity == 0 ? FIRST_CAPACITY : 2 * index->capacity;
	larger.hashes = xcalloc(larger.capacity, sizeof(*larger.hashes));
	larger.values = xcalloc(larger.capacity, sizeof(*larger.values));
	for (size_t i = 0; i < index->capacity; i++) {
		size_t at;

		if (index->values[i] == 0)
			continue;
		at = find(&larger, index->hashes[i]);
		larger.hashes[at] = index->hashes[i];
		larger.values[at] = index->values[i];
	}
	push_index_free(index);
	*index = larger;
}

uint32_t *push_index_at(struct push_index *index, uint64_t hash)
{
	size_t at;

	if (2 * (index->count + 1) > index->capacity)
		grow(index);
	at = find(index, hash);
	if (index->values[at] == 0) {
		index->hashes[at] = hash;
		index->count++;
	}
	return &index->values[at];
}

uint32_t push_index_get(const struct push_index *index, uint64_t hash)
{
	return index->capacity == 0 ? 0 : index->values[find(index, hash)];
}

void push_index_clear(struct push_index *index)
{
	if (index->capacity > MAX_KEPT)
		push_index_free(index);
	else if (index->count > 0)
		memset(index->values, 0, index->capacity * sizeof(*index->values));
	index->count = 0;
}

void push_index_free(struct push_index *index)
{
	free(index->hashes);
	free(index->values);
	*index = (struct push_index){0};
}
