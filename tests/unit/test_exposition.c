/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exposition parser: a table of accepted and refused bodies with the exact place of each error,
 * every one read by every engine this machine has; slices, labels, escapes; no limits to lengths.
 */
#include "common/exposition/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

static const char *const engine_names[] = {"portable", "ssse3", "avx2"};

/* Behind a case, so that its lines are far enough from the end of the input for every engine. */
#define PADDING                                                                                    \
	"\n# ------------------------------------------------------------------------------------" \
	"------------------------------\n"

struct outcome {
	int64_t samples; /* -1: refused */
	struct err err;
};

static struct outcome count(struct slice body, enum expo_engine engine)
{
	struct outcome outcome = {.err = {""}};
	struct expo_parser parser;
	struct expo_line line;
	enum expo_kind kind;

	assert_true(expo_init_engine(&parser, body, engine));
	while ((kind = expo_next(&parser, &line, &outcome.err)) != EXPO_END) {
		if (kind == EXPO_ERROR) {
			outcome.samples = -1;
			break;
		}
		outcome.samples += kind == EXPO_SAMPLE;
	}
	return outcome;
}

static bool have_engine(enum expo_engine engine)
{
	struct expo_parser parser;

	return expo_init_engine(&parser, SLICE(""), engine);
}

#define BODY(text) .body = {(text), sizeof(text) - 1}

/* Either `samples`, or where and why the body is refused. */
static const struct {
	const char *name;
	struct slice body;
	int64_t samples;
	const char *error;
} bodies[] = {
	{"nothing", BODY(""), 0, NULL},
	{"a newline", BODY("\n"), 0, NULL},
	{"blanks only", BODY(" \t \n  "), 0, NULL},
	{"no final newline", BODY("a 1"), 1, NULL},
	{"blank lines between", BODY("\na 1\n\n \t\nb 2\n"), 2, NULL},
	{"comments", BODY("#\n# \n#x\n# HELPER a\n#TYPE a b c\n#HELP\n# x\na 1\n"), 1, NULL},
	{"unfinished keyword", BODY("# HE\n# HELP\n# TYPE\na 1\n"), 1, NULL},
	{"help", BODY("# HELP a\n# HELP a \n#\tHELP  a \t text\n  # HELP a x\n"), 0, NULL},
	{"types",
		BODY("# TYPE a counter\n# TYPE a gauge\n# TYPE a histogram\n# TYPE a summary\n"
		     "# TYPE a untyped\n# TYPE a\tgauge\n# TYPE a-gauge\n"),
		0, NULL},
	{"type after samples, repeated", BODY("a 1\n# TYPE a gauge\n# TYPE a counter\n"), 1, NULL},
	{"colons", BODY(":a:b{c=\"d\"} 1\n: 2\n"), 2, NULL},
	{"empty braces", BODY("a{} 1\na{ } 1\n"), 2, NULL},
	{"trailing comma", BODY("a{b=\"c\",} 1\na{b=\"c\" , } 1\n"), 2, NULL},
	{"no comma", BODY("a{b=\"c\"d=\"e\"} 1\na{b=\"c\" d=\"e\"} 1\n"), 2, NULL},
	{"blanks everywhere", BODY("a { b = \"c\" , d\t=\t\"e\" } \t 1 \t 2 \t\n"), 1, NULL},
	{"no blank before the value", BODY("a{b=\"c\"}1\na+1\na-1.5e3\n"), 3, NULL},
	{"characters in a value", BODY("a{b=\"{},=# \t'\"} 1\n"), 1, NULL},
	{"escapes", BODY("a{b=\"\\\\\",c=\"\\\"\",d=\"\\n\",e=\"\\x\",f=\"\\\\\\\"\"} 1\n"), 1,
		NULL},
	{"raw newline in a value", BODY("a{b=\"c\nd\"} 1\n"), 1, NULL},
	{"NUL in a value", BODY("a{b=\"c\0d\\\0\"\"} 1\n"), 1, NULL},
	{"UTF-8", BODY("a{b=\"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\"} 1\n# HELP a \xe2\x82\xac\n"),
		1, NULL},
	{"invalid UTF-8 in a comment", BODY("# \xff\na 1\n"), 1, NULL},
	{"quoted names",
		BODY("{\"a b\"} 1\n{\"a\",c=\"d\"} 1\n{c=\"d\",\"a\"} 1\n{\"a\" , \"c.d\"=\"e\",} "
		     "1\n"
		     "# TYPE \"a b\" gauge\n# HELP \"\" x\n  {\"a\"} 1\n"),
		5, NULL},
	{"quoted label on a plain name", BODY("a{\"b.c\"=\"d\"} 1\n"), 1, NULL},
	{"timestamps", BODY("a 1 0\na 1 1395066363000\na 1 9223372036854775807\n"), 3, NULL},
	{"NUL ends the input", BODY("a 1\n\0{{{"), 1, NULL},
	{"NUL in a comment ends it", BODY("a 1\n#x\0y\n{{{"), 1, NULL},
	{"NUL behind a comment's blank and word", BODY("# x\0y\na 1\n"), 1, NULL},
	{"NULs in and behind a keyword", BODY("# HE\0LP\0 \0a x\n# T\0\0YPE \0\t\0a gauge\n"), 0,
		NULL},
	{"NUL in what is no keyword", BODY("# HEL\0\n# HELP\0x\n# TYPE\0\n#\tTYP\0 1\n"), 0, NULL},
	{"NUL first in a comment ends it", BODY("a 1\n# \0y\n{{{"), 1, NULL},
	{"values",
		BODY("a 0\na -0\na +1\na .5\na 5.\na 1e5\na 1E-5\na 1e+05\na NaN\na nan\na +Inf\n"
		     "a -inf\na Infinity\na 1e-400\na 0e999999999999999999999\n"),
		15, NULL},

	{"no value", BODY("a\n"), -1, "line 1, column 2: expected a value"},
	{"no value at the end", BODY("a{b=\"c\"}"), -1, "line 1, column 9: expected a value"},
	{"blank value", BODY("x 1\na \t\n"), -1, "line 2, column 4: expected a value"},
	{"not a name", BODY("\n\n1a 1\n"), -1, "line 3, column 1: expected a metric name"},
	{"not a name, UTF-8", BODY("\xc3\xa9 1\n"), -1, "line 1, column 1: expected a metric name"},
	{"CR LF", BODY("a 1\r\n"), -1, "line 1, column 3: value is not a number"},
	{"lone CR", BODY("\r\na 1\n"), -1, "line 1, column 1: expected a metric name"},
	{"blank before the name", BODY("b 1\n \ta 1\n"), -1,
		"line 2, column 1: blank before the metric name"},
	{"word", BODY("a b\n"), -1, "line 1, column 3: value is not a number"},
	{"exponent without digits", BODY("a 1e\n"), -1, "line 1, column 3: value is not a number"},
	{"signed exponent without digits", BODY("a 1e+\n"), -1,
		"line 1, column 3: value is not a number"},
	{"point only", BODY("a .\n"), -1, "line 1, column 3: value is not a number"},
	{"two points", BODY("a 1.2.3\n"), -1, "line 1, column 3: value is not a number"},
	{"minus only", BODY("a -\n"), -1, "line 1, column 3: value is not a number"},
	{"comma", BODY("a 1,5\n"), -1, "line 1, column 3: value is not a number"},
	{"hexadecimal", BODY("a 0x10\n"), -1, "line 1, column 3: value is not a number"},
	{"hexadecimal with p", BODY("a 0x1p4\n"), -1, "line 1, column 3: value is not a number"},
	{"underscore", BODY("a 1_000\n"), -1, "line 1, column 3: value is not a number"},
	{"signed nan", BODY("a +NaN\n"), -1, "line 1, column 3: value is not a number"},
	{"negative nan", BODY("a -NaN\n"), -1, "line 1, column 3: value is not a number"},
	{"most of infinity", BODY("a infinit\n"), -1, "line 1, column 3: value is not a number"},
	{"out of range", BODY("a 1e400\n"), -1, "line 1, column 3: value out of range"},
	{"just out of range", BODY("a 1.7976931348623159e308\n"), -1,
		"line 1, column 3: value out of range"},
	{"NUL in a number", BODY("a 1\0\n"), -1, "line 1, column 3: value is not a number"},
	{"word behind the value", BODY("a 1 x\n"), -1,
		"line 1, column 5: expected a timestamp or the end of the line"},
	{"brace behind the value", BODY("a 1{\n"), -1,
		"line 1, column 4: expected a timestamp or the end of the line"},
	{"negative timestamp", BODY("a 1 -5\n"), -1,
		"line 1, column 5: expected a timestamp or the end of the line"},
	{"timestamp with a point", BODY("a 1 1.5\n"), -1,
		"line 1, column 6: expected the end of the line"},
	{"timestamp out of range", BODY("a 1 9223372036854775808\n"), -1,
		"line 1, column 5: timestamp out of range"},
	{"three numbers", BODY("a 1 2 3\n"), -1, "line 1, column 7: expected the end of the line"},
	{"exemplar", BODY("a 1 # {b=\"c\"} 1\n"), -1,
		"line 1, column 5: expected a timestamp or the end of the line"},
	{"leading comma", BODY("a{,b=\"c\"} 1\n"), -1, "line 1, column 3: expected a label name"},
	{"comma only", BODY("a{,} 1\n"), -1, "line 1, column 3: expected a label name"},
	{"two commas", BODY("a{b=\"c\",,} 1\n"), -1, "line 1, column 9: expected a label name"},
	{"label begins with a digit", BODY("a{1b=\"c\"} 1\n"), -1,
		"line 1, column 3: expected a label name"},
	{"colon in a label name", BODY("a{b:c=\"d\"} 1\n"), -1,
		"line 1, column 4: expected '=' after the label name"},
	{"no equals sign", BODY("a{b\"c\"} 1\n"), -1,
		"line 1, column 4: expected '=' after the label name"},
	{"label without a value", BODY("a{b} 1\n"), -1,
		"line 1, column 4: expected '=' after the label name"},
	{"label value without quotes", BODY("a{b=c} 1\n"), -1,
		"line 1, column 5: expected a label value in quotes"},
	{"newline between labels", BODY("a{b=\"c\",\nd=\"e\"} 1\n"), -1,
		"line 1, column 9: expected a label name"},
	{"never closed brace", BODY("a{b=\"c\""), -1, "line 1, column 8: expected a label name"},
	{"never closed quote", BODY("x 1\na{b=\"c"), -1,
		"line 2, column 5: quote that is never closed"},
	{"backslash at the very end", BODY("a{b=\"c\\"), -1,
		"line 1, column 5: quote that is never closed"},
	{"backslash at a line's end", BODY("a{b=\"c\\\n\"} 1\n"), -1,
		"line 1, column 7: backslash at the end of a line"},
	{"error behind a raw newline", BODY("x 1\na{b=\"c\nd\"} y\n"), -1,
		"line 3, column 5: value is not a number"},
	{"line number behind a raw newline", BODY("a{b=\"c\nd\"} 1\nb 2\n!\n"), -1,
		"line 4, column 1: expected a metric name"},
	{"second braces", BODY("a{b=\"c\"}{d=\"e\"} 1\n"), -1,
		"line 1, column 9: expected a value"},
	{"label twice", BODY("a{b=\"1\",c=\"2\",b=\"3\"} 1\n"), -1,
		"line 1, column 15: label name occurs twice"},
	{"label twice, same value", BODY("a{b=\"1\",b=\"1\"} 1\n"), -1,
		"line 1, column 9: label name occurs twice"},
	{"label twice, once quoted", BODY("a{b=\"1\",\"b\"=\"1\"} 1\n"), -1,
		"line 1, column 10: label name occurs twice"},
	{"label twice, escaped differently", BODY("a{\"\\\\x\"=\"1\",\"\\x\"=\"1\"} 1\n"), -1,
		"line 1, column 14: label name occurs twice"},
	{"reserved label", BODY("a{__name__=\"b\"} 1\n"), -1,
		"line 1, column 3: label name __name__ is reserved"},
	{"reserved label, quoted", BODY("{\"a\",\"__name__\"=\"b\"} 1\n"), -1,
		"line 1, column 7: label name __name__ is reserved"},
	{"invalid UTF-8 in a value", BODY("a{b=\"xy\xff\"} 1\n"), -1,
		"line 1, column 8: label value is not valid UTF-8"},
	{"cut UTF-8 in a value", BODY("a{b=\"\xe4\xb8\"} 1\n"), -1,
		"line 1, column 6: label value is not valid UTF-8"},
	{"overlong UTF-8", BODY("a{b=\"\xc0\xaf\"} 1\n"), -1,
		"line 1, column 6: label value is not valid UTF-8"},
	{"surrogate", BODY("a{b=\"\xed\xa0\x80\"} 1\n"), -1,
		"line 1, column 6: label value is not valid UTF-8"},
	{"above 10FFFF", BODY("a{b=\"\xf4\x90\x80\x80\"} 1\n"), -1,
		"line 1, column 6: label value is not valid UTF-8"},
	{"invalid UTF-8 in help", BODY("# HELP a b\x80\n"), -1,
		"line 1, column 11: help text is not valid UTF-8"},
	{"invalid UTF-8 in a name", BODY("{\"a\xff\"} 1\n"), -1,
		"line 1, column 4: name is not valid UTF-8"},
	{"no name", BODY("{b=\"c\"} 1\n"), -1, "line 1, column 7: no metric name"},
	{"braces only", BODY("{} 1\n"), -1, "line 1, column 2: no metric name"},
	{"empty name", BODY("{\"\"} 1\n"), -1, "line 1, column 3: empty name"},
	{"empty label name", BODY("a{\"\"=\"b\"} 1\n"), -1, "line 1, column 4: empty name"},
	{"two names", BODY("a{\"b\"} 1\n"), -1, "line 1, column 3: second metric name"},
	{"two quoted names", BODY("{\"a\",\"b\"} 1\n"), -1, "line 1, column 6: second metric name"},
	{"plain name inside braces", BODY("{a} 1\n"), -1,
		"line 1, column 3: expected '=' after the label name"},
	{"raw newline in a name", BODY("{\"a\nb\"} 1\n"), -1,
		"line 1, column 4: newline in a name"},
	{"raw newline in a name, then a backslash before another", BODY("{\"a\nb\\\n\"} 1\n"), -1,
		"line 1, column 4: newline in a name"},
	{"raw newline in a name that is never closed", BODY("{\"a\n"), -1,
		"line 1, column 4: newline in a name"},
	{"escaped raw newline in a name", BODY("{\"a\\\nb\"} 1\n"), -1,
		"line 1, column 5: newline in a name"},
	{"raw newline in the name of help", BODY("# HELP \"a\nb\" x\n"), -1,
		"line 1, column 10: newline in a name"},
	{"name that is never closed", BODY("{\"a\\\"} 1"), -1,
		"line 1, column 2: quote that is never closed"},
	{"name that ends with a backslash", BODY("{\"a\\"), -1,
		"line 1, column 2: quote that is never closed"},
	{"NUL in a name that is never closed", BODY("{\"a\0b\n"), -1,
		"line 1, column 4: NUL byte in a name"},
	{"escaped NUL in a name", BODY("{\"a\\\0\"\n\"} 1\n"), -1,
		"line 1, column 5: NUL byte in a name"},
	{"NUL in a name", BODY("{\"a\0b\"} 1\n"), -1, "line 1, column 4: NUL byte in a name"},
	{"help without a name", BODY("# HELP \n"), -1, "line 1, column 8: expected a metric name"},
	{"NUL in a keyword that lacks a name", BODY("# HE\0LP 1\n"), -1,
		"line 1, column 9: expected a metric name"},
	{"NULs behind a keyword that lacks a type", BODY("# TYPE\0 \0a x\n"), -1,
		"line 1, column 12: unknown metric type"},
	{"type without a type", BODY("# TYPE a\n"), -1, "line 1, column 9: unknown metric type"},
	{"type in capitals", BODY("# TYPE a GAUGE\n"), -1,
		"line 1, column 10: unknown metric type"},
	{"type with a blank behind", BODY("# TYPE a gauge \n"), -1,
		"line 1, column 10: unknown metric type"},
	{"type of OpenMetrics", BODY("# TYPE a info\n"), -1,
		"line 1, column 10: unknown metric type"},
	{"bytes behind the name of help", BODY("# HELP a\0b\n"), -1,
		"line 1, column 9: NUL byte behind a name"},
};

static void check_body(const char *name, struct slice body, int64_t samples, const char *error)
{
	for (int engine = EXPO_PORTABLE; engine <= EXPO_AVX2; engine++) {
		struct outcome got;

		if (!have_engine((enum expo_engine)engine))
			continue;
		got = count(body, (enum expo_engine)engine);
		if (got.samples != samples || strcmp(got.err.text, error == NULL ? "" : error) != 0)
			fail_msg("%s, %s: %lld samples, \"%s\"; expected %lld, \"%s\"", name,
				engine_names[engine], (long long)got.samples, got.err.text,
				(long long)samples, error == NULL ? "" : error);
	}
}

/* In a block of exactly its size, so that a sanitizer sees reads beyond it. */
static struct slice exact_copy(struct slice body, struct slice behind)
{
	char *exact = xmalloc(body.len + behind.len + 1);

	if (body.len > 0)
		memcpy(exact, body.ptr, body.len);
	memcpy(exact + body.len, behind.ptr, behind.len);
	exact = realloc(exact, body.len + behind.len == 0 ? 1 : body.len + behind.len);
	assert_non_null(exact);
	return (struct slice){exact, body.len + behind.len};
}

static void check_copy(const char *name, struct slice copy, int64_t samples, const char *error)
{
	check_body(name, copy, samples, error);
	free((void *)(uintptr_t)copy.ptr);
}

static void test_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		struct slice body = bodies[i].body;

		check_copy(bodies[i].name, exact_copy(body, SLICE("")), bodies[i].samples,
			bodies[i].error);
		if (body.len > 0 && body.ptr[body.len - 1] == '\n')
			check_copy(bodies[i].name, exact_copy(body, SLICE(PADDING)),
				bodies[i].samples, bodies[i].error);
	}
}

static void test_an_error_stays(void **state)
{
	struct expo_parser parser;
	struct expo_line line;
	struct err err = {""};

	(void)state;
	expo_init(&parser, SLICE("a 1\nb\nc 1\n"));
	assert_int_equal(expo_next(&parser, &line, NULL), EXPO_SAMPLE);
	assert_int_equal(expo_next(&parser, &line, NULL), EXPO_ERROR);
	assert_int_equal(expo_next(&parser, &line, &err), EXPO_ERROR);
	assert_string_equal(err.text, "line 2, column 2: expected a value");
}

static const char *text_of(struct slice s)
{
	static char texts[8][300];
	static unsigned next;
	char *text = texts[next++ % 8];

	snprintf(text, sizeof(texts[0]), "%.*s", SLICE_FMT(s));
	return text;
}

/* What a line is cut into. */
static const struct {
	const char *text;
	enum expo_kind kind;
	enum expo_type type;
	bool quoted;
	const char *name, *labels, *value, *timestamp, *meta;
} lines[] = {
	{"up 1", EXPO_SAMPLE, 0, false, "up", "", "1", "", ""},
	{"a:b{} NaN", EXPO_SAMPLE, 0, false, "a:b", "", "NaN", "", ""},
	{"a{b=\"c\",d=\"e\"} -1.5e+09 1395066363000", EXPO_SAMPLE, 0, false, "a", "b=\"c\",d=\"e\"",
		"-1.5e+09", "1395066363000", ""},
	{"a { b = \"c\" , } 1 \t 2 ", EXPO_SAMPLE, 0, false, "a", " b = \"c\" , ", "1", "2", ""},
	{"a{b=\"c\nd\"} 1", EXPO_SAMPLE, 0, false, "a", "b=\"c\nd\"", "1", "", ""},
	{" {\"n\\\"m\",a=\"b\"} 1", EXPO_SAMPLE, 0, true, "n\\\"m", "\"n\\\"m\",a=\"b\"", "1", "",
		""},
	{"# HELP a  two\\nlines ", EXPO_HELP, 0, false, "a", "", "", "", " two\\nlines "},
	{"# HELP a", EXPO_HELP, 0, false, "a", "", "", "", ""},
	{"# HELP \"a b\" text", EXPO_HELP, 0, true, "a b", "", "", "", "text"},
	{"# TYPE a:b counter", EXPO_TYPE, EXPO_COUNTER, false, "a:b", "", "", "", "counter"},
	{"# TYPE a gauge", EXPO_TYPE, EXPO_GAUGE, false, "a", "", "", "", "gauge"},
	{"# TYPE a histogram", EXPO_TYPE, EXPO_HISTOGRAM, false, "a", "", "", "", "histogram"},
	{"\t#  TYPE\ta\tsummary", EXPO_TYPE, EXPO_SUMMARY, false, "a", "", "", "", "summary"},
	{"# TYPE a untyped", EXPO_TYPE, EXPO_UNTYPED, false, "a", "", "", "", "untyped"},
};

static void check_line(size_t row, enum expo_engine engine)
{
	struct buf body = {0};
	struct expo_parser parser;
	struct expo_line line;

	print_message("%s: %s\n", engine_names[engine], lines[row].text);
	buf_appendf(&body, "# x\n%s\n%s", lines[row].text, PADDING);
	assert_true(expo_init_engine(&parser, buf_slice(&body), engine));
	assert_int_equal(expo_next(&parser, &line, NULL), lines[row].kind);
	assert_int_equal(parser.line, 2);
	assert_int_equal(line.kind, lines[row].kind);
	assert_int_equal(line.type, lines[row].type);
	assert_int_equal(line.name_quoted, lines[row].quoted);
	assert_string_equal(text_of(line.name), lines[row].name);
	assert_string_equal(text_of(line.labels), lines[row].labels);
	assert_string_equal(text_of(line.value), lines[row].value);
	assert_string_equal(text_of(line.timestamp), lines[row].timestamp);
	assert_string_equal(text_of(line.text), lines[row].meta);
	assert_string_equal(text_of(line.whole), lines[row].text);
	assert_int_equal(expo_next(&parser, &line, NULL), EXPO_END);
	assert_int_equal(line.kind, EXPO_END);
	buf_free(&body);
}

static void test_slices(void **state)
{
	(void)state;
	for (size_t row = 0; row < ARRAY_LEN(lines); row++)
		for (int engine = EXPO_PORTABLE; engine <= EXPO_AVX2; engine++)
			if (have_engine((enum expo_engine)engine))
				check_line(row, (enum expo_engine)engine);
}

/* Blanks are no text, nor are NULs behind one; both belong to what is a text otherwise. */
static const struct {
	struct slice line, text;
} help_texts[] = {
	{{"# HELP a \t ", 11}, {"", 0}},
	{{"# HELP a \0", 10}, {"", 0}},
	{{"# HELP a \0 \0\t", 13}, {"", 0}},
	{{"# HELP a \0x", 11}, {"\0x", 2}},
	{{"# HELP a x\0 ", 12}, {"x\0 ", 3}},
	{{"# HELP a-  ", 11}, {"  ", 2}},
	{{"# HELP a-\0", 10}, {"\0", 1}},
	{{"# HELP \"a\"\"\t", 12}, {"\t", 1}},
};

static void check_help_text(size_t row, enum expo_engine engine)
{
	struct buf body = {0};
	struct expo_parser parser;
	struct expo_line line;

	buf_append_slice(&body, help_texts[row].line);
	buf_append_str(&body, PADDING);
	assert_true(expo_init_engine(&parser, buf_slice(&body), engine));
	assert_int_equal(expo_next(&parser, &line, NULL), EXPO_HELP);
	if (!slice_eq(line.text, help_texts[row].text))
		fail_msg("%s, row %zu: %zu bytes of text, expected %zu", engine_names[engine], row,
			line.text.len, help_texts[row].text.len);
	buf_free(&body);
}

static void test_help_texts(void **state)
{
	(void)state;
	for (size_t row = 0; row < ARRAY_LEN(help_texts); row++)
		for (int engine = EXPO_PORTABLE; engine <= EXPO_AVX2; engine++)
			if (have_engine((enum expo_engine)engine))
				check_help_text(row, (enum expo_engine)engine);
}

static void test_labels(void **state)
{
	static const struct {
		const char *name, *value;
		bool quoted;
	} wanted[] = {
		{"a", "b", false},
		{"c.d", "e\\\"f", true},
		{"g", "", false},
		{"h", ",}=", false},
	};
	struct slice labels =
		SLICE("a=\"b\", \"c.d\" = \"e\\\"f\" , \"the.name\" ,g=\"\"h=\",}=\",");
	struct expo_label label;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		assert_true(expo_labels_next(&labels, &label));
		assert_string_equal(text_of(label.name), wanted[i].name);
		assert_string_equal(text_of(label.value), wanted[i].value);
		assert_int_equal(label.name_quoted, wanted[i].quoted);
	}
	assert_false(expo_labels_next(&labels, &label));
	assert_false(expo_labels_next(&labels, &label));
}

static void test_escapes(void **state)
{
	struct buf out = {0};

	(void)state;
	expo_unescape(SLICE("a\\\\b\\\"c\\nd\\xe\\"), &out);
	assert_string_equal(buf_cstr(&out), "a\\b\"c\nd\\xe\\");
	buf_clear(&out);
	expo_escape(SLICE("a\\b\"c\nd"), &out);
	assert_string_equal(buf_cstr(&out), "a\\\\b\\\"c\\nd");
	buf_clear(&out);
	expo_escape(SLICE(""), &out);
	assert_int_equal(out.len, 0);
	buf_free(&out);
}

static void test_legacy_names(void **state)
{
	(void)state;
	assert_true(expo_metric_name_is_legacy(SLICE("a")));
	assert_true(expo_metric_name_is_legacy(SLICE(":a:1_Z")));
	assert_false(expo_metric_name_is_legacy(SLICE("")));
	assert_false(expo_metric_name_is_legacy(SLICE("1a")));
	assert_false(expo_metric_name_is_legacy(SLICE("a.b")));
	assert_false(expo_metric_name_is_legacy(SLICE("\xc3\xa9")));
}

/* A sample with `count` labels; `again` names one more time the label of that number, if positive.
 */
static void append_wide_sample(struct buf *body, int count_labels, int again)
{
	buf_append_str(body, "wide{");
	for (int i = 0; i < count_labels; i++)
		buf_appendf(body, "label_%d=\"%d\",", i, i);
	if (again >= 0)
		buf_appendf(body, "label_%d=\"\"", again);
	buf_append_str(body, "} 1\n");
}

static void test_many_labels(void **state)
{
	static const int counts[] = {1, 31, 32, 33, 1000, 100000};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		struct buf body = {0};
		char error[100];
		size_t column;

		append_wide_sample(&body, counts[i], -1);
		check_body("distinct", buf_slice(&body), 1, NULL);
		buf_clear(&body);
		append_wide_sample(&body, counts[i], counts[i] / 2);
		column = (size_t)((char *)memrchr(body.ptr, 'l', body.len) - body.ptr) - 4 + 1;
		snprintf(error, sizeof(error), "line 1, column %zu: label name occurs twice",
			column);
		check_body("one twice", buf_slice(&body), -1, error);
		buf_free(&body);
	}
}

/* Tokens of every length around those of the engines' windows. */
static void test_long_tokens(void **state)
{
	static const size_t big[] = {4096, 65536, 131072, 3000000};

	(void)state;
	for (size_t step = 0; step < 200 + ARRAY_LEN(big); step++) {
		size_t len = step < 200 ? step + 1 : big[step - 200];
		char *run = xmalloc(len + 1);
		struct buf body = {0};

		memset(run, 'n', len);
		run[len] = '\0';
		buf_appendf(&body, "%s 1\n%s{%s=\"%s\",b=\"%s\"} 1.25 1395066363000\n", run, run,
			run, run, run);
		buf_appendf(&body, "# HELP %s %s\n# TYPE %s gauge\n#%s\n%s", run, run, run, run,
			PADDING);
		check_body("long tokens", buf_slice(&body), 2, NULL);
		free(run);
		buf_free(&body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_an_error_stays),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_help_texts),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_legacy_names),
		cmocka_unit_test(test_many_labels),
		cmocka_unit_test(test_long_tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
