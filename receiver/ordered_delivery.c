/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How what is held leaves again: to the sink, which says what became of it, or for its age; and how
 * silence is noticed.
 */
#include "receiver/ordered_internal.h"

#include "receiver/freshness.h"

static bool is_stale(const struct ordered *ordered, const struct frame *frame, int64_t now_ms)
{
	return freshness_is_stale(ordered->options.limits.max_age_ms, frame->age_from_ms, now_ms);
}

struct frame *ordered_next(struct ordered *ordered, int64_t now_ms)
{
	struct share_turn *turn;

	while ((turn = shares_next(&ordered->shares)) != NULL) {
		struct ordered_target *target = container_of(turn, struct ordered_target, turn);
		struct frame *frame = ordered_take_waiting(ordered, target);

		if (!is_stale(ordered, frame, now_ms)) {
			ordered_insert(&target->in_flight, frame);
			turn->share->in_flight++;
			shares_charge(&ordered->shares, turn->share, frame_bytes(frame));
			shares_pass(&ordered->shares, turn->share, 1);
			return frame;
		}
		ordered_decide(ordered, target, frame, FATE_STALE);
	}
	return NULL;
}

void ordered_end(struct ordered *ordered, struct frame *frame, enum ordered_outcome outcome)
{
	struct ordered_target *target = frame->target;

	TAILQ_REMOVE(&target->in_flight, frame, in_queue);
	target->turn.share->in_flight--;
	shares_discharge(&ordered->shares, target->turn.share, frame_bytes(frame));
	shares_pass(&ordered->shares, target->turn.share, -1);
	ordered_decide(ordered, target, frame,
		outcome == ORDERED_TAKEN ? frame->delivered_as : FATE_REFUSED);
}

static void drop_stale(struct ordered *ordered, struct ordered_target *target, int64_t now_ms)
{
	const struct frame *first;

	while ((first = TAILQ_FIRST(&target->waiting)) != NULL && is_stale(ordered, first, now_ms))
		ordered_decide(ordered, target, ordered_take_waiting(ordered, target), FATE_STALE);
}

static bool is_silent(const struct ordered *ordered, const struct ordered_target *target,
	int64_t now_ms, int64_t trusted_since_ms)
{
	int64_t since_ms =
		target->heard_from_ms > trusted_since_ms ? target->heard_from_ms : trusted_since_ms;

	return trusted_since_ms != 0 && TAILQ_EMPTY(&target->waiting) &&
	       TAILQ_EMPTY(&target->in_flight) &&
	       now_ms - since_ms > freshness_silence_bound_ms(
					   target->interval_ms, ordered->options.limits.max_age_ms);
}

void ordered_sweep(struct ordered *ordered, int64_t now_ms, int64_t trusted_since_ms)
{
	struct ordered_target *target, *next;

	HASH_ITER (by_subject, ordered->targets, target, next) {
		drop_stale(ordered, target, now_ms);
		if (target->is_silent || !is_silent(ordered, target, now_ms, trusted_since_ms))
			continue;
		target->is_silent = true;
		ordered->options.on_silent(ordered->options.arg, target);
	}
}
