/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_INTAKE_INTERNAL_H
#define PS_RECEIVER_INTAKE_INTERNAL_H
/*
 * What the parts of an intake share. intake.c is what all have in common, intake_sources.c their
 * consumers, intake_counts.c the counting; what is peculiar to a kind of sink is a table of
 * functions: intake_state.c for those that hold the newest, intake_log.c for those that take every
 * scrape. Loop thread.
 */
#include "common/core/log.h"
#include "common/nats/lookback.h"
#include "receiver/intake.h"
#include "receiver/newest.h"
#include "receiver/ordered.h"
#include "receiver/sink/kinds.h"
#include "receiver/trust.h"
#include "receiver/waiting.h"

/* One of its consumers. */
struct source {
	struct intake *intake;
	char *publisher; /* the only one it brings; NULL: any */
	struct consumer *consumer;
	struct lookback *lookback; /* NULL where nothing is looked back at */
	bool has_looked_back;
	bool has_generation;       /* a message came */
	uint64_t generation;       /* the consumer's, of its last message */
	int64_t held_off_until_ms; /* monotonic; log sinks: what is unacked is to come first */
	bool is_full;              /* log sinks: as much is held as may be */
};

/* What is held. */
struct intake_amounts {
	size_t targets, publishers, waiting, waiting_bytes, held_bytes;
};

struct intake_ops {
	/* Makes what keeps the frames, sets it in `context` for the sink. */
	void (*make)(struct intake *intake, struct sink_context *context);
	void (*set_limits)(struct intake *intake);
	const struct taker *taker;
	/* What durables are made with: ack_wait, max_ack_pending and start; or that there are none.
	 */
	void (*shape)(const struct intake *intake, struct consumer_options *options);
	bool looks_back;
	/* A durable was bound, see struct consumer_options. */
	void (*on_bound)(struct source *source, bool is_made, int64_t unacked);
	/* Frames came or went. May be NULL. */
	void (*on_change)(struct intake *intake);
	/* Whether the stream is heard, beyond its consumers' being ready. May be NULL. */
	bool (*is_heard)(struct intake *intake);
	void (*sweep)(struct intake *intake, int64_t now_ms);
	void (*measure)(const struct intake *intake, struct intake_amounts *amounts);
	void (*each_unacked)(
		struct intake *intake, void (*visit)(void *arg, struct slice reply), void *arg);
	void (*free)(struct intake *intake);
};

/* The second is the first's but for its consumers, which pass: there are no durables. */
extern const struct intake_ops intake_of_state, intake_of_passing, intake_of_log;

struct intake {
	struct intake_options options;
	const struct sink_kind *kind;
	const void *own; /* the sink's settings */
	struct sink_needs needs;
	/* What keeps the frames: one of them. */
	struct newest *newest;
	struct ordered *ordered;
	struct waiting *waiting;
	struct sink *sink;
	bool was_caught_up;     /* passing: the sink has been told */
	struct source *sources; /* as many as there is room for: consumers keep pointers to them */
	size_t source_count;
	/* Consumers count their generations independently, but share targets: this one goes up with
	 * any of theirs, though not with the first of each. */
	uint64_t generation;
	size_t open_parts; /* consumers, lookbacks and the sink, still to be closed */
	bool is_draining;
	uv_timer_t sweep;
	struct trust trust;
	int64_t progress_ms;  /* log sinks: monotonic, of the last in-progress acks */
	int64_t caught_up_ms; /* log sinks: monotonic, when nothing more was pending */
	struct log_limit malformed, clock_reset, lacking;
	struct series *received, *looked_back, *received_bytes, *redelivered, *delivered,
		*delivered_age, *ack_seconds;
	struct series *stale; /* NULL until there was one: a backlog brings millions */
	void (*on_drained)(void *arg);
	void *drained_arg;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* intake.c */

/* For its consumers, with a struct source. */
void intake_on_message(void *source, struct consumer_message *message);
void intake_on_source_state(void *source);

/* For what keeps the frames, with a struct intake. */
void intake_on_ready(void *intake);
void intake_on_ack(void *intake, struct slice reply, uint64_t arrived_us);

/* Acknowledges by the reply subject, whichever consumer brought it. */
void intake_ack(struct intake *intake, struct slice reply);

/* intake_sources.c */
void intake_open_sources(struct intake *intake);
bool intake_sources_are_ready(const struct intake *intake, struct buf *why);
bool intake_sources_have_caught_up(const struct intake *intake);

/* The intake's generation for a message of the source, whose consumer says the given one. */
uint64_t intake_source_generation(struct source *source, uint64_t generation);

/* Pulls, or not, as the source's state wants it. */
void intake_source_resume(struct source *source);

/* Each begins nothing more. */
void intake_pause_sources(struct intake *intake);

/* `on_closed` comes once for each part; how many there are is returned. */
size_t intake_close_sources(struct intake *intake, void (*on_closed)(void *arg), void *arg);
void intake_free_sources(struct intake *intake);

/* intake_counts.c */
void intake_resolve_series(struct intake *intake);
void intake_count_discard(struct intake *intake, const char *reason);

/* For what keeps the frames, with a struct intake. */
void intake_on_fate(void *intake, const struct frame *frame, enum frame_fate fate);
void intake_on_clock_reset(void *intake, const struct frame *frame, int64_t step_back_ms);

#endif
