/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_NEWEST_H
#define PS_RECEIVER_NEWEST_H
/*
 * The newest scrape of each target, for a sink that holds only the newest value. It decides what is
 * stale, superseded, out of order or a clock reset, which target is silent, and in which order
 * acknowledgements leave. It keeps each publisher to its share (shares.h). It delivers nothing
 * itself: the sink takes targets from it. Loop thread.
 *
 * A target holds at most one frame waiting and one in flight:
 *
 *	offer ──> waiting ──begin──> in flight ──end──> acked
 *	             ^ replaced by a newer one    └─retry─> waiting again, unless a newer one waits
 */
#include "receiver/fate.h"
#include "receiver/held_acks.h"
#include "receiver/place.h"
#include "receiver/shares.h"
#include "receiver/taker.h"

struct newest;

/* One target. The sink reads the first part; the rest is newest.c's. */
struct target {
	char *publisher, *job, *instance;
	struct labels labels;
	struct frame *waiting, *in_flight;
	void *sink_state; /* the sink's own, NULL at first; it frees it in on_forget */

	struct share_turn turn;   /* in its publisher's share; ready while a frame waits for it */
	bool is_silent;           /* on_silent was called and nothing came since */
	size_t bytes, sink_bytes; /* charged to it, frames apart */
	char *subject;
	size_t subject_len;
	struct place place;
	int64_t interval_ms;
	int64_t taken_from_ms; /* age_from_ms of the newest frame that was taken */
	int64_t heard_from_ms; /* and of the newest that came, taken or not */
	struct held_acks acks; /* decided, waiting for an earlier one that is not */
	UT_hash_handle by_subject;
};

/* What a reload may change. */
struct newest_limits {
	int64_t max_age_ms; /* 0: off */
	int64_t max_targets_per_publisher;
	/* All that is held for one; for all together eight times as much. */
	uint64_t max_publisher_bytes;
	/* Targets of one publisher in flight; 0: any number. */
	size_t max_publisher_in_flight;
};

struct newest_options {
	struct newest_limits limits;
	/* A target became ready: the sink may take it. */
	void (*on_ready)(void *arg);
	/* The target is silent: the sink ends what it shows of it; then newest_forget or nothing.
	 */
	void (*on_silent)(void *arg, struct target *target);
	/* The target is about to be freed: free sink_state. */
	void (*on_forget)(void *arg, struct target *target);
	/* Acknowledge; leaves in stream order per target. `arrived_us`: the frame's. */
	void (*on_ack)(void *arg, struct slice reply, uint64_t arrived_us);
	/* A frame's end, for counting. `frame` is freed after it. */
	void (*on_fate)(void *arg, const struct frame *frame, enum frame_fate fate);
	/* The time of a target went back by more than an interval or two and was believed. */
	void (*on_clock_reset)(void *arg, const struct frame *frame, int64_t step_back_ms);
	void *arg;
};

struct newest *newest_new(const struct newest_options *options);

/* What is held beyond a lower limit stays. */
void newest_set_limits(struct newest *newest, const struct newest_limits *limits);

/* The three below for whoever brings frames; `self` is a struct newest. */
extern const struct taker newest_taker;

/*
 * Takes the frame. `now_ms` is the wall clock. One without a reply (of a lookback) is not acked;
 * the durable's delivery of the same message lends it its reply, or is acked once it is decided.
 *
 * A target whose frames are dropped because its publisher may hold no more, or a keyframe is not to
 * be had, is alive, not silent; after as long as silence takes, one of them is taken as up 0
 * without its body, so that what is shown of the target does not freeze.
 */
void newest_offer(struct newest *newest, struct frame *frame, int64_t now_ms);

/*
 * Whether the frame would become its target's newest: whether it is worth while to get what it
 * lacks before it is offered. What it takes to hold it is not looked at.
 */
bool newest_wants(struct newest *newest, const struct frame *frame, int64_t now_ms);

/*
 * Ends a frame that cannot be offered: it is acknowledged in its target's order. As with those that
 * there is no room for, the target is alive, and one is taken as up 0 where it would freeze.
 */
void newest_drop(struct newest *newest, struct frame *frame, enum frame_fate fate, int64_t now_ms);

/* For charging what is held of frames that are not offered yet. */
struct shares *newest_shares(struct newest *newest);

/*
 * The next ready target whose waiting frame is still fresh, now in flight (target->in_flight); NULL
 * if there is none. Stale ones are dropped on the way. Publishers take turns, those with as many in
 * flight as they may have being passed over; of one publisher's
 * targets the first that came is served first.
 */
struct target *newest_begin(struct newest *newest, int64_t now_ms);

enum newest_outcome {
	NEWEST_DELIVERED,
	NEWEST_REFUSED,
	NEWEST_BEHIND, /* the sink shows a later one already, of a receiver before this one */
	NEWEST_THERE,  /* the sink shows this very one already */
	NEWEST_RETRY,
};
/* Ends what newest_begin began. After NEWEST_RETRY the target is ready again, behind the others. */
void newest_end(
	struct newest *newest, struct target *target, enum newest_outcome outcome, int64_t now_ms);

/*
 * Drops what went stale while waiting and, unless `trusted_since_ms` is 0, calls on_silent for
 * targets that said nothing for max(max_age, 2.1 x interval) of the time since then (no interval
 * above a day is believed): once each
 * until they speak again. Silence may be trusted from the moment at which the consumer had caught
 * up.
 */
void newest_sweep(struct newest *newest, int64_t now_ms, int64_t trusted_since_ms);

/* The silence of the target means nothing after all: on_silent may be called again. */
void newest_doubt(struct newest *newest, struct target *target);

/* The longest interval that any scrape named since the start, however old it was. */
int64_t newest_longest_interval_ms(const struct newest *newest);

/*
 * Says how many bytes the sink holds on to for the target, its frames apart. False, and nothing is
 * changed, where its publisher may not hold that much; less than before is always taken.
 */
bool newest_hold(struct newest *newest, struct target *target, size_t bytes);

/* Frees a target that has neither a waiting frame nor one in flight; others are kept. */
void newest_forget(struct newest *newest, struct target *target);

size_t newest_target_count(const struct newest *newest);
size_t newest_publisher_count(const struct newest *newest); /* as shares_count */
size_t newest_waiting_count(const struct newest *newest);
size_t newest_waiting_bytes(const struct newest *newest);
/* All that is charged to publishers: frames waiting or in flight, targets, the sink's. */
size_t newest_held_bytes(const struct newest *newest);

/*
 * Calls `visit` with the reply of every frame not yet decided, for giving them back at shutdown.
 * Those that are decided and wait for an earlier one's acknowledgement are not visited.
 */
void newest_each_unacked(
	const struct newest *newest, void (*visit)(void *arg, struct slice reply), void *arg);

/* Frees all; frames are not acked. */
void newest_free(struct newest *newest);

#endif
