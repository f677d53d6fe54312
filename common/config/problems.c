/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was wrong with a document: gathered while it is read, told in the order of the file. A file
 * of nonsense has no end of errors, so that only the first CONFIG_MAX_PROBLEMS are kept; the rest
 * count.
 */
#include "common/config/value.h"

#include "common/core/url.h"

#include <stdarg.h>
#include <stdio.h>

#define WORD_MAX_BYTES    64 /* longer words are not compared */
#define PART_MIN_BYTES    4  /* a word this long suggests the key that holds it */
#define PART_ONLY_PENALTY 100

struct config_problem {
	struct yaml_position position;
	size_t order;
	bool warning;
	char *text;
};

/* Texts quote what was written, and a URL in the wrong place may hold a password. */
static char *without_secrets(const char *text)
{
	struct buf shown = {0};
	bool is_quoted = false;

	while (*text != '\0') {
		size_t len = strcspn(text, is_quoted ? "\"" : "\" ");
		char *part = xstrndup(text, len);
		char *redacted = url_redact(part);

		buf_append_str(&shown, redacted);
		free(redacted);
		free(part);
		text += len;
		is_quoted ^= *text == '"';
		if (*text != '\0')
			buf_append_char(&shown, *text++);
	}
	buf_cstr(&shown);
	return shown.ptr;
}

PRINTF_LIKE(4, 0)
static void add(struct config *config, struct yaml_position position, bool warning, const char *fmt,
	va_list args)
{
	struct config_problem problem = {position, config->problem_count, warning, NULL};
	struct err err;
	char text[sizeof(err.text)];

	config->error_count += !warning;
	if (config->problem_count >= CONFIG_MAX_PROBLEMS)
		return;
	vsnprintf(text, sizeof(text), fmt, args);
	err_setf(&err, "%s", text);
	problem.text = without_secrets(err.text);
	config->problems = xreallocarray(
		config->problems, config->problem_count + 1, sizeof(*config->problems));
	config->problems[config->problem_count++] = problem;
}

void config_error_at(struct config *config, struct yaml_position position, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add(config, position, false, fmt, args);
	va_end(args);
}

void config_warn_at(struct config *config, struct yaml_position position, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add(config, position, true, fmt, args);
	va_end(args);
}

static int compare(const void *left, const void *right)
{
	const struct config_problem *a = left, *b = right;

	if (a->position.line != b->position.line)
		return a->position.line < b->position.line ? -1 : 1;
	if (a->position.column != b->position.column)
		return a->position.column < b->position.column ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

size_t config_report(struct config *config, struct buf *out)
{
	size_t errors = config->error_count, told = 0;

	if (config->problem_count > 0)
		qsort(config->problems, config->problem_count, sizeof(*config->problems), compare);
	for (size_t i = 0; i < config->problem_count; i++) {
		struct config_problem *problem = &config->problems[i];

		buf_appendf(out, "%s:%d:%d: %s%s\n", config->path, problem->position.line,
			problem->position.column, problem->warning ? "warning: " : "",
			problem->text);
		told += !problem->warning;
		free(problem->text);
	}
	if (told < errors)
		buf_appendf(out, "%s: and %zu more errors\n", config->path, errors - told);
	free(config->problems);
	config->problems = NULL;
	config->problem_count = config->error_count = 0;
	return errors;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* How many characters were added, left out, replaced or swapped with their neighbour. */
static size_t edit_distance(struct slice a, struct slice b)
{
	size_t rows[3][WORD_MAX_BYTES + 1];
	size_t *before = rows[0], *above = rows[1], *current = rows[2];

	for (size_t j = 0; j <= b.len; j++)
		above[j] = before[j] = j;
	for (size_t i = 1; i <= a.len; i++) {
		size_t *spare = before;

		current[0] = i;
		for (size_t j = 1; j <= b.len; j++) {
			size_t replaced = above[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);

			current[j] = smaller(replaced, smaller(above[j], current[j - 1]) + 1);
			if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] &&
				a.ptr[i - 2] == b.ptr[j - 1])
				current[j] = smaller(current[j], before[j - 2] + 1);
		}
		before = above;
		above = current;
		current = spare;
	}
	return above[b.len];
}

static bool holds(struct slice whole, struct slice part)
{
	return part.len >= PART_MIN_BYTES && memmem(whole.ptr, whole.len, part.ptr, part.len);
}

bool config_is_near(struct slice word, struct slice candidate, size_t *distance)
{
	size_t allowed = word.len <= 3 ? 1 : word.len <= 6 ? 2 : 3;

	if (word.len == 0 || word.len > WORD_MAX_BYTES || candidate.len > WORD_MAX_BYTES)
		return false;
	*distance = edit_distance(word, candidate);
	if (*distance <= allowed && *distance < word.len)
		return true;
	*distance += PART_ONLY_PENALTY;
	return holds(candidate, word) || holds(word, candidate);
}
