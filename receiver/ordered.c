/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every scrape of each target. Order is the stream's. A frame is decided once (taken, or known to
 * be useless); its acknowledgement then waits until nothing earlier of the same target is
 * undecided. How many acknowledgements wait is bounded by what the durable delivers unacknowledged.
 */
#include "receiver/ordered_internal.h"

#include "receiver/freshness.h"

/* Of malloc, for each of the small pieces a target consists of. */
#define PIECE_OVERHEAD_BYTES 16

struct ordered *ordered_new(const struct ordered_options *options)
{
	struct ordered *ordered = xcalloc(1, sizeof(*ordered));

	ordered->options = *options;
	shares_init(&ordered->shares, options->limits.max_publisher_bytes,
		options->limits.max_publisher_in_flight);
	return ordered;
}

void ordered_set_limits(struct ordered *ordered, const struct ordered_limits *limits)
{
	ordered->options.limits = *limits;
	shares_set_limits(
		&ordered->shares, limits->max_publisher_bytes, limits->max_publisher_in_flight);
}

/* Deciding. */

static void send_ack(struct ordered *ordered, struct slice reply, uint64_t arrived_us)
{
	if (reply.len > 0)
		ordered->options.on_ack(ordered->options.arg, reply, arrived_us);
}

/* Sends the acknowledgements that nothing undecided precedes. */
static void release_acks(struct ordered *ordered, struct ordered_target *target)
{
	struct held_ack *ack;

	while ((ack = held_acks_take(&target->acks, TAILQ_FIRST(&target->in_flight),
			TAILQ_FIRST(&target->waiting))) != NULL) {
		send_ack(ordered, buf_slice(&ack->reply), ack->arrived_us);
		held_ack_free(ack);
	}
}

/* Ends a frame that belongs to no target: nothing can precede it. */
static void decide_alone(struct ordered *ordered, struct frame *frame, enum frame_fate fate)
{
	send_ack(ordered, buf_slice(&frame->reply), frame->arrived_us);
	ordered->options.on_fate(ordered->options.arg, frame, fate);
	frame_free(frame);
}

void ordered_decide(struct ordered *ordered, struct ordered_target *target, struct frame *frame,
	enum frame_fate fate)
{
	held_acks_add(&target->acks, frame);
	ordered->options.on_fate(ordered->options.arg, frame, fate);
	frame_free(frame);
	release_acks(ordered, target);
}

/* The lists. */

void ordered_insert(struct frames *frames, struct frame *frame)
{
	struct frame *before;

	/* From the end, where most belong. */
	TAILQ_FOREACH_REVERSE(before, frames, frames, in_queue)
	{
		if (frame_is_before(before, frame))
			break;
	}
	if (before == NULL)
		TAILQ_INSERT_HEAD(frames, frame, in_queue);
	else
		TAILQ_INSERT_AFTER(frames, before, frame, in_queue);
}

/* Its target goes behind the others of its publisher. */
struct frame *ordered_take_waiting(struct ordered *ordered, struct ordered_target *target)
{
	struct frame *frame = TAILQ_FIRST(&target->waiting);

	TAILQ_REMOVE(&target->waiting, frame, in_queue);
	ordered->waiting_count--;
	ordered->waiting_bytes -= frame_bytes(frame);
	shares_discharge(&ordered->shares, target->turn.share, frame_bytes(frame));
	shares_pass(&ordered->shares, target->turn.share, -1);
	shares_set_ready(&ordered->shares, &target->turn, false);
	shares_set_ready(&ordered->shares, &target->turn, !TAILQ_EMPTY(&target->waiting));
	return frame;
}

static void put_waiting(struct ordered *ordered, struct ordered_target *target, struct frame *frame)
{
	frame->target = target;
	ordered_insert(&target->waiting, frame);
	ordered->waiting_count++;
	ordered->waiting_bytes += frame_bytes(frame);
	shares_charge(&ordered->shares, target->turn.share, frame_bytes(frame));
	shares_pass(&ordered->shares, target->turn.share, 1);
	shares_set_ready(&ordered->shares, &target->turn, true);
}

/* Targets. */

static struct ordered_target *find_target(const struct ordered *ordered, const struct frame *frame)
{
	struct ordered_target *target;

	HASH_FIND(by_subject, ordered->targets, frame->subject.ptr, frame->subject.len, target);
	return target;
}

/* What a target costs beside its frames. */
static size_t own_bytes(const struct frame *frame)
{
	size_t names = frame->publisher.len + frame->job.len + frame->instance.len;

	return sizeof(struct ordered_target) + names + frame->subject.len +
	       4 * PIECE_OVERHEAD_BYTES + labels_bytes(&frame->scrape.labels);
}

static struct ordered_target *new_target(
	struct ordered *ordered, struct share *share, const struct frame *frame)
{
	struct ordered_target *target = xcalloc(1, sizeof(*target));

	target->turn.share = share;
	target->publisher = slice_dup(frame->publisher);
	target->job = slice_dup(frame->job);
	target->instance = slice_dup(frame->instance);
	labels_merge(&target->labels, &frame->scrape.labels);
	target->subject = slice_dup(frame->subject);
	target->subject_len = frame->subject.len;
	target->bytes = own_bytes(frame);
	TAILQ_INIT(&target->waiting);
	TAILQ_INIT(&target->in_flight);
	TAILQ_INIT(&target->acks);
	HASH_ADD_KEYPTR(by_subject, ordered->targets, target->subject, target->subject_len, target);
	share->targets++;
	shares_charge(&ordered->shares, share, target->bytes);
	return target;
}

static bool has_place(const struct ordered *ordered, const struct share *share)
{
	return (int64_t)share->targets < ordered->options.limits.max_targets_per_publisher;
}

/* A place for a target that is not known yet; NULL if there is none. */
static struct ordered_target *admit(struct ordered *ordered, const struct frame *frame)
{
	struct share *share = shares_get(&ordered->shares, frame->publisher, frame->is_legacy);

	if (has_place(ordered, share))
		return new_target(ordered, share, frame);
	shares_put(&ordered->shares, share);
	log_limited(&ordered->over_limit, LOG_WARN,
		"a publisher has more targets than max_targets_per_publisher; the new ones are "
		"dropped",
		LOG_SL("publisher", frame->publisher),
		LOG_I("max_targets_per_publisher",
			ordered->options.limits.max_targets_per_publisher));
	return NULL;
}

/* It is alive, though the frame may not be taken. */
static void note_heard(struct ordered_target *target, const struct frame *frame)
{
	target->is_silent = false;
	if (frame->age_from_ms <= target->heard_from_ms)
		return;
	target->heard_from_ms = frame->age_from_ms;
	target->interval_ms = frame->scrape.interval_ms;
}

/* What came before. */

/* The frame that is held of this very message, or NULL. */
static struct frame *find_held(const struct frames *frames, const struct frame *frame)
{
	struct frame *held;

	TAILQ_FOREACH (held, frames, in_queue)
		if (held->stream_seq == frame->stream_seq && held->stored_ms == frame->stored_ms)
			return held;
	return NULL;
}

static void note_recent(struct ordered_target *target, const struct frame *frame)
{
	/* Another stream, whose sequences have begun again. */
	if (frame->generation != target->place.generation && frame->stream_seq < target->place.seq)
		memset(target->recent, 0, sizeof(target->recent));
	target->recent[target->next_recent++ % ORDERED_RECENT] = frame->stream_seq;
}

/*
 * Whether a frame that comes before the newest was taken: one of those taken last, or as old as
 * them. What the stream delivers after a later one may have been lost on its way the first time.
 */
static bool was_taken(const struct ordered_target *target, const struct frame *frame)
{
	uint64_t oldest = UINT64_MAX;

	if (frame->generation != target->place.generation)
		return true;
	for (size_t i = 0; i < ORDERED_RECENT; i++) {
		if (target->recent[i] == frame->stream_seq)
			return true;
		if (target->recent[i] < oldest)
			oldest = target->recent[i];
	}
	return frame->stream_seq < oldest;
}

/* Why a frame that is not held is of no use to its target; FATE_COUNT: it is. */
static enum frame_fate judge(const struct ordered *ordered, const struct ordered_target *target,
	const struct frame *frame, int64_t now_ms)
{
	int64_t max_age_ms = ordered->options.limits.max_age_ms;
	bool has_passed = place_has_passed(&target->place, frame);

	if (has_passed && was_taken(target, frame))
		return FATE_REDELIVERED;
	if (freshness_is_stale(max_age_ms, frame->age_from_ms, now_ms))
		return FATE_STALE;
	return !has_passed && place_is_late(&target->place, frame, max_age_ms) ? FATE_OUT_OF_ORDER
									       : FATE_COUNT;
}

/* Only the reply subject is new, if it has one. */
static void lend_reply(struct ordered *ordered, struct ordered_target *target, struct frame *held,
	struct frame *frame, bool is_waiting)
{
	ordered->waiting_bytes -= is_waiting ? frame_bytes(held) : 0;
	shares_discharge(&ordered->shares, target->turn.share, frame_bytes(held));
	if (frame->reply.len > 0) {
		buf_free(&held->reply);
		held->reply = buf_take(&frame->reply);
	}
	shares_charge(&ordered->shares, target->turn.share, frame_bytes(held));
	ordered->waiting_bytes += is_waiting ? frame_bytes(held) : 0;
}

/* False where the frame is not held, nor its acknowledgement held back. */
static bool is_held(struct ordered *ordered, struct ordered_target *target, struct frame *frame)
{
	struct frame *waiting, *in_flight;
	struct held_ack *ack;

	if (!place_has_passed(&target->place, frame))
		return false;
	waiting = find_held(&target->waiting, frame);
	in_flight = find_held(&target->in_flight, frame);
	ack = held_acks_find(&target->acks, frame);
	if (waiting != NULL) {
		lend_reply(ordered, target, waiting, frame, true);
	} else if (in_flight != NULL) {
		lend_reply(ordered, target, in_flight, frame, false);
	} else if (ack != NULL && frame->reply.len > 0) {
		buf_free(&ack->reply);
		ack->reply = buf_take(&frame->reply);
	}
	return waiting != NULL || in_flight != NULL || ack != NULL;
}

/* Taking. */

static void take(struct ordered *ordered, struct ordered_target *target, struct frame *frame)
{
	int64_t step_back_ms = place_step_back_ms(&target->place, frame);

	note_recent(target, frame);
	if (!place_has_passed(&target->place, frame)) {
		if (step_back_ms > 0)
			ordered->options.on_clock_reset(ordered->options.arg, frame, step_back_ms);
		place_move(&target->place, frame);
		target->heard_from_ms = 0; /* the clock may have been reset */
	}
	note_heard(target, frame);
	put_waiting(ordered, target, frame);
	ordered->options.on_ready(ordered->options.arg);
}

/* A frame of a target that is known; what lacks something is taken without its body. */
static void judge_and_take(struct ordered *ordered, struct ordered_target *target,
	struct frame *frame, enum frame_fate lack, int64_t now_ms)
{
	enum frame_fate fate = judge(ordered, target, frame, now_ms);

	if (fate != FATE_COUNT) {
		if (fate == FATE_STALE)
			note_heard(target, frame);
		ordered_decide(ordered, target, frame, fate);
		return;
	}
	if (lack != FATE_COUNT)
		frame_shed(frame, lack, frame_fate_words(lack));
	take(ordered, target, frame);
}

static void bring(
	struct ordered *ordered, struct frame *frame, enum frame_fate lack, int64_t now_ms)
{
	struct ordered_target *target = find_target(ordered, frame);

	if (target == NULL && freshness_is_stale(ordered->options.limits.max_age_ms,
				      frame->age_from_ms, now_ms)) {
		decide_alone(ordered, frame, FATE_STALE);
		return;
	}
	if (target == NULL)
		target = admit(ordered, frame);
	if (target == NULL) {
		decide_alone(ordered, frame, FATE_OVER_LIMIT);
	} else if (is_held(ordered, target, frame)) {
		ordered->options.on_fate(ordered->options.arg, frame, FATE_REDELIVERED);
		frame_free(frame);
	} else {
		judge_and_take(ordered, target, frame, lack, now_ms);
	}
}

void ordered_offer(struct ordered *ordered, struct frame *frame, int64_t now_ms)
{
	bring(ordered, frame, FATE_COUNT, now_ms);
}

void ordered_drop(
	struct ordered *ordered, struct frame *frame, enum frame_fate fate, int64_t now_ms)
{
	bring(ordered, frame, fate, now_ms);
}

bool ordered_wants(struct ordered *ordered, const struct frame *frame, int64_t now_ms)
{
	const struct ordered_target *target = find_target(ordered, frame);
	struct share *share;
	bool is_wanted;

	if (target != NULL)
		return judge(ordered, target, frame, now_ms) == FATE_COUNT;
	share = shares_get(&ordered->shares, frame->publisher, frame->is_legacy);
	is_wanted =
		has_place(ordered, share) &&
		!freshness_is_stale(ordered->options.limits.max_age_ms, frame->age_from_ms, now_ms);
	shares_put(&ordered->shares, share);
	return is_wanted;
}

static bool taker_wants(void *self, const struct frame *frame, int64_t now_ms)
{
	return ordered_wants(self, frame, now_ms);
}

static void taker_offer(void *self, struct frame *frame, int64_t now_ms)
{
	ordered_offer(self, frame, now_ms);
}

static void taker_drop(void *self, struct frame *frame, enum frame_fate fate, int64_t now_ms)
{
	ordered_drop(self, frame, fate, now_ms);
}

static struct shares *taker_shares(void *self)
{
	return ordered_shares(self);
}

const struct taker ordered_taker = {
	.wants = taker_wants,
	.offer = taker_offer,
	.drop = taker_drop,
	.shares = taker_shares,
	.takes_all = true,
};

/* What is held. */

struct shares *ordered_shares(struct ordered *ordered)
{
	return &ordered->shares;
}

bool ordered_is_full(const struct ordered *ordered)
{
	return shares_are_full(&ordered->shares);
}

bool ordered_is_full_for(const struct ordered *ordered, struct slice publisher)
{
	const struct share *share = shares_find(&ordered->shares, publisher);

	return share != NULL && shares_is_full(&ordered->shares, share);
}

void ordered_hold(struct ordered *ordered, struct ordered_target *target, size_t bytes)
{
	shares_discharge(&ordered->shares, target->turn.share, target->sink_bytes);
	shares_charge(&ordered->shares, target->turn.share, bytes);
	target->sink_bytes = bytes;
}

static void free_frames(
	struct ordered *ordered, struct ordered_target *target, struct frames *frames)
{
	struct frame *frame;

	while ((frame = TAILQ_FIRST(frames)) != NULL) {
		TAILQ_REMOVE(frames, frame, in_queue);
		shares_discharge(&ordered->shares, target->turn.share, frame_bytes(frame));
		shares_pass(&ordered->shares, target->turn.share, -1);
		frame_free(frame);
	}
}

static void free_target(struct ordered *ordered, struct ordered_target *target)
{
	struct share *share = target->turn.share;
	struct held_ack *ack;

	ordered->options.on_forget(ordered->options.arg, target);
	HASH_DELETE(by_subject, ordered->targets, target);
	shares_set_ready(&ordered->shares, &target->turn, false);
	while ((ack = held_acks_take(&target->acks, NULL, NULL)) != NULL)
		held_ack_free(ack);
	free_frames(ordered, target, &target->waiting);
	free_frames(ordered, target, &target->in_flight);
	shares_discharge(&ordered->shares, share, target->bytes + target->sink_bytes);
	share->targets--;
	shares_put(&ordered->shares, share);
	labels_free(&target->labels);
	free(target->publisher);
	free(target->job);
	free(target->instance);
	free(target->subject);
	free(target);
}

void ordered_forget(struct ordered *ordered, struct ordered_target *target)
{
	if (TAILQ_EMPTY(&target->waiting) && TAILQ_EMPTY(&target->in_flight))
		free_target(ordered, target);
}

size_t ordered_target_count(const struct ordered *ordered)
{
	return HASH_CNT(by_subject, ordered->targets);
}

size_t ordered_publisher_count(const struct ordered *ordered)
{
	return shares_count(&ordered->shares);
}

size_t ordered_waiting_count(const struct ordered *ordered)
{
	return ordered->waiting_count;
}

size_t ordered_waiting_bytes(const struct ordered *ordered)
{
	return ordered->waiting_bytes;
}

size_t ordered_held_bytes(const struct ordered *ordered)
{
	return ordered->shares.held_bytes;
}

static void visit_frames(const struct frames *frames, uint64_t arrived_us,
	void (*visit)(void *arg, struct slice reply), void *arg)
{
	const struct frame *frame;

	TAILQ_FOREACH (frame, frames, in_queue)
		if (frame->reply.len > 0 && frame->arrived_us < arrived_us)
			visit(arg, buf_slice(&frame->reply));
}

void ordered_each_unacked(
	struct ordered *ordered, void (*visit)(void *arg, struct slice reply), void *arg)
{
	struct ordered_target *target, *next;

	HASH_ITER (by_subject, ordered->targets, target, next) {
		visit_frames(&target->in_flight, UINT64_MAX, visit, arg);
		visit_frames(&target->waiting, UINT64_MAX, visit, arg);
	}
}

void ordered_each_held(struct ordered *ordered, uint64_t arrived_us,
	void (*visit)(void *arg, struct slice reply), void *arg)
{
	struct ordered_target *target, *next;
	const struct held_ack *ack;

	HASH_ITER (by_subject, ordered->targets, target, next) {
		visit_frames(&target->in_flight, arrived_us, visit, arg);
		visit_frames(&target->waiting, arrived_us, visit, arg);
		TAILQ_FOREACH (ack, &target->acks, next)
			if (ack->arrived_us < arrived_us && ack->reply.len > 0)
				visit(arg, buf_slice(&ack->reply));
	}
}

void ordered_free(struct ordered *ordered)
{
	struct ordered_target *target, *next;

	if (ordered == NULL)
		return;
	HASH_ITER (by_subject, ordered->targets, target, next)
		free_target(ordered, target);
	free(ordered);
}
