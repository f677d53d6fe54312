/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks: one piece of memory each. */
#include "receiver/sink/federate_block.h"

#include <inttypes.h>
#include <stdio.h>

struct block *block_new(struct families *families, struct slice labels, int64_t time_ms,
	size_t part_count, size_t data_bytes)
{
	char time[32];
	size_t time_len = (size_t)snprintf(time, sizeof(time), " %" PRId64 "\n", time_ms);
	size_t bytes = sizeof(struct block) + part_count * sizeof(struct block_part) + labels.len +
		       time_len + data_bytes;
	struct block *block = xmalloc(bytes);
	char *at = (char *)(block + 1);

	*block = (struct block){
		.refs = 1,
		.bytes = bytes,
		.families = families,
		.time_ms = time_ms,
		.parts = (struct block_part *)(block + 1),
		.part_count = part_count,
	};
	at += part_count * sizeof(struct block_part);
	memcpy(at, labels.ptr, labels.len);
	block->labels = (struct slice){at, labels.len};
	at += labels.len;
	memcpy(at, time, time_len);
	block->time = (struct slice){at, time_len};
	block->data = at + time_len;
	return block;
}

struct block *block_ref(struct block *block)
{
	block->refs++;
	return block;
}

void block_unref(struct block *block)
{
	if (block == NULL || --block->refs > 0)
		return;
	for (size_t i = 0; i < block->part_count; i++)
		families_unref(block->families, block->parts[i].slot);
	free(block);
}

void block_retract(const struct block *block, const void *target)
{
	for (size_t i = 0; i < block->part_count; i++)
		families_retract(block->families, block->parts[i].slot,
			(enum expo_type)block->parts[i].type, target);
}
