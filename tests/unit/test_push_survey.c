/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a Push Gateway's /metrics says. A case's survey is written as one line per group,
 * "<path> <mark in ms>: <families>", and one per family, "<name> <type>", "foreign" behind it where
 * more than those groups expose it.
 */
#include "receiver/sink/push_survey.h"

#include "receiver/sink/push_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MARK "# TYPE " PUSH_MARK " gauge\n"

struct survey_case {
	const char *name;
	bool publisher_label;
	const char *exposition;
	const char *survey; /* "!…": refused with that in the reason */
};

static const struct survey_case cases[] = {
	{.name = "empty", .exposition = "", .survey = ""},
	{.name = "the gateway alone",
		.exposition =
			"# HELP go_goroutines H\n# TYPE go_goroutines gauge\ngo_goroutines 5\n"
			"# TYPE go_gc_duration_seconds summary\n"
			"go_gc_duration_seconds{quantile=\"0\"} 0\n"
			"go_gc_duration_seconds_sum 0\ngo_gc_duration_seconds_count 0\n",
		.survey = "go_goroutines gauge foreign\ngo_gc_duration_seconds summary foreign\n"},
	{.name = "a type without samples",
		.exposition = "# TYPE a counter\n",
		.survey = "a counter\n"},
	{.name = "samples without a type",
		.exposition = "a 1\na_count 1\n",
		.survey = "a untyped foreign\na_count untyped foreign\n"},
	{.name = "two groups and another pusher's",
		.exposition = "# TYPE a counter\na{instance=\"i\",job=\"j\"} 1\n"
			      "a{instance=\"k\",job=\"j\",x=\"y\"} 1\n"
			      "# TYPE b gauge\nb{instance=\"i\",job=\"j\"} 1\n"
			      "b{instance=\"\",job=\"other\"} 1\n" MARK PUSH_MARK
			      "{instance=\"i\",job=\"j\"} 1.7000000001235e+09\n" PUSH_MARK
			      "{instance=\"k\",job=\"j\"} 2\n",
		.survey = "/metrics/job/j/instance/i 1700000000124: a b " PUSH_MARK "\n"
			  "/metrics/job/j/instance/k 2000: a " PUSH_MARK "\n"
			  "a counter\nb gauge foreign\n" PUSH_MARK " gauge\n"},
	{.name = "the largest group that fits",
		.exposition = "a{env=\"p\",instance=\"i\",job=\"j\"} 1\n"
			      "b{env=\"q\",instance=\"i\",job=\"j\"} 1\n" MARK PUSH_MARK
			      "{instance=\"i\",job=\"j\"} 1\n" PUSH_MARK
			      "{env=\"p\",instance=\"i\",job=\"j\"} 2\n",
		.survey = "/metrics/job/j/instance/i 1000: b " PUSH_MARK "\n"
			  "/metrics/job/j/instance/i/env/p 2000: a " PUSH_MARK "\n"
			  "a untyped\nb untyped\n" PUSH_MARK " gauge\n"},
	{.name = "parts of histograms",
		.exposition = MARK PUSH_MARK
		"{instance=\"i\",job=\"j\"} 1\n"
		"# TYPE h histogram\nh_bucket{instance=\"i\",job=\"j\",le=\"+Inf\"} 1\n"
		"h_sum{instance=\"i\",job=\"j\"} 1\nh_count{instance=\"i\",job=\"j\"} 1\n",
		.survey = "/metrics/job/j/instance/i 1000: " PUSH_MARK " h\n" PUSH_MARK
			  " gauge\nh histogram\n"},
	{.name = "publisher first if it is ours",
		.publisher_label = true,
		.exposition = PUSH_MARK "{a=\"b\",instance=\"i/\",job=\"j\",publisher=\"p\"} 1\n",
		.survey = "/metrics/job/j/instance@base64/aS8/publisher/p/a/b 1000: " PUSH_MARK
			  "\n" PUSH_MARK " untyped\n"},
	{.name = "publisher in its place if it is the target's",
		.exposition = PUSH_MARK "{z=\"b\",instance=\"i\",job=\"j\",publisher=\"p\"} 1\n",
		.survey = "/metrics/job/j/instance/i/publisher/p/z/b 1000: " PUSH_MARK
			  "\n" PUSH_MARK " untyped\n"},
	{.name = "empty and escaped values",
		.exposition = "a{env=\"\",instance=\"\\\"\\n\",job=\"j\"} 1\n" PUSH_MARK
			      "{env=\"\",instance=\"\\\"\\n\",job=\"j\"} 1\n",
		.survey = "/metrics/job/j/instance@base64/Igo/env@base64/= 1000: a " PUSH_MARK
			  "\na untyped\n" PUSH_MARK " untyped\n"},
	{.name = "marks that are no times",
		.exposition = PUSH_MARK "{job=\"a\"} NaN\n" PUSH_MARK "{job=\"b\"} -5\n" PUSH_MARK
					"{job=\"c\"} 1e300\n" PUSH_MARK "{job=\"d\"} +Inf\n",
		.survey = "/metrics/job/a 0: " PUSH_MARK "\n/metrics/job/b 0: " PUSH_MARK
			  "\n/metrics/job/c 0: " PUSH_MARK "\n/metrics/job/d 0: " PUSH_MARK
			  "\n" PUSH_MARK " untyped\n"},
	{.name = "a mark without labels is no group",
		.exposition = PUSH_MARK " 1\na{job=\"j\"} 1\n",
		.survey = "/metrics 1000: \n" PUSH_MARK " untyped foreign\na untyped foreign\n"},
	{.name = "quoted names",
		.exposition =
			"# TYPE \"a.b\" counter\n{\"a.b\",\"c d\"=\"e\",job=\"j\"} 1\n" PUSH_MARK
			"{job=\"j\"} 1\n",
		.survey = "/metrics/job/j 1000: a.b " PUSH_MARK "\na.b counter\n" PUSH_MARK
			  " untyped\n"},
	{.name = "no exposition", .exposition = "<html>\n", .survey = "!line 1"},
	{.name = "broken behind marks",
		.exposition = PUSH_MARK "{job=\"j\"} 1\na{ 1\n",
		.survey = "!line 2"},
};

static void write_survey(const struct push_survey *s, bool publisher_label, struct buf *out)
{
	static const char *const types[] = {"untyped", "counter", "gauge", "histogram", "summary"};

	for (size_t i = 0; i < s->group_count; i++) {
		const struct push_survey_group *group = &s->groups[i];

		push_survey_path(out, group, publisher_label);
		buf_appendf(out, " %lld:", (long long)group->time_ms);
		for (size_t k = 0; k < group->family_count; k++)
			buf_appendf(out, " %s", s->families[group->families[k]].name);
		buf_append_str(out, group->family_count == 0 ? " \n" : "\n");
	}
	for (size_t i = 0; i < s->family_count; i++)
		buf_appendf(out, "%s %s%s\n", s->families[i].name, types[s->families[i].type],
			s->families[i].is_foreign ? " foreign" : "");
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct survey_case *c = &cases[i];
		struct push_survey survey;
		struct err err = {""};
		struct buf got = {0};

		if (push_survey_parse(&survey, slice_from(c->exposition), &err) < 0)
			buf_appendf(&got, "!%s", err.text);
		else
			write_survey(&survey, c->publisher_label, &got);
		if (c->survey[0] == '!'
				? strstr(buf_cstr(&got), c->survey + 1) == NULL || got.ptr[0] != '!'
				: strcmp(buf_cstr(&got), c->survey) != 0)
			fail_msg("%s: got\n%s\nexpected\n%s", c->name, buf_cstr(&got), c->survey);
		push_survey_fini(&survey);
		buf_free(&got);
	}
}

/* Thousands of groups, and more shapes of label sets than are told apart. */
static void test_many_groups(void **state)
{
	struct push_survey survey;
	struct buf text = {0};
	size_t foreign = 0, held = 0;

	(void)state;
	for (int i = 0; i < 20000; i++)
		buf_appendf(&text,
			"a%d{instance=\"i%d\",job=\"j\"} 1\n" PUSH_MARK
			"{instance=\"i%d\",job=\"j\"} %d\n",
			i % 10, i, i, i + 1);
	for (int i = 0; i < 100; i++)
		buf_appendf(&text,
			"b%d{job=\"j\",l%d=\"\"} 1\n" PUSH_MARK "{job=\"j\",l%d=\"\"} 1\n", i, i,
			i);
	assert_int_equal(push_survey_parse(&survey, buf_slice(&text), NULL), 0);
	assert_int_equal(survey.group_count, 20100);
	assert_int_equal(survey.groups[19999].time_ms, 20000000);
	for (size_t i = 0; i < survey.family_count; i++)
		foreign += survey.families[i].is_foreign;
	for (size_t i = 0; i < survey.group_count; i++)
		held += survey.groups[i].family_count;
	/* One shape of 64 is that of a. */
	assert_int_equal(foreign, 100 - 63 + 1);
	assert_int_equal(held, 2 * 20000 + 2 * 63);
	push_survey_fini(&survey);
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_many_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
