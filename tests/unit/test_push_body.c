/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies for the gateway. A case gives a target and what it exposes, and expects the groups, each
 * as "== <path>\n<body>". The four series of our own, which begin the first group, are written as
 * "<own N>" (N: samples scraped), the mark of the others as "<mark>".
 */
#include "receiver/sink/push_body.h"

#include "common/exposition/exposition.h"
#include "tests/unit/cpu_bound.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MARK                                                                                       \
	"# HELP " PUSH_MARK " When the scrape began that this group shows.\n"                      \
	"# TYPE " PUSH_MARK " gauge\n" PUSH_MARK " 1700000000.123\n"
#define OWN(up, duration)                                                                          \
	"# TYPE up gauge\nup " up "\n"                                                             \
	"# TYPE scrape_duration_seconds gauge\nscrape_duration_seconds " duration "\n"             \
	"# TYPE scrape_samples_scraped gauge\nscrape_samples_scraped "

struct body_case {
	const char *name;
	const char *publisher;
	const char *labels[6]; /* name, value, … */
	bool honor_labels, allow_loop, utf8_names;
	const char *exposition;
	const char *groups; /* NULL: PUSH_LOOP; "!…": PUSH_MALFORMED with that in the reason */
};

#define J "== /metrics/job/j/instance/i\n"

static const struct body_case cases[] = {
	{.name = "plain",
		.exposition = "# HELP a Help.\n# TYPE a counter\na 1\na{x=\"y\"} 2\n",
		.groups = J "<own 2># HELP a Help.\n# TYPE a counter\na 1\na{x=\"y\"} 2\n"},
	{.name = "empty", .exposition = "", .groups = J "<own 0>"},
	{.name = "no final newline", .exposition = "a 1\nb 2", .groups = J "<own 2>a 1\nb 2\n"},
	{.name = "comments and empty lines go",
		.exposition = "# x\na 1\n\n#HELP a bad \\d\n  \nb 2\n",
		.groups = J "<own 2>a 1\nb 2\n"},
	{.name = "timestamps",
		.exposition = "a 1 1700000000000\nb{c=\"d\"} 2\t5 \nc 3\n",
		.groups = J "<own 3>a 1\nb{c=\"d\"} 2\nc 3\n"},
	{.name = "blanks behind the value",
		.exposition = "a 1  \nb 2\t\n",
		.groups = J "<own 2>a 1\nb 2\n"},
	{.name = "metadata without samples goes",
		.exposition = "# HELP a Help.\n# TYPE a counter\n# TYPE b gauge\nb 1\n",
		.groups = J "<own 1># TYPE b gauge\nb 1\n"},
	{.name = "metadata behind its samples moves",
		.exposition = "a 1\nb 2\n# TYPE a counter\n# HELP a Late.\n",
		.groups = J "<own 2># HELP a Late.\n# TYPE a counter\na 1\nb 2\n"},
	{.name = "the first of repeated metadata counts",
		.exposition = "# TYPE a counter\n# TYPE a gauge\n# HELP a 1\n# HELP a 2\na 1\n",
		.groups = J "<own 1># HELP a 1\n# TYPE a counter\na 1\n"},
	{.name = "escapes in help",
		.exposition = "# HELP a C:\\dir\\n\\\\\\\na 1\n",
		.groups = J "<own 1># HELP a C:\\\\dir\\n\\\\\\\\\na 1\n"},
	{.name = "blanks in metadata",
		.exposition = "#  HELP  a\tHelp.\n# TYPE\ta counter\na 1\n",
		.groups = J "<own 1># HELP a Help.\n# TYPE\ta counter\na 1\n"},
	{.name = "parts of a histogram",
		.exposition = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 2\nh_count 1\n",
		.groups = J "<own 3># TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 2\n"
			    "h_count 1\n"},
	{.name = "a counter is no histogram",
		.exposition = "# TYPE h counter\nh_bucket 1\nh_sum 2\nh 3\n",
		.groups = J "<own 3>h_bucket 1\nh_sum 2\n# TYPE h counter\nh 3\n"},
	{.name = "a summary has no buckets",
		.exposition = "# TYPE s summary\ns_bucket 1\ns_sum 2\ns_count 3\n",
		.groups = J "<own 3>s_bucket 1\n# TYPE s summary\ns_sum 2\ns_count 3\n"},

	{.name = "le that is no number",
		.exposition =
			"# HELP h H\n# TYPE h histogram\nh_bucket{le=\"0x1p-2\"} 1\nh_sum 2\n",
		.groups = J "<own 2>h_bucket{le=\"0x1p-2\"} 1\nh_sum 2\n"},
	{.name = "no le",
		.exposition = "# TYPE h histogram\nh_bucket 1\n",
		.groups = J "<own 1>h_bucket 1\n"},
	{.name = "quantile that is no number",
		.exposition = "# TYPE s summary\ns{quantile=\"x\"} 1\ns_count 2\n",
		.groups = J "<own 2>s{quantile=\"x\"} 1\ns_count 2\n"},
	{.name = "quantile NaN",
		.exposition = "# TYPE s summary\ns{quantile=\"NaN\"} 1\n",
		.groups = J "<own 1>s{quantile=\"NaN\"} 1\n"},
	{.name = "counts that are none",
		.exposition = "# TYPE s summary\ns_count 1.5\n# TYPE h histogram\n"
			      "h_bucket{le=\"1\"} -1\n# TYPE n histogram\nn_count NaN\n",
		.groups = J "<own 3>s_count 1.5\nh_bucket{le=\"1\"} -1\nn_count NaN\n"},
	{.name = "a histogram with a sample of its own name",
		.exposition = "# TYPE h histogram\nh_sum 1\nh 2\n",
		.groups = J "<own 2>h_sum 1\nh 2\n"},
	{.name = "a part with a type of its own",
		.exposition = "# TYPE s summary\ns_sum 1\n# TYPE s_count counter\ns_count 2\n",
		.groups = J "<own 2>s_sum 1\n# TYPE s_count counter\ns_count 2\n"},
	{.name = "a part before its type",
		.exposition = "s_sum 1\n# TYPE s summary\ns_count 2\n",
		.groups = J "<own 2># TYPE s summary\ns_sum 1\ns_count 2\n"},
	{.name = "what the gateway sets itself",
		.exposition = "# TYPE push_time_seconds counter\npush_time_seconds 1\n"
			      "push_failure_time_seconds{x=\"y\"} 1\na 1\n",
		.groups = J "<own 3>a 1\n"},
	{.name = "UTF-8 names as they are",
		.utf8_names = true,
		.exposition = "# TYPE \"a.b\" counter\n{\"a.b\",\"c d\"=\"1\"} 1\n{\"a.b\"} 2\n"
			      "{\"plain\",\"job\"=\"x\"} 2\n# TYPE \"k.h\" histogram\n"
			      "{\"k.h_sum\"} 3\n",
		.groups = J "<own 4># TYPE \"a.b\" counter\n{\"a.b\",\"c d\"=\"1\"} 1\n"
			    "{\"a.b\"} 2\nplain{exported_job=\"x\"} 2\n"
			    "# TYPE \"k.h\" histogram\n{\"k.h_sum\"} 3\n"},

	{.name = "repeated series: the last",
		.exposition = "a 1\nb{x=\"1\",y=\"2\"} 1\na 2\nb{y=\"2\",x=\"1\"} 2\n",
		.groups = J "<own 4>a 2\nb{y=\"2\",x=\"1\"} 2\n"},
	{.name = "an empty label is none",
		.exposition = "a{x=\"\"} 1\na 2\n",
		.groups = J "<own 2>a 2\n"},
	{.name = "not repeated",
		.exposition = "a{x=\"yz\"} 1\na{xy=\"z\"} 2\na{x=\"zy\"} 3\n",
		.groups = J "<own 3>a{x=\"yz\"} 1\na{xy=\"z\"} 2\na{x=\"zy\"} 3\n"},
	{.name = "repeated once renamed",
		.exposition = "a{exported_job=\"x\",job=\"y\"} 1\n"
			      "a{exported_exported_job=\"y\",exported_job=\"x\"} 2\n",
		.groups = J "<own 2>a{exported_exported_job=\"y\",exported_job=\"x\"} 2\n"},
	{.name = "repeated in another spelling",
		.exposition = "a{x=\"\\d\"} 1\na{x=\"\\\\d\"} 2\n",
		.groups = J "<own 2>a{x=\"\\\\d\"} 2\n"},

	{.name = "our own series win",
		.exposition = "# TYPE up untyped\nup 7\nup{x=\"y\"} 8\nscrape_duration_seconds 9\n"
			      "scrape_samples_scraped 9\n",
		.groups = J "<own 4>up{x=\"y\"} 8\n"},
	{.name = "an empty job leaves up ours",
		.exposition = "up{job=\"\",instance=\"\"} 7\n",
		.groups = J "<own 1>"},
	{.name = "up of another",
		.exposition = "up{job=\"x\"} 7\n",
		.groups = J "<own 1>up{exported_job=\"x\"} 7\n"},

	{.name = "collisions are renamed",
		.exposition = "a{job=\"x\",b=\"c\",instance=\"y\"} 1 5\nb{job=\"\"} 2\n",
		.groups = J "<own 2>a{exported_job=\"x\",b=\"c\",exported_instance=\"y\"} 1\n"
			    "b{job=\"\"} 2\n"},
	{.name = "the publisher too",
		.publisher = "dc",
		.labels = {"env", "prod"},
		.exposition = "a{publisher=\"x\",env=\"y\"} 1\n",
		.groups = "== /metrics/job/j/instance/i/publisher/dc/env/prod\n"
			  "<own 1>a{exported_publisher=\"x\",exported_env=\"y\"} 1\n"},
	{.name = "the publisher only if it is part of the group",
		.exposition = "a{publisher=\"x\"} 1\n",
		.groups = J "<own 1>a{publisher=\"x\"} 1\n"},
	{.name = "the prefix is repeated",
		.exposition = "a{exported_job=\"1\",job=\"2\",exported_exported_job=\"3\"} 1\n",
		.groups = J "<own 1>a{exported_job=\"1\",exported_exported_exported_job=\"2\","
			    "exported_exported_job=\"3\"} 1\n"},
	{.name = "an empty exported label is free",
		.exposition = "a{exported_job=\"\",job=\"2\"} 1\n",
		.groups = J "<own 1>a{exported_job=\"2\"} 1\n"},
	{.name = "shortest names first",
		.labels = {"exported_job", "t"},
		.exposition = "a{exported_job=\"long\",job=\"short\"} 1\n",
		.groups = "== /metrics/job/j/instance/i/exported_job/t\n<own 1>"
			  "a{exported_exported_exported_job=\"long\","
			  "exported_exported_job=\"short\"} 1\n"},
	{.name = "escaped values survive renaming",
		.exposition = "a{job=\"a\\\"b\\\\c\\nd\\e\"} 1\n",
		.groups = J "<own 1>a{exported_job=\"a\\\"b\\\\c\\nd\\\\e\"} 1\n"},

	{.name = "unknown escapes, raw newlines",
		.exposition = "a{x=\"\\d\"} 1\nb{x=\"1\n2\"} 2\nc{x=\"\\\\\\\"\\n\"} 3\n",
		.groups = J "<own 3>a{x=\"\\\\d\"} 1\nb{x=\"1\\n2\"} 2\nc{x=\"\\\\\\\"\\n\"} 3\n"},
	{.name = "missing commas",
		.exposition = "a{x=\"1\"y=\"2\" z=\"3\"} 1\nb{x=\"1\",} 2\n",
		.groups = J "<own 2>a{x=\"1\",y=\"2\",z=\"3\"} 1\nb{x=\"1\",} 2\n"},
	{.name = "reserved label names are dropped",
		.exposition = "a{__x=\"1\",y=\"2\"} 1\nb{__x=\"1\"} 2\n",
		.groups = J "<own 2>a{y=\"2\"} 1\nb 2\n"},
	{.name = "quoted names",
		.exposition = "{\"a.b\",\"c d\"=\"1\"} 1\n{\"plain\",\"job\"=\"x\"} 2\n",
		.groups = J "<own 2>U__a_2e_b{U__c_20_d=\"1\"} 1\nplain{exported_job=\"x\"} 2\n"},
	{.name = "quoted metadata",
		.exposition = "# TYPE \"a_.b\" counter\n# HELP \"a_.b\" H\n{\"a_.b\"} 1\n"
			      "# TYPE \"k\xc3\xb6.h\" histogram\n{\"k\xc3\xb6.h_sum\"} 1\n",
		.groups = J "<own 2># HELP U__a___2e_b H\n# TYPE U__a___2e_b counter\n"
			    "U__a___2e_b 1\nU__k_f6__2e_h__sum 1\n"},

	{.name = "honoured: nothing exposed",
		.honor_labels = true,
		.exposition = "a{x=\"y\"} 1\n",
		.groups = J "<own 1>a{x=\"y\"} 1\n"},
	{.name = "honoured: the target's own",
		.honor_labels = true,
		.exposition = "a{job=\"j\"} 1\nup{instance=\"i\",job=\"j\"} 1\n",
		.groups = J "<own 2>a{job=\"j\"} 1\n"},
	{.name = "honoured: groups",
		.honor_labels = true,
		.exposition = "# TYPE up untyped\nup{instance=\"1\",job=\"x\"} 1 5\n"
			      "up{instance=\"2\",job=\"x\"} 0 5\n# TYPE a counter\n"
			      "a{instance=\"2\",job=\"x\",z=\"1\"} 3 5\na 4\n"
			      "a{instance=\"1\",job=\"x\"} 5\n",
		.groups = J "<own 5># TYPE a counter\na 4\n"
			    "== /metrics/job/x/instance/1\n<mark># TYPE up gauge\n"
			    "up{instance=\"1\",job=\"x\"} 1\n# TYPE a counter\n"
			    "a{instance=\"1\",job=\"x\"} 5\n"
			    "== /metrics/job/x/instance/2\n<mark># TYPE up gauge\n"
			    "up{instance=\"2\",job=\"x\"} 0\n# TYPE a counter\n"
			    "a{instance=\"2\",job=\"x\",z=\"1\"} 3\n"},
	{.name = "honoured: job alone",
		.honor_labels = true,
		.exposition = "a{job=\"x/y\"} 1\n",
		.groups = J "<own 1>== /metrics/job@base64/eC95/instance/i\n<mark>"
			    "a{job=\"x/y\"} 1\n"},
	{.name = "honoured: empty values",
		.honor_labels = true,
		.exposition = "a{job=\"x\",instance=\"\"} 1\nb{job=\"\"} 2\n",
		.groups = J "<own 2>b{job=\"\"} 2\n== /metrics/job/x/instance@base64/=\n<mark>"
			    "a{job=\"x\",instance=\"\"} 1\n"},
	{.name = "honoured: target labels",
		.publisher = "p",
		.labels = {"env", "e"},
		.honor_labels = true,
		.exposition = "a{env=\"x\"} 1\na{publisher=\"q\"} 2\n",
		.groups = "== /metrics/job/j/instance/i/publisher/p/env/e\n<own 2>"
			  "== /metrics/job/j/instance/i/publisher/p/env/x\n<mark>a{env=\"x\"} 1\n"
			  "== /metrics/job/j/instance/i/publisher/q/env/e\n<mark>"
			  "a{publisher=\"q\"} 2\n"},
	{.name = "honoured: repeated within a group",
		.honor_labels = true,
		.exposition = "a{job=\"x\"} 1\na 2\na{job=\"x\"} 3\na{job=\"j\"} 4\n",
		.groups = J "<own 4>a{job=\"j\"} 4\n== /metrics/job/x/instance/i\n<mark>"
			    "a{job=\"x\"} 3\n"},
	{.name = "honoured: escapes",
		.honor_labels = true,
		.exposition = "a{job=\"x\\\"y\",z=\"\\d\"} 1\n",
		.groups = J "<own 1>== /metrics/job/x%22y/instance/i\n<mark>a{z=\"\\\\d\"} 1\n"},

	{.name = "loop", .exposition = "a 1\n" PUSH_MARK "{x=\"y\"} 1\n"},
	{.name = "loop, honoured", .honor_labels = true, .exposition = PUSH_MARK "{job=\"x\"} 1\n"},
	{.name = "loop, quoted", .exposition = "{\"" PUSH_MARK "\"} 1\n"},
	{.name = "loop allowed",
		.allow_loop = true,
		.exposition =
			"# TYPE " PUSH_MARK " untyped\n" PUSH_MARK " 1\n" PUSH_MARK "{x=\"y\"} 2\n",
		.groups = J "<own 2>" PUSH_MARK "{x=\"y\"} 2\n"},
	{.name = "loop allowed, honoured",
		.allow_loop = true,
		.honor_labels = true,
		.exposition = PUSH_MARK "{job=\"x\"} 1\na{job=\"x\"} 1\n",
		.groups = J "<own 2>== /metrics/job/x/instance/i\n<mark>a{job=\"x\"} 1\n"},
	{.name = "the mark's metadata alone is no loop",
		.exposition = "# TYPE " PUSH_MARK " gauge\na 1\n",
		.groups = J "<own 1>a 1\n"},

	{.name = "malformed", .exposition = "a 1\nb c\n", .groups = "!2"},
	{.name = "malformed, honoured",
		.honor_labels = true,
		.exposition = "a{job=\"x\"} 1\nb{ 2\n",
		.groups = "!2"},
};

static void append_expected(struct buf *out, const char *groups)
{
	while (*groups != '\0') {
		char *end;

		if (strncmp(groups, "<own ", 5) == 0) {
			unsigned long samples = strtoul(groups + 5, &end, 10);

			buf_appendf(out, OWN("1", "0.25") "%lu\n" MARK, samples);
			groups = end + 1;
		} else if (strncmp(groups, "<mark>", 6) == 0) {
			buf_append_str(out, MARK);
			groups += 6;
		} else {
			buf_append_char(out, *groups++);
		}
	}
}

static void append_groups(struct buf *out, const struct push_body *body)
{
	for (size_t i = 0; i < body->count; i++) {
		buf_append_str(out, "== ");
		buf_append_slice(out, buf_slice(&body->groups[i].path));
		buf_append_char(out, '\n');
		buf_append_slice(out, buf_slice(&body->groups[i].body));
	}
}

static struct push_target target_of(const struct body_case *c, struct labels *labels)
{
	for (size_t k = 0; k < ARRAY_LEN(c->labels) && c->labels[k] != NULL; k += 2)
		labels_set(labels, slice_from(c->labels[k]), slice_from(c->labels[k + 1]));
	return (struct push_target){
		.job = SLICE("j"),
		.instance = SLICE("i"),
		.publisher = slice_from(c->publisher),
		.labels = labels,
		.time_ms = 1700000000123,
		.duration_s = 0.25,
		.up = true,
		.honor_labels = c->honor_labels,
		.allow_loop = c->allow_loop,
		.utf8_names = c->utf8_names,
	};
}

static void check(const struct body_case *c)
{
	struct labels labels = {0};
	struct push_target target = target_of(c, &labels);
	struct push_body body;
	struct err err = {""};
	struct buf got = {0}, expected = {0};
	/* On the heap and without a NUL, so that reading past its end is found out. */
	size_t len = strlen(c->exposition);
	char *copy = xmalloc(len + 1);
	enum push_verdict verdict;

	memcpy(copy, c->exposition, len);
	copy = realloc(copy, len > 0 ? len : 1);
	verdict = push_body_build(&body, (struct slice){copy, len}, &target, NULL, &err);
	if (c->groups == NULL) {
		if (verdict != PUSH_LOOP)
			fail_msg("%s: got verdict %d, expected a loop", c->name, verdict);
	} else if (c->groups[0] == '!') {
		if (verdict != PUSH_MALFORMED || strstr(err.text, c->groups + 1) == NULL)
			fail_msg("%s: got verdict %d (%s), expected malformed (%s)", c->name,
				verdict, err.text, c->groups + 1);
	} else {
		if (verdict != PUSH_OK)
			fail_msg("%s: got verdict %d: %s", c->name, verdict, err.text);
		append_groups(&got, &body);
		append_expected(&expected, c->groups);
		if (!slice_eq(buf_slice(&got), buf_slice(&expected)))
			fail_msg("%s: got\n%s\nexpected\n%s", c->name, buf_cstr(&got),
				buf_cstr(&expected));
	}
	push_body_fini(&body);
	labels_free(&labels);
	buf_free(&got);
	buf_free(&expected);
	free(copy);
}

static void test_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(&cases[i]);
}

static void test_counts(void **state)
{
	const struct body_case c = {.name = "counts"};
	struct labels labels = {0};
	struct push_target target = target_of(&c, &labels);
	struct push_body body;

	(void)state;
	assert_int_equal(push_body_build(&body,
				 SLICE("a{job=\"1\",instance=\"2\"} 1 5\na 2 5\na 3\nup 1\n"
				       "b{__x=\"1\",__y=\"2\"} 1\n"),
				 &target, NULL, NULL),
		PUSH_OK);
	assert_int_equal(body.samples, 5);
	assert_int_equal(body.timestamps_stripped, 2);
	assert_int_equal(body.labels_renamed, 2);
	assert_int_equal(body.labels_dropped, 2);
	assert_int_equal(body.samples_repeated, 1);
	assert_int_equal(body.samples_displaced, 1);
	push_body_fini(&body);
}

static void test_minimal(void **state)
{
	const struct body_case c = {.name = "minimal", .publisher = "dc"};
	struct labels labels = {0};
	struct push_target target = target_of(&c, &labels);
	struct push_body body;
	struct buf remains = {0};

	(void)state;
	push_body_minimal(&body, &target);
	assert_int_equal(body.count, 1);
	assert_string_equal(
		buf_cstr(&body.groups[0].path), "/metrics/job/j/instance/i/publisher/dc");
	assert_string_equal(buf_cstr(&body.groups[0].body), OWN("0", "0.25") "0\n" MARK);
	push_body_remains(&remains, &target, true);
	assert_string_equal(buf_cstr(&remains), OWN("0", "0.25") "0\n" MARK);
	push_body_remains(&remains, &target, false);
	assert_string_equal(buf_cstr(&remains), MARK);
	buf_free(&remains);
	push_body_fini(&body);
}

/* Many lines, families and series: tables grow, runs end and begin. */
static void test_many(void **state)
{
	const struct body_case c = {.name = "many"};
	struct labels labels = {0};
	struct push_target target = target_of(&c, &labels);
	struct push_body body;
	struct buf text = {0};
	struct err err = {""};

	(void)state;
	for (int i = 0; i < 20000; i++)
		buf_appendf(&text, "# TYPE m%d gauge\nm%d{a=\"%d\"} %d%s\n", i / 3, i / 3, i, i,
			i % 7 == 0 ? " 99" : "");
	assert_int_equal(push_body_build(&body, buf_slice(&text), &target, NULL, &err), PUSH_OK);
	assert_int_equal(body.samples, 20000);
	assert_int_equal(body.samples_repeated, 0);
	assert_int_equal(expo_count_samples(buf_slice(&body.groups[0].body), &err), 20004);
	push_body_fini(&body);
	buf_free(&text);
}

/* As many groups as may be, and one more. */
static void test_groups_are_bounded(void **state)
{
	const struct body_case c = {.name = "groups", .honor_labels = true};
	struct labels labels = {0};
	struct push_target target = target_of(&c, &labels);
	struct push_body body;
	struct buf text = {0};
	struct err err = {""};

	(void)state;
	for (int round = 0; round < 2; round++)
		for (int i = 1; i < PUSH_MAX_GROUPS; i++)
			buf_appendf(&text, "m%d{job=\"%d\"} 1\n", round, i);
	assert_int_equal(push_body_build(&body, buf_slice(&text), &target, NULL, &err), PUSH_OK);
	assert_int_equal(body.count, PUSH_MAX_GROUPS);
	assert_int_equal(expo_count_samples(buf_slice(&body.groups[77].body), &err), 3);
	push_body_fini(&body);
	buf_append_str(&text, "m{job=\"one more\"} 1\n");
	assert_int_equal(
		push_body_build(&body, buf_slice(&text), &target, NULL, &err), PUSH_MALFORMED);
	assert_non_null(strstr(err.text, "10000"));
	push_body_fini(&body);
	buf_clear(&text);
	buf_append_str(&text, "m{job=\"");
	for (int i = 0; i < PUSH_MAX_PATH_BYTES; i++)
		buf_append_char(&text, 'x');
	buf_append_str(&text, "\"} 1\n");
	assert_int_equal(
		push_body_build(&body, buf_slice(&text), &target, NULL, &err), PUSH_MALFORMED);
	assert_non_null(strstr(err.text, "path"));
	push_body_fini(&body);
	buf_free(&text);
}

/* The target's labels stand in each path. */
static void test_paths_are_bounded_together(void **state)
{
	const struct body_case c = {.name = "paths", .honor_labels = true};
	struct labels labels = {0};
	struct push_target target = target_of(&c, &labels);
	struct push_body body;
	struct buf text = {0}, value = {0};
	struct err err = {""};

	(void)state;
	for (int i = 0; i < 8000; i++)
		buf_append_char(&value, 'x');
	labels_set(&labels, SLICE("l"), buf_slice(&value));
	for (int i = 0; i < 3000; i++)
		buf_appendf(&text, "m{job=\"%d\"} 1\n", i);
	assert_int_equal(
		push_body_build(&body, buf_slice(&text), &target, NULL, &err), PUSH_MALFORMED);
	assert_non_null(strstr(err.text, "in all"));
	push_body_fini(&body);
	labels_free(&labels);
	buf_free(&text);
	buf_free(&value);
}

static double seconds_to_build(struct slice exposition, size_t label_bytes)
{
	const struct body_case c = {.name = "long labels", .honor_labels = true};
	struct labels labels = {0};
	struct push_target target = target_of(&c, &labels);
	struct push_body body;
	struct buf value = {0};
	struct err err = {""};
	double begin = cpu_seconds();

	for (size_t i = 0; i < label_bytes; i++)
		buf_append_char(&value, 'x');
	labels_set(&labels, SLICE("l"), buf_slice(&value));
	assert_int_equal(push_body_build(&body, exposition, &target, NULL, &err), PUSH_OK);
	assert_int_equal(body.count, 3);
	push_body_fini(&body);
	labels_free(&labels);
	buf_free(&value);
	return cpu_seconds() - begin;
}

/* Long labels of the target cost something for each group, not for each sample. */
static void test_long_labels_are_cheap(void **state)
{
	struct buf text = {0};
	double without, with;

	(void)state;
	for (int i = 0; i < 300000; i++)
		buf_appendf(&text, "m%d{job=\"%d\"} 1\n", i, i % 2);
	without = seconds_to_build(buf_slice(&text), 1);
	with = seconds_to_build(buf_slice(&text), 8000);
	print_message("%.3f s without, %.3f s with\n", without, with);
	assert_true(with < 2 * without + 0.1);
	buf_free(&text);
}

/* One text of 1 MB is not written 9000 times; each group keeps its samples and their type. */
static void test_repeated_help_is_bounded(void **state)
{
	const struct body_case c = {.name = "help", .honor_labels = true};
	struct labels labels = {0};
	struct push_target target = target_of(&c, &labels);
	struct push_body body;
	struct buf text = {0};
	struct err err = {""};
	size_t bytes = 0;

	(void)state;
	buf_append_str(&text, "# TYPE m counter\n# HELP m ");
	for (int i = 0; i < 1 << 20; i++)
		buf_append_char(&text, 'x');
	buf_append_char(&text, '\n');
	for (int i = 0; i < 9000; i++)
		buf_appendf(&text, "m{job=\"%d\"} 1\n", i);
	assert_int_equal(push_body_build(&body, buf_slice(&text), &target, NULL, &err), PUSH_OK);
	assert_int_equal(body.count, 9001);
	for (size_t i = 0; i < body.count; i++)
		bytes += body.groups[i].body.len;
	assert_in_range(bytes, PUSH_MAX_HELP_BYTES / 2, PUSH_MAX_HELP_BYTES + (8 << 20));
	assert_non_null(strstr(buf_cstr(&body.groups[1].body), "# HELP m "));
	assert_null(strstr(buf_cstr(&body.groups[9000].body), "# HELP m "));
	assert_non_null(strstr(buf_cstr(&body.groups[9000].body), "# TYPE m counter\nm"));
	push_body_fini(&body);
	buf_free(&text);
}

static void test_labels_of_a_sample_are_bounded(void **state)
{
	const struct body_case c = {.name = "labels"};
	struct labels labels = {0};
	struct push_target target = target_of(&c, &labels);
	struct push_body body;
	struct buf text = {0};
	struct err err = {""};

	(void)state;
	for (int i = 0; i < 3000; i++)
		buf_appendf(&text, "%sl%d=\"x\"", i == 0 ? "a{" : ",", i);
	buf_append_str(&text, "} 1\n");
	assert_int_equal(push_body_build(&body, buf_slice(&text), &target, NULL, &err), PUSH_OK);
	push_body_fini(&body);
	text.len -= strlen("} 1\n");
	buf_append_str(&text, ",job=\"x\"} 1\n");
	assert_int_equal(
		push_body_build(&body, buf_slice(&text), &target, NULL, &err), PUSH_MALFORMED);
	assert_non_null(strstr(err.text, "1024 labels"));
	push_body_fini(&body);
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_minimal),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_groups_are_bounded),
		cmocka_unit_test(test_paths_are_bounded_together),
		cmocka_unit_test(test_long_labels_are_cheap),
		cmocka_unit_test(test_repeated_help_is_bounded),
		cmocka_unit_test(test_labels_of_a_sample_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
