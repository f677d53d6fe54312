/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_ORDERED_H
#define PS_RECEIVER_ORDERED_H
/*
 * Every scrape of each target, in stream order, for a sink that takes them all (newest.h is for
 * those that hold only the newest). It decides what is too old by the sink's own max_age, delivered
 * twice or out of order, which target is silent, and in which order acknowledgements leave. It
 * delivers nothing itself: the sink takes frames from it, any number at a time, and ends each. Loop
 * thread.
 *
 *	offer ──> waiting (per target, in stream order) ──next──> in flight ──end──> acked, in order
 *
 * Nothing is dropped for lack of room: what is held is charged to its publisher (shares.h), and
 * ordered_is_full says when no more should be asked of the stream.
 */
#include "receiver/fate.h"
#include "receiver/held_acks.h"
#include "receiver/place.h"
#include "receiver/shares.h"
#include "receiver/taker.h"

/* Of a target: as many as may come in ack_wait where it is scraped twice a second. */
#define ORDERED_RECENT 32

struct ordered;

/* One target. The sink reads the first part; the rest is ordered.c's. */
struct ordered_target {
	char *publisher, *job, *instance;
	struct labels labels;
	void *sink_state; /* the sink's own, NULL at first; it frees it in on_forget */

	struct share_turn turn;           /* in its publisher's share; ready while a frame waits */
	struct frames waiting, in_flight; /* in stream order */
	bool is_silent;                   /* on_silent was called and nothing came since */
	size_t bytes, sink_bytes;         /* charged to it, frames apart */
	char *subject;
	size_t subject_len;
	struct place place;
	uint64_t recent[ORDERED_RECENT]; /* sequences taken last; 0: none */
	size_t next_recent;
	int64_t interval_ms;
	int64_t heard_from_ms; /* age_from_ms of the newest that came, taken or not */
	struct held_acks acks; /* decided, waiting for an earlier one that is not */
	UT_hash_handle by_subject;
};

/* What a reload may change. */
struct ordered_limits {
	int64_t max_age_ms; /* of this sink; 0: off */
	int64_t max_targets_per_publisher;
	/* All that is held for one before ordered_is_full; for all together eight times as much. */
	uint64_t max_publisher_bytes;
	/* Frames of one publisher in flight; 0: any number. */
	size_t max_publisher_in_flight;
};

struct ordered_options {
	struct ordered_limits limits;
	/* A frame came that ordered_next may give. Not from inside ordered_next and ordered_end. */
	void (*on_ready)(void *arg);
	/* The target is silent: the sink ends what it shows of it; then ordered_forget or nothing.
	 */
	void (*on_silent)(void *arg, struct ordered_target *target);
	/* The target is about to be freed: free sink_state. */
	void (*on_forget)(void *arg, struct ordered_target *target);
	/* Acknowledge; leaves in stream order per target. `arrived_us`: the frame's. */
	void (*on_ack)(void *arg, struct slice reply, uint64_t arrived_us);
	/* A frame's end, for counting. `frame` is freed after it. */
	void (*on_fate)(void *arg, const struct frame *frame, enum frame_fate fate);
	/* The time of a target went back by more than an interval or two and was believed. */
	void (*on_clock_reset)(void *arg, const struct frame *frame, int64_t step_back_ms);
	void *arg;
};

struct ordered *ordered_new(const struct ordered_options *options);

/* What is held beyond a lower limit stays. */
void ordered_set_limits(struct ordered *ordered, const struct ordered_limits *limits);

/* The three below for whoever brings frames; `self` is a struct ordered. */
extern const struct taker ordered_taker;

/*
 * Takes the frame. `now_ms` is the wall clock. One that is held already lends its reply subject
 * and nothing else. One that the stream delivers late, after later ones of its target, and that
 * never came before, is put in its place among those that wait: rather late than lost.
 */
void ordered_offer(struct ordered *ordered, struct frame *frame, int64_t now_ms);
bool ordered_wants(struct ordered *ordered, const struct frame *frame, int64_t now_ms);

/* A scrape that lacks something that is not to be had is taken without its body, as up 0 with the
 * reason: it is not missing in the order. */
void ordered_drop(
	struct ordered *ordered, struct frame *frame, enum frame_fate fate, int64_t now_ms);

/* For charging what is held of frames that are not offered yet. */
struct shares *ordered_shares(struct ordered *ordered);

/* Whether as much is held as may be: for any publisher, or for that one. */
bool ordered_is_full(const struct ordered *ordered);
bool ordered_is_full_for(const struct ordered *ordered, struct slice publisher);

/*
 * The next frame for the sink, now in flight; NULL if there is none. frame->target says whose it
 * is. Too old ones are dropped on the way. Publishers take turns, those with as many in flight as
 * they may have being passed over, and so do the targets of each; of one target the frames come in
 * stream order, and the next may be taken before the one before has ended.
 */
struct frame *ordered_next(struct ordered *ordered, int64_t now_ms);

enum ordered_outcome {
	ORDERED_TAKEN,
	ORDERED_REFUSED, /* for good */
};
/*
 * Ends a frame of ordered_next, in any order; it is freed. Retrying is the sink's business: a frame
 * that is in flight is held, and its message kept from being delivered again, as long as it takes.
 */
void ordered_end(struct ordered *ordered, struct frame *frame, enum ordered_outcome outcome);

/*
 * Drops what became too old while waiting and, unless `trusted_since_ms` is 0, calls on_silent for
 * targets without frames here that said nothing for max(max_age, 2.1 x interval) of the time since
 * then: once each until they speak again.
 */
void ordered_sweep(struct ordered *ordered, int64_t now_ms, int64_t trusted_since_ms);

/* Says how many bytes the sink holds on to for the target, its frames apart. */
void ordered_hold(struct ordered *ordered, struct ordered_target *target, size_t bytes);

/* Frees a target that has no frames here; others are kept. */
void ordered_forget(struct ordered *ordered, struct ordered_target *target);

size_t ordered_target_count(const struct ordered *ordered);
size_t ordered_publisher_count(const struct ordered *ordered); /* as shares_count */
size_t ordered_waiting_count(const struct ordered *ordered);
size_t ordered_waiting_bytes(const struct ordered *ordered);
/* All that is charged to publishers: frames waiting or in flight, targets, the sink's. */
size_t ordered_held_bytes(const struct ordered *ordered);

/* Calls `visit` with the reply of every frame not yet decided, in stream order per target, for
 * giving them back at shutdown. */
void ordered_each_unacked(
	struct ordered *ordered, void (*visit)(void *arg, struct slice reply), void *arg);

/* The same for all that came before `arrived_us` and whose acknowledgement has not left, decided
 * or not, so that it is not delivered again meanwhile. */
void ordered_each_held(struct ordered *ordered, uint64_t arrived_us,
	void (*visit)(void *arg, struct slice reply), void *arg);

/* Frees all; frames are not acked. */
void ordered_free(struct ordered *ordered);

#endif
