/* SPDX-License-Identifier: Apache-2.0 */
/* The input is copied in stretches, from behind one sample to the value of the next. */
#include "receiver/sink/files_body.h"

#include "common/core/metrics.h"
#include "common/core/table.h"
#include "common/exposition/exposition.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const own_names[] = {"up", "scrape_duration_seconds", "scrape_samples_scraped"};

static void append_label(struct buf *out, bool is_first, const char *name, struct slice value)
{
	buf_appendf(out, "%s%s=\"", is_first ? "" : ",", name);
	expo_escape(value, out);
	buf_append_char(out, '"');
}

void files_body_title(struct buf *out, struct slice publisher, struct slice job,
	struct slice instance, const struct labels *labels)
{
	buf_append_str(out, "# target {");
	append_label(out, true, "publisher", publisher);
	append_label(out, false, "job", job);
	append_label(out, false, "instance", instance);
	for (size_t i = 0; i < labels->count; i++)
		append_label(out, false, labels->items[i].name, slice_from(labels->items[i].value));
	buf_append_str(out, "}\n");
}

static void append_own(
	struct buf *out, const struct files_scrape *scrape, size_t index, double value)
{
	buf_appendf(out, "# TYPE %s gauge\n%s ", own_names[index], own_names[index]);
	metrics_append_number(out, value);
	buf_appendf(out, " %" PRId64 "\n", scrape->time_ms);
}

static void append_report(
	struct buf *out, const struct files_scrape *scrape, bool up, double samples)
{
	append_own(out, scrape, 0, up);
	append_own(out, scrape, 1, scrape->duration_s);
	append_own(out, scrape, 2, samples);
}

/* What we say ourselves, as Prometheus does, is not the target's to say. */
static bool is_displaced(const struct expo_line *line)
{
	if (line->kind == EXPO_SAMPLE && line->labels.len > 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(own_names); i++)
		if (slice_is(line->name, own_names[i]))
			return true;
	return false;
}

/* How far the input has been copied. */
struct copy {
	struct buf *out;
	struct slice input;
	size_t at;
	char stamp[32]; /* " <time>" */
};

static void copy_to(struct copy *copy, const char *end)
{
	size_t upto = (size_t)(end - copy->input.ptr);

	buf_append(copy->out, copy->input.ptr + copy->at, upto - copy->at);
	copy->at = upto;
}

static void copy_line(
	struct copy *copy, const struct files_scrape *scrape, const struct expo_line *line)
{
	const char *end = line->whole.ptr + line->whole.len;

	if (is_displaced(line)) {
		copy_to(copy, line->whole.ptr);
		copy->at = (size_t)(end - copy->input.ptr);
		copy->at += copy->at < copy->input.len; /* its newline */
		return;
	}
	if (line->kind != EXPO_SAMPLE || (line->timestamp.len > 0 && !scrape->ignores_timestamps))
		return;
	copy_to(copy, line->value.ptr + line->value.len);
	buf_append_str(copy->out, copy->stamp);
	copy->at = (size_t)(end - copy->input.ptr);
}

/* What follows the last line is comments, up to the end of the input, or to a NUL, which is one. */
static void copy_tail(struct copy *copy)
{
	const char *from = copy->input.ptr + copy->at;
	size_t len = copy->input.len - copy->at;
	const char *nul = len == 0 ? NULL : memchr(from, 0, len);

	if (len > 0)
		copy_to(copy, nul != NULL ? nul : from + len);
}

int files_body_up(struct buf *out, const struct files_scrape *scrape, struct slice exposition,
	struct err *err)
{
	struct copy copy = {.out = out, .input = exposition};
	size_t before = out->len;
	struct expo_parser parser;
	struct expo_line line;
	enum expo_kind kind;
	uint64_t samples = 0;

	snprintf(copy.stamp, sizeof(copy.stamp), " %" PRId64, scrape->time_ms);
	buf_append_slice(out, scrape->title);
	expo_init(&parser, exposition);
	while ((kind = expo_next(&parser, &line, err)) > EXPO_END && kind != EXPO_ERROR) {
		samples += kind == EXPO_SAMPLE;
		copy_line(&copy, scrape, &line);
	}
	if (kind == EXPO_ERROR) {
		out->len = before;
		return -1;
	}
	copy_tail(&copy);
	if (out->ptr[out->len - 1] != '\n')
		buf_append_char(out, '\n');
	append_report(out, scrape, true, (double)samples);
	return 0;
}

void files_body_down(struct buf *out, const struct files_scrape *scrape, const char *error)
{
	size_t begin;

	buf_append_slice(out, scrape->title);
	buf_append_str(out, "# error ");
	begin = out->len;
	buf_append_str(out, error == NULL ? "the scrape failed" : error);
	for (size_t i = begin; i < out->len; i++)
		if ((unsigned char)out->ptr[i] < ' ')
			out->ptr[i] = ' ';
	buf_append_char(out, '\n');
	append_report(out, scrape, false, 0);
}
