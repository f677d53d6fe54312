/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_PLACE_H
#define PS_RECEIVER_PLACE_H
/*
 * How far a target has come in the order of the stream: by sequence, and by scrape time only to
 * recognise what came late. Pure; loop thread.
 */
#include "receiver/frame.h"

/* Of the newest frame; zero-initialise: there was none. */
struct place {
	uint64_t generation, seq;
	int64_t stored_ms, time_ms;
};

/*
 * Whether the frame is the newest or comes before it. Sequences of two generations cannot be
 * compared; the times at which the stream stored the messages can.
 */
bool place_has_passed(const struct place *place, const struct frame *frame);

/*
 * Whether a frame with an older time than the newest is merely late. A stream that was made anew
 * may be filled again with what is as old as max_age, which is no clock reset either.
 */
bool place_is_late(const struct place *place, const struct frame *frame, int64_t max_age_ms);

/* By how much the frame, which is not late, goes back in time; 0 if it does not. */
int64_t place_step_back_ms(const struct place *place, const struct frame *frame);

/* The frame is the newest now. */
void place_move(struct place *place, const struct frame *frame);

#endif
