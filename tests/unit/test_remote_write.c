/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The remote write sink between `ordered` and a stub of an endpoint: what goes into which request,
 * when a frame ends, and what the answers do.
 */
#include "receiver/sink/remote_write.h"

#include "common/core/clock.h"
#include "common/core/log.h"
#include "receiver/frame.h"
#include "receiver/metrics.h"
#include "tests/unit/stub_gateway.h"
#include "tests/unit/write_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define PATIENCE_MS 5000

struct fixture {
	uv_loop_t loop;
	uv_timer_t tick;
	struct metrics *metrics;
	struct tally *tally;
	struct codec *codec;
	struct settings settings;
	struct remote_write_settings write;
	struct ordered *ordered;
	struct sink *sink;
	struct stub_gateway stub;
	struct buf fates; /* "seq:fate " */
	uint64_t seq;
	bool is_closed;
};

static void on_ready(void *arg)
{
	struct fixture *f = arg;

	f->sink->ops->wake(f->sink);
}

static void on_silent(void *arg, struct ordered_target *target)
{
	struct fixture *f = arg;

	f->sink->ops->log_silent(f->sink, target);
}

static void on_forget(void *arg, struct ordered_target *target)
{
	struct fixture *f = arg;

	f->sink->ops->log_forget(f->sink, target);
}

static void on_ack(void *arg, struct slice reply, uint64_t arrived_us)
{
	(void)arg;
	(void)reply;
	(void)arrived_us;
}

static void on_fate(void *arg, const struct frame *frame, enum frame_fate fate)
{
	buf_appendf(&((struct fixture *)arg)->fates, "%d:%s ", (int)frame->stream_seq,
		frame_fate_name(fate));
}

static void on_clock_reset(void *arg, const struct frame *frame, int64_t step_back_ms)
{
	(void)arg;
	(void)frame;
	(void)step_back_ms;
}

static void on_tick(uv_timer_t *tick)
{
	(void)tick;
}

static void open_loop(struct fixture *f)
{
	const struct ordered_options options = {
		.limits = {.max_targets_per_publisher = 1000, .max_publisher_bytes = UINT64_MAX},
		.on_ready = on_ready,
		.on_silent = on_silent,
		.on_forget = on_forget,
		.on_ack = on_ack,
		.on_fate = on_fate,
		.on_clock_reset = on_clock_reset,
		.arg = f,
	};

	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->tick);
	uv_timer_start(&f->tick, on_tick, 5, 5);
	f->metrics = metrics_new(receiver_metric_defs, RM_COUNT);
	f->tally = tally_new(f->metrics);
	f->codec = codec_new();
	f->settings.max_scrape_bytes = 1 << 20;
	f->settings.max_publisher_bytes = 1 << 20;
	f->ordered = ordered_new(&options);
	stub_open(&f->stub, &f->loop, 0);
}

static struct fixture *open_sink(struct remote_write_queue_settings queue)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	open_loop(f);
	f->write = (struct remote_write_settings){
		.name = xstrdup("sink"),
		.url = xasprintf("http://127.0.0.1:%d/write", f->stub.port),
		.remote_timeout_ms = 10000,
		.queue = queue,
		.metadata = {.send_interval_ms = 60000, .max_samples_per_send = 100},
	};
	f->write.queue.min_shards = queue.min_shards == 0 ? 1 : queue.min_shards;
	f->write.queue.max_shards = queue.max_shards == 0 ? 1 : queue.max_shards;
	f->write.queue.capacity = queue.capacity == 0 ? 10000 : queue.capacity;
	f->write.queue.min_backoff_ms = 1;
	f->write.queue.max_backoff_ms = 2;
	f->sink = remote_write_open(&(struct sink_context){.loop = &f->loop,
					    .metrics = f->metrics,
					    .codec = f->codec,
					    .tally = f->tally,
					    .settings = &f->settings,
					    .ordered = f->ordered},
		&f->write);
	return f;
}

static void on_closed(void *arg)
{
	((struct fixture *)arg)->is_closed = true;
}

static void close_sink(struct fixture *f)
{
	f->sink->ops->close(f->sink, on_closed, f);
	ordered_free(f->ordered);
	assert_false(f->is_closed);
	stub_close(&f->stub);
	uv_close((uv_handle_t *)&f->tick, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_true(f->is_closed);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	stub_free_requests(&f->stub);
	codec_free(f->codec);
	tally_free(f->tally);
	metrics_free(f->metrics);
	free(f->write.name);
	free(f->write.url);
	buf_free(&f->fates);
	free(f);
}

/* Its time is its number. */
static void offer(struct fixture *f, const char *instance, const char *body)
{
	struct frame *frame = xcalloc(1, sizeof(*frame));
	int64_t now_ms = clock_wall_ms();

	buf_append_str(&frame->names.publisher, "dc1");
	buf_append_str(&frame->names.job, "j");
	buf_append_str(&frame->names.instance, instance);
	frame->publisher = buf_slice(&frame->names.publisher);
	frame->job = buf_slice(&frame->names.job);
	frame->instance = buf_slice(&frame->names.instance);
	buf_appendf(&frame->own_subject, "p.scrape.dc1.j.%s.0", instance);
	frame->subject = buf_slice(&frame->own_subject);
	buf_append_str(&frame->own_body, body == NULL ? "" : body);
	frame->body = buf_slice(&frame->own_body);
	frame->stream_seq = ++f->seq;
	frame->scrape.time_ms = (int64_t)f->seq;
	frame->scrape.interval_ms = 1000;
	frame->scrape.up = body != NULL;
	frame->age_from_ms = frame->arrived_ms = now_ms;
	frame->generation = 1;
	buf_appendf(&frame->reply, "%d", (int)f->seq);
	ordered_offer(f->ordered, frame, now_ms);
}

static void run_until(struct fixture *f, size_t requests, const char *fates)
{
	uint64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;

	while (f->stub.count < requests ||
		(fates != NULL && strcmp(buf_cstr(&f->fates), fates) != 0)) {
		if (clock_mono_ms() > deadline_ms)
			fail_msg("%zu requests, \"%s\"; %zu and \"%s\" were expected",
				f->stub.count, buf_cstr(&f->fates), requests, fates);
		uv_run(&f->loop, UV_RUN_ONCE);
	}
}

/* The n-th request's samples as "<name>@<instance><time> ", without the five of ours but `up`. */
static void check_request(struct fixture *f, size_t n, const char *expected)
{
	const struct stub_request *request = &f->stub.requests[n];
	struct buf lines = {0}, shown = {0};
	char name[64], instance[64], value[64];
	long long time;

	assert_null(
		write_reader_body((struct slice){request->body, request->body_len}, false, &lines));
	for (const char *at = buf_cstr(&lines); *at != '\0'; at = strchr(at, '\n') + 1) {
		assert_int_equal(sscanf(at, "__name__=%63[^,],instance=%63[^,],job=j %63[^@]@%lld",
					 name, instance, value, &time),
			4);
		if (strncmp(name, "scrape_", 7) != 0)
			buf_appendf(&shown, "%s%s@%s%lld ", name,
				strcmp(value, "stale") == 0 ? "!" : "", instance, time);
	}
	if (strcmp(buf_cstr(&shown), expected) != 0)
		fail_msg("request %zu holds \"%s\" instead of \"%s\"", n, buf_cstr(&shown),
			expected);
	buf_free(&lines);
	buf_free(&shown);
}

static int count(struct fixture *f, enum receiver_metric id)
{
	return (int)series_value(metrics_series(f->metrics, id, "sink"));
}

static void test_a_request_waits_until_it_is_full(void **state)
{
	struct fixture *f = open_sink((struct remote_write_queue_settings){
		.max_samples_per_send = 13, .batch_send_deadline_ms = 600000});

	(void)state;
	offer(f, "a", "x 1\n");
	offer(f, "b", "x 1\n");
	for (int i = 0; i < 5; i++)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(f->stub.count, 0);
	offer(f, "a", "x 2\n");
	run_until(f, 1, "1:delivered 2:delivered ");
	check_request(f, 0, "up@a1 x@a1 up@b2 x@b2 up@a3 ");
	f->sink->ops->stop(f->sink);
	run_until(f, 2, "1:delivered 2:delivered 3:delivered ");
	check_request(f, 1, "x@a3 ");
	assert_int_equal(f->sink->ops->running(f->sink), 0);
	assert_int_equal(count(f, RM_WRITE_SAMPLES), 18);
	close_sink(f);
}

static void test_a_deadline(void **state)
{
	struct fixture *f = open_sink((struct remote_write_queue_settings){
		.max_samples_per_send = 1000, .batch_send_deadline_ms = 30});

	(void)state;
	offer(f, "a", "x 1\n");
	offer(f, "a", NULL);
	run_until(f, 1, "1:delivered 2:delivered ");
	check_request(f, 0, "up@a1 x@a1 up@a2 x!@a2 ");
	close_sink(f);
}

static void test_what_fails_is_sent_again(void **state)
{
	struct fixture *f = open_sink((struct remote_write_queue_settings){
		.max_samples_per_send = 6, .batch_send_deadline_ms = 1});

	(void)state;
	f->stub.status = 503;
	offer(f, "a", "x 1\n");
	offer(f, "a", "x 2\n");
	run_until(f, 4, "");
	for (size_t i = 0; i < 4; i++)
		check_request(f, i, "up@a1 x@a1 ");
	assert_false(f->sink->ops->is_ready(f->sink, NULL));
	f->stub.status = 204;
	run_until(f, 5, "1:delivered 2:delivered ");
	check_request(f, f->stub.count - 1, "up@a2 x@a2 ");
	assert_true(f->sink->ops->is_ready(f->sink, NULL));
	assert_int_equal(count(f, RM_WRITE_RETRIED), 6 * ((int)f->stub.count - 2));
	close_sink(f);
}

/* Refuses what has a scrape of the bad target. */
static int refuse_bad(struct stub_gateway *stub, const struct stub_request *request)
{
	struct buf lines = {0};
	bool is_bad;

	(void)stub;
	assert_null(
		write_reader_body((struct slice){request->body, request->body_len}, false, &lines));
	is_bad = strstr(buf_cstr(&lines), "bad") != NULL;
	buf_free(&lines);
	return is_bad ? 400 : 204;
}

static void test_one_that_is_refused_takes_no_other_with_it(void **state)
{
	struct fixture *f = open_sink((struct remote_write_queue_settings){
		.max_samples_per_send = 1000, .batch_send_deadline_ms = 30});

	(void)state;
	f->stub.decide = refuse_bad;
	offer(f, "a", "x 1\n");
	offer(f, "bad", "x 1\n");
	offer(f, "b", "x 1\n");
	run_until(f, 4, "1:delivered 2:refused 3:delivered ");
	check_request(f, 0, "up@a1 x@a1 up@bad2 x@bad2 up@b3 x@b3 ");
	check_request(f, 1, "up@a1 x@a1 ");
	check_request(f, 2, "up@bad2 x@bad2 ");
	check_request(f, 3, "up@b3 x@b3 ");
	assert_int_equal(count(f, RM_WRITE_FAILED), 6);
	offer(f, "a", "x 1\n");
	offer(f, "b", "x 1\n");
	run_until(f, 5, NULL);
	check_request(f, 4, "up@a4 x@a4 up@b5 x@b5 ");
	close_sink(f);
}

/* The times of `up` of the instance, over all requests, are these. */
static void check_order(struct fixture *f, char instance, const char *expected)
{
	struct buf lines = {0}, times = {0};
	char wanted[64];

	for (size_t i = 0; i < f->stub.count; i++)
		assert_null(write_reader_body(
			(struct slice){f->stub.requests[i].body, f->stub.requests[i].body_len},
			false, &lines));
	snprintf(wanted, sizeof(wanted), "__name__=up,instance=%c,job=j 1@", instance);
	for (const char *at = buf_cstr(&lines); (at = strstr(at, wanted)) != NULL;) {
		at += strlen(wanted);
		buf_appendf(&times, "%ld ", strtol(at, NULL, 10));
	}
	assert_string_equal(buf_cstr(&times), expected);
	buf_free(&lines);
	buf_free(&times);
}

static void test_nothing_is_taken_while_shards_are_full(void **state)
{
	struct fixture *f = open_sink((struct remote_write_queue_settings){.capacity = 10,
		.max_shards = 2,
		.max_samples_per_send = 6,
		.batch_send_deadline_ms = 1});

	(void)state;
	f->stub.status = STUB_HOLD;
	for (int i = 0; i < 20; i++)
		offer(f, (const char *[]){"a", "b", "c", "d"}[i % 4], "x 1\n");
	run_until(f, 2, "");
	assert_int_equal(ordered_waiting_count(f->ordered), 20 - 4);
	f->stub.status = 204;
	stub_release(&f->stub, 204);
	run_until(f, 20, NULL);
	while (f->sink->ops->running(f->sink) > 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(count(f, RM_WRITE_SAMPLES), 20 * 6);
	check_order(f, 'a', "1 5 9 13 17 ");
	check_order(f, 'd', "4 8 12 16 20 ");
	close_sink(f);
}

static void test_silence_ends_all_and_is_forgotten(void **state)
{
	struct fixture *f = open_sink((struct remote_write_queue_settings){
		.max_samples_per_send = 1000, .batch_send_deadline_ms = 1});

	(void)state;
	offer(f, "a", "x 1\ny 1 7\n");
	run_until(f, 1, "1:delivered ");
	ordered_sweep(f->ordered, clock_wall_ms() + 60000, 1);
	run_until(f, 2, NULL);
	check_request(f, 1, "up!@a902 x!@a902 ");
	while (ordered_target_count(f->ordered) > 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_int_equal(count(f, RM_WRITE_MARKERS), 6);
	offer(f, "a", "x 1\n");
	run_until(f, 3, "1:delivered 2:delivered ");
	check_request(f, 2, "up@a2 x@a2 ");
	close_sink(f);
}

/* With requests under way, frames that wait, and markers. */
static void test_closing_in_the_middle(void **state)
{
	struct fixture *f = open_sink((struct remote_write_queue_settings){
		.capacity = 7, .max_samples_per_send = 6, .batch_send_deadline_ms = 1});

	(void)state;
	offer(f, "b", "x 1\n");
	run_until(f, 1, "1:delivered ");
	f->stub.status = STUB_HOLD;
	offer(f, "a", "x 1\n");
	offer(f, "a", "x 2\nz 3\n");
	offer(f, "a", "x 3\n");
	run_until(f, 2, NULL);
	ordered_sweep(f->ordered, clock_wall_ms() + 60000, 1);
	f->sink->ops->stop(f->sink);
	assert_true(f->sink->ops->running(f->sink) > 0);
	close_sink(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_waits_until_it_is_full),
		cmocka_unit_test(test_a_deadline),
		cmocka_unit_test(test_what_fails_is_sent_again),
		cmocka_unit_test(test_one_that_is_refused_takes_no_other_with_it),
		cmocka_unit_test(test_nothing_is_taken_while_shards_are_full),
		cmocka_unit_test(test_silence_ends_all_and_is_forgotten),
		cmocka_unit_test(test_closing_in_the_middle),
	};
	struct err err;

	if (log_open("test", LOG_TEXT, LOG_ERROR, NULL, &err) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
