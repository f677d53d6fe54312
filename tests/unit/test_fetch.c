/* SPDX-License-Identifier: Apache-2.0 */
/* Requests against a scripted server of every ill nature: outcomes, words, bounds and clean ends.
 */
#include "common/loop/fetch.h"

#include "common/core/clock.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* --- The server: one thread per connection, one answer per path --- */

static int server_port;
static atomic_int server_connections, server_requests, server_threads;

struct peer {
	int fd;
	char request[1 << 16]; /* head and body, NUL-terminated */
	size_t len;
};

static bool send_all(int fd, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len > 0) {
		ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		at += sent;
		len -= (size_t)sent;
	}
	return true;
}

static bool send_text(int fd, const char *text)
{
	return send_all(fd, text, strlen(text));
}

/* Until the client hangs up. */
static bool hang(struct peer *peer)
{
	char byte;

	while (recv(peer->fd, &byte, 1, 0) > 0)
		;
	return false;
}

static bool answer_echo(struct peer *peer)
{
	char head[128];

	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", peer->len);
	return send_text(peer->fd, head) && send_all(peer->fd, peer->request, peer->len);
}

static bool answer_slow_body(struct peer *peer)
{
	send_text(peer->fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
	return hang(peer);
}

static bool answer_endless_body(struct peer *peer)
{
	send_text(peer->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	while (send_text(peer->fd, "10\r\n0123456789abcdef\r\n"))
		;
	return false;
}

static bool answer_endless_headers(struct peer *peer)
{
	send_text(peer->fd, "HTTP/1.1 200 OK\r\n");
	while (send_text(peer->fd, "X-Header: 0123456789abcdef0123456789abcdef\r\n"))
		;
	return false;
}

static bool answer_reset(struct peer *peer)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	return false;
}

static bool answer_nothing(struct peer *peer)
{
	(void)peer;
	return false;
}

/* Keeps the client believing that the connection can be used again. */
static bool answer_then_close(struct peer *peer)
{
	send_text(peer->fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	return false;
}

static const struct {
	const char *path, *text;
	bool (*answer)(struct peer *peer); /* false: close */
} answers[] = {
	{"/ok",
		"HTTP/1.1 200 OK\r\ncontent-TYPE:  text/plain; version=0.0.4 \r\n"
		"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
		NULL},
	{"/echo", NULL, answer_echo},
	{"/hang", NULL, hang},
	{"/slow", NULL, answer_slow_body},
	{"/endless", NULL, answer_endless_body},
	{"/headers", NULL, answer_endless_headers},
	{"/reset", NULL, answer_reset},
	{"/empty", NULL, answer_nothing},
	{"/close", NULL, answer_then_close},
	{"/codings",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Encoding:\r\n"
		"Content-Encoding: br\r\nContent-Length: 2\r\n\r\nok",
		NULL},
	{"/far",
		"HTTP/1.1 429 No\r\nRetry-After: Fri, 31 Dec 2199 23:59:59 GMT\r\nX-Taken:  12 "
		"\r\nContent-Length: 0\r\n\r\n",
		NULL},
	{"/never", "HTTP/1.1 429 No\r\nRetry-After: next week\r\nContent-Length: 0\r\n\r\n", NULL},
	{"/503", "HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy", NULL},
	{"/later",
		"HTTP/1.1 429 No\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n",
		NULL},
	{"/date",
		"HTTP/1.1 429 No\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n"
		"Content-Length: 0\r\n\r\n",
		NULL},
	{"/odd", "HTTP/1.1 200 OK\r\nContent-Type: a\x01\xff\r\nContent-Length: 0\r\n\r\n", NULL},
	{"/trailer",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: a/b\r\n\r\n"
		"3\r\nabc\r\n0\r\nContent-Type: c/d\r\n\r\n",
		NULL},
	{"/loop", "HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n", NULL},
	{"/moved",
		"HTTP/1.1 302 Found\r\nLocation: /echo\r\nContent-Encoding: br\r\n"
		"Content-Length: 7\r\n\r\nignored",
		NULL},
	{"/ftp", "HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
		NULL},
	{"/file", "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
		NULL},
	{"/short", "HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nhello", answer_nothing},
	{"/garbage", "lorem ipsum dolor sit amet\r\n\r\n", answer_nothing},
	{"/lie", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nabc",
		answer_nothing},
};

/* Reads one request; false at the end of the connection. */
static bool read_request(struct peer *peer)
{
	const char *end, *length;
	size_t need = 0;

	peer->len = 0;
	for (;;) {
		ssize_t got = recv(peer->fd, peer->request + peer->len,
			sizeof(peer->request) - peer->len - 1, 0);

		if (got <= 0)
			return false;
		peer->len += (size_t)got;
		peer->request[peer->len] = '\0';
		if ((end = strstr(peer->request, "\r\n\r\n")) == NULL)
			continue;
		length = strcasestr(peer->request, "Content-Length:");
		need = (size_t)(end + 4 - peer->request);
		need += length != NULL && length < end ? strtoul(length + 15, NULL, 10) : 0;
		if (peer->len >= need)
			return true;
	}
}

static bool answer(struct peer *peer)
{
	const char *path = strchr(peer->request, ' ') + 1;
	size_t len = strcspn(path, " ?");

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		if (strlen(answers[i].path) != len || memcmp(answers[i].path, path, len) != 0)
			continue;
		if (answers[i].text != NULL && !send_text(peer->fd, answers[i].text))
			return false;
		return answers[i].answer == NULL || answers[i].answer(peer);
	}
	return send_text(peer->fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
}

static void *serve_connection(void *arg)
{
	struct peer *peer = arg;

	while (read_request(peer)) {
		server_requests++;
		if (!answer(peer))
			break;
	}
	close(peer->fd);
	free(peer);
	server_threads--;
	return NULL;
}

static void *serve(void *arg)
{
	int listener = *(int *)arg;
	pthread_t thread;
	int fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		struct peer *peer = xcalloc(1, sizeof(*peer));

		peer->fd = fd;
		server_connections++;
		server_threads++;
		if (pthread_create(&thread, NULL, serve_connection, peer) != 0)
			abort();
		pthread_detach(thread);
	}
	return NULL;
}

static int listen_anywhere(int *port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 512) < 0)
		abort();
	getsockname(fd, (struct sockaddr *)&address, &len);
	*port = ntohs(address.sin_port);
	return fd;
}

static atomic_int resolved;

/* A resolver that hangs, in place of the C library's, for the one name that asks for it. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
	struct addrinfo **result)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (node != NULL && strcmp(node, "hanging.test") == 0) {
		poll(NULL, 0, 1500);
		return EAI_AGAIN;
	}
	if (node != NULL && strcmp(node, "missing.test") == 0)
		return EAI_NONAME;
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	if (node != NULL && strcmp(node, "named.test") == 0) {
		resolved++;
		node = "127.0.0.1";
	}
	return real(node, service, hints, result);
}

/* --- The client's side --- */

static bool goes_directly; /* all tests are run either way */

struct scene {
	uv_loop_t loop;
	struct fetch *fetch;
	int completed;
	int wanted; /* stop the loop at so many */
	int closed;
	struct fetch_result last; /* with the body moved out */
	void (*then)(struct scene *scene);
};

static void scene_open(struct scene *scene)
{
	struct fetch_options options = {.max_idle_connections = 1000,
		.user_agent = "test/1",
		.goes_directly = goes_directly};

	memset(scene, 0, sizeof(*scene));
	assert_int_equal(uv_loop_init(&scene->loop), 0);
	scene->fetch = fetch_open(&scene->loop, &options);
}

static void on_closed(void *arg)
{
	((struct scene *)arg)->closed++;
}

static void scene_close(struct scene *scene)
{
	if (scene->fetch != NULL)
		fetch_close(scene->fetch, on_closed, scene);
	assert_int_equal(uv_run(&scene->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(scene->closed, 1);
	assert_int_equal(uv_loop_close(&scene->loop), 0);
	buf_free(&scene->last.body);
}

static void on_fetched(void *arg, struct fetch_result *result)
{
	struct scene *scene = arg;

	buf_free(&scene->last.body);
	scene->last = *result;
	scene->last.body = buf_take(&result->body);
	if (++scene->completed == scene->wanted)
		uv_stop(&scene->loop);
	if (scene->then != NULL)
		scene->then(scene);
}

static char *url_of(const char *path)
{
	static char url[256];

	if (strstr(path, "://") != NULL || path[0] != '/')
		snprintf(url, sizeof(url), "%s", path);
	else
		snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", server_port, path);
	return url;
}

static struct fetch_transfer *start(struct scene *scene, struct fetch_request request)
{
	request.url = url_of(request.url);
	if (request.method == NULL)
		request.method = "GET";
	if (request.timeout_ms == 0)
		request.timeout_ms = 10000;
	return fetch_start(scene->fetch, &request, on_fetched, scene);
}

static void run_until(struct scene *scene, int completed)
{
	scene->wanted = completed;
	while (scene->completed < completed)
		uv_run(&scene->loop, UV_RUN_DEFAULT);
	scene->wanted = 0;
}

static struct fetch_result *get(struct scene *scene, struct fetch_request request)
{
	int before = scene->completed;

	start(scene, request);
	assert_int_equal(scene->completed, before); /* never from inside fetch_start */
	run_until(scene, before + 1);
	return &scene->last;
}

static const struct {
	const char *name;
	struct fetch_request request;
	enum fetch_outcome outcome;
	int status;
	const char *error, *body;
} cases[] = {
	{"ok", {.url = "/ok"}, FETCH_DONE, 200, "", "hello"},
	{"404", {.url = "/nothing"}, FETCH_DONE, 404, "", ""},
	{"503", {.url = "/503"}, FETCH_DONE, 503, "", "busy"},
	{"exactly the limit", {.url = "/ok", .body_limit_bytes = 5}, FETCH_DONE, 200, "", "hello"},
	{"one above the limit", {.url = "/ok", .body_limit_bytes = 4}, FETCH_TOO_LARGE, 0,
		"body exceeds 4B", ""},
	{"cut at the limit",
		{.url = "/ok", .method = "POST", .body_limit_bytes = 4, .cuts_body = true},
		FETCH_DONE, 200, "", "hell"},
	{"cut, with nothing to cut",
		{.url = "/ok", .method = "POST", .body_limit_bytes = 5, .cuts_body = true},
		FETCH_DONE, 200, "", "hello"},
	{"cut and endless",
		{.url = "/endless",
			.method = "POST",
			.body_limit_bytes = 4,
			.cuts_body = true,
			.timeout_ms = 200},
		FETCH_TIMED_OUT, 0, "timed out after 200ms", ""},
	{"endless body", {.url = "/endless", .body_limit_bytes = 16 << 20}, FETCH_TOO_LARGE, 0,
		"body exceeds 16MB", ""},
	{"endless headers", {.url = "/headers"}, FETCH_FAILED, 0, "headers exceed 300KB", ""},
	{"hanging", {.url = "/hang", .timeout_ms = 100}, FETCH_TIMED_OUT, 0,
		"timed out after 100ms", ""},
	{"slow body", {.url = "/slow", .timeout_ms = 1000}, FETCH_TIMED_OUT, 0,
		"timed out after 1s", ""},
	{"reset", {.url = "/reset"}, FETCH_FAILED, 0, "connection reset by peer", ""},
	{"empty reply", {.url = "/empty"}, FETCH_FAILED, 0, "empty reply", ""},
	{"short body", {.url = "/short"}, FETCH_FAILED, 0,
		"connection closed before the end of the body", ""},
	{"absurd length", {.url = "/lie"}, FETCH_FAILED, 0,
		"connection closed before the end of the body", ""},
	{"not HTTP", {.url = "/garbage"}, FETCH_FAILED, 0, "answer is not HTTP", ""},
	{"redirect not followed", {.url = "/loop"}, FETCH_DONE, 302, "", ""},
	{"redirect loop", {.url = "/loop", .follow_redirects = true}, FETCH_FAILED, 0,
		"too many redirects", ""},
	{"redirect to ftp", {.url = "/ftp", .follow_redirects = true}, FETCH_FAILED, 0,
		"neither http nor https", ""},
	{"redirect to a file", {.url = "/file", .follow_redirects = true}, FETCH_FAILED, 0,
		"neither http nor https", ""},
	{"refused", {.url = "http://127.0.0.1:1/"}, FETCH_FAILED, 0, "connection refused", ""},
	{"no such host", {.url = "http://user:secret@missing.test/"}, FETCH_FAILED, 0,
		"no such host: missing.test", ""},
	{"scheme", {.url = "ftp://user:secret@127.0.0.1/"}, FETCH_FAILED, 0,
		"neither http nor https", ""},
	{"file", {.url = "file:///etc/passwd"}, FETCH_FAILED, 0, "neither http nor https", ""},
	{"bad port", {.url = "http://user:secret@127.0.0.1:99999/"}, FETCH_FAILED, 0,
		"malformed URL", ""},
	{"empty URL", {.url = ""}, FETCH_FAILED, 0, "malformed URL", ""},
	{"control character", {.url = "http://127.0.0.1/\x01"}, FETCH_FAILED, 0, "malformed URL",
		""},
	{"header smuggling", {.url = "/ok", .headers = (const char *const[]){"A: b\r\nC: d", NULL}},
		FETCH_FAILED, 0, "control character in a request header", ""},
};

static void test_outcomes(void **state)
{
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct fetch_result *got;

		/* Each time a site that is known, and was no disappointment. */
		scene_open(&scene);
		get(&scene, (struct fetch_request){.url = "/ok"});
		got = get(&scene, cases[i].request);

		print_message("%s: %s\n", cases[i].name, got->error);
		assert_string_equal(got->error, cases[i].error);
		assert_int_equal(got->outcome, cases[i].outcome);
		assert_int_equal(got->status, cases[i].status);
		assert_string_equal(buf_cstr(&got->body), cases[i].body);
		assert_int_equal(fetch_running(scene.fetch), 0);
		scene_close(&scene);
	}
}

static void test_answer_headers(void **state)
{
	struct scene scene;
	struct fetch_result *got;

	(void)state;
	scene_open(&scene);
	got = get(&scene, (struct fetch_request){.url = "/ok"});
	assert_string_equal(got->content_type, "text/plain; version=0.0.4");
	assert_string_equal(got->content_encoding, "gzip");
	assert_int_equal(got->retry_after_ms, -1);
	assert_true(got->duration_s > 0 && got->duration_s < 5);
	got = get(&scene, (struct fetch_request){.url = "/503"});
	assert_string_equal(got->content_type, "");
	assert_int_equal(got->retry_after_ms, 7000);
	got = get(&scene, (struct fetch_request){.url = "/later"});
	assert_int_equal(got->retry_after_ms, 86400 * 1000);
	got = get(&scene, (struct fetch_request){.url = "/date"});
	assert_int_equal(got->retry_after_ms, 0);
	got = get(&scene, (struct fetch_request){.url = "/far"});
	assert_int_equal(got->retry_after_ms, 86400 * 1000);
	assert_string_equal(got->answer_header, "");
	got = get(&scene, (struct fetch_request){.url = "/far", .answer_header = "x-taken"});
	assert_string_equal(got->answer_header, "12");
	got = get(&scene, (struct fetch_request){.url = "/never"});
	assert_int_equal(got->retry_after_ms, -1);
	got = get(&scene, (struct fetch_request){.url = "/odd"});
	assert_string_equal(got->content_type, "a??");
	got = get(&scene, (struct fetch_request){.url = "/codings"});
	assert_string_equal(got->content_encoding, "gzip,br");
	got = get(&scene, (struct fetch_request){.url = "/trailer"});
	assert_string_equal(got->content_type, "a/b");
	/* The encoding of the redirect is not the answer's. */
	got = get(&scene, (struct fetch_request){.url = "/moved", .follow_redirects = true});
	assert_int_equal(got->status, 200);
	assert_string_equal(got->content_encoding, "");
	scene_close(&scene);
}

static const struct {
	const char *name;
	struct fetch_request request;
	const char *has[6], *lacks[4];
} requests[] = {
	{"get", {.url = "/echo?a=b"}, {"GET /echo?a=b HTTP/1.1\r\n", "\r\nUser-Agent: test/1\r\n"},
		{"Content-Length", "Content-Type", "Expect", "Authorization"}},
	{"headers",
		{.url = "/echo",
			.headers = (const char *const[]){"Accept: text/plain",
				"Accept-Encoding: gzip", NULL}},
		{"\r\nAccept: text/plain\r\n", "\r\nAccept-Encoding: gzip\r\n"}, {"*/*"}},
	{"put", {.url = "/echo", .method = "PUT", .body = {"x\0y", 3}},
		{"PUT /echo HTTP/1.1\r\n", "\r\nContent-Length: 3\r\n"},
		{"Content-Type", "Expect"}},
	{"post with a type",
		{.url = "/echo",
			.method = "POST",
			.body = {"abc", 3},
			.headers = (const char *const[]){"content-type: a/b", NULL}},
		{"POST /echo ", "\r\ncontent-type: a/b\r\n", "\r\n\r\nabc"}, {"form-urlencoded"}},
	{"put of nothing", {.url = "/echo", .method = "PUT"},
		{"PUT /echo ", "\r\nContent-Length: 0\r\n"}, {"Expect"}},
	{"delete after all that", {.url = "/echo", .method = "DELETE"},
		{"DELETE /echo HTTP/1.1\r\n"}, {"Content-Length", "Content-Type", "a/b"}},
	{"dots stay", {.url = "/echo?/../%2e%2e/./x"}, {"GET /echo?/../%2e%2e/./x "}, {NULL}},
	{"redirected", {.url = "/moved", .follow_redirects = true}, {"GET /echo "}, {NULL}},
};

static void test_requests(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene);
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		const char *echo = buf_cstr(&get(&scene, requests[i].request)->body);

		print_message("%s\n", requests[i].name);
		for (size_t j = 0; j < ARRAY_LEN(requests[i].has); j++)
			if (requests[i].has[j] != NULL && strstr(echo, requests[i].has[j]) == NULL)
				fail_msg("%s is not in\n%s", requests[i].has[j], echo);
		for (size_t j = 0; j < ARRAY_LEN(requests[i].lacks); j++)
			if (requests[i].lacks[j] != NULL &&
				strstr(echo, requests[i].lacks[j]) != NULL)
				fail_msg("%s is in\n%s", requests[i].lacks[j], echo);
	}
	scene_close(&scene);
}

static void test_large_put(void **state)
{
	struct scene scene;
	char *body = xcalloc(1, 60000);
	struct fetch_result *got;

	(void)state;
	memset(body, 'b', 60000);
	scene_open(&scene);
	got = get(&scene,
		(struct fetch_request){.url = "/echo", .method = "PUT", .body = {body, 60000}});
	assert_int_equal(got->status, 200);
	assert_memory_equal(got->body.ptr + got->body.len - 60000, body, 60000);
	scene_close(&scene);
	free(body);
}

static void test_userinfo_is_basic_auth(void **state)
{
	struct scene scene;
	char url[128];
	struct fetch_result *got;

	(void)state;
	scene_open(&scene);
	snprintf(url, sizeof(url), "http://us%%40er:pass@127.0.0.1:%d/echo", server_port);
	got = get(&scene, (struct fetch_request){.url = url});
	assert_non_null(
		strstr(buf_cstr(&got->body), "\r\nAuthorization: Basic dXNAZXI6cGFzcw==\r\n"));
	scene_close(&scene);
}

static void test_proxy_of_the_environment_is_ignored(void **state)
{
	struct scene scene;

	(void)state;
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	scene_open(&scene);
	assert_int_equal(get(&scene, (struct fetch_request){.url = "/ok"})->status, 200);
	scene_close(&scene);
	unsetenv("http_proxy");
}

static void test_connections_are_kept(void **state)
{
	struct scene scene;
	int before = server_connections;

	(void)state;
	scene_open(&scene);
	for (int i = 0; i < 20; i++)
		assert_int_equal(get(&scene, (struct fetch_request){.url = "/ok"})->status, 200);
	/* The first one of libcurl's is given up for one of our own. */
	assert_int_equal(server_connections - before, goes_directly ? 2 : 1);
	scene_close(&scene);
}

/* The server drops each connection after one answer and does not say so. */
static void test_dropped_connection_is_retried(void **state)
{
	struct scene scene;
	struct fetch_request put = {.url = "/close", .method = "PUT", .body = {"x", 1}};

	(void)state;
	scene_open(&scene);
	for (int i = 0; i < 50; i++) {
		struct fetch_result *got =
			get(&scene, i % 2 == 0 ? (struct fetch_request){.url = "/close"} : put);

		assert_string_equal(got->error, "");
		assert_int_equal(got->status, 200);
	}
	scene_close(&scene);
}

/* A site that disappoints each time is left to libcurl: one request for one answer. */
static void test_hopeless_site(void **state)
{
	struct scene scene;
	int before;

	(void)state;
	scene_open(&scene);
	for (int i = 0; i < 8; i++)
		assert_int_equal(
			get(&scene, (struct fetch_request){.url = "/trailer"})->status, 200);
	before = server_requests;
	for (int i = 0; i < 8; i++)
		assert_int_equal(
			get(&scene, (struct fetch_request){.url = "/trailer"})->status, 200);
	assert_int_equal(server_requests - before, 8);
	scene_close(&scene);
}

static void await_close(struct scene *scene)
{
	for (int i = 0; i < 20; i++) {
		uv_run(&scene->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
}

/* What goes directly is one request for one answer too, and a new connection is found at need. */
static void test_lost_connections(void **state)
{
	struct scene scene;
	int before;

	(void)state;
	scene_open(&scene);
	get(&scene, (struct fetch_request){.url = "/ok"});
	get(&scene, (struct fetch_request){.url = "/ok"});
	before = server_requests;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(get(&scene, (struct fetch_request){.url = "/close"})->status, 200);
		await_close(&scene);
		assert_int_equal(get(&scene, (struct fetch_request){.url = "/ok"})->status, 200);
	}
	assert_int_equal(server_requests - before, 40);
	scene_close(&scene);
}

/* For each connect, or for the two that come when libcurl has done so for what goes directly. */
static void test_names_are_resolved_again(void **state)
{
	struct scene scene;
	char url[64];
	int before = resolved;

	(void)state;
	snprintf(url, sizeof(url), "http://named.test:%d/close", server_port);
	scene_open(&scene);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(get(&scene, (struct fetch_request){.url = url})->status, 200);
		await_close(&scene);
	}
	print_message("%d\n", resolved - before);
	assert_in_range(resolved - before, goes_directly ? 10 : 20, 20);
	scene_close(&scene);
}

/* Neither the deadline nor the end of the program waits for a resolver that does not answer. */
static void test_hanging_resolver(void **state)
{
	struct scene scene;
	uint64_t start_ms = clock_mono_ms();
	struct fetch_result *got;

	(void)state;
	scene_open(&scene);
	got = get(&scene, (struct fetch_request){.url = "http://hanging.test/", .timeout_ms = 200});
	assert_int_equal(got->outcome, FETCH_TIMED_OUT);
	start(&scene, (struct fetch_request){.url = "http://hanging.test/"});
	uv_run(&scene.loop, UV_RUN_ONCE);
	uv_run(&scene.loop, UV_RUN_NOWAIT);
	scene_close(&scene);
	print_message("%llu ms\n", (unsigned long long)(clock_mono_ms() - start_ms));
	assert_true(clock_mono_ms() - start_ms < 1000);
	poll(NULL, 0, 1600); /* the resolver's threads end, for the leak checker */
}

static void test_many_at_once(void **state)
{
	enum { COUNT = 400 };
	static const char *const paths[] = {"/ok", "/503", "/reset", "/endless", "/empty", "/loop"};
	struct scene scene;

	(void)state;
	scene_open(&scene);
	for (int i = 0; i < COUNT; i++)
		start(&scene, (struct fetch_request){.url = paths[(size_t)i % ARRAY_LEN(paths)],
				      .body_limit_bytes = 1000,
				      .follow_redirects = true});
	assert_int_equal(fetch_running(scene.fetch), COUNT);
	run_until(&scene, COUNT);
	assert_int_equal(fetch_running(scene.fetch), 0);
	scene_close(&scene);
	assert_int_equal(scene.completed, COUNT);
}

/* All of them time out in the same instant; the last one too must be reported. */
static void test_all_time_out(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene);
	for (int i = 0; i < 50; i++)
		start(&scene, (struct fetch_request){.url = "/hang", .timeout_ms = 150});
	run_until(&scene, 50);
	assert_int_equal(scene.last.outcome, FETCH_TIMED_OUT);
	scene_close(&scene);
}

static void test_cancel(void **state)
{
	struct scene scene;
	struct fetch_transfer *transfers[30];

	(void)state;
	scene_open(&scene);
	for (size_t i = 0; i < ARRAY_LEN(transfers); i++)
		transfers[i] =
			start(&scene, (struct fetch_request){.url = i % 3 == 0   ? "/hang"
								    : i % 3 == 1 ? "/slow"
										 : "bad url"});
	for (size_t i = 0; i < ARRAY_LEN(transfers); i += 2)
		fetch_cancel(transfers[i]);
	for (int i = 0; i < 5; i++)
		uv_run(&scene.loop, UV_RUN_NOWAIT);
	for (size_t i = 1; i < ARRAY_LEN(transfers); i += 6) /* those that hang */
		if (i % 3 == 0)
			fetch_cancel(transfers[i]);
	assert_int_equal(get(&scene, (struct fetch_request){.url = "/ok"})->status, 200);
	scene_close(&scene);
}

static void test_close_with_transfers_in_flight(void **state)
{
	static const char *const paths[] = {
		"/hang", "/slow", "/endless", "http://127.0.0.1:1/", "bad url", "/ok"};
	struct scene scene;

	(void)state;
	for (int rounds = 0; rounds < 8; rounds++) {
		scene_open(&scene);
		for (size_t i = 0; i < 60; i++)
			start(&scene, (struct fetch_request){.url = paths[i % ARRAY_LEN(paths)]});
		start(&scene, (struct fetch_request){
				      .url = "/ok", .headers = (const char *const[]){"\n", NULL}});
		for (int i = 0; i < rounds; i++)
			uv_run(&scene.loop, UV_RUN_NOWAIT);
		scene_close(&scene);
	}
}

static void close_it(struct scene *scene)
{
	fetch_close(scene->fetch, on_closed, scene);
	scene->fetch = NULL;
}

static void test_close_inside_a_callback(void **state)
{
	const struct fetch_request firsts[] = {
		{.url = "/ok"},
		{.url = "/hang", .timeout_ms = 50},
		{.url = "/ok", .headers = (const char *const[]){"\n", NULL}},
	};
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(firsts); i++) {
		scene_open(&scene);
		scene.then = close_it;
		for (int j = 0; j < 5; j++)
			start(&scene, firsts[i]);
		start(&scene, (struct fetch_request){.url = "/hang"});
		assert_int_equal(uv_run(&scene.loop, UV_RUN_DEFAULT), 0);
		assert_int_equal(scene.completed, 1);
		scene_close(&scene);
	}
}

static void start_another(struct scene *scene)
{
	static const char *const paths[] = {"/ok", "bad url", "http://127.0.0.1:1/", "/reset"};

	if (scene->completed < 40)
		start(scene, (struct fetch_request){
				     .url = paths[(size_t)scene->completed % ARRAY_LEN(paths)]});
}

static void on_round(uv_check_t *check)
{
	(*(int *)check->data)++;
}

/* Someone who starts anew at every failure, at once, does not keep the loop from its other work. */
static void test_restarts_inside_callbacks(void **state)
{
	struct scene scene;
	uv_check_t check;
	int rounds = 0;

	(void)state;
	scene_open(&scene);
	uv_check_init(&scene.loop, &check);
	check.data = &rounds;
	uv_check_start(&check, on_round);
	scene.then = start_another;
	start(&scene, (struct fetch_request){.url = "/ok"});
	run_until(&scene, 40);
	assert_true(rounds >= 20);
	uv_close((uv_handle_t *)&check, NULL);
	scene_close(&scene);
}

static int set_up(void **state)
{
	static int listener;
	pthread_t thread;

	(void)state;
	listener = listen_anywhere(&server_port);
	if (pthread_create(&thread, NULL, serve, &listener) != 0)
		return -1;
	return pthread_detach(thread);
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < 500 && server_threads > 0; i++)
		poll(NULL, 0, 10);
	return server_threads;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_answer_headers),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_large_put),
		cmocka_unit_test(test_userinfo_is_basic_auth),
		cmocka_unit_test(test_proxy_of_the_environment_is_ignored),
		cmocka_unit_test(test_connections_are_kept),
		cmocka_unit_test(test_dropped_connection_is_retried),
		cmocka_unit_test(test_hopeless_site),
		cmocka_unit_test(test_lost_connections),
		cmocka_unit_test(test_names_are_resolved_again),
		cmocka_unit_test(test_hanging_resolver),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_all_time_out),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_close_with_transfers_in_flight),
		cmocka_unit_test(test_close_inside_a_callback),
		cmocka_unit_test(test_restarts_inside_callbacks),
	};

	int failed = cmocka_run_group_tests_name("by libcurl", tests, set_up, tear_down);

	goes_directly = true;
	return failed + cmocka_run_group_tests_name("directly", tests, set_up, tear_down);
}
