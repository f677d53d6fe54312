/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue per target while any of its frames waits. Its first frame awaits the keyframe; with the
 * verdict it goes on, and those behind it, up to one that lacks another keyframe.
 */
#include "receiver/waiting.h"

#include "common/core/clock.h"
#include "common/core/table.h"

/* What a keyframe that is looked up for one frame costs beside its subject, about. */
#define OVERHEAD_BYTES 512

struct queue {
	struct keyframe_wait wait;
	struct waiting *waiting;
	struct frames frames;
	bool is_stalled; /* awaits nothing, until the next sweep */
	UT_hash_handle by_subject;
	size_t subject_len;
	char subject[];
};

struct waiting {
	struct waiting_options options;
	struct queue *queues;
	struct buf key; /* for the subject being looked for */
	size_t count;
};

struct waiting *waiting_new(const struct waiting_options *options)
{
	struct waiting *waiting = xcalloc(1, sizeof(*waiting));

	waiting->options = *options;
	return waiting;
}

static struct slice key_of(struct waiting *waiting, const struct frame *frame)
{
	buf_clear(&waiting->key);
	wire_key_subject(
		&waiting->key, waiting->options.topic, frame->subject, frame->scrape.key_time_ms);
	return buf_slice(&waiting->key);
}

static enum frame_fate fate_of(enum keyframe_verdict verdict)
{
	static const enum frame_fate fates[] = {
		[KEYFRAME_MISSING] = FATE_KEYFRAME_MISSING,
		[KEYFRAME_DENIED] = FATE_KEYFRAME_DENIED,
		[KEYFRAME_CORRUPT] = FATE_KEYFRAME_CORRUPT,
		[KEYFRAME_TOO_LARGE] = FATE_KEYFRAME_TOO_LARGE,
		[KEYFRAME_FAILED] = FATE_KEYFRAME_FAILED,
	};

	return fates[verdict];
}

static struct shares *shares_of(const struct waiting *waiting)
{
	return waiting->options.taker->shares(waiting->options.taker_self);
}

static void drop(struct waiting *waiting, struct frame *frame, enum frame_fate fate)
{
	waiting->options.taker->drop(waiting->options.taker_self, frame, fate, clock_wall_ms());
}

/* It cannot be asked for at present: the stream may have it all the same. */
static bool is_to_be_had_later(const struct waiting *waiting, enum keyframe_verdict verdict)
{
	return waiting->options.taker->takes_all &&
	       (verdict == KEYFRAME_DENIED || verdict == KEYFRAME_FAILED);
}

/* The frame's keyframe is there (the reference is taken), is not needed, or will not come. */
static void pass_on(struct waiting *waiting, struct frame *frame, enum keyframe_verdict verdict,
	struct keyframe *keyframe)
{
	frame->keyframe = keyframe;
	if (verdict == KEYFRAME_HERE)
		waiting->options.taker->offer(waiting->options.taker_self, frame, clock_wall_ms());
	else
		drop(waiting, frame, fate_of(verdict));
}

/* What is of no use whatever its keyframe says goes on without it, to be counted as what it is. */
static enum keyframe_verdict look(
	struct waiting *waiting, const struct frame *frame, struct keyframe **keyframe)
{
	*keyframe = NULL;
	if (!frame_needs_keyframe(frame) ||
		!waiting->options.taker->wants(waiting->options.taker_self, frame, clock_wall_ms()))
		return KEYFRAME_HERE;
	return keyframe_store_find(waiting->options.keyframes, key_of(waiting, frame), keyframe);
}

/* Queues. */

static struct queue *find(struct waiting *waiting, struct slice subject)
{
	struct queue *queue;

	HASH_FIND(by_subject, waiting->queues, subject.ptr, subject.len, queue);
	return queue;
}

/* Its queue and what keyframe_store.c needs are paid by each: most often it is the only one. */
static size_t cost(const struct frame *frame)
{
	return frame_bytes(frame) + sizeof(struct queue) + 2 * frame->subject.len + OVERHEAD_BYTES;
}

/* False where its publisher may not hold more. */
static bool charge(struct waiting *waiting, struct frame *frame)
{
	struct shares *shares = shares_of(waiting);
	struct share *share = shares_get(shares, frame->publisher, frame->is_legacy);

	if (!waiting->options.taker->takes_all && !shares_have_room(shares, share, cost(frame))) {
		shares_put(shares, share);
		return false;
	}
	shares_charge(shares, share, cost(frame));
	shares_pass(shares, share, 1);
	frame->charged = share;
	return true;
}

static void append(struct queue *queue, struct frame *frame)
{
	TAILQ_INSERT_TAIL(&queue->frames, frame, in_queue);
	queue->waiting->count++;
}

static struct frame *take_first(struct queue *queue)
{
	struct shares *shares = shares_of(queue->waiting);
	struct frame *frame = TAILQ_FIRST(&queue->frames);

	TAILQ_REMOVE(&queue->frames, frame, in_queue);
	queue->waiting->count--;
	shares_discharge(shares, frame->charged, cost(frame));
	shares_pass(shares, frame->charged, -1);
	shares_put(shares, frame->charged);
	return frame;
}

static void await_first(struct queue *queue)
{
	const struct frame *first = TAILQ_FIRST(&queue->frames);

	keyframe_store_await(queue->waiting->options.keyframes, key_of(queue->waiting, first),
		first->publisher, &queue->wait);
}

static void free_queue(struct queue *queue)
{
	keyframe_store_cancel(&queue->wait);
	HASH_DELETE(by_subject, queue->waiting->queues, queue);
	free(queue);
}

/* Passes on what lacks nothing more; frees a queue that is empty then. */
static void go_on(struct queue *queue)
{
	struct waiting *waiting = queue->waiting;
	struct keyframe *keyframe;

	while (!TAILQ_EMPTY(&queue->frames)) {
		enum keyframe_verdict verdict =
			look(waiting, TAILQ_FIRST(&queue->frames), &keyframe);

		queue->is_stalled = is_to_be_had_later(waiting, verdict);
		if (queue->is_stalled)
			return;
		if (verdict == KEYFRAME_AWAITED) {
			await_first(queue);
			return;
		}
		pass_on(waiting, take_first(queue), verdict, keyframe);
	}
	free_queue(queue);
}

static void on_verdict(
	struct keyframe_wait *wait, enum keyframe_verdict verdict, struct keyframe *keyframe)
{
	struct queue *queue = container_of(wait, struct queue, wait);
	struct waiting *waiting = queue->waiting;

	if (is_to_be_had_later(waiting, verdict)) {
		queue->is_stalled = true;
		return;
	}
	keyframe = verdict == KEYFRAME_HERE ? keyframe_ref(keyframe) : NULL;
	pass_on(waiting, take_first(queue), verdict, keyframe);
	go_on(queue);
}

static struct queue *add_queue(struct waiting *waiting, struct slice subject)
{
	struct queue *queue = xcalloc(1, sizeof(*queue) + subject.len + 1);

	queue->waiting = waiting;
	queue->wait.on_verdict = on_verdict;
	TAILQ_INIT(&queue->frames);
	memcpy(queue->subject, subject.ptr, subject.len);
	queue->subject_len = subject.len;
	HASH_ADD(by_subject, waiting->queues, subject, subject.len, queue);
	return queue;
}

void waiting_offer(struct waiting *waiting, struct frame *frame)
{
	struct queue *queue = find(waiting, frame->subject);
	struct keyframe *keyframe = NULL;
	enum keyframe_verdict verdict =
		queue != NULL ? KEYFRAME_AWAITED : look(waiting, frame, &keyframe);

	bool is_stalled = is_to_be_had_later(waiting, verdict);

	if (verdict != KEYFRAME_AWAITED && !is_stalled) {
		pass_on(waiting, frame, verdict, keyframe);
	} else if (!charge(waiting, frame)) {
		drop(waiting, frame, FATE_OVER_BYTES);
	} else if (queue != NULL) {
		append(queue, frame);
	} else {
		queue = add_queue(waiting, frame->subject);
		append(queue, frame);
		queue->is_stalled = is_stalled;
		if (!is_stalled)
			await_first(queue);
	}
}

void waiting_sweep(struct waiting *waiting)
{
	struct queue *queue, *next;

	HASH_ITER (by_subject, waiting->queues, queue, next)
		if (queue->is_stalled)
			go_on(queue);
}

size_t waiting_count(const struct waiting *waiting)
{
	return waiting->count;
}

void waiting_each_unacked(const struct waiting *waiting, uint64_t arrived_us,
	void (*visit)(void *arg, struct slice reply), void *arg)
{
	const struct frame *frame;

	for (struct queue *queue = waiting->queues; queue != NULL; queue = queue->by_subject.next)
		TAILQ_FOREACH (frame, &queue->frames, in_queue)
			if (frame->reply.len > 0 && frame->arrived_us < arrived_us)
				visit(arg, buf_slice(&frame->reply));
}

void waiting_free(struct waiting *waiting)
{
	struct queue *queue, *next;

	if (waiting == NULL)
		return;
	HASH_ITER (by_subject, waiting->queues, queue, next) {
		while (!TAILQ_EMPTY(&queue->frames))
			frame_free(take_first(queue));
		free_queue(queue);
	}
	buf_free(&waiting->key);
	free(waiting);
}
