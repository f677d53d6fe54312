/* SPDX-License-Identifier: Apache-2.0 */
/*
 * push_sample.h tells which lines can be copied and writes the others anew; here the target's
 * labels go into the braces of either.
 */
#include "receiver/sink/victoria_body.h"

#include "common/core/metrics.h"
#include "receiver/sink/push_sample.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const own_names[] = {"up", "scrape_duration_seconds", "scrape_samples_scraped"};

struct writer {
	struct buf *out;
	const struct victoria_scrape *scrape;
	struct push_rewriter rewriter;
	struct buf prefix; /* the target's labels, without braces */
	struct buf raw;
	char stamp[32]; /* " <time>\n" */
};

static void append_label(struct buf *out, struct slice name, struct slice escaped, bool *is_first)
{
	if (escaped.len == 0)
		return;
	if (!*is_first)
		buf_append_char(out, ',');
	*is_first = false;
	buf_append_slice(out, name);
	buf_append_str(out, "=\"");
	buf_append_slice(out, escaped);
	buf_append_char(out, '"');
}

static void writer_init(
	struct writer *writer, struct buf *out, const struct victoria_scrape *scrape)
{
	const struct push_labels *labels = scrape->labels;
	struct buf value = {0};
	bool is_first = true;

	*writer = (struct writer){.out = out, .scrape = scrape};
	writer->rewriter.group = labels;
	writer->rewriter.honor_labels = scrape->honor_labels;
	for (size_t i = 0; i < labels->count; i++) {
		buf_clear(&value);
		expo_escape(labels->items[i].value, &value);
		append_label(&writer->prefix, labels->items[i].name, buf_slice(&value), &is_first);
	}
	buf_free(&value);
	snprintf(writer->stamp, sizeof(writer->stamp), " %" PRId64 "\n", scrape->time_ms);
}

static void writer_fini(struct writer *writer)
{
	push_rewriter_fini(&writer->rewriter);
	buf_free(&writer->prefix);
	buf_free(&writer->raw);
}

static bool is_own(struct slice name)
{
	for (size_t i = 0; i < ARRAY_LEN(own_names); i++)
		if (slice_is(name, own_names[i]))
			return true;
	return false;
}

/* What stands between the braces of the line, ours not among it. */
static struct slice inner_of(
	const struct writer *writer, const struct expo_line *line, const struct push_sample *sample)
{
	const char *begin;
	size_t len;

	if (!sample->rewritten)
		return line->labels;
	/* "name{…} value" or "name value", as push_sample.c writes it. */
	begin = writer->rewriter.lines.ptr + sample->line_at + sample->name.len;
	len = sample->line_len - sample->name.len - line->value.len - 1;
	return len < 2 ? (struct slice){"", 0} : (struct slice){begin + 1, len - 2};
}

/* It may hold a raw newline, which ends a line for the far side. */
static void normalise(struct writer *writer, struct slice escaped, struct buf *out)
{
	buf_clear(&writer->raw);
	expo_unescape(escaped, &writer->raw);
	expo_escape(buf_slice(&writer->raw), out);
}

/* Those of the target that the sample does not say itself, then its own. */
static void append_honoured(
	struct writer *writer, struct slice inner, const struct push_sample *sample)
{
	const struct push_labels *labels = writer->scrape->labels;
	struct expo_label label;
	struct buf value = {0};
	bool is_first = true;

	for (size_t i = 0; i < labels->count; i++) {
		buf_clear(&value);
		if (sample->exposed[i].ptr == NULL)
			expo_escape(labels->items[i].value, &value);
		else if (sample->rewritten)
			normalise(writer, sample->exposed[i], &value);
		append_label(writer->out, labels->items[i].name, buf_slice(&value), &is_first);
	}
	buf_free(&value);
	while (expo_labels_next(&inner, &label))
		append_label(writer->out, label.name, label.value, &is_first);
}

/* A label with an empty value is none, and would stand beside the target's of that name. */
static void append_labels(
	struct writer *writer, struct slice inner, const struct push_sample *sample)
{
	struct buf *out = writer->out;
	struct expo_label label;
	bool is_first = writer->prefix.len == 0;

	if (sample->is_exposed) {
		append_honoured(writer, inner, sample);
		return;
	}
	buf_append_slice(out, buf_slice(&writer->prefix));
	if (inner.len == 0)
		return;
	while (expo_labels_next(&inner, &label))
		append_label(out, label.name, label.value, &is_first);
}

static void append_sample(
	struct writer *writer, const struct expo_line *line, const struct push_sample *sample)
{
	struct buf *out = writer->out;

	buf_append_slice(out, sample->name);
	buf_append_char(out, '{');
	append_labels(writer, inner_of(writer, line, sample), sample);
	buf_append_str(out, "} ");
	buf_append_slice(out, line->value);
	if (line->timestamp.len == 0 || writer->scrape->ignores_timestamps) {
		buf_append_str(out, writer->stamp);
		return;
	}
	buf_append_char(out, ' ');
	buf_append_slice(out, line->timestamp);
	buf_append_char(out, '\n');
}

static void append_own(struct writer *writer, size_t index, double value)
{
	struct buf *out = writer->out;

	buf_appendf(out, "%s{", own_names[index]);
	buf_append_slice(out, buf_slice(&writer->prefix));
	buf_append_str(out, "} ");
	metrics_append_number(out, value);
	buf_append_str(out, writer->stamp);
}

static void append_report(
	struct writer *writer, bool up, double samples, struct victoria_tally *tally)
{
	append_own(writer, 0, up);
	append_own(writer, 1, writer->scrape->duration_s);
	append_own(writer, 2, samples);
	tally->samples += ARRAY_LEN(own_names);
}

/* The number of samples exposed; -1 where it is malformed or becomes too large. */
static int64_t append_all(struct writer *writer, struct slice exposition,
	struct victoria_tally *tally, struct err *err)
{
	size_t before = writer->out->len;
	struct push_sample sample = {0};
	struct expo_parser parser;
	struct expo_line line;
	enum expo_kind kind;
	int64_t count = 0;

	expo_init(&parser, exposition);
	while ((kind = expo_next(&parser, &line, err)) != EXPO_END) {
		if (kind == EXPO_ERROR)
			return -1;
		if (kind != EXPO_SAMPLE)
			continue;
		count++;
		buf_clear(&writer->rewriter.lines);
		if (push_sample_read(&writer->rewriter, &line, &sample, err) < 0)
			return -1;
		/* Ours says it, as Prometheus' own does. */
		if (sample.is_bare && !sample.is_exposed && is_own(sample.name)) {
			tally->displaced++;
			continue;
		}
		append_sample(writer, &line, &sample);
		tally->samples++;
		if (writer->out->len - before > writer->scrape->max_bytes)
			return err_setf(err, "larger than %zu bytes with the target's labels",
				writer->scrape->max_bytes);
	}
	return count;
}

int victoria_body_up(struct buf *out, const struct victoria_scrape *scrape, struct slice exposition,
	struct victoria_tally *tally, struct err *err)
{
	struct victoria_tally made = {0};
	size_t before = out->len;
	struct writer writer;
	int64_t count;

	writer_init(&writer, out, scrape);
	count = append_all(&writer, exposition, &made, err);
	if (count < 0) {
		out->len = before;
	} else {
		append_report(&writer, true, (double)count, &made);
		tally->samples += made.samples;
		tally->displaced += made.displaced;
		tally->labels_renamed += writer.rewriter.labels_renamed;
		tally->labels_dropped += writer.rewriter.labels_dropped;
	}
	writer_fini(&writer);
	return count < 0 ? -1 : 0;
}

void victoria_body_down(
	struct buf *out, const struct victoria_scrape *scrape, struct victoria_tally *tally)
{
	struct writer writer;

	writer_init(&writer, out, scrape);
	append_report(&writer, false, 0, tally);
	writer_fini(&writer);
}
