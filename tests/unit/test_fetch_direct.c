/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes past libcurl against what libcurl does: the same bytes asked, the same answers
 * believed, names looked up as often, and no worse end when a site, its connections or its address
 * go away.
 */
#include "common/loop/fetch.h"

#include "common/core/clock.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* --- Time: the real one, and what a test adds to it --- */

static _Atomic uint64_t added_ms;

static uint64_t real_us(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_mono_us(void)
{
	return real_us(CLOCK_MONOTONIC) + added_ms * 1000;
}

uint64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

int64_t clock_wall_ms(void)
{
	return (int64_t)(real_us(CLOCK_REALTIME) / 1000);
}

uint64_t random_u64(void)
{
	return 4;
}

void clock_freeze_wall(int64_t ms)
{
	(void)ms;
}

/* --- The server: on 127.0.0.1, 127.0.0.2 and ::1, one thread per connection --- */

struct connection {
	int fd;
	int listener; /* which it came to */
	char request[1 << 14];
	size_t len;
};

static int port;
static atomic_int connections[3], open_connections, requests, afterthoughts;

static bool send_text(struct connection *connection, const char *text)
{
	size_t len = strlen(text);

	return send(connection->fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void hang(struct connection *connection)
{
	char byte;

	while (recv(connection->fd, &byte, 1, 0) > 0)
		;
}

static bool send_body(struct connection *connection, const char *body, size_t len)
{
	char head[128];

	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);
	return send_text(connection, head) &&
	       send(connection->fd, body, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool answer_echo(struct connection *connection)
{
	return send_body(connection, connection->request, connection->len);
}

static bool answer_which(struct connection *connection)
{
	static const char *const names[] = {"first", "second", "third"};

	return send_body(
		connection, names[connection->listener], strlen(names[connection->listener]));
}

static bool answer_which_and_close(struct connection *connection)
{
	answer_which(connection);
	return false;
}

/* An answer that nobody asked for follows a little later. */
static bool answer_too_much(struct connection *connection)
{
	answer_which(connection);
	poll(NULL, 0, 20);
	send_body(connection, "evil", 4);
	afterthoughts++;
	return true;
}

static bool answer_then_reset(struct connection *connection)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	answer_which(connection);
	poll(NULL, 0, 20);
	setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(connection->fd);
	connection->fd = -1;
	afterthoughts++;
	return false;
}

/* The second request and those after it are left without an answer, on any connection. */
static atomic_int is_dead;

static bool answer_unless_dead(struct connection *connection)
{
	if (!is_dead)
		return answer_which(connection);
	hang(connection);
	return false;
}

static const struct {
	const char *path, *text;
	bool (*answer)(struct connection *connection); /* false: close */
} answers[] = {
	{"/which", NULL, answer_which},
	{"/once", NULL, answer_which_and_close},
	{"/much", NULL, answer_too_much},
	{"/reset", NULL, answer_then_reset},
	{"/dead", NULL, answer_unless_dead},
	{"/lf", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", NULL},
	{"/half-lf", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok", NULL},
	{"/moved", "HTTP/1.1 302 Found\r\nLocation: /which\r\nContent-Length: 0\r\n\r\n", NULL},
	{"/interim",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		NULL},
	{"/empty", "HTTP/1.1 204 No Content\r\n\r\n", NULL},
	{"/two", "HTTP/1.1 200 OK\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", NULL},
};

static bool answer(struct connection *connection)
{
	const char *path = strchr(connection->request, ' ') + 1;
	size_t len = strcspn(path, " ?");

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		if (strlen(answers[i].path) != len || memcmp(answers[i].path, path, len) != 0)
			continue;
		return answers[i].answer != NULL ? answers[i].answer(connection)
						 : send_text(connection, answers[i].text);
	}
	return answer_echo(connection);
}

static bool read_request(struct connection *connection)
{
	connection->len = 0;
	for (;;) {
		ssize_t got = recv(connection->fd, connection->request + connection->len,
			sizeof(connection->request) - connection->len - 1, 0);

		if (got <= 0)
			return false;
		connection->len += (size_t)got;
		connection->request[connection->len] = '\0';
		if (strstr(connection->request, "\r\n\r\n") != NULL)
			return true;
	}
}

static void *serve_connection(void *arg)
{
	struct connection *connection = arg;

	while (read_request(connection)) {
		requests++;
		if (!answer(connection))
			break;
	}
	if (connection->fd >= 0)
		close(connection->fd);
	open_connections--;
	free(connection);
	return NULL;
}

static struct listener {
	int fd, number;
} listeners[3];

static void *serve(void *arg)
{
	struct listener *listener = arg;
	pthread_t thread;
	int fd;

	while ((fd = accept(listener->fd, NULL, NULL)) >= 0) {
		struct connection *connection = xcalloc(1, sizeof(*connection));

		connection->fd = fd;
		connection->listener = listener->number;
		connections[listener->number]++;
		open_connections++;
		if (pthread_create(&thread, NULL, serve_connection, connection) != 0)
			abort();
		pthread_detach(thread);
	}
	return NULL;
}

/* Returns -1 if there is no such address, as ::1 on some machines. */
static int listen_at(const char *ip, int number)
{
	struct addrinfo *address, hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
	struct listener *listener = &listeners[number];
	struct sockaddr_in bound;
	socklen_t len = sizeof(bound);
	pthread_t thread;
	char service[8];

	snprintf(service, sizeof(service), "%d", port);
	if (getaddrinfo(ip, service, &hints, &address) != 0)
		abort();
	listener->number = number;
	listener->fd = socket(address->ai_family, SOCK_STREAM, 0);
	if (listener->fd < 0 || bind(listener->fd, address->ai_addr, address->ai_addrlen) < 0 ||
		listen(listener->fd, 64) < 0) {
		freeaddrinfo(address);
		return -1;
	}
	freeaddrinfo(address);
	if (port == 0) {
		getsockname(listener->fd, (struct sockaddr *)&bound, &len);
		port = ntohs(bound.sin_port);
	}
	if (pthread_create(&thread, NULL, serve, listener) != 0)
		return -1;
	return pthread_detach(thread);
}

/* --- Names: "moving.test" is where `moving_to` says, in place of the C library's resolver --- */

static _Atomic(const char *) moving_to = "127.0.0.1";

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
	struct addrinfo **result)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	bool is_ours = node != NULL && strcasecmp(node, "moving.test") == 0;

	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(is_ours ? moving_to : node, service, hints, result);
}

/* --- The client's side --- */

struct scene {
	uv_loop_t loop;
	struct fetch *fetch;
	bool is_done;
	struct fetch_result last; /* with the body moved out */
};

static void scene_open(struct scene *scene, bool goes_directly)
{
	struct fetch_options options = {
		.max_idle_connections = 4, .user_agent = "test/1", .goes_directly = goes_directly};

	memset(scene, 0, sizeof(*scene));
	added_ms = 0;
	is_dead = 0;
	moving_to = "127.0.0.1";
	assert_int_equal(uv_loop_init(&scene->loop), 0);
	scene->fetch = fetch_open(&scene->loop, &options);
}

static void scene_close(struct scene *scene)
{
	fetch_close(scene->fetch, NULL, NULL);
	assert_int_equal(uv_run(&scene->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&scene->loop), 0);
	buf_free(&scene->last.body);
}

static void on_fetched(void *arg, struct fetch_result *result)
{
	struct scene *scene = arg;

	buf_free(&scene->last.body);
	scene->last = *result;
	scene->last.body = buf_take(&result->body);
	scene->is_done = true;
	uv_stop(&scene->loop);
}

static const char *url_of(const char *host, const char *path)
{
	static char url[256];

	snprintf(url, sizeof(url), "http://%s:%d%s", host, port, path);
	return url;
}

static const char *fetch_with(struct scene *scene, struct fetch_request request)
{
	request.method = "GET";
	request.follow_redirects = true;
	if (request.timeout_ms == 0)
		request.timeout_ms = 5000;
	scene->is_done = false;
	fetch_start(scene->fetch, &request, on_fetched, scene);
	while (!scene->is_done)
		uv_run(&scene->loop, UV_RUN_DEFAULT);
	return scene->last.outcome == FETCH_DONE ? buf_cstr(&scene->last.body) : scene->last.error;
}

/* The body, or the error. */
static const char *get(struct scene *scene, const char *host, const char *path)
{
	return fetch_with(scene, (struct fetch_request){.url = url_of(host, path)});
}

/* For what the server does after an answer; it waits in the socket. */
static void await_afterthought(int before)
{
	for (int i = 0; i < 5000 && afterthoughts == before; i++)
		poll(NULL, 0, 1);
	assert_int_not_equal(afterthoughts, before);
}

static void let_events_come(struct scene *scene)
{
	for (int i = 0; i < 30; i++) {
		uv_run(&scene->loop, UV_RUN_NOWAIT);
		poll(NULL, 0, 1);
	}
}

/* --- The same bytes --- */

static const struct {
	const char *name, *url; /* with "PORT" in it */
	const char *headers[4];
} asked[] = {
	{"plain", "http://127.0.0.1:PORT/echo", {NULL}},
	{"query", "http://127.0.0.1:PORT/echo?a=b&c=%20+d;e", {NULL}},
	{"dots", "http://127.0.0.1:PORT/./a/../b/%2e%2e//c?/../d", {NULL}},
	{"every sign", "http://127.0.0.1:PORT/!\"$%&'()*+,-.:;<=>?@[\\]^_`{|}~", {NULL}},
	{"short address", "http://127.1:PORT/echo", {NULL}},
	{"address as one number", "http://2130706433:PORT/echo", {NULL}},
	{"hexadecimal address", "http://0x7f.0.0.1:PORT/echo", {NULL}},
	{"octal address", "http://127.0.0.01:PORT/echo", {NULL}},
	{"port with zeros", "http://127.0.0.1:0PORT/echo", {NULL}},
	{"upper-case name", "http://MOVING.Test:PORT/echo", {NULL}},
	{"upper-case scheme", "HTTP://moving.test:PORT/echo", {NULL}},
	{"name with a dot at its end", "http://localhost.:PORT/echo", {NULL}},
	{"version 6", "http://[::1]:PORT/echo", {NULL}},
	{"long version 6", "http://[0:0:0:0:0:0:0:1]:PORT/echo", {NULL}},
	{"version 6 in upper case", "http://[::FFFF:127.0.0.1]:PORT/echo", {NULL}},
	{"userinfo", "http://us%40er:pass@127.0.0.1:PORT/echo", {NULL}},
	{"fragment", "http://127.0.0.1:PORT/echo#part", {NULL}},
	{"no path", "http://127.0.0.1:PORT", {NULL}},
	{"no path but a query", "http://127.0.0.1:PORT?a=b", {NULL}},
	{"blank", "http://127.0.0.1:PORT/a b", {NULL}},
	{"not ASCII", "http://127.0.0.1:PORT/\xc3\xa4", {NULL}},
	{"headers of a scrape", "http://127.0.0.1:PORT/echo",
		{"Accept: text/plain;version=0.0.4;q=1,*/*;q=0.1", "Accept-Encoding: gzip",
			"X-Prometheus-Scrape-Timeout-Seconds: 10"}},
	{"other headers", "http://127.0.0.1:PORT/echo",
		{"A: b", "accept-encoding: gzip", "C:  d "}},
	{"headers but no Accept", "http://127.0.0.1:PORT/echo", {"A: b", "Range: bytes=0-"}},
	{"headers that libcurl sends itself", "http://127.0.0.1:PORT/echo",
		{"User-Agent: other", "Host: elsewhere", "Connection: close"}},
	{"header without a value", "http://127.0.0.1:PORT/echo", {"Accept:", "X;", "Y"}},
};

static void set_port(char *out, size_t size, const char *url)
{
	const char *at = strstr(url, "PORT");

	snprintf(out, size, "%.*s%d%s", (int)(at - url), url, port, at + 4);
}

static char *ask(struct scene *scene, size_t i)
{
	char url[256];

	set_port(url, sizeof(url), asked[i].url);
	return xstrdup(
		fetch_with(scene, (struct fetch_request){.url = url, .headers = asked[i].headers}));
}

static void test_same_requests(void **state)
{
	struct scene by_curl, direct;

	(void)state;
	scene_open(&by_curl, false);
	scene_open(&direct, true);
	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		char *want;

		print_message("%s\n", asked[i].name);
		want = ask(&by_curl, i);

		for (int times = 0; times < 3; times++) {
			char *got = ask(&direct, i);

			if (strcmp(got, want) != 0)
				fail_msg("%s, time %d: asked\n%sbut libcurl\n%s", asked[i].name,
					times, got, want);
			free(got);
		}
		free(want);
	}
	scene_close(&by_curl);
	scene_close(&direct);
}

/* --- The same answers --- */

/* Answers that only libcurl takes cost a second request now and then, but no time. */
static void test_odd_answers(void **state)
{
	static const struct {
		const char *path, *want;
	} odd[] = {
		{"/lf", "ok"},
		{"/half-lf", "ok"},
		{"/moved", "first"},
		{"/interim", "ok"},
		{"/empty", ""},
		{"/two", "x"},
	};
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		scene_open(&scene, true);
		for (int times = 0; times < 12; times++) {
			assert_string_equal(get(&scene, "127.0.0.1", "/which"), "first");
			assert_string_equal(get(&scene, "127.0.0.1", odd[i].path), odd[i].want);
			assert_true(scene.last.duration_s < 1);
		}
		scene_close(&scene);
	}
}

/* A path whose answers are odd is asked once a time in the end, and its neighbours stay quick. */
static void test_odd_path_of_a_good_site(void **state)
{
	struct scene scene;
	int asked_before, connected_before;

	(void)state;
	scene_open(&scene, true);
	for (int times = 0; times < 6; times++) {
		get(&scene, "127.0.0.1", "/which");
		get(&scene, "127.0.0.1", "/interim");
	}
	asked_before = requests;
	connected_before = connections[0];
	for (int times = 0; times < 6; times++) {
		assert_string_equal(get(&scene, "127.0.0.1", "/which"), "first");
		assert_string_equal(get(&scene, "127.0.0.1", "/interim"), "ok");
	}
	assert_int_equal(requests - asked_before, 12);
	assert_int_equal(connections[0] - connected_before, 0);
	/* It is tried again when an hour has passed. */
	added_ms += 3601000;
	assert_string_equal(get(&scene, "127.0.0.1", "/which"), "first");
	asked_before = requests;
	assert_string_equal(get(&scene, "127.0.0.1", "/interim"), "ok");
	assert_int_equal(requests - asked_before, 2);
	assert_string_equal(get(&scene, "127.0.0.1", "/interim"), "ok");
	assert_int_equal(requests - asked_before, 3);
	scene_close(&scene);
}

/* What came before the request is no answer to it. */
static void test_answer_before_the_request(void **state)
{
	struct scene scene;
	int before;

	(void)state;
	for (int times = 0; times < 4; times++) {
		scene_open(&scene, true);
		get(&scene, "127.0.0.1", "/which");
		before = afterthoughts;
		assert_string_equal(get(&scene, "127.0.0.1", "/much"), "first");
		await_afterthought(before);
		assert_string_equal(get(&scene, "127.0.0.1", "/which"), "first");
		scene_close(&scene);
	}
}

static void test_kept_connection_is_reset(void **state)
{
	struct scene scene;
	int before;

	(void)state;
	scene_open(&scene, true);
	for (int times = 0; times < 12; times++) {
		before = afterthoughts;
		assert_string_equal(get(&scene, "127.0.0.1", "/reset"), "first");
		await_afterthought(before);
	}
	scene_close(&scene);
}

/* --- Addresses --- */

/*
 * The server closes each connection: an address serves for libcurl's connect and one of ours, and
 * not even that once it is old.
 */
static void test_name_moves(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, true);
	for (int times = 0; times < 4; times++) {
		moving_to = "127.0.0.1";
		get(&scene, "moving.test", "/once");
		let_events_come(&scene);
		get(&scene, "moving.test", "/once");
		let_events_come(&scene);
		moving_to = "127.0.0.2";
		get(&scene, "moving.test", "/once");
		let_events_come(&scene);
		assert_string_equal(get(&scene, "moving.test", "/once"), "second");
		let_events_come(&scene);
	}
	scene_close(&scene);
}

/* A site that has to be connected to again is left with one connection, not with libcurl's too. */
static void test_one_connection_stays(void **state)
{
	struct scene scene;

	(void)state;
	for (int i = 0; i < 5000 && open_connections > 0; i++)
		poll(NULL, 0, 1);
	scene_open(&scene, true);
	for (int times = 0; times < 5; times++) {
		get(&scene, "moving.test", "/once");
		let_events_come(&scene);
		get(&scene, "moving.test", "/which");
		get(&scene, "moving.test", "/which");
	}
	let_events_come(&scene);
	assert_int_equal(open_connections, 1);
	scene_close(&scene);
}

static void test_name_moves_meanwhile(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, true);
	assert_string_equal(get(&scene, "moving.test", "/which"), "first");
	moving_to = "127.0.0.2";
	added_ms += 120000;
	assert_string_equal(get(&scene, "moving.test", "/which"), "second");
	assert_string_equal(get(&scene, "moving.test", "/which"), "second");
	moving_to = "127.0.0.1";
	assert_string_equal(get(&scene, "moving.test", "/which"), "second");
	added_ms += 120000;
	assert_string_equal(get(&scene, "moving.test", "/which"), "first");
	scene_close(&scene);
}

/* Connections to an old address go when libcurl finds a new one. */
static void test_address_is_taken_over(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, true);
	for (int times = 0; times < 3; times++)
		assert_string_equal(get(&scene, "moving.test", "/dead"), "first");
	is_dead = 1;
	assert_string_equal(
		fetch_with(&scene, (struct fetch_request){.url = url_of("moving.test", "/dead"),
					   .timeout_ms = 100}),
		"timed out after 100ms");
	moving_to = "127.0.0.2";
	is_dead = 0;
	for (int times = 0; times < 5; times++)
		assert_string_equal(get(&scene, "moving.test", "/dead"), "second");
	scene_close(&scene);
}

static void *serve_once(void *arg)
{
	struct connection *connection = xcalloc(1, sizeof(*connection));

	connection->fd = accept(*(int *)arg, NULL, NULL);
	connection->listener = 2;
	open_connections++;
	return serve_connection(connection);
}

/* Of backlog 0, at 127.0.0.3. */
static int listen_narrowly(struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	inet_pton(AF_INET, "127.0.0.3", &address->sin_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)address, sizeof(*address)), 0);
	assert_int_equal(listen(fd, 0), 0);
	return fd;
}

/* An address from which no answer comes is not waited for to the end: libcurl looks again. */
static void test_connect_that_hangs(void **state)
{
	struct sockaddr_in address;
	struct scene scene;
	pthread_t thread;
	int full = listen_narrowly(&address), fillers[4];

	(void)state;
	scene_open(&scene, true);
	moving_to = "127.0.0.3";
	assert_int_equal(pthread_create(&thread, NULL, serve_once, &full), 0);
	assert_string_equal(get(&scene, "moving.test", "/which"), "third");
	pthread_join(thread, NULL);
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fillers[i], (struct sockaddr *)&address, sizeof(address));
	}
	moving_to = "127.0.0.2";
	assert_string_equal(
		fetch_with(&scene, (struct fetch_request){.url = url_of("moving.test", "/which"),
					   .timeout_ms = 20000}),
		"second");
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
		close(fillers[i]);
	close(full);
	scene_close(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_requests),
		cmocka_unit_test(test_odd_answers),
		cmocka_unit_test(test_odd_path_of_a_good_site),
		cmocka_unit_test(test_answer_before_the_request),
		cmocka_unit_test(test_kept_connection_is_reset),
		cmocka_unit_test(test_name_moves),
		cmocka_unit_test(test_name_moves_meanwhile),
		cmocka_unit_test(test_one_connection_stays),
		cmocka_unit_test(test_address_is_taken_over),
		cmocka_unit_test(test_connect_that_hangs),
	};

	if (listen_at("127.0.0.1", 0) < 0 || listen_at("127.0.0.2", 1) < 0)
		return 1;
	(void)listen_at("::1", 2);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
