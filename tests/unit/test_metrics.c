/* SPDX-License-Identifier: Apache-2.0 */
/* Series and their exposition: exact bytes, promtool's judgement, and speed with many series. */
#include "common/core/metrics.h"

#include "common/core/clock.h"
#include "common/core/table.h"
#include "tests/unit/cpu_bound.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const double small_buckets[] = {0.1, 1, INFINITY};

enum { SCRAPES, QUEUE, DELAY, POLLS, PLAIN_DELAY, METRICS };

static const struct metric_def defs[METRICS] = {
	[SCRAPES] = {"test_scrapes_total", METRIC_COUNTER, "job,reason", NULL,
		"Scrapes\nby \\ \"reason\"."},
	[QUEUE] = {"test_queue_bytes", METRIC_GAUGE, "", NULL, "Bytes that wait."},
	[DELAY] = {"test_delay_seconds", METRIC_HISTOGRAM, "sink", small_buckets, "Delay."},
	[POLLS] = {"test_polls_total", METRIC_COUNTER, "job,instance", NULL, "Polls."},
	[PLAIN_DELAY] = {"test_wait_seconds", METRIC_HISTOGRAM, "", METRIC_SECONDS_BUCKETS,
		"Wait."},
};

static void test_exposition(void **state)
{
	struct metrics *metrics = metrics_new(defs, DELAY + 1);
	struct series *a = metrics_series(metrics, SCRAPES, "z", "first");
	struct series *b = metrics_series(metrics, SCRAPES, "q\"\\\n", "\xff\xc3\xbc");
	struct series *delay = metrics_series(metrics, DELAY, "gw");
	struct buf out = {0};

	(void)state;
	series_inc(a);
	series_inc(a);
	series_add(b, 0.5);
	series_set(metrics_plain(metrics, QUEUE), -3);
	series_observe(delay, 0.1); /* a bound belongs to its bucket */
	series_observe(delay, 0.25);
	series_observe(delay, 7);
	metrics_write(metrics, &out);
	assert_string_equal(buf_cstr(&out),
		"# HELP test_scrapes_total Scrapes\\nby \\\\ \"reason\".\n"
		"# TYPE test_scrapes_total counter\n"
		"test_scrapes_total{job=\"z\",reason=\"first\"} 2\n"
		"test_scrapes_total{job=\"q\\\"\\\\\\n\",reason=\"\xef\xbf\xbd\xc3\xbc\"} 0.5\n"
		"# HELP test_queue_bytes Bytes that wait.\n"
		"# TYPE test_queue_bytes gauge\n"
		"test_queue_bytes -3\n"
		"# HELP test_delay_seconds Delay.\n"
		"# TYPE test_delay_seconds histogram\n"
		"test_delay_seconds_bucket{sink=\"gw\",le=\"0.1\"} 1\n"
		"test_delay_seconds_bucket{sink=\"gw\",le=\"1\"} 2\n"
		"test_delay_seconds_bucket{sink=\"gw\",le=\"+Inf\"} 3\n"
		"test_delay_seconds_sum{sink=\"gw\"} 7.35\n"
		"test_delay_seconds_count{sink=\"gw\"} 3\n");
	buf_free(&out);
	metrics_free(metrics);
}

static void test_series_identity(void **state)
{
	struct metrics *metrics = metrics_new(defs, METRICS);
	struct series *a = metrics_series(metrics, SCRAPES, "a", "b");

	(void)state;
	assert_ptr_equal(metrics_series(metrics, SCRAPES, "a", "b"), a);
	assert_ptr_not_equal(metrics_series(metrics, SCRAPES, "b", "a"), a);
	assert_ptr_not_equal(metrics_series(metrics, POLLS, "a", "b"), a);
	/* Values must not run into one another. */
	assert_ptr_not_equal(metrics_series(metrics, SCRAPES, "a\",reason=\"b", ""),
		metrics_series(metrics, SCRAPES, "a", "b\",reason=\""));
	/* What comes out alike is one series. */
	assert_ptr_equal(metrics_series(metrics, SCRAPES, "\xfe", ""),
		metrics_series(metrics, SCRAPES, "\xff", ""));
	assert_ptr_equal(metrics_plain(metrics, QUEUE), metrics_series(metrics, QUEUE));
	metrics_free(metrics);
}

static void test_forget(void **state)
{
	struct metrics *metrics = metrics_new(defs, QUEUE);
	struct series *a = metrics_series(metrics, SCRAPES, "a", "");
	struct buf out = {0};

	(void)state;
	series_inc(a);
	series_inc(metrics_series(metrics, SCRAPES, "b", ""));
	metrics_forget(metrics, a);
	metrics_forget(metrics, NULL);
	metrics_write(metrics, &out);
	assert_null(strstr(buf_cstr(&out), "\"a\""));
	assert_non_null(strstr(buf_cstr(&out), "{job=\"b\",reason=\"\"} 1\n"));
	assert_float_equal(series_value(metrics_series(metrics, SCRAPES, "a", "")), 0, 0);
	metrics_forget(metrics, metrics_series(metrics, SCRAPES, "a", ""));
	metrics_forget(metrics, metrics_series(metrics, SCRAPES, "b", ""));
	buf_clear(&out);
	metrics_write(metrics, &out);
	assert_int_equal(out.len, 0);
	buf_free(&out);
	metrics_free(metrics);
}

static void test_values(void **state)
{
	struct metrics *metrics = metrics_new(defs, METRICS);
	struct series *counter = metrics_series(metrics, SCRAPES, "a", "");
	struct series *gauge = metrics_plain(metrics, QUEUE);
	struct series *wait = metrics_plain(metrics, PLAIN_DELAY);

	(void)state;
	series_add(counter, 5);
	series_add(counter, -1);
	series_add(counter, (double)NAN);
	assert_float_equal(series_value(counter), 5, 0);
	series_set(gauge, 5);
	series_add(gauge, -7);
	assert_float_equal(series_value(gauge), -2, 0);
	series_observe(wait, 0.001);
	series_observe(wait, 1e9);
	series_observe(wait, -1);
	series_observe(wait, (double)INFINITY);
	series_observe(wait, (double)NAN);
	assert_float_equal(series_value(wait), 4, 0);
	metrics_free(metrics);
}

static const struct {
	double value;
	const char *text;
} numbers[] = {
	{0, "0"},
	{1, "1"},
	{-42, "-42"},
	{0.1, "0.1"},
	{0.1 + 0.2, "0.30000000000000004"},
	{1.0 / 3, "0.3333333333333333"},
	{1767323045.678, "1767323045.678"},
	{9007199254740992.0, "9007199254740992"},
	{-9007199254740991.0, "-9007199254740991"},
	{1e20, "1e+20"},
	{DBL_MAX, "1.7976931348623157e+308"},
	{5e-324, "4.94065645841247e-324"},
	{NAN, "NaN"},
	{INFINITY, "+Inf"},
	{-INFINITY, "-Inf"},
};

static void test_numbers(void **state)
{
	struct buf out = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		buf_clear(&out);
		metrics_append_number(&out, numbers[i].value);
		assert_string_equal(buf_cstr(&out), numbers[i].text);
	}
	for (int i = 0; i < 20000; i++) {
		uint64_t bits = random_u64();
		double value, again;

		memcpy(&value, &bits, sizeof(value));
		if (!isfinite(value))
			continue;
		buf_clear(&out);
		metrics_append_number(&out, value);
		again = strtod(buf_cstr(&out), NULL);
		assert_memory_equal(&again, &value, sizeof(value));
	}
	buf_free(&out);
}

static void test_process(void **state)
{
	static const char *const names[] = {
		"\nprocess_cpu_seconds_total ",
		"\nprocess_resident_memory_bytes ",
		"\nprocess_virtual_memory_bytes ",
		"\nprocess_open_fds ",
		"\nprocess_max_fds ",
		"\nprocess_start_time_seconds ",
	};
	struct buf out = {0};
	const char *at;
	double start, now = (double)clock_wall_ms() / 1000;

	(void)state;
	metrics_write_process(&out);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		at = strstr(buf_cstr(&out), names[i]);
		if (at == NULL)
			fail_msg("%s is missing in %s", names[i], buf_cstr(&out));
		assert_true(strtod(at + strlen(names[i]), NULL) > 0);
	}
	start = strtod(strstr(buf_cstr(&out), names[5]) + strlen(names[5]), NULL);
	assert_true(start > now - 600 && start <= now + 1);
	buf_free(&out);
}

static void test_promtool(void **state)
{
	struct metrics *metrics = metrics_new(defs, METRICS);
	struct buf out = {0};
	FILE *promtool;

	(void)state;
	if (access("/usr/bin/promtool", X_OK) != 0) {
		print_message("no /usr/bin/promtool to ask\n");
		metrics_free(metrics);
		skip();
	}
	series_inc(metrics_series(metrics, SCRAPES, "q\"\\\n", "\xff \xc3\xbc{}=,"));
	series_inc(metrics_series(metrics, SCRAPES, "", ""));
	series_set(metrics_plain(metrics, QUEUE), (double)NAN);
	series_observe(metrics_series(metrics, DELAY, "gw"), 0.3);
	series_observe(metrics_plain(metrics, PLAIN_DELAY), 1e-300);
	metrics_write(metrics, &out);
	metrics_write_process(&out);
	promtool = popen("/usr/bin/promtool check metrics >&2", "w");
	assert_non_null(promtool);
	assert_int_equal(fwrite(out.ptr, 1, out.len, promtool), out.len);
	assert_int_equal(pclose(promtool), 0);
	buf_free(&out);
	metrics_free(metrics);
}

/* 50,000 targets with three metrics; the bounds are wide, to fail only if something is quadratic.
 */
static void test_many_series(void **state)
{
	enum { TARGETS = 50000 };
	struct metrics *metrics = metrics_new(defs, METRICS);
	struct buf out = {0};
	char name[32];
	double begin_s = cpu_seconds();

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < TARGETS; i++) {
			snprintf(name, sizeof(name), "host%d:9100", i);
			series_inc(metrics_series(metrics, POLLS, "node", name));
			series_inc(metrics_series(metrics, SCRAPES, name, "x"));
			series_observe(metrics_series(metrics, DELAY, name), 0.0123 * i);
		}
	}
	metrics_write(metrics, &out);
	assert_float_equal(series_value(metrics_series(metrics, POLLS, "node", name)), 2, 0);
	assert_true(cpu_seconds() - begin_s < 5.0 * CPU_BOUND_FACTOR);
	buf_free(&out);
	metrics_free(metrics);
}

/* Seeded, equal for equal keys, and different for keys of every length. */
static void test_table_hash(void **state)
{
	char key[64];
	uint32_t seen[64];

	(void)state;
	memset(key, 'k', sizeof(key));
	for (size_t len = 0; len < sizeof(key); len++) {
		char copy[80];

		memcpy(copy + 3, key, len); /* other alignment */
		seen[len] = table_hash(key, len);
		assert_int_equal(table_hash(copy + 3, len), seen[len]);
		for (size_t i = 0; i < len; i++)
			assert_int_not_equal(seen[i], seen[len]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exposition),
		cmocka_unit_test(test_series_identity),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_promtool),
		cmocka_unit_test(test_many_series),
		cmocka_unit_test(test_table_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
