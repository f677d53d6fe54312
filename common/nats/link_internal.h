/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_LINK_INTERNAL_H
#define PS_COMMON_NATS_LINK_INTERNAL_H
/*
 * What the link's files share: link.c lives on the loop, link_worker.c is the link's own thread,
 * link_session.c one connection of it, link_message.c what they pass to each other. Nobody else
 * includes this.
 */
#include "common/loop/handoff.h"
#include "common/nats/link.h"

#include <nats/nats.h>

/* --- From the worker to the loop, by the hand-off. */

enum link_item_kind {
	LINK_ITEM_MESSAGE,   /* struct nats_incoming */
	LINK_ITEM_UP,        /* struct link_event, as all below */
	LINK_ITEM_DOWN,      /* text: why */
	LINK_ITEM_FAILED,    /* an attempt to connect: `failure` */
	LINK_ITEM_VIOLATION, /* text: the server's words */
	LINK_ITEM_ENDED,     /* the thread does nothing more */
};

struct link_item {
	struct handoff_item item;
	enum link_item_kind kind;
	uint64_t generation; /* of the connection it comes from */
};

#define LINK_TEXT_BYTES 512
struct link_event {
	struct link_item base;
	size_t max_payload;
	enum nats_failure failure;
	char text[LINK_TEXT_BYTES]; /* up: the server, redacted */
};

/* Any thread. `text` is cut where it does not fit. */
void link_post_event(struct handoff *handoff, enum link_item_kind kind, uint64_t generation,
	const char *text, size_t max_payload);

/*
 * cnats has a thread of its own free each message, and wakes it for each: they are given to it by
 * the heap. One thread at a time.
 */
struct link_spent {
	natsMsg *messages[64];
	size_t count, bytes;
};
/* Takes the message, which may be NULL. */
void link_spent_add(struct link_spent *spent, natsMsg *message);
void link_spent_free(struct link_spent *spent); /* all that is held */

/*
 * Keeps cnats' library open: it must not end before the last message is freed, wherever that is
 * held. Loop thread.
 */
struct link_lease {
	size_t refs;
	struct link_spent spent;
};
struct link_lease *link_lease_new(void);
void link_lease_ref(struct link_lease *lease);
void link_lease_unref(struct link_lease *lease);

struct nats_incoming {
	struct link_item base;
	uint64_t inbox; /* which inbox it came to; 0: an answer to a request */
	natsMsg *message;
	struct link_lease *lease; /* set by the loop */
};

/* Takes the message. Any thread. */
struct nats_incoming *link_incoming_new(natsMsg *message, uint64_t generation, uint64_t inbox);

/* --- From the loop to the worker. */

enum link_op_kind {
	LINK_OP_PUBLISH,
	LINK_OP_REQUEST,   /* answered to request `id` */
	LINK_OP_ASK,       /* answered to inbox `id` */
	LINK_OP_SUBSCRIBE, /* to inbox `id` */
};

struct link_op {
	struct link_op *next;
	enum link_op_kind kind;
	uint64_t generation; /* dropped on any other connection */
	uint64_t id;
	struct nats_outgoing *message; /* a reference; NULL for subscriptions */
};

struct nats_outgoing {
	_Atomic size_t refs;
	char *subject;
	size_t subject_len;
	bool sendable; /* false: the subject cannot be one, the server would close the connection */
	struct wire_header *headers;
	size_t header_count;
	size_t header_bytes; /* encoded; 0 without headers */
	struct buf body;
};

struct link_worker;

/* Starts the thread, which connects and posts `struct link_item`s until it is stopped. */
struct link_worker *link_worker_start(
	const struct nats_link_options *options, struct handoff *handoff);

/* Takes the operation. Never blocks. */
void link_worker_push(struct link_worker *worker, struct link_op *op);

/* To be called every second or so: cuts off a server that went silent while connecting. */
void link_worker_watch(struct link_worker *worker);

/* What was pushed is still sent, and flushed under `flush_ms`; LINK_ITEM_ENDED comes at the end. */
void link_worker_stop(struct link_worker *worker, int64_t flush_ms);

/* After LINK_ITEM_ENDED: joins the thread, which takes no time, and frees. */
void link_worker_free(struct link_worker *worker);

/* The servers without credentials, for people. Valid until link_worker_free. */
const char *link_worker_servers(const struct link_worker *worker);

#endif
