/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_OUTBOX_H
#define PS_POLLER_OUTBOX_H
/*
 * Scrapes on their way into the stream: those that wait for NATS, oldest first, those that wait
 * for their keyframe's acknowledgement, and those sent whose fate is not known. All together keep
 * to queue_bytes: beyond it the oldest that wait are dropped and counted. It owns the publisher.
 * Frames are made when they leave the queue. Loop thread.
 */
#include "common/nats/publisher.h"
#include "poller/frame.h"

struct outbox;

struct outbox_options {
	uv_loop_t *loop;
	struct nats_link *link;
	/* Kept by reference until outbox_set_settings; its poller_stream for ever. */
	const struct settings *settings;
	const char *publish_subject; /* kept by reference */
	struct metrics *metrics;
	struct codec *codec; /* borrowed */

	/* Nothing waits and nothing is unacked any more. */
	void (*on_idle)(void *arg);
	void *arg;
};

struct outbox *outbox_open(const struct outbox_options *options);

/* Others, equal in what needs a restart: limits, compression, keyframes. */
void outbox_set_settings(struct outbox *outbox, const struct settings *settings);

/* Takes the scrape and nulls the caller's pointer. */
void outbox_push(struct outbox *outbox, struct scrape **scrape);

bool outbox_is_idle(const struct outbox *outbox);

/* False, with the reason in `why`, while nothing can be published. */
bool outbox_is_ready(const struct outbox *outbox, struct buf *why);

/* Nothing waits for keyframes any more: before the end, what is there is to leave. */
void outbox_drain(struct outbox *outbox);

/* Brings the gauges up to date. */
void outbox_collect(struct outbox *outbox);

/* Drops and counts what is not acknowledged, closes the publisher and frees. */
void outbox_close(struct outbox *outbox, void (*on_closed)(void *arg), void *arg);

#endif
