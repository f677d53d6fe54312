/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_EXPOSITION_EXPOSITION_H
#define PS_COMMON_EXPOSITION_EXPOSITION_H
/*
 * The Prometheus text exposition format, version 0.0.4 (and 1.0.0's quoted UTF-8 names), line by
 * line, as slices of the input: no copy, no allocation. It accepts what Prometheus accepts when
 * scraping and rejects what Prometheus rejects, while parsing or when storing. It does not group
 * families or know about series: that is its caller's. Pure; any thread.
 *
 * What a caller that writes samples out again must know, since Prometheus accepts all of it:
 * - commas between labels may be missing or followed by blanks, one may follow the last label;
 * - blanks may stand around every token, or be missing between the labels and the value;
 * - a label value may contain NUL bytes and raw newlines, so that `whole` spans several lines;
 * - label values and quoted names may contain unknown escapes, which stand for themselves;
 * - a label value may be empty, which means that the label is not there;
 * - HELP and TYPE may be repeated, contradict each other, come after the samples, or name nothing;
 *   their name, if quoted, may be empty or invalid UTF-8. All other text is valid UTF-8;
 * - a NUL byte where a line or a comment begins, or in one without a blank behind its '#', is the
 *   end of the input. NUL bytes in and behind the keywords HELP and TYPE are passed over.
 * Refused although Prometheus takes it: a label that is repeated while one of its values is empty
 * (Prometheus drops all of them), NUL bytes beside, not in, a quoted label value, raw newlines in
 * quoted names, and blanks before a name without quotes (Prometheus 3 makes them a part of it).
 *
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/ and the behaviour of
 * Prometheus' own text parser.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

enum expo_kind {
	EXPO_END,    /* nothing is left */
	EXPO_SAMPLE, /* name, labels, value, timestamp */
	EXPO_HELP,   /* name, text (escaped, as it came) */
	EXPO_TYPE,   /* name, text ("counter", …), type */
	EXPO_ERROR,  /* malformed; parsing ends here */
};

enum expo_type {
	EXPO_UNTYPED,
	EXPO_COUNTER,
	EXPO_GAUGE,
	EXPO_HISTOGRAM,
	EXPO_SUMMARY,
};

/* One line. Slices point into the input. */
struct expo_line {
	enum expo_kind kind;
	enum expo_type type;
	bool name_quoted;    /* the name stood in quotes (inside braces, for a sample): escaped */
	struct slice name;   /* without its quotes */
	struct slice labels; /* between the braces, validated: for expo_labels_next */
	struct slice value;  /* the number as it stands */
	struct slice timestamp; /* milliseconds as they stand; empty where there is none */
	struct slice text;      /* HELP: the text; TYPE: the word */
	struct slice whole;     /* the line without its newline */
};

/* How ordinary lines are read. All give the same results; which ones exist depends on the CPU. */
enum expo_engine {
	EXPO_PORTABLE, /* byte by byte, and what every other one falls back to for unusual lines */
	EXPO_SSSE3,
	EXPO_AVX2,
};

struct expo_line;
typedef enum expo_kind expo_fast_fn(const char *at, const char *end, struct expo_line *line);

struct expo_parser {
	struct slice input;
	size_t at;          /* offset of the next line */
	size_t line;        /* number of the current line (the first of several), from 1 */
	size_t next_line;   /* number of the line at `at` */
	expo_fast_fn *fast; /* NULL: portable */
};

/* Prepares to read `input`, which must stay, by the fastest engine. */
void expo_init(struct expo_parser *parser, struct slice input);

/* The same by the given engine; false if this machine has not got it. */
bool expo_init_engine(
	struct expo_parser *parser, struct slice input, enum expo_engine engine) MUST_CHECK;

/*
 * Reads the next HELP, TYPE or sample; comments and empty lines are passed over. On EXPO_ERROR
 * `err` (may be NULL) says what is wrong and at which line and column (bytes, from 1).
 */
enum expo_kind expo_next(struct expo_parser *parser, struct expo_line *line, struct err *err);

struct expo_label {
	struct slice name;  /* without its quotes */
	struct slice value; /* between the quotes: still escaped */
	bool name_quoted;
};

/*
 * Takes the first label off `labels` (a copy of expo_line.labels); false when none is left. A
 * quoted metric name inside the braces is passed over.
 */
bool expo_labels_next(struct slice *labels, struct expo_label *label);

/* The number that a validated value slice stands for, correctly rounded, whatever the locale. */
double expo_value(struct slice value);

/* The milliseconds that a validated timestamp slice stands for. */
int64_t expo_timestamp_ms(struct slice timestamp);

/* Appends `escaped` (a label value or quoted name) with its escapes resolved: \\, \" and \n. */
void expo_unescape(struct slice escaped, struct buf *out);

/* Appends `raw` escaped for a label value: backslash, quote and newline. */
void expo_escape(struct slice raw, struct buf *out);

/* Whether the name is a legacy one: [a-zA-Z_:][a-zA-Z0-9_:]*. */
bool expo_metric_name_is_legacy(struct slice name);

/* Reads all of it; returns the number of samples, or -1 with `err` set. */
int64_t expo_count_samples(struct slice input, struct err *err);

#endif
