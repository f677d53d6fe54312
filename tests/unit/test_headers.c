/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of a scrape as they are written: what is read back is the same, defaults are left out,
 * and values are made fit for a header or refused.
 */
#include "tests/unit/header_table.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SUBJECT SLICE("t.scrape.p.j.i.0")

static struct wire_headers build(const char *what, const struct wire_scrape *scrape)
{
	struct wire_headers headers;
	struct err err = {""};

	if (wire_headers_build(&headers, SUBJECT, scrape, &err) < 0)
		fail_msg("%s: %s", what, err.text);
	return headers;
}

static struct wire_scrape parse(const char *what, struct header_table *table)
{
	struct wire_scrape scrape;
	struct err err = {""};

	if (wire_headers_parse(&scrape, header_table_lookup, table, &err) < 0)
		fail_msg("%s: %s", what, err.text);
	return scrape;
}

static const char *value_of(const struct wire_headers *headers, const char *name)
{
	for (size_t i = 0; i < headers->count; i++)
		if (strcmp(headers->items[i].name, name) == 0)
			return headers->items[i].value;
	return NULL;
}

static void check_value(
	const char *what, const struct wire_headers *headers, const char *name, const char *want)
{
	const char *got = value_of(headers, name);

	if (got == NULL ? want != NULL : want == NULL || strcmp(got, want) != 0)
		fail_msg("%s: %s: got %s, want %s", what, name, got == NULL ? "nothing" : got,
			want == NULL ? "nothing" : want);
}

/* Round trips */

static const char *or_nothing(const char *text)
{
	return text == NULL ? "nothing" : text;
}

static void check_equal(
	const char *what, const struct wire_scrape *got, const struct wire_scrape *want)
{
	if (got->time_ms != want->time_ms || got->interval_ms != want->interval_ms)
		fail_msg("%s: time %" PRId64 ", interval %" PRId64, what, got->time_ms,
			got->interval_ms);
	if (got->duration_s != want->duration_s)
		fail_msg("%s: got %.9f s, want %.9f s", what, got->duration_s, want->duration_s);
	if (got->up != want->up || got->flags != want->flags || got->encoding != want->encoding)
		fail_msg("%s: up %d, flags %u, encoding %d", what, got->up, got->flags,
			got->encoding);
	if (got->key_time_ms != want->key_time_ms)
		fail_msg("%s: key %" PRId64, what, got->key_time_ms);
	if (!labels_equal(&got->labels, &want->labels))
		fail_msg("%s: the labels differ", what);
	if (strcmp(or_nothing(got->error), or_nothing(want->error)) != 0)
		fail_msg("%s: got %s, want %s", what, or_nothing(got->error),
			or_nothing(want->error));
	if (strcmp(or_nothing(got->content_type), or_nothing(want->content_type)) != 0)
		fail_msg("%s: got %s, want %s", what, or_nothing(got->content_type),
			or_nothing(want->content_type));
}

static void check_round_trip(const char *what, const struct wire_scrape *scrape)
{
	struct wire_headers headers = build(what, scrape);
	struct header_table table = header_table_of(&headers);
	struct wire_scrape got = parse(what, &table);

	check_equal(what, &got, scrape);
	wire_scrape_fini(&got);
	wire_headers_fini(&headers);
	assert_int_equal(headers.count, 0);
}

#define ALL_FLAGS                                                                                  \
	(WIRE_HONOR_LABELS | WIRE_IGNORE_TIMESTAMPS | WIRE_STRICT | WIRE_ALLOW_LOOP | WIRE_REMOVED)

static void test_round_trip(void **state)
{
	static const struct {
		const char *name;
		struct wire_scrape scrape;
	} cases[] = {
		{"least", {.up = true}},
		{"times", {.up = true, .time_ms = 1790000000123, .interval_ms = 15000}},
		{"longest", {.up = true,
				    .time_ms = WIRE_TIME_MAX_MS,
				    .duration_s = WIRE_DURATION_MAX_S,
				    .interval_ms = WIRE_INTERVAL_MAX_MS}},
		{"shortest", {.up = true, .time_ms = 1, .duration_s = 0.000001, .interval_ms = 1}},
		{"six decimals", {.up = true, .duration_s = 10.000214}},
		{"whole seconds", {.up = true, .duration_s = 10}},
		{"failed", {.up = false, .error = "HTTP 503"}},
		{"failed, UTF-8", {.up = false, .error = "h\xc3\xb4te \xf0\x9f\x98\x80"}},
		{"failed for no reason", {.up = false, .error = "unknown"}},
		{"all flags", {.up = true, .flags = ALL_FLAGS}},
		{"the last", {.up = false, .error = "gone", .flags = WIRE_REMOVED}},
		{"one flag", {.up = true, .flags = WIRE_ALLOW_LOOP}},
		{"gzip", {.up = true, .encoding = ENCODING_GZIP}},
		{"zstd", {.up = true, .encoding = ENCODING_ZSTD}},
		{"delta", {.up = true, .encoding = ENCODING_ZSTD_DELTA, .key_time_ms = 1}},
		{"delta to the last", {.up = true,
					      .encoding = ENCODING_ZSTD_DELTA,
					      .key_time_ms = WIRE_TIME_MAX_MS}},
		{"a type", {.up = true, .content_type = "application/openmetrics-text; a=\"b\""}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_round_trip(cases[i].name, &cases[i].scrape);
}

/* Label values may be anything that is UTF-8 without NUL. */
static void test_round_trip_labels(void **state)
{
	static const char *const values[] = {"", "plain", "b 7", "\"\\/", "\n\t\x01\x1f\x7f",
		"k\xc3\xb6ln", "\xf0\x9f\x98\x80", "\xef\xbf\xbf", "\\u0041", "{}[],:"};
	struct wire_scrape scrape = {.up = true};

	(void)state;
	for (size_t i = 0; i < WIRE_LABELS_MAX_COUNT; i++) {
		char *name = xasprintf("l%02zu", WIRE_LABELS_MAX_COUNT - i);

		labels_set(&scrape.labels, slice_from(name),
			slice_from(values[i % ARRAY_LEN(values)]));
		check_round_trip(name, &scrape);
		free(name);
	}
	labels_free(&scrape.labels);
}

/* Building */

static void test_defaults_are_left_out(void **state)
{
	struct wire_scrape scrape = {.up = true, .time_ms = 7, .error = "not read where up"};
	struct wire_scrape unknown = {.up = false, .error = "unknown"};
	struct wire_headers headers;

	(void)state;
	scrape.key_time_ms = 1; /* not a delta's */
	headers = build("least", &scrape);
	assert_int_equal(headers.count, 2);
	check_value("least", &headers, "Ps-Time", "7");
	assert_non_null(value_of(&headers, "Nats-Msg-Id"));
	wire_headers_fini(&headers);
	headers = build("failed for no reason", &unknown);
	check_value("failed for no reason", &headers, "Ps-Up", "0");
	check_value("failed for no reason", &headers, "Ps-Error", NULL);
	wire_headers_fini(&headers);
}

static void test_msg_id_is_the_subject_s(void **state)
{
	struct wire_scrape scrape = {.up = true, .time_ms = 7};
	struct wire_headers headers = build("id", &scrape);
	char id[17];

	(void)state;
	wire_msg_id(id, SUBJECT, 7);
	check_value("id", &headers, "Nats-Msg-Id", id);
	wire_headers_fini(&headers);
}

static const struct {
	double seconds;
	const char *text;
} durations[] = {
	{0, NULL},
	{0.0000004, NULL},
	{0.0000005, "0.000001"},
	{0.0123, "0.0123"},
	{0.1, "0.1"},
	{1, "1"},
	{10, "10"},
	{100.5, "100.5"},
	{59.9999994, "59.999999"},
	{59.9999996, "60"},
	{1000000, "1000000"},
};

static void test_durations(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		struct wire_scrape scrape = {.up = true, .duration_s = durations[i].seconds};
		struct wire_headers headers = build("duration", &scrape);

		check_value("duration", &headers, "Ps-Duration", durations[i].text);
		wire_headers_fini(&headers);
	}
}

#define FFFD "\xef\xbf\xbd"

/* What a target answers and curl says may hold anything. */
static const struct {
	const char *name, *text, *shown; /* NULL: left out */
} cleaned[] = {
	{"as it is", "HTTP 503: \"a\"", "HTTP 503: \"a\""},
	{"none", NULL, NULL},
	{"empty", "", NULL},
	{"spaces", "   ", NULL},
	{"control bytes", "\n\r\t\x01\x7f", NULL},
	{"line ends", "a\r\nX: b\n", "a  X: b"},
	{"tab and DEL",
		"a\tb\x7f"
		"c",
		"a b c"},
	{"around", "  a b  ", "a b"},
	{"UTF-8", "k\xc3\xb6ln \xf0\x9f\x98\x80", "k\xc3\xb6ln \xf0\x9f\x98\x80"},
	{"latin 1", "k\xf6ln", "k" FFFD "ln"},
	{"cut UTF-8", "k\xc3", "k" FFFD},
	{"surrogate", "\xed\xa0\x80", FFFD FFFD FFFD},
};

static void check_cleaned(const char *name, const char *text, const char *shown)
{
	struct wire_scrape failed = {.up = false, .error = (char *)text};
	struct wire_scrape typed = {.up = true, .content_type = (char *)text};
	struct wire_headers headers = build(name, &failed);

	check_value(name, &headers, "Ps-Error", shown);
	check_value(name, &headers, "Ps-Up", "0");
	wire_headers_fini(&headers);
	headers = build(name, &typed);
	check_value(name, &headers, "Content-Type", shown);
	wire_headers_fini(&headers);
}

static void test_cleaned(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cleaned); i++)
		check_cleaned(cleaned[i].name, cleaned[i].text, cleaned[i].shown);
}

/* `unit` repeated far beyond the longest value, cut behind the last whole one. */
static void check_cut(const char *unit, size_t want_bytes)
{
	struct buf text = {0}, want = {0};

	while (text.len < 3 * WIRE_HEADER_MAX_BYTES)
		buf_append_str(&text, unit);
	buf_append(&want, text.ptr, want_bytes);
	check_cleaned(unit, buf_cstr(&text), buf_cstr(&want));
	buf_free(&text);
	buf_free(&want);
}

static void test_cut(void **state)
{
	char longest[WIRE_HEADER_MAX_BYTES + 2] = "", shown[WIRE_HEADER_MAX_BYTES] = "";

	(void)state;
	check_cut("a", 1024);
	check_cut("\xc3\xb6", 1024);
	check_cut("\xe2\x82\xac", 1023);
	check_cut("\xf0\x9f\x98\x80", 1024);
	check_cut("abc\xf0\x9f\x98\x80", 1024);
	check_cut("ab\xf0\x9f\x98\x80", 1022);
	memset(longest, 'a', WIRE_HEADER_MAX_BYTES);
	check_cleaned("longest", longest, longest);
	/* A space that the cut brings to the end goes too. */
	memcpy(&longest[WIRE_HEADER_MAX_BYTES - 1], " b", 3);
	memset(shown, 'a', WIRE_HEADER_MAX_BYTES - 1);
	check_cleaned("space at the cut", longest, shown);
}

/* Labels are written sorted, without spaces, and so that a header may carry them. */
static void test_labels_text(void **state)
{
	struct wire_scrape scrape = {.up = true};
	struct wire_headers headers;

	(void)state;
	labels_set(&scrape.labels, SLICE("b"), SLICE("q\"\\\n\x7f"));
	labels_set(&scrape.labels, SLICE("a"), SLICE("k\xc3\xb6ln/1"));
	headers = build("labels", &scrape);
	check_value("labels", &headers, "Ps-Labels",
		"{\"a\":\"k\xc3\xb6ln/1\",\"b\":\"q\\\"\\\\\\u000a\\u007f\"}");
	wire_headers_fini(&headers);
	labels_free(&scrape.labels);
}

static void check_build_fails(const char *what, const struct wire_scrape *scrape, const char *error)
{
	struct wire_headers headers;
	struct err err = {""};

	if (wire_headers_build(&headers, SUBJECT, scrape, &err) == 0)
		fail_msg("%s: built", what);
	if (strstr(err.text, error) == NULL)
		fail_msg("%s: got \"%s\", want \"%s\"", what, err.text, error);
}

static void test_build_refuses(void **state)
{
	static const struct {
		struct wire_scrape scrape;
		const char *error;
	} cases[] = {
		{{.time_ms = -1}, "Ps-Time: -1 is out of range"},
		{{.time_ms = WIRE_TIME_MAX_MS + 1}, "Ps-Time: 7258118400001 is out of range"},
		{{.interval_ms = -1}, "Ps-Interval: -1 is out of range"},
		{{.interval_ms = WIRE_INTERVAL_MAX_MS + 1}, "Ps-Interval: 31622400001"},
		{{.encoding = ENCODING_ZSTD_DELTA, .key_time_ms = -1}, "Ps-Key: -1 is out of"},
		{{.encoding = ENCODING_ZSTD_DELTA, .key_time_ms = WIRE_TIME_MAX_MS + 1},
			"Ps-Key: 7258118400001 is out of range"},
		{{.duration_s = -0.001}, "Ps-Duration: -0.001 is out of range"},
		{{.duration_s = 1000000.1}, "Ps-Duration: 1e+06 is out of range"},
		{{.duration_s = __builtin_nan("")}, "is out of range"},
		{{.duration_s = __builtin_inf()}, "is out of range"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_build_fails(cases[i].error, &cases[i].scrape, cases[i].error);
}

static void test_build_refuses_labels(void **state)
{
	static const struct {
		const char *name, *value, *error;
	} cases[] = {
		{"job", "x", "Ps-Labels: label \"job\" is part of the subject"},
		{"instance", "x", "Ps-Labels: label \"instance\" is part of the subject"},
		{"__x", "x", "Ps-Labels: label \"__x\" is internal"},
		{"a-b", "x", "Ps-Labels: \"a-b\" is not a label name"},
		{"a", "\xff", "Ps-Labels: a label's value is not UTF-8"},
	};
	struct wire_scrape scrape = {.up = true};
	char longest[WIRE_LABELS_MAX_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		labels_set(&scrape.labels, slice_from(cases[i].name), slice_from(cases[i].value));
		check_build_fails(cases[i].name, &scrape, cases[i].error);
		labels_free(&scrape.labels);
	}
	/* {"a":""} is 8 bytes. */
	memset(longest, 'x', sizeof(longest));
	labels_set(&scrape.labels, SLICE("a"), (struct slice){longest, sizeof(longest) - 8});
	check_round_trip("longest", &scrape);
	labels_set(&scrape.labels, SLICE("a"), (struct slice){longest, sizeof(longest) - 7});
	check_build_fails("too long", &scrape, "labels take more than 8192 bytes");
	labels_free(&scrape.labels);
	for (size_t i = 0; i <= WIRE_LABELS_MAX_COUNT; i++) {
		char *name = xasprintf("l%zu", i);

		labels_set(&scrape.labels, slice_from(name), SLICE("x"));
		free(name);
	}
	check_build_fails("too many", &scrape, "Ps-Labels: more than 64 labels");
	labels_free(&scrape.labels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_round_trip_labels),
		cmocka_unit_test(test_defaults_are_left_out),
		cmocka_unit_test(test_msg_id_is_the_subject_s),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_cleaned),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_labels_text),
		cmocka_unit_test(test_build_refuses),
		cmocka_unit_test(test_build_refuses_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
