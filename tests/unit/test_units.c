/* SPDX-License-Identifier: Apache-2.0 */
/* Durations and sizes: what is read, how it is written, and which words refuse the rest. */
#include "common/core/units.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define DAY INT64_C(86400000)

static const struct {
	const char *text;
	int64_t ms;
} durations[] = {
	{"0", 0},
	{"0s", 0},
	{"1ms", 1},
	{"15s", 15000},
	{"1m", 60000},
	{"1m30s", 90000},
	{"90m", 5400000},
	{"1d2h3m4s5ms", DAY + 7384005},
	{"1w", 7 * DAY},
	{"2y3w4d5h6m7s8ms", 2 * 365 * DAY + 25 * DAY + 18367008},
	{"007s", 7000},
	{"292y", 292 * 365 * DAY},
	{"9223372036854ms", UNITS_MAX_DURATION_MS},
};

static const struct {
	const char *text;
	const char *error; /* a part of it */
} bad_durations[] = {
	{"", "is empty"},
	{"-1s", "must not be negative"},
	{"-", "must not be negative"},
	{"80", "missing unit"},
	{"00", "missing unit"},
	{"1m30", "missing unit"},
	{"s", "expected a number"},
	{" 1s", "expected a number"},
	{"+1s", "expected a number"},
	{"1s ", "unknown unit \"s \""},
	{"1 s", "unknown unit \" s\""},
	{"1.5h", "unknown unit \".\""},
	{"1us", "unknown unit \"us\""},
	{"1M", "unknown unit \"M\""},
	{"1s1s", "repeated or out of order"},
	{"1s1m", "repeated or out of order"},
	{"1ms1s", "repeated or out of order"},
	{"9223372036855ms", "too long"},
	{"293y", "too long"},
	{"292y172d", "too long"},
	{"99999999999999999999999999y", "too long"},
	{"18446744073709551617s", "too long"},
};

static void test_parse_duration(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		struct err err = {""};
		int64_t ms = -1;

		if (units_parse_duration(slice_from(durations[i].text), &ms, &err) < 0)
			fail_msg("%s: %s", durations[i].text, err.text);
		if (ms != durations[i].ms)
			fail_msg("%s: got %" PRId64 ", want %" PRId64, durations[i].text, ms,
				durations[i].ms);
	}
}

static void test_refuse_duration(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_durations); i++) {
		struct err err = {""};
		int64_t ms = -7;

		if (units_parse_duration(slice_from(bad_durations[i].text), &ms, &err) == 0)
			fail_msg("%s: accepted as %" PRId64, bad_durations[i].text, ms);
		if (strstr(err.text, bad_durations[i].error) == NULL)
			fail_msg("%s: got \"%s\", want \"%s\"", bad_durations[i].text, err.text,
				bad_durations[i].error);
		assert_int_equal(ms, -7);
	}
}

static const struct {
	int64_t ms;
	const char *text;
} formatted[] = {
	{0, "0s"},
	{1, "1ms"},
	{1500, "1s500ms"},
	{90000, "1m30s"},
	{DAY, "1d"},
	{7 * DAY, "1w"},
	{8 * DAY, "8d"},
	{90 * DAY, "90d"},
	{365 * DAY, "1y"},
	{366 * DAY, "366d"},
	{7 * DAY + 1, "7d1ms"},
	{-1500, "-1s500ms"},
	{INT64_MIN, "-106751991167d7h12m55s808ms"},
};

static void test_format_duration(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(formatted); i++) {
		struct buf out = {0};
		int64_t again = -1;

		units_format_duration(formatted[i].ms, &out);
		assert_string_equal(buf_cstr(&out), formatted[i].text);
		if (formatted[i].ms >= 0) {
			assert_int_equal(units_parse_duration(buf_slice(&out), &again, NULL), 0);
			assert_int_equal(again, formatted[i].ms);
		}
		buf_free(&out);
	}
}

static const struct {
	const char *text;
	uint64_t bytes;
	const char *formatted;
} sizes[] = {
	{"0", 0, "0"},
	{"0MB", 0, "0"},
	{"1", 1, "1B"},
	{"1000", 1000, "1000B"},
	{"1024B", 1024, "1KB"},
	{"16MB", 16 << 20, "16MB"},
	{"16MiB", 16 << 20, "16MB"},
	{"1536KB", 1536 << 10, "1536KB"},
	{"10GB", UINT64_C(10) << 30, "10GB"},
	{"3TiB", UINT64_C(3) << 40, "3TB"},
	{"5PB", UINT64_C(5) << 50, "5PB"},
	{"15EB", UINT64_C(15) << 60, "15EB"},
	{"18446744073709551615", UINT64_MAX, "18446744073709551615B"},
};

static const struct {
	const char *text;
	const char *error;
} bad_sizes[] = {
	{"", "is empty"},
	{"-1", "must not be negative"},
	{"MB", "must begin with a number"},
	{" 1MB", "must begin with a number"},
	{"1.5GB", "must be a whole number"},
	{"1 MB", "must be a whole number"},
	{"1mb", "must be a whole number"},
	{"1M", "must be a whole number"},
	{"1MB2KB", "must be a whole number"},
	{"16EB", "too large"},
	{"18446744073709551616", "too large"},
	{"99999999999999999999999KB", "too large"},
};

static void test_sizes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct err err = {""};
		struct buf out = {0};
		uint64_t bytes = 7;

		if (units_parse_size(slice_from(sizes[i].text), &bytes, &err) < 0)
			fail_msg("%s: %s", sizes[i].text, err.text);
		if (bytes != sizes[i].bytes)
			fail_msg("%s: got %" PRIu64 ", want %" PRIu64, sizes[i].text, bytes,
				sizes[i].bytes);
		units_format_size(bytes, &out);
		assert_string_equal(buf_cstr(&out), sizes[i].formatted);
		buf_free(&out);
	}
}

static void test_refuse_sizes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_sizes); i++) {
		struct err err = {""};
		uint64_t bytes = 7;

		if (units_parse_size(slice_from(bad_sizes[i].text), &bytes, &err) == 0)
			fail_msg("%s: accepted as %" PRIu64, bad_sizes[i].text, bytes);
		if (strstr(err.text, bad_sizes[i].error) == NULL)
			fail_msg("%s: got \"%s\", want \"%s\"", bad_sizes[i].text, err.text,
				bad_sizes[i].error);
		assert_int_equal(bytes, 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_duration),
		cmocka_unit_test(test_refuse_duration),
		cmocka_unit_test(test_format_duration),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_refuse_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
