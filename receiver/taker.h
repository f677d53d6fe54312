/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_TAKER_H
#define PS_RECEIVER_TAKER_H
/*
 * What takes frames once they are whole: newest.h and ordered.h have a table each. Loop thread.
 */
#include "receiver/fate.h"
#include "receiver/shares.h"

struct frame;

struct taker {
	/* Whether it would take the frame: whether it is worth while to get what it lacks. */
	bool (*wants)(void *self, const struct frame *frame, int64_t now_ms);
	/* Judges the frame and takes it, or ends it. */
	void (*offer)(void *self, struct frame *frame, int64_t now_ms);
	/* Ends a frame that cannot be offered. */
	void (*drop)(void *self, struct frame *frame, enum frame_fate fate, int64_t now_ms);
	/* What is held for publishers is charged here. */
	struct shares *(*shares)(void *self);
	/*
	 * It misses nothing that can be had: frames wait beyond their publisher's share (what asks
	 * the stream for more has to stop), and for as long as keyframes cannot be looked up.
	 */
	bool takes_all;
};

#endif
