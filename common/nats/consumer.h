/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_CONSUMER_H
#define PS_COMMON_NATS_CONSUMER_H
/*
 * One durable pull consumer: finds it or creates it, never alters it, pulls in batches with one
 * request outstanding, notices by heartbeats when it or its stream is gone, and by gaps in what it
 * is sent when somebody else pulls from it, and acks on demand. Or a passing consumer, where no
 * name is given (settings.durable is NULL): the newest message of each subject and all that follow;
 * it is made anew whenever it is lost, and then begins again with the newest. Loop thread. Opened
 * after its link and closed before it.
 */
#include "common/nats/jetstream.h"
#include "common/nats/link.h"

struct consumer;

struct consumer_message {
	struct nats_incoming *incoming; /* the handler's to free */
	struct js_delivery delivery;
	/* Changes when the durable was made anew: its sequences may have restarted. */
	uint64_t generation;
	bool is_lookback; /* of a lookback (see lookback.h): nobody waits for its ack */
	bool is_unacked;  /* of a passing consumer: nor here */
};

struct consumer_options {
	struct nats_link *link;
	struct js_consumer_settings settings; /* strings copied */
	/* now - max_age at the moment of creation; 0 (off): start_time_ms is left as it is. */
	int64_t start_age_ms;
	void (*on_message)(void *arg, struct consumer_message *message);
	/* Readiness or its reason changed. */
	void (*on_state)(void *arg);
	/*
	 * Made, found, or found again after the connection was lost; the first pull follows.
	 * `unacked`: what was delivered and not acked, by this process or one before; -1 where we
	 * may not ask. May be NULL.
	 */
	void (*on_bound)(void *arg, bool is_made, int64_t unacked);
	void *arg;
};

struct consumer_counts {
	uint64_t pulls;
	uint64_t messages;
	uint64_t redelivered;
	uint64_t acks;
	uint64_t malformed; /* deliveries whose reply subject cannot be read */
	uint64_t jumps;     /* gaps that only another receiver explains, see sharing.h */
};

struct consumer *consumer_open(uv_loop_t *loop, const struct consumer_options *options);

/*
 * Bound to its durable and pulling, and nobody else is; else the reason for people in `why`, unless
 * that is NULL.
 */
bool consumer_is_ready(const struct consumer *consumer, struct buf *why);

/* Ready, and nothing more was pending when the newest message was delivered (or a pull found none).
 */
bool consumer_is_caught_up(const struct consumer *consumer);

/* Somebody else pulled from the durable within the last minute. */
bool consumer_is_shared(const struct consumer *consumer);

/* What its next message will have, unless the durable is made anew before. */
uint64_t consumer_generation(const struct consumer *consumer);

/* Messages the stream holds for this consumer beyond those delivered, as last heard. */
uint64_t consumer_pending(const struct consumer *consumer);

/* While paused no further pull is made; what was pulled still arrives. */
void consumer_pause(struct consumer *consumer, bool paused);

/* Acknowledges by a delivery's reply subject. While down the ack is lost: the message comes again.
 */
void consumer_ack(struct consumer *consumer, struct slice reply);

/* Says that a delivered message is being worked on: its ack_wait begins again. */
void consumer_in_progress(struct consumer *consumer, struct slice reply);

/* How long the stream waits for an acknowledgement before it delivers again: the durable's, as last
 * heard, or what it would be made with. */
int64_t consumer_ack_wait_ms(const struct consumer *consumer);

/* Hands a delivered message back unacknowledged: the stream delivers it again after `delay_ms`. */
void consumer_give_back(struct consumer *consumer, struct slice reply, int64_t delay_ms);

const struct consumer_counts *consumer_counts(const struct consumer *consumer);
/*
 * Frees once its handles are closed. What was pulled and not yet delivered comes again after the
 * durable's ack_wait: pause first and let it arrive, where that matters.
 */
void consumer_close(struct consumer *consumer, void (*on_closed)(void *arg), void *arg);

#endif
