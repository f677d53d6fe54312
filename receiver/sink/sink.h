/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_SINK_H
#define PS_RECEIVER_SINK_SINK_H
/*
 * What every sink is to the receiver: a row of functions over its own state. A state sink takes the
 * newest scrape of each target out of a `struct newest` and ends it there; a log sink takes every
 * scrape, in order, out of a `struct ordered`. Loop thread.
 */
#include "common/config/settings.h"
#include "common/core/metrics.h"
#include "common/wire/codec.h"
#include "receiver/newest.h"
#include "receiver/ordered.h"
#include "receiver/tally.h"

#include <uv.h>

/* What a sink gets from the receiver. */
struct sink_context {
	uv_loop_t *loop;
	struct metrics *metrics; /* ids in receiver/metrics.h */
	struct codec *codec;
	struct tally *tally;             /* for what is counted by publisher */
	const struct settings *settings; /* until set_settings */
	/* One of them, by the kind of the sink; the other is NULL. */
	struct newest *newest;
	struct ordered *ordered;
	struct federate_door *door; /* of a /federate, see federate.h */
};

struct sink;

struct sink_ops {
	/* Something is ready in context->newest or context->ordered. */
	void (*wake)(struct sink *sink);
	/* The target is silent: end what is shown of it, then newest_forget it. A log sink has
	 * log_silent instead, and ordered_forget. */
	void (*silent)(struct sink *sink, struct target *target);
	void (*log_silent)(struct sink *sink, struct ordered_target *target);
	/*
	 * Every second or so: what the sink shows of targets that nobody has heard of since
	 * `trusted_since_ms` may end, as in newest_sweep.
	 */
	void (*sweep)(struct sink *sink, int64_t now_ms, int64_t trusted_since_ms);
	/*
	 * The newest of each target that the stream had at the start has been taken: once, as soon
	 * as that is so. Of sinks that are fed by passing consumers.
	 */
	void (*caught_up)(struct sink *sink);
	/* Free target->sink_state. A log sink has log_forget instead. */
	void (*forget)(struct sink *sink, struct target *target);
	void (*log_forget)(struct sink *sink, struct ordered_target *target);
	/* Others, equal in what needs a restart; the sink's own are among them, a struct of its
	 * kind.
	 */
	void (*set_settings)(struct sink *sink, const struct settings *settings, const void *own);
	/* Requests, or the like, in flight: a stop waits for them. */
	size_t (*running)(const struct sink *sink);
	/* Begin nothing new. */
	void (*stop)(struct sink *sink);
	/* False with the reason (`why` may be NULL) while the far side does not take what we bring.
	 */
	bool (*is_ready)(const struct sink *sink, struct buf *why);
	/*
	 * Cancel what runs at once (no call into newest or ordered after this), close every handle,
	 * free; then on_closed, never from inside close. Targets are still forgotten in between.
	 */
	void (*close)(struct sink *sink, void (*on_closed)(void *arg), void *arg);
};

struct sink {
	const struct sink_ops *ops;
	const char *name; /* of its durable, metrics and logs */
};

#endif
