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
	size_t running_count, started, max_idle;
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

void fetch_client_free(struct fetch_client *client, void (*on_freed)(void *arg), void *arg)
{
	assert_null(client);
	on_freed(arg);
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

void fetch_set_max_idle(struct fetch *f, size_t max_idle_connections)
{
	f->max_idle = max_idle_connections;
}

void fetch_cancel(struct fetch_transfer *transfer)
{
	size_t at = 0;

	while (fetch->running[at] != transfer)
		assert_true(++at < fetch->running_count);
	memmove(fetch->running + at, fetch->running + at + 1,
		(--fetch->running_count - at) * sizeof(transfer));
	free(transfer);
}

void fetch_close(struct fetch *f, void (*on_closed)(void *arg), void *arg)
{
	f->on_closed = on_closed;
	f->closed_arg = arg;
	assert_int_equal(f->running_count, 0);
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
	size_t scrapes, up, last, idle, closed;
};

static void on_scrape(void *arg, struct scrape *scrape)
{
	struct scene *scene = arg;

	assert_true(scene->scrapes < ARRAY_LEN(scene->times_ms));
	scene->times_ms[scene->scrapes++] = scrape->wire.time_ms;
	scene->up += scrape->wire.up;
	scene->last += scrape_is_last(scrape);
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
	static const char *const headers[] = {"Accept: this", "Accept-Encoding: gzip"};

	scene->job_settings = (struct job_settings){
		.name = (char *)"node", .scrape_interval_ms = INTERVAL_MS, .scrape_timeout_ms = 10};
	scene->job.settings = &scene->job_settings;
	scene->job.headers[0] = headers[0];
	scene->job.headers[1] = headers[1];
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
	buf_append_str(&scene->targets[i].subject, scene->instances[i]);
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
	for (size_t i = 0; i < TARGETS; i++)
		buf_free(&scene->targets[i].subject);
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

/* -- other targets --------------------------------------------------------------------------- */

/* Another list: each letter a target, '-' none; capital letters stand for changed ones. */
struct replacement {
	struct target_job jobs[2]; /* as it was, and changed */
	struct job_settings changed_settings;
	struct target_settings target_settings[TARGETS];
	struct target targets[TARGETS];
	struct target_list list;
};

static void replacement_init(struct replacement *to, const struct scene *scene, const char *letters)
{
	*to = (struct replacement){
		.jobs = {scene->job, scene->job}, .changed_settings = scene->job_settings};
	to->changed_settings.scrape_interval_ms = 2 * INTERVAL_MS;
	to->jobs[1].settings = &to->changed_settings;
	to->list.jobs = to->jobs;
	to->list.job_count = ARRAY_LEN(to->jobs);
	to->list.targets = to->targets;
	for (const char *at = letters; *at != '\0'; at++) {
		size_t number = (size_t)((*at | 0x20) - 'a');
		struct target *target = &to->targets[to->list.target_count];
		bool is_changed = *at < 'a';

		if (*at == '-')
			continue;
		to->target_settings[to->list.target_count] = scene->target_settings[number];
		*target = scene->targets[number];
		target->job = &to->jobs[is_changed];
		if (is_changed)
			schedule_init(&target->schedule, buf_slice(&target->subject), SLICE(""),
				2 * INTERVAL_MS);
		target->settings = &to->target_settings[to->list.target_count++];
	}
}

static void test_targets_are_replaced(void **state)
{
	static const struct {
		const char *name, *letters;
		size_t unchanged, added, removed, changed;
	} cases[] = {
		{"the same", "abc", 3, 0, 0, 0},
		{"in another order", "cab", 3, 0, 0, 0},
		{"one removed", "a-c", 2, 0, 1, 0},
		{"all removed", "---", 0, 0, 3, 0},
		{"one changed", "aBc", 2, 0, 0, 1},
		{"all of it", "A-c", 1, 0, 1, 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scraper_changes changes = {0};
		struct replacement to;
		struct scene scene;
		bool is_right;

		scene_open(&scene, TARGETS);
		assert_true(run_until_started(&scene, TARGETS));
		replacement_init(&to, &scene, cases[i].letters);
		scraper_set_targets(scene.scraper, &to.list, &changes);
		is_right = changes.unchanged == cases[i].unchanged &&
			   changes.count[SCRAPER_ADDED] == cases[i].added &&
			   changes.count[SCRAPER_REMOVED] == cases[i].removed &&
			   changes.count[SCRAPER_CHANGED] == cases[i].changed &&
			   scene.last == cases[i].removed &&
			   fetch->running_count == TARGETS - cases[i].removed;
		if (!is_right)
			fail_msg("%s: %zu unchanged, %zu added, %zu removed, %zu changed, "
				 "%zu last, %zu running",
				cases[i].name, changes.unchanged, changes.count[SCRAPER_ADDED],
				changes.count[SCRAPER_REMOVED], changes.count[SCRAPER_CHANGED],
				scene.last, fetch->running_count);
		while (fetch->running_count > 0)
			complete(FETCH_DONE, 200);
		assert_int_equal(scene.up, TARGETS - cases[i].removed);
		scene_close(&scene);
	}
}

/* Which one of its grid, however late the scrape was; a timer may be early, too. */
static int64_t moment_of(const struct scene *scene, size_t i)
{
	return (scene->times_ms[i] + INTERVAL_MS / 8 - scene->targets[0].schedule.offset_ms) /
	       INTERVAL_MS;
}

/* Ten times per interval, and yet each moment of the grid is served once. */
static void test_replacing_targets_moves_no_scrape(void **state)
{
	enum { ROUNDS = 20 };
	struct replacement to[2];
	struct scene scene;
	uint64_t begin_ms, swapped_ms = 0, end_ms;
	size_t at = 0, expected;

	(void)state;
	scene_open(&scene, 1);
	replacement_init(&to[0], &scene, "a");
	replacement_init(&to[1], &scene, "a");
	assert_true(run_until_started(&scene, 1));
	begin_ms = clock_mono_ms();
	end_ms = begin_ms + ROUNDS * INTERVAL_MS;
	while (clock_mono_ms() < end_ms) {
		struct scraper_changes changes = {0};

		uv_run(&scene.loop, UV_RUN_NOWAIT);
		while (fetch->running_count > 0)
			complete(FETCH_DONE, 200);
		if (clock_mono_ms() - swapped_ms < INTERVAL_MS / 10)
			continue;
		swapped_ms = clock_mono_ms();
		scraper_set_targets(scene.scraper, &to[at++ % 2].list, &changes);
	}
	expected = 1 + (size_t)(clock_mono_ms() - begin_ms) / INTERVAL_MS;
	assert_true(at > ROUNDS);
	/* Where the machine is busy for a whole interval, that one is left out. */
	assert_in_range(fetch->started, expected * 3 / 4, expected + 1);
	for (size_t i = 1; i < scene.scrapes; i++)
		assert_true(moment_of(&scene, i) > moment_of(&scene, i - 1));
	scene_close(&scene);
}

static void test_removed_and_added_again(void **state)
{
	struct scraper_changes changes = {0};
	struct replacement none, again;
	struct scene scene;
	int64_t removed_ms;

	(void)state;
	scene_open(&scene, 1);
	replacement_init(&none, &scene, "-");
	replacement_init(&again, &scene, "a");
	assert_true(run_until_started(&scene, 1));
	scraper_set_targets(scene.scraper, &none.list, &changes);
	assert_int_equal(scene.last, 1);
	removed_ms = scene.times_ms[scene.scrapes - 1];
	scraper_set_targets(scene.scraper, &again.list, &changes);
	assert_int_equal(changes.count[SCRAPER_ADDED], 1);
	assert_true(run_until_started(&scene, 2));
	complete(FETCH_DONE, 200);
	assert_int_equal(scene.up, 1);
	assert_true(scene.times_ms[scene.scrapes - 1] != removed_ms);
	scene_close(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets_are_replaced),
		cmocka_unit_test(test_replacing_targets_moves_no_scrape),
		cmocka_unit_test(test_removed_and_added_again),
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
