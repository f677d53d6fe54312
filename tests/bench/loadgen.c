/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of a benchmark: scrape targets on many loopback addresses, and a sink that
 *swallows what is posted to it. Answers are rendered beforehand, so that it disturbs little.
 *
 *	loadgen PORT ADDRESSES BODY GZIP_BODY
 *
 * listens on PORT of ADDRESSES addresses from 127.1.0.1 upwards, says "ready", and on SIGTERM
 *prints what it counted as JSON. A GET is answered with the body (gzip where accepted), a POST with
 *204.
 */
#include "common/core/buf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_ADDRESS     0x7f010001u
#define REQUEST_MAX_BYTES (64 * 1024)
#define EVENTS_AT_ONCE    256

struct connection {
	int fd;
	bool is_listener;
	struct buf in;
	size_t skip;      /* bytes of a posted body still to come */
	struct slice out; /* of a rendered answer, still to be sent */
};

static struct buf plain_answer, gzip_answer;
static const char posted_answer[] = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
static uint64_t gets, posts, posted_bytes, sent_bytes;
static volatile sig_atomic_t stopping, asked;
static int epoll_fd;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void on_signal(int number)
{
	if (number == SIGTERM)
		stopping = 1;
	asked = 1;
}

static void print_counts(void)
{
	asked = 0;
	printf("{\"gets\": %llu, \"posts\": %llu, \"posted_bytes\": %llu, \"sent_bytes\": %llu}\n",
		(unsigned long long)gets, (unsigned long long)posts,
		(unsigned long long)posted_bytes, (unsigned long long)sent_bytes);
	fflush(stdout);
}

static void render(struct buf *answer, const char *path, const char *encoding)
{
	struct buf body = {0};
	FILE *file = fopen(path, "rb");
	size_t got;

	if (file == NULL)
		die(path);
	while ((got = fread(buf_reserve(&body, 65536), 1, 65536, file)) > 0)
		body.len += got;
	fclose(file);
	buf_appendf(answer,
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n%s"
		"Content-Length: %zu\r\n\r\n",
		encoding, body.len);
	buf_append_slice(answer, buf_slice(&body));
	buf_free(&body);
}

static void watch(struct connection *connection, uint32_t events, int how)
{
	struct epoll_event event = {.events = events, .data.ptr = connection};

	if (epoll_ctl(epoll_fd, how, connection->fd, &event) < 0)
		die("epoll_ctl");
}

static void listen_on(uint32_t address, int port)
{
	struct connection *listener = xcalloc(1, sizeof(*listener));
	struct sockaddr_in where = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(address)};

	listener->is_listener = true;
	listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(listener->fd, (struct sockaddr *)&where, sizeof(where)) < 0 ||
		listen(listener->fd, 64) < 0)
		die("listen");
	watch(listener, EPOLLIN, EPOLL_CTL_ADD);
}

static void take_connection(struct connection *listener)
{
	int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct connection *connection;

	if (fd < 0)
		return;
	connection = xcalloc(1, sizeof(*connection));
	connection->fd = fd;
	watch(connection, EPOLLIN, EPOLL_CTL_ADD);
}

static void end_connection(struct connection *connection)
{
	close(connection->fd);
	buf_free(&connection->in);
	free(connection);
}

/* False when the other side is gone. */
static bool send_out(struct connection *connection)
{
	while (connection->out.len > 0) {
		ssize_t sent = send(
			connection->fd, connection->out.ptr, connection->out.len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN) {
			watch(connection, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
			return true;
		}
		if (sent < 0)
			return false;
		connection->out.ptr += sent;
		connection->out.len -= (size_t)sent;
		sent_bytes += (uint64_t)sent;
	}
	return true;
}

static void answer_request(struct connection *connection, const char *head)
{
	const char *length = strcasestr(head, "\r\nContent-Length:");

	if (strncmp(head, "POST ", 5) == 0 || strncmp(head, "PUT ", 4) == 0) {
		connection->skip = length != NULL ? strtoul(length + 17, NULL, 10) : 0;
		connection->out = (struct slice){posted_answer, sizeof(posted_answer) - 1};
		posted_bytes += connection->skip;
		posts++;
		return;
	}
	connection->out = strcasestr(head, "gzip") != NULL ? buf_slice(&gzip_answer)
							   : buf_slice(&plain_answer);
	gets++;
}

static void consume(struct buf *in, size_t count)
{
	memmove(in->ptr, in->ptr + count, in->len - count);
	in->len -= count;
}

/* One request at a time: the clients do not pipeline. */
static bool handle_input(struct connection *connection)
{
	for (;;) {
		size_t skipped = connection->skip < connection->in.len ? connection->skip
								       : connection->in.len;
		char *end;

		consume(&connection->in, skipped);
		connection->skip -= skipped;
		if (connection->skip > 0)
			return true;
		if (!send_out(connection))
			return false;
		if (connection->in.len == 0)
			return true;
		end = memmem(connection->in.ptr, connection->in.len, "\r\n\r\n", 4);
		if (end == NULL)
			return connection->in.len < REQUEST_MAX_BYTES;
		*end = '\0';
		answer_request(connection, connection->in.ptr);
		consume(&connection->in, (size_t)(end - connection->in.ptr) + 4);
	}
}

static void on_event(struct connection *connection, uint32_t events)
{
	if (connection->is_listener) {
		take_connection(connection);
		return;
	}
	if (events & EPOLLOUT) {
		watch(connection, EPOLLIN, EPOLL_CTL_MOD);
		if (!send_out(connection)) {
			end_connection(connection);
			return;
		}
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		ssize_t got = recv(connection->fd, buf_reserve(&connection->in, 65536), 65536, 0);

		if (got < 0 && errno == EAGAIN)
			return;
		connection->in.len += got > 0 ? (size_t)got : 0;
		if (got <= 0 || !handle_input(connection))
			end_connection(connection);
	}
}

int main(int argc, char **argv)
{
	struct rlimit limit;

	if (argc != 5) {
		fprintf(stderr, "usage: loadgen PORT ADDRESSES BODY GZIP_BODY\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	render(&plain_answer, argv[3], "");
	render(&gzip_answer, argv[4], "Content-Encoding: gzip\r\n");
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < atoi(argv[2]); i++)
		listen_on(FIRST_ADDRESS + (uint32_t)i, atoi(argv[1]));
	signal(SIGTERM, on_signal);
	signal(SIGUSR1, on_signal);
	printf("ready\n");
	fflush(stdout);
	while (!stopping) {
		struct epoll_event events[EVENTS_AT_ONCE];
		int count = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, 200);

		for (int i = 0; i < count; i++)
			on_event(events[i].data.ptr, events[i].events);
		if (asked)
			print_counts();
	}
	return 0;
}
