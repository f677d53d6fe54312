/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_CONSUMER_INTERNAL_H
#define PS_COMMON_NATS_CONSUMER_INTERNAL_H
/*
 * What a consumer consists of: consumer.c is what it does by itself, consumer_use.c what its user
 * asks it and has it send. Loop thread.
 */
#include "common/core/backoff.h"
#include "common/core/log.h"
#include "common/core/readiness.h"
#include "common/nats/consumer.h"
#include "common/nats/durable.h"
#include "common/nats/sharing.h"

enum consumer_state {
	CONSUMER_WAIT_LINK,
	CONSUMER_LOOKING,
	CONSUMER_WAITING,
	CONSUMER_BOUND,
	CONSUMER_CLOSED,
};

struct consumer {
	struct consumer_options options;
	char *stream, *durable_name, *filter; /* no durable: "a passing one" */
	bool is_passing;
	char name[256]; /* what is pulled from */
	struct nats_link_listener listener;
	struct durable durable; /* its request may also be under way while bound: a look again */
	struct nats_inbox *inbox;
	uv_timer_t timer;

	enum consumer_state state;
	struct readiness readiness;
	struct backoff backoff;
	bool is_paused;
	bool needs_proof; /* ready only once a pull has been answered */

	int64_t left;
	int64_t batch;
	uint64_t batch_bytes; /* 0: by number only */
	uint64_t delivered;   /* by the outstanding request */
	uint64_t pulled_ms;
	uint64_t heard_ms;
	bool was_delivered; /* something, since the last heartbeat */

	uint64_t pending;
	bool pending_is_known;
	uint64_t generation;
	char created[64]; /* the durable's, as last heard; "" if never */
	uint64_t last_consumer_seq;
	int64_t ack_wait_ms;
	struct sharing sharing;
	struct log_limit shared;
	struct consumer_counts counts;

	void (*on_closed)(void *arg);
	void *closed_arg;
};

#endif
