/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The newest scrape of each target. Order is the stream's: by sequence, and by scrape time only to
 * recognise what came late. A frame is decided once (delivered, or known to be useless); its
 * acknowledgement then waits until nothing earlier of the same target is undecided.
 *
 * What a publisher makes us hold is charged to its share, and publishers take turns, so that one
 * that sends more than it should takes neither the memory nor the time of the others.
 */
#include "receiver/newest_internal.h"

#include "receiver/freshness.h"

#include <assert.h>

/*
 * Acknowledgements that wait for earlier ones, of one publisher and of all. Beyond it they leave at
 * once: what is not acknowledged counts against what the stream delivers to everybody.
 */
#define MAX_HELD_ACKS        100000
#define MAX_HELD_ACKS_OF_ALL 300000
/* Of malloc, for each of the small pieces a target consists of. */
#define PIECE_OVERHEAD_BYTES 16

struct newest *newest_new(const struct newest_options *options)
{
	struct newest *newest = xcalloc(1, sizeof(*newest));

	newest->options = *options;
	shares_init(&newest->shares, options->limits.max_publisher_bytes,
		options->limits.max_publisher_in_flight);
	return newest;
}

void newest_set_limits(struct newest *newest, const struct newest_limits *limits)
{
	newest->options.limits = *limits;
	shares_set_limits(
		&newest->shares, limits->max_publisher_bytes, limits->max_publisher_in_flight);
}

/* Sends the acknowledgements that nothing undecided precedes. */
static void release_acks(struct newest *newest, struct target *target)
{
	struct held_ack *ack;

	while ((ack = held_acks_take(&target->acks, target->in_flight, target->waiting)) != NULL) {
		target->turn.share->acks--;
		newest->shares.held_acks--;
		newest->options.on_ack(
			newest->options.arg, buf_slice(&ack->reply), ack->arrived_us);
		held_ack_free(ack);
	}
}

static void ack_at_once(struct newest *newest, const struct frame *frame)
{
	newest->options.on_ack(newest->options.arg, buf_slice(&frame->reply), frame->arrived_us);
}

/* Ends a frame that belongs to no target: nothing can precede it. */
static void decide_alone(struct newest *newest, struct frame *frame, enum frame_fate fate)
{
	if (frame->reply.len > 0)
		ack_at_once(newest, frame);
	newest->options.on_fate(newest->options.arg, frame, fate);
	frame_free(frame);
}

/* What was looked back at came without a reply: there is nothing to acknowledge. */
static void acknowledge(struct newest *newest, struct target *target, struct frame *frame)
{
	if (frame->reply.len == 0)
		return;
	if (target->turn.share->acks >= MAX_HELD_ACKS ||
		newest->shares.held_acks >= MAX_HELD_ACKS_OF_ALL) {
		ack_at_once(newest, frame);
		return;
	}
	held_acks_add(&target->acks, frame);
	target->turn.share->acks++;
	newest->shares.held_acks++;
}

void newest_decide(
	struct newest *newest, struct target *target, struct frame *frame, enum frame_fate fate)
{
	acknowledge(newest, target, frame);
	newest->options.on_fate(newest->options.arg, frame, fate);
	frame_free(frame);
	release_acks(newest, target);
}

/* Empties the waiting place; the frame is the caller's. */
struct frame *newest_take_waiting(struct newest *newest, struct target *target)
{
	struct frame *frame = target->waiting;

	target->waiting = NULL;
	shares_set_ready(&newest->shares, &target->turn, false);
	newest->waiting_count--;
	newest->waiting_bytes -= frame_bytes(frame);
	shares_discharge(&newest->shares, target->turn.share, frame_bytes(frame));
	return frame;
}

void newest_put_waiting(struct newest *newest, struct target *target, struct frame *frame)
{
	assert(target->waiting == NULL);
	target->waiting = frame;
	newest->waiting_count++;
	newest->waiting_bytes += frame_bytes(frame);
	shares_charge(&newest->shares, target->turn.share, frame_bytes(frame));
	if (target->in_flight == NULL)
		shares_set_ready(&newest->shares, &target->turn, true);
}

bool newest_is_stale(const struct newest *newest, const struct frame *frame, int64_t now_ms)
{
	return freshness_is_stale(newest->options.limits.max_age_ms, frame->age_from_ms, now_ms);
}

static void say_over_bytes(struct newest *newest, const struct frame *frame)
{
	log_limited(&newest->over_bytes, LOG_WARN,
		"a publisher makes us hold as much as max_publisher_bytes; what it sends is "
		"dropped",
		LOG_SL("publisher", frame->publisher), LOG_SL("job", frame->job),
		LOG_SL("instance", frame->instance),
		LOG_I("max_publisher_bytes", newest->options.limits.max_publisher_bytes));
}

static void say_over_limit(struct newest *newest, const struct frame *frame)
{
	log_limited(&newest->over_limit, LOG_WARN,
		"a publisher has more targets than max_targets_per_publisher; the new ones are "
		"dropped",
		LOG_SL("publisher", frame->publisher),
		LOG_I("max_targets_per_publisher",
			newest->options.limits.max_targets_per_publisher));
}

/* What a target costs beside its frames. */
static size_t own_bytes(const struct frame *frame)
{
	size_t names = frame->publisher.len + frame->job.len + frame->instance.len;

	return sizeof(struct target) + names + frame->subject.len + 4 * PIECE_OVERHEAD_BYTES +
	       labels_bytes(&frame->scrape.labels);
}

static struct target *new_target(
	struct newest *newest, struct share *share, const struct frame *frame)
{
	struct target *target = xcalloc(1, sizeof(*target));

	target->turn.share = share;
	target->publisher = slice_dup(frame->publisher);
	target->job = slice_dup(frame->job);
	target->instance = slice_dup(frame->instance);
	labels_merge(&target->labels, &frame->scrape.labels);
	target->subject = slice_dup(frame->subject);
	target->subject_len = frame->subject.len;
	target->bytes = own_bytes(frame);
	TAILQ_INIT(&target->acks);
	HASH_ADD_KEYPTR(by_subject, newest->targets, target->subject, target->subject_len, target);
	share->targets++;
	shares_charge(&newest->shares, share, target->bytes);
	return target;
}

/* The one that is held of this very message, or NULL. */
static struct frame *held_already(const struct target *target, const struct frame *frame)
{
	struct frame *const held[] = {target->waiting, target->in_flight};

	for (size_t i = 0; i < ARRAY_LEN(held); i++)
		if (held[i] != NULL && held[i]->generation == frame->generation &&
			held[i]->stream_seq == frame->stream_seq)
			return held[i];
	return NULL;
}

/* Only the reply subject is new, if it has one. */
static void replace_reply(
	struct newest *newest, struct target *target, struct frame *held, struct frame *frame)
{
	bool is_waiting = held == target->waiting;

	newest->waiting_bytes -= is_waiting ? frame_bytes(held) : 0;
	shares_discharge(&newest->shares, target->turn.share, frame_bytes(held));
	if (frame->reply.len > 0) {
		buf_free(&held->reply);
		held->reply = buf_take(&frame->reply);
	}
	shares_charge(&newest->shares, target->turn.share, frame_bytes(held));
	newest->waiting_bytes += is_waiting ? frame_bytes(held) : 0;
	newest->options.on_fate(newest->options.arg, frame, FATE_REDELIVERED);
	frame_free(frame);
}

/* A frame whose place in the order makes it the target's newest. */
static void become_newest(struct newest *newest, struct target *target, struct frame *frame)
{
	int64_t step_back_ms = place_step_back_ms(&target->place, frame);

	if (step_back_ms > 0)
		newest->options.on_clock_reset(newest->options.arg, frame, step_back_ms);
	place_move(&target->place, frame);
	target->taken_from_ms = target->heard_from_ms = frame->age_from_ms;
	target->interval_ms = frame->scrape.interval_ms;
	target->is_silent = false;
	if (target->waiting != NULL)
		newest_decide(newest, target, newest_take_waiting(newest, target), FATE_SUPERSEDED);
	newest_put_waiting(newest, target, frame);
	if (target->turn.is_ready)
		newest->options.on_ready(newest->options.arg);
}

/* A place for a target that is not known yet, with room for so many bytes; NULL if there is none.
 */
static struct target *admit(
	struct newest *newest, const struct frame *frame, size_t bytes, enum frame_fate *refusal)
{
	struct share *share = shares_get(&newest->shares, frame->publisher, frame->is_legacy);

	if ((int64_t)share->targets >= newest->options.limits.max_targets_per_publisher) {
		say_over_limit(newest, frame);
		*refusal = FATE_OVER_LIMIT;
	} else if (!shares_have_room(&newest->shares, share, own_bytes(frame) + bytes)) {
		say_over_bytes(newest, frame);
		*refusal = FATE_OVER_BYTES;
	} else {
		return new_target(newest, share, frame);
	}
	shares_put(&newest->shares, share);
	return NULL;
}

static void offer_of_unknown(struct newest *newest, struct frame *frame, int64_t now_ms)
{
	enum frame_fate fate = FATE_STALE;
	struct target *target = NULL;

	if (!newest_is_stale(newest, frame, now_ms))
		target = admit(newest, frame, frame_bytes(frame), &fate);
	if (target != NULL)
		become_newest(newest, target, frame);
	else
		decide_alone(newest, frame, fate);
}

/* Room for a frame in the place of the one that waits. */
static bool has_room_instead(
	const struct newest *newest, const struct target *target, const struct frame *frame)
{
	size_t bytes = frame_bytes(frame);
	size_t instead = target->waiting == NULL ? 0 : frame_bytes(target->waiting);

	return bytes <= instead ||
	       shares_have_room(&newest->shares, target->turn.share, bytes - instead);
}

int64_t newest_silence_bound_ms(const struct newest *newest, const struct target *target)
{
	return freshness_silence_bound_ms(target->interval_ms, newest->options.limits.max_age_ms);
}

/* It is alive, though the frame is not taken. */
static void note_heard(struct target *target, const struct frame *frame)
{
	if (frame->age_from_ms <= target->heard_from_ms)
		return;
	target->heard_from_ms = frame->age_from_ms;
	target->interval_ms = frame->scrape.interval_ms;
}

/* What is shown of the target would freeze: it is said to be down. */
static bool take_without_body(struct newest *newest, struct target *target, struct frame *frame,
	enum frame_fate fate, int64_t now_ms)
{
	if (target->waiting != NULL || target->in_flight != NULL ||
		now_ms - target->taken_from_ms <= newest_silence_bound_ms(newest, target))
		return false;
	frame_shed(frame, fate, frame_fate_words(fate));
	if (!has_room_instead(newest, target, frame))
		return false;
	become_newest(newest, target, frame);
	return true;
}

/* What would be the newest cannot be had as it is. */
static void refuse(struct newest *newest, struct target *target, struct frame *frame,
	enum frame_fate fate, int64_t now_ms)
{
	note_heard(target, frame);
	target->is_silent = false;
	if (!take_without_body(newest, target, frame, fate, now_ms))
		newest_decide(newest, target, frame, fate);
}

static void refuse_bytes(
	struct newest *newest, struct target *target, struct frame *frame, int64_t now_ms)
{
	say_over_bytes(newest, frame);
	refuse(newest, target, frame, FATE_OVER_BYTES, now_ms);
}

static void refuse_stale(struct newest *newest, struct target *target, struct frame *frame)
{
	note_heard(target, frame);
	newest_decide(newest, target, frame, FATE_STALE);
}

static struct target *find_target(const struct newest *newest, const struct frame *frame)
{
	struct target *target;

	HASH_FIND(by_subject, newest->targets, frame->subject.ptr, frame->subject.len, target);
	return target;
}

/* Why a frame that is not held is of no use to its target; FATE_COUNT: it is. */
static enum frame_fate judge(const struct newest *newest, const struct target *target,
	const struct frame *frame, int64_t now_ms)
{
	if (place_has_passed(&target->place, frame))
		return FATE_REDELIVERED;
	if (newest_is_stale(newest, frame, now_ms))
		return FATE_STALE;
	return place_is_late(&target->place, frame, newest->options.limits.max_age_ms)
		       ? FATE_OUT_OF_ORDER
		       : FATE_COUNT;
}

static void offer_to(
	struct newest *newest, struct target *target, struct frame *frame, int64_t now_ms)
{
	enum frame_fate fate = judge(newest, target, frame, now_ms);

	if (fate == FATE_STALE)
		refuse_stale(newest, target, frame);
	else if (fate != FATE_COUNT)
		newest_decide(newest, target, frame, fate);
	else if (has_room_instead(newest, target, frame))
		become_newest(newest, target, frame);
	else
		refuse_bytes(newest, target, frame, now_ms);
}

static void note_interval(struct newest *newest, const struct frame *frame)
{
	if (frame->scrape.interval_ms > newest->longest_interval_ms)
		newest->longest_interval_ms = frame->scrape.interval_ms;
}

void newest_offer(struct newest *newest, struct frame *frame, int64_t now_ms)
{
	struct target *target = find_target(newest, frame);
	struct frame *held = target == NULL ? NULL : held_already(target, frame);

	note_interval(newest, frame);
	if (target == NULL)
		offer_of_unknown(newest, frame, now_ms);
	else if (held != NULL)
		replace_reply(newest, target, held, frame);
	else
		offer_to(newest, target, frame, now_ms);
}

bool newest_wants(struct newest *newest, const struct frame *frame, int64_t now_ms)
{
	const struct target *target;
	struct share *share;
	bool is_below;

	if (newest_is_stale(newest, frame, now_ms))
		return false;
	target = find_target(newest, frame);
	if (target != NULL)
		return held_already(target, frame) == NULL &&
		       judge(newest, target, frame, now_ms) == FATE_COUNT;
	share = shares_get(&newest->shares, frame->publisher, frame->is_legacy);
	is_below = (int64_t)share->targets < newest->options.limits.max_targets_per_publisher;
	shares_put(&newest->shares, share);
	return is_below;
}

/* It may be shown all the same, by a receiver before this one: its silence is counted from now. */
static void drop_of_unknown(
	struct newest *newest, struct frame *frame, enum frame_fate fate, int64_t now_ms)
{
	enum frame_fate refusal;
	struct target *target = NULL;

	if (fate != FATE_OVER_BYTES && !newest_is_stale(newest, frame, now_ms))
		target = admit(newest, frame, 0, &refusal);
	if (target == NULL) {
		decide_alone(newest, frame, fate);
		return;
	}
	target->taken_from_ms = frame->age_from_ms;
	refuse(newest, target, frame, fate, now_ms);
}

void newest_drop(struct newest *newest, struct frame *frame, enum frame_fate fate, int64_t now_ms)
{
	struct target *target = find_target(newest, frame);

	note_interval(newest, frame);
	if (fate == FATE_OVER_BYTES)
		say_over_bytes(newest, frame);
	if (target == NULL)
		drop_of_unknown(newest, frame, fate, now_ms);
	else if (judge(newest, target, frame, now_ms) == FATE_COUNT)
		refuse(newest, target, frame, fate, now_ms);
	else
		newest_decide(newest, target, frame, fate);
}

struct shares *newest_shares(struct newest *newest)
{
	return &newest->shares;
}

int64_t newest_longest_interval_ms(const struct newest *newest)
{
	return newest->longest_interval_ms;
}

bool newest_hold(struct newest *newest, struct target *target, size_t bytes)
{
	if (bytes > target->sink_bytes &&
		!shares_have_room(&newest->shares, target->turn.share, bytes - target->sink_bytes))
		return false;
	shares_discharge(&newest->shares, target->turn.share, target->sink_bytes);
	shares_charge(&newest->shares, target->turn.share, bytes);
	target->sink_bytes = bytes;
	return true;
}

static void free_frame(struct newest *newest, struct target *target, struct frame *frame)
{
	if (frame != NULL)
		shares_discharge(&newest->shares, target->turn.share, frame_bytes(frame));
	frame_free(frame);
}

static void free_acks(struct newest *newest, struct target *target)
{
	struct held_ack *ack;

	while ((ack = held_acks_take(&target->acks, NULL, NULL)) != NULL) {
		target->turn.share->acks--;
		newest->shares.held_acks--;
		held_ack_free(ack);
	}
}

static void free_target(struct newest *newest, struct target *target)
{
	struct share *share = target->turn.share;

	newest->options.on_forget(newest->options.arg, target);
	HASH_DELETE(by_subject, newest->targets, target);
	shares_set_ready(&newest->shares, &target->turn, false);
	free_acks(newest, target);
	share->in_flight -= target->in_flight != NULL;
	free_frame(newest, target, target->waiting);
	free_frame(newest, target, target->in_flight);
	shares_discharge(&newest->shares, share, target->bytes + target->sink_bytes);
	share->targets--;
	shares_put(&newest->shares, share);
	labels_free(&target->labels);
	free(target->publisher);
	free(target->job);
	free(target->instance);
	free(target->subject);
	free(target);
}

void newest_forget(struct newest *newest, struct target *target)
{
	if (target->waiting == NULL && target->in_flight == NULL)
		free_target(newest, target);
}

size_t newest_target_count(const struct newest *newest)
{
	return HASH_CNT(by_subject, newest->targets);
}

size_t newest_publisher_count(const struct newest *newest)
{
	return shares_count(&newest->shares);
}

size_t newest_waiting_count(const struct newest *newest)
{
	return newest->waiting_count;
}

size_t newest_waiting_bytes(const struct newest *newest)
{
	return newest->waiting_bytes;
}

size_t newest_held_bytes(const struct newest *newest)
{
	return newest->shares.held_bytes;
}

void newest_each_unacked(
	const struct newest *newest, void (*visit)(void *arg, struct slice reply), void *arg)
{
	struct target *target, *next;

	HASH_ITER (by_subject, newest->targets, target, next) {
		if (target->in_flight != NULL && target->in_flight->reply.len > 0)
			visit(arg, buf_slice(&target->in_flight->reply));
		if (target->waiting != NULL && target->waiting->reply.len > 0)
			visit(arg, buf_slice(&target->waiting->reply));
	}
}

void newest_free(struct newest *newest)
{
	struct target *target, *next;

	if (newest == NULL)
		return;
	HASH_ITER (by_subject, newest->targets, target, next)
		free_target(newest, target);
	free(newest);
}

static bool taker_wants(void *self, const struct frame *frame, int64_t now_ms)
{
	return newest_wants(self, frame, now_ms);
}

static void taker_offer(void *self, struct frame *frame, int64_t now_ms)
{
	newest_offer(self, frame, now_ms);
}

static void taker_drop(void *self, struct frame *frame, enum frame_fate fate, int64_t now_ms)
{
	newest_drop(self, frame, fate, now_ms);
}

static struct shares *taker_shares(void *self)
{
	return newest_shares(self);
}

const struct taker newest_taker = {
	.wants = taker_wants,
	.offer = taker_offer,
	.drop = taker_drop,
	.shares = taker_shares,
};
