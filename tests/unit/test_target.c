/* SPDX-License-Identifier: Apache-2.0 */
/* Targets made of settings: subjects, request headers, identities, the poller as its own target. */
#include "poller/target.h"

#include "poller/metrics.h"
#include "poller/self.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct setup {
	struct settings settings;
	struct job_settings jobs[2];
	struct target_settings targets[3];
	struct metrics *metrics;
};

/* Two jobs: node with the first two targets, apps with the third. */
static void setup_init(struct setup *setup)
{
	*setup = (struct setup){
		.settings = {.identity = (char *)"dc1",
			.poller_stream = {.topic = (char *)"prometheus"},
			.scrape_interval_ms = 15000,
			.scrape_timeout_ms = 10000,
			.monitor_address = (char *)"127.0.0.1",
			.job_count = 2},
		.targets = {{.url = (char *)"http://web1:9100/metrics",
				    .instance = (char *)"web1:9100"},
			{.url = (char *)"http://web2:9100/metrics",
				.instance = (char *)"web2:9100"},
			{.url = (char *)"http://app/metrics", .instance = (char *)"app"}},
		.metrics = metrics_new(poller_metric_defs, PM_COUNT),
	};
	setup->jobs[0] = (struct job_settings){.name = (char *)"node",
		.scrape_interval_ms = 15000,
		.scrape_timeout_ms = 2500,
		.targets = setup->targets,
		.target_count = 2};
	setup->jobs[1] = (struct job_settings){.name = (char *)"my apps",
		.scrape_interval_ms = 60000,
		.scrape_timeout_ms = 10000,
		.body_size_limit_bytes = 1000,
		.targets = &setup->targets[2],
		.target_count = 1};
	setup->settings.jobs = setup->jobs;
}

static void setup_fini(struct setup *setup)
{
	for (size_t i = 0; i < ARRAY_LEN(setup->targets); i++)
		labels_free(&setup->targets[i].labels);
	metrics_free(setup->metrics);
}

static void test_subjects(void **state)
{
	struct setup setup;
	struct target_list list;
	struct err err;

	(void)state;
	setup_init(&setup);
	if (target_list_init(&list, &setup.settings, NULL, setup.metrics, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(list.job_count, 2);
	assert_int_equal(list.target_count, 3);
	assert_string_equal(
		buf_cstr(&list.targets[0].subject), "prometheus.scrape.dc1.node.web1=3A9100.0");
	assert_string_equal(
		buf_cstr(&list.targets[2].subject), "prometheus.scrape.dc1.my=20apps.app.0");
	assert_int_equal(list.targets[2].schedule.interval_ms, 60000);
	assert_int_equal(list.jobs[0].body_limit_bytes, FETCH_DEFAULT_LIMIT_BYTES);
	assert_int_equal(list.jobs[1].body_limit_bytes, 1000);
	assert_true(series_value(metrics_plain(setup.metrics, PM_JOBS)) == 2);
	assert_true(series_value(metrics_series(setup.metrics, PM_TARGETS, "node")) == 2);
	target_list_fini(&list);
	setup_fini(&setup);
}

static void test_request_headers(void **state)
{
	static const char *const want[] = {
		"Accept: text/plain;version=0.0.4;q=1,*/*;q=0.1",
		"Accept-Encoding: gzip",
		"X-Prometheus-Scrape-Timeout-Seconds: 2.5",
	};
	struct setup setup;
	struct target_list list;

	(void)state;
	setup_init(&setup);
	assert_int_equal(target_list_init(&list, &setup.settings, NULL, setup.metrics, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		assert_string_equal(list.jobs[0].headers[i], want[i]);
	assert_null(list.jobs[0].headers[ARRAY_LEN(want)]);
	target_list_fini(&list);
	setup_fini(&setup);
}

static void test_labels_tell_targets_apart(void **state)
{
	struct setup setup;
	struct target_list list;

	(void)state;
	setup_init(&setup);
	setup.targets[1].instance = setup.targets[0].instance;
	labels_set(&setup.targets[1].labels, SLICE("env"), SLICE("prod"));
	assert_int_equal(target_list_init(&list, &setup.settings, NULL, setup.metrics, NULL), 0);
	assert_string_not_equal(
		buf_cstr(&list.targets[0].subject), buf_cstr(&list.targets[1].subject));
	target_list_fini(&list);
	setup_fini(&setup);
}

static void give_same_identity(struct setup *setup)
{
	setup->targets[1].instance = setup->targets[0].instance;
}

static void give_long_instance(struct setup *setup)
{
	static char name[300];

	memset(name, 'x', sizeof(name) - 1);
	setup->targets[0].instance = name;
}

static void give_large_labels(struct setup *setup)
{
	static char value[9000];

	memset(value, 'x', sizeof(value) - 1);
	labels_set(&setup->targets[2].labels, SLICE("env"), slice_from(value));
}

static void test_refused(void **state)
{
	static const struct {
		const char *name;
		void (*spoil)(struct setup *setup);
		const char *begin; /* of the error */
	} cases[] = {
		{"same identity", give_same_identity, "job node has instance web1:9100 twice"},
		{"instance too long", give_long_instance, "job node, instance xxx"},
		{"labels too large", give_large_labels, "job my apps, instance app: "},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct setup setup;
		struct target_list list;
		struct err err;

		setup_init(&setup);
		cases[i].spoil(&setup);
		if (target_list_init(&list, &setup.settings, NULL, setup.metrics, &err) == 0)
			fail_msg("%s: accepted", cases[i].name);
		if (strncmp(err.text, cases[i].begin, strlen(cases[i].begin)) != 0)
			fail_msg("%s: error \"%s\", want \"%s…\"", cases[i].name, err.text,
				cases[i].begin);
		setup_fini(&setup);
	}
}

static void test_own_job(void **state)
{
	struct setup setup;
	struct self self;
	struct target_list list;

	(void)state;
	setup_init(&setup);
	self_init(&self, &setup.settings, &(struct self_access){.port = 10000});
	assert_int_equal(
		target_list_init(&list, &setup.settings, &self.job, setup.metrics, NULL), 0);
	assert_int_equal(list.target_count, 4);
	assert_string_equal(buf_cstr(&list.targets[3].subject),
		"prometheus.scrape.dc1.prometheus_streams.dc1.0");
	target_list_fini(&list);
	self_fini(&self);
	setup_fini(&setup);
}

static void test_own_url(void **state)
{
	static const struct {
		const char *address, *want;
	} cases[] = {
		{"127.0.0.1", "http://127.0.0.1:10000/metrics"},
		{"0.0.0.0", "http://127.0.0.1:10000/metrics"},
		{"::", "http://[::1]:10000/metrics"},
		{"fe80::1", "http://[fe80::1]:10000/metrics"},
		{"10.1.2.3", "http://10.1.2.3:10000/metrics"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct setup setup;
		struct self self;

		setup_init(&setup);
		setup.settings.monitor_address = (char *)cases[i].address;
		self_init(&self, &setup.settings, &(struct self_access){.port = 10000});
		assert_string_equal(self.target.url, cases[i].want);
		self_fini(&self);
		setup_fini(&setup);
	}
}

static void test_seconds(void **state)
{
	static const struct {
		int64_t ms;
		const char *want;
	} cases[] = {
		{10000, "10"},
		{500, "0.5"},
		{1, "0.001"},
		{1250, "1.25"},
		{60010, "60.01"},
		{90000, "90"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf text = {0};

		target_format_seconds(cases[i].ms, &text);
		assert_string_equal(buf_cstr(&text), cases[i].want);
		buf_free(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subjects),
		cmocka_unit_test(test_request_headers),
		cmocka_unit_test(test_labels_tell_targets_apart),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_own_job),
		cmocka_unit_test(test_own_url),
		cmocka_unit_test(test_seconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
