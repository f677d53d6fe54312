/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_FUZZ_SLOW_PARSER_H
#define PS_TESTS_FUZZ_SLOW_PARSER_H
/*
 * A second parser of the exposition format, to hold the first one against: one byte at a time, one
 * function a rule, everything copied, numbers by strtod. It is written from the description of the
 * format and the token rules of Prometheus' lexer and shares nothing with common/exposition, so
 * that both are wrong about the same thing only if the same thing was misunderstood twice. Rules
 * are in the order in which errors are found: of several errors in one line the first one counts,
 * except that repeated label names are looked for at the closing brace. Finding them takes the
 * square of their number. Pure; any thread; in the C locale.
 *
 * NUL bytes are where the format has no words for what Prometheus does: its lexer does not see them
 * in label values, HELP and TYPE texts, the two keywords and the blanks behind those; elsewhere
 * they end the input if a line or a comment could begin there, and are an error otherwise.
 */
#include "common/core/buf.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

enum slow_kind {
	SLOW_END,
	SLOW_SAMPLE,
	SLOW_HELP,
	SLOW_TYPE,
	SLOW_ERROR,
	SLOW_NOTHING, /* a line without content; slow_next never returns it */
};

/* What stood at `at` of the input, its escapes resolved. */
struct slow_text {
	size_t at;
	bool quoted;
	struct buf bytes;
};

struct slow_label {
	struct slow_text name, value;
};

struct slow_line {
	size_t number;         /* of the line it begins at, from 1 */
	struct slow_text name; /* of a sample, HELP or TYPE */
	bool named;
	struct slow_label *labels;
	size_t label_count;
	double value;
	bool has_timestamp;
	int64_t timestamp_ms;
	struct slow_text text; /* of HELP or TYPE, not unescaped */
};

struct slow_parser {
	struct slice input;
	size_t at;
	size_t next_number;
	size_t error_line, error_column; /* from 1, the column in bytes */
	struct slow_line line;
};

static inline void slow_text_clear(struct slow_text *text)
{
	buf_free(&text->bytes);
	*text = (struct slow_text){.at = 0};
}

static inline void slow_line_clear(struct slow_line *line)
{
	slow_text_clear(&line->name);
	slow_text_clear(&line->text);
	for (size_t i = 0; i < line->label_count; i++) {
		slow_text_clear(&line->labels[i].name);
		slow_text_clear(&line->labels[i].value);
	}
	free(line->labels);
	*line = (struct slow_line){.number = 0};
}

/* The byte at the parser's place; -1 at the end. */
static inline int slow_peek(const struct slow_parser *p)
{
	return p->at < p->input.len ? (unsigned char)p->input.ptr[p->at] : -1;
}

static inline bool slow_at_line_end(const struct slow_parser *p)
{
	return slow_peek(p) == -1 || slow_peek(p) == '\n';
}

static inline bool slow_is_blank(int c)
{
	return c == ' ' || c == '\t';
}

static inline bool slow_is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static inline bool slow_is_letter(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static inline void slow_skip_blanks(struct slow_parser *p)
{
	while (slow_is_blank(slow_peek(p)))
		p->at++;
}

/* Puts down where an error is; always false. */
static inline bool slow_fail(struct slow_parser *p, size_t where)
{
	p->error_line = 1;
	p->error_column = 1;
	for (size_t i = 0; i < where; i++) {
		p->error_column++;
		if (p->input.ptr[i] == '\n') {
			p->error_line++;
			p->error_column = 1;
		}
	}
	return false;
}

/* The code point that begins at `at` and how many bytes it takes; 0 if it is none. */
static inline size_t slow_code_point(struct slice text, size_t at)
{
	static const unsigned long smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned long first = (unsigned char)text.ptr[at], point;
	size_t len;

	if (first < 0x80)
		return 1;
	if (first < 0xc0 || first >= 0xf8)
		return 0;
	len = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	point = first & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if (at + i >= text.len || (text.ptr[at + i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (text.ptr[at + i] & 0x3f);
	}
	if (point < smallest[len] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return 0;
	return len;
}

/* Fails at the first byte from `from` to `to` that is not UTF-8. */
static inline bool slow_check_utf8(struct slow_parser *p, size_t from, size_t to)
{
	struct slice text = {p->input.ptr, to};
	size_t len;

	for (size_t at = from; at < to; at += len) {
		len = slow_code_point(text, at);
		if (len == 0)
			return slow_fail(p, at);
	}
	return true;
}

/* Copies the input from text->at to `to`, resolving \\, \" and \n. */
static inline void slow_copy_unescaped(
	const struct slow_parser *p, struct slow_text *text, size_t to)
{
	for (size_t at = text->at; at < to; at++) {
		char c = p->input.ptr[at], next = at + 1 < to ? p->input.ptr[at + 1] : 'x';

		if (c == '\\' && (next == '\\' || next == '"' || next == 'n')) {
			c = next == 'n' ? '\n' : next;
			at++;
		}
		buf_append_char(&text->bytes, c);
	}
}

/* Takes the byte that a backslash at the parser's place escapes, and both. */
static inline bool slow_take_escape(struct slow_parser *p, size_t opening)
{
	size_t backslash = p->at++;

	while (slow_peek(p) == '\0')
		p->at++;
	if (slow_peek(p) == -1)
		return slow_fail(p, opening);
	if (slow_peek(p) == '\n')
		return slow_fail(p, backslash);
	p->at++;
	return true;
}

/* Takes the text of a label's value, the opening quote being there. */
static inline bool slow_take_quoted_value(struct slow_parser *p, struct slow_text *value)
{
	size_t opening = p->at++;

	value->at = p->at;
	value->quoted = true;
	while (slow_peek(p) != '"') {
		if (slow_peek(p) == -1)
			return slow_fail(p, opening);
		if (slow_peek(p) != '\\')
			p->at++;
		else if (!slow_take_escape(p, opening))
			return false;
	}
	slow_copy_unescaped(p, value, p->at);
	p->at++;
	return true;
}

/* The same for a name, which lies on one line and is where NUL bytes are seen. */
static inline bool slow_take_quoted_name(struct slow_parser *p, struct slow_text *name)
{
	size_t opening = p->at++;
	bool escaped = false;

	name->at = p->at;
	name->quoted = true;
	for (; slow_peek(p) != '"' || escaped; p->at++) {
		if (slow_peek(p) == -1)
			return slow_fail(p, opening);
		if (slow_peek(p) == '\0' || slow_peek(p) == '\n')
			return slow_fail(p, p->at);
		escaped = slow_peek(p) == '\\' && !escaped;
	}
	slow_copy_unescaped(p, name, p->at);
	p->at++;
	return true;
}

/* Takes a name without quotes. */
static inline bool slow_take_plain(struct slow_parser *p, struct slow_text *name, bool allow_colon)
{
	int c = slow_peek(p);

	name->at = p->at;
	if (!slow_is_letter(c) && !(allow_colon && c == ':'))
		return slow_fail(p, p->at);
	while (slow_is_letter(c) || slow_is_digit(c) || (allow_colon && c == ':')) {
		buf_append_char(&name->bytes, (char)c);
		p->at++;
		c = slow_peek(p);
	}
	return true;
}

/* Takes a label's name, or what turns out to be the metric's. */
static inline bool slow_take_inner_name(struct slow_parser *p, struct slow_text *name)
{
	if (slow_peek(p) != '"')
		return slow_take_plain(p, name, false);
	if (!slow_take_quoted_name(p, name) || !slow_check_utf8(p, name->at, p->at - 1))
		return false;
	return name->bytes.len > 0 || slow_fail(p, name->at);
}

static inline bool slow_take_label_value(struct slow_parser *p, struct slow_text *value)
{
	if (slow_peek(p) != '=')
		return slow_fail(p, p->at);
	p->at++;
	slow_skip_blanks(p);
	if (slow_peek(p) != '"')
		return slow_fail(p, p->at);
	return slow_take_quoted_value(p, value) && slow_check_utf8(p, value->at, p->at - 1);
}

/* Takes what may stand between two commas. */
static inline bool slow_take_label(struct slow_parser *p)
{
	struct slow_line *line = &p->line;
	struct slow_label *label;
	size_t start = p->at;

	line->labels = xreallocarray(line->labels, line->label_count + 1, sizeof(*line->labels));
	label = &line->labels[line->label_count++];
	*label = (struct slow_label){.name = {.at = 0}};
	if (!slow_take_inner_name(p, &label->name))
		return false;
	slow_skip_blanks(p);
	if (!label->name.quoted || (slow_peek(p) != ',' && slow_peek(p) != '}'))
		return slow_take_label_value(p, &label->value);
	if (line->named)
		return slow_fail(p, start);
	line->named = true;
	line->name = label->name;
	line->label_count--;
	return true;
}

static inline bool slow_check_names(struct slow_parser *p)
{
	const struct slow_label *labels = p->line.labels;

	for (size_t i = 0; i < p->line.label_count; i++) {
		struct slice name = buf_slice(&labels[i].name.bytes);

		if (slice_is(name, "__name__"))
			return slow_fail(p, labels[i].name.at);
		for (size_t earlier = 0; earlier < i; earlier++)
			if (slice_eq(buf_slice(&labels[earlier].name.bytes), name))
				return slow_fail(p, labels[i].name.at);
	}
	return true;
}

/* Takes the labels with their braces. */
static inline bool slow_take_labels(struct slow_parser *p)
{
	p->at++;
	slow_skip_blanks(p);
	while (slow_peek(p) != '}') {
		if (!slow_take_label(p))
			return false;
		slow_skip_blanks(p);
		if (slow_peek(p) == ',')
			p->at++;
		slow_skip_blanks(p);
	}
	if (!slow_check_names(p))
		return false;
	if (!p->line.named)
		return slow_fail(p, p->at);
	p->at++;
	slow_skip_blanks(p);
	return true;
}

static inline bool slow_is_word(const char *text, const char *word)
{
	for (; *text != '\0' && *word != '\0'; text++, word++)
		if (*text != *word && *text != *word - 'a' + 'A')
			return false;
	return *text == *word;
}

static inline const char *slow_skip_digits(const char *at, size_t *count)
{
	for (; slow_is_digit(*at); at++)
		++*count;
	return at;
}

/* Whether it is [+-] digits with at most one point [e [+-] digits]. */
static inline bool slow_is_decimal(const char *at)
{
	size_t digits = 0, exponent_digits = 0;

	if (*at == '+' || *at == '-')
		at++;
	at = slow_skip_digits(at, &digits);
	if (*at == '.')
		at = slow_skip_digits(at + 1, &digits);
	if (digits == 0)
		return false;
	if (*at != 'e' && *at != 'E')
		return *at == '\0';
	at++;
	if (*at == '+' || *at == '-')
		at++;
	return *slow_skip_digits(at, &exponent_digits) == '\0' && exponent_digits > 0;
}

static inline bool slow_convert(const char *text, double *value)
{
	const char *unsigned_text = text + (*text == '+' || *text == '-');

	*value = strtod(text, NULL);
	if (slow_is_decimal(text))
		return !isinf(*value);
	return slow_is_word(text, "nan") || slow_is_word(unsigned_text, "inf") ||
	       slow_is_word(unsigned_text, "infinity");
}

static inline bool slow_take_value(struct slow_parser *p)
{
	struct buf text = {0};
	size_t start = p->at;
	bool valid;

	while (!slow_at_line_end(p) && !slow_is_blank(slow_peek(p)) && slow_peek(p) != '{')
		buf_append_char(&text, p->input.ptr[p->at++]);
	/* A NUL is in no number, and would hide what follows it. */
	valid = text.len > 0 && memchr(text.ptr, '\0', text.len) == NULL &&
		slow_convert(buf_cstr(&text), &p->line.value);
	buf_free(&text);
	slow_skip_blanks(p);
	return valid || slow_fail(p, start);
}

static inline bool slow_take_timestamp(struct slow_parser *p)
{
	size_t start = p->at;
	int64_t ms = 0;

	if (!slow_is_digit(slow_peek(p)))
		return slow_fail(p, p->at);
	for (; slow_is_digit(slow_peek(p)); p->at++) {
		int digit = slow_peek(p) - '0';

		if (ms > (INT64_MAX - digit) / 10)
			return slow_fail(p, start);
		ms = ms * 10 + digit;
	}
	p->line.has_timestamp = true;
	p->line.timestamp_ms = ms;
	slow_skip_blanks(p);
	return slow_at_line_end(p) || slow_fail(p, p->at);
}

/* Takes a sample; a name before the braces has been taken. */
static inline enum slow_kind slow_take_sample(struct slow_parser *p)
{
	slow_skip_blanks(p);
	if (slow_peek(p) == '{' && !slow_take_labels(p))
		return SLOW_ERROR;
	if (!slow_take_value(p))
		return SLOW_ERROR;
	if (!slow_at_line_end(p) && !slow_take_timestamp(p))
		return SLOW_ERROR;
	return SLOW_SAMPLE;
}

/* Passes over a comment, or over all that is left if there is a NUL in it that ends the input. */
static inline enum slow_kind slow_take_comment(struct slow_parser *p, bool nul_ends)
{
	for (; !slow_at_line_end(p); p->at++)
		if (nul_ends && slow_peek(p) == '\0') {
			p->at = p->input.len;
			break;
		}
	return SLOW_NOTHING;
}

/* Takes the keyword and the blanks behind it; NULs are as if they were not there. */
static inline bool slow_take_keyword(struct slow_parser *p, const char *keyword)
{
	size_t start = p->at;

	for (; *keyword != '\0' && slow_peek(p) == *keyword; keyword++)
		for (p->at++; slow_peek(p) == '\0';)
			p->at++;
	if (*keyword != '\0' || !slow_is_blank(slow_peek(p))) {
		p->at = start;
		return false;
	}
	while (slow_is_blank(slow_peek(p)) || slow_peek(p) == '\0')
		p->at++;
	return true;
}

/* Takes the name and the text of HELP or TYPE. One byte, whichever, separates them. */
static inline bool slow_take_meta(struct slow_parser *p)
{
	struct slow_line *line = &p->line;
	bool only_blanks = true;
	size_t behind_name;

	if (slow_peek(p) == '"' ? !slow_take_quoted_name(p, &line->name)
				: !slow_take_plain(p, &line->name, true))
		return false;
	if (slow_peek(p) == '\0')
		return slow_fail(p, p->at);
	behind_name = p->at;
	for (; !slow_at_line_end(p); p->at++)
		only_blanks = only_blanks && (slow_is_blank(slow_peek(p)) || slow_peek(p) == '\0');
	line->text.at = behind_name + (p->at > behind_name);
	if (!only_blanks)
		buf_append(&line->text.bytes, p->input.ptr + line->text.at, p->at - line->text.at);
	return true;
}

static inline enum slow_kind slow_take_help(struct slow_parser *p)
{
	if (!slow_take_meta(p) || !slow_check_utf8(p, p->line.text.at, p->at))
		return SLOW_ERROR;
	return SLOW_HELP;
}

static inline enum slow_kind slow_take_type(struct slow_parser *p)
{
	static const char *const words[] = {"counter", "gauge", "histogram", "summary", "untyped"};

	if (!slow_take_meta(p))
		return SLOW_ERROR;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (slice_is(buf_slice(&p->line.text.bytes), words[i]))
			return SLOW_TYPE;
	slow_fail(p, p->line.text.at);
	return SLOW_ERROR;
}

/* Takes a line that begins with '#'. */
static inline enum slow_kind slow_take_hash(struct slow_parser *p)
{
	p->at++;
	if (!slow_is_blank(slow_peek(p)))
		return slow_take_comment(p, true);
	slow_skip_blanks(p);
	if (slow_peek(p) == '\0')
		return slow_take_comment(p, true);
	if (slow_take_keyword(p, "HELP"))
		return slow_take_help(p);
	if (slow_take_keyword(p, "TYPE"))
		return slow_take_type(p);
	return slow_take_comment(p, false);
}

/* Takes one line without its newline. */
static inline enum slow_kind slow_take_line(struct slow_parser *p)
{
	size_t start = p->at;

	slow_skip_blanks(p);
	if (slow_at_line_end(p))
		return SLOW_NOTHING;
	if (slow_peek(p) == '\0')
		return slow_take_comment(p, true);
	if (slow_peek(p) == '#')
		return slow_take_hash(p);
	if (slow_peek(p) == '{')
		return slow_take_sample(p);
	if (!slow_take_plain(p, &p->line.name, true))
		return SLOW_ERROR;
	p->line.named = true;
	if (p->line.name.at == start)
		return slow_take_sample(p);
	slow_fail(p, start);
	return SLOW_ERROR;
}

/* `parser` must be all zeros but for its input. */
static inline enum slow_kind slow_next(struct slow_parser *p)
{
	while (p->at < p->input.len) {
		size_t start = p->at;
		enum slow_kind kind;

		slow_line_clear(&p->line);
		p->line.number = ++p->next_number;
		kind = slow_take_line(p);
		if (kind == SLOW_ERROR)
			return kind;
		for (size_t i = start; i < p->at; i++)
			p->next_number += p->input.ptr[i] == '\n';
		if (p->at < p->input.len)
			p->at++;
		if (kind != SLOW_NOTHING)
			return kind;
	}
	return SLOW_END;
}

static inline void slow_free(struct slow_parser *p)
{
	slow_line_clear(&p->line);
}

#endif
