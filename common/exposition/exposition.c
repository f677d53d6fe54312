/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser. This file reads any line, byte by byte, and alone decides what is an error and where:
 * the engines in fast_*.c recognise ordinary lines and leave all others to it. It follows the token
 * rules of Prometheus' lexer, oddities included, since data that Prometheus takes must not be lost
 * on its way there. Invariant: parser->at is always the beginning of a line, or the end.
 */
#include "common/exposition/exposition.h"

#include "common/exposition/chars.h"
#include "common/exposition/fast.h"
#include "common/exposition/number.h"
#include "common/exposition/sample_labels.h"

struct reader {
	const char *at;
	const char *end;
	const char *broken; /* where an error is */
	const char *reason;
};

static enum expo_kind fail(struct reader *r, const char *at, const char *reason)
{
	r->broken = at;
	r->reason = reason;
	return EXPO_ERROR;
}

static void skip_blanks(struct reader *r)
{
	r->at = skip_class(r->at, r->end, CHAR_BLANK);
}

static bool at_line_end(const struct reader *r)
{
	return r->at == r->end || *r->at == '\n';
}

static bool next_is(const struct reader *r, char c)
{
	return r->at < r->end && *r->at == c;
}

static struct slice slice_between(const char *from, const char *to)
{
	return (struct slice){from, (size_t)(to - from)};
}

/* Takes what belongs to the class; it may be empty. */
static struct slice take_class(struct reader *r, int class)
{
	const char *start = r->at;

	r->at = skip_class(r->at, r->end, class);
	return slice_between(start, r->at);
}

/* Takes a string in quotes, from its first quote on. */
static bool take_quoted(struct reader *r, struct slice *text)
{
	const char *start = r->at + 1, *broken;
	const char *quote = expo_find_quote(start, r->end, &broken);

	if (quote == NULL) {
		if (broken == r->end)
			fail(r, r->at, "quote that is never closed");
		else
			fail(r, broken, "backslash at the end of a line");
		return false;
	}
	*text = slice_between(start, quote);
	r->at = quote + 1;
	return true;
}

/* The same for a name, which has to be on one line: what is wrong with it is looked for there. */
static bool take_quoted_name(struct reader *r, struct slice *name)
{
	const char *start = r->at + 1, *at;

	for (at = start; at < r->end && *at != '"'; at++) {
		at += *at == '\\' && at + 1 < r->end;
		if (*at == '\n') {
			fail(r, at, "newline in a name");
			return false;
		}
		if (*at == '\0') {
			fail(r, at, "NUL byte in a name");
			return false;
		}
	}
	if (at == r->end) {
		fail(r, r->at, "quote that is never closed");
		return false;
	}
	*name = slice_between(start, at);
	r->at = at + 1;
	return true;
}

/* The same for a name that will be stored. */
static bool take_stored_name(struct reader *r, struct slice *name)
{
	const char *invalid;

	if (!take_quoted_name(r, name))
		return false;
	invalid = expo_invalid_utf8(*name);
	if (invalid != NULL)
		fail(r, invalid, "name is not valid UTF-8");
	else if (name->len == 0)
		fail(r, name->ptr, "empty name");
	else
		return true;
	return false;
}

/* Reads the equals sign and the value. */
static bool read_label_value(struct reader *r)
{
	const char *invalid;
	struct slice value;

	if (!next_is(r, '=')) {
		fail(r, r->at, "expected '=' after the label name");
		return false;
	}
	r->at++;
	skip_blanks(r);
	if (!next_is(r, '"')) {
		fail(r, r->at, "expected a label value in quotes");
		return false;
	}
	if (!take_quoted(r, &value))
		return false;
	invalid = expo_invalid_utf8(value);
	if (invalid != NULL)
		fail(r, invalid, "label value is not valid UTF-8");
	return invalid == NULL;
}

/* Reads one label, or the quoted metric name. */
static bool read_label(struct reader *r, struct expo_line *line)
{
	const char *start = r->at;
	bool quoted = next_is(r, '"');
	struct slice name;

	if (quoted) {
		if (!take_stored_name(r, &name))
			return false;
	} else if (r->at < r->end && char_is(*r->at, CHAR_LABEL_START)) {
		name = take_class(r, CHAR_LABEL);
	} else {
		fail(r, r->at, "expected a label name");
		return false;
	}
	skip_blanks(r);
	if (!quoted || (!next_is(r, ',') && !next_is(r, '}')))
		return read_label_value(r);
	if (line->name.ptr != NULL) {
		fail(r, start, "second metric name");
		return false;
	}
	line->name = name;
	line->name_quoted = true;
	return true;
}

/* Reads labels and the closing brace; the opening one has been read. */
static bool read_labels(struct reader *r, struct expo_line *line)
{
	const char *start = r->at, *refused;

	skip_blanks(r);
	while (!next_is(r, '}')) {
		if (!read_label(r, line))
			return false;
		skip_blanks(r);
		if (next_is(r, ',')) {
			r->at++;
			skip_blanks(r);
		}
	}
	line->labels = slice_between(start, r->at);
	refused = expo_refused_label(line->labels);
	if (refused != NULL)
		fail(r, refused,
			strncmp(refused, "__name__", 8) == 0 ? "label name __name__ is reserved"
							     : "label name occurs twice");
	r->at++;
	return refused == NULL;
}

/* Reads up to a blank, a newline or an opening brace, which is where Prometheus' lexer stops. */
static enum expo_kind read_value(struct reader *r, struct expo_line *line)
{
	const char *start = r->at;
	double ignored;

	while (!at_line_end(r) && !char_is(*r->at, CHAR_BLANK) && *r->at != '{')
		r->at++;
	line->value = slice_between(start, r->at);
	if (line->value.len == 0)
		return fail(r, start, "expected a value");
	switch (number_parse(line->value, &ignored)) {
	case NUMBER_MALFORMED:
		return fail(r, start, "value is not a number");
	case NUMBER_OUT_OF_RANGE:
		return fail(r, start, "value out of range");
	case NUMBER_OK:
		break;
	}
	return EXPO_SAMPLE;
}

static enum expo_kind read_timestamp(struct reader *r, struct expo_line *line)
{
	int64_t ms = 0;

	line->timestamp = take_class(r, CHAR_DIGIT);
	if (line->timestamp.len == 0)
		return fail(r, r->at, "expected a timestamp or the end of the line");
	for (size_t i = 0; i < line->timestamp.len; i++)
		if (__builtin_mul_overflow(ms, 10, &ms) ||
			__builtin_add_overflow(ms, line->timestamp.ptr[i] - '0', &ms))
			return fail(r, line->timestamp.ptr, "timestamp out of range");
	skip_blanks(r);
	if (!at_line_end(r))
		return fail(r, r->at, "expected the end of the line");
	return EXPO_SAMPLE;
}

/* Reads a sample from its opening brace or, where the name came first, from behind the name. */
static enum expo_kind read_sample(struct reader *r, struct expo_line *line)
{
	skip_blanks(r);
	if (next_is(r, '{')) {
		r->at++;
		if (!read_labels(r, line))
			return EXPO_ERROR;
		if (line->name.ptr == NULL)
			return fail(r, r->at - 1, "no metric name");
		skip_blanks(r);
	}
	if (read_value(r, line) == EXPO_ERROR)
		return EXPO_ERROR;
	skip_blanks(r);
	return at_line_end(r) ? EXPO_SAMPLE : read_timestamp(r, line);
}

/* Passes over blanks where Prometheus' lexer does not see NULs either. */
static const char *skip_unseen(const char *at, const char *end)
{
	while (at < end && (char_is(*at, CHAR_BLANK) || *at == '\0'))
		at++;
	return at;
}

/* Reads the name behind HELP or TYPE, and the rest of the line less one byte that separates it. */
static bool read_meta(struct reader *r, struct expo_line *line)
{
	const char *start;

	line->name_quoted = next_is(r, '"');
	if (line->name_quoted) {
		if (!take_quoted_name(r, &line->name))
			return false;
	} else if (r->at < r->end && char_is(*r->at, CHAR_NAME_START)) {
		line->name = take_class(r, CHAR_NAME);
	} else {
		fail(r, r->at, "expected a metric name");
		return false;
	}
	if (next_is(r, '\0')) {
		fail(r, r->at, "NUL byte behind a name");
		return false;
	}
	start = at_line_end(r) ? r->at : r->at + 1;
	r->at = memchr(start, '\n', (size_t)(r->end - start));
	if (r->at == NULL)
		r->at = r->end;
	line->text = slice_between(start, r->at);
	return true;
}

static enum expo_kind read_help(struct reader *r, struct expo_line *line)
{
	const char *invalid;

	if (!read_meta(r, line))
		return EXPO_ERROR;
	invalid = expo_invalid_utf8(line->text);
	if (invalid != NULL)
		return fail(r, invalid, "help text is not valid UTF-8");
	/* The byte in front of the text is among the blanks, or they are the text. */
	if (line->text.len > 0 && skip_unseen(line->text.ptr - 1, r->at) == r->at)
		line->text.len = 0;
	return EXPO_HELP;
}

static enum expo_kind read_type(struct reader *r, struct expo_line *line)
{
	static const struct {
		const char *word;
		enum expo_type type;
	} types[] = {
		{"counter", EXPO_COUNTER},
		{"gauge", EXPO_GAUGE},
		{"histogram", EXPO_HISTOGRAM},
		{"summary", EXPO_SUMMARY},
		{"untyped", EXPO_UNTYPED},
	};

	if (!read_meta(r, line))
		return EXPO_ERROR;
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (slice_is(line->text, types[i].word)) {
			line->type = types[i].type;
			return EXPO_TYPE;
		}
	return fail(r, line->text.ptr, "unknown metric type");
}

/* Passes over a comment. A NUL ends the input, but only where Prometheus' lexer can see it. */
static enum expo_kind read_comment(struct reader *r, bool nul_ends)
{
	const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
	const char *line_end = newline == NULL ? r->end : newline;

	if (nul_ends && memchr(r->at, '\0', (size_t)(line_end - r->at)) != NULL)
		line_end = r->end;
	r->at = line_end;
	return EXPO_END;
}

/*
 * Takes "HELP" or "TYPE" with the blank that makes it more than a comment. Prometheus' lexer does
 * not see NULs behind the first letter.
 */
static bool take_keyword(struct reader *r, const char *keyword)
{
	const char *at = r->at;

	for (; *keyword != '\0'; keyword++) {
		if (at == r->end || *at != *keyword)
			return false;
		for (at++; at < r->end && *at == '\0';)
			at++;
	}
	if (at == r->end || !char_is(*at, CHAR_BLANK))
		return false;
	r->at = skip_unseen(at, r->end);
	return true;
}

/* Reads a line that begins with '#'. */
static enum expo_kind read_hash(struct reader *r, struct expo_line *line)
{
	r->at++;
	if (r->at == r->end || !char_is(*r->at, CHAR_BLANK))
		return read_comment(r, true);
	skip_blanks(r);
	if (take_keyword(r, "HELP"))
		return read_help(r, line);
	if (take_keyword(r, "TYPE"))
		return read_type(r, line);
	return read_comment(r, next_is(r, '\0'));
}

/*
 * Reads one line, and leaves r->at at its end. EXPO_END stands for a line that holds nothing.
 */
static enum expo_kind read_line(struct reader *r, struct expo_line *line)
{
	const char *start = r->at;

	*line = (struct expo_line){.kind = EXPO_END};
	skip_blanks(r);
	if (at_line_end(r))
		return EXPO_END;
	if (*r->at == '#')
		return read_hash(r, line);
	if (*r->at == '{')
		return read_sample(r, line);
	if (*r->at == '\0') {
		r->at = r->end;
		return EXPO_END;
	}
	if (!char_is(*r->at, CHAR_NAME_START))
		return fail(r, r->at, "expected a metric name");
	/* Prometheus takes such blanks for a part of the name, and then refuses the name. */
	if (r->at != start)
		return fail(r, start, "blank before the metric name");
	line->name = take_class(r, CHAR_NAME);
	return read_sample(r, line);
}

static size_t count_newlines(const char *at, const char *end)
{
	size_t count = 0;

	while (at < end && (at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
		count++;
		at++;
	}
	return count;
}

/* An error stays: the next call finds the same one again. */
static void report(const struct expo_parser *parser, const struct reader *r, struct err *err)
{
	const char *start = parser->input.ptr + parser->at;
	const char *newline = memrchr(start, '\n', (size_t)(r->broken - start));
	size_t line = parser->line + count_newlines(start, r->broken);
	size_t column = (size_t)(r->broken - (newline == NULL ? start : newline + 1)) + 1;

	err_setf(err, "line %zu, column %zu: %s", line, column, r->reason);
}

static enum expo_kind read_carefully(
	struct expo_parser *parser, struct expo_line *line, struct err *err)
{
	const char *start = parser->input.ptr + parser->at;
	struct reader r = {.at = start, .end = parser->input.ptr + parser->input.len};
	enum expo_kind kind = read_line(&r, line);

	line->kind = kind;
	if (line->kind == EXPO_ERROR) {
		report(parser, &r, err);
		return EXPO_ERROR;
	}
	line->whole = slice_between(start, r.at);
	parser->next_line += count_newlines(start, r.at) + 1;
	parser->at += line->whole.len + (r.at < r.end);
	return line->kind;
}

enum expo_kind expo_next(struct expo_parser *parser, struct expo_line *line, struct err *err)
{
	while (parser->at < parser->input.len) {
		enum expo_kind kind = EXPO_END;

		parser->line = parser->next_line;
		if (parser->fast != NULL) {
			const char *input = parser->input.ptr;

			kind = parser->fast(input + parser->at, input + parser->input.len, line);
		}
		if (kind != EXPO_END) {
			parser->next_line++;
			parser->at += line->whole.len + 1;
			return kind;
		}
		kind = read_carefully(parser, line, err);
		if (kind != EXPO_END)
			return kind;
	}
	line->kind = EXPO_END;
	return EXPO_END;
}

bool expo_init_engine(struct expo_parser *parser, struct slice input, enum expo_engine engine)
{
	*parser = (struct expo_parser){.input = input, .next_line = 1, .fast = expo_fast(engine)};
	return engine == EXPO_PORTABLE || parser->fast != NULL;
}

void expo_init(struct expo_parser *parser, struct slice input)
{
	if (!expo_init_engine(parser, input, EXPO_AVX2) &&
		!expo_init_engine(parser, input, EXPO_SSSE3))
		*parser = (struct expo_parser){.input = input, .next_line = 1};
}

double expo_value(struct slice value)
{
	double result = 0;

	if (number_parse(value, &result) != NUMBER_OK)
		return 0; /* not a value that the parser let through */
	return result;
}

int64_t expo_timestamp_ms(struct slice timestamp)
{
	int64_t ms = 0;

	for (size_t i = 0; i < timestamp.len; i++)
		ms = ms * 10 + (timestamp.ptr[i] - '0');
	return ms;
}

bool expo_metric_name_is_legacy(struct slice name)
{
	const char *end;

	if (name.len == 0 || !char_is(*name.ptr, CHAR_NAME_START))
		return false;
	end = name.ptr + name.len;
	return skip_class(name.ptr, end, CHAR_NAME) == end;
}

int64_t expo_count_samples(struct slice input, struct err *err)
{
	struct expo_parser parser;
	struct expo_line line;
	enum expo_kind kind;
	int64_t samples = 0;

	expo_init(&parser, input);
	while ((kind = expo_next(&parser, &line, err)) != EXPO_END) {
		if (kind == EXPO_ERROR)
			return -1;
		samples += kind == EXPO_SAMPLE;
	}
	return samples;
}
