/* SPDX-License-Identifier: Apache-2.0 */
/* The web server spoken to in raw bytes, by clients of every manner, on one loop with it. */
#include "common/loop/httpd.h"

#include "common/core/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define MAX_CONNECTIONS 64 /* the server's */
#define WAIT_MS         5000
#define QUIET_MS        150
#define BIG_BYTES       ((size_t)3 << 20)

struct scene {
	uv_loop_t loop;
	struct httpd *httpd;
	int calls, closed;
	struct httpd_later *later[64];
	int later_count;
	struct buf got; /* what the last read took */
};

static void on_closed(void *arg)
{
	((struct scene *)arg)->closed++;
}

static void handle_hello(void *arg, struct httpd_response *response)
{
	((struct scene *)arg)->calls++;
	buf_append_str(&response->body, "hello\n");
}

static void handle_empty(void *arg, struct httpd_response *response)
{
	((struct scene *)arg)->calls++;
	response->status = 503;
	response->content_type = "application/json";
}

static void handle_big(void *arg, struct httpd_response *response)
{
	((struct scene *)arg)->calls++;
	memset(buf_reserve(&response->body, BIG_BYTES), 'b', BIG_BYTES);
	response->body.len = BIG_BYTES;
}

static void handle_later(void *arg, struct httpd_response *response)
{
	struct scene *scene = arg;

	scene->later[scene->later_count++] = httpd_defer(response);
}

static void answer_later(struct scene *scene, int at)
{
	struct httpd_response response = {.status = 201, .content_type = "text/plain"};

	buf_append_str(&response.body, "at last\n");
	httpd_answer(scene->later[at], &response);
}

static void handle_close(void *arg, struct httpd_response *response)
{
	struct scene *scene = arg;

	buf_append_str(&response->body, "bye\n");
	httpd_close(scene->httpd, on_closed, scene);
	scene->httpd = NULL;
}

static const struct httpd_route routes[] = {
	{"GET", "/hello", handle_hello},
	{"POST", "/hello", handle_hello},
	{"GET", "/empty", handle_empty},
	{"POST", "/reload", handle_hello},
	{"GET", "/big", handle_big},
	{"POST", "/later", handle_later},
	{"GET", "/close", handle_close},
	{NULL, NULL, NULL},
};

static void scene_open_at(struct scene *scene, const char *address)
{
	struct err err = {0};

	memset(scene, 0, sizeof(*scene));
	assert_int_equal(uv_loop_init(&scene->loop), 0);
	scene->httpd = httpd_open(&scene->loop, address, 0, routes, scene, &err);
	assert_string_equal(err.text, "");
	assert_non_null(scene->httpd);
	assert_true(httpd_port(scene->httpd) > 0);
}

static void scene_open(struct scene *scene)
{
	scene_open_at(scene, "127.0.0.1");
}

static void scene_close(struct scene *scene)
{
	if (scene->httpd != NULL)
		httpd_close(scene->httpd, on_closed, scene);
	assert_int_equal(uv_run(&scene->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(scene->closed, 1);
	assert_int_equal(uv_loop_close(&scene->loop), 0);
	buf_free(&scene->got);
}

/* --- A client: a socket that never blocks, served by the loop in between. */

static int client_to(struct scene *scene, const char *address, int family)
{
	struct sockaddr_in v4 = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)httpd_port(scene->httpd))};
	struct sockaddr_in6 v6 = {
		.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)httpd_port(scene->httpd))};
	bool is_v4 = family == AF_INET;
	int fd = socket(family, SOCK_STREAM, 0);

	inet_pton(family, address, is_v4 ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr);
	if (connect(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
		    is_v4 ? sizeof(v4) : sizeof(v6)) != 0)
		fail_msg("connect: %s", strerror(errno));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static int client(struct scene *scene)
{
	return client_to(scene, "127.0.0.1", AF_INET);
}

static void turn(struct scene *scene, int fd, short events)
{
	struct pollfd polled = {.fd = fd, .events = events};

	uv_run(&scene->loop, UV_RUN_NOWAIT);
	poll(&polled, 1, 1);
}

/* False if the server closed the connection before it had taken all. */
static bool put(struct scene *scene, int fd, const char *bytes, size_t len)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;

	while (len > 0) {
		ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN)
			return false;
		bytes += sent > 0 ? sent : 0;
		len -= sent > 0 ? (size_t)sent : 0;
		turn(scene, fd, POLLIN);
		assert_true(clock_mono_ms() < end);
	}
	return true;
}

static void say(struct scene *scene, int fd, const char *text)
{
	assert_true(put(scene, fd, text, strlen(text)));
}

/* Until `len` bytes came, or the connection ended; false if neither happened in `wait_ms`. */
static bool take(struct scene *scene, int fd, size_t len, uint64_t wait_ms)
{
	uint64_t end = clock_mono_ms() + wait_ms;

	while (scene->got.len < len && clock_mono_ms() < end) {
		ssize_t got = recv(fd, buf_reserve(&scene->got, 65536), 65536, 0);

		if (got == 0 || (got < 0 && errno != EAGAIN))
			return true;
		scene->got.len += got > 0 ? (size_t)got : 0;
		turn(scene, fd, POLLIN);
	}
	return scene->got.len >= len;
}

static bool is_whole(struct buf *got, bool has_body)
{
	const char *text = buf_cstr(got);
	const char *end = strstr(text, "\r\n\r\n");
	const char *length = strcasestr(text, "\r\nContent-Length:");

	if (end == NULL)
		return false;
	return !has_body || length == NULL ||
	       got->len >= (size_t)(end + 4 - text) + strtoul(length + 17, NULL, 10);
}

/* One answer; what is left of an earlier one is dropped. */
static const char *answer_to(struct scene *scene, int fd, const char *request)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;

	buf_clear(&scene->got);
	say(scene, fd, request);
	while (!is_whole(&scene->got, strncmp(request, "HEAD", 4) != 0)) {
		if (take(scene, fd, scene->got.len + 1, 50) && scene->got.len == 0)
			break;
		if (clock_mono_ms() > end)
			fail_msg("no answer to\n%s\nbut\n%s", request, buf_cstr(&scene->got));
	}
	return buf_cstr(&scene->got);
}

static const struct {
	const char *name, *request;
	const char *has[5], *lacks[2];
} cases[] = {
	{"get", "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
		{"HTTP/1.1 200 OK\r\n", "\r\nContent-Type: text/plain; charset=utf-8\r\n",
			"\r\nContent-Length: 6\r\n", "\r\n\r\nhello\n"},
		{"Allow:"}},
	{"parameters are not the path's", "GET /hello?a=b HTTP/1.1\r\nHost: a\r\n\r\n",
		{"HTTP/1.1 200 OK\r\n", "\r\n\r\nhello\n"}, {NULL}},
	{"head", "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n",
		{"HTTP/1.1 200 OK\r\n", "\r\nContent-Length: 6\r\n"}, {"hello"}},
	{"nothing but a status", "GET /empty HTTP/1.1\r\nHost: a\r\n\r\n",
		{"HTTP/1.1 503 ", "\r\nContent-Type: application/json\r\n",
			"\r\nContent-Length: 0\r\n"},
		{NULL}},
	{"unknown path", "GET /hello/ HTTP/1.1\r\nHost: a\r\n\r\n",
		{"HTTP/1.1 404 ", "\r\n\r\nnot found\n"}, {"Allow:"}},
	{"unknown path, asked for its head", "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n",
		{"HTTP/1.1 404 "}, {"not found"}},
	{"case of the path counts", "GET /HELLO HTTP/1.1\r\nHost: a\r\n\r\n", {"HTTP/1.1 404 "},
		{NULL}},
	{"method not allowed", "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n",
		{"HTTP/1.1 405 ", "\r\nAllow: GET, HEAD, POST\r\n", "\r\n\r\nmethod not allowed\n"},
		{NULL}},
	{"get of what takes a post", "GET /reload HTTP/1.1\r\nHost: a\r\n\r\n",
		{"HTTP/1.1 405 ", "\r\nAllow: POST\r\n"}, {"hello"}},
	{"head of what takes a post", "HEAD /reload HTTP/1.1\r\nHost: a\r\n\r\n",
		{"HTTP/1.1 405 ", "\r\nAllow: POST\r\n"}, {NULL}},
	{"invented method", "BREW /hello HTTP/1.1\r\nHost: a\r\n\r\n", {"HTTP/1.1 405 "}, {NULL}},
	{"post of nothing", "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		{"HTTP/1.1 200 OK\r\n", "\r\n\r\nhello\n"}, {NULL}},
	{"post with a body", "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nGET / a",
		{"HTTP/1.1 200 OK\r\n", "\r\n\r\nhello\n"}, {NULL}},
	{"post in chunks",
		"POST /reload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		"3\r\nabc\r\n0\r\n\r\n",
		{"HTTP/1.1 200 OK\r\n", "\r\n\r\nhello\n"}, {NULL}},
	{"post to nowhere", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		{"HTTP/1.1 404 "}, {NULL}},
};

static void check_texts(
	const char *answer, const char *const *has, size_t count, const char *const *lacks)
{
	for (size_t i = 0; i < count; i++)
		if (has[i] != NULL && strstr(answer, has[i]) == NULL)
			fail_msg("%s is not in\n%s", has[i], answer);
	for (size_t i = 0; i < 2; i++)
		if (lacks[i] != NULL && strstr(answer, lacks[i]) != NULL)
			fail_msg("%s is in\n%s", lacks[i], answer);
}

/* All on one kept connection: an answer must leave nothing behind for the next. */
static void test_answers(void **state)
{
	struct scene scene;
	int fd;

	(void)state;
	scene_open(&scene);
	fd = client(&scene);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		print_message("%s\n", cases[i].name);
		check_texts(answer_to(&scene, fd, cases[i].request), cases[i].has,
			ARRAY_LEN(cases[i].has), cases[i].lacks);
	}
	close(fd);
	scene_close(&scene);
}

static void test_http_1_0_ends_the_connection(void **state)
{
	struct scene scene;
	int fd;

	(void)state;
	scene_open(&scene);
	fd = client(&scene);
	say(&scene, fd, "GET /hello HTTP/1.0\r\n\r\n");
	assert_true(take(&scene, fd, SIZE_MAX, WAIT_MS));
	assert_non_null(strstr(buf_cstr(&scene.got), "\r\n\r\nhello\n"));
	close(fd);
	scene_close(&scene);
}

static void test_pipelined(void **state)
{
	enum { COUNT = 50 };
	struct scene scene;
	struct buf requests = {0};
	size_t one;
	int fd;

	(void)state;
	scene_open(&scene);
	fd = client(&scene);
	answer_to(&scene, fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	one = scene.got.len;
	buf_clear(&scene.got);
	for (int i = 0; i < COUNT; i++)
		buf_append_str(&requests, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	say(&scene, fd, buf_cstr(&requests));
	assert_true(take(&scene, fd, COUNT * one, WAIT_MS));
	assert_int_equal(scene.got.len, COUNT * one);
	assert_int_equal(scene.calls, COUNT + 1);
	buf_free(&requests);
	close(fd);
	scene_close(&scene);
}

static void test_slow_request(void **state)
{
	static const char request[] =
		"POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
	struct scene scene;
	int slow, other;

	(void)state;
	scene_open(&scene);
	slow = client(&scene);
	other = client(&scene);
	for (size_t i = 0; i + 1 < sizeof(request); i++) {
		assert_int_equal(scene.calls, 0);
		assert_true(put(&scene, slow, request + i, 1));
	}
	assert_true(take(&scene, slow, 1, WAIT_MS));
	assert_int_equal(scene.calls, 1);
	/* Half a request holds up nobody. */
	say(&scene, slow, "GET /hel");
	check_texts(answer_to(&scene, other, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"),
		(const char *const[]){"HTTP/1.1 200 OK\r\n"}, 1, (const char *const[]){NULL, NULL});
	close(slow);
	close(other);
	scene_close(&scene);
}

/* More than the socket takes at once: the server waits until it can be written to again. */
static void test_big_answer(void **state)
{
	struct scene scene;
	int fd;

	(void)state;
	scene_open(&scene);
	fd = client(&scene);
	say(&scene, fd, "GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	for (int i = 0; i < 20; i++)
		turn(&scene, fd, 0);
	assert_true(take(&scene, fd, SIZE_MAX, WAIT_MS));
	assert_true(scene.got.len > BIG_BYTES);
	assert_int_equal(scene.got.ptr[scene.got.len - 1], 'b');
	close(fd);
	scene_close(&scene);
}

static void test_big_body_is_dropped(void **state)
{
	struct scene scene;
	char *body = xcalloc(1, BIG_BYTES);
	char head[128];
	int fd;

	(void)state;
	memset(body, 'x', BIG_BYTES);
	scene_open(&scene);
	fd = client(&scene);
	snprintf(head, sizeof(head),
		"POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", BIG_BYTES);
	say(&scene, fd, head);
	assert_true(put(&scene, fd, body, BIG_BYTES));
	assert_true(take(&scene, fd, 1, WAIT_MS));
	assert_memory_equal(scene.got.ptr, "HTTP/1.1 200 OK", 15);
	assert_int_equal(scene.calls, 1);
	free(body);
	close(fd);
	scene_close(&scene);
}

static const struct {
	const char *name, *bytes;
	size_t repeat;
	const char *answer; /* NULL: any refusal, or none */
} garbage[] = {
	{"words", "lorem ipsum dolor sit amet\r\n\r\n", 1, NULL},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 40, NULL},
	{"an endless line", "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 2000,
		NULL},
	{"endless headers", "GET /hello HTTP/1.1\r\nHost: a\r\nA: bcdefghijklmnopqrstuvwxyz\r\n",
		1000, NULL},
	{"a length below 0",
		"POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nabc\r\n\r\n", 1,
		"HTTP/1.1 400 "},
	{"a length of nonsense",
		"POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 1e3\r\n\r\nabc\r\n\r\n", 1,
		"HTTP/1.1 400 "},
	{"a length of 2^70",
		"POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: "
		"1180591620717411303424\r\n\r\n",
		1, "HTTP/1.1 413 "},
	{"a chunk of nonsense",
		"POST /reload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
		1, "HTTP/1.1 400 "},
};

/* Refused or cut off at once, without a call of a handler; and the server goes on. */
static void test_garbage(void **state)
{
	struct scene scene;
	int fd;

	(void)state;
	scene_open(&scene);
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
		print_message("%s\n", garbage[i].name);
		buf_clear(&scene.got);
		fd = client(&scene);
		for (size_t j = 0; j < garbage[i].repeat; j++)
			if (!put(&scene, fd, garbage[i].bytes, strlen(garbage[i].bytes)))
				break;
		shutdown(fd, SHUT_WR);
		if (!take(&scene, fd, SIZE_MAX, WAIT_MS))
			fail_msg("not ended, after\n%s", buf_cstr(&scene.got));
		close(fd);
		print_message("  %.30s\n", buf_cstr(&scene.got));
		if (scene.got.len > 0)
			assert_memory_equal(scene.got.ptr, "HTTP/1.1 4", 10);
		if (garbage[i].answer != NULL)
			assert_non_null(strstr(buf_cstr(&scene.got), garbage[i].answer));
		assert_int_equal(scene.calls, 0);
	}
	fd = client(&scene);
	answer_to(&scene, fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(scene.calls, 1);
	close(fd);
	scene_close(&scene);
}

static void test_hang_ups(void **state)
{
	static const char *const starts[] = {"", "G", "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"};
	struct linger linger = {.l_onoff = 1, .l_linger = 0};
	struct scene scene;
	int fd;

	(void)state;
	scene_open(&scene);
	for (size_t i = 0; i < 2 * ARRAY_LEN(starts); i++) {
		fd = client(&scene);
		say(&scene, fd, starts[i / 2]);
		if (i % 2 == 1) /* with a reset */
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		close(fd);
	}
	fd = client(&scene);
	answer_to(&scene, fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	close(fd);
	scene_close(&scene);
}

/* Whoever comes above the limit waits until another one has left. */
static void test_connection_limit(void **state)
{
	struct scene scene;
	int fds[MAX_CONNECTIONS + 1];

	(void)state;
	scene_open(&scene);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = client(&scene);
		if (i < MAX_CONNECTIONS)
			answer_to(&scene, fds[i], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	}
	buf_clear(&scene.got);
	say(&scene, fds[MAX_CONNECTIONS], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_false(take(&scene, fds[MAX_CONNECTIONS], 1, QUIET_MS));
	assert_int_equal(scene.calls, MAX_CONNECTIONS);
	close(fds[7]);
	assert_true(take(&scene, fds[MAX_CONNECTIONS], 1, WAIT_MS));
	assert_int_equal(scene.calls, MAX_CONNECTIONS + 1);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (i != 7)
			close(fds[i]);
	scene_close(&scene);
}

static void test_ipv6(void **state)
{
	struct scene scene;
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in6 loopback = {
		.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	bool is_there = bind(fd, (struct sockaddr *)&loopback, sizeof(loopback)) == 0;

	(void)state;
	close(fd);
	if (!is_there) {
		print_message("IPv6 is absent here\n");
		skip();
	}
	scene_open_at(&scene, "::1");
	fd = client_to(&scene, "::1", AF_INET6);
	answer_to(&scene, fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(scene.calls, 1);
	close(fd);
	scene_close(&scene);
}

static void expect_refusal(uv_loop_t *loop, const char *address, int port, const char *text)
{
	struct err err = {0};

	assert_null(httpd_open(loop, address, port, routes, NULL, &err));
	assert_string_equal(err.text, text);
}

static void test_cannot_listen(void **state)
{
	struct scene scene;
	char text[128];

	(void)state;
	scene_open(&scene);
	snprintf(text, sizeof(text), "cannot listen on 127.0.0.1:%d: Address already in use",
		httpd_port(scene.httpd));
	expect_refusal(&scene.loop, "127.0.0.1", httpd_port(scene.httpd), text);
	expect_refusal(&scene.loop, "192.0.2.1", 0,
		"cannot listen on 192.0.2.1:0: Cannot assign requested address");
	expect_refusal(&scene.loop, "not an address", 0,
		"cannot listen on not an address: Name or service not known");
	scene_close(&scene);
}

/* The port is free again at once, though a client's connection lingers. */
static void test_reopened_on_the_same_port(void **state)
{
	struct scene scene;
	struct err err = {0};
	int port, fd;

	(void)state;
	scene_open(&scene);
	port = httpd_port(scene.httpd);
	fd = client(&scene);
	answer_to(&scene, fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
	scene_close(&scene);
	memset(&scene, 0, sizeof(scene));
	assert_int_equal(uv_loop_init(&scene.loop), 0);
	scene.httpd = httpd_open(&scene.loop, "127.0.0.1", port, routes, &scene, &err);
	assert_string_equal(err.text, "");
	assert_int_equal(httpd_port(scene.httpd), port);
	close(fd);
	scene_close(&scene);
}

static void test_close_with_connections_open(void **state)
{
	static const char *const starts[] = {"", "GET /he",
		"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", "GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"};
	struct scene scene;
	int fds[ARRAY_LEN(starts)];

	(void)state;
	for (int turns = 0; turns < 4; turns++) {
		scene_open(&scene);
		for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
			fds[i] = client(&scene);
			send(fds[i], starts[i], strlen(starts[i]), MSG_NOSIGNAL);
		}
		for (int i = 0; i < turns; i++)
			turn(&scene, fds[0], POLLIN);
		scene_close(&scene);
		for (size_t i = 0; i < ARRAY_LEN(starts); i++)
			close(fds[i]);
	}
}

static void test_close_inside_a_handler(void **state)
{
	struct scene scene;
	int fd;

	(void)state;
	scene_open(&scene);
	fd = client(&scene);
	say(&scene, fd, "GET /close HTTP/1.1\r\nHost: a\r\n\r\n");
	take(&scene, fd, SIZE_MAX, WAIT_MS);
	assert_null(scene.httpd);
	close(fd);
	scene_close(&scene);
}

#define POST_LATER "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"

static void wait_for_later(struct scene *scene, int fd, int count)
{
	uint64_t end = clock_mono_ms() + WAIT_MS;

	while (scene->later_count < count && clock_mono_ms() < end)
		turn(scene, fd, POLLIN);
	assert_int_equal(scene->later_count, count);
}

/* Others are served meanwhile, and the connection goes on afterwards. */
static void test_answers_later(void **state)
{
	struct scene scene;
	int fd, other;

	(void)state;
	scene_open(&scene);
	fd = client(&scene);
	other = client(&scene);
	for (int i = 0; i < 3; i++) {
		buf_clear(&scene.got);
		say(&scene, fd, POST_LATER);
		wait_for_later(&scene, fd, i + 1);
		assert_false(take(&scene, fd, 1, 50));
		assert_non_null(
			strstr(answer_to(&scene, other, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"),
				"hello\n"));
		buf_clear(&scene.got);
		answer_later(&scene, i);
		while (!is_whole(&scene.got, true))
			assert_true(take(&scene, fd, scene.got.len + 1, WAIT_MS));
		assert_non_null(strstr(buf_cstr(&scene.got), "HTTP/1.1 201 "));
		assert_non_null(strstr(buf_cstr(&scene.got), "\r\n\r\nat last\n"));
	}
	close(fd);
	close(other);
	scene_close(&scene);
}

/* The client is gone before its answer, or the server. */
static void test_answers_nobody(void **state)
{
	struct scene scene;
	int fd, other;

	(void)state;
	scene_open(&scene);
	fd = client(&scene);
	other = client(&scene);
	say(&scene, fd, POST_LATER);
	wait_for_later(&scene, fd, 1);
	say(&scene, other, POST_LATER);
	wait_for_later(&scene, other, 2);
	close(fd);
	for (int i = 0; i < 20; i++)
		uv_run(&scene.loop, UV_RUN_NOWAIT);
	answer_later(&scene, 0);
	for (int i = 0; i < 20; i++)
		uv_run(&scene.loop, UV_RUN_NOWAIT);
	assert_non_null(
		strstr(answer_to(&scene, client(&scene), "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"),
			"hello\n"));
	scene_close(&scene);
	answer_later(&scene, 1);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_later),
		cmocka_unit_test(test_answers_nobody),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_http_1_0_ends_the_connection),
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_slow_request),
		cmocka_unit_test(test_big_answer),
		cmocka_unit_test(test_big_body_is_dropped),
		cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_hang_ups),
		cmocka_unit_test(test_connection_limit),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_cannot_listen),
		cmocka_unit_test(test_reopened_on_the_same_port),
		cmocka_unit_test(test_close_with_connections_open),
		cmocka_unit_test(test_close_inside_a_handler),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
