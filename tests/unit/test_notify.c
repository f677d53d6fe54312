/* SPDX-License-Identifier: Apache-2.0 */
/* What a service manager hears, on a datagram socket of our own in its place. */
#include "common/loop/notify.h"

#include "common/core/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define TOO_LONG                                                                                   \
	"/a/path/that/is/longer/than/what/the/kernel/has/room/for/in/the/address/of/a/socket/"     \
	"which/is/108/bytes/with/the/nul"

struct manager {
	uv_loop_t loop;
	struct notify *notify;
	int fd;
	char path[64]; /* as in NOTIFY_SOCKET */
	const char *status;
	struct buf heard; /* every datagram, each with a line break behind it */
};

static void on_status(void *arg, struct buf *status)
{
	buf_append_str(status, ((struct manager *)arg)->status);
}

static void listen_at(struct manager *manager)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = strlen(manager->path);

	memcpy(address.sun_path, manager->path, len);
	if (manager->path[0] == '@')
		address.sun_path[0] = '\0';
	manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_true(manager->fd >= 0);
	assert_int_equal(bind(manager->fd, (const struct sockaddr *)&address,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len +
					     (manager->path[0] == '/'))),
		0);
}

static void open_notify(struct manager *manager)
{
	struct err err;

	uv_loop_init(&manager->loop);
	if (manager->status == NULL)
		manager->status = "ready";
	setenv("NOTIFY_SOCKET", manager->path, 1);
	if (notify_open(&manager->notify, &manager->loop, on_status, manager, &err) < 0)
		fail_msg("%s", err.text);
}

static void open_manager(struct manager *manager, const char *prefix)
{
	snprintf(manager->path, sizeof(manager->path), "%sps-notify-%ld-%llx", prefix,
		(long)getpid(), (unsigned long long)random_u64());
	listen_at(manager);
	open_notify(manager);
}

static void close_manager(struct manager *manager)
{
	notify_close(manager->notify);
	uv_run(&manager->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&manager->loop), 0);
	if (manager->fd >= 0)
		close(manager->fd);
	if (manager->path[0] == '/')
		unlink(manager->path);
	buf_free(&manager->heard);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

static void hear(struct manager *manager)
{
	char datagram[2048];
	ssize_t len;

	while ((len = recv(manager->fd, datagram, sizeof(datagram), 0)) >= 0) {
		buf_append(&manager->heard, datagram, (size_t)len);
		buf_append_char(&manager->heard, '\n');
	}
}

/* Runs the loop until `text` was heard, for at most five seconds. */
static void run_until(struct manager *manager, const char *text)
{
	uint64_t deadline = clock_mono_ms() + 5000;

	while (strstr(buf_cstr(&manager->heard), text) == NULL) {
		if (clock_mono_ms() > deadline)
			fail_msg("\"%s\" was not heard, but \"%s\"", text,
				buf_cstr(&manager->heard));
		uv_run(&manager->loop, UV_RUN_NOWAIT);
		usleep(2000);
		hear(manager);
	}
}

static void check_life(const char *prefix)
{
	struct manager manager = {.status = "not ready: NATS is away"};

	open_manager(&manager, prefix);
	hear(&manager);
	assert_string_equal(buf_cstr(&manager.heard), ""); /* not before the loop turns */
	run_until(&manager, "STATUS=");
	assert_string_equal(buf_cstr(&manager.heard), "READY=1\nSTATUS=not ready: NATS is away\n");
	manager.status = "ready";
	buf_clear(&manager.heard);
	run_until(&manager, "STATUS=");
	assert_string_equal(buf_cstr(&manager.heard), "STATUS=ready\n");
	buf_clear(&manager.heard);
	manager.status = "stopping";
	notify_stopping(manager.notify);
	hear(&manager);
	assert_string_equal(buf_cstr(&manager.heard), "STOPPING=1\nSTATUS=stopping\n");
	close_manager(&manager);
}

static void test_life_over_a_path(void **state)
{
	(void)state;
	check_life("/tmp/");
}

static void test_life_over_an_abstract_address(void **state)
{
	(void)state;
	check_life("@");
}

static void test_without_a_manager_nothing_is_done(void **state)
{
	static const char *const values[] = {NULL, ""};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		struct notify *notify = (struct notify *)&values;
		uv_loop_t loop;
		struct err err;

		unsetenv("NOTIFY_SOCKET");
		if (values[i] != NULL)
			setenv("NOTIFY_SOCKET", values[i], 1);
		setenv("WATCHDOG_USEC", "1000", 1);
		uv_loop_init(&loop);
		assert_int_equal(notify_open(&notify, &loop, on_status, NULL, &err), 0);
		assert_null(notify);
		notify_stopping(notify);
		notify_close(notify);
		assert_int_equal(uv_loop_close(&loop), 0); /* no handle was opened */
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
}

static void test_addresses_that_are_none(void **state)
{
	static const char *const addresses[] = {"x", "@", "/", "vsock:2:1234", TOO_LONG};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		struct notify *notify;
		uv_loop_t loop;
		struct err err = {0};

		setenv("NOTIFY_SOCKET", addresses[i], 1);
		uv_loop_init(&loop);
		if (notify_open(&notify, &loop, on_status, NULL, &err) == 0)
			fail_msg("%s was taken", addresses[i]);
		assert_null(notify);
		assert_non_null(strstr(err.text, "NOTIFY_SOCKET"));
		assert_int_equal(uv_loop_close(&loop), 0);
	}
	unsetenv("NOTIFY_SOCKET");
}

/* A reason may quote what a server said; it must not become a line of its own. */
static void test_status_is_one_line_of_utf8(void **state)
{
	static const struct {
		const char *name, *status, *told;
	} cases[] = {
		{"line breaks", "a\nMAINPID=1\r\nb", "STATUS=a MAINPID=1  b\n"},
		{"controls", "a\tb\033c\177d", "STATUS=a b c d\n"},
		{"not UTF-8", "a\xff\xc3", "STATUS=a\xef\xbf\xbd\xef\xbf\xbd\n"},
		{"UTF-8", "Z\xc3\xbcrich", "STATUS=Z\xc3\xbcrich\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct manager manager = {.status = cases[i].status};

		open_manager(&manager, "@");
		run_until(&manager, "STATUS=");
		if (strcmp(strstr(buf_cstr(&manager.heard), "STATUS="), cases[i].told) != 0)
			fail_msg("%s: heard %s instead of %s", cases[i].name,
				buf_cstr(&manager.heard), cases[i].told);
		close_manager(&manager);
	}
}

static void test_a_long_status_is_cut(void **state)
{
	struct manager manager = {0};
	struct buf status = {0};

	(void)state;
	for (int i = 0; i < 1000; i++)
		buf_append_str(&status, "\xc3\xbc");
	manager.status = buf_cstr(&status);
	open_manager(&manager, "@");
	run_until(&manager, "STATUS=");
	assert_int_equal(strlen(strstr(buf_cstr(&manager.heard), "STATUS=")), 7 + 500 + 1);
	close_manager(&manager);
	buf_free(&status);
}

static void test_watchdog(void **state)
{
	struct manager manager = {0};
	uint64_t start;

	(void)state;
	setenv("WATCHDOG_USEC", "400000", 1);
	start = clock_mono_ms();
	open_manager(&manager, "@");
	run_until(&manager, "WATCHDOG=1");
	if (clock_mono_ms() - start < 190)
		fail_msg("after %d ms, not half of 400", (int)(clock_mono_ms() - start));
	buf_clear(&manager.heard);
	run_until(&manager, "WATCHDOG=1\nWATCHDOG=1"); /* and again and again */
	close_manager(&manager);
}

static void test_no_watchdog(void **state)
{
	static const struct {
		const char *usec, *pid;
	} cases[] = {{"20000", "1"}, {"20000", "x"}, {"0", NULL}, {"-5", NULL}, {"20000x", NULL},
		{"99999999999999999999999", NULL}, {NULL, NULL}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct manager manager = {.status = "one"};

		if (cases[i].usec != NULL)
			setenv("WATCHDOG_USEC", cases[i].usec, 1);
		if (cases[i].pid != NULL)
			setenv("WATCHDOG_PID", cases[i].pid, 1);
		open_manager(&manager, "@");
		run_until(&manager, "one");
		manager.status = "two"; /* told a second later: time for many of 20 ms */
		run_until(&manager, "two");
		if (strstr(buf_cstr(&manager.heard), "WATCHDOG") != NULL)
			fail_msg("case %zu: heard %s", i, buf_cstr(&manager.heard));
		close_manager(&manager);
	}
}

/* The manager restarts, or its queue is full: said again until it was taken. */
static void test_what_is_not_taken_is_said_again(void **state)
{
	struct manager manager = {.status = "ready", .fd = -1};

	(void)state;
	snprintf(manager.path, sizeof(manager.path), "@ps-notify-%ld-%llx", (long)getpid(),
		(unsigned long long)random_u64());
	open_notify(&manager);
	for (int turn = 0; turn < 3; turn++)
		uv_run(&manager.loop, UV_RUN_NOWAIT);
	listen_at(&manager);
	run_until(&manager, "STATUS=");
	assert_string_equal(buf_cstr(&manager.heard), "READY=1\nSTATUS=ready\n");
	close_manager(&manager);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life_over_a_path),
		cmocka_unit_test(test_life_over_an_abstract_address),
		cmocka_unit_test(test_without_a_manager_nothing_is_done),
		cmocka_unit_test(test_addresses_that_are_none),
		cmocka_unit_test(test_status_is_one_line_of_utf8),
		cmocka_unit_test(test_a_long_status_is_cut),
		cmocka_unit_test(test_watchdog),
		cmocka_unit_test(test_no_watchdog),
		cmocka_unit_test(test_what_is_not_taken_is_said_again),
	};

	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
