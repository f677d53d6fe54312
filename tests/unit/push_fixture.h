/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_PUSH_FIXTURE_H
#define PS_TESTS_UNIT_PUSH_FIXTURE_H
/*
 * What stands around the Push Gateway sink in the receiver: loop, metrics, codec, newest; frames
 * made by hand go in, fates and acks are noted. Wall clock and loop are real.
 */
#include "common/core/clock.h"
#include "common/core/log.h"
#include "receiver/metrics.h"
#include "receiver/sink/push_gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

struct push_fixture {
	uv_loop_t loop;
	uv_timer_t tick;
	struct metrics *metrics;
	struct tally *tally;
	struct codec *codec;
	struct settings settings;
	struct push_gateway_settings gateway;
	struct newest *newest;
	struct sink *sink;
	uint64_t seq;
	int64_t time_ms;        /* of the last frame */
	struct buf fates, acks; /* "seq:fate ", "seq " */
	size_t ended;
	bool is_closed;
};

struct push_frame {
	const char *publisher; /* NULL: dc1 */
	const char *job;       /* NULL: app */
	const char *instance;
	const char *label; /* NULL: none; its value is v */
	int extra_labels;
	const char *body;
	unsigned flags;
	enum encoding encoding;
	int64_t interval_ms; /* 0: 1000 */
	bool is_down;
};

static void push_on_ready(void *arg)
{
	struct push_fixture *f = arg;

	f->sink->ops->wake(f->sink);
}

static void push_on_silent(void *arg, struct target *target)
{
	struct push_fixture *f = arg;

	f->sink->ops->silent(f->sink, target);
}

static void push_on_forget(void *arg, struct target *target)
{
	struct push_fixture *f = arg;

	f->sink->ops->forget(f->sink, target);
}

static void push_on_ack(void *arg, struct slice reply, uint64_t arrived_us)
{
	(void)arrived_us;
	buf_appendf(&((struct push_fixture *)arg)->acks, "%.*s ", SLICE_FMT(reply));
}

static void push_on_fate(void *arg, const struct frame *frame, enum frame_fate fate)
{
	struct push_fixture *f = arg;

	f->ended++;
	buf_appendf(&f->fates, "%d:%s ", (int)frame->stream_seq, frame_fate_name(fate));
}

static void push_on_clock_reset(void *arg, const struct frame *frame, int64_t step_back_ms)
{
	(void)arg;
	(void)frame;
	(void)step_back_ms;
}

static void push_on_tick(uv_timer_t *tick)
{
	(void)tick;
}

/* Everything but the sink. */
static inline void push_fixture_init(struct push_fixture *f)
{
	const struct newest_options options = {
		.limits.max_age_ms = 0,
		.limits.max_targets_per_publisher = 1000000,
		.limits.max_publisher_bytes = UINT64_MAX,
		.on_ready = push_on_ready,
		.on_silent = push_on_silent,
		.on_forget = push_on_forget,
		.on_ack = push_on_ack,
		.on_fate = push_on_fate,
		.on_clock_reset = push_on_clock_reset,
		.arg = f,
	};

	*f = (struct push_fixture){0};
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->tick);
	uv_timer_start(&f->tick, push_on_tick, 5, 5);
	f->metrics = metrics_new(receiver_metric_defs, RM_COUNT);
	f->tally = tally_new(f->metrics);
	f->codec = codec_new();
	f->newest = newest_new(&options);
	f->settings.max_scrape_bytes = 64 << 20;
}

static inline void push_fixture_open(struct push_fixture *f, int port, const char *prefix)
{
	const struct sink_context context = {
		.loop = &f->loop,
		.metrics = f->metrics,
		.codec = f->codec,
		.tally = f->tally,
		.settings = &f->settings,
		.newest = f->newest,
	};

	f->gateway.name = xstrdup("sink");
	f->gateway.url = xasprintf("http://user:secret@127.0.0.1:%d%s", port, prefix);
	f->gateway.delete_stale = true;
	f->gateway.concurrency = 2;
	f->gateway.timeout_ms = 10000;
	f->sink = push_gateway_open(&context, &f->gateway);
}

/* Waits for events once, 5 ms at most. */
static inline void push_fixture_turn(struct push_fixture *f)
{
	uv_run(&f->loop, UV_RUN_ONCE);
}

static void push_on_closed(void *arg)
{
	((struct push_fixture *)arg)->is_closed = true;
}

static inline void push_fixture_close(struct push_fixture *f)
{
	f->sink->ops->close(f->sink, push_on_closed, f);
	newest_free(f->newest);
	assert_false(f->is_closed);
	uv_close((uv_handle_t *)&f->tick, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_true(f->is_closed);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	codec_free(f->codec);
	tally_free(f->tally);
	metrics_free(f->metrics);
	free(f->gateway.name);
	free(f->gateway.url);
	buf_free(&f->fates);
	buf_free(&f->acks);
}

static inline void push_offer(struct push_fixture *f, struct push_frame spec)
{
	struct frame *frame = xcalloc(1, sizeof(*frame));
	const char *publisher = spec.publisher != NULL ? spec.publisher : "dc1";
	const char *job = spec.job != NULL ? spec.job : "app";
	int64_t now_ms = clock_wall_ms();

	/* Each later than the one before, as scrapes are. */
	f->time_ms = now_ms = now_ms > f->time_ms ? now_ms : f->time_ms + 1;

	buf_append_str(&frame->names.publisher, publisher);
	buf_append_str(&frame->names.job, job);
	buf_append_str(&frame->names.instance, spec.instance);
	frame->publisher = buf_slice(&frame->names.publisher);
	frame->job = buf_slice(&frame->names.job);
	frame->instance = buf_slice(&frame->names.instance);
	buf_appendf(&frame->own_subject, "%s.%s.%s", publisher, job, spec.instance);
	frame->subject = buf_slice(&frame->own_subject);
	buf_append_str(&frame->own_body, spec.body);
	frame->body = buf_slice(&frame->own_body);
	if (spec.label != NULL)
		labels_set(&frame->scrape.labels, slice_from(spec.label), SLICE("v"));
	for (int i = 0; i < spec.extra_labels; i++) {
		char name[32];

		snprintf(name, sizeof(name), "extra%d", i);
		labels_set(&frame->scrape.labels, slice_from(name), SLICE("v"));
	}
	frame->scrape.time_ms = frame->age_from_ms = frame->arrived_ms = now_ms;
	frame->scrape.duration_s = 0.25;
	frame->scrape.interval_ms = spec.interval_ms == 0 ? 1000 : spec.interval_ms;
	frame->scrape.up = !spec.is_down;
	frame->scrape.flags = spec.flags;
	frame->scrape.encoding = spec.encoding;
	frame->generation = 1;
	frame->stream_seq = ++f->seq;
	buf_appendf(&frame->reply, "%d", (int)f->seq);
	newest_offer(f->newest, frame, now_ms);
}

/* Looks for silent targets as if it were `ahead_ms` later. */
static inline void push_sweep(struct push_fixture *f, int64_t ahead_ms)
{
	newest_sweep(f->newest, clock_wall_ms() + ahead_ms, 1);
}

/* Runs with the log in a file of its own. */
#define LOG_PATH "/tmp/test_push_gateway.%d.log"

static inline void log_to_file(char path[64])
{
	struct err err;

	snprintf(path, 64, LOG_PATH, (int)getpid());
	assert_int_equal(log_open("test", LOG_TEXT, LOG_INFO, path, &err), 0);
}

/* How many lines say it; ends logging to the file. */
static inline int lines_with(const char *path, const char *words)
{
	FILE *file = fopen(path, "r");
	char line[4096];
	struct err err;
	int count = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL)
		count += strstr(line, words) != NULL;
	fclose(file);
	unlink(path);
	assert_int_equal(log_open("test", LOG_TEXT, LOG_ERROR, NULL, &err), 0);
	return count;
}

static inline int push_count(
	struct push_fixture *f, enum receiver_metric id, const char *a, const char *b)
{
	return (int)series_value(metrics_series(f->metrics, id, a, b));
}

static inline bool push_has_fate(struct push_fixture *f, const char *fate)
{
	return strstr(buf_cstr(&f->fates), fate) != NULL;
}

#endif
