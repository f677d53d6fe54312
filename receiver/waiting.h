/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_WAITING_H
#define PS_RECEIVER_WAITING_H
/*
 * Frames on their way from the stream to where they are taken, some of which have to wait for a
 * keyframe. Frames of one target never overtake each other: those that come later wait behind. Only
 * the first of a target looks for its keyframe. What waits is charged to its publisher. Loop
 * thread.
 */
#include "receiver/frame.h"
#include "receiver/keyframe_store.h"
#include "receiver/taker.h"

struct waiting;

struct waiting_options {
	struct keyframe_store *keyframes;
	struct slice topic;        /* kept by reference */
	const struct taker *taker; /* it judges and takes them, or ends them */
	void *taker_self;
};

struct waiting *waiting_new(const struct waiting_options *options);

/* Takes the frame: on to the taker, now or later. */
void waiting_offer(struct waiting *waiting, struct frame *frame);

size_t waiting_count(const struct waiting *waiting);

/* Every second or so, where the taker takes all: looks again for keyframes that could not be asked
 * for. */
void waiting_sweep(struct waiting *waiting);

/* Calls `visit` with the reply of every frame that waits here and came before `arrived_us`. */
void waiting_each_unacked(const struct waiting *waiting, uint64_t arrived_us,
	void (*visit)(void *arg, struct slice reply), void *arg);

/* Frames are freed, not acked. Before its taker and its keyframes. */
void waiting_free(struct waiting *waiting);

#endif
