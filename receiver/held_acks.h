/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_HELD_ACKS_H
#define PS_RECEIVER_HELD_ACKS_H
/*
 * Acknowledgements of one target that are due and wait until nothing earlier of it is undecided:
 * they leave in stream order. It sends nothing itself. Loop thread.
 */
#include "receiver/frame.h"

#include <sys/queue.h>

struct held_ack {
	TAILQ_ENTRY(held_ack) next;
	uint64_t generation, seq, arrived_us;
	struct buf reply;
};

/* In stream order. Embedded; TAILQ_INIT. */
TAILQ_HEAD(held_acks, held_ack);

/* Takes the frame's reply. */
void held_acks_add(struct held_acks *acks, struct frame *frame);

/*
 * Takes the first off, which is the caller's to free, unless one of two frames that are not decided
 * yet (NULL: none) comes before it. NULL if there is none to take.
 */
struct held_ack *held_acks_take(
	struct held_acks *acks, const struct frame *undecided, const struct frame *another);

/* The one of that message, or NULL. */
struct held_ack *held_acks_find(struct held_acks *acks, const struct frame *frame);

void held_ack_free(struct held_ack *ack);

#endif
