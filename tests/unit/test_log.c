/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: the bytes of both formats, rate limiting, rotation, and readers that do not read. */
#include "common/core/log.h"

#include "common/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define FROZEN_MS   INT64_C(1767323045678)
#define FROZEN_TEXT "2026-01-02T03:04:05.678Z"

static char dir[] = "/tmp/test_log_XXXXXX";
static char path[64];

static void open_log(enum log_format format, enum log_level lowest)
{
	struct err err;

	unlink(path);
	if (log_open("prog", format, lowest, path, &err) < 0)
		fail_msg("%s", err.text);
}

static char *read_file(const char *name)
{
	static char text[1 << 20];
	FILE *file = fopen(name, "r");
	size_t len;

	assert_non_null(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	fclose(file);
	return text;
}

static const struct {
	const char *name;
	struct slice value;
	const char *text, *json;
} values[] = {
	{"plain", {"node", 4}, "node", "\"node\""},
	{"empty", {"", 0}, "\"\"", "\"\""},
	{"null", {NULL, 0}, "\"\"", "\"\""},
	{"space", {"a b", 3}, "\"a b\"", "\"a b\""},
	{"equals", {"a=b", 3}, "\"a=b\"", "\"a=b\""},
	{"quote", {"a\"b", 3}, "\"a\\\"b\"", "\"a\\\"b\""},
	{"backslash", {"a\\b", 3}, "\"a\\\\b\"", "\"a\\\\b\""},
	{"newline", {"a\r\n\tb", 5}, "\"a\\r\\n\\tb\"", "\"a\\r\\n\\tb\""},
	{"nul", {"a\0b", 3}, "\"a\\u0000b\"", "\"a\\u0000b\""},
	{"escape", {"\x1b[0m", 4}, "\"\\u001b[0m\"", "\"\\u001b[0m\""},
	{"delete", {"\x7f", 1}, "\"\\u007f\"", "\"\\u007f\""},
	{"C1 control", {"\xc2\x9b", 2}, "\"\\u009b\"", "\"\\u009b\""},
	{"UTF-8", {"\xc3\xbc\xf0\x9f\x98\x80", 6}, "\"\xc3\xbc\xf0\x9f\x98\x80\"",
		"\"\xc3\xbc\xf0\x9f\x98\x80\""},
	{"invalid byte", {"a\xff", 2}, "\"a\xef\xbf\xbd\"", "\"a\xef\xbf\xbd\""},
	{"surrogate", {"\xed\xa0\x80", 3}, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"",
		"\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
	{"overlong", {"\xc0\xaf", 2}, "\"\xef\xbf\xbd\xef\xbf\xbd\"",
		"\"\xef\xbf\xbd\xef\xbf\xbd\""},
	{"cut off", {"\xe2\x82", 2}, "\"\xef\xbf\xbd\xef\xbf\xbd\"",
		"\"\xef\xbf\xbd\xef\xbf\xbd\""},
};

static void test_values(void **state)
{
	char want[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		print_message("%s\n", values[i].name);
		open_log(LOG_TEXT, LOG_INFO);
		log_warn("it is", LOG_SL("v", values[i].value));
		snprintf(want, sizeof(want),
			"ts=" FROZEN_TEXT " level=warn program=prog msg=\"it is\" v=%s\n",
			values[i].text);
		assert_string_equal(read_file(path), want);

		open_log(LOG_JSON, LOG_INFO);
		log_warn("it is", LOG_SL("v", values[i].value));
		snprintf(want, sizeof(want),
			"{\"ts\":\"" FROZEN_TEXT "\",\"level\":\"warn\",\"program\":\"prog\","
			"\"msg\":\"it is\",\"v\":%s}\n",
			values[i].json);
		assert_string_equal(read_file(path), want);
	}
}

static void test_numbers(void **state)
{
	(void)state;
	open_log(LOG_TEXT, LOG_INFO);
	log_info("n", LOG_I("i", INT64_MIN), LOG_F("f", 0.25), LOG_F("nan", (double)NAN));
	assert_non_null(strstr(read_file(path), " i=-9223372036854775808 f=0.25 nan="));
	open_log(LOG_JSON, LOG_INFO);
	log_info("n", LOG_I("i", 7), LOG_F("f", 1e9), LOG_F("inf", (double)INFINITY));
	assert_non_null(strstr(read_file(path), ",\"i\":7,\"f\":1e+09,\"inf\":\"inf\"}\n"));
}

/* Every byte string must come out as one line of valid JSON. */
static void test_json_of_any_bytes(void **state)
{
	char bytes[300];
	json_error_t error;
	json_t *root;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		size_t len = random_u64() % sizeof(bytes);
		char *text;

		for (size_t i = 0; i < len; i++)
			bytes[i] = (char)random_u64();
		open_log(LOG_JSON, LOG_INFO);
		log_error("any", LOG_SL("v", ((struct slice){bytes, len})));
		text = read_file(path);
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
		root = json_loads(text, JSON_ALLOW_NUL, &error);
		if (root == NULL)
			fail_msg("%s in %s", error.text, text);
		json_decref(root);
	}
}

static void test_long_values_are_cut(void **state)
{
	char value[3000];
	char *text, *start;

	(void)state;
	memset(value, 'x', sizeof(value));
	memcpy(value + 1023, "\xc3\xbc", 2); /* astride the cut */
	open_log(LOG_TEXT, LOG_INFO);
	log_info("long", LOG_SL("v", ((struct slice){value, sizeof(value)})));
	text = read_file(path);
	start = strstr(text, "v=\"") + 3;
	assert_int_equal(strspn(start, "x"), 1023);
	assert_string_equal(start + 1023, "…\"\n");
}

static void test_levels(void **state)
{
	(void)state;
	open_log(LOG_TEXT, LOG_WARN);
	assert_false(log_is_on(LOG_INFO));
	assert_true(log_is_on(LOG_ERROR));
	log_debug("no");
	log_info("no");
	assert_string_equal(read_file(path), "");
	open_log(LOG_TEXT, LOG_DEBUG);
	log_debug("yes");
	assert_string_equal(
		read_file(path), "ts=" FROZEN_TEXT " level=debug program=prog msg=yes\n");
}

static void test_limit(void **state)
{
	struct log_limit limit = {0};
	char *text;

	(void)state;
	open_log(LOG_TEXT, LOG_INFO);
	for (int i = 0; i < 100; i++)
		log_limited(&limit, LOG_WARN, "again", LOG_I("i", i));
	assert_string_equal(
		read_file(path), "ts=" FROZEN_TEXT " level=warn program=prog msg=again i=0\n");
	assert_int_equal(limit.suppressed, 99);
	limit.last_ms -= LOG_REPEAT_INTERVAL_MS;
	log_limited(&limit, LOG_WARN, "again", LOG_I("i", 100));
	text = strchr(read_file(path), '\n') + 1;
	assert_string_equal(
		text, "ts=" FROZEN_TEXT " level=warn program=prog msg=again i=100 suppressed=99\n");
	assert_int_equal(limit.suppressed, 0);
	log_limited(&limit, LOG_DEBUG, "off");
	assert_int_equal(limit.suppressed, 0);
}

static void test_reopen(void **state)
{
	char rotated[80];
	struct err err;

	(void)state;
	open_log(LOG_TEXT, LOG_INFO);
	log_info("first");
	snprintf(rotated, sizeof(rotated), "%s.1", path);
	assert_int_equal(rename(path, rotated), 0);
	log_info("second");
	assert_int_equal(log_reopen(&err), 0);
	log_info("third");
	assert_non_null(strstr(read_file(rotated), "msg=second"));
	assert_null(strstr(read_file(rotated), "msg=third"));
	assert_non_null(strstr(read_file(path), "msg=third"));

	/* A path that no longer can be opened: the old file stays in use. */
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(log_reopen(&err), -1);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(rmdir(path), 0);
	unlink(rotated);
}

static void test_open_failure(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(log_open("prog", LOG_TEXT, LOG_INFO, "/nonexistent/x.log", &err), -1);
	assert_string_equal(
		err.text, "cannot open log file /nonexistent/x.log: No such file or directory");
}

static void test_full_disk(void **state)
{
	uint64_t before = log_lines_lost();
	struct err err;

	(void)state;
	assert_int_equal(log_open("prog", LOG_TEXT, LOG_INFO, "/dev/full", &err), 0);
	log_info("one");
	log_info("two");
	assert_int_equal(log_lines_lost() - before, 2);
	open_log(LOG_TEXT, LOG_INFO);
	log_info("three");
	log_info("four");
	assert_string_equal(read_file(path),
		"ts=" FROZEN_TEXT " level=info program=prog msg=three lines_lost=2\n"
		"ts=" FROZEN_TEXT " level=info program=prog msg=four\n");
}

/* Nobody reads the pipe: lines are lost, not waited for; the next reader gets whole lines. */
static void test_full_pipe(void **state)
{
	static char read_back[1 << 20];
	uint64_t lost_before = log_lines_lost();
	uint64_t start_ms = clock_mono_ms();
	int saved = dup(STDERR_FILENO);
	int ends[2];
	ssize_t len;
	struct err err;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	assert_int_equal(log_open("prog", LOG_TEXT, LOG_INFO, NULL, &err), 0);
	for (int i = 0; i < 10000; i++)
		log_info("nobody reads this", LOG_I("i", i));
	len = read(ends[0], read_back, sizeof(read_back));
	log_info("read again");
	len += read(ends[0], read_back + len, sizeof(read_back) - (size_t)len - 1);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	read_back[len] = '\0';
	assert_true(log_lines_lost() - lost_before > 5000);
	assert_true(clock_mono_ms() - start_ms < 2000);
	assert_non_null(strstr(read_back,
		"\nts=" FROZEN_TEXT " level=info program=prog msg=\"read again\" lines_lost="));
}

/* A line cut short is ended before the next one starts. */
static void test_torn_line(void **state)
{
	static char read_back[1 << 20];
	char value[1024];
	int read_end, page = 4096;
	ssize_t len = 0, got;
	const char *last;
	struct slice v = {value, sizeof(value)};
	struct err err;

	(void)state;
	memset(value, 'x', sizeof(value));
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	read_end = open(path, O_RDONLY | O_NONBLOCK);
	assert_true(read_end >= 0);
	assert_int_equal(log_open("prog", LOG_TEXT, LOG_INFO, path, &err), 0);
	assert_true(fcntl(read_end, F_SETPIPE_SZ, page) > 0);
	log_info("long", LOG_SL("a", v), LOG_SL("b", v), LOG_SL("c", v), LOG_SL("d", v));
	while ((got = read(read_end, read_back + len, 8192)) > 0)
		len += got;
	assert_int_equal(len, page);
	log_info("after");
	while ((got = read(read_end, read_back + len, 8192)) > 0)
		len += got;
	close(read_end);
	read_back[len] = '\0';
	last = strchr(read_back, '\n');
	assert_non_null(last);
	assert_string_equal(
		last, "\nts=" FROZEN_TEXT " level=info program=prog msg=after lines_lost=1\n");
	unlink(path);
}

enum { WRITERS = 4, LINES = 500 };

static void *write_lines(void *arg)
{
	struct log_limit limit = {0};

	for (int i = 0; i < LINES; i++) {
		log_info("from a thread", LOG_S("name", arg), LOG_I("i", i));
		log_limited(&limit, LOG_DEBUG, "off");
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[WRITERS];
	int lines = 0;

	(void)state;
	open_log(LOG_TEXT, LOG_INFO);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, (void *)"t"), 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	for (char *line = strtok(read_file(path), "\n"); line != NULL; line = strtok(NULL, "\n")) {
		assert_memory_equal(line, "ts=" FROZEN_TEXT " level=info", 30);
		lines++;
	}
	assert_int_equal(lines, WRITERS * LINES);
}

static int set_up(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/x.log", dir);
	clock_freeze_wall(FROZEN_MS);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	log_close();
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_json_of_any_bytes),
		cmocka_unit_test(test_long_values_are_cut),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_reopen),
		cmocka_unit_test(test_open_failure),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_full_pipe),
		cmocka_unit_test(test_torn_line),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
