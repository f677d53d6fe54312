/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link's thread: it alone calls cnats, connects for ever, and sends what the loop hands it.
 *
 * cnats' own reconnection is off. Whatever ends a connection (server stopped or frozen, credentials
 * revoked, a refused signature), it is thrown away whole and a new one is made after a pause that
 * grows; what was queued for the old one is dropped. Messages are written in place (send as soon as
 * possible), since cnats does not report a failed write of its flusher thread, and with a deadline,
 * since a frozen server would otherwise hold the writer for ever.
 *
 * cnats' callbacks may come late, even for a connection that is gone. They are given no pointer but
 * a number, which is looked up among the live connections under one lock: a number that is gone is
 * ignored. Subscriptions are never destroyed on a live connection: cnats up to 3.6 uses one without
 * holding it while a message comes in.
 */
#include "common/nats/link_internal.h"

#include "common/core/backoff.h"
#include "common/core/clock.h"
#include "common/core/table.h"
#include "common/core/url.h"
#include "common/nats/link_server.h"

#include <pthread.h>
#include <stdio.h>
#include <strings.h>

#define CONNECT_TIMEOUT_MS  5000
#define PING_INTERVAL_MS    10000
#define PINGS_UNANSWERED    2
#define WRITE_DEADLINE_MS   10000
#define BACKOFF_FIRST_MS    100
#define BACKOFF_LAST_MS     5000
#define LIBRARY_END_WAIT_MS 5000

struct link_worker {
	uv_thread_t thread;
	struct handoff *handoff;
	struct link_servers servers;
	char *client_name;
	char *inbox_prefix;
	uint64_t generation;
	struct backoff backoff;
	char reported[LINK_TEXT_BYTES]; /* the reason posted last; "" while up */

	uv_mutex_t lock; /* over what follows */
	uv_cond_t wake;
	struct link_op *ops;
	struct link_op **ops_tail;
	bool stopping;
	int64_t flush_ms;
	bool closed;                /* cnats is done with the connection */
	char lost[LINK_TEXT_BYTES]; /* why it has to end; "" while it is good */
};

/* What a number given to cnats stands for. */
struct tap {
	uintptr_t number;
	struct link_worker *worker;
	uint64_t generation;
	uint64_t inbox;
	UT_hash_handle hh;
};

/* One connection, known to the worker's thread alone. */
struct session {
	struct link_worker *worker;
	natsConnection *connection;
	natsSubscription **subscriptions;
	uintptr_t *taps; /* the connection's own, then one for each subscription */
	size_t subscription_count, tap_count;
	uint64_t opened_ms;
	struct buf address; /* <inbox_prefix>.<random of this connection> */
	struct buf reply;
};

static pthread_mutex_t taps_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tap *taps;
static uintptr_t last_tap;

static pthread_mutex_t library_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t library_users;

struct link_lease *link_lease_new(void)
{
	struct link_lease *lease = xcalloc(1, sizeof(*lease));

	lease->refs = 1;
	pthread_mutex_lock(&library_lock);
	library_users++;
	pthread_mutex_unlock(&library_lock);
	return lease;
}

void link_lease_ref(struct link_lease *lease)
{
	lease->refs++;
}

void link_lease_unref(struct link_lease *lease)
{
	if (lease == NULL || --lease->refs > 0)
		return;
	free(lease);
	pthread_mutex_lock(&library_lock);
	/* Every connection is closed by now, so that this waits for idle threads only. */
	if (--library_users == 0)
		nats_CloseAndWait(LIBRARY_END_WAIT_MS);
	pthread_mutex_unlock(&library_lock);
}

static void post_event(struct link_worker *worker, enum link_item_kind kind, uint64_t generation,
	const char *text, size_t max_payload)
{
	struct link_event *event = xcalloc(1, sizeof(*event));

	event->base.kind = kind;
	event->base.generation = generation;
	event->max_payload = max_payload;
	snprintf(event->text, sizeof(event->text), "%s", text);
	handoff_post(worker->handoff, &event->base.item);
}

/* --- Numbers given to cnats. */

static uintptr_t tap_add(struct session *session, uint64_t inbox)
{
	struct tap *tap = xcalloc(1, sizeof(*tap));

	tap->worker = session->worker;
	tap->generation = session->worker->generation;
	tap->inbox = inbox;
	pthread_mutex_lock(&taps_lock);
	tap->number = ++last_tap;
	HASH_ADD(hh, taps, number, sizeof(tap->number), tap);
	pthread_mutex_unlock(&taps_lock);
	session->taps =
		xreallocarray(session->taps, session->tap_count + 1, sizeof(*session->taps));
	session->taps[session->tap_count++] = tap->number;
	return tap->number;
}

/* The lock is held. */
static struct tap *tap_find(uintptr_t number)
{
	struct tap *tap;

	HASH_FIND(hh, taps, &number, sizeof(number), tap);
	return tap;
}

/* Once this is through, no callback of the session is under way, and none will do anything. */
static void taps_remove(struct session *session)
{
	pthread_mutex_lock(&taps_lock);
	for (size_t i = 0; i < session->tap_count; i++) {
		struct tap *tap = tap_find(session->taps[i]);

		HASH_DEL(taps, tap);
		free(tap);
	}
	pthread_mutex_unlock(&taps_lock);
	free(session->taps);
}

/* --- cnats' callbacks, on its threads. */

static void on_message(
	natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
	struct tap *tap;

	(void)connection;
	(void)subscription;
	if (message == NULL)
		return;
	pthread_mutex_lock(&taps_lock);
	tap = tap_find((uintptr_t)closure);
	if (tap != NULL) {
		struct nats_incoming *incoming =
			link_incoming_new(message, tap->generation, tap->inbox);

		handoff_post(tap->worker->handoff, &incoming->base.item);
	}
	pthread_mutex_unlock(&taps_lock);
	if (tap == NULL)
		natsMsg_Destroy(message);
}

/* The first reason given is the cause, what follows its consequences. */
static void lose(struct link_worker *worker, const char *why, bool closed)
{
	uv_mutex_lock(&worker->lock);
	if (worker->lost[0] == '\0')
		snprintf(worker->lost, sizeof(worker->lost), "%s", why);
	worker->closed = worker->closed || closed;
	uv_cond_signal(&worker->wake);
	uv_mutex_unlock(&worker->lock);
}

/* In words that stay the same from one attempt to the next, unlike the random address. */
static void lose_permission(struct link_worker *worker)
{
	char why[LINK_TEXT_BYTES];

	snprintf(why, sizeof(why), "permission to subscribe to %s.> is missing",
		worker->inbox_prefix);
	lose(worker, why, false);
}

static bool is_about_subscription(const char *text)
{
	return strcasestr(text, "subscription to") != NULL;
}

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
	void *closure)
{
	const char *text = nats_GetLastError(NULL);
	struct tap *tap;

	(void)connection;
	(void)subscription;
	if (text == NULL || text[0] == '\0')
		text = natsStatus_GetText(status);
	pthread_mutex_lock(&taps_lock);
	tap = tap_find((uintptr_t)closure);
	if (tap != NULL && status == NATS_CONNECTION_AUTH_FAILED)
		lose(tap->worker, "authorization violation", false);
	else if (tap != NULL && status == NATS_NOT_PERMITTED && is_about_subscription(text))
		lose_permission(tap->worker);
	else if (tap != NULL && status == NATS_NOT_PERMITTED)
		post_event(tap->worker, LINK_ITEM_VIOLATION, tap->generation, text, 0);
	pthread_mutex_unlock(&taps_lock);
}

static void on_closed(natsConnection *connection, void *closure)
{
	const char *text = NULL;
	natsStatus status = natsConnection_GetLastError(connection, &text);
	struct tap *tap;

	/* The text may be left over from an earlier error, unless it came with this status. */
	if (status == NATS_STALE_CONNECTION)
		text = "stale connection: the server did not answer in time";
	else if (status != NATS_ERR && status != NATS_CONNECTION_AUTH_FAILED)
		text = "connection lost";
	pthread_mutex_lock(&taps_lock);
	tap = tap_find((uintptr_t)closure);
	if (tap != NULL)
		lose(tap->worker, text, true);
	pthread_mutex_unlock(&taps_lock);
}

/* --- One connection. */

static natsStatus set_credentials(natsOptions *options, const struct link_servers *servers)
{
	if (servers->password != NULL)
		return natsOptions_SetUserInfo(options, servers->user, servers->password);
	if (servers->user != NULL)
		return natsOptions_SetToken(options, servers->user);
	return NATS_OK;
}

static natsStatus make_options(struct session *session, natsOptions **options)
{
	struct link_worker *worker = session->worker;
	void *closure = (void *)tap_add(session, 0);
	natsStatus s = natsOptions_Create(options);

	if (s == NATS_OK)
		s = natsOptions_SetServers(
			*options, (const char **)worker->servers.urls, (int)worker->servers.count);
	if (s == NATS_OK)
		s = set_credentials(*options, &worker->servers);
	if (s == NATS_OK)
		s = natsOptions_SetName(*options, worker->client_name);
	if (s == NATS_OK)
		s = natsOptions_SetAllowReconnect(*options, false);
	if (s == NATS_OK)
		s = natsOptions_SetTimeout(*options, CONNECT_TIMEOUT_MS);
	if (s == NATS_OK)
		s = natsOptions_SetPingInterval(*options, PING_INTERVAL_MS);
	if (s == NATS_OK)
		s = natsOptions_SetMaxPingsOut(*options, PINGS_UNANSWERED);
	if (s == NATS_OK)
		s = natsOptions_SetWriteDeadline(*options, WRITE_DEADLINE_MS);
	if (s == NATS_OK)
		s = natsOptions_SetSendAsap(*options, true);
	if (s == NATS_OK)
		s = natsOptions_SetErrorHandler(*options, on_error, closure);
	if (s == NATS_OK)
		s = natsOptions_SetClosedCB(*options, on_closed, closure);
	return s;
}

static natsStatus subscribe(struct session *session, const char *subject, uint64_t inbox)
{
	natsSubscription *subscription = NULL;
	void *closure = (void *)tap_add(session, inbox);
	natsStatus s = natsConnection_Subscribe(
		&subscription, session->connection, subject, on_message, closure);

	if (s != NATS_OK)
		return s;
	session->subscriptions = xreallocarray(session->subscriptions,
		session->subscription_count + 1, sizeof(*session->subscriptions));
	session->subscriptions[session->subscription_count++] = subscription;
	/* Pulls and unacked publishes bound what can wait; dropping here would lose acks. */
	return natsSubscription_SetPendingLimits(subscription, -1, -1);
}

static const char *reply_to(struct session *session, char kind, uint64_t id)
{
	buf_clear(&session->reply);
	buf_append_slice(&session->reply, buf_slice(&session->address));
	if (id == 0)
		buf_appendf(&session->reply, ".%c.*", kind);
	else
		buf_appendf(&session->reply, ".%c.%llu", kind, (unsigned long long)id);
	return buf_cstr(&session->reply);
}

static const char *error_text(natsStatus status)
{
	const char *text = nats_GetLastError(NULL);

	return text != NULL && text[0] != '\0' ? text : natsStatus_GetText(status);
}

/* Subscribes to the answers and makes sure that the server lets it: a refusal precedes the PONG. */
static natsStatus start_answers(struct session *session)
{
	const char *text = "";
	natsStatus s = subscribe(session, reply_to(session, 'r', 0), 0);

	if (s == NATS_OK)
		s = natsConnection_FlushTimeout(session->connection, CONNECT_TIMEOUT_MS);
	if (s != NATS_OK) {
		lose(session->worker, error_text(s), false);
		return s;
	}
	s = natsConnection_GetLastError(session->connection, &text);
	if (s == NATS_NOT_PERMITTED)
		lose_permission(session->worker);
	else if (s != NATS_OK)
		lose(session->worker, text, false);
	return s;
}

static void lose_connect(struct link_worker *worker, natsStatus status)
{
	struct buf why = {NULL, 0, 0};

	buf_appendf(&why, "cannot connect to %s: ", worker->servers.shown);
	if (status == NATS_NO_SERVER)
		link_servers_probe(&worker->servers, &why);
	else if (status == NATS_TIMEOUT)
		buf_appendf(&why, "no answer within %ds", CONNECT_TIMEOUT_MS / 1000);
	else if (status == NATS_CONNECTION_AUTH_FAILED)
		buf_append_str(&why, "authorization violation");
	else
		buf_append_str(&why, error_text(status));
	lose(worker, buf_cstr(&why), false);
	buf_free(&why);
}

static bool session_connect(struct session *session)
{
	natsOptions *options = NULL;
	natsStatus s = make_options(session, &options);

	if (s == NATS_OK)
		s = natsConnection_Connect(&session->connection, options);
	natsOptions_Destroy(options);
	if (s != NATS_OK) {
		lose_connect(session->worker, s);
		return false;
	}
	buf_append_str(&session->address, session->worker->inbox_prefix);
	buf_appendf(&session->address, ".%016llx", (unsigned long long)random_u64());
	session->opened_ms = clock_mono_ms();
	return start_answers(session) == NATS_OK;
}

static void session_close(struct session *session)
{
	struct link_worker *worker = session->worker;

	if (session->connection != NULL) {
		natsConnection_Close(session->connection);
		uv_mutex_lock(&worker->lock);
		while (!worker->closed)
			uv_cond_wait(&worker->wake, &worker->lock);
		uv_mutex_unlock(&worker->lock);
	}
	taps_remove(session);
	for (size_t i = 0; i < session->subscription_count; i++)
		natsSubscription_Destroy(session->subscriptions[i]);
	natsConnection_Destroy(session->connection);
	free(session->subscriptions);
	buf_free(&session->address);
	buf_free(&session->reply);
}

/* --- Sending. */

static natsStatus publish_with_headers(
	natsConnection *connection, const struct nats_outgoing *message, const char *reply)
{
	natsMsg *copy = NULL;
	natsStatus s = natsMsg_Create(
		&copy, message->subject, reply, message->body.ptr, (int)message->body.len);

	for (size_t i = 0; s == NATS_OK && i < message->header_count; i++)
		s = natsMsgHeader_Add(copy, message->headers[i].name, message->headers[i].value);
	if (s == NATS_OK)
		s = natsConnection_PublishMsg(connection, copy);
	natsMsg_Destroy(copy);
	return s;
}

static natsStatus publish(
	natsConnection *connection, const struct nats_outgoing *message, const char *reply)
{
	if (message->header_count > 0)
		return publish_with_headers(connection, message, reply);
	if (reply != NULL)
		return natsConnection_PublishRequest(connection, message->subject, reply,
			message->body.ptr, (int)message->body.len);
	return natsConnection_Publish(
		connection, message->subject, message->body.ptr, (int)message->body.len);
}

static natsStatus execute(struct session *session, const struct link_op *op)
{
	switch (op->kind) {
	case LINK_OP_PUBLISH:
		return publish(session->connection, op->message, NULL);
	case LINK_OP_REQUEST:
		return publish(session->connection, op->message, reply_to(session, 'r', op->id));
	case LINK_OP_ASK:
		return publish(session->connection, op->message, reply_to(session, 'i', op->id));
	case LINK_OP_SUBSCRIBE:
		return subscribe(session, reply_to(session, 'i', op->id), op->id);
	}
	return NATS_OK;
}

static void free_ops(struct link_op *op)
{
	while (op != NULL) {
		struct link_op *next = op->next;

		nats_outgoing_unref(op->message);
		free(op);
		op = next;
	}
}

/* False if the connection is no good any more. */
static bool execute_all(struct session *session, const struct link_op *op)
{
	for (; op != NULL; op = op->next) {
		natsStatus s = NATS_OK;

		if (op->generation == session->worker->generation)
			s = execute(session, op);
		/* The loop has checked sizes; a server may have lowered its limit since. */
		if (s != NATS_OK && s != NATS_MAX_PAYLOAD) {
			lose(session->worker, "connection lost", false);
			return false;
		}
	}
	return true;
}

static struct link_op *take_ops(struct link_worker *worker)
{
	struct link_op *ops = worker->ops;

	worker->ops = NULL;
	worker->ops_tail = &worker->ops;
	return ops;
}

/* Waits for something to do. False if the connection is to end; what is left of `*ops` is sent. */
static bool await_ops(struct link_worker *worker, struct link_op **ops)
{
	bool go_on;

	uv_mutex_lock(&worker->lock);
	while (worker->ops == NULL && !worker->stopping && worker->lost[0] == '\0')
		uv_cond_wait(&worker->wake, &worker->lock);
	*ops = take_ops(worker);
	go_on = worker->lost[0] == '\0' && (*ops != NULL || !worker->stopping);
	uv_mutex_unlock(&worker->lock);
	return go_on;
}

/* Negative unless the worker is to stop. */
static int64_t stop_flush_ms(struct link_worker *worker)
{
	int64_t flush_ms;

	uv_mutex_lock(&worker->lock);
	flush_ms = worker->stopping ? worker->flush_ms : -1;
	uv_mutex_unlock(&worker->lock);
	return flush_ms;
}

static void serve(struct session *session)
{
	struct link_worker *worker = session->worker;
	struct link_op *ops = NULL;
	bool is_good = true;
	int64_t flush_ms;

	while (is_good && await_ops(worker, &ops)) {
		is_good = execute_all(session, ops);
		free_ops(ops);
		ops = NULL;
	}
	free_ops(ops);
	flush_ms = stop_flush_ms(worker);
	if (is_good && flush_ms > 0)
		natsConnection_FlushTimeout(session->connection, flush_ms);
}

/* --- The thread. */

static void report_up(struct session *session)
{
	struct link_worker *worker = session->worker;
	char url[LINK_TEXT_BYTES] = "";
	char *shown;

	if (natsConnection_GetConnectedUrl(session->connection, url, sizeof(url)) != NATS_OK)
		url[0] = '\0';
	shown = url_redact(url);
	worker->reported[0] = '\0';
	post_event(worker, LINK_ITEM_UP, worker->generation, shown,
		(size_t)natsConnection_GetMaxPayload(session->connection));
	free(shown);
}

static void report_down(struct link_worker *worker)
{
	if (strcmp(worker->reported, worker->lost) == 0)
		return;
	memcpy(worker->reported, worker->lost, sizeof(worker->reported));
	post_event(worker, LINK_ITEM_DOWN, worker->generation, worker->lost, 0);
}

/* From one connection to its end. */
static void run_session(struct link_worker *worker)
{
	struct session session = {.worker = worker};

	uv_mutex_lock(&worker->lock);
	worker->lost[0] = '\0';
	worker->closed = false;
	uv_mutex_unlock(&worker->lock);
	worker->generation++;
	if (session_connect(&session)) {
		report_up(&session);
		serve(&session);
	}
	session_close(&session);
	/* Of a connection that ends soon after it was made, the next one may not do better. */
	if (session.opened_ms != 0 && clock_mono_ms() - session.opened_ms > BACKOFF_LAST_MS)
		backoff_reset(&worker->backoff);
}

/* Waits, unless it is to stop; false then. */
static bool pause_before_next(struct link_worker *worker)
{
	uint64_t until = clock_mono_ms() + backoff_next_ms(&worker->backoff);
	uint64_t now;
	bool stopping;

	uv_mutex_lock(&worker->lock);
	while (!worker->stopping && (now = clock_mono_ms()) < until)
		uv_cond_timedwait(&worker->wake, &worker->lock, (until - now) * 1000000);
	stopping = worker->stopping;
	free_ops(take_ops(worker));
	uv_mutex_unlock(&worker->lock);
	return !stopping;
}

static void run(void *arg)
{
	struct link_worker *worker = arg;

	do {
		run_session(worker);
		report_down(worker);
	} while (pause_before_next(worker));
	post_event(worker, LINK_ITEM_ENDED, worker->generation, "", 0);
}

struct link_worker *link_worker_start(
	const struct nats_link_options *options, struct handoff *handoff)
{
	struct link_worker *worker = xcalloc(1, sizeof(*worker));

	worker->handoff = handoff;
	link_servers_init(&worker->servers, options->urls);
	worker->client_name = xstrdup(options->client_name);
	worker->inbox_prefix = xstrdup(options->inbox_prefix);
	worker->backoff = (struct backoff){BACKOFF_FIRST_MS, BACKOFF_LAST_MS, 0};
	worker->ops_tail = &worker->ops;
	/* None of these fails but for want of memory or threads at start-up. */
	if (uv_mutex_init(&worker->lock) != 0 || uv_cond_init(&worker->wake) != 0 ||
		uv_thread_create(&worker->thread, run, worker) != 0)
		abort();
	return worker;
}

void link_worker_push(struct link_worker *worker, struct link_op *op)
{
	bool was_empty;

	op->next = NULL;
	uv_mutex_lock(&worker->lock);
	was_empty = worker->ops == NULL;
	*worker->ops_tail = op;
	worker->ops_tail = &op->next;
	if (was_empty)
		uv_cond_signal(&worker->wake);
	uv_mutex_unlock(&worker->lock);
}

void link_worker_stop(struct link_worker *worker, int64_t flush_ms)
{
	uv_mutex_lock(&worker->lock);
	worker->stopping = true;
	worker->flush_ms = flush_ms;
	uv_cond_signal(&worker->wake);
	uv_mutex_unlock(&worker->lock);
}

void link_worker_free(struct link_worker *worker)
{
	uv_thread_join(&worker->thread);
	free_ops(worker->ops);
	uv_cond_destroy(&worker->wake);
	uv_mutex_destroy(&worker->lock);
	link_servers_fini(&worker->servers);
	free(worker->client_name);
	free(worker->inbox_prefix);
	free(worker);
}

const char *link_worker_servers(const struct link_worker *worker)
{
	return worker->servers.shown;
}
