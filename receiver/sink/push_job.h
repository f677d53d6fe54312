/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_JOB_H
#define PS_RECEIVER_SINK_PUSH_JOB_H
/*
 * What is to be done at the gateway for one target: PUT its groups and DELETE those that vanished,
 * or DELETE all of them. It decides what, counts and logs what cannot go, and sends nothing; the
 * order and the sending are push_gateway.c's. Loop thread.
 */
#include "common/core/log.h"
#include "receiver/sink/push_claims.h"
#include "receiver/sink/push_marks.h"
#include "receiver/sink/sink.h"

struct push_job;

/* What jobs are made with; embedded in the sink. */
struct push_maker {
	const char *sink; /* its name */
	const struct sink_context *context;
	const struct push_gateway_settings *settings;
	struct push_claims *claims;
	struct push_types *types;
	struct push_marks *marks;
	struct series *parse_errors, *rewrite_seconds;
	struct log_limit conflict, foreign, clock_reset, loop, undecodable, over_bytes;
	uint64_t lines_since_ms; /* see push_may_log */
	size_t lines;
};

/* What the sink knows of a target: its sink_state. */
struct push_state {
	struct push_holder holder;
	struct target *target;
	struct push_job *job; /* NULL: none */
	bool is_held;         /* its frame in flight waits for the answer to a DELETE */
	struct log_limit refused, malformed, contradiction;
	TAILQ_ENTRY(push_state) of_sink;
};

/* One request of a job. */
struct push_step {
	struct push_job *job;
	struct push_claim *claim; /* NULL once released */
	struct buf body;
	bool is_delete;
	bool is_own;                     /* the target's own group, not one that it exposes */
	bool is_remains;                 /* refused; now what is left goes there */
	struct fetch_transfer *transfer; /* the sink's; NULL: not running */
};

struct push_job {
	struct push_state *state;
	bool is_removal;
	bool is_last; /* of a target that its poller has removed: deletes all, too */
	struct push_step *steps;
	size_t count;

	/* The sink's. */
	struct push_gateway *gateway;
	size_t next; /* steps from here on have not begun */
	size_t outstanding;
	bool must_retry, was_refused;
	bool is_listed;
	TAILQ_ENTRY(push_job) in_turn;
};

/*
 * Whether a line about one target may be written that `limit`, the target's own, bounds: thousands
 * of broken targets must not fill the log. What may not is counted nowhere but in the metrics.
 */
bool push_may_log(struct push_maker *maker, const struct log_limit *limit);

/*
 * The job for the target's frame in flight: a last one deletes all, unless groups are to outlive
 * their targets. NULL where the gateway is not to be touched, with what
 * is to become of the frame: its own group belongs to another, say, or shows what is newer. After
 * NEWEST_RETRY it has to wait for a deletion. At least one step.
 */
struct push_job *push_job_new(struct push_maker *maker, struct push_state *state,
	enum newest_outcome *outcome) MUST_CHECK;

/* Deletes all that the target holds, which must be something. */
struct push_job *push_job_new_removal(struct push_state *state) MUST_CHECK;

/* Makes the body of a refused step what may stand there instead. */
void push_step_set_remains(const struct push_maker *maker, struct push_step *step);

/* Charges the claims of a target to its publisher, after any were taken or released; false and
 * nothing changed where that is too much, which can only be after one was taken. */
bool push_state_charge(const struct push_maker *maker, struct push_state *state);

/* No transfer may run. NULL is allowed. */
void push_job_free(struct push_job *job);

#endif
