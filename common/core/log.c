/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One state under one lock; a line is put together there and leaves by one write(2), so that lines
 * of threads, and of daemons appending to one file, never mix. A line that cannot be written is
 * dropped and counted, and the next that can says how many: logging never fails, and it waits for
 * nobody longer than STALL_MS once. A line that was cut short by a full disk is ended first.
 */
#include "common/core/log.h"

#include "common/core/clock.h"
#include "common/core/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_VALUE_BYTES 1024
#define STALL_MS        50 /* how long a pipe may be full before lines are dropped */

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static struct {
	pthread_mutex_t lock;
	int fd;
	char *path; /* NULL: stderr */
	const char *program;
	enum log_format format;
	bool is_stalled; /* the last write failed: the next does not wait */
	bool is_torn;    /* ... and left half a line behind */
	uint64_t dropped;
	uint64_t dropped_unsaid;
	struct buf line;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO};

static atomic_int lowest_level = LOG_INFO;

/* Control characters: ASCII's and, since terminals obey them too, those of U+0080 to U+009F. */
static int control_at(struct slice text, size_t len)
{
	unsigned char first = (unsigned char)text.ptr[0];
	unsigned char second = len == 2 ? (unsigned char)text.ptr[1] : 0;

	if (len == 1)
		return first < 0x20 || first == 0x7f ? first : -1;
	return first == 0xc2 && second < 0xa0 ? second : -1;
}

static void append_control(struct buf *out, int c)
{
	static const struct {
		char c, letter;
	} names[] = {{'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (c == names[i].c) {
			buf_append_char(out, '\\');
			buf_append_char(out, names[i].letter);
			return;
		}
	buf_appendf(out, "\\u%04x", (unsigned)c);
}

/* What stands between quotes is written alike in both formats. */
static void append_escaped(struct buf *out, struct slice text)
{
	while (text.len > 0) {
		size_t len = utf8_first(text);
		int control = len == 0 ? -1 : control_at(text, len);

		if (len == 0) {
			buf_append_str(out, UTF8_REPLACEMENT);
			len = 1;
		} else if (control >= 0) {
			append_control(out, control);
		} else {
			if (text.ptr[0] == '"' || text.ptr[0] == '\\')
				buf_append_char(out, '\\');
			buf_append(out, text.ptr, len);
		}
		text.ptr += len;
		text.len -= len;
	}
}

static bool needs_quotes(struct slice text)
{
	if (text.len == 0)
		return true;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
			return true;
	}
	return false;
}

static void append_text(struct buf *out, enum log_format format, struct slice text)
{
	struct slice shown = utf8_cut(text, MAX_VALUE_BYTES);
	bool quoted = format == LOG_JSON || shown.len < text.len || needs_quotes(shown);

	if (!quoted) {
		buf_append_slice(out, shown);
		return;
	}
	buf_append_char(out, '"');
	append_escaped(out, shown);
	if (shown.len < text.len)
		buf_append_str(out, "…");
	buf_append_char(out, '"');
}

static void append_number(struct buf *out, enum log_format format, double number)
{
	const char *quote = format == LOG_JSON && !isfinite(number) ? "\"" : "";

	buf_appendf(out, "%s%.6g%s", quote, number, quote);
}

/* A raw newline is never part of a line: behind one, or behind nothing, a line begins. */
static void append_key(struct buf *out, enum log_format format, const char *key)
{
	bool is_first = out->len == 0 || out->ptr[out->len - 1] == '\n';

	if (format == LOG_JSON)
		buf_appendf(out, "%c\"%s\":", is_first ? '{' : ',', key);
	else
		buf_appendf(out, "%s%s=", is_first ? "" : " ", key);
}

static void append_field(struct buf *out, enum log_format format, const struct log_field *field)
{
	append_key(out, format, field->key);
	switch (field->type) {
	case LOG_FIELD_STR:
		append_text(out, format, field->str);
		break;
	case LOG_FIELD_INT:
		buf_appendf(out, "%lld", (long long)field->integer);
		break;
	case LOG_FIELD_FLOAT:
		append_number(out, format, field->number);
		break;
	}
}

static void format_now(char *text, size_t size)
{
	int64_t now_ms = clock_wall_ms();
	time_t seconds = (time_t)(now_ms / 1000);
	struct tm utc;
	size_t len;

	gmtime_r(&seconds, &utc);
	len = strftime(text, size, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text + len, size - len, ".%03dZ", (int)(now_ms % 1000));
}

static void append_head(
	struct buf *out, enum log_format format, enum log_level level, const char *msg)
{
	char now[64];
	const char *program = state.program != NULL ? state.program : program_invocation_short_name;

	format_now(now, sizeof(now));
	append_field(out, format, &LOG_S("ts", now));
	append_field(out, format, &LOG_S("level", level_names[level]));
	append_field(out, format, &LOG_S("program", program));
	append_field(out, format, &LOG_S("msg", msg));
}

static bool is_writable(int fd, int timeout_ms)
{
	struct pollfd poller = {.fd = fd, .events = POLLOUT};
	int ready;

	do
		ready = poll(&poller, 1, timeout_ms);
	while (ready < 0 && errno == EINTR);
	return ready > 0;
}

/*
 * Writes it all, as far as it goes: returns the bytes written. A pipe that reports itself writable
 * takes PIPE_BUF bytes without blocking, a file takes everything at once.
 */
static size_t write_out(int fd, struct slice line)
{
	struct stat status;
	bool is_file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
	size_t done = 0;

	while (done < line.len) {
		size_t part = line.len - done;
		ssize_t written;

		if (!is_file && part > PIPE_BUF)
			part = PIPE_BUF;
		if (!is_file && !is_writable(fd, state.is_stalled ? 0 : STALL_MS))
			break;
		written = write(fd, line.ptr + done, part);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			break;
		done += (size_t)written;
	}
	return done;
}

static void write_line(const struct buf *line)
{
	size_t written = write_out(state.fd, buf_slice(line));

	state.is_stalled = written < line->len;
	if (written > 0)
		state.is_torn = state.is_stalled;
	if (!state.is_stalled) {
		state.dropped_unsaid = 0;
		return;
	}
	state.dropped++;
	state.dropped_unsaid++;
}

static void append_count(struct buf *out, const char *key, uint64_t count)
{
	if (count > 0)
		append_field(out, state.format, &LOG_I(key, count));
}

static void write_locked(enum log_level level, const char *msg, const struct log_field *fields,
	size_t count, uint64_t suppressed)
{
	struct buf *line = &state.line;

	buf_clear(line);
	if (state.is_torn)
		buf_append_char(line, '\n');
	append_head(line, state.format, level, msg);
	for (size_t i = 0; i < count; i++)
		append_field(line, state.format, &fields[i]);
	append_count(line, "suppressed", suppressed);
	append_count(line, "lines_lost", state.dropped_unsaid);
	if (state.format == LOG_JSON)
		buf_append_char(line, '}');
	buf_append_char(line, '\n');
	write_line(line);
}

/* O_NONBLOCK: a named pipe must neither block the start nor a line. */
static int open_file(const char *path, struct err *err)
{
	int fd =
		open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);

	if (fd < 0)
		return err_setf(err, "cannot open log file %s: %s", path, strerror(errno));
	return fd;
}

static void use_fd(int fd)
{
	if (state.fd != STDERR_FILENO)
		close(state.fd);
	state.fd = fd;
	state.is_torn = false;
	state.is_stalled = false;
}

int log_open(const char *program, enum log_format format, enum log_level lowest,
	const char *path_or_null, struct err *err)
{
	int fd = STDERR_FILENO;

	if (path_or_null != NULL && (fd = open_file(path_or_null, err)) < 0)
		return -1;
	pthread_mutex_lock(&state.lock);
	use_fd(fd);
	free(state.path);
	state.path = path_or_null != NULL ? xstrdup(path_or_null) : NULL;
	state.program = program;
	state.format = format;
	pthread_mutex_unlock(&state.lock);
	log_set_lowest(lowest);
	return 0;
}

void log_set_lowest(enum log_level lowest)
{
	atomic_store(&lowest_level, lowest);
}

int log_reopen(struct err *err)
{
	int fd = STDERR_FILENO;

	pthread_mutex_lock(&state.lock);
	if (state.path != NULL && (fd = open_file(state.path, err)) >= 0)
		use_fd(fd);
	pthread_mutex_unlock(&state.lock);
	return fd < 0 ? -1 : 0;
}

void log_close(void)
{
	pthread_mutex_lock(&state.lock);
	use_fd(STDERR_FILENO);
	free(state.path);
	state.path = NULL;
	state.program = NULL;
	state.format = LOG_TEXT;
	buf_free(&state.line);
	pthread_mutex_unlock(&state.lock);
	atomic_store(&lowest_level, LOG_INFO);
}

uint64_t log_lines_lost(void)
{
	uint64_t dropped;

	pthread_mutex_lock(&state.lock);
	dropped = state.dropped;
	pthread_mutex_unlock(&state.lock);
	return dropped;
}

bool log_is_on(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&lowest_level, memory_order_relaxed);
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields, size_t count)
{
	if (!log_is_on(level))
		return;
	pthread_mutex_lock(&state.lock);
	write_locked(level, msg, fields, count, 0);
	pthread_mutex_unlock(&state.lock);
}

void log_write_limited(struct log_limit *limit, enum log_level level, const char *msg,
	const struct log_field *fields, size_t count)
{
	uint64_t now_ms = clock_mono_ms();

	if (!log_is_on(level))
		return;
	pthread_mutex_lock(&state.lock);
	if (limit->last_ms != 0 && now_ms - limit->last_ms < LOG_REPEAT_INTERVAL_MS) {
		limit->suppressed++;
	} else {
		write_locked(level, msg, fields, count, limit->suppressed);
		*limit = (struct log_limit){.last_ms = now_ms};
	}
	pthread_mutex_unlock(&state.lock);
}
