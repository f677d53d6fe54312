/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of bodies on their way to remote write. A case gives a target and what it exposes
 * from one scrape to the next, at 1000, 2000, … milliseconds; it expects what a receiver reads,
 * without the five series of our own, in both versions of the protocol.
 */
#include "receiver/sink/write_request.h"
#include "tests/unit/cpu_bound.h"
#include "tests/unit/write_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define MAX_SCRAPES 4

struct scrape_case {
	const char *name;
	const char *labels[6]; /* name, value, … */
	bool honor_labels, ignore_timestamps, allow_loop;
	const char *bodies[MAX_SCRAPES];
	/* "!…": malformed, with that in the reason; "loop". */
	const char *read[MAX_SCRAPES];
	/* "samples added repeated displaced" of the last */
	const char *counts;
};

#define IJ "instance=i,job=j"

static const struct scrape_case cases[] = {
	{.name = "plain",
		.bodies = {"a 1\nb{x=\"y\"} 2\n"},
		.read = {"__name__=a," IJ " 1@1000\n__name__=b," IJ ",x=y 2@1000\n"},
		.counts = "2 2 0 0"},
	{.name = "the same again",
		.bodies = {"a 1\nb 2\n", "a 3\nb NaN\n"},
		.read = {"__name__=a," IJ " 1@1000\n__name__=b," IJ " 2@1000\n",
			"__name__=a," IJ " 3@2000\n__name__=b," IJ " NaN@2000\n"},
		.counts = "2 0 0 0"},
	{.name = "empty", .bodies = {""}, .read = {""}, .counts = "0 0 0 0"},
	{.name = "a series goes from the middle",
		.bodies = {"a 1\nb 2\nc 3\n", "a 1\nc 3\n", "a 1\nc 3\n"},
		.read = {NULL,
			"__name__=a," IJ " 1@2000\n__name__=c," IJ " 3@2000\n"
			"__name__=b," IJ " stale@2000\n",
			"__name__=a," IJ " 1@3000\n__name__=c," IJ " 3@3000\n"},
		.counts = "2 0 0 0"},
	{.name = "series go from the end",
		.bodies = {"a 1\nb 2\nc 3\n", "a 1\n"},
		.read = {NULL, "__name__=a," IJ " 1@2000\n__name__=b," IJ " stale@2000\n"
			       "__name__=c," IJ " stale@2000\n"},
		.counts = "1 0 0 0"},
	{.name = "all go",
		.bodies = {"a 1\n", "# nothing\n"},
		.read = {NULL, "__name__=a," IJ " stale@2000\n"},
		.counts = "0 0 0 0"},
	{.name = "a series comes and stays",
		.bodies = {"a 1\nc 3\n", "a 1\nb 2\nc 3\n", "a 1\nb 4\nc 3\n"},
		.read = {NULL, NULL,
			"__name__=a," IJ " 1@3000\n__name__=b," IJ " 4@3000\n"
			"__name__=c," IJ " 3@3000\n"},
		.counts = "3 0 0 0"},
	{.name = "a series comes",
		.bodies = {"a 1\nc 3\n", "a 1\nb 2\nc 3\n"},
		.read = {NULL, "__name__=a," IJ " 1@2000\n__name__=b," IJ " 2@2000\n"
			       "__name__=c," IJ " 3@2000\n"},
		.counts = "3 1 0 0"},
	{.name = "another order is no change",
		.bodies = {"a 1\nb 2\nc 3\n", "c 3\nb 2\na 1\n"},
		.read = {NULL, "__name__=c," IJ " 3@2000\n__name__=b," IJ " 2@2000\n"
			       "__name__=a," IJ " 1@2000\n"},
		.counts = "3 0 0 0"},
	{.name = "one goes, one comes",
		.bodies = {"a 1\nb{x=\"1\"} 2\nc 3\n", "a 1\nb{x=\"2\"} 2\nc 3\n"},
		.read = {NULL, "__name__=a," IJ " 1@2000\n__name__=b," IJ ",x=2 2@2000\n"
			       "__name__=c," IJ " 3@2000\n__name__=b," IJ ",x=1 stale@2000\n"},
		.counts = "3 1 0 0"},
	{.name = "twice the same series, the first counts",
		.bodies = {"a 1\na 2\nb 3\n", "a 4\na 5\nb 6\n"},
		.read = {"__name__=a," IJ " 1@1000\n__name__=b," IJ " 3@1000\n",
			"__name__=a," IJ " 4@2000\n__name__=b," IJ " 6@2000\n"},
		.counts = "3 0 1 0"},
	{.name = "twice the same series in other words",
		.bodies = {"a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\na{x=\"1\",y=\"2\",} 3\n",
			"a{y=\"2\",x=\"1\"} 2\na{x=\"1\",y=\"2\"} 1\n"},
		.read = {"__name__=a," IJ ",x=1,y=2 1@1000\n",
			"__name__=a," IJ ",x=1,y=2 2@2000\n"},
		.counts = "2 1 1 0"},
	{.name = "the same series in other words does not go",
		.bodies = {"a  1\nb{x=\"y\"} 2\n", "a 3\nb{x=\"y\",} 4\n"},
		.read = {NULL, "__name__=a," IJ " 3@2000\n__name__=b," IJ ",x=y 4@2000\n"},
		.counts = "2 2 0 0"},
	{.name = "an empty label is none",
		.bodies = {"a{x=\"\"} 1\na 2\n"},
		.read = {"__name__=a," IJ " 1@1000\n"},
		.counts = "2 1 1 0"},
	{.name = "labels are sorted by bytes, escapes resolved",
		.bodies = {"a{z=\"1\",Z=\"\\\"\\n\\\\\\d\",__x=\"2\"} 1\n"},
		.read = {"Z=\"\n\\\\d,__name__=a,__x=2," IJ ",z=1 1@1000\n"},
		.counts = "1 1 0 0"},
	{.name = "quoted names",
		.bodies = {"{\"a.b\",\"x y\"=\"1\"} 1\n"},
		.read = {"__name__=a.b," IJ ",x y=1 1@1000\n"},
		.counts = "1 1 0 0"},
	{.name = "labels of the target",
		.labels = {"env", "prod", "Zone", "a", "empty", ""},
		.bodies = {"a{dev=\"sda\",x=\"y\"} 1\n"},
		.read = {"Zone=a,__name__=a,dev=sda,env=prod," IJ ",x=y 1@1000\n"},
		.counts = "1 1 0 0"},
	{.name = "colliding labels are renamed",
		.labels = {"env", "prod"},
		.bodies = {"a{env=\"x\",job=\"k\",v=\"1\"} 1\n"},
		.read = {"__name__=a,env=prod,exported_env=x,exported_job=k," IJ ",v=1 1@1000\n"},
		.counts = "1 1 0 0"},
	{.name = "until the name is free",
		.bodies = {"a{job=\"k\",exported_job=\"l\",exported_exported_job=\"m\"} 1\n"},
		.read = {"__name__=a,exported_exported_exported_job=k,exported_exported_job=m,"
			 "exported_job=l," IJ " 1@1000\n"},
		.counts = "1 1 0 0"},
	{.name = "the shortest is renamed first",
		.labels = {"exported_job", "e"},
		.bodies = {"a{exported_job=\"l\",job=\"k\"} 1\n"},
		.read = {"__name__=a,exported_exported_exported_job=l,exported_exported_job=k,"
			 "exported_job=e," IJ " 1@1000\n"},
		.counts = "1 1 0 0"},
	{.name = "what is one series once it is renamed",
		.bodies = {"a{exported_job=\"k\"} 1\na{job=\"k\"} 2\n"},
		.read = {"__name__=a,exported_job=k," IJ " 1@1000\n"},
		.counts = "2 1 1 0"},
	{.name = "a colliding label without a value",
		.bodies = {"a{job=\"\"} 1\n"},
		.read = {"__name__=a," IJ " 1@1000\n"},
		.counts = "1 1 0 0"},
	{.name = "honoured labels",
		.honor_labels = true,
		.bodies = {"a{job=\"k\"} 1\na{instance=\"\"} 2\na 3\n"},
		.read = {"__name__=a,instance=i,job=k 1@1000\n__name__=a,job=j 2@1000\n"
			 "__name__=a," IJ " 3@1000\n"},
		.counts = "3 3 0 0"},
	{.name = "honoured labels that make one series of two",
		.honor_labels = true,
		.bodies = {"a{job=\"j\"} 1\na 2\nup{job=\"j\"} 3\n"},
		.read = {"__name__=a," IJ " 1@1000\n"},
		.counts = "3 1 1 1"},
	{.name = "series of ours",
		.bodies = {"up 5\nup{x=\"y\"} 6\nscrape_series_added{} 1\n"},
		.read = {"__name__=up," IJ ",x=y 6@1000\n"},
		.counts = "3 1 0 2"},
	{.name = "times of their own",
		.bodies = {"a 1 500\nb 2\n", "b 2\n"},
		.read = {"__name__=a," IJ " 1@500\n__name__=b," IJ " 2@1000\n",
			"__name__=b," IJ " 2@2000\n"},
		.counts = "1 0 0 0"},
	{.name = "times that are ignored",
		.ignore_timestamps = true,
		.bodies = {"a 1 500\nb 2\n", "b 2\n"},
		.read = {"__name__=a," IJ " 1@1000\n__name__=b," IJ " 2@1000\n",
			"__name__=b," IJ " 2@2000\n__name__=a," IJ " stale@2000\n"},
		.counts = "1 0 0 0"},
	{.name = "a time comes and goes",
		.bodies = {"a 1\n", "a 1 1500\n", "a 1\n", ""},
		.read = {NULL, "__name__=a," IJ " 1@1500\n", "__name__=a," IJ " 1@3000\n",
			"__name__=a," IJ " stale@4000\n"},
		.counts = "0 0 0 0"},
	{.name = "malformed", .bodies = {"a 1\nb 2\nc\n"}, .read = {"!line 3"}},
	{.name = "malformed behind a change",
		.bodies = {"a 1\nb 2\n", "b 2\nc 3\n}"},
		.read = {NULL, "!line 3"}},
	{.name = "a loop",
		.bodies = {"a 1\nprometheus_streams_scrape_timestamp_seconds{job=\"x\"} 1\n"},
		.read = {"loop"}},
	{.name = "a loop that is allowed",
		.allow_loop = true,
		.bodies = {"prometheus_streams_scrape_timestamp_seconds 1\n"},
		.read = {"__name__=prometheus_streams_scrape_timestamp_seconds," IJ " 1@1000\n"},
		.counts = "1 1 0 0"},
};

struct fixture {
	struct write_table *table;
	struct write_planner planner;
	struct write_request *request;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->table = write_table_new();
	f->request = write_request_new(f->table);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	write_request_free(f->request);
	write_planner_fini(&f->planner);
	assert_int_equal(write_table_count(f->table), WRITE_OWN_COUNT);
	write_table_free(f->table);
	free(f);
	return 0;
}

static void encode(struct fixture *f, const struct write_batch *batch, uint32_t from,
	enum write_version version, struct buf *lines)
{
	struct write_counts counts;
	struct buf body = {0};
	const char *error;

	write_request_begin(f->request, version);
	write_request_add(f->request, batch, from, write_batch_count(batch), 0);
	counts = write_request_end(f->request, &body);
	error = write_reader_body(buf_slice(&body), version == WRITE_V2, lines);
	if (error != NULL)
		fail_msg("%s", error);
	assert_int_equal(counts.samples, write_batch_count(batch) - from);
	buf_free(&body);
}

static void check_encoded(
	struct fixture *f, const struct scrape_case *c, size_t i, const struct write_batch *batch)
{
	for (enum write_version version = WRITE_V1; version <= WRITE_V2; version++) {
		struct buf lines = {0};

		encode(f, batch, WRITE_OWN_COUNT, version, &lines);
		if (c->read[i] != NULL && strcmp(buf_cstr(&lines), c->read[i]) != 0)
			fail_msg("%s, scrape %zu, version %d:\n%s\ninstead of\n%s", c->name, i + 1,
				version + 1, buf_cstr(&lines), c->read[i]);
		buf_free(&lines);
	}
}

static void check_counts(const struct scrape_case *c, const struct write_scrape *scrape)
{
	char counts[64];

	snprintf(counts, sizeof(counts), "%d %d %d %d", (int)scrape->samples, (int)scrape->added,
		(int)scrape->repeated, (int)scrape->displaced);
	if (strcmp(counts, c->counts) != 0)
		fail_msg("%s: %s instead of %s", c->name, counts, c->counts);
}

static void check_failed(
	const struct scrape_case *c, size_t i, enum write_verdict verdict, const struct err *err)
{
	const char *expected = c->read[i] == NULL ? "" : c->read[i];

	if (verdict == WRITE_LOOP && strcmp(expected, "loop") == 0)
		return;
	if (verdict != WRITE_MALFORMED || expected[0] != '!' ||
		strstr(err->text, expected + 1) == NULL)
		fail_msg("%s, scrape %zu: verdict %d, %s", c->name, i + 1, verdict, err->text);
}

static struct write_labels *labels_of(const struct scrape_case *c)
{
	struct labels extra = {0};
	struct write_labels *labels;

	for (size_t i = 0; i < ARRAY_LEN(c->labels) && c->labels[i] != NULL; i += 2)
		labels_set(&extra, slice_from(c->labels[i]), slice_from(c->labels[i + 1]));
	labels = write_labels_new(SLICE("j"), SLICE("i"), SLICE(""), &extra);
	labels_free(&extra);
	return labels;
}

static void run_case(struct fixture *f, const struct scrape_case *c)
{
	struct write_labels *labels = labels_of(c);
	struct write_list *former = NULL;

	for (size_t i = 0; i < MAX_SCRAPES && c->bodies[i] != NULL; i++) {
		struct write_scrape_options options = {
			.labels = labels,
			.time_ms = 1000 * (int64_t)(i + 1),
			.honor_labels = c->honor_labels,
			.honor_timestamps = !c->ignore_timestamps,
			.allow_loop = c->allow_loop,
		};
		struct err err = {""};
		struct write_scrape scrape;
		struct write_batch *batch;
		enum write_verdict verdict = write_scrape_read(&scrape, f->table, &f->planner,
			former, slice_from(c->bodies[i]), &options, &err);

		if (verdict != WRITE_OK) {
			check_failed(c, i, verdict, &err);
			break;
		}
		write_list_unref(f->table, former);
		former = write_list_ref(scrape.list);
		if (i + 1 == MAX_SCRAPES || c->bodies[i + 1] == NULL)
			check_counts(c, &scrape);
		batch = write_batch_new(labels, c->honor_labels, options.time_ms);
		batch->list = scrape.list;
		batch->values = scrape.values;
		batch->times = scrape.times;
		batch->gone = scrape.gone;
		check_encoded(f, c, i, batch);
		write_batch_free(batch, f->table);
	}
	write_list_unref(f->table, former);
	write_labels_unref(labels);
}

static void test_cases(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		run_case(*state, &cases[i]);
}

/* The five of our own, as values and as markers. */
static void test_reports(void **state)
{
	struct fixture *f = *state;
	struct labels none = {0};
	struct write_labels *labels = write_labels_new(SLICE("j"), SLICE("i"), SLICE("dc1"), &none);
	struct write_batch *batch = write_batch_new(labels, false, 7);
	struct buf lines = {0};

	batch->own[WRITE_OWN_UP] = 1;
	batch->own[WRITE_OWN_DURATION] = 0.25;
	encode(f, batch, 0, WRITE_V1, &lines);
	assert_string_equal(buf_cstr(&lines),
		"__name__=up," IJ ",publisher=dc1 1@7\n"
		"__name__=scrape_duration_seconds," IJ ",publisher=dc1 0.25@7\n"
		"__name__=scrape_samples_scraped," IJ ",publisher=dc1 stale@7\n"
		"__name__=scrape_samples_post_metric_relabeling," IJ ",publisher=dc1 stale@7\n"
		"__name__=scrape_series_added," IJ ",publisher=dc1 stale@7\n");
	buf_free(&lines);
	write_batch_free(batch, f->table);
	write_labels_unref(labels);
}

static struct write_scrape read_body(
	struct fixture *f, struct write_labels *labels, struct write_list *former, const char *body)
{
	struct write_scrape_options options = {.labels = labels, .time_ms = 1, .learns = true};
	struct write_scrape scrape;
	struct err err = {""};

	if (write_scrape_read(&scrape, f->table, &f->planner, former, slice_from(body), &options,
		    &err) != WRITE_OK)
		fail_msg("%s", err.text);
	return scrape;
}

static const char *families_of(struct fixture *f, struct buf *lines)
{
	struct write_family *family, *next;
	struct buf body = {0};

	write_request_begin(f->request, WRITE_V1);
	HASH_ITER (by_name, write_table_families(f->table)->by_name, family, next)
		if (!family->is_own)
			write_request_add_family(f->request, family);
	(void)write_request_end(f->request, &body);
	buf_clear(lines);
	assert_null(write_reader_body(buf_slice(&body), false, lines));
	buf_free(&body);
	return buf_cstr(lines);
}

static void test_families(void **state)
{
	struct fixture *f = *state;
	struct labels none = {0};
	struct write_labels *labels = write_labels_new(SLICE("j"), SLICE("i"), SLICE(""), &none);
	struct write_scrape first, second;
	struct buf lines = {0};

	first = read_body(f, labels, NULL,
		"# HELP a A\\\\b\\nc.\n# TYPE a counter\na 1\n# TYPE h histogram\nh_bucket 1\n"
		"h_sum 1\nh_count 1\n# TYPE nothing gauge\n# HELP s S\n# TYPE s summary\ns 1\n"
		"s_sum 1\ns_bucket 3\nuntyped 4\n# TYPE up counter\nup{x=\"y\"} 1\n");
	assert_string_equal(families_of(f, &lines), "# a 1 A\\b\nc.\n# h 3 \n# s 5 S\n");
	second = read_body(f, labels, first.list, "# HELP a New.\na 1\n");
	assert_string_equal(families_of(f, &lines), "# a 1 New.\n# h 3 \n# s 5 S\n");
	write_scrape_fini(&first, f->table);
	assert_string_equal(families_of(f, &lines), "# a 1 New.\n# h 3 \n# s 5 S\n");
	write_list_unref(f->table, second.gone);
	second.gone = NULL;
	assert_string_equal(families_of(f, &lines), "# a 1 New.\n");
	write_scrape_fini(&second, f->table);
	buf_free(&lines);
	write_labels_unref(labels);
}

/* Targets share their series; each is charged with its part. */
static void test_sharing(void **state)
{
	struct fixture *f = *state;
	struct labels none = {0};
	struct write_labels *labels = write_labels_new(SLICE("j"), SLICE("i"), SLICE(""), &none);
	struct write_scrape scrapes[10];
	size_t alone, shared = 0;

	for (size_t i = 0; i < ARRAY_LEN(scrapes); i++) {
		scrapes[i] = read_body(f, labels, NULL,
			"a{b=\"some label value\"} 1\na{b=\"another label value\"} 2\n");
		if (i == 0)
			alone = write_list_bytes(scrapes[0].list);
	}
	assert_int_equal(write_table_count(f->table), WRITE_OWN_COUNT + 2);
	for (size_t i = 0; i < ARRAY_LEN(scrapes); i++)
		shared += write_list_bytes(scrapes[i].list);
	assert_in_range(shared, alone, 2 * alone);
	for (size_t i = 0; i < ARRAY_LEN(scrapes); i++)
		write_scrape_fini(&scrapes[i], f->table);
	write_labels_unref(labels);
}

/* Samples above an age are left out. */
static void test_oldest(void **state)
{
	struct fixture *f = *state;
	struct labels none = {0};
	struct write_labels *labels = write_labels_new(SLICE("j"), SLICE("i"), SLICE(""), &none);
	struct write_batch *batch = write_batch_new(labels, false, 100);
	struct write_counts counts;
	struct buf body = {0};

	write_request_begin(f->request, WRITE_V1);
	write_request_add(f->request, batch, 0, 3, 101);
	write_request_add(f->request, batch, 3, 5, 100);
	counts = write_request_end(f->request, &body);
	assert_int_equal(counts.samples, 2);
	assert_int_equal(counts.markers, 2);
	assert_int_equal(counts.too_old, 3);
	assert_int_equal(counts.highest_ms, 100);
	buf_free(&body);
	write_batch_free(batch, f->table);
	write_labels_unref(labels);
}

/* Bodies made to be expensive. */
static void test_hostile(void **state)
{
	struct fixture *f = *state;
	struct labels none = {0};
	struct write_labels *labels = write_labels_new(SLICE("j"), SLICE("i"), SLICE(""), &none);
	double start = cpu_seconds();
	struct buf body = {0};
	struct write_scrape first, second;

	/* Many texts for one series. */
	for (int i = 0; i < 50000; i++)
		buf_appendf(&body, "a{l%d=\"\"} 1\n", i);
	first = read_body(f, labels, NULL, buf_cstr(&body));
	assert_int_equal(first.list->count, 1);
	/* All in another order. */
	buf_clear(&body);
	for (int i = 50000; i-- > 0;)
		buf_appendf(&body, "b{l=\"%d\"} 1\n", i);
	second = read_body(f, labels, first.list, buf_cstr(&body));
	write_scrape_fini(&first, f->table);
	buf_clear(&body);
	for (int i = 0; i < 50000; i++)
		buf_appendf(&body, "b{l=\"%d\"} 1\n", i);
	first = read_body(f, labels, second.list, buf_cstr(&body));
	assert_int_equal(first.list->count, 50000);
	assert_int_equal(first.added, 0);
	write_scrape_fini(&second, f->table);
	write_scrape_fini(&first, f->table);
	/* One sample with very many labels, two of which collide. */
	buf_clear(&body);
	buf_append_str(&body, "a{job=\"x\",instance=\"y\"");
	for (int i = 0; i < 50000; i++)
		buf_appendf(&body, ",l%d=\"1\"", i);
	buf_append_str(&body, "} 1\n");
	first = read_body(f, labels, NULL, buf_cstr(&body));
	assert_int_equal(first.list->count, 1);
	write_scrape_fini(&first, f->table);
	assert_true(cpu_seconds() - start < 1.0 * CPU_BOUND_FACTOR);
	buf_free(&body);
	write_labels_unref(labels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_families, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sharing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_oldest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
