/* SPDX-License-Identifier: Apache-2.0 */
/* What the log hears of targets going down, one and many, told from the lines of a log file. */
#include "poller/outages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define START_MS UINT64_C(1000000)
#define TARGETS  3000

static struct job_settings job_settings = {.name = (char *)"node"};
static struct target_job job = {.settings = &job_settings};
static struct target_settings target_settings = {
	.instance = (char *)"web1", .url = (char *)"http://user:secret@web1/metrics"};
static const struct target target = {.job = &job, .settings = &target_settings};

static char path[] = "/tmp/test-outages-XXXXXX";
static char log_text[1 << 20];

static int open_log(void **state)
{
	struct err err;

	(void)state;
	strcpy(path + strlen(path) - 6, "XXXXXX");
	close(mkstemp(path));
	return log_open("test_outages", LOG_TEXT, LOG_INFO, path, &err);
}

static int close_log(void **state)
{
	(void)state;
	log_close();
	return unlink(path);
}

/* How many lines of the log so far hold `text`. */
static size_t said(const char *text)
{
	FILE *file = fopen(path, "r");
	size_t len = fread(log_text, 1, sizeof(log_text) - 1, file), count = 0;

	fclose(file);
	log_text[len] = '\0';
	for (const char *at = log_text; (at = strstr(at, text)) != NULL; at++)
		count++;
	return count;
}

static void test_one_target(void **state)
{
	struct outages outages = {0};
	struct outage outage = {0};
	uint64_t now_ms = START_MS;

	(void)state;
	outages_note(&outages, &outage, &target, NULL, now_ms);
	assert_int_equal(said("msg="), 0);
	for (; now_ms < START_MS + 2 * OUTAGE_REPEAT_MS + 1000; now_ms += 1000) {
		outages_note(&outages, &outage, &target, "connection refused", now_ms);
		outages_tell(&outages, now_ms);
	}
	assert_int_equal(said("scrape failed"), 1);
	assert_int_equal(said("scrapes still fail"), 2);
	assert_int_equal(said("secret"), 0);
	outages_note(&outages, &outage, &target, NULL, now_ms);
	assert_int_equal(said("up again"), 1);
	assert_int_equal(said("failures=1201"), 2);
	assert_int_equal(said("msg="), 4);
	assert_int_equal(outages.down, 0);
}

static void test_a_flapping_target(void **state)
{
	struct outages outages = {0};
	struct outage outage = {0};

	(void)state;
	for (int i = 0; i < 60; i++) {
		uint64_t now_ms = START_MS + (uint64_t)i * 1000;

		outages_note(&outages, &outage, &target, i % 2 == 0 ? "HTTP 503" : NULL, now_ms);
		outages_tell(&outages, now_ms);
	}
	assert_in_range(said("msg="), 8, 12);
}

static void note_all(
	struct outages *outages, struct outage *all, const char *error, uint64_t now_ms)
{
	for (size_t i = 0; i < TARGETS; i++)
		outages_note(outages, &all[i], &target, error, now_ms);
	outages_tell(outages, now_ms);
}

static void test_all_at_once(void **state)
{
	struct outages outages = {0};
	struct outage *all = xcalloc(TARGETS, sizeof(*all));
	uint64_t now_ms = START_MS;

	(void)state;
	for (int i = 0; i < 10; i++, now_ms += 5000)
		note_all(&outages, all, "connection refused", now_ms);
	assert_int_equal(said("scrape failed"), OUTAGE_LINES);
	assert_int_equal(said("went_down=2980 still_down=0 came_up=0 down_now=3000"), 1);
	assert_int_equal(said("msg="), OUTAGE_LINES + 1);
	note_all(&outages, all, NULL, now_ms);
	now_ms += OUTAGE_WINDOW_MS;
	note_all(&outages, all, NULL, now_ms);
	assert_int_equal(said("up again"), OUTAGE_LINES);
	assert_int_equal(
		said("level=info program=test_outages msg=\"too many targets to name each\" "
		     "went_down=0 still_down=0 came_up=2980 down_now=0"),
		1);
	free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_target, open_log, close_log),
		cmocka_unit_test_setup_teardown(test_a_flapping_target, open_log, close_log),
		cmocka_unit_test_setup_teardown(test_all_at_once, open_log, close_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
