/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_NEWEST_INTERNAL_H
#define PS_RECEIVER_NEWEST_INTERNAL_H
/*
 * What the parts of newest share: newest.c is what comes in, newest_delivery.c what goes out. Loop
 * thread.
 */
#include "receiver/newest.h"

#include "common/core/log.h"

struct newest {
	struct newest_options options;
	struct target *targets;
	struct shares shares;
	size_t waiting_count, waiting_bytes;
	int64_t longest_interval_ms;
	struct log_limit over_limit, over_bytes;
};

/* Ends a frame of the target that is in neither of its places, and frees it. */
void newest_decide(
	struct newest *newest, struct target *target, struct frame *frame, enum frame_fate fate);

/* Empties the waiting place; the frame is the caller's. */
struct frame *newest_take_waiting(struct newest *newest, struct target *target);

/* Fills it, which is empty. */
void newest_put_waiting(struct newest *newest, struct target *target, struct frame *frame);

bool newest_is_stale(const struct newest *newest, const struct frame *frame, int64_t now_ms);

/* How long the target may say nothing. */
int64_t newest_silence_bound_ms(const struct newest *newest, const struct target *target);

#endif
