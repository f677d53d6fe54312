/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scraper on a real loop with short intervals and a fetch made up here, which answers when the
 * test says so. Waits are for conditions; how long they took is not judged.
 */
#include "poller/scraper.h"

#include "common/loop/fetch_client.h"

#include "common/core/clock.h"
#include "poller/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TARGETS     3
#define INTERVAL_MS 20
#define DEADLINE_MS 10000

/* -- the fake fetch -------------------------------------------------------------------------- */

struct fetch_transfer {
	fetch_callback callback;
	void *arg;
	char url[64];
};

struct fetch {
	uv_timer_t handle; /* something to close */
	struct fetch_transfer *running[64];
	size_t running_count, started;
	struct fetch_request last;
	void (*on_closed)(void *arg);
	void *closed_arg;
};
static struct fetch *fetch;

struct fetch *fetch_open(uv_loop_t *loop, const struct fetch_options *options)
{
	assert_string_equal(options->user_agent, "prometheus-streams/" VERSION);
	fetch = xcalloc(1, sizeof(*fetch));
	uv_timer_init(loop, &fetch->handle);
	return fetch;
}

struct fetch_client *fetch_client_new(
	struct fetch *owner, const struct http_client_settings *settings)
{
	(void)owner;
	(void)settings;
	return NULL;
}

struct fetch_transfer *fetch_start(
	struct fetch *f, const struct fetch_request *request, fetch_callback callback, void *arg)
{
	struct fetch_transfer *transfer = xcalloc(1, sizeof(*transfer));

	transfer->callback = callback;
	transfer->arg = arg;
	snprintf(transfer->url, sizeof(transfer->url), "%s", request->url);
	assert_true(f->running_count < ARRAY_LEN(f->running));
	f->running[f->running_count++] = transfer;
	f->started++;
	f->last = *request;
	return transfer;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct fetch *f = (struct fetch *)handle;

	f->on_closed(f->closed_arg);
	free(f);
}

void fetch_close(struct fetch *f, void (*on_closed)(void *arg), void *arg)
{
	f->on_closed = on_closed;
	f->closed_arg = arg;
	while (f->running_count > 0)
		free(f->running[--f->running_count]);
	uv_close((uv_handle_t *)&f->handle, on_handle_closed);
}

/* Ends the oldest transfer. */
static void complete(enum fetch_outcome outcome, int status)
{
	struct fetch_transfer *transfer = fetch->running[0];
	struct fetch_result result = {
		.outcome = outcome, .status = status, .error = "connection refused"};

	memmove(fetch->running, fetch->running + 1, --fetch->running_count * sizeof(transfer));
	buf_append_str(&result.body, "a 1\n");
	transfer->callback(transfer->arg, &result);
	buf_free(&result.body);
	free(transfer);
}

/* -- the scene ------------------------------------------------------------------------------- */

struct scene {
	uv_loop_t loop;
	struct job_settings job_settings;
	struct target_settings target_settings[TARGETS];
	char urls[TARGETS][64], instances[TARGETS][32];
	struct target_job job;
	struct target targets[TARGETS];
	struct target_list list;
	struct metrics *metrics;
	struct codec *codec;
	struct scraper *scraper;
	int64_t times_ms[1000]; /* of scrapes, in order of coming */
	size_t scrapes, up, idle, closed;
};

static void on_scrape(void *arg, struct scrape *scrape)
{
	struct scene *scene = arg;

	assert_true(scene->scrapes < ARRAY_LEN(scene->times_ms));
	scene->times_ms[scene->scrapes++] = scrape->wire.time_ms;
	scene->up += scrape->wire.up;
	scrape_free(scrape);
}

static void on_idle(void *arg)
{
	((struct scene *)arg)->idle++;
}

static void on_closed(void *arg)
{
	((struct scene *)arg)->closed++;
}

static void init_job(struct scene *scene)
{
	static const char *const headers[] = {"Accept: this", NULL};

	scene->job_settings = (struct job_settings){
		.name = (char *)"node", .scrape_interval_ms = INTERVAL_MS, .scrape_timeout_ms = 10};
	scene->job.settings = &scene->job_settings;
	scene->job.headers[0] = headers[0];
	scene->job.body_limit_bytes = 1234;
	for (size_t i = 0; i < SCRAPE_OUTCOME_COUNT; i++)
		scene->job.outcomes[i] =
			metrics_series(scene->metrics, PM_SCRAPES, "node", scrape_outcome_name(i));
	scene->job.poll_seconds = metrics_series(scene->metrics, PM_POLL_SECONDS, "node");
	scene->job.polled_bytes = metrics_series(scene->metrics, PM_POLLED_BYTES, "node");
}

static void init_target(struct scene *scene, size_t i)
{
	snprintf(scene->urls[i], sizeof(scene->urls[i]), "http://user:secret@web%zu/metrics", i);
	snprintf(scene->instances[i], sizeof(scene->instances[i]), "web%zu", i);
	scene->target_settings[i].url = scene->urls[i];
	scene->target_settings[i].instance = scene->instances[i];
	scene->targets[i].job = &scene->job;
	scene->targets[i].settings = &scene->target_settings[i];
	schedule_init(&scene->targets[i].schedule, slice_from(scene->instances[i]), SLICE(""),
		INTERVAL_MS);
}

static void scene_open(struct scene *scene, size_t targets)
{
	struct scraper_options options = {
		.loop = &scene->loop,
		.targets = &scene->list,
		.on_scrape = on_scrape,
		.on_idle = on_idle,
		.arg = scene,
	};

	*scene = (struct scene){.codec = codec_new()};
	scene->metrics = metrics_new(poller_metric_defs, PM_COUNT);
	init_job(scene);
	for (size_t i = 0; i < targets; i++)
		init_target(scene, i);
	scene->list = (struct target_list){.jobs = &scene->job,
		.job_count = 1,
		.targets = scene->targets,
		.target_count = targets};
	options.metrics = scene->metrics;
	options.codec = scene->codec;
	uv_loop_init(&scene->loop);
	scene->scraper = scraper_open(&options);
}

static void scene_close(struct scene *scene)
{
	scraper_close(scene->scraper, on_closed, scene);
	uv_run(&scene->loop, UV_RUN_DEFAULT);
	assert_int_equal(scene->closed, 1);
	assert_int_equal(uv_loop_close(&scene->loop), 0);
	metrics_free(scene->metrics);
	codec_free(scene->codec);
}

static bool run_until_started(struct scene *scene, size_t started)
{
	uint64_t end_ms = clock_mono_ms() + DEADLINE_MS;

	while (fetch->started < started && clock_mono_ms() < end_ms)
		uv_run(&scene->loop, UV_RUN_ONCE);
	return fetch->started >= started;
}

static double outcome(struct scene *scene, enum scrape_outcome which)
{
	return series_value(scene->job.outcomes[which]);
}

/* -- the tests ------------------------------------------------------------------------------- */

static void test_every_target_in_turn(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, TARGETS);
	for (size_t round = 1; round <= 10; round++) {
		assert_true(run_until_started(&scene, fetch->started + 1));
		while (fetch->running_count > 0)
			complete(FETCH_DONE, 200);
	}
	assert_int_equal(scene.scrapes, fetch->started);
	assert_int_equal(scene.up, fetch->started);
	assert_true(outcome(&scene, SCRAPE_SUCCESS) == (double)fetch->started);
	assert_true(series_value(scene.job.polled_bytes) == 4.0 * (double)fetch->started);
	assert_true(series_value(metrics_plain(scene.metrics, PM_LATENESS_SECONDS)) ==
		    (double)fetch->started);
	scene_close(&scene);
}

static void test_request(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, 1);
	assert_true(run_until_started(&scene, 1));
	assert_string_equal(fetch->last.method, "GET");
	assert_string_equal(fetch->last.url, "http://user:secret@web0/metrics");
	assert_string_equal(fetch->last.headers[0], "Accept: this");
	assert_int_equal(fetch->last.timeout_ms, 10);
	assert_int_equal(fetch->last.body_limit_bytes, 1234);
	assert_true(fetch->last.follow_redirects);
	scene_close(&scene);
}

/* A timeout as long as the interval must not make each second scrape of a hanging target overlap.
 */
static void test_ends_before_the_next(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, 1);
	scene.job_settings.scrape_interval_ms = scene.job_settings.scrape_timeout_ms = 1000;
	scene.targets[0].schedule.interval_ms = 1000;
	while (fetch->started < 2) {
		uv_run(&scene.loop, UV_RUN_ONCE);
		while (fetch->running_count > 0)
			complete(FETCH_TIMED_OUT, 0);
	}
	/* 10 ms less than what is left, which a timer that is a moment early makes more. */
	assert_in_range(fetch->last.timeout_ms, 750, 995);
	scene_close(&scene);
}

static void test_no_overlap(void **state)
{
	struct scene scene;
	struct series *skipped;
	uint64_t end_ms = clock_mono_ms() + DEADLINE_MS;

	(void)state;
	scene_open(&scene, 1);
	skipped = metrics_plain(scene.metrics, PM_SKIPPED);
	assert_true(run_until_started(&scene, 1));
	while (series_value(skipped) < 3 && clock_mono_ms() < end_ms)
		uv_run(&scene.loop, UV_RUN_ONCE);
	assert_true(series_value(skipped) >= 3);
	assert_int_equal(fetch->started, 1);
	complete(FETCH_TIMED_OUT, 0);
	assert_true(run_until_started(&scene, 2));
	scene_close(&scene);
}

static void test_times_differ(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, 1);
	for (size_t i = 1; i <= 5; i++) {
		/* As if the clock were set back by an interval each time. */
		clock_freeze_wall(INT64_C(1700000000000) - (int64_t)(i % 2) * INTERVAL_MS);
		assert_true(run_until_started(&scene, i));
		complete(FETCH_DONE, 200);
	}
	clock_freeze_wall(0);
	for (size_t i = 1; i < scene.scrapes; i++)
		if (scene.times_ms[i] == scene.times_ms[i - 1])
			fail_msg("scrapes %zu and %zu carry the same time", i - 1, i);
	scene_close(&scene);
}

static void test_failures_are_scrapes(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, 1);
	assert_true(run_until_started(&scene, 1));
	complete(FETCH_FAILED, 0);
	assert_true(run_until_started(&scene, 2));
	complete(FETCH_DONE, 503);
	assert_true(run_until_started(&scene, 3));
	complete(FETCH_DONE, 200);
	assert_int_equal(scene.scrapes, 3);
	assert_int_equal(scene.up, 1);
	assert_true(outcome(&scene, SCRAPE_UNREACHABLE) == 1);
	assert_true(outcome(&scene, SCRAPE_BAD_STATUS) == 1);
	assert_true(
		series_value(metrics_series(scene.metrics, PM_POLL_ERRORS, "node", "web0")) == 2);
	scene_close(&scene);
}

static void test_drains(void **state)
{
	struct scene scene;
	size_t started;
	uint64_t end_ms;

	(void)state;
	scene_open(&scene, TARGETS);
	assert_true(run_until_started(&scene, 1));
	scraper_drain(scene.scraper);
	started = fetch->started;
	assert_false(scraper_is_idle(scene.scraper));
	/* Three intervals in which nothing may begin. */
	for (end_ms = clock_mono_ms() + 3 * INTERVAL_MS; clock_mono_ms() < end_ms;)
		uv_run(&scene.loop, UV_RUN_NOWAIT);
	assert_int_equal(fetch->started, started);
	while (fetch->running_count > 0) {
		assert_int_equal(scene.idle, 0);
		complete(FETCH_DONE, 200);
	}
	assert_int_equal(scene.idle, 1);
	assert_true(scraper_is_idle(scene.scraper));
	scene_close(&scene);
}

static void test_closes_with_fetches_running(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, TARGETS);
	assert_true(run_until_started(&scene, 2));
	scene_close(&scene);
	assert_int_equal(scene.scrapes, 0);
}

static void test_without_targets(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, 0);
	uv_run(&scene.loop, UV_RUN_NOWAIT);
	assert_int_equal(fetch->started, 0);
	scene_close(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_target_in_turn),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_ends_before_the_next),
		cmocka_unit_test(test_no_overlap),
		cmocka_unit_test(test_times_differ),
		cmocka_unit_test(test_failures_are_scrapes),
		cmocka_unit_test(test_drains),
		cmocka_unit_test(test_closes_with_fetches_running),
		cmocka_unit_test(test_without_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
