/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sink makes of what a Push Gateway holds beside its own groups: others' groups are never
 * touched, those of a receiver before it never go back in time, and end as orphans once nobody can
 * be behind them.
 */
#include "tests/unit/real_gateway.h"

static bool is_shown(struct with_gateway *t, const char *text)
{
	assert_int_equal(read_metrics(t), 200);
	return strstr(buf_cstr(&t->metrics), text) != NULL;
}

static void wait_for_ready(struct with_gateway *t)
{
	uint64_t until_ms = clock_mono_ms() + 20000;

	while (!t->f.sink->ops->is_ready(t->f.sink, NULL) ||
		t->f.sink->ops->running(t->f.sink) > 0) {
		if (clock_mono_ms() > until_ms)
			fail_msg("not ready");
		push_fixture_turn(&t->f);
	}
}

/* Lets the next survey be due, and waits for it. */
static void survey(struct with_gateway *t)
{
	uint64_t until_ms = clock_mono_ms() + 20000;

	wait_for_ready(t);
	t->f.gateway.survey_interval_ms = 1;
	while (t->f.sink->ops->running(t->f.sink) == 0) {
		if (clock_mono_ms() > until_ms)
			fail_msg("no survey");
		t->f.sink->ops->sweep(t->f.sink, clock_wall_ms(), 0);
		push_fixture_turn(&t->f);
	}
	t->f.gateway.survey_interval_ms = 0;
	wait_for_ready(t);
}

static void push_marked(struct with_gateway *t, const char *path, int64_t time_ms, const char *body)
{
	char *text = xasprintf(
		"# TYPE " PUSH_MARK " gauge\n" PUSH_MARK " %.3f\n%s", (double)time_ms / 1e3, body);

	push_foreign(t, path, text);
	free(text);
}

/* A group that somebody else pushes later is left alone, too, until it has gone. */
static void test_foreign_groups_that_come_and_go(void **state)
{
	struct with_gateway *t = open_gateway(true);
	char *url;
	struct fetch_request request = {.method = "DELETE", .timeout_ms = 5000};
	int status = 0;

	(void)state;
	push(t, "b", "y 1\n");
	push_foreign(t, "app/instance/a", "somebody_elses 1\n");
	survey(t);
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "y 2\n"});
	wait_for_end(t, 2);
	assert_true(push_has_fate(&t->f, "2:refused "));
	assert_true(is_shown(t, "somebody_elses{instance=\"a\",job=\"app\"} 1"));
	push_sweep(&t->f, 7200000);
	wait_for_end(t, 2);
	assert_true(is_shown(t, "somebody_elses{instance=\"a\",job=\"app\"} 1"));
	assert_false(is_shown(t, "instance=\"b\""));
	request.url = url = xasprintf("http://127.0.0.1:%d/metrics/job/app/instance/a", t->port);
	fetch_start(t->fetch, &request, on_put, &status);
	while (status == 0)
		push_fixture_turn(&t->f);
	free(url);
	survey(t);
	push(t, "a", "y 3\n");
	expect_line(t, "free again", "y{instance=\"a\",job=\"app\"} 3");
	close_gateway(t);
}

/* A type that went with another pusher's group binds nobody any longer. */
static void test_a_type_that_has_gone(void **state)
{
	struct with_gateway *t = open_gateway(false);

	(void)state;
	push_foreign(t, "other", "# TYPE x counter\nx 1\n");
	survey(t);
	push(t, "a", "# TYPE x gauge\nx 2\ny 1\n");
	assert_false(is_shown(t, "x{instance=\"a\""));
	push_foreign(t, "other", "z 1\n");
	survey(t);
	push(t, "a", "# TYPE x gauge\nx 2\ny 1\n");
	assert_true(is_shown(t, "x{instance=\"a\",job=\"app\"} 2"));
	close_gateway(t);
}

/* What the gateway refuses may be what somebody pushed there since it was read: it is read again.
 */
static void test_a_refusal_asks_for_a_survey(void **state)
{
	struct with_gateway *t = open_gateway(true);
	uint64_t until_ms;

	(void)state;
	push(t, "a", "y 1\n");
	push_foreign(t, "other", "# TYPE x counter\nx 1\n");
	until_ms = clock_mono_ms() + 1100; /* readings come no closer than a second */
	while (clock_mono_ms() < until_ms)
		push_fixture_turn(&t->f);
	push(t, "a", "# TYPE x gauge\nx 2\ny 2\n");
	expect_line(t, "refused", "up{instance=\"a\",job=\"app\"} 0");
	/* The reading that the refusal asked for takes its time. */
	until_ms = clock_mono_ms() + 20000;
	do
		push(t, "a", "# TYPE x gauge\nx 2\ny 3\n");
	while (strstr(buf_cstr(&t->metrics), "y{instance=\"a\",job=\"app\"} 3") == NULL &&
		clock_mono_ms() < until_ms);
	expect_line(t, "the rest", "y{instance=\"a\",job=\"app\"} 3");
	expect_line(t, "the rest", "up{instance=\"a\",job=\"app\"} 1");
	close_gateway(t);
}

static int64_t start_ms;

static void push_old_and_slow(struct with_gateway *t)
{
	start_ms = clock_wall_ms();
	push_marked(t, "app/instance/gone", start_ms - 1000000, "x 1\n");
	push_marked(t, "app/instance/slow", start_ms - 100000, "x 2\n");
	push_foreign(t, "app/instance/foreign", "x 3\n");
}

/* An orphan's interval is not known: it may be as long as the longest. */
static void test_orphans_wait_for_the_longest_interval(void **state)
{
	struct with_gateway *t = open_prepared_gateway(true, push_old_and_slow);
	uint64_t until_ms = clock_mono_ms() + 20000;

	(void)state;
	t->f.settings.max_age_ms = 3000;
	push_offer(
		&t->f, (struct push_frame){.instance = "a", .body = "x 4\n", .interval_ms = 60000});
	wait_for_end(t, 1);
	t->f.sink->ops->sweep(t->f.sink, start_ms, start_ms - 125000);
	wait_for_ready(t);
	assert_true(is_shown(t, "x{instance=\"gone\",job=\"app\"} 1"));
	while (push_count(&t->f, RM_GROUPS_DELETED, "sink", "orphan") == 0) {
		if (clock_mono_ms() > until_ms)
			fail_msg("the orphan is not deleted");
		t->f.sink->ops->sweep(t->f.sink, clock_wall_ms(), start_ms - 127000);
		push_fixture_turn(&t->f);
	}
	wait_for_ready(t);
	/* The gateway answers before it has done it. */
	while (is_shown(t, "instance=\"gone\""))
		assert_true(clock_mono_ms() < until_ms);
	assert_true(is_shown(t, "x{instance=\"slow\",job=\"app\"} 2"));
	assert_true(is_shown(t, "x{instance=\"foreign\",job=\"app\"} 3"));
	assert_int_equal(push_count(&t->f, RM_GROUPS_DELETED, "sink", "orphan"), 1);
	close_gateway(t);
}

static void push_newer(struct with_gateway *t)
{
	start_ms = clock_wall_ms();
	push_marked(t, "node/instance/i", start_ms + 30000, "x 9\n");
}

/* Groups that a target exposes go back no more than its own does. */
static void test_marks_of_honored_groups(void **state)
{
	static const char body[] = "x{job=\"node\",instance=\"i\"} 1\ny 1\n";
	struct with_gateway *t = open_prepared_gateway(true, push_newer);
	const struct push_frame frame = {.job = "fed",
		.instance = "p",
		.body = body,
		.flags = WIRE_HONOR_LABELS,
		.interval_ms = 60000};

	(void)state;
	push_offer(&t->f, frame);
	wait_for_end(t, 1);
	wait_until_shown(t, "its own", "fed", "p");
	expect_line(t, "its own", "y{instance=\"p\",job=\"fed\"} 1");
	expect_line(t, "newer", "x{instance=\"i\",job=\"node\"} 9");
	t->f.time_ms = start_ms + 30000;
	push_offer(&t->f, frame);
	wait_for_end(t, 2);
	wait_until_shown(t, "its own", "fed", "p");
	expect_line(t, "older", "x{instance=\"i\",job=\"node\"} 1");
	close_gateway(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_foreign_groups_that_come_and_go),
		cmocka_unit_test(test_a_type_that_has_gone),
		cmocka_unit_test(test_a_refusal_asks_for_a_survey),
		cmocka_unit_test(test_orphans_wait_for_the_longest_interval),
		cmocka_unit_test(test_marks_of_honored_groups),
	};

	if (access(PROGRAM, X_OK) != 0) {
		print_message("skipped: " PROGRAM " is not installed\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
