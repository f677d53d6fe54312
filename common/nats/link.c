/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop's side of the link: its state, the requests that await an answer, the inboxes. Whatever
 * touches the connection is handed to the worker (link_worker.c).
 *
 * Every operation carries the generation of the connection it is meant for, every item that comes
 * back the one it is from: what crosses a change of connection is dropped on either side. Requests
 * wait in one list in the order of their deadlines. Most time-outs are the same, so that the place
 * of a new one is near the end, from where it is looked for. A request that has failed gets its
 * outcome noted and a deadline that has passed: callbacks come from the timer or the hand-off only,
 * never from inside a call.
 */
#include "common/nats/link.h"

#include "common/core/log.h"
#include "common/core/table.h"
#include "common/nats/link_internal.h"

#include <assert.h>
#include <stdio.h>
#include <sys/queue.h>

#define WATCH_INTERVAL_MS 1000

struct request {
	uint64_t id;
	uint64_t deadline_ms;
	enum nats_reply outcome; /* at the deadline */
	const char *text;        /* of the outcome */
	struct nats_outgoing *message;
	nats_reply_callback callback;
	void *arg;
	TAILQ_ENTRY(request) entry;
	UT_hash_handle hh;
};
TAILQ_HEAD(request_list, request);

struct nats_inbox {
	struct nats_link *link;
	uint64_t id;
	void (*on_message)(void *arg, struct nats_incoming *message);
	void (*on_denied)(void *arg, const char *text);
	void *arg;
	char *asked; /* the subject of the last nats_inbox_ask */
	struct nats_inbox *next;
};

struct nats_link {
	uv_loop_t *loop;
	struct handoff *handoff;
	struct link_worker *worker;
	struct link_lease *lease;
	uv_timer_t timer, watch;
	struct nats_link_listener *listeners;
	struct nats_link_listener *next_called; /* while listeners are being called */
	bool up, closing;
	uint64_t generation; /* of the newest connection; 0: there was none yet */
	char reason[LINK_TEXT_BYTES];
	char server[LINK_TEXT_BYTES];
	size_t max_payload;
	uint64_t connects, violations;
	uint64_t failures[NATS_FAILURE_COUNT];
	uint64_t last_id; /* of requests and inboxes */
	struct request *by_id;
	struct request_list requests; /* in the order of their deadlines */
	struct nats_inbox *inboxes;
	struct log_limit violation_limit, unsendable_limit;
	int open_handles;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* A cycle: the timer ends requests, whose callbacks make new ones, which set the timer. */
static void on_timer(uv_timer_t *timer);

static void arm_timer(struct nats_link *link, uint64_t deadline_ms)
{
	uint64_t now = uv_now(link->loop);
	uint64_t wait_ms = deadline_ms > now ? deadline_ms - now : 0;

	if (!uv_is_active((uv_handle_t *)&link->timer) ||
		uv_timer_get_due_in(&link->timer) > wait_ms)
		uv_timer_start(&link->timer, on_timer, wait_ms, 0);
}

static void insert_request(struct nats_link *link, struct request *request)
{
	struct request *before = TAILQ_LAST(&link->requests, request_list);

	while (before != NULL && before->deadline_ms > request->deadline_ms)
		before = TAILQ_PREV(before, request_list, entry);
	if (before == NULL)
		TAILQ_INSERT_HEAD(&link->requests, request, entry);
	else
		TAILQ_INSERT_AFTER(&link->requests, before, request, entry);
	arm_timer(link, request->deadline_ms);
}

static void remove_request(struct nats_link *link, struct request *request)
{
	TAILQ_REMOVE(&link->requests, request, entry);
	HASH_DEL(link->by_id, request);
	nats_outgoing_unref(request->message);
}

static void finish_request(struct nats_link *link, struct request *request, enum nats_reply outcome,
	struct nats_incoming *message, const char *text)
{
	remove_request(link, request);
	request->callback(request->arg, outcome, message, text);
	free(request);
}

static struct request *find_request(struct nats_link *link, uint64_t id)
{
	struct request *request;

	HASH_FIND(hh, link->by_id, &id, sizeof(id), request);
	return request;
}

static void on_timer(uv_timer_t *timer)
{
	struct nats_link *link = container_of(timer, struct nats_link, timer);
	uint64_t now = uv_now(link->loop);
	struct request *request;

	while ((request = TAILQ_FIRST(&link->requests)) != NULL && request->deadline_ms <= now)
		finish_request(link, request, request->outcome, NULL, request->text);
	if (request != NULL)
		arm_timer(link, request->deadline_ms);
}

/* Ends all that is outstanding at the next turn of the timer. */
static void fail_requests(struct nats_link *link, const char *text)
{
	struct request *request;

	TAILQ_FOREACH (request, &link->requests, entry) {
		if (request->outcome == NATS_REPLY_TIMEOUT) {
			request->outcome = NATS_REPLY_DOWN;
			request->text = text;
		}
		request->deadline_ms = 0;
	}
	if (!TAILQ_EMPTY(&link->requests))
		arm_timer(link, 0);
}

static void push(
	struct nats_link *link, enum link_op_kind kind, uint64_t id, struct nats_outgoing *message)
{
	struct link_op *op = xcalloc(1, sizeof(*op));

	op->kind = kind;
	op->generation = link->generation;
	op->id = id;
	op->message = message == NULL ? NULL : nats_outgoing_ref(message);
	link_worker_push(link->worker, op);
}

/* NULL, or why the server would close the connection rather than take the message. */
static const char *unsendable(struct nats_link *link, const struct nats_outgoing *message)
{
	const char *why = NULL;

	if (!message->sendable)
		why = "not a subject that can be published to";
	else if (link->max_payload > 0 && nats_outgoing_bytes(message) > link->max_payload)
		why = "larger than the server's max_payload";
	if (why != NULL)
		log_limited(&link->unsendable_limit, LOG_ERROR, "NATS message not sent",
			LOG_S("subject", message->subject),
			LOG_I("bytes", nats_outgoing_bytes(message)), LOG_S("reason", why));
	return why;
}

static void call_listeners(struct nats_link *link)
{
	struct nats_link_listener *listener = link->listeners;

	for (; listener != NULL; listener = link->next_called) {
		link->next_called = listener->next;
		if (link->up)
			listener->on_up(listener->arg);
		else
			listener->on_down(listener->arg, link->reason);
	}
}

static void on_up(struct nats_link *link, const struct link_event *event)
{
	link->up = true;
	link->generation = event->base.generation;
	link->max_payload = event->max_payload;
	link->connects++;
	link->reason[0] = '\0';
	memcpy(link->server, event->text, sizeof(link->server));
	log_info("connected to NATS", LOG_S("server", link->server));
	for (struct nats_inbox *inbox = link->inboxes; inbox != NULL; inbox = inbox->next)
		push(link, LINK_OP_SUBSCRIBE, inbox->id, NULL);
	call_listeners(link);
}

static void on_down(struct nats_link *link, const struct link_event *event)
{
	link->up = false;
	link->server[0] = '\0';
	memcpy(link->reason, event->text, sizeof(link->reason));
	/* Comes once for each reason; the worker's back-off bounds how often they can alternate. */
	log_warn("not connected to NATS, trying again", LOG_S("reason", link->reason));
	fail_requests(link, "the connection went down");
	call_listeners(link);
}

/* What stands between the first two double quotes; to the end if it was cut before the second. */
static bool quoted(const char *text, struct slice *inner, bool *is_cut)
{
	const char *start = strchr(text, '"');
	const char *end;

	if (start == NULL)
		return false;
	end = strchr(start + 1, '"');
	*is_cut = end == NULL;
	inner->ptr = start + 1;
	inner->len = end == NULL ? strlen(start + 1) : (size_t)(end - start) - 1;
	return true;
}

static bool is_denied(struct slice subject, struct slice denied, bool is_cut)
{
	if (is_cut && subject.len > denied.len)
		subject.len = denied.len;
	return slice_eq(subject, denied);
}

/*
 * The server reports each refused message, in the order of sending: each report is the fate of the
 * oldest request to that subject, or of what an inbox asked.
 */
static void deny(struct nats_link *link, struct slice denied, bool is_cut, const char *text)
{
	struct request *request;

	TAILQ_FOREACH (request, &link->requests, entry) {
		struct slice subject = {request->message->subject, request->message->subject_len};

		if (request->outcome == NATS_REPLY_TIMEOUT && is_denied(subject, denied, is_cut)) {
			finish_request(link, request, NATS_REPLY_DENIED, NULL, text);
			return;
		}
	}
	for (struct nats_inbox *inbox = link->inboxes; inbox != NULL; inbox = inbox->next) {
		if (inbox->asked != NULL && is_denied(slice_from(inbox->asked), denied, is_cut)) {
			inbox->on_denied(inbox->arg, text);
			return;
		}
	}
}

static void on_violation(struct nats_link *link, const struct link_event *event)
{
	struct slice subject;
	bool is_cut;
	char text[LINK_TEXT_BYTES];

	link->violations++;
	if (!quoted(event->text, &subject, &is_cut)) {
		log_limited(&link->violation_limit, LOG_WARN, "NATS refused something",
			LOG_S("reason", event->text));
		return;
	}
	log_limited(&link->violation_limit, LOG_WARN,
		"NATS permission missing: grant publish to this subject",
		LOG_SL("subject", subject));
	snprintf(text, sizeof(text), "permission to publish to %.*s%s is missing",
		SLICE_FMT(subject), is_cut ? "…" : "");
	if (event->base.generation == link->generation)
		deny(link, subject, is_cut, text);
}

/* The id that an answer's subject ends with; 0 if it is not one of ours. */
static uint64_t answered_id(struct slice subject)
{
	uint64_t id = 0;
	size_t at = subject.len;

	while (at > 0 && subject.ptr[at - 1] != '.')
		at--;
	if (at == subject.len || subject.len - at > 19)
		return 0;
	for (; at < subject.len; at++) {
		if (subject.ptr[at] < '0' || subject.ptr[at] > '9')
			return 0;
		id = id * 10 + (uint64_t)(subject.ptr[at] - '0');
	}
	return id;
}

/* A stored message that was asked for, whose first line its publisher wrote, names its stream. */
static bool says_no_responders(struct nats_incoming *message)
{
	struct slice ignored;

	return nats_incoming_body(message).len == 0 &&
	       nats_incoming_status(message, &ignored) == 503 &&
	       !nats_incoming_header(message, "Nats-Stream", &ignored);
}

static void on_answer(struct nats_link *link, struct nats_incoming *message)
{
	struct request *request = find_request(link, answered_id(nats_incoming_subject(message)));

	if (request == NULL || request->outcome != NATS_REPLY_TIMEOUT)
		return;
	if (says_no_responders(message))
		finish_request(link, request, NATS_REPLY_NO_RESPONDERS, NULL,
			"nobody answers on the subject");
	else
		finish_request(link, request, NATS_REPLY_OK, message, "");
}

static void on_message(struct nats_link *link, struct nats_incoming *message)
{
	struct nats_inbox *inbox = link->inboxes;

	message->lease = link->lease;
	link_lease_ref(link->lease);
	if (link->closing || !link->up || message->base.generation != link->generation) {
		nats_incoming_free(message);
	} else if (message->inbox == 0) {
		on_answer(link, message);
		nats_incoming_free(message);
	} else {
		while (inbox != NULL && inbox->id != message->inbox)
			inbox = inbox->next;
		if (inbox != NULL)
			inbox->on_message(inbox->arg, message);
		else
			nats_incoming_free(message);
	}
}

static void on_handle_closed(struct nats_link *link)
{
	void (*on_closed)(void *) = link->on_closed;
	void *arg = link->closed_arg;

	if (--link->open_handles > 0)
		return;
	link_lease_unref(link->lease);
	free(link);
	if (on_closed != NULL)
		on_closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_handle_closed(handle->data);
}

static void on_handoff_closed(void *arg)
{
	on_handle_closed(arg);
}

static void on_ended(struct nats_link *link)
{
	link_worker_free(link->worker);
	handoff_close(link->handoff, on_handoff_closed, link);
	uv_close((uv_handle_t *)&link->timer, on_timer_closed);
	uv_close((uv_handle_t *)&link->watch, on_timer_closed);
}

static void on_event(struct nats_link *link, struct link_event *event)
{
	enum link_item_kind kind = event->base.kind;

	if (!link->closing && kind == LINK_ITEM_UP)
		on_up(link, event);
	else if (!link->closing && kind == LINK_ITEM_DOWN)
		on_down(link, event);
	else if (!link->closing && kind == LINK_ITEM_FAILED)
		link->failures[event->failure]++;
	else if (!link->closing && kind == LINK_ITEM_VIOLATION)
		on_violation(link, event);
	free(event);
	if (kind == LINK_ITEM_ENDED)
		on_ended(link);
}

static void on_item(void *arg, struct handoff_item *item)
{
	struct link_item *base = container_of(item, struct link_item, item);

	if (base->kind == LINK_ITEM_MESSAGE)
		on_message(arg, container_of(base, struct nats_incoming, base));
	else
		on_event(arg, container_of(base, struct link_event, base));
}

static void on_watch(uv_timer_t *timer)
{
	link_worker_watch(((struct nats_link *)timer->data)->worker);
}

struct nats_link *nats_link_open(uv_loop_t *loop, const struct nats_link_options *options)
{
	struct nats_link *link = xcalloc(1, sizeof(*link));

	link->loop = loop;
	TAILQ_INIT(&link->requests);
	link->lease = link_lease_new();
	link->handoff = handoff_open(loop, on_item, link);
	uv_timer_init(loop, &link->timer);
	uv_timer_init(loop, &link->watch);
	link->timer.data = link->watch.data = link;
	link->open_handles = 3;
	link->worker = link_worker_start(options, link->handoff);
	uv_timer_start(&link->watch, on_watch, WATCH_INTERVAL_MS, WATCH_INTERVAL_MS);
	snprintf(link->reason, sizeof(link->reason), "connecting to %s",
		link_worker_servers(link->worker));
	return link;
}

void nats_link_listen(struct nats_link *link, struct nats_link_listener *listener)
{
	struct nats_link_listener **end = &link->listeners;

	while (*end != NULL)
		end = &(*end)->next;
	listener->next = NULL;
	*end = listener;
}

void nats_link_unlisten(struct nats_link *link, struct nats_link_listener *listener)
{
	struct nats_link_listener **at = &link->listeners;

	while (*at != NULL && *at != listener)
		at = &(*at)->next;
	if (*at == NULL)
		return;
	*at = listener->next;
	if (link->next_called == listener)
		link->next_called = listener->next;
}

bool nats_link_is_up(const struct nats_link *link)
{
	return link->up;
}

const char *nats_link_reason(const struct nats_link *link)
{
	return link->reason;
}

size_t nats_link_max_payload(const struct nats_link *link)
{
	return link->max_payload;
}

uint64_t nats_link_connects(const struct nats_link *link)
{
	return link->connects;
}

const char *nats_failure_name(enum nats_failure failure)
{
	static const char *const names[] = {
		[NATS_FAILURE_UNREACHABLE] = "unreachable",
		[NATS_FAILURE_TIMEOUT] = "timeout",
		[NATS_FAILURE_TLS] = "tls",
		[NATS_FAILURE_AUTH] = "auth",
		[NATS_FAILURE_FILE] = "file",
		[NATS_FAILURE_OTHER] = "other",
	};

	return names[failure];
}

uint64_t nats_link_failures(const struct nats_link *link, enum nats_failure failure)
{
	return link->failures[failure];
}

uint64_t nats_link_violations(const struct nats_link *link)
{
	return link->violations;
}

const char *nats_link_server(const struct nats_link *link)
{
	return link->server;
}

void nats_link_publish(struct nats_link *link, struct nats_outgoing *message)
{
	if (link->up && unsendable(link, message) == NULL)
		push(link, LINK_OP_PUBLISH, 0, message);
}

bool nats_link_ack(struct nats_link *link, struct slice reply)
{
	if (!link->up || !link_subject_is_sendable(reply))
		return false;
	link_worker_push_ack(link->worker, link->generation, reply);
	return true;
}

uint64_t nats_link_request(struct nats_link *link, struct nats_outgoing *message,
	int64_t timeout_ms, nats_reply_callback callback, void *arg)
{
	struct request *request = xcalloc(1, sizeof(*request));
	const char *why = link->up ? unsendable(link, message) : "not connected";

	request->id = ++link->last_id;
	request->message = nats_outgoing_ref(message);
	request->callback = callback;
	request->arg = arg;
	if (why == NULL) {
		request->outcome = NATS_REPLY_TIMEOUT;
		request->text = "no answer in time";
		request->deadline_ms = uv_now(link->loop) + (uint64_t)timeout_ms;
		push(link, LINK_OP_REQUEST, request->id, message);
	} else {
		request->outcome = link->up ? NATS_REPLY_DENIED : NATS_REPLY_DOWN;
		request->text = why;
		/* Not now: a callback that asks again at once must not keep the timer busy. */
		request->deadline_ms = uv_now(link->loop) + 1;
	}
	HASH_ADD(hh, link->by_id, id, sizeof(request->id), request);
	insert_request(link, request);
	return request->id;
}

void nats_link_cancel(struct nats_link *link, uint64_t id)
{
	struct request *request = find_request(link, id);

	if (request == NULL)
		return;
	remove_request(link, request);
	free(request);
}

struct nats_inbox *nats_inbox_open(struct nats_link *link,
	void (*on_incoming)(void *arg, struct nats_incoming *message),
	void (*on_denied)(void *arg, const char *text), void *arg)
{
	struct nats_inbox *inbox = xcalloc(1, sizeof(*inbox));

	inbox->link = link;
	inbox->id = ++link->last_id;
	inbox->on_message = on_incoming;
	inbox->on_denied = on_denied;
	inbox->arg = arg;
	inbox->next = link->inboxes;
	link->inboxes = inbox;
	if (link->up)
		push(link, LINK_OP_SUBSCRIBE, inbox->id, NULL);
	return inbox;
}

void nats_inbox_ask(struct nats_inbox *inbox, struct nats_outgoing *message)
{
	struct nats_link *link = inbox->link;

	if (inbox->asked == NULL || strcmp(inbox->asked, message->subject) != 0) {
		free(inbox->asked);
		inbox->asked = xstrdup(message->subject);
	}
	if (link->up && unsendable(link, message) == NULL)
		push(link, LINK_OP_ASK, inbox->id, message);
}

void nats_inbox_close(struct nats_inbox *inbox)
{
	struct nats_inbox **at = &inbox->link->inboxes;

	while (*at != inbox)
		at = &(*at)->next;
	*at = inbox->next;
	free(inbox->asked);
	free(inbox);
}

void nats_link_close(
	struct nats_link *link, int64_t timeout_ms, void (*on_closed)(void *arg), void *arg)
{
	struct request *request;

	/* They would point into the freed link; their owners close them first. */
	assert(link->inboxes == NULL && !link->closing);
	link->closing = true;
	link->up = false;
	link->listeners = NULL;
	link->next_called = NULL;
	link->on_closed = on_closed;
	link->closed_arg = arg;
	uv_timer_stop(&link->timer);
	while ((request = TAILQ_FIRST(&link->requests)) != NULL) {
		remove_request(link, request);
		free(request);
	}
	link_worker_stop(link->worker, timeout_ms);
}
