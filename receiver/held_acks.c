/* SPDX-License-Identifier: Apache-2.0 */
/* Order is by the durable's generation, then by sequence: sequences of two cannot be compared. */
#include "receiver/held_acks.h"

static bool is_before(uint64_t generation_a, uint64_t seq_a, uint64_t generation_b, uint64_t seq_b)
{
	return generation_a != generation_b ? generation_a < generation_b : seq_a < seq_b;
}

static bool blocks(const struct frame *undecided, const struct held_ack *ack)
{
	return undecided != NULL &&
	       is_before(undecided->generation, undecided->stream_seq, ack->generation, ack->seq);
}

/* From the end, where most belong: the others were delivered again, or retried meanwhile. */
static void insert(struct held_acks *acks, struct held_ack *ack)
{
	struct held_ack *before;

	TAILQ_FOREACH_REVERSE(before, acks, held_acks, next)
	{
		if (is_before(before->generation, before->seq, ack->generation, ack->seq))
			break;
	}
	if (before == NULL)
		TAILQ_INSERT_HEAD(acks, ack, next);
	else
		TAILQ_INSERT_AFTER(acks, before, ack, next);
}

void held_acks_add(struct held_acks *acks, struct frame *frame)
{
	struct held_ack *ack = xcalloc(1, sizeof(*ack));

	ack->generation = frame->generation;
	ack->seq = frame->stream_seq;
	ack->arrived_us = frame->arrived_us;
	ack->reply = buf_take(&frame->reply);
	insert(acks, ack);
}

struct held_ack *held_acks_take(
	struct held_acks *acks, const struct frame *undecided, const struct frame *another)
{
	struct held_ack *ack = TAILQ_FIRST(acks);

	if (ack == NULL || blocks(undecided, ack) || blocks(another, ack))
		return NULL;
	TAILQ_REMOVE(acks, ack, next);
	return ack;
}

struct held_ack *held_acks_find(struct held_acks *acks, const struct frame *frame)
{
	struct held_ack *ack;

	TAILQ_FOREACH (ack, acks, next)
		if (ack->generation == frame->generation && ack->seq == frame->stream_seq)
			return ack;
	return NULL;
}

void held_ack_free(struct held_ack *ack)
{
	buf_free(&ack->reply);
	free(ack);
}
