/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_REAL_GATEWAY_H
#define PS_TESTS_UNIT_REAL_GATEWAY_H
/*
 * The sink against a Push Gateway of its own, and what that shows. For tests that pass over where
 * it is not installed.
 */
#include "common/loop/fetch.h"
#include "receiver/sink/push_body.h"
#include "tests/unit/push_fixture.h"

#include <arpa/inet.h>
#include <math.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "/usr/bin/prometheus-pushgateway"

struct with_gateway {
	struct push_fixture f;
	struct fetch *fetch;
	pid_t pid;
	int port;
	struct buf metrics; /* the last answer of /metrics */
	int status;         /* 0: none yet */
};

static int free_port(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_return_code(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_return_code(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	return ntohs(address.sin_port);
}

static pid_t start_gateway(int port, bool with_check)
{
	char *listen_address = xasprintf("--web.listen-address=127.0.0.1:%d", port);
	pid_t pid = fork();

	if (pid == 0) {
		/* It must not outlive a test that fails. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(PROGRAM, PROGRAM, listen_address, "--persistence.file=", "--log.level=error",
			with_check ? NULL : "--push.disable-consistency-check", NULL);
		_exit(127);
	}
	free(listen_address);
	assert_true(pid > 0);
	return pid;
}

static void on_metrics(void *arg, struct fetch_result *result)
{
	struct with_gateway *t = arg;

	buf_free(&t->metrics);
	t->metrics = buf_take(&result->body);
	t->status = result->outcome == FETCH_DONE ? result->status : -1;
}

/* Reads the gateway's /metrics; its status. */
static int read_metrics(struct with_gateway *t)
{
	char *url = xasprintf("http://127.0.0.1:%d/metrics", t->port);
	const struct fetch_request request = {.method = "GET", .url = url, .timeout_ms = 5000};

	t->status = 0;
	fetch_start(t->fetch, &request, on_metrics, t);
	while (t->status == 0)
		push_fixture_turn(&t->f);
	free(url);
	return t->status;
}

/* `prepare`, which may be NULL, finds the gateway running and no sink yet. */
static struct with_gateway *open_prepared_gateway(
	bool with_check, void (*prepare)(struct with_gateway *t))
{
	static const struct fetch_options options = {.user_agent = "test"};
	struct with_gateway *t = xcalloc(1, sizeof(*t));
	uint64_t until_ms = clock_mono_ms() + 20000;

	push_fixture_init(&t->f);
	t->port = free_port();
	t->pid = start_gateway(t->port, with_check);
	t->fetch = fetch_open(&t->f.loop, &options);
	while (read_metrics(t) != 200) {
		if (clock_mono_ms() > until_ms)
			fail_msg("the Push Gateway did not start");
	}
	if (prepare != NULL)
		prepare(t);
	push_fixture_open(&t->f, t->port, "");
	return t;
}

static inline struct with_gateway *open_gateway(bool with_check)
{
	return open_prepared_gateway(with_check, NULL);
}

static inline void close_gateway(struct with_gateway *t)
{
	fetch_close(t->fetch, NULL, NULL);
	push_fixture_close(&t->f);
	kill(t->pid, SIGKILL);
	waitpid(t->pid, NULL, 0);
	buf_free(&t->metrics);
	free(t);
}

static void wait_for_end(struct with_gateway *t, size_t ended)
{
	uint64_t until_ms = clock_mono_ms() + 20000;

	while (t->f.ended < ended || t->f.sink->ops->running(t->f.sink) > 0) {
		if (clock_mono_ms() > until_ms)
			fail_msg("waited in vain for %zu ends: %s", ended, buf_cstr(&t->f.fates));
		push_fixture_turn(&t->f);
	}
}

static inline void expect_line(struct with_gateway *t, const char *name, const char *line)
{
	char *whole = xasprintf("\n%s\n", line);

	if (strstr(buf_cstr(&t->metrics), whole) == NULL)
		fail_msg("%s: the gateway does not show %s", name, line);
	free(whole);
}

/* Whether the group shows the last scrape. */
static bool shows(struct with_gateway *t, const char *job, const char *instance)
{
	char *mark = xasprintf("\n" PUSH_MARK "{instance=\"%s\",job=\"%s\"} ", instance, job);
	const char *at = strstr(buf_cstr(&t->metrics), mark);
	bool is_last = at != NULL && llround(strtod(at + strlen(mark), NULL) * 1e3) == t->f.time_ms;

	free(mark);
	return is_last;
}

/* Without its check, the gateway says 202 before it looks. */
static void wait_until_shown(
	struct with_gateway *t, const char *name, const char *job, const char *instance)
{
	uint64_t until_ms = clock_mono_ms() + 20000;

	do {
		if (read_metrics(t) != 200)
			fail_msg("%s: GET /metrics: %d %s", name, t->status, buf_cstr(&t->metrics));
		if (clock_mono_ms() > until_ms)
			fail_msg("%s: the gateway does not show it", name);
	} while (!shows(t, job, instance));
}

/* Nor are groups gone at once that it said to delete. */
static inline void wait_until_empty(struct with_gateway *t)
{
	uint64_t until_ms = clock_mono_ms() + 20000;

	do {
		if (read_metrics(t) != 200)
			fail_msg("GET /metrics: %d %s", t->status, buf_cstr(&t->metrics));
		if (clock_mono_ms() > until_ms)
			fail_msg("the gateway still has groups");
	} while (strstr(buf_cstr(&t->metrics), "push_time_seconds") != NULL);
}

static void on_put(void *arg, struct fetch_result *result)
{
	*(int *)arg = result->outcome == FETCH_DONE ? result->status : -1;
}

/* Another pusher's group. */
static inline void push_foreign(struct with_gateway *t, const char *job, const char *body)
{
	char *url = xasprintf("http://127.0.0.1:%d/metrics/job/%s", t->port, job);
	const struct fetch_request request = {
		.method = "PUT", .url = url, .body = slice_from(body), .timeout_ms = 5000};
	int status = 0;

	fetch_start(t->fetch, &request, on_put, &status);
	while (status == 0)
		push_fixture_turn(&t->f);
	assert_in_range(status, 200, 299);
	free(url);
}

static inline void push(struct with_gateway *t, const char *instance, const char *body)
{
	push_offer(&t->f, (struct push_frame){.instance = instance, .body = body});
	wait_for_end(t, (size_t)t->f.seq);
	wait_until_shown(t, body, "app", instance);
}

#endif
