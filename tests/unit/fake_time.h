/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_FAKE_TIME_H
#define PS_TESTS_UNIT_FAKE_TIME_H
/*
 * Time, timers and the log for tests of modules that wait: nothing runs but by fake_advance.
 * Include once per test program: it takes the place of clock.o, log.o and libuv's timers.
 */
#include "common/core/clock.h"
#include "common/core/log.h"

#include <uv.h>

#define FAKE_TIMERS_MAX 16
#define FAKE_WALL_MS    INT64_C(1700000000000)

static struct {
	uint64_t now_us;
	struct fake_timer {
		uv_timer_t *handle; /* NULL: free */
		uv_timer_cb callback;
		uint64_t due_us;
	} timers[FAKE_TIMERS_MAX];
	struct {
		uv_handle_t *handle;
		uv_close_cb callback;
	} closing[FAKE_TIMERS_MAX];
	size_t closing_count;
	struct buf log; /* "<level> <msg> <key>=<value> …\n" */
} fake_time = {.now_us = 1000000000};

int64_t clock_wall_ms(void)
{
	return FAKE_WALL_MS + (int64_t)(fake_time.now_us / 1000);
}

uint64_t clock_mono_us(void)
{
	return fake_time.now_us;
}

uint64_t clock_mono_ms(void)
{
	return fake_time.now_us / 1000;
}

uint64_t random_u64(void)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

void clock_freeze_wall(int64_t ms)
{
	(void)ms;
	abort(); /* the wall clock stands still anyway */
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *handle)
{
	(void)loop;
	memset(handle, 0, sizeof(*handle));
	return 0;
}

int uv_timer_stop(uv_timer_t *handle)
{
	for (size_t i = 0; i < FAKE_TIMERS_MAX; i++)
		if (fake_time.timers[i].handle == handle)
			fake_time.timers[i].handle = NULL;
	return 0;
}

int uv_timer_start(uv_timer_t *handle, uv_timer_cb callback, uint64_t wait_ms, uint64_t repeat_ms)
{
	size_t i = 0;

	(void)repeat_ms;
	uv_timer_stop(handle);
	while (fake_time.timers[i].handle != NULL)
		if (++i == FAKE_TIMERS_MAX)
			abort();
	fake_time.timers[i] =
		(struct fake_timer){handle, callback, fake_time.now_us + wait_ms * 1000};
	return 0;
}

int uv_is_active(const uv_handle_t *handle)
{
	for (size_t i = 0; i < FAKE_TIMERS_MAX; i++)
		if ((uv_handle_t *)fake_time.timers[i].handle == handle)
			return 1;
	return 0;
}

void uv_close(uv_handle_t *handle, uv_close_cb callback)
{
	uv_timer_stop((uv_timer_t *)handle);
	fake_time.closing[fake_time.closing_count].handle = handle;
	fake_time.closing[fake_time.closing_count++].callback = callback;
}

static inline void fake_run_closing(void)
{
	for (size_t i = 0; i < fake_time.closing_count; i++)
		fake_time.closing[i].callback(fake_time.closing[i].handle);
	fake_time.closing_count = 0;
}

/* Lets time pass; every timer that comes due runs at its time. */
static inline void fake_advance(uint64_t ms)
{
	uint64_t end_us = fake_time.now_us + ms * 1000;

	for (;;) {
		struct fake_timer *first = NULL;
		uv_timer_t *handle;

		for (size_t i = 0; i < FAKE_TIMERS_MAX; i++) {
			struct fake_timer *timer = &fake_time.timers[i];

			if (timer->handle != NULL && timer->due_us <= end_us &&
				(first == NULL || timer->due_us < first->due_us))
				first = timer;
		}
		if (first == NULL)
			break;
		fake_time.now_us = first->due_us;
		handle = first->handle;
		first->handle = NULL;
		first->callback(handle);
		fake_run_closing();
	}
	fake_time.now_us = end_us;
	fake_run_closing();
}

bool log_is_on(enum log_level level)
{
	return level > LOG_DEBUG;
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields, size_t count)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};

	buf_appendf(&fake_time.log, "%s %s", names[level], msg);
	for (size_t i = 0; i < count; i++)
		if (fields[i].type == LOG_FIELD_STR)
			buf_appendf(&fake_time.log, " %s=%.*s", fields[i].key,
				SLICE_FMT(fields[i].str));
	buf_append_char(&fake_time.log, '\n');
}

void log_write_limited(struct log_limit *limit, enum log_level level, const char *msg,
	const struct log_field *fields, size_t count)
{
	if (limit->last_ms == 0 || clock_mono_ms() - limit->last_ms >= LOG_REPEAT_INTERVAL_MS) {
		limit->last_ms = clock_mono_ms();
		log_write(level, msg, fields, count);
	}
}

/* How often `text` stands in the log. */
static inline int fake_log_count(const char *text)
{
	const char *at = fake_time.log.len > 0 ? buf_cstr(&fake_time.log) : "";
	int count = 0;

	while ((at = strstr(at, text)) != NULL) {
		count++;
		at += strlen(text);
	}
	return count;
}

static inline void fake_time_reset(void)
{
	fake_run_closing();
	buf_free(&fake_time.log);
}

#endif
