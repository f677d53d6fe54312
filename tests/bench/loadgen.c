/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of a benchmark: scrape targets on every address of 127.0.0.0/8, and sinks that
 * swallow what is posted or put. Bodies are read and compressed beforehand, so that it disturbs
 * little:
 *
 *	loadgen PORT FOLDER
 *
 * answers the n-th GET at each address with the n-th *.prom file of FOLDER in the order of their
 * names, from the first again after the last, as gzip where the client accepts it; POST and PUT
 * with 204. One listener for all addresses, bound to the loopback device: a descriptor for each
 * address would take half of what a process may have.
 *
 * Commands on standard input, each answered by one line: "begin" forgets what was counted and
 * starts at the first body again, "counts" prints counters as JSON, "log PATH" writes the requests
 * since "begin" as lines "microseconds kind address" (address counted from 127.1.0.1). Ends with
 * standard input.
 */
#include "common/core/buf.h"
#include "common/core/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glob.h>
#include <libdeflate.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_ADDRESS     0x7f010001u
#define ADDRESSES_MAX     65536u
#define NO_ADDRESS        UINT32_MAX
#define REQUEST_MAX_BYTES (64 * 1024)
#define EVENTS_AT_ONCE    256
#define GZIP_LEVEL        6

enum method { METHOD_GET, METHOD_POST, METHOD_PUT };

struct connection {
	int fd;
	uint32_t address; /* of the target, counted from the first */
	struct buf in;    /* a request head that has not come whole */
	size_t skip;      /* bytes of a posted body still to come */
	struct slice out; /* of a rendered answer, still to be sent */
};

struct body {
	struct buf plain, gzip; /* whole answers */
};

struct request {
	uint64_t at_us;
	uint32_t address;
	enum method method;
};

static const struct {
	const char *name, *verb;
} methods[] = {
	[METHOD_GET] = {"get", "GET "},
	[METHOD_POST] = {"post", "POST "},
	[METHOD_PUT] = {"put", "PUT "},
};

static const char posted_answer[] = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";

static struct body *bodies;
static size_t bodies_count;
static uint32_t served[ADDRESSES_MAX];
static struct buf requests; /* struct request[] since "begin" */
static uint64_t begin_us, now_us, gzip_gets, sent_bytes;
static uint64_t counts[ARRAY_LEN(methods)], taken_bytes[ARRAY_LEN(methods)];
static int epoll_fd;
/* Marks of what is no connection, in epoll's data. */
static char listener_mark, commands_mark;
static int listener_fd;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void render(struct buf *answer, const char *encoding, struct slice body)
{
	buf_appendf(answer,
		"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n%s"
		"Content-Length: %zu\r\n\r\n",
		encoding, body.len);
	buf_append_slice(answer, body);
}

static void load_body(struct body *body, const char *path, struct libdeflate_compressor *compressor)
{
	struct buf plain = {0}, packed = {0};
	FILE *file = fopen(path, "rb");
	size_t got;

	if (file == NULL)
		die(path);
	while ((got = fread(buf_reserve(&plain, 65536), 1, 65536, file)) > 0)
		plain.len += got;
	fclose(file);
	buf_reserve(&packed, libdeflate_gzip_compress_bound(compressor, plain.len));
	packed.len = libdeflate_gzip_compress(
		compressor, plain.ptr, plain.len, packed.ptr, packed.capacity);
	render(&body->plain, "", buf_slice(&plain));
	render(&body->gzip, "Content-Encoding: gzip\r\n", buf_slice(&packed));
	buf_free(&plain);
	buf_free(&packed);
}

static void load_bodies(const char *folder)
{
	struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(GZIP_LEVEL);
	struct buf pattern = {0};
	glob_t found;

	buf_appendf(&pattern, "%s/*.prom", folder);
	if (glob(buf_cstr(&pattern), 0, NULL, &found) != 0)
		die(buf_cstr(&pattern));
	bodies_count = found.gl_pathc;
	bodies = xcalloc(bodies_count, sizeof(*bodies));
	for (size_t i = 0; i < bodies_count; i++)
		load_body(&bodies[i], found.gl_pathv[i], compressor);
	globfree(&found);
	buf_free(&pattern);
	libdeflate_free_compressor(compressor);
}

static void watch(int fd, void *mark, uint32_t events, int how)
{
	struct epoll_event event = {.events = events, .data.ptr = mark};

	if (epoll_ctl(epoll_fd, how, fd, &event) < 0)
		die("epoll_ctl");
}

static void listen_on(int port)
{
	struct sockaddr_in where = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_ANY)};

	listener_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listener_fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (setsockopt(listener_fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) < 0)
		die("binding to the loopback device");
	if (bind(listener_fd, (struct sockaddr *)&where, sizeof(where)) < 0 ||
		listen(listener_fd, SOMAXCONN) < 0)
		die("listen");
	watch(listener_fd, &listener_mark, EPOLLIN, EPOLL_CTL_ADD);
}

static void take_connections(void)
{
	struct sockaddr_in where;
	int fd;

	while ((fd = accept4(listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct connection *connection = xcalloc(1, sizeof(*connection));

		getsockname(fd, (struct sockaddr *)&where, &(socklen_t){sizeof(where)});
		connection->fd = fd;
		connection->address =
			(ntohl(where.sin_addr.s_addr) - FIRST_ADDRESS) % ADDRESSES_MAX;
		watch(fd, connection, EPOLLIN, EPOLL_CTL_ADD);
	}
	/* Whoever connected would wait for ever, and epoll_wait would return for ever. */
	if (errno == EMFILE || errno == ENFILE)
		die("accept");
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
			watch(connection->fd, connection, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
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

/*
 * The target that a push is about: its path names the instance, which is the target's address. The
 * poller's scrape of itself is of none.
 */
static uint32_t pushed_address(const char *head)
{
	const char *instance = strstr(head, "/instance/");
	unsigned a, b, c, d;

	if (instance == NULL || sscanf(instance, "/instance/%u.%u.%u.%u", &a, &b, &c, &d) != 4)
		return NO_ADDRESS;
	return ((a << 24 | b << 16 | c << 8 | d) - FIRST_ADDRESS) % ADDRESSES_MAX;
}

static void answer_get(struct connection *connection, const char *head)
{
	struct body *body = &bodies[served[connection->address]++ % bodies_count];

	if (strcasestr(head, "gzip") != NULL) {
		connection->out = buf_slice(&body->gzip);
		gzip_gets++;
	} else {
		connection->out = buf_slice(&body->plain);
	}
}

static void answer_push(struct connection *connection, const char *head, enum method method)
{
	const char *length = strcasestr(head, "\r\nContent-Length:");

	connection->skip = length != NULL ? strtoul(length + 17, NULL, 10) : 0;
	connection->out = (struct slice){posted_answer, sizeof(posted_answer) - 1};
	taken_bytes[method] += connection->skip;
}

static void answer_request(struct connection *connection, const char *head)
{
	enum method method = METHOD_GET;
	struct request request = {.at_us = now_us - begin_us, .address = connection->address};

	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		if (strncmp(head, methods[i].verb, strlen(methods[i].verb)) == 0)
			method = (enum method)i;
	if (method == METHOD_GET) {
		answer_get(connection, head);
	} else {
		answer_push(connection, head, method);
		request.address = pushed_address(head);
	}
	request.method = method;
	counts[method]++;
	buf_append(&requests, &request, sizeof(request));
}

static void consume(struct slice *in, size_t count)
{
	in->ptr += count;
	in->len -= count;
}

/* One request at a time: the clients do not pipeline. What is left over waits in connection->in. */
static bool handle_input(struct connection *connection, struct slice in)
{
	for (;;) {
		size_t skipped = connection->skip < in.len ? connection->skip : in.len;
		char *end;

		consume(&in, skipped);
		connection->skip -= skipped;
		if (connection->skip == 0 && !send_out(connection))
			return false;
		if (in.len == 0)
			return true;
		end = memmem(in.ptr, in.len, "\r\n\r\n", 4);
		if (end == NULL)
			break;
		*end = '\0';
		answer_request(connection, in.ptr);
		consume(&in, (size_t)(end - in.ptr) + 4);
	}
	buf_append_slice(&connection->in, in);
	return connection->in.len < REQUEST_MAX_BYTES;
}

/* Most requests come whole: only the rest of one is kept with its connection. */
static bool receive(struct connection *connection)
{
	static char scratch[REQUEST_MAX_BYTES];
	ssize_t got = recv(connection->fd, scratch, sizeof(scratch), 0);
	struct buf begun;
	bool is_well;

	if (got < 0 && errno == EAGAIN)
		return true;
	if (got <= 0)
		return false;
	if (connection->in.len == 0)
		return handle_input(connection, (struct slice){scratch, (size_t)got});
	begun = buf_take(&connection->in);
	buf_append(&begun, scratch, (size_t)got);
	is_well = handle_input(connection, buf_slice(&begun));
	buf_free(&begun);
	return is_well;
}

static void on_connection(struct connection *connection, uint32_t events)
{
	bool is_well = true;

	if (events & EPOLLOUT) {
		watch(connection->fd, connection, EPOLLIN, EPOLL_CTL_MOD);
		is_well = send_out(connection);
	}
	if (is_well && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		is_well = receive(connection);
	if (!is_well)
		end_connection(connection);
}

static void begin(const char *arg)
{
	(void)arg;
	memset(served, 0, sizeof(served));
	memset(counts, 0, sizeof(counts));
	memset(taken_bytes, 0, sizeof(taken_bytes));
	gzip_gets = sent_bytes = 0;
	buf_clear(&requests);
	begin_us = now_us;
	printf("{}\n");
}

static void print_counts(const char *arg)
{
	(void)arg;
	printf("{\"now_us\": %llu, \"gzip_gets\": %llu, \"sent_bytes\": %llu",
		(unsigned long long)(now_us - begin_us), (unsigned long long)gzip_gets,
		(unsigned long long)sent_bytes);
	for (size_t i = 0; i < ARRAY_LEN(methods); i++)
		printf(", \"%ss\": %llu, \"%s_bytes\": %llu", methods[i].name,
			(unsigned long long)counts[i], methods[i].name,
			(unsigned long long)taken_bytes[i]);
	printf("}\n");
}

static void write_log(const char *path)
{
	const struct request *all = (const void *)requests.ptr;
	size_t count = requests.len / sizeof(*all);
	FILE *file = fopen(path, "w");

	if (file == NULL)
		die(path);
	for (size_t i = 0; i < count; i++)
		fprintf(file, "%llu %s %u\n", (unsigned long long)all[i].at_us,
			methods[all[i].method].name, all[i].address);
	fclose(file);
	printf("{}\n");
}

static const struct {
	const char *name;
	void (*run)(const char *arg);
} commands[] = {
	{"begin", begin},
	{"counts", print_counts},
	{"log", write_log},
};

/* False at the end of standard input. The other side sends one command at a time. */
static bool take_command(void)
{
	char line[4096];
	ssize_t got = read(STDIN_FILENO, line, sizeof(line) - 1);
	char *arg;

	if (got <= 0)
		return false;
	line[got] = '\0';
	line[strcspn(line, "\n")] = '\0';
	arg = strchr(line, ' ');
	if (arg != NULL)
		*arg++ = '\0';
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(line, commands[i].name) == 0)
			commands[i].run(arg);
	fflush(stdout);
	return true;
}

/* False when there is no more to do. */
static bool turn(void)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int count = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, -1);

	now_us = clock_mono_us();
	for (int i = 0; i < count; i++) {
		void *mark = events[i].data.ptr;

		if (mark == &listener_mark)
			take_connections();
		else if (mark != &commands_mark)
			on_connection(mark, events[i].events);
		else if (!take_command())
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct rlimit limit;

	if (argc != 3) {
		fprintf(stderr, "usage: loadgen PORT FOLDER\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	load_bodies(argv[2]);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	listen_on(atoi(argv[1]));
	watch(STDIN_FILENO, &commands_mark, EPOLLIN, EPOLL_CTL_ADD);
	printf("ready\n");
	fflush(stdout);
	while (turn())
		continue;
	return 0;
}
