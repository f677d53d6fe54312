/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trial: for a moment this process plays a NATS server on a loopback port of its own, and cnats
 * connects to it and receives messages whose every byte is known. The real server would not do: a
 * user of least privilege may publish nothing to itself, and messages of others are theirs to
 * choose.
 *
 * Addresses come first: only where all are as predicted, each to the byte, is memory read. Whatever
 * fails on the way (no loopback, no descriptors) leaves the layout untried.
 */
#include "common/nats/link_layout.h"

#include "common/core/log.h"
#include "common/core/mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>
#include <uv.h>

#define STEP_TIMEOUT_MS 5000
#define LINE_BYTES      4096

#define INFO                                                                                       \
	"INFO {\"server_id\":\"layout\",\"version\":\"2.9.0\",\"proto\":1,\"headers\":true,"       \
	"\"max_payload\":1048576}\r\n"
#define SUBJECT "layout"

/* None of headers alone: natsSubscription_NextMsg would read those to see whether it is a 503. */
static const struct trial {
	const char *reply; /* with a space after it, or "" */
	int header_digits; /* 0: no headers */
	int body_digits;
} TRIALS[] = {
	{"", 1, 4},
	{"reply.to ", 1, 4},
	{"reply.to ", 0, 4},
	{"", 0, 0},
	{"", 7, 1},
	{"reply.to ", 9000, 5000},
};

static _Atomic enum link_layout found = LINK_LAYOUT_UNTRIED;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* --- The messages. */

static void append_block(struct buf *out, const struct trial *trial)
{
	if (trial->header_digits > 0)
		buf_appendf(out, "NATS/1.0\r\nFirst: 1\r\nSecond: %.*d\r\n\r\n",
			trial->header_digits, 2);
}

static void append_body(struct buf *out, const struct trial *trial)
{
	buf_appendf(out, "%.*d", trial->body_digits, 0);
}

static void append_message(struct buf *out, const struct trial *trial, const char *sid)
{
	struct buf content = {NULL, 0, 0};
	size_t block_len;

	append_block(&content, trial);
	block_len = content.len;
	append_body(&content, trial);
	if (block_len > 0)
		buf_appendf(out, "HMSG " SUBJECT " %s %s%zu %zu\r\n", sid, trial->reply, block_len,
			content.len);
	else
		buf_appendf(out, "MSG " SUBJECT " %s %s%zu\r\n", sid, trial->reply, content.len);
	buf_append_slice(out, buf_slice(&content));
	buf_append_str(out, "\r\n");
	buf_free(&content);
}

/* --- The server's part, on a thread of its own. */

/* Of accept too. */
static void set_timeouts(int fd)
{
	struct timeval timeout = {.tv_sec = STEP_TIMEOUT_MS / 1000};

	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
}

static int listen_on_loopback(struct sockaddr_in *address)
{
	socklen_t len = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*address = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0)
		return -1;
	set_timeouts(fd);
	if (bind(fd, (struct sockaddr *)address, sizeof(*address)) == 0 && listen(fd, 1) == 0 &&
		getsockname(fd, (struct sockaddr *)address, &len) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool send_all(int fd, struct slice bytes)
{
	while (bytes.len > 0) {
		ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		bytes.ptr += sent;
		bytes.len -= (size_t)sent;
	}
	return true;
}

/* Reads on until a line begins with `start`; without its end then. */
static bool await_line(FILE *in, const char *start, char line[LINE_BYTES])
{
	do {
		if (fgets(line, LINE_BYTES, in) == NULL)
			return false;
	} while (strncmp(line, start, strlen(start)) != 0);
	line[strcspn(line, "\r\n")] = '\0';
	return true;
}

static bool send_trials(int fd, const char *sid)
{
	struct buf out = {NULL, 0, 0};
	bool is_sent;

	for (size_t i = 0; i < ARRAY_LEN(TRIALS); i++)
		append_message(&out, &TRIALS[i], sid);
	is_sent = send_all(fd, buf_slice(&out));
	buf_free(&out);
	return is_sent;
}

static void converse(int fd, FILE *in)
{
	char line[LINE_BYTES];

	if (!send_all(fd, SLICE(INFO)) || !await_line(in, "PING", line) ||
		!send_all(fd, SLICE("PONG\r\n")) || !await_line(in, "SUB " SUBJECT " ", line) ||
		!send_trials(fd, strrchr(line, ' ') + 1))
		return;
	/* Closed by the client, once it has all of them. */
	while (fgets(line, sizeof(line), in) != NULL)
		;
}

/* Whatever goes wrong, both sockets get closed: cnats may wait for a silent server without end. */
static void play_server(void *arg)
{
	int listener = *(int *)arg;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");

	close(listener);
	if (in != NULL) {
		set_timeouts(fd);
		converse(fd, in);
		fclose(in);
	} else if (fd >= 0) {
		close(fd);
	}
}

/* --- The client's part. */

static natsStatus connect_to(natsConnection **connection, const struct sockaddr_in *address)
{
	natsOptions *options = NULL;
	char url[64];
	natsStatus s = natsOptions_Create(&options);

	snprintf(url, sizeof(url), "nats://127.0.0.1:%d", ntohs(address->sin_port));
	if (s == NATS_OK)
		s = natsOptions_SetURL(options, url);
	if (s == NATS_OK)
		s = natsOptions_SetAllowReconnect(options, false);
	if (s == NATS_OK)
		s = natsOptions_SetTimeout(options, STEP_TIMEOUT_MS);
	if (s == NATS_OK)
		s = natsOptions_SetSendAsap(options, true);
	if (s == NATS_OK)
		s = natsConnection_Connect(connection, options);
	natsOptions_Destroy(options);
	return s;
}

static bool receive(const struct sockaddr_in *address, natsMsg *messages[])
{
	natsConnection *connection = NULL;
	natsSubscription *subscription = NULL;
	natsStatus s = connect_to(&connection, address);

	if (s == NATS_OK)
		s = natsConnection_SubscribeSync(&subscription, connection, SUBJECT);
	for (size_t i = 0; s == NATS_OK && i < ARRAY_LEN(TRIALS); i++)
		s = natsSubscription_NextMsg(&messages[i], subscription, STEP_TIMEOUT_MS);
	natsSubscription_Destroy(subscription);
	natsConnection_Destroy(connection);
	return s == NATS_OK;
}

static bool exchange(natsMsg *messages[])
{
	struct sockaddr_in address;
	int listener = listen_on_loopback(&address);
	uv_thread_t server;
	bool is_complete;

	if (listener < 0)
		return false;
	if (uv_thread_create(&server, play_server, &listener) != 0) {
		close(listener);
		return false;
	}
	is_complete = receive(&address, messages);
	uv_thread_join(&server);
	return is_complete;
}

/* --- The verdict. */

bool link_layout_gap(const natsMsg *message, struct slice *gap)
{
	const char *before = natsMsg_GetReply(message);
	uintptr_t body = (uintptr_t)natsMsg_GetData(message);

	if (before == NULL || before[0] == '\0')
		before = natsMsg_GetSubject(message);
	gap->ptr = before + strlen(before) + 1;
	gap->len = body - (uintptr_t)gap->ptr;
	return body >= (uintptr_t)gap->ptr;
}

static bool address_is_right(const natsMsg *message, size_t block_len)
{
	struct slice gap;

	return link_layout_gap(message, &gap) && gap.len == (block_len > 0 ? block_len + 1 : 0);
}

/* Its address is right. The byte after the body is part of it: the NUL. */
static bool content_is_right(const natsMsg *message, struct slice block, struct slice body)
{
	struct slice gap;

	return link_layout_gap(message, &gap) &&
	       (block.len == 0 || memcmp(gap.ptr, block.ptr, block.len + 1) == 0) &&
	       natsMsg_GetDataLength(message) == (int)body.len &&
	       memcmp(natsMsg_GetData(message), body.ptr, body.len + 1) == 0;
}

static bool is_as_expected(natsMsg *messages[])
{
	struct buf block = {NULL, 0, 0}, body = {NULL, 0, 0};
	bool is_right = true;

	for (size_t i = 0; is_right && i < ARRAY_LEN(TRIALS); i++) {
		buf_clear(&block);
		append_block(&block, &TRIALS[i]);
		is_right = address_is_right(messages[i], block.len);
	}
	for (size_t i = 0; is_right && i < ARRAY_LEN(TRIALS); i++) {
		buf_clear(&block);
		buf_clear(&body);
		append_block(&block, &TRIALS[i]);
		append_body(&body, &TRIALS[i]);
		is_right =
			content_is_right(messages[i], (struct slice){buf_cstr(&block), block.len},
				(struct slice){buf_cstr(&body), body.len});
	}
	buf_free(&block);
	buf_free(&body);
	return is_right;
}

static void prove(void)
{
	natsMsg *messages[ARRAY_LEN(TRIALS)] = {NULL};
	const char *reason = "the library's messages could not be tried";

	if (exchange(messages)) {
		found = is_as_expected(messages) ? LINK_LAYOUT_PROVEN : LINK_LAYOUT_OTHER;
		reason = "the library lays its messages out in a way not known here";
	}
	for (size_t i = 0; i < ARRAY_LEN(TRIALS); i++)
		natsMsg_Destroy(messages[i]);
	if (found != LINK_LAYOUT_PROVEN)
		log_info("NATS headers are read by the client library, which is weaker against "
			 "hostile ones",
			LOG_S("reason", reason));
}

void link_layout_prove(void)
{
	pthread_once(&once, prove);
}

enum link_layout link_layout(void)
{
	return atomic_load_explicit(&found, memory_order_relaxed);
}

void link_layout_set(enum link_layout layout)
{
	found = layout;
}
