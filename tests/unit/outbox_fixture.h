/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_OUTBOX_FIXTURE_H
#define PS_TESTS_UNIT_OUTBOX_FIXTURE_H
/*
 * An outbox with a publisher, messages and a stream watch made up here: the test says when there is
 * room, what becomes of each message, and what the stream says of itself. Include once per test
 * program: it takes the place of the real modules. Behind fake_time.h it runs by that.
 */
#include "poller/outbox.h"

#include "common/nats/stream_watch.h"
#include "poller/metrics.h"
#include "poller/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TIME_MS INT64_C(1700000000000)
#define BODY    "node_load1 0.5\n"

/* -- the fakes ------------------------------------------------------------------------------- */

struct nats_outgoing {
	int refs;
	struct buf subject;
	struct buf headers; /* "Name: value\n" each */
	struct buf body;
	size_t header_bytes;
};

struct publisher {
	uv_timer_t handle; /* something to close */
	struct publisher_options options;
	int room;
	size_t max_message_bytes;
	struct nats_outgoing *sent[256];
	void *cookies[256];
	int sent_count;
	struct publisher_counts counts;
	struct js_pub_ack ack; /* of the next answer */
	void (*on_closed)(void *arg);
	void *closed_arg;
};
static struct publisher *publisher;

struct nats_outgoing *nats_outgoing_new(
	struct slice subject, const struct wire_headers *headers, struct buf *body)
{
	struct nats_outgoing *message = xcalloc(1, sizeof(*message));

	buf_append_slice(&message->subject, subject);
	message->refs = 1;
	message->header_bytes = 12;
	for (size_t i = 0; i < headers->count; i++) {
		const struct wire_header *header = &headers->items[i];

		buf_appendf(&message->headers, "%s: %s\n", header->name, header->value);
		message->header_bytes += strlen(header->name) + strlen(header->value) + 4;
	}
	message->body = buf_take(body);
	return message;
}

struct nats_outgoing *nats_outgoing_ref(struct nats_outgoing *message)
{
	message->refs++;
	return message;
}

void nats_outgoing_unref(struct nats_outgoing *message)
{
	if (message == NULL || --message->refs > 0)
		return;
	buf_free(&message->subject);
	buf_free(&message->headers);
	buf_free(&message->body);
	free(message);
}

size_t nats_outgoing_bytes(const struct nats_outgoing *message)
{
	return message->header_bytes + message->body.len;
}

struct publisher *publisher_open(uv_loop_t *loop, const struct publisher_options *options)
{
	publisher = xcalloc(1, sizeof(*publisher));
	publisher->options = *options;
	publisher->max_message_bytes = 1 << 20;
	publisher->ack = (struct js_pub_ack){.stream = "PROM"};
	uv_timer_init(loop, &publisher->handle);
	return publisher;
}

bool publisher_has_room(const struct publisher *p)
{
	return p->room > 0;
}

bool publisher_is_ready(const struct publisher *p, struct buf *why)
{
	(void)why;
	return p->room > 0;
}

size_t publisher_max_message_bytes(const struct publisher *p)
{
	return p->max_message_bytes;
}

void publisher_set_limits(struct publisher *p, int64_t max_unacked, uint64_t max_message_bytes)
{
	p->options.max_unacked = max_unacked;
	p->options.max_message_bytes = max_message_bytes;
}

void publisher_send(struct publisher *p, struct nats_outgoing *message, void *cookie)
{
	assert_true(p->room > 0);
	assert_true(nats_outgoing_bytes(message) <= p->max_message_bytes);
	p->room--;
	p->sent[p->sent_count] = nats_outgoing_ref(message);
	p->cookies[p->sent_count++] = cookie;
}

const struct publisher_counts *publisher_counts(const struct publisher *p)
{
	return &p->counts;
}

const struct js_pub_ack *publisher_ack(const struct publisher *p)
{
	return &p->ack;
}

static inline void on_handle_closed(uv_handle_t *handle)
{
	struct publisher *p = (struct publisher *)handle;

	p->on_closed(p->closed_arg);
	for (int i = 0; i < p->sent_count; i++)
		nats_outgoing_unref(p->sent[i]);
	free(p);
}

void publisher_close(struct publisher *p, void (*on_closed)(void *arg), void *arg)
{
	p->on_closed = on_closed;
	p->closed_arg = arg;
	uv_close((uv_handle_t *)&p->handle, on_handle_closed);
}

struct stream_watch {
	uv_timer_t handle;
	struct stream_watch_options options;
	int asked;
	void (*on_closed)(void *arg);
	void *closed_arg;
};
static struct stream_watch *watch;

struct stream_watch *stream_watch_open(uv_loop_t *loop, const struct stream_watch_options *options)
{
	watch = xcalloc(1, sizeof(*watch));
	watch->options = *options;
	uv_timer_init(loop, &watch->handle);
	return watch;
}

void stream_watch_now(struct stream_watch *w)
{
	w->asked++;
}

static inline void on_watch_closed(uv_handle_t *handle)
{
	struct stream_watch *w = (struct stream_watch *)handle;

	w->on_closed(w->closed_arg);
	free(w);
}

void stream_watch_close(struct stream_watch *w, void (*on_closed)(void *arg), void *arg)
{
	w->on_closed = on_closed;
	w->closed_arg = arg;
	uv_close((uv_handle_t *)&w->handle, on_watch_closed);
}

/* -- the scene ------------------------------------------------------------------------------- */

struct scene {
	uv_loop_t loop;
	struct settings settings;
	struct job_settings job_settings;
	struct target_job job;
	struct target_settings target_settings;
	struct target target;
	struct codec *codec;
	struct metrics *metrics;
	struct outbox *outbox;
	int idle, closed;
};

static inline void on_idle(void *arg)
{
	((struct scene *)arg)->idle++;
}

static inline void on_closed(void *arg)
{
	((struct scene *)arg)->closed++;
}

static inline void scene_open(struct scene *scene, enum settings_compression compression)
{
	struct outbox_options options;

	*scene = (struct scene){
		.settings = {.compression = compression,
			.queue_bytes = 1 << 20,
			.max_unacked = 10,
			.keyframe_memory_bytes = 1 << 20,
			.poller_stream = {.stream = (char *)"PROM", .topic = (char *)"prometheus"}},
		.job_settings = {.name = (char *)"node", .scrape_interval_ms = 15000},
		.target_settings = {.instance = (char *)"web1"},
		.codec = codec_new(),
		.metrics = metrics_new(poller_metric_defs, PM_COUNT),
	};
	scene->job.settings = &scene->job_settings;
	scene->target.job = &scene->job;
	scene->target.settings = &scene->target_settings;
	buf_append_str(&scene->target.subject, "prometheus.scrape.dc1.node.web1.0");
	uv_loop_init(&scene->loop);
	options = (struct outbox_options){
		.loop = &scene->loop,
		.settings = &scene->settings,
		.publish_subject = "prometheus.*.dc1.>",
		.metrics = scene->metrics,
		.codec = scene->codec,
		.on_idle = on_idle,
		.arg = scene,
	};
	scene->outbox = outbox_open(&options);
}

static inline void scene_close(struct scene *scene)
{
	outbox_close(scene->outbox, on_closed, scene);
	uv_run(&scene->loop, UV_RUN_DEFAULT);
	assert_int_equal(scene->closed, 1);
	assert_int_equal(uv_loop_close(&scene->loop), 0);
	buf_free(&scene->target.subject);
	codec_free(scene->codec);
	metrics_free(scene->metrics);
}

static inline void turn_loop(struct scene *scene)
{
#ifdef PS_TESTS_UNIT_FAKE_TIME_H
	(void)scene;
	fake_advance(0);
#else
	for (int i = 0; i < 20; i++)
		uv_run(&scene->loop, UV_RUN_NOWAIT);
#endif
}

static inline void give_room(struct scene *scene, int room)
{
	publisher->room = room;
	publisher->options.on_room(publisher->options.arg);
	turn_loop(scene);
}

static inline void push(
	struct scene *scene, int64_t time_ms, enum encoding encoding, struct slice body)
{
	struct scrape *scrape = scrape_new(&scene->target, time_ms);

	scrape->wire.encoding = encoding;
	buf_append_slice(&scrape->body, body);
	outbox_push(scene->outbox, &scrape);
	assert_null(scrape);
}

static inline void push_text(struct scene *scene, int64_t time_ms)
{
	push(scene, time_ms, ENCODING_IDENTITY, SLICE(BODY));
}

static inline void answer(
	struct scene *scene, int at, enum publish_outcome outcome, const char *reason)
{
	publisher->ack.sequence++;
	publisher->options.on_done(
		publisher->options.arg, publisher->cookies[at], outcome, reason, 0.002);
	turn_loop(scene);
}

static inline double plain(struct scene *scene, enum poller_metric id)
{
	outbox_collect(scene->outbox);
	return series_value(metrics_plain(scene->metrics, id));
}

static inline double dropped(struct scene *scene, const char *reason)
{
	return series_value(metrics_series(scene->metrics, PM_DROPPED, reason));
}

static inline void assert_header(int at, const char *line)
{
	if (strstr(buf_cstr(&publisher->sent[at]->headers), line) == NULL)
		fail_msg("message %d lacks \"%s\" in\n%s", at, line,
			buf_cstr(&publisher->sent[at]->headers));
}

static inline void assert_no_header(int at, const char *name)
{
	if (strstr(buf_cstr(&publisher->sent[at]->headers), name) != NULL)
		fail_msg("message %d has \"%s\" in\n%s", at, name,
			buf_cstr(&publisher->sent[at]->headers));
}

/* Bytes that no encoding makes smaller. */
static inline void append_noise(struct buf *out, size_t bytes)
{
	uint64_t seed = 42;

	for (size_t i = 0; i < bytes; i++) {
		seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		buf_append_char(out, (char)(seed >> 56));
	}
}

#endif
