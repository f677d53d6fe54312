/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_LOG_H
#define PS_COMMON_CORE_LOG_H
/*
 * Events, one whole line each, as key=value or JSON, to stderr or a file opened for append. Never
 * payloads, never credentials: callers pass URLs through url_redact. Any thread.
 *
 *	log_warn("scrape failed", LOG_S("job", job), LOG_S("error", err.text));
 *	ts=2026-01-02T03:04:05.678Z level=warn program=… msg="scrape failed" job=node error="…"
 *
 * A line that the file or the reader of stderr does not take is dropped and counted; nobody waits.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_field {
	const char *key;
	enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_FLOAT } type;
	struct slice str;
	int64_t integer;
	double number;
};

#define LOG_S(k, v)  ((struct log_field){.key = (k), .type = LOG_FIELD_STR, .str = slice_from(v)})
#define LOG_SL(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_STR, .str = (v)})
#define LOG_I(k, v)  ((struct log_field){.key = (k), .type = LOG_FIELD_INT, .integer = (int64_t)(v)})
#define LOG_F(k, v)  ((struct log_field){.key = (k), .type = LOG_FIELD_FLOAT, .number = (v)})

/* Until log_open, info and above go to stderr as text. `program` is kept by reference. */
int log_open(const char *program, enum log_format format, enum log_level lowest,
	const char *path_or_null, struct err *err) MUST_CHECK;

/* Opens the file anew (after rotation); on failure the old one stays in use. */
int log_reopen(struct err *err) MUST_CHECK;
void log_close(void);

/* Lines below this level are left out from now on. */
void log_set_lowest(enum log_level lowest);

/* Lines that could not be written since the start; the next line written says lines_lost=N. */
uint64_t log_lines_lost(void);

bool log_is_on(enum log_level level);

/*
 * NULs, newlines and control characters in values are escaped, bytes that are not UTF-8 become
 * U+FFFD; values and msg are cut at 1 kB. Keys are literals of letters, digits and '_'.
 */
void log_write(enum log_level level, const char *msg, const struct log_field *fields, size_t count);

/*
 * A kind of event that may repeat without end: at most one line per LOG_REPEAT_INTERVAL_MS, which
 * then carries suppressed=N. Zero-initialise. One per place and, where it matters, per object.
 */
#define LOG_REPEAT_INTERVAL_MS 10000
struct log_limit {
	uint64_t last_ms;
	uint64_t suppressed;
};
void log_write_limited(struct log_limit *limit, enum log_level level, const char *msg,
	const struct log_field *fields, size_t count);

#define LOG_FIELDS(...)                                                                            \
	(const struct log_field[]){{.key = NULL}, ##__VA_ARGS__} + 1,                              \
		sizeof((const struct log_field[]){{.key = NULL}, ##__VA_ARGS__}) /                 \
				sizeof(struct log_field) -                                         \
			1
#define log_debug(msg, ...)                                                                        \
	(log_is_on(LOG_DEBUG) ? log_write(LOG_DEBUG, (msg), LOG_FIELDS(__VA_ARGS__)) : (void)0)
#define log_info(msg, ...)  log_write(LOG_INFO, (msg), LOG_FIELDS(__VA_ARGS__))
#define log_warn(msg, ...)  log_write(LOG_WARN, (msg), LOG_FIELDS(__VA_ARGS__))
#define log_error(msg, ...) log_write(LOG_ERROR, (msg), LOG_FIELDS(__VA_ARGS__))
#define log_limited(limit, level, msg, ...)                                                        \
	log_write_limited((limit), (level), (msg), LOG_FIELDS(__VA_ARGS__))

#endif
