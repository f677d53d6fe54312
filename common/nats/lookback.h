/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_LOOKBACK_H
#define PS_COMMON_NATS_LOOKBACK_H
/*
 * Reads the newest message of each subject once, through a passing consumer of its own without
 * acknowledgements: what a durable delivered to a process that died comes again only after its
 * ack_wait, which may be too late to be of use. It is a help only: where it fails it says so and
 * ends. Loop thread. Opened after its link and closed before it.
 */
#include "common/nats/consumer.h"

struct lookback;

struct lookback_options {
	struct nats_link *link;
	const char *stream, *filter_subject; /* copied */
	/* As of a consumer, but not to be acked (message->is_lookback). */
	void (*on_message)(void *arg, struct consumer_message *message);
	void *arg;
};

struct lookback *lookback_open(uv_loop_t *loop, const struct lookback_options *options);

/*
 * Begins; once more from the beginning if it is under way. Messages will say `generation`, the
 * durable's of the same stream. Ends by itself, also when the connection is lost.
 */
void lookback_start(struct lookback *lookback, uint64_t generation);

bool lookback_is_running(const struct lookback *lookback);
uint64_t lookback_messages(const struct lookback *lookback); /* brought so far */

/* Allowed from inside on_message. Frees once its handles are closed. */
void lookback_close(struct lookback *lookback, void (*on_closed)(void *arg), void *arg);

#endif
