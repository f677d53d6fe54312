/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink against the Push Gateway itself, with its consistency check and without: what we push
 * must be taken, and be found in its /metrics under the right labels. Passed over where it is not
 * installed.
 */
#include "common/core/buf.h"
#include "common/exposition/exposition.h"
#include "tests/unit/real_gateway.h"

/* What would be refused as it stands, or silently dropped, or break every scrape of the gateway. */
static const struct {
	const char *name, *body, *line; /* one that must be shown */
} bodies[] = {
	{"plain", "# HELP x H\n# TYPE x counter\nx 1\n", "x{instance=\"i\",job=\"j\"} 1"},
	{"no final newline", "x 1", "x{instance=\"i\",job=\"j\"} 1"},
	{"timestamps", "x 1 1700000000000\n", "x{instance=\"i\",job=\"j\"} 1"},
	{"collision", "x{job=\"k\"} 1\nx{job=\"l\"} 2\n",
		"x{exported_job=\"l\",instance=\"i\",job=\"j\"} 2"},
	{"repeated series", "x 1\ny 1\nx 2\n", "x{instance=\"i\",job=\"j\"} 2"},
	{"repeated in disguise", "x{a=\"\"} 1\nx 2\n", "x{instance=\"i\",job=\"j\"} 2"},
	{"repeated metadata", "# HELP x 1\n# HELP x 2\n# TYPE x gauge\nx 1\n# TYPE x counter\n",
		"x{instance=\"i\",job=\"j\"} 1"},
	{"late metadata", "x 1\n# TYPE x counter\n# HELP x Late.\n", "# TYPE x counter"},
	{"empty help", "# HELP x\n# HELP x \nx 1\n", "x{instance=\"i\",job=\"j\"} 1"},
	{"help escapes", "# HELP x C:\\dir\\\nx 1\n", "# HELP x C:\\\\dir\\\\"},
	{"strange metadata", "#  TYPE\tx counter\n# HELP x{H\nx 1\n", NULL},
	{"comment like metadata", "#TYPE x bad\n#HELP \\d\nx 1\n", "x{instance=\"i\",job=\"j\"} 1"},
	{"unknown escapes", "x{a=\"\\d\"} 1\n", "x{a=\"\\\\d\",instance=\"i\",job=\"j\"} 1"},
	{"raw newline", "x{a=\"1\n2\"} 1\n", "x{a=\"1\\n2\",instance=\"i\",job=\"j\"} 1"},
	{"no commas", "x{a=\"1\"b=\"2\"} 1\n", "x{a=\"1\",b=\"2\",instance=\"i\",job=\"j\"} 1"},
	{"blanks", "x\t{ a = \"1\" , } \t1 \nz 2\t\n", "x{a=\"1\",instance=\"i\",job=\"j\"} 1"},
	{"reserved label", "x{__a=\"1\",b=\"2\"} 1\n", "x{b=\"2\",instance=\"i\",job=\"j\"} 1"},
	{"quoted names", "# TYPE \"a.b\" gauge\n{\"a.b\",\"c.d\"=\"1\"} 1\n",
		"U__a_2e_b{U__c_2e_d=\"1\",instance=\"i\",job=\"j\"} 1"},
	{"values", "x NaN\ny +Inf\nz -inf\nu 1e-3\nv Infinity\nw .5\n",
		"w{instance=\"i\",job=\"j\"} 0.5"},
	{"our own", "# TYPE up counter\nup 7\nup{a=\"b\"} 8\n",
		"up{a=\"b\",instance=\"i\",job=\"j\"} 8"},
	{"empty", "", "scrape_samples_scraped{instance=\"i\",job=\"j\"} 0"},
	{"histogram",
		"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\n"
		"h_count 2\n",
		"h_bucket{instance=\"i\",job=\"j\",le=\"+Inf\"} 2"},
};

static void check_bodies(bool with_check)
{
	struct with_gateway *t = open_gateway(with_check);

	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		char fate[32];

		push_offer(&t->f,
			(struct push_frame){.job = "j", .instance = "i", .body = bodies[i].body});
		wait_for_end(t, i + 1);
		snprintf(fate, sizeof(fate), "%zu:delivered ", i + 1);
		if (!push_has_fate(&t->f, fate))
			fail_msg("%s: %s", bodies[i].name, buf_cstr(&t->f.fates));
		wait_until_shown(t, bodies[i].name, "j", "i");
		expect_line(t, bodies[i].name, "up{instance=\"i\",job=\"j\"} 1");
		expect_line(
			t, bodies[i].name, "push_failure_time_seconds{instance=\"i\",job=\"j\"} 0");
		if (bodies[i].line != NULL)
			expect_line(t, bodies[i].name, bodies[i].line);
	}
	close_gateway(t);
}

static void test_bodies_with_check(void **state)
{
	(void)state;
	check_bodies(true);
}

static void test_bodies_without_check(void **state)
{
	(void)state;
	check_bodies(false);
}

/* A name as it appears between quotes; what is not UTF-8 we replace. */
static void test_names(void **state)
{
	static const struct {
		const char *raw, *shown;
	} names[] = {
		{"a/b", "a/b"},
		{"a b", "a b"},
		{".", "."},
		{"..", ".."},
		{"a//b", "a//b"},
		{"*", "*"},
		{"a%2Fb", "a%2Fb"},
		{"a%", "a%"},
		{"a+b?c#d&e=f;g", "a+b?c#d&e=f;g"},
		{"k\xc3\xb6ln \xe2\x82\xac", "k\xc3\xb6ln \xe2\x82\xac"},
		{"a\nb\"c\\d", "a\\nb\\\"c\\\\d"},
		{"\x01", "\x01"},
		{"a\xff", "a\xef\xbf\xbd"},
		{"job@base64", "job@base64"},
		{"[::1]:9100", "[::1]:9100"},
	};
	struct with_gateway *t = open_gateway(true);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *line = xasprintf(
			"x{instance=\"%s\",job=\"%s\"} 1", names[i].shown, names[i].shown);

		push_offer(&t->f,
			(struct push_frame){
				.job = names[i].raw, .instance = names[i].raw, .body = "x 1\n"});
		wait_for_end(t, i + 1);
		assert_int_equal(read_metrics(t), 200);
		expect_line(t, names[i].raw, line);
		free(line);
	}
	/* And each is found again when it is to be deleted. */
	push_sweep(&t->f, 3600000);
	while (newest_target_count(t->f.newest) > 0)
		push_fixture_turn(&t->f);
	wait_until_empty(t);
	close_gateway(t);
}

/* What a Prometheus exposes under /federate. */
static void test_federation(void **state)
{
	static const char body[] = "# TYPE up untyped\n"
				   "up{instance=\"a:1\",job=\"node\"} 1 1700000000000\n"
				   "up{instance=\"b:1\",job=\"node\"} 0 1700000000000\n"
				   "# TYPE job:x:sum untyped\n"
				   "job:x:sum{job=\"node\",instance=\"\"} 3 1700000000000\n"
				   "# TYPE x untyped\n"
				   "x{cpu=\"0\",instance=\"a:1\",job=\"node\"} 4 1700000000000\n";
	struct with_gateway *t = open_gateway(true);

	(void)state;
	push_offer(&t->f, (struct push_frame){.job = "fed",
				  .instance = "prom",
				  .body = body,
				  .flags = WIRE_HONOR_LABELS});
	push_offer(&t->f, (struct push_frame){.instance = "i", .body = "# TYPE up gauge\nx 1\n"});
	wait_for_end(t, 2);
	assert_int_equal(read_metrics(t), 200);
	expect_line(t, "own", "up{instance=\"prom\",job=\"fed\"} 1");
	expect_line(t, "up of another", "up{instance=\"b:1\",job=\"node\"} 0");
	expect_line(t, "no instance", "job:x:sum{instance=\"\",job=\"node\"} 3");
	expect_line(t, "sample", "x{cpu=\"0\",instance=\"a:1\",job=\"node\"} 4");
	close_gateway(t);
}

/*
 * The gateway refuses what contradicts a type that came there after the survey; the refused group
 * does not freeze.
 */
static void test_refusal_leaves_a_minimal_group(void **state)
{
	struct with_gateway *t = open_gateway(true);

	(void)state;
	push(t, "b", "y 1\n");
	push_foreign(t, "other", "# TYPE x counter\nx 1\n");
	push(t, "b", "# TYPE x gauge\nx 1\ny 2\n");
	assert_true(push_has_fate(&t->f, "2:refused "));
	expect_line(t, "minimal", "up{instance=\"b\",job=\"app\"} 0");
	assert_null(strstr(buf_cstr(&t->metrics), "y{instance=\"b\""));
	close_gateway(t);
}

/* Two targets contradict each other: the first holds the family until it no longer exposes it. */
static void contradict(bool with_check)
{
	struct with_gateway *t = open_gateway(with_check);

	push(t, "a", "# TYPE x counter\nx 1\ny 1\n");
	push(t, "b", "# TYPE x gauge\nx 2\ny 2\n");
	expect_line(t, "holder", "x{instance=\"a\",job=\"app\"} 1");
	assert_null(strstr(buf_cstr(&t->metrics), "x{instance=\"b\""));
	expect_line(t, "the rest", "y{instance=\"b\",job=\"app\"} 2");
	assert_int_equal(push_count(&t->f, RM_LEFT_OUT, "sink", "type_conflict"), 1);
	push(t, "a", "y 1\n");
	push(t, "b", "# TYPE x gauge\nx 3\ny 2\n");
	expect_line(t, "the other", "x{instance=\"b\",job=\"app\"} 3");
	push(t, "b", "# TYPE x summary\nx_sum 3\nx_count 4\n");
	expect_line(t, "its own holder may change the type", "# TYPE x summary");
	push(t, "a", "# TYPE x_count counter\nx_count 1\nz 1\n");
	assert_null(strstr(buf_cstr(&t->metrics), "x_count{instance=\"a\""));
	expect_line(t, "the rest", "z{instance=\"a\",job=\"app\"} 1");
	push(t, "c", "x_sum 7\nx{quantile=\"0.5\"} 8\nx_count 9\n");
	expect_line(t, "untyped ones fit in", "x{instance=\"c\",job=\"app\",quantile=\"0.5\"} 8");
	expect_line(t, "untyped ones fit in", "x_count{instance=\"c\",job=\"app\"} 9");
	assert_null(strstr(buf_cstr(&t->f.fates), "refused"));
	close_gateway(t);
}

static void test_contradictions_with_check(void **state)
{
	(void)state;
	contradict(true);
}

static void test_contradictions_without_check(void **state)
{
	(void)state;
	contradict(false);
}

#define MARK_LONG_AGO "# TYPE " PUSH_MARK " gauge\n" PUSH_MARK " 1000\n"

static void push_before(struct with_gateway *t)
{
	push_foreign(t, "app/instance/old", MARK_LONG_AGO "# TYPE x counter\nx 1\n");
	push_foreign(t, "app/instance/older", MARK_LONG_AGO "# TYPE h histogram\nh_count 1\n");
}

/* What groups of a receiver before us show has its type from them until their targets speak. */
static void test_types_of_groups_of_before(void **state)
{
	struct with_gateway *t = open_prepared_gateway(false, push_before);
	char path[64];

	(void)state;
	log_to_file(path);
	push(t, "b", "# TYPE x gauge\nx 2\n# TYPE h_count gauge\nh_count 7\ny 2\n");
	assert_int_equal(lines_with(path, "family=x held_by=/metrics/job/app/instance/old "), 1);
	assert_null(strstr(buf_cstr(&t->metrics), "x{instance=\"b\""));
	assert_null(strstr(buf_cstr(&t->metrics), "h_count{instance=\"b\""));
	expect_line(t, "the rest", "y{instance=\"b\",job=\"app\"} 2");
	assert_int_equal(push_count(&t->f, RM_LEFT_OUT, "sink", "type_conflict"), 2);
	push(t, "old", "# TYPE x gauge\nx 3\n");
	expect_line(t, "its own holder may change the type", "x{instance=\"old\",job=\"app\"} 3");
	push(t, "older", "y 4\n");
	push(t, "b", "# TYPE x gauge\nx 5\n# TYPE h_count gauge\nh_count 7\n");
	expect_line(t, "the other", "x{instance=\"b\",job=\"app\"} 5");
	expect_line(t, "the other", "h_count{instance=\"b\",job=\"app\"} 7");
	close_gateway(t);
}

/* What the gateway says of itself, and what others push there, has its type from them. */
static void test_foreign_types(void **state)
{
	struct with_gateway *t = open_gateway(true);

	(void)state;
	push(t, "a",
		"go_goroutines 5\ngo_gc_duration_seconds{quantile=\"0\"} 1\n"
		"go_gc_duration_seconds_sum 2\ngo_gc_duration_seconds_count 3\n"
		"# TYPE process_max_fds counter\nprocess_max_fds 9\n"
		"go_gc_duration_seconds_bucket 4\n");
	expect_line(t, "gauge", "go_goroutines{instance=\"a\",job=\"app\"} 5");
	expect_line(t, "summary",
		"go_gc_duration_seconds{instance=\"a\",job=\"app\",quantile=\"0\"} 1");
	expect_line(t, "summary", "go_gc_duration_seconds_count{instance=\"a\",job=\"app\"} 3");
	expect_line(t, "no part", "go_gc_duration_seconds_bucket{instance=\"a\",job=\"app\"} 4");
	assert_null(strstr(buf_cstr(&t->metrics), "process_max_fds{instance=\"a\""));
	assert_int_equal(push_count(&t->f, RM_LEFT_OUT, "sink", "type_conflict"), 1);
	assert_int_equal(push_count(&t->f, RM_CHANGED, "sink", "retyped"), 2);
	close_gateway(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies_with_check),
		cmocka_unit_test(test_bodies_without_check),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_federation),
		cmocka_unit_test(test_refusal_leaves_a_minimal_group),
		cmocka_unit_test(test_contradictions_with_check),
		cmocka_unit_test(test_contradictions_without_check),
		cmocka_unit_test(test_types_of_groups_of_before),
		cmocka_unit_test(test_foreign_types),
	};

	if (access(PROGRAM, X_OK) != 0) {
		printf("not installed: %s\n", PROGRAM);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
