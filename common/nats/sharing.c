/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gaps in the numbers of deliveries. A number that falls back is no gap: then the durable was made
 * anew, or its server lost the newest part of its state.
 */
#include "common/nats/sharing.h"

void sharing_restart(struct sharing *sharing, uint64_t judge_from_ms)
{
	sharing->next_seq = 0;
	sharing->judge_from_ms = judge_from_ms;
}

void sharing_skip(struct sharing *sharing)
{
	sharing->next_seq = 0;
}

bool sharing_note(struct sharing *sharing, uint64_t consumer_seq, uint64_t now_ms)
{
	bool is_jump = sharing->next_seq != 0 && consumer_seq > sharing->next_seq &&
		       now_ms >= sharing->judge_from_ms;

	sharing->next_seq = consumer_seq + 1;
	if (!is_jump)
		return false;
	sharing->jumps++;
	sharing->last_jump_ms = now_ms;
	return true;
}

bool sharing_is_seen(const struct sharing *sharing, uint64_t now_ms)
{
	return sharing->jumps > 0 && now_ms - sharing->last_jump_ms < SHARING_MEMORY_MS;
}
