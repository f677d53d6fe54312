/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exposition parser against a second one that was written to be plain: for every engine both
 * give the same lines, down to the bits of the values, and find the same error at the same place.
 */
#include "common/exposition/exposition.h"
#include "tests/fuzz/slow_parser.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char *const engine_names[] = {"portable", "ssse3", "avx2"};
static const char *const kind_names[] = {"end", "sample", "help", "type", "error"};
static const char *const type_words[] = {"untyped", "counter", "gauge", "histogram", "summary"};

/* What is being compared, for the message of a disagreement. */
struct comparison {
	const char *engine;
	size_t line; /* by the slow parser */
};

static _Noreturn void disagree(
	const struct comparison *c, const char *what, struct slice fast, struct slice slow)
{
	fprintf(stderr, "%s, line %zu, %s: \"%.*s\", the slow parser \"%.*s\"\n", c->engine,
		c->line, what, SLICE_FMT(fast), SLICE_FMT(slow));
	abort();
}

static void check_text(
	const struct comparison *c, const char *what, struct slice fast, struct slice slow)
{
	if (!slice_eq(fast, slow))
		disagree(c, what, fast, slow);
}

static void check_number(const struct comparison *c, const char *what, int64_t fast, int64_t slow)
{
	char fast_text[32], slow_text[32];

	snprintf(fast_text, sizeof(fast_text), "%lld", (long long)fast);
	snprintf(slow_text, sizeof(slow_text), "%lld", (long long)slow);
	check_text(c, what, slice_from(fast_text), slice_from(slow_text));
}

static int64_t bits_of(double value)
{
	int64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/* Compares what is escaped if it is quoted. */
static void check_name(const struct comparison *c, const char *what, struct slice fast, bool quoted,
	const struct slow_text *slow)
{
	struct buf unescaped = {0};

	check_number(c, "quoted", quoted, slow->quoted);
	if (quoted)
		expo_unescape(fast, &unescaped);
	check_text(c, what, quoted ? buf_slice(&unescaped) : fast, buf_slice(&slow->bytes));
	buf_free(&unescaped);
}

static void check_labels(
	const struct comparison *c, struct slice labels, const struct slow_line *slow)
{
	struct expo_label label;
	size_t count = 0;

	for (; expo_labels_next(&labels, &label); count++) {
		if (count == slow->label_count)
			disagree(c, "one label more", label.name, SLICE(""));
		check_name(
			c, "label name", label.name, label.name_quoted, &slow->labels[count].name);
		check_name(c, "label value", label.value, true, &slow->labels[count].value);
	}
	check_number(c, "number of labels", (int64_t)count, (int64_t)slow->label_count);
}

static void check_sample(
	const struct comparison *c, const struct expo_line *line, const struct slow_line *slow)
{
	check_labels(c, line->labels, slow);
	check_number(c, "value", bits_of(expo_value(line->value)), bits_of(slow->value));
	check_number(c, "timestamp given", line->timestamp.len > 0, slow->has_timestamp);
	check_number(c, "timestamp", expo_timestamp_ms(line->timestamp), slow->timestamp_ms);
}

static void check_line(const struct comparison *c, const struct expo_parser *parser,
	const struct expo_line *line, const struct slow_line *slow)
{
	check_number(c, "line number", (int64_t)parser->line, (int64_t)slow->number);
	check_name(c, "name", line->name, line->name_quoted, &slow->name);
	check_text(c, "text", line->text, buf_slice(&slow->text.bytes));
	if (line->kind == EXPO_SAMPLE)
		check_sample(c, line, slow);
	if (line->kind == EXPO_TYPE)
		check_text(c, "type", slice_from(type_words[line->type]),
			buf_slice(&slow->text.bytes));
}

static void check_error(
	const struct comparison *c, const struct err *err, const struct slow_parser *slow)
{
	char place[64];
	struct slice text = slice_from(err->text);

	snprintf(place, sizeof(place), "line %zu, column %zu: ", slow->error_line,
		slow->error_column);
	if (strncmp(err->text, place, strlen(place)) != 0)
		disagree(c, "place of the error", text, slice_from(place));
}

static void compare(struct slice input, enum expo_engine engine)
{
	static const enum slow_kind same_kind[] = {
		[EXPO_END] = SLOW_END,
		[EXPO_SAMPLE] = SLOW_SAMPLE,
		[EXPO_HELP] = SLOW_HELP,
		[EXPO_TYPE] = SLOW_TYPE,
		[EXPO_ERROR] = SLOW_ERROR,
	};
	struct slow_parser slow = {.input = input};
	struct comparison c = {.engine = engine_names[engine]};
	struct expo_parser parser;
	struct expo_line line;
	struct err err = {""};
	enum slow_kind kind;

	if (!expo_init_engine(&parser, input, engine))
		return;
	do {
		enum expo_kind fast_kind = expo_next(&parser, &line, &err);

		kind = slow_next(&slow);
		c.line = slow.line.number;
		if (same_kind[fast_kind] != kind)
			disagree(&c, err.text, slice_from(kind_names[fast_kind]),
				slice_from(kind_names[kind]));
		if (kind == SLOW_ERROR)
			check_error(&c, &err, &slow);
		else if (kind != SLOW_END)
			check_line(&c, &parser, &line, &slow.line);
	} while (kind != SLOW_END && kind != SLOW_ERROR);
	slow_free(&slow);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice input = {(const char *)bytes, len};

	for (int engine = EXPO_PORTABLE; engine <= EXPO_AVX2; engine++)
		compare(input, (enum expo_engine)engine);
	return 0;
}
