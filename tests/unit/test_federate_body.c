/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From expositions to what is held of them and to the answer that is written of it. Expectations on
 * collisions and on what a scrape adds are those of Prometheus.
 */
#include "receiver/sink/federate_answer.h"
#include "receiver/sink/federate_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TIME_MS 1700000000123

enum { HONOR = 1, IGNORE_TIMES = 2, DOWN = 4 };

/* Some targets, and what is held of them. */
struct held {
	struct families families;
	struct federate_builder builder;
	struct federate_series series[4];
	struct federate_repairs repairs;
	struct block *blocks[4];
	struct labels labels;
};

static struct block *build(struct held *held, size_t number, const char *text, int flags)
{
	static const char *const instances[] = {"a:1", "b:1", "c:1", "d:1"};
	struct federate_target target = {
		.time_ms = TIME_MS,
		.duration_s = 0.25,
		.honor_labels = (flags & HONOR) != 0,
		.ignore_timestamps = (flags & IGNORE_TIMES) != 0,
		.owner = &held->series[number],
		.former = held->blocks[number],
	};
	struct err err = {""};
	struct block *block;

	push_labels_init(&target.labels, SLICE("j"), slice_from(instances[number]), SLICE(""),
		&held->labels);
	if (flags & DOWN)
		block = federate_body_down(&held->builder, &target, &held->families);
	else
		block = federate_body_build(&held->builder, slice_from(text), &target,
			&held->families, &held->series[number], &held->repairs, &err);
	if (block == NULL) {
		assert_string_not_equal(err.text, "");
		return NULL;
	}
	block_unref(held->blocks[number]);
	held->blocks[number] = block;
	return block;
}

static void forget(struct held *held, size_t number)
{
	if (held->blocks[number] == NULL)
		return;
	block_retract(held->blocks[number], &held->series[number]);
	block_unref(held->blocks[number]);
	held->blocks[number] = NULL;
}

static struct answer *ask_for(struct held *held, const char *const *match, bool utf8_names)
{
	struct selectors selectors = {0};
	struct answer *answer;
	struct err err;

	for (; match != NULL && *match != NULL; match++)
		if (selectors_add(&selectors, slice_from(*match), &err) < 0)
			fail_msg("%s: %s", *match, err.text);
	answer = answer_new(&held->families, &selectors, ARRAY_LEN(held->blocks), utf8_names);
	for (size_t i = 0; i < ARRAY_LEN(held->blocks); i++)
		if (held->blocks[i] != NULL)
			answer_add(answer, held->blocks[i]);
	return answer;
}

static struct answer *ask(struct held *held, const char *const *match)
{
	return ask_for(held, match, true);
}

/* The whole answer in pieces of so many bytes, without what is added to every target. */
static void write_all(struct answer *answer, size_t piece, bool with_own, struct buf *out)
{
	struct buf all = {0};
	const char *line;

	while (answer_write(answer, &all, piece))
		;
	for (line = buf_cstr(&all); *line != '\0'; line = strchr(line, '\n') + 1) {
		const char *name = *line == '#' ? line + strlen("# HELP ") : line;
		size_t len = (size_t)(strchr(line, '\n') - line) + 1;

		if (!with_own && (strncmp(name, "up{", 3) == 0 || strncmp(name, "up ", 3) == 0 ||
					 strncmp(name, "scrape_", 7) == 0))
			continue;
		buf_append(out, line, len);
	}
	buf_free(&all);
	answer_free(answer);
}

static void expect(struct held *held, const char *name, const char *const *match, bool with_own,
	const char *expected)
{
	static const size_t pieces[] = {1, 100, 1 << 20};

	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		struct buf out = {0};

		write_all(ask(held, match), pieces[i], with_own, &out);
		if (strcmp(buf_cstr(&out), expected) != 0)
			fail_msg("%s, in pieces of %zu: got\n%s\nexpected\n%s", name, pieces[i],
				buf_cstr(&out), expected);
		buf_free(&out);
	}
}

/* The same lines, families in any order. */
static void expect_lines(
	struct held *held, const char *name, const char *const *match, bool with_own, char *lines)
{
	size_t len = strlen(lines);
	struct buf out = {0};

	write_all(ask(held, match), 100, with_own, &out);
	for (char *line = strtok(lines, "\n"); line != NULL; line = strtok(NULL, "\n"))
		if (strstr(buf_cstr(&out), line) == NULL)
			fail_msg("%s: %s is missing in\n%s", name, line, buf_cstr(&out));
	if (out.len != len)
		fail_msg("%s: more than expected:\n%s", name, buf_cstr(&out));
	buf_free(&out);
}

static void held_fini(struct held *held)
{
	for (size_t i = 0; i < ARRAY_LEN(held->blocks); i++) {
		forget(held, i);
		federate_series_fini(&held->series[i]);
	}
	assert_int_equal(held->families.contradicted, 0);
	families_fini(&held->families);
	federate_builder_fini(&held->builder);
	labels_free(&held->labels);
}

#define LABELS        "job=\"j\",instance=\"a:1\""
#define TIME          " 1700000000123\n"
#define UNTYPED(name) "# TYPE " name " untyped\n"

static const struct {
	const char *name, *text;
	int flags;
	const char *expected;
} bodies[] = {
	{"no labels", "a 1\n", 0, UNTYPED("a") "a{" LABELS "} 1" TIME},
	{"labels", "a{x=\"y\",z=\"\\\"\\\\\\n\"} 1e3\n", 0,
		UNTYPED("a") "a{" LABELS ",x=\"y\",z=\"\\\"\\\\\\n\"} 1e3" TIME},
	{"empty braces", "a{} 1\nb{ } 2\n", 0,
		UNTYPED("a") "a{" LABELS "} 1" TIME UNTYPED("b") "b{" LABELS "} 2" TIME},
	{"last comma", "a{x=\"y\",} 1\na{x=\"z\" ,} 2\n", 0,
		UNTYPED("a") "a{" LABELS ",x=\"y\"} 1" TIME "a{" LABELS ",x=\"z\"} 2" TIME},
	{"odd commas", "a{,x=\"y\",,z=\"w\"} 1\n", 0, NULL},
	{"missing comma", "a{x=\"y\"z=\"w\"} 1\n", 0,
		UNTYPED("a") "a{" LABELS ",x=\"y\",z=\"w\"} 1" TIME},
	{"values", "a NaN\nb +Inf\nc -Inf\nd -0\n", 0,
		UNTYPED("a") "a{" LABELS
			     "} NaN" TIME UNTYPED("b") "b{" LABELS "} +Inf" TIME UNTYPED(
				     "c") "c{" LABELS "} -Inf" TIME UNTYPED("d") "d{" LABELS
										 "} -0" TIME},
	{"metadata", "# HELP a Of \\\\ a.\n# TYPE a counter\na 1\n", 0,
		"# HELP a Of \\\\ a.\n# TYPE a counter\na{" LABELS "} 1" TIME},
	{"metadata of nothing", "# HELP a Of a.\n# TYPE a counter\n", 0, ""},
	{"metadata behind, and again",
		"a 1\n# HELP a Of a.\n# HELP a No.\n# TYPE a gauge\n# TYPE a counter\n", 0,
		"# HELP a Of a.\n# TYPE a gauge\na{" LABELS "} 1" TIME},
	{"families are put together", "a 1\nb 2\na{x=\"y\"} 3\n", 0,
		UNTYPED("a") "a{" LABELS "} 1" TIME "a{" LABELS
			     ",x=\"y\"} 3" TIME UNTYPED("b") "b{" LABELS "} 2" TIME},
	{"histogram",
		"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\n"
		"h_count 1\n",
		0,
		"# TYPE h histogram\nh_bucket{" LABELS ",le=\"1\"} 1" TIME "h_bucket{" LABELS
		",le=\"+Inf\"} 1" TIME "h_sum{" LABELS "} 1" TIME "h_count{" LABELS "} 1" TIME},
	{"summary", "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\ns_bucket 1\n", 0,
		"# TYPE s summary\ns{" LABELS ",quantile=\"0.5\"} 1" TIME "s_sum{" LABELS "} 1" TIME
		"s_count{" LABELS "} 1" TIME UNTYPED("s_bucket") "s_bucket{" LABELS "} 1" TIME},
	{"times", "a 1 1600000000000\nb 1 5\n", 0,
		UNTYPED("a") "a{" LABELS "} 1 1600000000000\n" UNTYPED("b") "b{" LABELS "} 1 5\n"},
	{"times ignored", "a 1 1600000000000\n", IGNORE_TIMES, UNTYPED("a") "a{" LABELS "} 1" TIME},
	{"collision", "a{job=\"x\",y=\"z\"} 1\n", 0,
		UNTYPED("a") "a{" LABELS ",exported_job=\"x\",y=\"z\"} 1" TIME},
	{"collision of the new name", "a{instance=\"x\",exported_instance=\"y\"} 1\n", 0,
		UNTYPED("a") "a{" LABELS
			     ",exported_exported_instance=\"x\",exported_instance=\"y\"} 1" TIME},
	{"empty collision", "a{job=\"\"} 1\n", 0, UNTYPED("a") "a{" LABELS "} 1" TIME},
	{"honoured", "a{job=\"x\",y=\"z\"} 1\nb 2\n", HONOR,
		UNTYPED("a") "a{instance=\"a:1\",job=\"x\",y=\"z\"} 1" TIME UNTYPED(
			"b") "b{" LABELS "} 2" TIME},
	{"honoured, empty", "a{instance=\"\",y=\"z\"} 1\n", HONOR,
		UNTYPED("a") "a{job=\"j\",instance=\"\",y=\"z\"} 1" TIME},
	{"honoured, written anew", "a{instance=\"\\x\"job=\"q\"} 1 5\n", HONOR,
		UNTYPED("a") "a{job=\"q\",instance=\"\\\\x\"} 1 5\n"},
	{"reserved labels stay", "a{__x=\"y\"} 1\n", 0,
		UNTYPED("a") "a{" LABELS ",__x=\"y\"} 1" TIME},
	{"quoted name", "{\"a.b\"} 1\n{\"a.b\",\"c d\"=\"e\"} 2\n{\"c\",x=\"y\"} 3\n", 0,
		UNTYPED("\"a.b\"") "{\"a.b\"," LABELS "} 1" TIME "{\"a.b\"," LABELS
				   ",\"c d\"=\"e\"} 2" TIME UNTYPED("c") "c{" LABELS
									 ",x=\"y\"} 3" TIME},
	{"UTF-8", "a{x=\"\xe2\x82\xac\"} 1\n", 0,
		UNTYPED("a") "a{" LABELS ",x=\"\xe2\x82\xac\"} 1" TIME},
	{"a newline in a value", "a{x=\"y\nz\"} 1\n", 0,
		UNTYPED("a") "a{" LABELS ",x=\"y\\nz\"} 1" TIME},
	{"a brace in a value", "a{x=\"}\"} 1\n", 0, UNTYPED("a") "a{" LABELS ",x=\"}\"} 1" TIME},
	{"a series again", "a{x=\"y\"} 1\nb 1\na{x=\"y\"} 2\na{x=\"y\"} 3\n", 0,
		UNTYPED("a") "a{" LABELS ",x=\"y\"} 1" TIME UNTYPED("b") "b{" LABELS "} 1" TIME},
	{"a series again, otherwise written", "a{x=\"y\",z=\"w\"} 1\na{z=\"w\",x=\"y\"} 2\n", 0,
		UNTYPED("a") "a{" LABELS ",x=\"y\",z=\"w\"} 1" TIME},
	{"malformed", "a 1\nb{ 2\n", 0, NULL},
};

static void test_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		struct held held = {0};
		struct block *block = build(&held, 0, bodies[i].text, bodies[i].flags);

		if ((block == NULL) != (bodies[i].expected == NULL))
			fail_msg("%s: %s", bodies[i].name, block == NULL ? "refused" : "accepted");
		if (block != NULL)
			expect(&held, bodies[i].name, NULL, false, bodies[i].expected);
		held_fini(&held);
	}
}

static void expect_own(struct held *held, const char *name, int samples, int added)
{
	static const char *const match[] = {"{__name__=~\"up|scrape_.*\"}", NULL};
	char expected[1024];

	snprintf(expected, sizeof(expected),
		"# HELP up Whether the target could be scraped.\n# TYPE up gauge\n"
		"up{" LABELS "} 1" TIME "# HELP scrape_duration_seconds How long the scrape took.\n"
		"# TYPE scrape_duration_seconds gauge\n"
		"scrape_duration_seconds{" LABELS "} 0.25" TIME
		"# HELP scrape_samples_scraped Samples that the target exposed.\n"
		"# TYPE scrape_samples_scraped gauge\n"
		"scrape_samples_scraped{" LABELS "} %d" TIME
		"# HELP scrape_samples_post_metric_relabeling Samples that remained after "
		"relabelling.\n"
		"# TYPE scrape_samples_post_metric_relabeling gauge\n"
		"scrape_samples_post_metric_relabeling{" LABELS "} %d" TIME
		"# HELP scrape_series_added Series that the scrape before did not have.\n"
		"# TYPE scrape_series_added gauge\n"
		"scrape_series_added{" LABELS "} %d" TIME,
		samples, samples, added);
	expect_lines(held, name, match, true, expected);
}

/* What a scrape adds; series are new if the last scrape that succeeded had not got them. */
static void test_own(void **state)
{
	static const struct {
		const char *name, *text;
		int flags, samples, added;
	} scrapes[] = {
		{"first", "a 1\nb 1\n", 0, 2, 2},
		{"same", "a 2\nb 2\n", 0, 2, 0},
		{"other order", "b 2\na 2\n", 0, 2, 0},
		{"one is new", "b 2\na 2\nc 1\n", 0, 3, 1},
		{"one is gone", "a 2\nc 1\n", 0, 2, 0},
		{"back again", "a 2\nb 2\nc 1\n", 0, 3, 1},
		{"repeated", "a 2\nb 2\nc 1\nc 2\n", 0, 4, 0},
		{"repeated still", "a 2\nb 2\nc 1\nc 2\n", 0, 4, 0},
		{"after it was down", "a 2\nb 2\nd 1\n", DOWN, 3, 1},
		{"those of our own count, and are left out", "a 1\nup 5\nscrape_series_added 7\n",
			0, 3, 2},
		{"nothing", "", 0, 0, 0},
	};
	struct held held = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(scrapes); i++) {
		if (scrapes[i].flags & DOWN)
			assert_non_null(build(&held, 0, "", DOWN));
		assert_non_null(build(&held, 0, scrapes[i].text, 0));
		expect_own(&held, scrapes[i].name, scrapes[i].samples, scrapes[i].added);
	}
	held_fini(&held);
}

static void test_repairs(void **state)
{
	struct held held = {0};

	(void)state;
	assert_non_null(build(&held, 0,
		"a{job=\"x\",instance=\"y\"} 1\nup 1\nup{x=\"y\"} 1\nb 1\nb 2\nb 3\n", 0));
	assert_int_equal(held.repairs.labels_renamed, 2);
	assert_int_equal(held.repairs.samples_displaced, 1);
	assert_int_equal(held.repairs.samples_repeated, 2);
	held_fini(&held);
}

static void test_honored_own(void **state)
{
	static const char *const match[] = {"up", NULL};
	struct held held = {0};

	(void)state;
	assert_non_null(
		build(&held, 0, "up{instance=\"a:1\"} 7\nup{instance=\"other\"} 8\n", HONOR));
	expect(&held, "up of others", match, true,
		"# HELP up Whether the target could be scraped.\n# TYPE up gauge\n"
		"up{job=\"j\",instance=\"other\"} 8" TIME "up{" LABELS "} 1" TIME);
	held_fini(&held);
}

static void test_down(void **state)
{
	struct held held = {0};

	(void)state;
	assert_non_null(build(&held, 0, "a 1\n", 0));
	assert_non_null(build(&held, 0, "", DOWN));
	expect(&held, "down", NULL, true,
		"# HELP up Whether the target could be scraped.\n# TYPE up gauge\nup{" LABELS
		"} 0" TIME);
	held_fini(&held);
}

static void test_malformed_changes_nothing(void **state)
{
	struct held held = {0};

	(void)state;
	assert_non_null(build(&held, 0, "# TYPE a counter\na 1\n", 0));
	assert_null(build(&held, 0, "# TYPE b counter\nb 1\nx{\n", 0));
	expect(&held, "as before", NULL, false, "# TYPE a counter\na{" LABELS "} 1" TIME);
	held_fini(&held);
}

#define LABELS_B "job=\"j\",instance=\"b:1\""

/* One HELP and TYPE for all targets. */
static void test_families(void **state)
{
	struct held held = {0};

	(void)state;
	assert_non_null(build(&held, 0, "# HELP a First.\n# TYPE a counter\na 1\n", 0));
	assert_non_null(build(&held, 1, "# HELP a Second.\na 2\n", 0));
	expect(&held, "who says nothing does not contradict", NULL, false,
		"# HELP a First.\n# TYPE a counter\na{" LABELS "} 1" TIME "a{" LABELS_B "} 2" TIME);

	assert_non_null(build(&held, 1, "# HELP a Second.\n# TYPE a gauge\na 2\n", 0));
	assert_int_equal(held.families.contradicted, 1);
	expect(&held, "contradiction", NULL, false,
		"# HELP a First.\n# TYPE a untyped\na{" LABELS "} 1" TIME "a{" LABELS_B "} 2" TIME);

	assert_non_null(build(&held, 0, "# HELP a New.\n# TYPE a gauge\na 1\n", 0));
	assert_int_equal(held.families.contradicted, 0);
	expect(&held, "they agree again", NULL, false,
		"# HELP a New.\n# TYPE a gauge\na{" LABELS "} 1" TIME "a{" LABELS_B "} 2" TIME);

	forget(&held, 0);
	expect(&held, "HELP stays while nobody says another", NULL, false,
		"# HELP a New.\n# TYPE a gauge\na{" LABELS_B "} 2" TIME);
	assert_non_null(build(&held, 1, "# HELP a Second.\n# TYPE a gauge\na 2\n", 0));
	expect(&held, "the next one's", NULL, false,
		"# HELP a Second.\n# TYPE a gauge\na{" LABELS_B "} 2" TIME);
	held_fini(&held);
}

/* What a strict reader would take for a second TYPE of the histogram is not written. */
/* What families take is charged to one of their targets at any time, or texts would be free. */
static void test_families_are_charged(void **state)
{
	struct held held = {0};
	struct buf text = {0};
	size_t alone, bytes;

	(void)state;
	alone = build(&held, 0, "a 1\n", 0)->bytes;
	assert_int_equal(build(&held, 0, "a 1\n", 0)->bytes, alone);
	build(&held, 1, "a 1\n", 0);
	buf_append_str(&text, "# HELP a ");
	for (int i = 0; i < 1000; i++)
		buf_append_char(&text, 'x');
	buf_append_str(&text, "\na 1\n");
	bytes = build(&held, 0, buf_cstr(&text), 0)->bytes;
	if (bytes < alone + 1000)
		fail_msg("HELP of 1000 bytes made %zu of %zu", bytes, alone);
	assert_int_equal(build(&held, 0, buf_cstr(&text), 0)->bytes, bytes);
	/* The text stays as long as the family does, and so with its other target. */
	forget(&held, 0);
	assert_int_equal(build(&held, 1, "a 1\n", 0)->bytes, bytes);
	forget(&held, 1);
	buf_free(&text);
	held_fini(&held);
}

static void test_parts_of_others(void **state)
{
	struct held held = {0};

	(void)state;
	assert_non_null(build(&held, 0, "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\n", 0));
	assert_non_null(build(&held, 1, "# TYPE h_bucket gauge\nh_bucket{le=\"1\"} 1\n", 0));
	expect(&held, "part", NULL, false,
		"# TYPE h histogram\nh_bucket{" LABELS ",le=\"+Inf\"} 1" TIME "h_bucket{" LABELS_B
		",le=\"1\"} 1" TIME);
	forget(&held, 0);
	expect(&held, "no part any more", NULL, false,
		"# TYPE h_bucket gauge\nh_bucket{" LABELS_B ",le=\"1\"} 1" TIME);
	held_fini(&held);
}

/* An answer goes on with what there was when it began. */
static void test_snapshot(void **state)
{
	char since[] = UNTYPED("f") "f{job=\"j\",instance=\"c:1\"} 1" TIME UNTYPED(
		"d") "d{" LABELS "} 1" TIME UNTYPED("e") "e{" LABELS "} 1" TIME;
	struct held held = {0};
	struct answer *answer;
	struct buf out = {0};

	(void)state;
	assert_non_null(build(&held, 0, "a 1\nb 1\nc 1\n", 0));
	assert_non_null(build(&held, 1, "a 2\nb 2\nc 2\n", 0));
	answer = ask(&held, NULL);
	assert_true(answer_write(answer, &out, 1));
	assert_non_null(build(&held, 0, "d 1\ne 1\n", 0));
	forget(&held, 1);
	assert_non_null(build(&held, 2, "f 1\n", 0));
	buf_clear(&out);
	write_all(answer, 1, false, &out);
	assert_non_null(strstr(buf_cstr(&out), "\nc{" LABELS_B "} 2" TIME));
	assert_non_null(strstr(buf_cstr(&out), "\nc{" LABELS "} 1" TIME));
	assert_null(strstr(buf_cstr(&out), "d{"));
	buf_free(&out);
	expect_lines(&held, "and the next has what came since", NULL, false, since);
	held_fini(&held);
}

/* One that is given up in the middle. */
static void test_abandoned(void **state)
{
	struct held held = {0};
	struct answer *answer;
	struct buf out = {0};

	(void)state;
	assert_non_null(build(&held, 0, "a 1\nb 1\n", 0));
	answer = ask(&held, NULL);
	forget(&held, 0);
	assert_true(answer_write(answer, &out, 1));
	answer_free(answer);
	buf_free(&out);
	held_fini(&held);
}

static const struct {
	const char *match[4];
	const char *expected; /* values of the samples that are taken */
} selections[] = {
	{{"a"}, "1 2 3 11"},
	{{"{__name__=~\"a|b\"}"}, "1 2 3 11 4"},
	{{"{instance=\"a:1\"}"}, "1 2 3 4 5 6"},
	{{"{instance=~\"b.*\",job=\"j\"}"}, "11"},
	{{"{instance!=\"a:1\",job=~\".+\"}"}, "11 7"},
	{{"a{x=\"1\"}"}, "2"},
	{{"a{x!=\"1\"}"}, "1 3 11"},
	{{"a{x=\"\"}"}, "1 11"},
	{{"a{x=~\".+\"}"}, "2 3"},
	{{"a{x=~\"1|2\",instance=\"a:1\"}"}, "2 3"},
	{{"a{x=\"1\"}", "b"}, "2 4"},
	{{"a{x=\"1\"}", "a{x=\"2\",job=\"no\"}", "{job=\"no\"}"}, "2"},
	{{"{job=\"no\"}"}, ""},
	{{"{nothing=\"no\"}"}, ""},
	{{"{exported_job=\"x\"}"}, "5"},
	{{"{job=\"x\"}"}, "7"},
	{{"{job=\"x\",instance=\"b:1\"}"}, "7"},
	{{"{\"utf8.name\"}"}, "6"},
	{{"{\"la bel\"=\"\xe2\x82\xac\\n\"}"}, "6"},
	{{"{__name__=~\".*\\\\..*\"}"}, "6"},
};

static void append_values(const char *text, struct buf *out)
{
	for (const char *at = text; (at = strstr(at, "} ")) != NULL;) {
		at += 2;
		buf_append_str(out, out->len > 0 ? " " : "");
		buf_append(out, at, strcspn(at, " "));
	}
}

static void test_selections(void **state)
{
	struct held held = {0};

	(void)state;
	assert_non_null(build(&held, 0,
		"a 1\na{x=\"1\"} 2\na{x=\"2\"} 3\nb{y=\"1\"} 4\nc{job=\"x\"} 5\n"
		"{\"utf8.name\",\"la bel\"=\"\xe2\x82\xac\\n\"} 6\n",
		0));
	assert_non_null(build(&held, 1, "a 11\nd{job=\"x\"} 7\n", HONOR));
	for (size_t i = 0; i < ARRAY_LEN(selections); i++) {
		struct buf out = {0}, values = {0};

		write_all(ask(&held, selections[i].match), 1 << 20, false, &out);
		append_values(buf_cstr(&out), &values);
		if (strcmp(buf_cstr(&values), selections[i].expected) != 0)
			fail_msg("%s: got %s, expected %s", selections[i].match[0],
				buf_cstr(&values), selections[i].expected);
		buf_free(&values);
		buf_free(&out);
	}
	held_fini(&held);
}

/* What an answer looks at in one go is bounded, however little of it is taken. */
static void test_work_is_bounded(void **state)
{
	static const char *const match[] = {"{x=\"none\"}", NULL};
	struct held held = {0};
	struct buf body = {0}, out = {0};
	struct answer *answer;
	size_t pieces = 0;

	(void)state;
	for (size_t i = 0; i < 200000; i++)
		buf_appendf(&body, "a{x=\"%zu\"} 1\n", i);
	assert_non_null(build(&held, 0, buf_cstr(&body), 0));
	answer = ask(&held, match);
	while (answer_write(answer, &out, 1 << 20))
		pieces++;
	assert_true(pieces >= 10);
	assert_int_equal(out.len, 0);
	assert_int_equal(answer_samples(answer), 0);
	answer_free(answer);
	buf_free(&body);
	held_fini(&held);
}

/* Nor does an expression that takes long, though not so long as to be given up, hold up others. */
static void test_time_is_bounded(void **state)
{
	static const char *const match[] = {"{x=~\"(?:a|a)*[bc]\"}", NULL};
	struct held held = {0};
	struct buf body = {0}, out = {0};
	struct answer *answer;
	size_t pieces = 0;

	(void)state;
	for (size_t i = 0; i < 2000; i++)
		buf_appendf(&body, "a{x=\"aaaaaaaaaaa%zu\"} 1\n", i);
	assert_non_null(build(&held, 0, buf_cstr(&body), 0));
	answer = ask(&held, match);
	while (answer_write(answer, &out, 1 << 20))
		pieces++;
	assert_int_equal(answer_limits_hit(answer), 0);
	if (pieces < 3)
		fail_msg("in %zu pieces", pieces);
	assert_int_equal(answer_samples(answer), 0);
	answer_free(answer);
	buf_free(&body);
	held_fini(&held);
}

/* For who takes no names in quotes. */
static void test_names_are_escaped(void **state)
{
	static const struct {
		const char *name, *text;
		int flags;
		const char *expected;
	} cases[] = {
		{"name", "# HELP \"a.b\" Of it.\n# TYPE \"a.b\" gauge\n{\"a.b\",x=\"y\"} 1\n", 0,
			"# HELP U__a_2e_b Of it.\n# TYPE U__a_2e_b gauge\nU__a_2e_b{" LABELS
			",x=\"y\"} 1" TIME},
		{"name without labels", "{\"a.b\"} 1 5\n", 0,
			UNTYPED("U__a_2e_b") "U__a_2e_b{" LABELS "} 1 5\n"},
		{"labels", "a{\"c d\"=\"e,}\",f=\"\\\"\"} 1\na{f=\"g\"} 2\n", 0,
			UNTYPED("a") "a{" LABELS ",U__c_20_d=\"e,}\",f=\"\\\"\"} 1" TIME "a{" LABELS
				     ",f=\"g\"} 2" TIME},
		{"honoured", "a{\"c d\"=\"e\",job=\"x\"} 1\n", HONOR,
			UNTYPED("a") "a{job=\"x\",instance=\"a:1\",U__c_20_d=\"e\"} 1" TIME},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct held held = {0};
		struct buf out = {0};

		assert_non_null(build(&held, 0, cases[i].text, cases[i].flags));
		write_all(ask_for(&held, NULL, false), 10, false, &out);
		if (strcmp(buf_cstr(&out), cases[i].expected) != 0)
			fail_msg("%s: got\n%s\nexpected\n%s", cases[i].name, buf_cstr(&out),
				cases[i].expected);
		buf_free(&out);
		held_fini(&held);
	}
}

static void test_target_labels(void **state)
{
	struct held held = {0};

	(void)state;
	labels_set(&held.labels, SLICE("env"), SLICE("a\"b\\c\nd"));
	assert_non_null(build(&held, 0, "a{env=\"x\"} 1\n", 0));
	expect(&held, "escaped", NULL, false,
		UNTYPED("a") "a{" LABELS ",env=\"a\\\"b\\\\c\\nd\",exported_env=\"x\"} 1" TIME);
	held_fini(&held);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_repairs),
		cmocka_unit_test(test_honored_own),
		cmocka_unit_test(test_down),
		cmocka_unit_test(test_malformed_changes_nothing),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_families_are_charged),
		cmocka_unit_test(test_parts_of_others),
		cmocka_unit_test(test_snapshot),
		cmocka_unit_test(test_abandoned),
		cmocka_unit_test(test_selections),
		cmocka_unit_test(test_work_is_bounded),
		cmocka_unit_test(test_time_is_bounded),
		cmocka_unit_test(test_names_are_escaped),
		cmocka_unit_test(test_target_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
