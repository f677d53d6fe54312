/* SPDX-License-Identifier: Apache-2.0 */
/* Scrapes as lines that carry the target's labels and a time. */
#include "receiver/sink/victoria_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define TARGET "job=\"j\",instance=\"i\\\"\",publisher=\"p\",env=\"e\""
#define REPORT(up, samples)                                                                        \
	"up{" TARGET "} " up " 1000\nscrape_duration_seconds{" TARGET "} 0.5 1000\n"               \
	"scrape_samples_scraped{" TARGET "} " samples " 1000\n"

enum { HONOR = 1, IGNORE = 2 };

static const struct {
	const char *name;
	struct slice exposition;
	unsigned flags;
	const char *expected; /* NULL: malformed */
} CASES[] = {
	{"nothing", SLICE(""), 0, REPORT("1", "0")},
	{"no labels", SLICE("# TYPE a counter\na 1\n"), 0,
		"a{" TARGET "} 1 1000\n" REPORT("1", "1")},
	{"no labels in braces", SLICE("a { , } 1"), 0, NULL},
	{"empty braces", SLICE("a { } 1"), 0, "a{" TARGET "} 1 1000\n" REPORT("1", "1")},
	{"its own", SLICE("a{x=\"y\\\\\",z=\"\"} 1\n"), 0,
		"a{" TARGET ",x=\"y\\\\\"} 1 1000\n" REPORT("1", "1")},
	{"a comma behind the last", SLICE("a{x=\"y\",} NaN\n"), 0,
		"a{" TARGET ",x=\"y\"} NaN 1000\n" REPORT("1", "1")},
	{"blanks", SLICE("a { x = \"y\" , z=\"1\" }  +Inf  \n"), 0,
		"a{" TARGET ",x=\"y\",z=\"1\"} +Inf 1000\n" REPORT("1", "1")},
	{"a time of its own", SLICE("a 1 5\n"), 0, "a{" TARGET "} 1 5\n" REPORT("1", "1")},
	{"not wanted", SLICE("a 1 5\n"), IGNORE, "a{" TARGET "} 1 1000\n" REPORT("1", "1")},
	{"a collision", SLICE("a{job=\"own\",x=\"y\"} 1\n"), 0,
		"a{" TARGET ",exported_job=\"own\",x=\"y\"} 1 1000\n" REPORT("1", "1")},
	{"an empty collision", SLICE("a{job=\"\",x=\"y\"} 1\n"), 0,
		"a{" TARGET ",x=\"y\"} 1 1000\n" REPORT("1", "1")},
	{"honoured", SLICE("a{job=\"own\",x=\"y\"} 1\n"), HONOR,
		"a{instance=\"i\\\"\",publisher=\"p\",env=\"e\",job=\"own\",x=\"y\"} 1 "
		"1000\n" REPORT("1", "1")},
	{"honoured and empty", SLICE("a{env=\"\"} 1\n"), HONOR,
		"a{job=\"j\",instance=\"i\\\"\",publisher=\"p\"} 1 1000\n" REPORT("1", "1")},
	{"honoured, to be written anew", SLICE("a{job=\"o\nup 1\",x=\"\\y\"} 1\n"), HONOR,
		"a{job=\"o\\nup 1\",instance=\"i\\\"\",publisher=\"p\",env=\"e\",x=\"\\\\y\"} 1 "
		"1000\n" REPORT("1", "1")},
	{"a value over several lines", SLICE("a{x=\"o\nup 1\"} 1\n"), 0,
		"a{" TARGET ",x=\"o\\nup 1\"} 1 1000\n" REPORT("1", "1")},
	{"quoted names", SLICE("{\"a.b\",\"x.y\"=\"z\"} 1\n"), 0,
		"U__a_2e_b{" TARGET ",U__x_2e_y=\"z\"} 1 1000\n" REPORT("1", "1")},
	{"what we say ourselves", SLICE("up 0\nup{x=\"y\"} 2\nup{job=\"o\"} 3\n"), 0,
		"up{" TARGET ",x=\"y\"} 2 1000\nup{" TARGET
		",exported_job=\"o\"} 3 1000\n" REPORT("1", "3")},
	{"malformed", SLICE("a 1\nb{ 2\n"), 0, NULL},
};

static void make_labels(struct push_labels *pushed, struct labels *labels)
{
	labels_set(labels, SLICE("env"), SLICE("e"));
	push_labels_init(pushed, SLICE("j"), SLICE("i\""), SLICE("p"), labels);
}

static void test_up(void **state)
{
	struct labels labels = {0};
	struct push_labels pushed;

	(void)state;
	make_labels(&pushed, &labels);
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		const struct victoria_scrape scrape = {.labels = &pushed,
			.time_ms = 1000,
			.duration_s = 0.5,
			.max_bytes = 1 << 20,
			.honor_labels = (CASES[i].flags & HONOR) != 0,
			.ignores_timestamps = (CASES[i].flags & IGNORE) != 0};
		struct victoria_tally tally = {0};
		struct buf out = {0};
		struct err err;
		int result;

		print_message("%s\n", CASES[i].name);
		buf_append_str(&out, "before\n");
		result = victoria_body_up(&out, &scrape, CASES[i].exposition, &tally, &err);
		assert_int_equal(result, CASES[i].expected == NULL ? -1 : 0);
		assert_string_equal(
			buf_cstr(&out) + 7, CASES[i].expected == NULL ? "" : CASES[i].expected);
		assert_int_equal(tally.samples > 0, CASES[i].expected != NULL);
		buf_free(&out);
	}
	labels_free(&labels);
}

/* A short line becomes as long as the target's labels are: a small scrape is not to take all
 * memory.
 */
static void test_labels_that_make_it_too_large(void **state)
{
	struct labels labels = {0};
	struct push_labels pushed;
	struct victoria_tally tally = {0};
	struct buf out = {0}, exposition = {0};
	struct victoria_scrape scrape = {.labels = &pushed, .time_ms = 1000};
	struct err err = {""};

	(void)state;
	make_labels(&pushed, &labels);
	for (int i = 0; i < 1000; i++)
		buf_append_str(&exposition, "a 1\n");
	scrape.max_bytes = 10 * exposition.len;
	assert_int_equal(victoria_body_up(&out, &scrape, buf_slice(&exposition), &tally, &err), -1);
	assert_int_equal(out.len, 0);
	assert_true(out.capacity < 4 * scrape.max_bytes);
	assert_int_equal(tally.samples, 0);
	assert_non_null(strstr(err.text, "labels"));
	scrape.max_bytes = 100 * exposition.len;
	assert_int_equal(victoria_body_up(&out, &scrape, buf_slice(&exposition), &tally, &err), 0);
	buf_free(&out);
	buf_free(&exposition);
	labels_free(&labels);
}

static void test_down(void **state)
{
	struct labels labels = {0};
	struct push_labels pushed;
	const struct victoria_scrape scrape = {
		.labels = &pushed, .time_ms = 1000, .duration_s = 0.5};
	struct victoria_tally tally = {0};
	struct buf out = {0};

	(void)state;
	make_labels(&pushed, &labels);
	victoria_body_down(&out, &scrape, &tally);
	assert_string_equal(buf_cstr(&out), REPORT("0", "0"));
	assert_int_equal(tally.samples, 3);
	buf_free(&out);
	labels_free(&labels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_up),
		cmocka_unit_test(test_labels_that_make_it_too_large),
		cmocka_unit_test(test_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
