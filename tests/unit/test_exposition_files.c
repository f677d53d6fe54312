/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exposition parser on whole files: recorded scrapes in tests/data/exposition, cut short at
 * every length too, and the files of the corpus that the variable CORPUS names (default
 * ../shared/corpus), whose acceptance.tsv says what Prometheus makes of each.
 */
#include "common/exposition/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

static bool read_file(const char *path, struct buf *content)
{
	FILE *file = fopen(path, "rb");
	size_t got;

	buf_clear(content);
	if (file == NULL)
		return false;
	do {
		got = fread(buf_reserve(content, 1 << 16), 1, 1 << 16, file);
		content->len += got;
	} while (got > 0);
	fclose(file);
	return true;
}

static const struct {
	const char *path;
	int64_t samples;
} recorded[] = {
	{"tests/data/exposition/federate.1.prom", 576},
	{"tests/data/exposition/node_exporter.1.prom", 507},
	{"tests/data/exposition/node_exporter.2.prom", 507},
	{"tests/data/exposition/prometheus.1.prom", 327},
	{"tests/data/exposition/prometheus.2.prom", 351},
	{"tests/data/exposition/pushgateway.1.prom", 59},
	{"tests/data/exposition/pushgateway.2.prom", 59},
};

static void check_same(const char *what, struct slice a, struct slice b, size_t line)
{
	if (a.len != b.len || (a.len > 0 && a.ptr != b.ptr))
		fail_msg("line %zu, %s: \"%.*s\"; the portable engine says \"%.*s\"", line, what,
			SLICE_FMT(a), SLICE_FMT(b));
}

/* Reads the body by the engine and by the portable one; returns the samples, or -1. */
static int64_t compare_with_portable(struct slice body, enum expo_engine engine)
{
	struct expo_parser fast, portable;
	struct expo_line a, b;
	struct err err_a = {""}, err_b = {""};
	int64_t samples = 0;

	assert_true(expo_init_engine(&portable, body, EXPO_PORTABLE));
	if (!expo_init_engine(&fast, body, engine))
		assert_true(expo_init_engine(&fast, body, EXPO_PORTABLE));
	for (;;) {
		enum expo_kind kind = expo_next(&portable, &b, &err_b);

		assert_int_equal(expo_next(&fast, &a, &err_a), kind);
		assert_string_equal(err_a.text, err_b.text);
		assert_int_equal(fast.at, portable.at);
		assert_int_equal(fast.line, portable.line);
		if (kind == EXPO_END || kind == EXPO_ERROR)
			return kind == EXPO_END ? samples : -1;
		samples += kind == EXPO_SAMPLE;
		assert_int_equal(a.type, b.type);
		assert_int_equal(a.name_quoted, b.name_quoted);
		check_same("name", a.name, b.name, fast.line);
		check_same("labels", a.labels, b.labels, fast.line);
		check_same("value", a.value, b.value, fast.line);
		check_same("timestamp", a.timestamp, b.timestamp, fast.line);
		check_same("text", a.text, b.text, fast.line);
		check_same("whole", a.whole, b.whole, fast.line);
	}
}

static void test_recorded_scrapes(void **state)
{
	struct buf body = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(recorded); i++) {
		print_message("%s\n", recorded[i].path);
		assert_true(read_file(recorded[i].path, &body));
		for (int engine = EXPO_PORTABLE; engine <= EXPO_AVX2; engine++)
			assert_int_equal(
				compare_with_portable(buf_slice(&body), (enum expo_engine)engine),
				recorded[i].samples);
		assert_int_equal(expo_count_samples(buf_slice(&body), NULL), recorded[i].samples);
	}
	buf_free(&body);
}

/* A scrape cut anywhere gives the same by every engine, each in a block of exactly its size. */
static void test_cut_scrapes(void **state)
{
	static const size_t from[] = {0, 20000, 40000};
	struct buf body = {0};

	(void)state;
	assert_true(read_file("tests/data/exposition/federate.1.prom", &body));
	for (size_t i = 0; i < ARRAY_LEN(from); i++)
		for (size_t len = 0; len < 700; len++) {
			char *exact = xmalloc(len + 1);
			char *cut = exact + 1; /* not aligned either */

			memcpy(cut, body.ptr + from[i], len);
			for (int engine = EXPO_SSSE3; engine <= EXPO_AVX2; engine++)
				(void)compare_with_portable(
					(struct slice){cut, len}, (enum expo_engine)engine);
			free(exact);
		}
	buf_free(&body);
}

enum {
	FIELD_FILE,
	FIELD_SERVED,
	FIELD_PROMETHEUS = 7,
	FIELD_SAMPLES,
	FIELD_QUOTED_SAMPLES = 12,
	FIELD_VERDICT,
	FIELDS
};

static size_t split_row(char *row, char *fields[FIELDS])
{
	size_t count = 0;

	row[strcspn(row, "\n")] = '\0';
	while (row != NULL && count < FIELDS)
		fields[count++] = strsep(&row, "\t");
	return count;
}

/* Whether our verdict is the row's; prints the row if not. */
static bool check_row(const char *folder, char *fields[FIELDS], struct buf *body)
{
	/* Prometheus 2 reads no quoted names: where it refuses what is accepted, they are the
	 * reason. */
	bool old_reads = strcmp(fields[FIELD_PROMETHEUS], "ok") == 0;
	bool accept = strcmp(fields[FIELD_VERDICT], "accept") == 0;
	const char *samples = fields[old_reads ? FIELD_SAMPLES : FIELD_QUOTED_SAMPLES];
	int64_t wanted = accept ? strtoll(samples, NULL, 10) : -1;
	bool right = true;
	char *path = xasprintf("%s/%s", folder, fields[FIELD_FILE]);

	assert_true(read_file(path, body));
	for (int engine = EXPO_PORTABLE; engine <= EXPO_AVX2; engine++) {
		int64_t got = compare_with_portable(buf_slice(body), (enum expo_engine)engine);

		if (got != wanted)
			print_message("%s: %lld samples, expected %lld\n", path, (long long)got,
				(long long)wanted);
		right = right && got == wanted;
	}
	free(path);
	return right;
}

static void test_corpus(void **state)
{
	const char *folder = getenv("CORPUS") == NULL ? "../shared/corpus" : getenv("CORPUS");
	char *path = xasprintf("%s/acceptance.tsv", folder), *row = NULL, *fields[FIELDS];
	FILE *table = fopen(path, "r");
	struct buf body = {0};
	size_t room = 0, rows = 0, wrong = 0;

	(void)state;
	free(path);
	if (table == NULL) {
		print_message("corpus absent: no %s/acceptance.tsv; set CORPUS\n", folder);
		skip();
	}
	while (getline(&row, &room, table) > 0) {
		if (split_row(row, fields) < FIELDS || strcmp(fields[FIELD_SERVED], "text") != 0)
			continue;
		rows++;
		wrong += !check_row(folder, fields, &body);
	}
	print_message("corpus: %zu text files, %zu not as Prometheus judges them\n", rows, wrong);
	assert_true(rows > 0);
	assert_int_equal(wrong, 0);
	free(row);
	buf_free(&body);
	fclose(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded_scrapes),
		cmocka_unit_test(test_cut_scrapes),
		cmocka_unit_test(test_corpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
