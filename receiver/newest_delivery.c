/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How what is held leaves again: to the sink, which says what became of it, or for its age; and how
 * silence is noticed.
 */
#include "receiver/newest_internal.h"

#include <assert.h>

struct target *newest_begin(struct newest *newest, int64_t now_ms)
{
	struct share_turn *turn;

	while ((turn = shares_next(&newest->shares)) != NULL) {
		struct target *target = container_of(turn, struct target, turn);
		struct frame *frame = newest_take_waiting(newest, target);

		if (!newest_is_stale(newest, frame, now_ms)) {
			target->in_flight = frame;
			target->turn.share->in_flight++;
			shares_charge(&newest->shares, target->turn.share, frame_bytes(frame));
			return target;
		}
		newest_decide(newest, target, frame, FATE_STALE);
	}
	return NULL;
}

static void retry(struct newest *newest, struct target *target, struct frame *frame, int64_t now_ms)
{
	if (target->waiting != NULL) {
		shares_set_ready(&newest->shares, &target->turn, true);
		newest_decide(newest, target, frame, FATE_SUPERSEDED);
	} else if (newest_is_stale(newest, frame, now_ms)) {
		newest_decide(newest, target, frame, FATE_STALE);
	} else {
		newest_put_waiting(newest, target, frame);
	}
}

void newest_end(
	struct newest *newest, struct target *target, enum newest_outcome outcome, int64_t now_ms)
{
	static const enum frame_fate fates[] = {
		[NEWEST_REFUSED] = FATE_REFUSED,
		[NEWEST_BEHIND] = FATE_OUT_OF_ORDER,
		[NEWEST_THERE] = FATE_REDELIVERED,
	};
	struct frame *frame = target->in_flight;

	assert(frame != NULL);
	target->in_flight = NULL;
	target->turn.share->in_flight--;
	shares_discharge(&newest->shares, target->turn.share, frame_bytes(frame));
	if (outcome == NEWEST_RETRY) {
		retry(newest, target, frame, now_ms);
		return;
	}
	if (target->waiting != NULL)
		shares_set_ready(&newest->shares, &target->turn, true);
	newest_decide(newest, target, frame,
		outcome == NEWEST_DELIVERED ? frame->delivered_as : fates[outcome]);
}

static bool is_silent(const struct newest *newest, const struct target *target, int64_t now_ms,
	int64_t trusted_since_ms)
{
	int64_t since_ms =
		target->heard_from_ms > trusted_since_ms ? target->heard_from_ms : trusted_since_ms;

	return trusted_since_ms != 0 && target->waiting == NULL && target->in_flight == NULL &&
	       now_ms - since_ms > newest_silence_bound_ms(newest, target);
}

void newest_sweep(struct newest *newest, int64_t now_ms, int64_t trusted_since_ms)
{
	struct target *target, *next;

	HASH_ITER (by_subject, newest->targets, target, next) {
		if (target->waiting != NULL && newest_is_stale(newest, target->waiting, now_ms))
			newest_decide(
				newest, target, newest_take_waiting(newest, target), FATE_STALE);
		if (target->is_silent || !is_silent(newest, target, now_ms, trusted_since_ms))
			continue;
		target->is_silent = true;
		newest->options.on_silent(newest->options.arg, target);
	}
}

void newest_doubt(struct newest *newest, struct target *target)
{
	(void)newest;
	target->is_silent = false;
}
