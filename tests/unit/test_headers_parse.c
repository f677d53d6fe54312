/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of a scrape as they are read: each rule of common/wire.md that a header can break is
 * named in the refusal, what is absent has its default, and what a later writer may add is passed
 * over.
 */
#include "tests/unit/header_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct wire_scrape parse(const char *what, struct header_table *table)
{
	struct wire_scrape scrape;
	struct err err = {""};

	if (wire_headers_parse(&scrape, header_table_lookup, table, &err) < 0)
		fail_msg("%s: %s", what, err.text);
	return scrape;
}

static struct header_table one_header(const char *name, struct slice value)
{
	struct header_table table = {0};

	header_table_add(&table, slice_from(name), value);
	if (strcmp(name, "Ps-Time") != 0)
		header_table_add(&table, SLICE("Ps-Time"), SLICE("1"));
	return table;
}

static void check_parse_fails(
	const char *what, struct header_table *table, const char *name, const char *error)
{
	struct wire_scrape scrape;
	struct err err = {""};
	char *want = xasprintf("%s: %s", name, error);

	if (wire_headers_parse(&scrape, header_table_lookup, table, &err) == 0)
		fail_msg("%s: %s was accepted", name, what);
	if (strncmp(err.text, want, strlen(want)) != 0)
		fail_msg("%s: got \"%s\", want \"%s\"", what, err.text, want);
	free(want);
}

#define NOT_WHOLE   "not a whole number"
#define NOT_SECONDS "not seconds with up to six decimals"

static const struct {
	const char *name, *value, *error;
} malformed[] = {
	{"Ps-Time", "-1", NOT_WHOLE},
	{"Ps-Time", "+1", NOT_WHOLE},
	{"Ps-Time", "1.0", NOT_WHOLE},
	{"Ps-Time", "1e3", NOT_WHOLE},
	{"Ps-Time", "0x10", NOT_WHOLE},
	{"Ps-Time", "1 ", NOT_WHOLE},
	{"Ps-Time", " 1", NOT_WHOLE},
	{"Ps-Time", "\xd9\xa1", NOT_WHOLE}, /* an Arabic digit */
	{"Ps-Time", "7258118400001", "above 7258118400000"},
	{"Ps-Time", "9223372036854775808", "above 7258118400000"},
	{"Ps-Time", "99999999999999999999999999999999999999", "above 7258118400000"},
	{"Ps-Duration", "-1", NOT_WHOLE},
	{"Ps-Duration", "+1", NOT_WHOLE},
	{"Ps-Duration", "1e3", NOT_WHOLE},
	{"Ps-Duration", "inf", NOT_WHOLE},
	{"Ps-Duration", "nan", NOT_WHOLE},
	{"Ps-Duration", "0x1p3", NOT_WHOLE},
	{"Ps-Duration", "1,5", NOT_WHOLE},
	{"Ps-Duration", "1.", NOT_SECONDS},
	{"Ps-Duration", ".", NOT_SECONDS},
	{"Ps-Duration", ".5", NOT_SECONDS},
	{"Ps-Duration", "1.0000001", NOT_SECONDS},
	{"Ps-Duration", "1.5.5", NOT_WHOLE},
	{"Ps-Duration", "1.-5", NOT_WHOLE},
	{"Ps-Duration", "1.5s", NOT_WHOLE},
	{"Ps-Duration", "1000001", "above 1000000"},
	{"Ps-Duration", "1000000.000001", "above 1000000"},
	{"Ps-Duration", "99999999999999999999999", "above 1000000"},
	{"Ps-Interval", "0", "below 1"},
	{"Ps-Interval", "-1", NOT_WHOLE},
	{"Ps-Interval", "15s", NOT_WHOLE},
	{"Ps-Interval", "31622400001", "above 31622400000"},
	{"Ps-Up", "2", "neither 0 nor 1"},
	{"Ps-Up", "01", "neither 0 nor 1"},
	{"Ps-Up", "true", "neither 0 nor 1"},
	{"Ps-Labels", "x", ""},
	{"Ps-Labels", "{", ""},
	{"Ps-Labels", "{} {}", ""},
	{"Ps-Labels", "{\"a\":\"b\",}", ""},
	{"Ps-Labels", "{'a':'b'}", ""},
	{"Ps-Labels", "{\"a\":\"\\u0000\"}", ""},
	{"Ps-Labels", "{\"a\":\"\\ud800\"}", ""},
	{"Ps-Labels", "{\"a\":\"1\",\"a\":\"1\"}", "duplicate object key"},
	{"Ps-Labels", "{\"a\":\"1\",\"\\u0061\":\"2\"}", "duplicate object key"},
	{"Ps-Labels", "[]", "not a JSON object"},
	{"Ps-Labels", "[\"a\",\"b\"]", "not a JSON object"},
	{"Ps-Labels", "\"a\"", ""},
	{"Ps-Labels", "{\"a\":1}", "label \"a\" is not a string"},
	{"Ps-Labels", "{\"a\":null}", "label \"a\" is not a string"},
	{"Ps-Labels", "{\"a\":{\"b\":\"c\"}}", "label \"a\" is not a string"},
	{"Ps-Labels", "{\"job\":\"x\"}", "label \"job\" is part of the subject"},
	{"Ps-Labels", "{\"\\u006aob\":\"x\"}", "label \"job\" is part of the subject"},
	{"Ps-Labels", "{\"instance\":\"x\"}", "label \"instance\" is part of the subject"},
	{"Ps-Labels", "{\"__a\":\"x\"}", "label \"__a\" is internal"},
	{"Ps-Labels", "{\"\":\"x\"}", "\"\" is not a label name"},
	{"Ps-Labels", "{\"a b\":\"x\"}", "\"a b\" is not a label name"},
	{"Ps-Labels", "{\"0\":\"x\"}", "\"0\" is not a label name"},
	{"Ps-Labels", "{\"k\xc3\xb6ln\":\"x\"}", "\"k\xc3\xb6ln\" is not a label name"},
	{"Ps-Flags", ",", "empty item"},
	{"Ps-Flags", "strict,", "empty item"},
	{"Ps-Flags", ",strict", "empty item"},
	{"Ps-Flags", "strict,,strict", "empty item"},
};

static void test_malformed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
		struct header_table table =
			one_header(malformed[i].name, slice_from(malformed[i].value));

		check_parse_fails(
			malformed[i].value, &table, malformed[i].name, malformed[i].error);
	}
}

/* Of every header, what no value may be. */
static const struct {
	const char *name;
	size_t max_bytes;
} limits[] = {
	{"Ps-Time", 1024},
	{"Ps-Duration", 1024},
	{"Ps-Interval", 1024},
	{"Ps-Up", 1024},
	{"Ps-Error", 1024},
	{"Ps-Labels", 8192},
	{"Ps-Flags", 1024},
	{"Content-Type", 1024},
	{"Content-Encoding", 1024},
};

static void check_no_value(size_t i)
{
	static const struct {
		const char *name;
		struct slice value;
	} unprintable[] = {
		{"NUL", {"a\0b", 3}},
		{"CR", {"a\r", 2}},
		{"tab", {"a\tb", 3}},
		{"0x1f", {"a\x1f", 2}},
		{"DEL", {"a\x7f", 2}},
		{"latin 1", {"k\xf6ln", 4}},
		{"cut UTF-8", {"k\xc3", 2}},
		{"overlong UTF-8", {"\xc0\xaf", 2}},
		{"surrogate", {"\xed\xa0\x80", 3}},
		{"beyond Unicode", {"\xf4\x90\x80\x80", 4}},
	};
	struct header_table table = one_header(limits[i].name, SLICE(""));
	static char longest[8193];
	char *longer = xasprintf("longer than %zu bytes", limits[i].max_bytes);

	check_parse_fails("empty", &table, limits[i].name, "empty");
	memset(longest, '1', sizeof(longest));
	table = one_header(limits[i].name, (struct slice){longest, limits[i].max_bytes + 1});
	check_parse_fails("long", &table, limits[i].name, longer);
	free(longer);
	for (size_t u = 0; u < ARRAY_LEN(unprintable); u++) {
		table = one_header(limits[i].name, unprintable[u].value);
		check_parse_fails(
			unprintable[u].name, &table, limits[i].name, "not printable UTF-8");
	}
}

static void test_no_value(void **state)
{
	struct header_table table = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		check_no_value(i);
	check_parse_fails("no headers", &table, "Ps-Time", "missing");
	header_table_add(&table, SLICE("ps-time"), SLICE("1"));
	header_table_add(&table, SLICE("PS-TIME"), SLICE("1"));
	check_parse_fails("other case", &table, "Ps-Time", "missing");
}

static void test_repeated(void **state)
{
	static const struct {
		const char *name, *first, *second;
	} cases[] = {
		{"Ps-Time", "1", "2"},
		{"Ps-Up", "1", "1"},
		{"Ps-Labels", "{}", "not even JSON"},
		{"Ps-Error", "read only where down", ""},
		{"Content-Encoding", "gzip", "gzip"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct header_table table = one_header(cases[i].name, slice_from(cases[i].first));

		header_table_add(&table, slice_from(cases[i].name), slice_from(cases[i].second));
		check_parse_fails("repeated", &table, cases[i].name, "occurs more than once");
	}
}

static void test_too_many_labels(void **state)
{
	struct buf text = {0};
	struct header_table table;

	(void)state;
	for (int i = 0; i <= WIRE_LABELS_MAX_COUNT; i++)
		buf_appendf(&text, "%c\"l%d\":\"\"", i == 0 ? '{' : ',', i);
	buf_append_char(&text, '}');
	table = one_header("Ps-Labels", buf_slice(&text));
	check_parse_fails("65", &table, "Ps-Labels", "more than 64 labels");
	buf_free(&text);
}

/* Headers that are not ours may hold anything. */
static void test_defaults(void **state)
{
	struct header_table table = one_header("Other", SLICE("\xff\n"));
	struct wire_scrape scrape = parse("defaults", &table);

	(void)state;
	assert_true(scrape.time_ms == 1 && scrape.duration_s == 0 && scrape.interval_ms == 0);
	assert_true(scrape.up);
	assert_null(scrape.error);
	assert_null(scrape.content_type);
	assert_int_equal(scrape.labels.count, 0);
	assert_int_equal(scrape.flags, 0);
	assert_int_equal(scrape.encoding, ENCODING_IDENTITY);
	wire_scrape_fini(&scrape);
}

/* Ps-Error counts only where Ps-Up is 0, and is not needed there. */
static void test_error(void **state)
{
	struct header_table table = one_header("Ps-Up", SLICE("0"));
	struct wire_scrape scrape = parse("down", &table);

	(void)state;
	assert_false(scrape.up);
	assert_string_equal(scrape.error, "unknown");
	wire_scrape_fini(&scrape);
	header_table_add(&table, SLICE("Ps-Error"), SLICE("timed out"));
	scrape = parse("down", &table);
	assert_string_equal(scrape.error, "timed out");
	wire_scrape_fini(&scrape);
	table = one_header("Ps-Error", SLICE("why"));
	scrape = parse("up", &table);
	assert_true(scrape.up);
	assert_null(scrape.error);
	wire_scrape_fini(&scrape);
}

/* What our writer does not write, but a reader must take. */
static void test_leniently(void **state)
{
	struct header_table table = {0};
	struct wire_scrape scrape;

	(void)state;
	header_table_add(&table, SLICE("Ps-Time"), SLICE("007"));
	header_table_add(&table, SLICE("Ps-Duration"), SLICE("00.50"));
	header_table_add(&table, SLICE("Ps-Up"), SLICE("1"));
	header_table_add(
		&table, SLICE("Ps-Labels"), SLICE(" { \"b\" : \"\\u00f6\" , \"a\" : \"\" } "));
	header_table_add(
		&table, SLICE("Ps-Flags"), SLICE("later,strict,strict,Strict, allow_loop"));
	header_table_add(&table, SLICE("Content-Type"), SLICE("text/plain; version=0.0.4"));
	header_table_add(&table, SLICE("Content-Encoding"), SLICE("identity"));
	scrape = parse("leniently", &table);
	assert_true(scrape.time_ms == 7);
	assert_true(scrape.duration_s == 0.5);
	assert_true(scrape.up);
	assert_int_equal(scrape.labels.count, 2);
	assert_string_equal(labels_get(&scrape.labels, "a"), "");
	assert_string_equal(labels_get(&scrape.labels, "b"), "\xc3\xb6");
	assert_int_equal(scrape.flags, WIRE_STRICT);
	assert_string_equal(scrape.content_type, "text/plain; version=0.0.4");
	assert_int_equal(scrape.encoding, ENCODING_IDENTITY);
	wire_scrape_fini(&scrape);
}

static void test_encodings(void **state)
{
	static const struct {
		struct slice name;
		enum encoding encoding;
	} cases[] = {
		{{"identity", 8}, ENCODING_IDENTITY},
		{{"gzip", 4}, ENCODING_GZIP},
		{{"zstd", 4}, ENCODING_ZSTD},
		{{"GZIP", 4}, ENCODING_UNKNOWN},
		{{"br", 2}, ENCODING_UNKNOWN},
		{{"zstd-delta", 10}, ENCODING_UNKNOWN},
		{{"gzip, gzip", 10}, ENCODING_UNKNOWN},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct header_table table = one_header("Content-Encoding", cases[i].name);
		struct wire_scrape scrape = parse(cases[i].name.ptr, &table);

		if (scrape.encoding != cases[i].encoding)
			fail_msg("%s: got %d, want %d", cases[i].name.ptr, scrape.encoding,
				cases[i].encoding);
		wire_scrape_fini(&scrape);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_no_value),
		cmocka_unit_test(test_repeated),
		cmocka_unit_test(test_too_many_labels),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_error),
		cmocka_unit_test(test_leniently),
		cmocka_unit_test(test_encodings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
