/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Selectors from their text, by hand: one token is looked at at a time. What is wrong is told with
 * its position (bytes, from 1).
 */
#include "receiver/sink/selector.h"

#include "common/exposition/chars.h"

#include <stdlib.h>

#define NAME_LABEL "__name__"

struct reader {
	const char *begin, *at, *end;
	struct selectors *all;
	struct selector *selector;
	bool is_named; /* the name was given other than by a matcher on __name__ */
	struct err *err;
};

static int fail(const struct reader *reader, const char *what)
{
	return err_setf(
		reader->err, "position %zu: %s", (size_t)(reader->at - reader->begin) + 1, what);
}

/* Blanks, and comments up to the end of their line. */
static void skip_blanks(struct reader *reader)
{
	for (; reader->at < reader->end; reader->at++) {
		if (*reader->at == '#')
			while (reader->at + 1 < reader->end && *reader->at != '\n')
				reader->at++;
		else if (strchr(" \t\r\n", *reader->at) == NULL || *reader->at == '\0')
			return;
	}
}

static bool next_is(struct reader *reader, char c)
{
	skip_blanks(reader);
	return reader->at < reader->end && *reader->at == c;
}

static bool take(struct reader *reader, char c)
{
	if (!next_is(reader, c))
		return false;
	reader->at++;
	return true;
}

/* Texts in quotes. */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* So many digits of base 8 or 16; -1 where one is missing. */
static int64_t take_number(struct reader *reader, size_t digits, int base)
{
	int64_t number = 0;

	for (size_t i = 0; i < digits; i++, reader->at++) {
		int digit = reader->at == reader->end ? -1 : hex_digit(*reader->at);

		if (digit < 0 || digit >= base)
			return -1;
		number = number * base + digit;
	}
	return number;
}

static void append_rune(struct buf *out, uint32_t rune)
{
	char bytes[4];
	size_t len = rune < 0x80 ? 1 : rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;

	if (len == 1) {
		buf_append_char(out, (char)rune);
		return;
	}
	for (size_t i = len; i-- > 1; rune >>= 6)
		bytes[i] = (char)(0x80 | (rune & 0x3f));
	bytes[0] = (char)((0xf00 >> len & 0xf0) | rune);
	buf_append(out, bytes, len);
}

/* A character by its number: one byte, or Unicode. */
static int take_coded(struct reader *reader, struct buf *out, char kind)
{
	size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 3;
	int64_t number;

	if (digits == 3)
		reader->at--; /* its first digit */
	number = take_number(reader, digits, digits == 3 ? 8 : 16);
	if (number < 0 || (digits <= 3 && number > 0xff) || number > 0x10ffff ||
		(digits > 3 && number >= 0xd800 && number < 0xe000))
		return fail(reader, "malformed escape in a text");
	if (digits > 3)
		append_rune(out, (uint32_t)number);
	else
		buf_append_char(out, (char)number);
	return 0;
}

/* What follows a backslash, by Go's rules. */
static int take_escape(struct reader *reader, struct buf *out, char quote)
{
	static const char names[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
	char c = reader->at == reader->end ? '\0' : *reader->at++;
	const char *named = c == '\0' ? NULL : strchr(names, c);

	if (named != NULL)
		buf_append_char(out, values[named - names]);
	else if (c == quote)
		buf_append_char(out, c);
	else if (c != '\0' && strchr("xuU01234567", c) != NULL)
		return take_coded(reader, out, c);
	else
		return fail(reader, "unknown escape in a text");
	return 0;
}

/* Reads a text in quotes of any kind; the next character is the quote. */
static int read_text(struct reader *reader, struct buf *out)
{
	char quote = *reader->at++;

	while (reader->at < reader->end && *reader->at != quote) {
		char c = *reader->at++;

		if (c == '\n' && quote != '`')
			return fail(reader, "a text ends within its line");
		if (c != '\\' || quote == '`')
			buf_append_char(out, c);
		else if (take_escape(reader, out, quote) < 0)
			return -1;
	}
	if (reader->at == reader->end)
		return fail(reader, "a text without its closing quote");
	reader->at++;
	return 0;
}

static bool text_is_next(struct reader *reader)
{
	return next_is(reader, '"') || next_is(reader, '\'') || next_is(reader, '`');
}

/* Matchers. */

static int read_op(struct reader *reader, enum matcher_op *op)
{
	bool is_negative = take(reader, '!');
	const char *at = reader->at;

	if (is_negative && at < reader->end && *at == '~') {
		*op = MATCHER_NOT_REGEX;
	} else if (at < reader->end && *at == '=') {
		*op = is_negative ? MATCHER_NOT_EQUAL : MATCHER_EQUAL;
		if (!is_negative && at + 1 < reader->end && at[1] == '~') {
			*op = MATCHER_REGEX;
			reader->at++;
		}
	} else {
		return fail(reader, "expected one of =, !=, =~ and !~");
	}
	reader->at++;
	return 0;
}

/* A place for another one; freed with the selector whatever becomes of it. */
static struct matcher *add_matcher(struct reader *reader)
{
	if (reader->selector->count == SELECTOR_MAX_MATCHERS ||
		reader->all->matchers == SELECTORS_MAX_MATCHES) {
		fail(reader, "too many matchers");
		return NULL;
	}
	reader->all->matchers++;
	return &reader->selector->items[reader->selector->count++];
}

/* The metric's name without a matcher: before the braces, or in quotes within them. */
static int set_name(struct reader *reader, struct matcher *matcher)
{
	if (reader->is_named)
		return fail(reader, "the metric's name must not be set twice");
	reader->is_named = true;
	matcher->value = buf_take(&matcher->name);
	buf_append_str(&matcher->name, NAME_LABEL);
	matcher->op = MATCHER_EQUAL;
	return 0;
}

static int read_value(struct reader *reader, struct matcher *matcher)
{
	struct err why;

	if (read_op(reader, &matcher->op) < 0)
		return -1;
	if (!text_is_next(reader))
		return fail(reader, "expected a text in quotes");
	if (read_text(reader, &matcher->value) < 0)
		return -1;
	if (matcher->op < MATCHER_REGEX)
		return 0;
	matcher->pattern = pattern_new(buf_slice(&matcher->value), &why);
	if (matcher->pattern != NULL)
		return 0;
	return err_setf(reader->err, "position %zu: malformed regular expression: %s",
		(size_t)(reader->at - reader->begin) + 1, why.text);
}

static int read_matcher(struct reader *reader)
{
	struct matcher *matcher = add_matcher(reader);
	bool is_quoted = text_is_next(reader);
	const char *end;

	if (matcher == NULL)
		return -1;
	if (is_quoted) {
		if (read_text(reader, &matcher->name) < 0)
			return -1;
		if (next_is(reader, ',') || next_is(reader, '}'))
			return set_name(reader, matcher);
		return read_value(reader, matcher);
	}
	if (reader->at == reader->end || !char_is(*reader->at, CHAR_LABEL_START))
		return fail(reader, "expected a label's name or }");
	end = skip_class(reader->at, reader->end, CHAR_LABEL);
	buf_append(&matcher->name, reader->at, (size_t)(end - reader->at));
	reader->at = end;
	return read_value(reader, matcher);
}

static int read_braces(struct reader *reader)
{
	reader->at++;
	while (!take(reader, '}')) {
		if (read_matcher(reader) < 0)
			return -1;
		if (!take(reader, ',') && !next_is(reader, '}'))
			return fail(reader, "expected , or }");
	}
	return 0;
}

static int read_metric(struct reader *reader)
{
	const char *end = skip_class(reader->at, reader->end, CHAR_NAME);
	struct matcher *matcher = add_matcher(reader);

	if (matcher == NULL)
		return -1;
	buf_append(&matcher->name, reader->at, (size_t)(end - reader->at));
	reader->at = end;
	return set_name(reader, matcher);
}

static int read_all(struct reader *reader)
{
	bool has_metric;

	skip_blanks(reader);
	has_metric = reader->at < reader->end && char_is(*reader->at, CHAR_NAME_START);
	if (has_metric && read_metric(reader) < 0)
		return -1;
	if (next_is(reader, '{')) {
		if (read_braces(reader) < 0)
			return -1;
	} else if (!has_metric) {
		return fail(reader, "expected a metric's name or {");
	}
	skip_blanks(reader);
	return reader->at == reader->end ? 0 : fail(reader, "something follows the selector");
}

/* What concerns the whole: one name, and not everything by mistake. */
static int judge(struct reader *reader)
{
	size_t names = 0;
	bool is_bound = false;

	for (size_t i = 0; i < reader->selector->count; i++) {
		struct matcher *matcher = &reader->selector->items[i];

		matcher->is_name = slice_is(buf_slice(&matcher->name), NAME_LABEL);
		names += matcher->is_name;
		is_bound =
			is_bound || !selectors_match(reader->all, matcher, (struct slice){NULL, 0});
	}
	if (reader->is_named && names > 1)
		return err_setf(reader->err, "the metric's name must not be set twice");
	if (!is_bound)
		return err_setf(reader->err, "at least one matcher must not match the empty text");
	return 0;
}

static void selector_fini(struct selector *selector)
{
	for (size_t i = 0; i < selector->count; i++) {
		buf_free(&selector->items[i].name);
		buf_free(&selector->items[i].value);
		pattern_free(selector->items[i].pattern);
	}
}

int selectors_add(struct selectors *selectors, struct slice text, struct err *err)
{
	struct reader reader = {
		.begin = text.ptr, .at = text.ptr, .end = text.ptr + text.len, .all = selectors};

	reader.err = err;
	if (selectors->count == SELECTORS_MAX)
		return err_setf(err, "more than %d selectors", SELECTORS_MAX);
	if (text.len > SELECTOR_MAX_BYTES)
		return err_setf(err, "longer than %d bytes", SELECTOR_MAX_BYTES);
	selectors->items =
		xreallocarray(selectors->items, selectors->count + 1, sizeof(*selectors->items));
	reader.selector = &selectors->items[selectors->count++];
	memset(reader.selector, 0, sizeof(*reader.selector));
	return read_all(&reader) < 0 ? -1 : judge(&reader);
}

bool selectors_match(struct selectors *selectors, const struct matcher *matcher, struct slice value)
{
	enum pattern_verdict verdict;

	if (matcher->op == MATCHER_EQUAL)
		return slice_eq(value, buf_slice(&matcher->value));
	if (matcher->op == MATCHER_NOT_EQUAL)
		return !slice_eq(value, buf_slice(&matcher->value));
	verdict = pattern_match(matcher->pattern, value);
	selectors->limits_hit += verdict == PATTERN_LIMIT;
	return verdict == (matcher->op == MATCHER_REGEX ? PATTERN_YES : PATTERN_NO);
}

void selectors_fini(struct selectors *selectors)
{
	for (size_t i = 0; i < selectors->count; i++)
		selector_fini(&selectors->items[i]);
	free(selectors->items);
	*selectors = (struct selectors){0};
}
