/* SPDX-License-Identifier: Apache-2.0 */
/* Order is the stream's. A target of which nothing was taken yet has no place: seq is 0. */
#include "receiver/place.h"

#include "receiver/freshness.h"

bool place_has_passed(const struct place *place, const struct frame *frame)
{
	if (place->seq == 0)
		return false;
	return frame->generation == place->generation ? frame->stream_seq <= place->seq
						      : frame->stored_ms <= place->stored_ms;
}

bool place_is_late(const struct place *place, const struct frame *frame, int64_t max_age_ms)
{
	int64_t step_back_ms = place->time_ms - frame->scrape.time_ms;
	bool is_anew = frame->generation != place->generation;

	return step_back_ms > 0 &&
	       step_back_ms <= freshness_reset_bound_ms(
				       frame->scrape.interval_ms, is_anew ? max_age_ms : 0);
}

int64_t place_step_back_ms(const struct place *place, const struct frame *frame)
{
	int64_t step_back_ms = place->time_ms - frame->scrape.time_ms;

	return place->time_ms != 0 && step_back_ms > 0 ? step_back_ms : 0;
}

void place_move(struct place *place, const struct frame *frame)
{
	place->generation = frame->generation;
	place->seq = frame->stream_seq;
	place->stored_ms = frame->stored_ms;
	place->time_ms = frame->scrape.time_ms;
}
