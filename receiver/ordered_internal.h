/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_ORDERED_INTERNAL_H
#define PS_RECEIVER_ORDERED_INTERNAL_H
/*
 * What the parts of ordered share: ordered.c is what comes in, ordered_delivery.c what goes out.
 * Loop thread.
 */
#include "receiver/ordered.h"

#include "common/core/log.h"

struct ordered {
	struct ordered_options options;
	struct ordered_target *targets;
	struct shares shares;
	size_t waiting_count, waiting_bytes;
	struct log_limit over_limit;
};

/* Ends a frame of the target that is in neither of its lists, and frees it. */
void ordered_decide(struct ordered *ordered, struct ordered_target *target, struct frame *frame,
	enum frame_fate fate);

/* Takes the first off those that wait; the frame is the caller's. */
struct frame *ordered_take_waiting(struct ordered *ordered, struct ordered_target *target);

/* Into the list, at its place in stream order. */
void ordered_insert(struct frames *frames, struct frame *frame);

#endif
