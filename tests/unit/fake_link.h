/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_FAKE_LINK_H
#define PS_TESTS_UNIT_FAKE_LINK_H
/*
 * The whole interface of common/nats/link.h without a network: what a module asks is recorded, and
 * the test answers. Include once per test program: it takes the place of the real modules.
 */
#include "common/nats/link.h"

#include <stdio.h>
#include <sys/queue.h>

struct nats_outgoing {
	int refs;
	char *subject;
	struct buf body;
	size_t bytes; /* 0: those of the body */
};

struct fake_header {
	const char *name, *value;
};

struct nats_incoming {
	struct slice subject, reply, body;
	int status;
	const char *description;
	const struct fake_header *headers; /* ended by a NULL name; NULL: none */
};

struct fake_request {
	TAILQ_ENTRY(fake_request) entry;
	uint64_t id;
	struct nats_outgoing *message;
	nats_reply_callback callback;
	void *arg;
};
TAILQ_HEAD(fake_requests, fake_request);

struct nats_inbox {
	void (*on_message)(void *arg, struct nats_incoming *message);
	void (*on_denied)(void *arg, const char *text);
	void *arg;
};

struct nats_link {
	bool is_up;
	const char *reason;
	size_t max_payload;
	uint64_t last_id;
	struct nats_link_listener *listeners;
	struct fake_requests requests;
	struct nats_inbox *inbox;
	int cancelled;        /* requests */
	int asked;            /* by nats_inbox_ask */
	struct buf asks;      /* the last one: "<subject> <body>" */
	int published;        /* by nats_link_publish */
	struct buf publishes; /* the last one */
	int live_outgoing, live_incoming;
};
static struct nats_link fake_link;

struct nats_outgoing *nats_outgoing_new(
	struct slice subject, const struct wire_headers *headers, struct buf *body)
{
	struct nats_outgoing *message = xcalloc(1, sizeof(*message));

	(void)headers;
	message->refs = 1;
	message->subject = slice_dup(subject);
	message->body = buf_take(body);
	fake_link.live_outgoing++;
	return message;
}

struct nats_outgoing *nats_outgoing_ref(struct nats_outgoing *message)
{
	message->refs++;
	return message;
}

void nats_outgoing_unref(struct nats_outgoing *message)
{
	if (--message->refs > 0)
		return;
	free(message->subject);
	buf_free(&message->body);
	free(message);
	fake_link.live_outgoing--;
}

size_t nats_outgoing_bytes(const struct nats_outgoing *message)
{
	return message->bytes != 0 ? message->bytes : message->body.len;
}

struct slice nats_incoming_subject(const struct nats_incoming *message)
{
	return message->subject;
}

struct slice nats_incoming_reply(const struct nats_incoming *message)
{
	return message->reply;
}

struct slice nats_incoming_body(const struct nats_incoming *message)
{
	return message->body;
}

size_t nats_incoming_bytes(const struct nats_incoming *message)
{
	return sizeof(*message) + message->body.len;
}

int nats_incoming_header(void *message, const char *name, struct slice *value)
{
	const struct fake_header *header = ((struct nats_incoming *)message)->headers;

	for (; header != NULL && header->name != NULL; header++) {
		if (strcmp(header->name, name) != 0)
			continue;
		*value = slice_from(header->value);
		return 1;
	}
	return 0;
}

int nats_incoming_status(const struct nats_incoming *message, struct slice *description)
{
	*description = slice_from(message->description != NULL ? message->description : "");
	return message->status;
}

void nats_incoming_free(struct nats_incoming *message)
{
	free(message);
	fake_link.live_incoming--;
}

void nats_link_listen(struct nats_link *link, struct nats_link_listener *listener)
{
	listener->next = link->listeners;
	link->listeners = listener;
}

void nats_link_unlisten(struct nats_link *link, struct nats_link_listener *listener)
{
	struct nats_link_listener **at = &link->listeners;

	while (*at != listener)
		at = &(*at)->next;
	*at = listener->next;
}

bool nats_link_is_up(const struct nats_link *link)
{
	return link->is_up;
}

const char *nats_link_reason(const struct nats_link *link)
{
	return link->is_up ? "" : link->reason;
}

size_t nats_link_max_payload(const struct nats_link *link)
{
	return link->max_payload;
}

const char *nats_link_server(const struct nats_link *link)
{
	return link->is_up ? "nats://fake:4222" : "";
}

void nats_link_publish(struct nats_link *link, struct nats_outgoing *message)
{
	link->published++;
	buf_clear(&link->publishes);
	buf_appendf(&link->publishes, "%s %.*s", message->subject,
		SLICE_FMT(buf_slice(&message->body)));
}

bool nats_link_ack(struct nats_link *link, struct slice reply)
{
	if (!link->is_up)
		return false;
	link->published++;
	buf_clear(&link->publishes);
	buf_appendf(&link->publishes, "%.*s +ACK", SLICE_FMT(reply));
	return true;
}

uint64_t nats_link_request(struct nats_link *link, struct nats_outgoing *message,
	int64_t timeout_ms, nats_reply_callback callback, void *arg)
{
	struct fake_request *request = xcalloc(1, sizeof(*request));

	(void)timeout_ms;
	request->id = ++link->last_id;
	request->message = nats_outgoing_ref(message);
	request->callback = callback;
	request->arg = arg;
	TAILQ_INSERT_TAIL(&link->requests, request, entry);
	return request->id;
}

static void fake_forget(struct fake_request *request)
{
	TAILQ_REMOVE(&fake_link.requests, request, entry);
	nats_outgoing_unref(request->message);
	free(request);
}

void nats_link_cancel(struct nats_link *link, uint64_t id)
{
	struct fake_request *request;

	TAILQ_FOREACH (request, &link->requests, entry)
		if (request->id == id) {
			link->cancelled++;
			fake_forget(request);
			return;
		}
}

struct nats_inbox *nats_inbox_open(struct nats_link *link,
	void (*on_message)(void *arg, struct nats_incoming *message),
	void (*on_denied)(void *arg, const char *text), void *arg)
{
	struct nats_inbox *inbox = xcalloc(1, sizeof(*inbox));

	*inbox = (struct nats_inbox){on_message, on_denied, arg};
	link->inbox = inbox;
	return inbox;
}

void nats_inbox_ask(struct nats_inbox *inbox, struct nats_outgoing *message)
{
	(void)inbox;
	fake_link.asked++;
	buf_clear(&fake_link.asks);
	buf_appendf(
		&fake_link.asks, "%s %.*s", message->subject, SLICE_FMT(buf_slice(&message->body)));
}

void nats_inbox_close(struct nats_inbox *inbox)
{
	free(inbox);
	fake_link.inbox = NULL;
}

/* -- the test's side ------------------------------------------------------------------------- */

static inline void fake_link_reset(void)
{
	buf_free(&fake_link.asks);
	buf_free(&fake_link.publishes);
	fake_link = (struct nats_link){.reason = "connection refused", .max_payload = 1 << 20};
	TAILQ_INIT(&fake_link.requests);
}

static inline void fake_up(void)
{
	fake_link.is_up = true;
	for (struct nats_link_listener *l = fake_link.listeners, *next; l != NULL; l = next) {
		next = l->next;
		l->on_up(l->arg);
	}
}

static inline struct fake_request *fake_find(const char *subject)
{
	struct fake_request *request;

	TAILQ_FOREACH (request, &fake_link.requests, entry)
		if (strcmp(request->message->subject, subject) == 0)
			return request;
	return NULL;
}

static inline int fake_outstanding(const char *subject)
{
	struct fake_request *request;
	int count = 0;

	TAILQ_FOREACH (request, &fake_link.requests, entry)
		count += subject == NULL || strcmp(request->message->subject, subject) == 0;
	return count;
}

/* The oldest request to `subject` ends this way; false if there is none. */
static inline bool fake_reply(const char *subject, enum nats_reply outcome,
	struct nats_incoming *answer, const char *text)
{
	struct fake_request *request = fake_find(subject);
	nats_reply_callback callback;
	void *arg;

	if (request == NULL)
		return false;
	callback = request->callback;
	arg = request->arg;
	fake_forget(request);
	callback(arg, outcome, answer, text);
	return true;
}

static inline bool fake_end(const char *subject, enum nats_reply outcome, const char *text)
{
	struct nats_incoming answer = {.body = slice_from(text)};

	return fake_reply(subject, outcome, outcome == NATS_REPLY_OK ? &answer : NULL, text);
}

static inline bool fake_answer(const char *subject, const char *json)
{
	return fake_end(subject, NATS_REPLY_OK, json);
}

/* As the real one: listeners first, then what is outstanding. */
static inline void fake_down(const char *reason)
{
	struct fake_request *request;

	fake_link.is_up = false;
	fake_link.reason = reason;
	for (struct nats_link_listener *l = fake_link.listeners, *next; l != NULL; l = next) {
		next = l->next;
		l->on_down(l->arg, reason);
	}
	while ((request = TAILQ_FIRST(&fake_link.requests)) != NULL)
		fake_end(request->message->subject, NATS_REPLY_DOWN, "");
}

#endif
