/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link's thread. It connects for ever: whatever ends a session (server stopped or frozen,
 * credentials revoked, a refused signature), the session is thrown away whole and a new one is made
 * after a pause that grows. What was queued for the old one is dropped.
 *
 * Each batch costs four threads a wake-up, here, at the server and on the way back of its answers.
 * What comes soon after a batch therefore waits a moment for company, unless somebody waits for it.
 */
#include "common/core/backoff.h"
#include "common/core/clock.h"
#include "common/nats/link_layout.h"
#include "common/nats/link_session.h"

#include <openssl/ssl.h>

#include <pthread.h>
#include <stdio.h>

#define BACKOFF_FIRST_MS    100
#define BACKOFF_LAST_MS     5000
#define LIBRARY_END_WAIT_MS 5000
#define BATCH_US            10000
#define SPENT_MAX_BYTES     ((size_t)256 * 1024)

struct link_worker {
	uv_thread_t thread;
	struct handoff *handoff;
	struct link_servers servers;
	struct link_security security;
	char *client_name;
	char *inbox_prefix;
	uint64_t generation;
	struct backoff backoff;
	char reported[LINK_TEXT_BYTES]; /* the reason posted last; "" while up */
	struct link_fate fate;          /* of the current session; its lock is over the rest */
	struct link_op *ops;
	struct link_op **ops_tail;
	bool is_urgent;         /* an op among them must not wait */
	uint64_t next_batch_us; /* worker: when others may go */
	bool stopping;
	int64_t flush_ms;
};

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

/* At the end of the process cnats frees this list of OpenSSL's, and OpenSSL would free it again. */
static void take_compressions(void)
{
	static STACK_OF(SSL_COMP) * taken;

	if (taken == NULL)
		taken = SSL_COMP_set0_compression_methods(NULL);
}

void link_lease_unref(struct link_lease *lease)
{
	if (lease == NULL || --lease->refs > 0)
		return;
	link_spent_free(&lease->spent);
	free(lease);
	pthread_mutex_lock(&library_lock);
	/* Every connection is closed by now, so that this waits for idle threads only. */
	if (--library_users == 0) {
		nats_CloseAndWait(LIBRARY_END_WAIT_MS);
		take_compressions();
	}
	pthread_mutex_unlock(&library_lock);
}

void link_spent_free(struct link_spent *spent)
{
	for (size_t i = 0; i < spent->count; i++)
		natsMsg_Destroy(spent->messages[i]);
	spent->count = 0;
	spent->bytes = 0;
}

void link_spent_add(struct link_spent *spent, natsMsg *message)
{
	if (message == NULL)
		return;
	spent->messages[spent->count++] = message;
	spent->bytes += (size_t)natsMsg_GetDataLength(message);
	if (spent->count == ARRAY_LEN(spent->messages) || spent->bytes >= SPENT_MAX_BYTES)
		link_spent_free(spent);
}

void link_post_event(struct handoff *handoff, enum link_item_kind kind, uint64_t generation,
	const char *text, size_t max_payload)
{
	struct link_event *event = xcalloc(1, sizeof(*event));

	event->base.kind = kind;
	event->base.generation = generation;
	event->max_payload = max_payload;
	snprintf(event->text, sizeof(event->text), "%s", text);
	handoff_post(handoff, &event->base.item);
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

/* The lock is held. */
static struct link_op *take_ops(struct link_worker *worker)
{
	struct link_op *ops = worker->ops;

	worker->ops = NULL;
	worker->ops_tail = &worker->ops;
	worker->is_urgent = false;
	return ops;
}

/* The lock is held. */
static bool must_go_on(const struct link_worker *worker)
{
	return worker->stopping || worker->fate.lost[0] != '\0';
}

/* Waits for something to do. False if the session is lost, or nothing is left before the stop. */
static bool await_ops(struct link_worker *worker, struct link_op **ops)
{
	struct link_fate *fate = &worker->fate;
	uint64_t now_us;
	bool go_on;

	uv_mutex_lock(&fate->lock);
	while (worker->ops == NULL && !must_go_on(worker))
		uv_cond_wait(&fate->wake, &fate->lock);
	while (!worker->is_urgent && !must_go_on(worker) &&
		(now_us = clock_mono_us()) < worker->next_batch_us)
		uv_cond_timedwait(
			&fate->wake, &fate->lock, (worker->next_batch_us - now_us) * 1000);
	go_on = fate->lost[0] == '\0' && worker->ops != NULL;
	*ops = go_on ? take_ops(worker) : NULL;
	uv_mutex_unlock(&fate->lock);
	return go_on;
}

/* 0 unless the worker is to stop. */
static int64_t flush_ms_at_stop(struct link_worker *worker)
{
	int64_t flush_ms;

	uv_mutex_lock(&worker->fate.lock);
	flush_ms = worker->stopping ? worker->flush_ms : 0;
	uv_mutex_unlock(&worker->fate.lock);
	return flush_ms;
}

static void serve(struct link_worker *worker, struct link_session *session)
{
	char *server = link_session_server(session);
	struct link_op *ops;

	worker->reported[0] = '\0';
	link_post_event(worker->handoff, LINK_ITEM_UP, worker->generation, server,
		link_session_max_payload(session));
	free(server);
	while (link_session_is_good(session) && await_ops(worker, &ops)) {
		for (const struct link_op *op = ops; op != NULL; op = op->next)
			link_session_execute(session, op);
		free_ops(ops);
		worker->next_batch_us = clock_mono_us() + BATCH_US;
	}
	link_session_flush(session, flush_ms_at_stop(worker));
}

static void post_failure(struct link_worker *worker, enum nats_failure failure)
{
	struct link_event *event = xcalloc(1, sizeof(*event));

	event->base.kind = LINK_ITEM_FAILED;
	event->base.generation = worker->generation;
	event->failure = failure;
	handoff_post(worker->handoff, &event->base.item);
}

/* From one connection to its end. */
static void run_session(struct link_worker *worker)
{
	struct link_session_options options = {
		.fate = &worker->fate,
		.handoff = worker->handoff,
		.servers = &worker->servers,
		.security = &worker->security,
		.client_name = worker->client_name,
		.inbox_prefix = worker->inbox_prefix,
		.generation = ++worker->generation,
	};
	struct link_session *session = link_session_open(&options);
	enum nats_failure failure;

	if (link_session_failed(session, &failure))
		post_failure(worker, failure);
	if (link_session_is_good(session))
		serve(worker, session);
	/* After one that ended soon, the next may not do better. */
	if (link_session_age_ms(session) > BACKOFF_LAST_MS)
		backoff_reset(&worker->backoff);
	link_session_close(session);
}

/* Once for each reason, not for each attempt. Nobody else writes the reason between sessions. */
static void report_down(struct link_worker *worker)
{
	if (strcmp(worker->reported, worker->fate.lost) == 0)
		return;
	memcpy(worker->reported, worker->fate.lost, sizeof(worker->reported));
	link_post_event(worker->handoff, LINK_ITEM_DOWN, worker->generation, worker->reported, 0);
}

/* Waits, unless it is to stop; false then. */
static bool pause_before_next(struct link_worker *worker)
{
	uint64_t until = clock_mono_ms() + backoff_next_ms(&worker->backoff);
	uint64_t now;
	bool stopping;

	uv_mutex_lock(&worker->fate.lock);
	while (!worker->stopping && (now = clock_mono_ms()) < until)
		uv_cond_timedwait(&worker->fate.wake, &worker->fate.lock, (until - now) * 1000000);
	stopping = worker->stopping;
	free_ops(take_ops(worker));
	uv_mutex_unlock(&worker->fate.lock);
	return !stopping;
}

static void run(void *arg)
{
	struct link_worker *worker = arg;

	link_layout_prove();
	do {
		run_session(worker);
		report_down(worker);
	} while (pause_before_next(worker));
	link_post_event(worker->handoff, LINK_ITEM_ENDED, worker->generation, "", 0);
}

struct link_worker *link_worker_start(
	const struct nats_link_options *options, struct handoff *handoff)
{
	struct link_worker *worker = xcalloc(1, sizeof(*worker));

	worker->handoff = handoff;
	link_servers_init(&worker->servers, options->urls);
	link_security_init(&worker->security, options->tls, options->auth);
	worker->client_name = xstrdup(options->client_name);
	worker->inbox_prefix = xstrdup(options->inbox_prefix);
	worker->backoff = (struct backoff){BACKOFF_FIRST_MS, BACKOFF_LAST_MS, 0};
	worker->ops_tail = &worker->ops;
	link_fate_init(&worker->fate);
	/* Fails for want of threads at start-up only. */
	if (uv_thread_create(&worker->thread, run, worker) != 0)
		abort();
	return worker;
}

void link_worker_push(struct link_worker *worker, struct link_op *op)
{
	bool is_urgent = op->kind == LINK_OP_ASK || op->kind == LINK_OP_SUBSCRIBE;
	bool was_empty;

	op->next = NULL;
	uv_mutex_lock(&worker->fate.lock);
	was_empty = worker->ops == NULL;
	*worker->ops_tail = op;
	worker->ops_tail = &op->next;
	worker->is_urgent = worker->is_urgent || is_urgent;
	uv_mutex_unlock(&worker->fate.lock);
	/* After the lock, which the woken thread wants at once. */
	if (was_empty || is_urgent)
		uv_cond_signal(&worker->fate.wake);
}

void link_worker_watch(struct link_worker *worker)
{
	link_fate_watch(&worker->fate, &worker->servers);
}

void link_worker_stop(struct link_worker *worker, int64_t flush_ms)
{
	uv_mutex_lock(&worker->fate.lock);
	worker->stopping = true;
	worker->flush_ms = flush_ms;
	uv_cond_signal(&worker->fate.wake);
	uv_mutex_unlock(&worker->fate.lock);
}

void link_worker_free(struct link_worker *worker)
{
	uv_thread_join(&worker->thread);
	free_ops(worker->ops);
	link_fate_fini(&worker->fate);
	link_servers_fini(&worker->servers);
	link_security_fini(&worker->security);
	free(worker->client_name);
	free(worker->inbox_prefix);
	free(worker);
}

const char *link_worker_servers(const struct link_worker *worker)
{
	return worker->servers.shown;
}
