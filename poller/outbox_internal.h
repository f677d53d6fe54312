/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_OUTBOX_INTERNAL_H
#define PS_POLLER_OUTBOX_INTERNAL_H
/*
 * What the parts of the outbox share: outbox.c is the queue and what is sent, outbox_keyframes.c
 * the keyframes on their way and the scrapes that wait for them. Loop thread.
 */
#include "poller/outbox.h"

#include "common/core/log.h"
#include "common/nats/stream_watch.h"
#include "poller/keyframes.h"

LIST_HEAD(scrape_set, scrape);

enum drop_reason {
	DROP_QUEUE_FULL,
	DROP_TOO_LARGE,
	DROP_IMPOSSIBLE,
	DROP_REFUSED,
	DROP_DENIED,
	DROP_DUPLICATE,
	DROP_SHUTDOWN,
	DROP_REASON_COUNT,
};

struct outbox {
	struct outbox_options options;
	struct publisher *publisher;
	struct frame_maker maker;
	uv_timer_t resume;
	struct keyframes *keys;     /* NULL where deltas were never wanted */
	struct stream_watch *watch; /* likewise */
	uv_timer_t patience;        /* of the scrapes that wait for keyframes */
	bool was_ready;
	struct scrape_queue queue;
	struct scrape_set sent;
	size_t queue_count, waiting_count, sent_count;
	size_t sent_keyframes; /* of sent_count */
	uint64_t queue_bytes, waiting_bytes, sent_bytes;
	struct series *dropped[DROP_REASON_COUNT];
	struct series *frames[ENCODING_UNKNOWN + 1], *frame_bytes[ENCODING_UNKNOWN + 1];
	struct series *waited_refer, *waited_whole;
	struct series *published, *published_bytes, *publish_seconds, *duplicates;
	struct log_limit full_limit, frame_limit, refused_limit, denied_limit, duplicate_limit;
	void (*on_closed)(void *arg);
	void *closed_arg;
	int to_close; /* handles and the publisher */
};

/* -- outbox.c -- */

/* Goes on sending, from the loop. */
void outbox_resume(struct outbox *outbox);

/* A scrape, or what stands for a keyframe, is being sent. */
void outbox_remember_sent(struct outbox *outbox, struct scrape *scrape);

/* -- outbox_keyframes.c -- */

/* Opens what deltas need, where they are wanted. */
void outbox_open_keyframes(struct outbox *outbox);

/* Settings have changed, and perhaps whether deltas are wanted. */
void outbox_change_keyframes(struct outbox *outbox);

/* Whether the scrape was taken to wait; else `key` is what it refers to, if its text is there. */
bool outbox_consult_keyframes(
	struct outbox *outbox, struct scrape *scrape, struct frame_key *key) MUST_CHECK;

/* The stream has the last scrape of a target. */
void outbox_forget_keyframe(struct outbox *outbox, const struct scrape *last);

/* What became of a keyframe, which is freed. */
void outbox_on_keyframe_done(struct outbox *outbox, struct scrape *keyframe,
	enum publish_outcome outcome, double ack_seconds);

/* Whether the stream takes messages may have changed. */
void outbox_watch_stream(struct outbox *outbox);

#endif
