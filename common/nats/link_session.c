/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cnats' own reconnection is off. Messages are written in place (send as soon as possible), since
 * cnats does not report a failed write of its flusher thread, and with a deadline, since a frozen
 * server would otherwise hold the writer for ever.
 *
 * cnats' callbacks may come late, even for a connection that is gone. They are given no pointer but
 * a number, which is looked up among the live sessions under one lock: a number that is gone is
 * ignored. Subscriptions are never destroyed on a live connection: cnats up to 3.6 uses one without
 * holding it while a message comes in.
 *
 * What a delivering thread of cnats destroys after the library was closed is never freed. A thread
 * says when it has brought its last message, but not when it has let go of those it did not bring:
 * that is known from the end of the thread.
 */
#include "common/nats/link_session.h"

#include "common/core/clock.h"
#include "common/core/table.h"
#include "common/core/url.h"
#include "common/nats/link_connect.h"

#include <pthread.h>
#include <stdio.h>

#define CONNECT_GRACE_MS  2000
#define DELIVERIES_END_MS 500 /* where a pool of cnats delivers, its threads do not end */

/* What a number given to cnats stands for. */
struct tap {
	uintptr_t number;
	const struct link_session *session;
	uint64_t inbox;
	UT_hash_handle hh;
};

struct link_session {
	struct link_session_options options;
	natsConnection *connection; /* NULL: it never was */
	enum nats_failure failure;  /* without a connection: of what kind */
	bool good;
	natsSubscription **subscriptions;
	uintptr_t *taps; /* the connection's own, then one for each subscription */
	size_t subscription_count, tap_count;
	uint64_t connected_ms;
	struct buf address; /* <inbox_prefix>.<random of this connection> */
	struct buf reply;
	struct link_spent spent;
};

static pthread_mutex_t taps_lock = PTHREAD_MUTEX_INITIALIZER;
static struct tap *taps;
static uintptr_t last_tap;

static pthread_once_t delivery_once = PTHREAD_ONCE_INIT;
static pthread_key_t delivery; /* of a thread that has brought its last message: its number */

/* --- The fate. */

void link_fate_init(struct link_fate *fate)
{
	memset(fate, 0, sizeof(*fate));
	/* They fail for want of memory only. */
	if (uv_mutex_init(&fate->lock) != 0 || uv_cond_init(&fate->wake) != 0)
		abort();
}

void link_fate_fini(struct link_fate *fate)
{
	uv_cond_destroy(&fate->wake);
	uv_mutex_destroy(&fate->lock);
}

void link_fate_watch(struct link_fate *fate, const struct link_servers *servers)
{
	uint64_t limit_ms = LINK_CONNECT_TIMEOUT_MS * servers->count + CONNECT_GRACE_MS;
	bool is_late;

	uv_mutex_lock(&fate->lock);
	is_late = fate->connecting_ms != 0 && clock_mono_ms() - fate->connecting_ms > limit_ms;
	fate->cut = fate->cut || is_late;
	uv_mutex_unlock(&fate->lock);
	if (is_late)
		link_servers_cut(servers);
}

/* The first reason given is the cause, what follows its consequences. */
static void lose(struct link_fate *fate, const char *why)
{
	uv_mutex_lock(&fate->lock);
	if (fate->lost[0] == '\0')
		snprintf(fate->lost, sizeof(fate->lost), "%s", why);
	uv_cond_signal(&fate->wake);
	uv_mutex_unlock(&fate->lock);
}

/* In words that stay the same from one attempt to the next, unlike the random address. */
static void lose_permission(const struct link_session_options *options)
{
	char why[LINK_TEXT_BYTES];

	snprintf(why, sizeof(why), "permission to subscribe to %s.> is missing",
		options->inbox_prefix);
	lose(options->fate, why);
}

static void set_connecting(struct link_fate *fate, bool is_connecting)
{
	uv_mutex_lock(&fate->lock);
	if (is_connecting) {
		fate->lost[0] = '\0';
		fate->closed = false;
		fate->cut = false;
		fate->deliveries = 0;
	}
	fate->connecting_ms = is_connecting ? clock_mono_ms() : 0;
	uv_mutex_unlock(&fate->lock);
}

static bool was_cut(void *arg)
{
	struct link_fate *fate = arg;
	bool cut;

	uv_mutex_lock(&fate->lock);
	cut = fate->cut;
	uv_mutex_unlock(&fate->lock);
	return cut;
}

static bool is_connecting(struct link_fate *fate)
{
	bool connecting;

	uv_mutex_lock(&fate->lock);
	connecting = fate->connecting_ms != 0;
	uv_mutex_unlock(&fate->lock);
	return connecting;
}

/* --- Numbers given to cnats. */

static void *tap_add(struct link_session *session, uint64_t inbox)
{
	struct tap *tap = xcalloc(1, sizeof(*tap));

	tap->session = session;
	tap->inbox = inbox;
	pthread_mutex_lock(&taps_lock);
	tap->number = ++last_tap;
	HASH_ADD(hh, taps, number, sizeof(tap->number), tap);
	pthread_mutex_unlock(&taps_lock);
	session->taps =
		xreallocarray(session->taps, session->tap_count + 1, sizeof(*session->taps));
	session->taps[session->tap_count++] = tap->number;
	return (void *)tap->number;
}

/* The lock is held. */
static struct tap *tap_find(const void *closure)
{
	uintptr_t number = (uintptr_t)closure;
	struct tap *tap;

	HASH_FIND(hh, taps, &number, sizeof(number), tap);
	return tap;
}

/* Once this is through, no callback of the session is under way, and none will do anything. */
static void taps_remove(struct link_session *session)
{
	pthread_mutex_lock(&taps_lock);
	for (size_t i = 0; i < session->tap_count; i++) {
		struct tap *tap = tap_find((void *)session->taps[i]);

		HASH_DEL(taps, tap);
		free(tap);
	}
	pthread_mutex_unlock(&taps_lock);
	free(session->taps);
}

/* --- cnats' callbacks, on its threads. Of the session they see what never changes. */

static void on_message(
	natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
	struct tap *tap;

	(void)connection;
	(void)subscription;
	if (message == NULL)
		return;
	pthread_mutex_lock(&taps_lock);
	tap = tap_find(closure);
	if (tap != NULL) {
		const struct link_session_options *options = &tap->session->options;
		struct nats_incoming *incoming =
			link_incoming_new(message, options->generation, tap->inbox);

		handoff_post(options->handoff, &incoming->base.item);
	}
	pthread_mutex_unlock(&taps_lock);
	if (tap == NULL)
		natsMsg_Destroy(message);
}

static void on_session_error(
	const struct link_session_options *options, natsStatus status, const char *text)
{
	/* While connecting, one refusal is not the last word: see link_connect.c. */
	if (status == NATS_CONNECTION_AUTH_FAILED && !is_connecting(options->fate))
		lose(options->fate, "authorization violation");
	else if (status == NATS_NOT_PERMITTED && strcasestr(text, "subscription to") != NULL)
		lose_permission(options);
	else if (status == NATS_NOT_PERMITTED)
		link_post_event(
			options->handoff, LINK_ITEM_VIOLATION, options->generation, text, 0);
}

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
	void *closure)
{
	/* This thread's: set for each call of this handler, unlike the connection's, which is
	 * shared. */
	const char *text = nats_GetLastError(NULL);
	struct tap *tap;

	(void)connection;
	(void)subscription;
	pthread_mutex_lock(&taps_lock);
	tap = tap_find(closure);
	if (tap != NULL)
		on_session_error(&tap->session->options, status, text == NULL ? "" : text);
	pthread_mutex_unlock(&taps_lock);
}

static void on_closed(natsConnection *connection, void *closure)
{
	const char *text = "";
	natsStatus status = natsConnection_GetLastError(connection, &text);
	struct tap *tap;

	/* The text may be left over from an earlier error, unless it came with this status. */
	if (status == NATS_STALE_CONNECTION)
		text = "stale connection: the server did not answer in time";
	else if (status != NATS_ERR)
		text = "connection lost";
	pthread_mutex_lock(&taps_lock);
	tap = tap_find(closure);
	if (tap != NULL) {
		struct link_fate *fate = tap->session->options.fate;

		lose(fate, text);
		uv_mutex_lock(&fate->lock);
		fate->closed = true;
		uv_cond_signal(&fate->wake);
		uv_mutex_unlock(&fate->lock);
	}
	pthread_mutex_unlock(&taps_lock);
}

static void on_delivery_thread_end(void *closure)
{
	struct tap *tap;

	pthread_mutex_lock(&taps_lock);
	tap = tap_find(closure);
	if (tap != NULL) {
		struct link_fate *fate = tap->session->options.fate;

		uv_mutex_lock(&fate->lock);
		fate->deliveries--;
		uv_cond_signal(&fate->wake);
		uv_mutex_unlock(&fate->lock);
	}
	pthread_mutex_unlock(&taps_lock);
}

static void make_delivery_key(void)
{
	/* Fails for want of keys only, of which there are a thousand. */
	if (pthread_key_create(&delivery, on_delivery_thread_end) != 0)
		abort();
}

static void on_last_delivery(void *closure)
{
	(void)pthread_setspecific(delivery, closure);
}

/* --- Connecting. */

static natsStatus connect_now(struct link_session *session, struct buf *why)
{
	void *closure = tap_add(session, 0);
	const struct link_connect_options options = {
		.servers = session->options.servers,
		.security = session->options.security,
		.client_name = session->options.client_name,
		.on_error = on_error,
		.on_closed = on_closed,
		.closure = closure,
		.was_cut = was_cut,
		.cut_arg = session->options.fate,
	};

	return link_connect(&options, &session->connection, why, &session->failure);
}

static const char *error_text(natsStatus status)
{
	const char *text = nats_GetLastError(NULL);

	return text != NULL && text[0] != '\0' ? text : natsStatus_GetText(status);
}

/* So that the end of its thread can be awaited; one that is closed already has nothing to bring. */
static void watch_delivery(
	struct link_session *session, natsSubscription *subscription, void *closure)
{
	struct link_fate *fate = session->options.fate;

	pthread_once(&delivery_once, make_delivery_key);
	uv_mutex_lock(&fate->lock);
	fate->deliveries++;
	uv_mutex_unlock(&fate->lock);
	if (natsSubscription_SetOnCompleteCB(subscription, on_last_delivery, closure) == NATS_OK)
		return;
	uv_mutex_lock(&fate->lock);
	fate->deliveries--;
	uv_mutex_unlock(&fate->lock);
}

static natsStatus subscribe(struct link_session *session, const char *subject, uint64_t inbox)
{
	natsSubscription *subscription = NULL;
	void *closure = tap_add(session, inbox);
	natsStatus s = natsConnection_Subscribe(
		&subscription, session->connection, subject, on_message, closure);

	if (s != NATS_OK)
		return s;
	session->subscriptions = xreallocarray(session->subscriptions,
		session->subscription_count + 1, sizeof(*session->subscriptions));
	session->subscriptions[session->subscription_count++] = subscription;
	watch_delivery(session, subscription, closure);
	/* Pulls and unacked publishes bound what can wait; dropping here would lose acks. */
	return natsSubscription_SetPendingLimits(subscription, -1, -1);
}

/*
 * Where answers go. Inboxes have subscriptions of their own: what JetStream delivers to one keeps
 * the subject it was stored under, so that the subscription alone says where it was asked for.
 */
static const char *reply_to(struct link_session *session, char kind, uint64_t id)
{
	buf_clear(&session->reply);
	buf_append_slice(&session->reply, buf_slice(&session->address));
	if (id == 0)
		buf_appendf(&session->reply, ".%c.*", kind);
	else
		buf_appendf(&session->reply, ".%c.%llu", kind, (unsigned long long)id);
	return buf_cstr(&session->reply);
}

/* Subscribes to the answers and makes sure that the server lets it: a refusal precedes the PONG. */
static bool start_answers(struct link_session *session)
{
	const char *text = "";
	natsStatus s = subscribe(session, reply_to(session, 'r', 0), 0);

	if (s == NATS_OK)
		s = natsConnection_FlushTimeout(session->connection, LINK_CONNECT_TIMEOUT_MS);
	if (s != NATS_OK) {
		lose(session->options.fate, error_text(s));
		return false;
	}
	s = natsConnection_GetLastError(session->connection, &text);
	if (s == NATS_NOT_PERMITTED)
		lose_permission(&session->options);
	else if (s != NATS_OK)
		lose(session->options.fate, text);
	return s == NATS_OK;
}

struct link_session *link_session_open(const struct link_session_options *options)
{
	struct link_session *session = xcalloc(1, sizeof(*session));
	struct buf why = {0};
	natsStatus s;

	session->options = *options;
	buf_appendf(&session->address, "%s.%016llx", options->inbox_prefix,
		(unsigned long long)random_u64());
	set_connecting(options->fate, true);
	s = connect_now(session, &why);
	set_connecting(options->fate, false);
	if (s != NATS_OK) {
		lose(options->fate, buf_cstr(&why));
	} else {
		session->connected_ms = clock_mono_ms();
		session->good = start_answers(session);
	}
	buf_free(&why);
	return session;
}

bool link_session_failed(const struct link_session *session, enum nats_failure *failure)
{
	*failure = session->failure;
	return session->connection == NULL;
}

bool link_session_is_good(const struct link_session *session)
{
	return session->good;
}

char *link_session_server(const struct link_session *session)
{
	char url[LINK_TEXT_BYTES] = "";

	if (natsConnection_GetConnectedUrl(session->connection, url, sizeof(url)) != NATS_OK)
		url[0] = '\0';
	return url_redact(url);
}

size_t link_session_max_payload(const struct link_session *session)
{
	int64_t bytes = natsConnection_GetMaxPayload(session->connection);

	return bytes > 0 ? (size_t)bytes : 0;
}

uint64_t link_session_age_ms(const struct link_session *session)
{
	return session->connected_ms == 0 ? 0 : clock_mono_ms() - session->connected_ms;
}

/* --- Sending. */

static natsStatus publish_with_headers(
	struct link_session *session, const struct nats_outgoing *message, const char *reply)
{
	natsMsg *copy = NULL;
	natsStatus s = natsMsg_Create(
		&copy, message->subject, reply, message->body.ptr, (int)message->body.len);

	for (size_t i = 0; s == NATS_OK && i < message->header_count; i++)
		s = natsMsgHeader_Add(copy, message->headers[i].name, message->headers[i].value);
	if (s == NATS_OK)
		s = natsConnection_PublishMsg(session->connection, copy);
	link_spent_add(&session->spent, copy);
	return s;
}

static natsStatus publish(
	struct link_session *session, const struct nats_outgoing *message, const char *reply)
{
	natsConnection *connection = session->connection;
	const void *body = message->body.ptr;
	int len = (int)message->body.len;

	if (message->header_count > 0)
		return publish_with_headers(session, message, reply);
	if (reply != NULL)
		return natsConnection_PublishRequest(
			connection, message->subject, reply, body, len);
	return natsConnection_Publish(connection, message->subject, body, len);
}

static natsStatus carry_out(struct link_session *session, const struct link_op *op)
{
	switch (op->kind) {
	case LINK_OP_PUBLISH:
		return publish(session, op->message, NULL);
	case LINK_OP_REQUEST:
		return publish(session, op->message, reply_to(session, 'r', op->id));
	case LINK_OP_ASK:
		return publish(session, op->message, reply_to(session, 'i', op->id));
	case LINK_OP_SUBSCRIBE:
		return subscribe(session, reply_to(session, 'i', op->id), op->id);
	}
	return NATS_OK;
}

void link_session_execute(struct link_session *session, const struct link_op *op)
{
	natsStatus s;

	if (!session->good || op->generation != session->options.generation)
		return;
	s = carry_out(session, op);
	/* The loop has checked the size; the server may have lowered its limit since. */
	if (s == NATS_OK || s == NATS_MAX_PAYLOAD)
		return;
	session->good = false;
	lose(session->options.fate,
		s == NATS_TIMEOUT ? "the server takes no more data" : "connection lost");
}

void link_session_flush(struct link_session *session, int64_t timeout_ms)
{
	if (session->good && timeout_ms > 0)
		(void)natsConnection_FlushTimeout(session->connection, timeout_ms);
}

/* Until cnats calls back no more, and its threads are gone. */
static void await_end(struct link_fate *fate)
{
	uint64_t until_ms, now_ms;

	uv_mutex_lock(&fate->lock);
	while (!fate->closed)
		uv_cond_wait(&fate->wake, &fate->lock);
	until_ms = clock_mono_ms() + DELIVERIES_END_MS;
	while (fate->deliveries > 0 && (now_ms = clock_mono_ms()) < until_ms)
		uv_cond_timedwait(&fate->wake, &fate->lock, (until_ms - now_ms) * 1000000);
	uv_mutex_unlock(&fate->lock);
}

void link_session_close(struct link_session *session)
{
	if (session->connection != NULL) {
		natsConnection_Close(session->connection);
		await_end(session->options.fate);
	}
	taps_remove(session);
	for (size_t i = 0; i < session->subscription_count; i++)
		natsSubscription_Destroy(session->subscriptions[i]);
	natsConnection_Destroy(session->connection);
	free(session->subscriptions);
	link_spent_free(&session->spent);
	buf_free(&session->address);
	buf_free(&session->reply);
	free(session);
}
