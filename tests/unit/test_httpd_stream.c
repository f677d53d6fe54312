/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that come in pieces, and what handlers learn of requests. Clients speak HTTP/1.0, where
 * the answer ends with the connection, but where chunks matter. */
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

#define WAIT_MS 5000

struct scene {
	uv_loop_t loop;
	struct httpd *httpd;
	int closed, asked, freed;
	size_t piece, pieces; /* how large, how many */
	bool is_halting;      /* every other piece is empty */
	enum httpd_piece end;
	struct buf seen; /* by the handler */
	struct buf got;  /* by the client */
};

static void on_closed(void *arg)
{
	((struct scene *)arg)->closed++;
}

static enum httpd_piece on_next(void *arg, struct buf *out)
{
	struct scene *scene = arg;

	scene->asked++;
	if (scene->is_halting && scene->asked % 2 == 1)
		return HTTPD_MORE;
	if (scene->pieces == 0)
		return scene->end;
	scene->pieces--;
	memset(buf_reserve(out, scene->piece), 'p', scene->piece);
	out->len += scene->piece;
	return scene->pieces == 0 && scene->end == HTTPD_END ? HTTPD_END : HTTPD_MORE;
}

static void on_free(void *arg)
{
	((struct scene *)arg)->freed++;
}

static bool on_parameter(void *arg, const char *name, const char *value)
{
	struct scene *scene = arg;

	buf_appendf(&scene->seen, "<%s=%s>", name, value);
	return strcmp(name, "stop") != 0;
}

static void handle_stream(void *arg, struct httpd_response *response)
{
	struct scene *scene = arg;
	const struct httpd_source source = {.next = on_next, .free = on_free, .arg = scene};
	const char *header = httpd_header(response, "X-Asked");

	httpd_each_parameter(response, on_parameter, scene);
	if (header != NULL)
		buf_appendf(&scene->seen, "[%s]", header);
	response->content_encoding = "x-none";
	response->retry_after = "7";
	httpd_stream(response, &source);
}

static const struct httpd_route routes[] = {
	{"GET", "/stream", handle_stream},
	{NULL, NULL, NULL},
};

static void scene_open(struct scene *scene)
{
	struct err err = {0};

	assert_int_equal(uv_loop_init(&scene->loop), 0);
	scene->httpd = httpd_open_large(&scene->loop, "127.0.0.1", 0, routes, scene, NULL, &err);
	assert_string_equal(err.text, "");
}

static void scene_close(struct scene *scene)
{
	httpd_close(scene->httpd, on_closed, scene);
	assert_int_equal(uv_run(&scene->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(scene->closed, 1);
	assert_int_equal(uv_loop_close(&scene->loop), 0);
	buf_free(&scene->got);
	buf_free(&scene->seen);
}

static int client(struct scene *scene, const char *request)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)httpd_port(scene->httpd))};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	return fd;
}

/* Reads until the server ends the connection, or what came ends with `tail`. */
static void read_until(struct scene *scene, int fd, const char *tail)
{
	size_t tail_len = strlen(tail);
	uint64_t end = clock_mono_ms() + WAIT_MS;

	buf_clear(&scene->got);
	while (clock_mono_ms() < end) {
		ssize_t got = recv(fd, buf_reserve(&scene->got, 65536), 65536, 0);

		if (got == 0 || (got < 0 && errno != EAGAIN))
			return;
		scene->got.len += got > 0 ? (size_t)got : 0;
		if (tail_len > 0 && scene->got.len >= tail_len &&
			memcmp(scene->got.ptr + scene->got.len - tail_len, tail, tail_len) == 0)
			return;
		uv_run(&scene->loop, UV_RUN_NOWAIT);
	}
	fail_msg("no end after %zu bytes", scene->got.len);
}

static void read_all(struct scene *scene, int fd)
{
	read_until(scene, fd, "");
}

static size_t body_bytes(struct scene *scene)
{
	const char *end = strstr(buf_cstr(&scene->got), "\r\n\r\n");

	assert_non_null(end);
	return scene->got.len - (size_t)(end + 4 - scene->got.ptr);
}

static const struct {
	const char *name;
	size_t piece, pieces;
	bool is_halting;
} cases[] = {
	{"nothing", 0, 0, false},
	{"one piece", 100, 1, false},
	{"one byte at a time", 1, 3000, false},
	{"large pieces", 1 << 20, 20, false},
	{"pieces that take a while", 1000, 500, true},
	{"nothing, after a while", 0, 0, true},
};

static void test_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scene scene = {.piece = cases[i].piece,
			.pieces = cases[i].pieces,
			.is_halting = cases[i].is_halting};
		int fd;

		print_message("%s\n", cases[i].name);
		scene.end = HTTPD_END;
		scene_open(&scene);
		fd = client(&scene, "GET /stream HTTP/1.0\r\n\r\n");
		read_all(&scene, fd);
		assert_int_equal(body_bytes(&scene), cases[i].piece * cases[i].pieces);
		assert_non_null(strstr(buf_cstr(&scene.got), "\r\nContent-Encoding: x-none\r\n"));
		assert_non_null(strstr(buf_cstr(&scene.got), "\r\nRetry-After: 7\r\n"));
		assert_int_equal(scene.freed, 1);
		close(fd);
		scene_close(&scene);
	}
}

static void test_chunks(void **state)
{
	static const struct {
		enum httpd_piece end;
		bool is_whole;
	} ends[] = {{HTTPD_END, true}, {HTTPD_BROKEN, false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		struct scene scene = {.piece = 10, .pieces = 3, .end = ends[i].end};
		const char *tail = "\r\n0\r\n\r\n";
		int fd;

		scene_open(&scene);
		fd = client(&scene, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
		read_until(&scene, fd, tail);
		assert_non_null(strcasestr(buf_cstr(&scene.got), "\r\na\r\npppppppppp\r\n"));
		assert_int_equal(strstr(buf_cstr(&scene.got), tail) != NULL, ends[i].is_whole);
		close(fd);
		scene_close(&scene);
		assert_int_equal(scene.freed, 1);
	}
}

static void test_head_takes_no_piece(void **state)
{
	struct scene scene = {.piece = 10, .pieces = 3, .end = HTTPD_END};
	int fd;

	(void)state;
	scene_open(&scene);
	fd = client(&scene, "HEAD /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	read_all(&scene, fd);
	assert_int_equal(body_bytes(&scene), 0);
	assert_int_equal(scene.asked, 0);
	assert_int_equal(scene.freed, 1);
	close(fd);
	scene_close(&scene);
}

static void run_for(struct scene *scene, uint64_t ms)
{
	uint64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end)
		uv_run(&scene->loop, UV_RUN_NOWAIT);
}

/* No piece is made that the client has no room for. */
static void test_slow_reader(void **state)
{
	struct scene scene = {.piece = 1 << 20, .pieces = 64, .end = HTTPD_END};
	int fd, asked;

	(void)state;
	scene_open(&scene);
	fd = client(&scene, "GET /stream HTTP/1.0\r\n\r\n");
	run_for(&scene, 200);
	asked = scene.asked;
	assert_true(asked > 0 && asked < 32);
	run_for(&scene, 100);
	assert_int_equal(scene.asked, asked);
	read_all(&scene, fd);
	assert_int_equal(body_bytes(&scene), (size_t)64 << 20);
	close(fd);
	scene_close(&scene);
}

static void test_who_leaves_is_forgotten(void **state)
{
	struct scene scene = {.piece = 1 << 20, .pieces = 64, .end = HTTPD_END};
	uint64_t end = clock_mono_ms() + WAIT_MS;
	int fd;

	(void)state;
	scene_open(&scene);
	fd = client(&scene, "GET /stream HTTP/1.0\r\n\r\n");
	run_for(&scene, 50);
	close(fd);
	while (scene.freed == 0 && clock_mono_ms() < end)
		uv_run(&scene.loop, UV_RUN_NOWAIT);
	assert_int_equal(scene.freed, 1);
	scene_close(&scene);
}

/* In the middle of an answer, and while it waits for its next piece. */
static void test_close_under_way(void **state)
{
	(void)state;
	for (int is_halting = 0; is_halting < 2; is_halting++) {
		struct scene scene = {.piece = 1 << 20, .pieces = 64, .end = HTTPD_END};
		int fd;

		scene.is_halting = is_halting != 0;
		scene_open(&scene);
		fd = client(&scene, "GET /stream HTTP/1.0\r\n\r\n");
		while (scene.asked == 0)
			uv_run(&scene.loop, UV_RUN_NOWAIT);
		scene_close(&scene);
		assert_int_equal(scene.freed, 1);
		close(fd);
	}
}

static const struct {
	const char *request, *seen;
} asked[] = {
	{"GET /stream HTTP/1.0\r\n\r\n", ""},
	{"GET /stream?a=b HTTP/1.0\r\n\r\n", "<a=b>"},
	{"GET /stream?a=b&a=c&d=&e HTTP/1.0\r\n\r\n", "<a=b><a=c><d=><e=>"},
	{"GET /stream?match%5B%5D=%7Ba%3D%22b+c%22%7D HTTP/1.0\r\n\r\n", "<match[]={a=\"b c\"}>"},
	{"GET /stream?a=1&stop=2&c=3 HTTP/1.0\r\n\r\n", "<a=1><stop=2>"},
	{"GET /stream HTTP/1.0\r\nx-asked: it was\r\n\r\n", "[it was]"},
};

static void test_what_was_asked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		struct scene scene = {.end = HTTPD_END};
		int fd;

		scene_open(&scene);
		fd = client(&scene, asked[i].request);
		read_all(&scene, fd);
		assert_string_equal(buf_cstr(&scene.seen), asked[i].seen);
		close(fd);
		scene_close(&scene);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_head_takes_no_piece),
		cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_who_leaves_is_forgotten),
		cmocka_unit_test(test_close_under_way),
		cmocka_unit_test(test_what_was_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
