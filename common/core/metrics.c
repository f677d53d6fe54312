/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A series is kept under its label text as the exposition shows it (`job="x",reason="y"`): escaping
 * is reversible, so that the text is the identity, writing is copying, and no two series can come
 * out alike. Series are written in the order of their creation.
 */
#include "common/core/metrics.h"

#include "common/core/table.h"
#include "common/core/utf8.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define EXACT_INTEGERS 9007199254740992.0 /* 2^53: below, every whole number is exact */

const double METRIC_SECONDS_BUCKETS[] = {
	0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, INFINITY};

struct series {
	UT_hash_handle hh;
	const struct metric_def *def;
	double value;       /* a histogram's: the sum */
	char *labels;       /* the key, hh.keylen bytes */
	uint64_t buckets[]; /* histograms: not cumulative, the last is +Inf */
};

struct metric {
	const struct metric_def *def;
	struct slice label_names[METRIC_MAX_LABELS];
	size_t label_count;
	size_t bucket_count;
	struct series *series;
};

struct metrics {
	struct metric *metrics;
	size_t count;
	struct buf key; /* of the lookup under way */
};

static const char *const type_names[] = {"counter", "gauge", "histogram"};

static size_t split_names(const char *list, struct slice *names)
{
	size_t count = 0;

	while (*list != '\0') {
		size_t len = strcspn(list, ",");

		assert(count < METRIC_MAX_LABELS);
		names[count++] = (struct slice){list, len};
		list += len + (list[len] == ',');
	}
	return count;
}

static size_t count_buckets(const double *buckets)
{
	size_t count = 1;

	if (buckets == NULL)
		return 0;
	for (; !isinf(*buckets); buckets++)
		count++;
	return count;
}

/* Text between quotes, or a HELP text, where quotes stand for themselves. */
static void append_escaped(struct buf *out, struct slice text, bool quotes)
{
	while (text.len > 0) {
		size_t len = utf8_first(text);
		char c = text.ptr[0];

		if (len == 0)
			buf_append_str(out, UTF8_REPLACEMENT);
		else if (c == '\n')
			buf_append_str(out, "\\n");
		else if (c == '\\' || (c == '"' && quotes))
			buf_append(out, (char[]){'\\', c}, 2);
		else
			buf_append(out, text.ptr, len);
		text.ptr += len == 0 ? 1 : len;
		text.len -= len == 0 ? 1 : len;
	}
}

static struct series *add_series(struct metric *metric, struct slice labels)
{
	struct series *series =
		xcalloc(1, sizeof(*series) + metric->bucket_count * sizeof(series->buckets[0]));

	series->def = metric->def;
	series->labels = slice_dup(labels);
	HASH_ADD_KEYPTR(hh, metric->series, series->labels, labels.len, series);
	return series;
}

static void free_series(struct metric *metric, struct series *series)
{
	HASH_DEL(metric->series, series);
	free(series->labels);
	free(series);
}

struct metrics *metrics_new(const struct metric_def *defs, size_t count)
{
	struct metrics *metrics = xcalloc(1, sizeof(*metrics));

	metrics->metrics = xcalloc(count, sizeof(metrics->metrics[0]));
	metrics->count = count;
	for (size_t i = 0; i < count; i++) {
		struct metric *metric = &metrics->metrics[i];

		assert((defs[i].type == METRIC_HISTOGRAM) == (defs[i].buckets != NULL));
		metric->def = &defs[i];
		metric->label_count = split_names(defs[i].labels, metric->label_names);
		metric->bucket_count = count_buckets(defs[i].buckets);
		if (metric->label_count == 0)
			add_series(metric, SLICE(""));
	}
	return metrics;
}

void metrics_free(struct metrics *metrics)
{
	if (metrics == NULL)
		return;
	for (size_t i = 0; i < metrics->count; i++)
		while (metrics->metrics[i].series != NULL)
			free_series(&metrics->metrics[i], metrics->metrics[i].series);
	buf_free(&metrics->key);
	free(metrics->metrics);
	free(metrics);
}

struct series *metrics_series(struct metrics *metrics, size_t id, ...)
{
	struct buf *key = &metrics->key;
	struct metric *metric;
	struct series *series;
	va_list values;

	assert(id < metrics->count);
	metric = &metrics->metrics[id];
	buf_clear(key);
	va_start(values, id);
	for (size_t i = 0; i < metric->label_count; i++) {
		if (i > 0)
			buf_append_char(key, ',');
		buf_append_slice(key, metric->label_names[i]);
		buf_append_str(key, "=\"");
		append_escaped(key, slice_from(va_arg(values, const char *)), true);
		buf_append_char(key, '"');
	}
	va_end(values);
	HASH_FIND(hh, metric->series, buf_cstr(key), key->len, series);
	return series != NULL ? series : add_series(metric, buf_slice(key));
}

struct series *metrics_plain(struct metrics *metrics, size_t id)
{
	assert(id < metrics->count && metrics->metrics[id].label_count == 0);
	return metrics->metrics[id].series;
}

void metrics_forget(struct metrics *metrics, struct series *series)
{
	struct metric *metric;

	if (series == NULL)
		return;
	metric = &metrics->metrics[series->def - metrics->metrics[0].def];
	assert(metric->label_count > 0);
	free_series(metric, series);
}

void series_inc(struct series *series)
{
	series_add(series, 1);
}

void series_add(struct series *series, double by)
{
	assert(series->def->type != METRIC_HISTOGRAM);
	/* A counter never goes back, and one NaN would stay in it for ever. */
	if (series->def->type == METRIC_COUNTER && !(by >= 0))
		return;
	series->value += by;
}

void series_set(struct series *series, double value)
{
	assert(series->def->type != METRIC_HISTOGRAM);
	series->value = value;
}

void series_observe(struct series *series, double value)
{
	const double *bound = series->def->buckets;
	uint64_t *bucket = series->buckets;

	assert(series->def->type == METRIC_HISTOGRAM);
	if (isnan(value))
		return;
	for (; value > *bound; bound++)
		bucket++;
	(*bucket)++;
	series->value += value;
}

static uint64_t observed(const struct series *series)
{
	const double *bounds = series->def->buckets;
	uint64_t count = 0;

	for (size_t i = 0; i == 0 || !isinf(bounds[i - 1]); i++)
		count += series->buckets[i];
	return count;
}

double series_value(const struct series *series)
{
	return series->def->type == METRIC_HISTOGRAM ? (double)observed(series) : series->value;
}

static void append_u64(struct buf *out, uint64_t number)
{
	char digits[20];
	char *at = digits + sizeof(digits);

	do
		*--at = (char)('0' + number % 10);
	while ((number /= 10) != 0);
	buf_append(out, at, (size_t)(digits + sizeof(digits) - at));
}

void metrics_append_number(struct buf *out, double number)
{
	char text[32];

	if (isnan(number)) {
		buf_append_str(out, "NaN");
	} else if (isinf(number)) {
		buf_append_str(out, number < 0 ? "-Inf" : "+Inf");
	} else if (fabs(number) <= EXACT_INTEGERS && number == floor(number)) {
		if (number < 0)
			buf_append_char(out, '-');
		append_u64(out, (uint64_t)fabs(number));
	} else {
		for (int digits = 15; digits <= 17; digits++) {
			snprintf(text, sizeof(text), "%.*g", digits, number);
			if (strtod(text, NULL) == number)
				break;
		}
		buf_append_str(out, text);
	}
}

static void write_head(struct buf *out, const struct metric_def *def)
{
	buf_append_str(out, "# HELP ");
	buf_append_str(out, def->name);
	buf_append_char(out, ' ');
	append_escaped(out, slice_from(def->help), false);
	buf_append_str(out, "\n# TYPE ");
	buf_append_str(out, def->name);
	buf_append_char(out, ' ');
	buf_append_str(out, type_names[def->type]);
	buf_append_char(out, '\n');
}

/* name[suffix][{labels[,]le="…"}], and the blank before the value. */
static void write_name(
	struct buf *out, const struct series *series, const char *suffix, const double *le)
{
	bool has_labels = series->hh.keylen > 0;

	buf_append_str(out, series->def->name);
	buf_append_str(out, suffix);
	if (has_labels || le != NULL)
		buf_append_char(out, '{');
	buf_append(out, series->labels, series->hh.keylen);
	if (le != NULL) {
		buf_append_str(out, has_labels ? ",le=\"" : "le=\"");
		metrics_append_number(out, *le);
		buf_append_char(out, '"');
	}
	buf_append_str(out, has_labels || le != NULL ? "} " : " ");
}

static void write_histogram(struct buf *out, const struct series *series)
{
	const double *bounds = series->def->buckets;
	uint64_t cumulative = 0;

	for (size_t i = 0; i == 0 || !isinf(bounds[i - 1]); i++) {
		cumulative += series->buckets[i];
		write_name(out, series, "_bucket", &bounds[i]);
		append_u64(out, cumulative);
		buf_append_char(out, '\n');
	}
	write_name(out, series, "_sum", NULL);
	metrics_append_number(out, series->value);
	buf_append_char(out, '\n');
	write_name(out, series, "_count", NULL);
	append_u64(out, cumulative);
	buf_append_char(out, '\n');
}

static void write_series(struct buf *out, const struct series *series)
{
	if (series->def->type == METRIC_HISTOGRAM) {
		write_histogram(out, series);
		return;
	}
	write_name(out, series, "", NULL);
	metrics_append_number(out, series->value);
	buf_append_char(out, '\n');
}

void metrics_write(const struct metrics *metrics, struct buf *out)
{
	for (size_t i = 0; i < metrics->count; i++) {
		const struct metric *metric = &metrics->metrics[i];

		if (metric->series == NULL)
			continue;
		write_head(out, metric->def);
		for (const struct series *s = metric->series; s != NULL; s = s->hh.next)
			write_series(out, s);
	}
}
