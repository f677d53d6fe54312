/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_METRICS_H
#define PS_COMMON_CORE_METRICS_H
/*
 * A program's own metrics. One table (an X-macro list, *_metrics.def) declares them; this module
 * stores series and writes the exposition. The hot path is an addition to a series that was looked
 * up once. Belongs to the loop thread: no locks.
 */
#include "common/core/buf.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

#define METRIC_MAX_LABELS 4

struct metric_def {
	const char *name; /* whole, with prefix and suffix */
	enum metric_type type;
	const char *labels; /* "job,reason"; "" for none: then the series exists from the start */
	const double
		*buckets; /* histograms: upper bounds, ascending, ended by INFINITY; else NULL */
	const char *help;
};

extern const double METRIC_SECONDS_BUCKETS[]; /* 1 ms … 60 s */

struct metrics;
struct series;

/* `defs` is kept by reference. An id is the index in it. */
struct metrics *metrics_new(const struct metric_def *defs, size_t count);
void metrics_free(struct metrics *metrics);

/*
 * The series with these label values (as many as the metric has labels), made on first use. Valid
 * until metrics_forget. The values are copied.
 */
struct series *metrics_series(struct metrics *metrics, size_t id, ...);

/* Like metrics_series for a metric without labels: constant time. */
struct series *metrics_plain(struct metrics *metrics, size_t id);

/* Takes one series with labels away for good; NULL is allowed. */
void metrics_forget(struct metrics *metrics, struct series *series);

/* A counter does not go back: adding less than zero, or NaN, does nothing. So does observing NaN.
 */
void series_inc(struct series *series);
void series_add(struct series *series, double by);
void series_set(struct series *series, double value);
void series_observe(struct series *series, double value);
double series_value(const struct series *series); /* a histogram's: the count */

/* Appends everything in text format 0.0.4: HELP and TYPE once, series in the order of their making.
 */
void metrics_write(const struct metrics *metrics, struct buf *out);

/* Appends a value as the text format has it: shortest exact form, NaN, +Inf, -Inf. */
void metrics_append_number(struct buf *out, double number);

/* Appends Prometheus' standard process_* family (cpu, memory, fds, start time) from /proc. */
void metrics_write_process(struct buf *out);

#endif
