/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream's backlog, over the bare protocol of NATS: `fill` stores scrapes that are old already,
 * `drain` is the floor that a receiver passing them is compared with: it pulls, looks at nothing
 * and acknowledges everything that one read brought with one write. Loopback only; a server that
 * answers anything unexpected ends it.
 */
#include "common/core/buf.h"
#include "common/core/clock.h"
#include "common/core/mem.h"

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SYNC_MESSAGES 500
#define PULL_MESSAGES 5000
#define WRITE_BYTES   ((size_t)256 << 10)
#define READ_BYTES    ((size_t)1 << 20)
#define INTERVAL_MS   15000
#define CONNECT       "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n"

struct client {
	int fd;
	struct buf out;
	struct buf in;
	size_t read; /* of `in` */
};

static void client_flush(struct client *client)
{
	size_t done = 0;

	while (done < client->out.len) {
		ssize_t sent = write(client->fd, client->out.ptr + done, client->out.len - done);

		if (sent < 0)
			err(1, "write");
		done += (size_t)sent;
	}
	buf_clear(&client->out);
}

/* Whatever was written is sent first: nobody answers before. */
static void client_read(struct client *client)
{
	ssize_t got;

	client_flush(client);
	buf_reserve(&client->in, READ_BYTES);
	client->in.len -= client->read;
	memmove(client->in.ptr, client->in.ptr + client->read, client->in.len);
	client->read = 0;
	got = read(client->fd, client->in.ptr + client->in.len, READ_BYTES);
	if (got <= 0)
		errx(1, "the server closed the connection");
	client->in.len += (size_t)got;
}

static const char *client_take(struct client *client, size_t len)
{
	while (client->in.len - client->read < len)
		client_read(client);
	client->read += len;
	return client->in.ptr + client->read - len;
}

/* The next line that is no PING, without its end; valid until the next read. */
static struct slice client_line(struct client *client)
{
	for (;;) {
		char *from = client->in.ptr + client->read;
		size_t held = client->in.len - client->read;
		char *end = held == 0 ? NULL : memchr(from, '\n', held);

		if (end == NULL) {
			client_read(client);
			continue;
		}
		client->read += (size_t)(end - from) + 1;
		if (strncmp(from, "-ERR", 4) == 0)
			errx(1, "%.*s", (int)(end - from), from);
		if (strncmp(from, "PING", 4) != 0)
			return (struct slice){from, (size_t)(end - from - 1)};
		buf_append_str(&client->out, "PONG\r\n");
	}
}

static void client_open(struct client *client, int port)
{
	const struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	client->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (client->fd < 0 ||
		connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		err(1, "connect to port %d", port);
	(void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	buf_append_str(&client->out, CONNECT "SUB _INBOX_backlog 1\r\n");
	(void)client_line(client); /* INFO */
}

/* A message's line, cut at spaces: the words of it. What it brings is not yet taken. */
static size_t client_message(struct client *client, char *line, size_t size, char **words)
{
	struct slice got = client_line(client);
	size_t count = 0;

	snprintf(line, size, "%.*s", SLICE_FMT(got));
	for (char *word = strtok(line, " "); word != NULL && count < 6; word = strtok(NULL, " "))
		words[count++] = word;
	if (count < 4 || strstr(words[0], "MSG") == NULL)
		errx(1, "not expected: %.*s", SLICE_FMT(got));
	return count;
}

/* Filling. */

static void append_scrape(struct buf *out, const char *topic, unsigned number, const char *reply,
	int64_t time_ms, const char *body, size_t body_bytes, unsigned targets)
{
	struct buf headers = {0};
	unsigned target = number % targets;

	buf_appendf(&headers,
		"NATS/1.0\r\nPs-Time: %lld\r\nPs-Duration: 0.012345\r\nPs-Interval: %d\r\n"
		"Content-Encoding: gzip\r\nNats-Msg-Id: %016x\r\n\r\n",
		(long long)time_ms, INTERVAL_MS, number);
	buf_appendf(out, "HPUB %s.scrape.bench.node.10=2E0=2E%u=2E%u=3A9100.0 %s%s%zu %zu\r\n",
		topic, target / 250, target % 250, reply, *reply == '\0' ? "" : " ", headers.len,
		headers.len + body_bytes);
	buf_append_slice(out, buf_slice(&headers));
	buf_append(out, body, body_bytes);
	buf_append_str(out, "\r\n");
	buf_free(&headers);
}

static void await_stored(struct client *client)
{
	char line[4096], *words[6];
	size_t count = client_message(client, line, sizeof(line), words);
	size_t bytes = strtoul(words[count - 1], NULL, 10);
	const char *ack = client_take(client, bytes + 2);

	if (memmem(ack, bytes, "\"seq\"", 5) == NULL)
		errx(1, "not stored: %.*s", (int)bytes, ack);
}

/* topic, messages, bytes of a body, targets, age in seconds */
static int fill(struct client *client, char **args)
{
	unsigned count = (unsigned)atoi(args[1]), targets = (unsigned)atoi(args[3]);
	size_t body_bytes = strtoul(args[2], NULL, 10);
	int64_t from_ms = clock_wall_ms() - 1000LL * atoi(args[4]);
	char *body = xcalloc(1, body_bytes + 1);

	for (unsigned number = 0; number < count; number++) {
		bool is_last = number % SYNC_MESSAGES == SYNC_MESSAGES - 1 || number == count - 1;

		append_scrape(&client->out, args[0], number, is_last ? "_INBOX_backlog" : "",
			from_ms + number / targets * 100, body, body_bytes, targets);
		if (is_last)
			await_stored(client);
		else if (client->out.len > WRITE_BYTES)
			client_flush(client);
	}
	free(body);
	return 0;
}

/* Draining. */

static void pull(struct client *client, const char *stream, const char *durable)
{
	static const char request[] = "{\"batch\":5000,\"expires\":30000000000}";

	_Static_assert(PULL_MESSAGES == 5000, "as in the request");
	buf_appendf(&client->out,
		"PUB $JS.API.CONSUMER.MSG.NEXT.%s.%s _INBOX_backlog %zu\r\n%s\r\n", stream, durable,
		sizeof(request) - 1, request);
}

/* stream, durable, messages */
static int drain(struct client *client, char **args)
{
	char line[4096], *words[6];
	long left = atol(args[2]);

	for (long pulled = 0; left > 0; left--, pulled--) {
		size_t count;

		if (pulled == 0) {
			pull(client, args[0], args[1]);
			pulled = PULL_MESSAGES;
		}
		count = client_message(client, line, sizeof(line), words);
		if (count != 6)
			errx(1, "a message without headers or without reply subject");
		buf_appendf(&client->out, "PUB %s 4\r\n+ACK\r\n", words[3]);
		(void)client_take(client, strtoul(words[5], NULL, 10) + 2);
	}
	buf_append_str(&client->out, "PING\r\n");
	(void)client_line(client);
	printf("{\"cpu_seconds\": %.6f}\n", (double)clock() / CLOCKS_PER_SEC);
	return 0;
}

int main(int argc, char **argv)
{
	struct client client = {0};
	int result = 2;

	if (argc >= 3)
		client_open(&client, atoi(argv[2]));
	if (argc == 8 && strcmp(argv[1], "fill") == 0)
		result = fill(&client, argv + 3);
	else if (argc == 6 && strcmp(argv[1], "drain") == 0)
		result = drain(&client, argv + 3);
	else
		fprintf(stderr, "usage: backlog fill PORT TOPIC MESSAGES BYTES TARGETS AGE_S\n"
				"       backlog drain PORT STREAM DURABLE MESSAGES\n");
	buf_free(&client.in);
	buf_free(&client.out);
	return result;
}
