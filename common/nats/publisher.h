/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_PUBLISHER_H
#define PS_COMMON_NATS_PUBLISHER_H
/*
 * Publishes to one stream with acknowledgements: checks (or creates) the stream, keeps a bounded
 * number of messages unacked, and sends an unacked one again, unchanged, until it is acked or
 * refused for good. It holds no queue beyond that: its user waits for room. Loop thread. Opened
 * after its link and closed before it.
 */
#include "common/nats/jetstream.h"
#include "common/nats/link.h"

struct publisher;

enum publish_outcome {
	PUBLISH_ACKED,
	PUBLISH_DUPLICATE, /* acked, but the stream had a message of this id though it was sent once
			    */
	PUBLISH_REFUSED,   /* this message can never be stored: `reason` */
	PUBLISH_DENIED,    /* we may not publish on its subject, though on others: `reason` */
};

struct publisher_options {
	struct nats_link *link;
	const struct stream_settings *stream; /* kept by reference */
	const char *publish_subject; /* everything we publish, e.g. "prometheus.*.dc1.>": checked
					against the stream */
	int64_t max_unacked;
	uint64_t max_message_bytes; /* 0: what the server takes, less a margin */

	/* The fate of one message; `cookie` as given to publisher_send. */
	void (*on_done)(void *arg, void *cookie, enum publish_outcome outcome, const char *reason,
		double ack_seconds);
	/* There is room again, or the readiness changed. */
	void (*on_room)(void *arg);
	void *arg;
};

struct publisher_counts {
	uint64_t retries; /* sent again */
	uint64_t errors;  /* PubAcks that were errors, denials, time-outs */
	uint64_t stream_checks;
};

struct publisher *publisher_open(uv_loop_t *loop, const struct publisher_options *options);

/* Whether publisher_send may be called now: ready, or one more is wanted to try; unacked below the
 * bound. */
bool publisher_has_room(const struct publisher *publisher);

/* False, with the reason for people in `why`, while messages cannot be delivered. */
bool publisher_is_ready(const struct publisher *publisher, struct buf *why);

/* The largest message (headers and body) that can be stored, as far as known. */
size_t publisher_max_message_bytes(const struct publisher *publisher);

/* As in the options, from now on; what is unacked beyond a lower bound stays so. */
void publisher_set_limits(
	struct publisher *publisher, int64_t max_unacked, uint64_t max_message_bytes);

/* Takes its own reference. Only while publisher_has_room. */
void publisher_send(struct publisher *publisher, struct nats_outgoing *message, void *cookie);

size_t publisher_unacked(const struct publisher *publisher);

/* The PubAck behind what on_done is telling, inside it; NULL where there is none. */
const struct js_pub_ack *publisher_ack(const struct publisher *publisher);

const struct publisher_counts *publisher_counts(const struct publisher *publisher);

/* May be called from inside the callbacks. Drops what is unacked (on_done is not called) and frees
 * once its handles are closed. */
void publisher_close(struct publisher *publisher, void (*on_closed)(void *arg), void *arg);

#endif
