/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_PULL_STATUS_H
#define PS_COMMON_NATS_PULL_STATUS_H
/*
 * What a server says on the inbox of a pull request instead of a message: a status number and
 * words. Pure.
 */
#include "common/nats/link.h"

enum pull_status {
	PULL_UNREADABLE,     /* no status at all */
	PULL_HEARTBEAT,      /* the request is open, and nothing came */
	PULL_EMPTY,          /* it is over: nothing is there */
	PULL_EXPIRED,        /* it is over: its time is up */
	PULL_TOO_MANY_BYTES, /* it is over: what comes next is more than is left of its bytes */
	PULL_HANDED_OVER,    /* it is over: another server takes the consumer over */
	PULL_GONE,           /* the consumer is deleted, or nobody answers for it */
	PULL_REFUSED,        /* anything else */
};

/* `words`: the server's description, as long as the message; may be empty. */
enum pull_status pull_status_read(const struct nats_incoming *message, struct slice *words);

/* Whether it proves that the consumer is there and answers us. */
bool pull_status_is_proof(enum pull_status status);

#endif
