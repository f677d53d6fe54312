/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_STUB_GATEWAY_H
#define PS_TESTS_UNIT_STUB_GATEWAY_H
/*
 * A Push Gateway for tests, on the test's own loop: it notes every request, answers as it is told,
 * or holds the answers back until it is told.
 */
#include "common/core/buf.h"

#include <assert.h>
#include <stdio.h>
#include <uv.h>

#define STUB_HOLD 0 /* in place of a status */

struct stub_request {
	char *method, *path, *body;
	size_t body_len;
};

struct stub_gateway {
	uv_tcp_t listener;
	int port;
	int status; /* of the answers that `decide` does not give */
	int (*decide)(struct stub_gateway *stub, const struct stub_request *request);
	const char *headers; /* of answers other than 2xx, each ended by CRLF; NULL: none */
	struct stub_request *requests;
	size_t count;
	struct stub_connection *connections;
	size_t held, held_most;
	size_t surveys;    /* GETs, which are answered at once and not noted */
	int survey_status; /* of their answers; 0: 200; -1: none comes */
};

struct stub_connection {
	uv_tcp_t tcp;
	struct stub_gateway *stub;
	struct buf in;
	bool is_held;
	struct stub_connection *next;
};

struct stub_write {
	uv_write_t write;
	char text[512];
};

static void stub_on_written(uv_write_t *write, int status)
{
	(void)status;
	free(write->data);
}

static void stub_answer(struct stub_connection *connection, int status)
{
	struct stub_write *write = xcalloc(1, sizeof(*write));
	const char *words = status < 300 ? "" : "stub:\n  no";
	int len = snprintf(write->text, sizeof(write->text),
		"HTTP/1.1 %d Stub\r\n%sContent-Length: %zu\r\n\r\n%s", status,
		status >= 300 && connection->stub->headers != NULL ? connection->stub->headers : "",
		strlen(words), words);
	uv_buf_t buf = uv_buf_init(write->text, (unsigned)len);

	write->write.data = write;
	if (connection->is_held)
		connection->stub->held--;
	connection->is_held = false;
	uv_write(&write->write, (uv_stream_t *)&connection->tcp, &buf, 1, stub_on_written);
}

/* Answers everything that is held. */
static inline void stub_release(struct stub_gateway *stub, int status)
{
	for (struct stub_connection *c = stub->connections; c != NULL; c = c->next)
		if (c->is_held)
			stub_answer(c, status);
}

static void stub_take(struct stub_connection *connection, struct stub_request request)
{
	struct stub_gateway *stub = connection->stub;
	int status = stub->status;

	if (strcmp(request.method, "GET") == 0) {
		stub->surveys++;
		if (stub->survey_status >= 0)
			stub_answer(
				connection, stub->survey_status == 0 ? 200 : stub->survey_status);
		free(request.method);
		free(request.path);
		free(request.body);
		return;
	}
	stub->requests = xreallocarray(stub->requests, stub->count + 1, sizeof(request));
	stub->requests[stub->count++] = request;
	if (stub->decide != NULL)
		status = stub->decide(stub, &request);
	if (status != STUB_HOLD) {
		stub_answer(connection, status);
		return;
	}
	connection->is_held = true;
	if (++stub->held > stub->held_most)
		stub->held_most = stub->held;
}

/* Takes a whole request off the front of what has come; false if it is not whole yet. */
static bool stub_parse(struct stub_connection *connection)
{
	char *text = (char *)(uintptr_t)buf_cstr(&connection->in), *end = strstr(text, "\r\n\r\n");
	const char *length, *path;
	size_t head, body = 0;
	struct stub_request request;

	if (end == NULL)
		return false;
	head = (size_t)(end - text) + 4;
	length = strcasestr(text, "\r\nContent-Length:");
	if (length != NULL && length < end)
		body = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
	if (connection->in.len < head + body)
		return false;
	path = strchr(text, ' ') + 1;
	request.method = xstrndup(text, (size_t)(path - text) - 1);
	request.path = xstrndup(path, strcspn(path, " "));
	request.body = slice_dup((struct slice){text + head, body});
	request.body_len = body;
	memmove(text, text + head + body, connection->in.len - head - body);
	connection->in.len -= head + body;
	stub_take(connection, request);
	return true;
}

static void stub_on_connection_closed(uv_handle_t *handle)
{
	struct stub_connection *connection = handle->data, **at = &connection->stub->connections;

	while (*at != connection)
		at = &(*at)->next;
	*at = connection->next;
	if (connection->is_held)
		connection->stub->held--;
	buf_free(&connection->in);
	free(connection);
}

static void stub_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct stub_connection *connection = handle->data;

	*buf = uv_buf_init(buf_reserve(&connection->in, suggested + 1), (unsigned)suggested);
}

static void stub_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
	struct stub_connection *connection = stream->data;

	(void)buf;
	if (len < 0) {
		if (!uv_is_closing((uv_handle_t *)stream))
			uv_close((uv_handle_t *)stream, stub_on_connection_closed);
		return;
	}
	connection->in.len += (size_t)len;
	while (!connection->is_held && stub_parse(connection))
		;
}

static void stub_on_connection(uv_stream_t *listener, int status)
{
	struct stub_gateway *stub = listener->data;
	struct stub_connection *connection = xcalloc(1, sizeof(*connection));

	assert(status == 0);
	connection->stub = stub;
	uv_tcp_init(listener->loop, &connection->tcp);
	connection->tcp.data = connection;
	connection->next = stub->connections;
	stub->connections = connection;
	uv_accept(listener, (uv_stream_t *)&connection->tcp);
	uv_read_start((uv_stream_t *)&connection->tcp, stub_on_alloc, stub_on_read);
}

/* Listens on 127.0.0.1, on `port` or any free one. */
static inline void stub_open(struct stub_gateway *stub, uv_loop_t *loop, int port)
{
	struct sockaddr_in address;
	int len = sizeof(address);

	uv_ip4_addr("127.0.0.1", port, &address);
	uv_tcp_init(loop, &stub->listener);
	stub->listener.data = stub;
	if (stub->status == 0)
		stub->status = 200;
	if (uv_tcp_bind(&stub->listener, (const struct sockaddr *)&address, 0) != 0 ||
		uv_listen((uv_stream_t *)&stub->listener, 64, stub_on_connection) != 0)
		abort();
	uv_tcp_getsockname(&stub->listener, (struct sockaddr *)&address, &len);
	stub->port = ntohs(address.sin_port);
}

/* Closes its handles, to be followed by a run of the loop. The requests stay. */
static inline void stub_close(struct stub_gateway *stub)
{
	uv_close((uv_handle_t *)&stub->listener, NULL);
	for (struct stub_connection *c = stub->connections; c != NULL; c = c->next)
		if (!uv_is_closing((uv_handle_t *)&c->tcp))
			uv_close((uv_handle_t *)&c->tcp, stub_on_connection_closed);
}

static inline void stub_free_requests(struct stub_gateway *stub)
{
	for (size_t i = 0; i < stub->count; i++) {
		free(stub->requests[i].method);
		free(stub->requests[i].path);
		free(stub->requests[i].body);
	}
	free(stub->requests);
	stub->requests = NULL;
	stub->count = 0;
}

#endif
