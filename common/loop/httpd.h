/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_HTTPD_H
#define PS_COMMON_LOOP_HTTPD_H
/*
 * The web server: libmicrohttpd driven from the loop through its epoll descriptor. Routes are a
 * table; handlers run on the loop thread and answer at once, or say that the answer comes later. It
 * bounds connections and request sizes. Loop thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

#include <uv.h>

struct httpd;
struct webauth;
struct httpd_later;

struct httpd_response {
	int status;                   /* 200 at the start */
	const char *content_type;     /* a literal; "text/plain; charset=utf-8" at the start */
	const char *content_encoding; /* a literal; NULL: none */
	const char *retry_after;      /* seconds, a literal; NULL: no such header */
	struct buf body;              /* freed by the server */

	/* httpd.c's: */
	struct httpd_later *later;
	struct httpd_stream *stream;
	void *connection;
};

struct httpd_route {
	const char *method; /* "GET" also answers HEAD */
	const char *path;   /* exact */
	void (*handle)(void *arg, struct httpd_response *response);
};

/*
 * Listens on address:port (port 0: any free one; see httpd_port). `routes` is kept by reference and
 * ended by a row with a NULL path. NULL and `err` on failure.
 */
struct httpd *httpd_open(uv_loop_t *loop, const char *address, int port,
	const struct httpd_route *routes, void *arg, struct err *err) MUST_CHECK;

/* The same with TLS, and for those only whom `auth` lets pass (webauth.h); NULL: anybody. Borrowed
 * until closed. */
struct httpd *httpd_open_secured(uv_loop_t *loop, const char *address, int port,
	const struct httpd_route *routes, void *arg, struct webauth *auth,
	struct err *err) MUST_CHECK;

/* For answers that are long: of how much memory a connection may have, pieces are made. */
struct httpd *httpd_open_large(uv_loop_t *loop, const char *address, int port,
	const struct httpd_route *routes, void *arg, struct webauth *auth,
	struct err *err) MUST_CHECK;
int httpd_port(const struct httpd *httpd);

/*
 * For a handler: the answer comes by httpd_answer, which must be called once, later, even after the
 * server has been closed.
 */
struct httpd_later *httpd_defer(struct httpd_response *response);

/* Takes the body of the response. */
void httpd_answer(struct httpd_later *later, struct httpd_response *response);

/* What the request says, for a handler, during its call. */

/* A header, or NULL. */
const char *httpd_header(const struct httpd_response *response, const char *name);

/* Each parameter of the query in its order, percent-decoded; until `visit` says false. */
void httpd_each_parameter(const struct httpd_response *response,
	bool (*visit)(void *arg, const char *name, const char *value), void *arg);

/* A body that comes piece by piece, made as fast as the client takes it. */
enum httpd_piece {
	HTTPD_MORE,   /* ask again: in the loop's next turn, if nothing was appended */
	HTTPD_END,    /* that was the last */
	HTTPD_BROKEN, /* the client is to notice that it is not the whole */
};
struct httpd_source {
	/* Appends the next piece, which decides how much memory the answer takes, and how long the
	 * loop does nothing else. Never called again after HTTPD_END or HTTPD_BROKEN. */
	enum httpd_piece (*next)(void *arg, struct buf *out);
	void (*free)(void *arg); /* sent, or not wanted any more */
	void *arg;
};

/* For a handler, in place of a body. */
void httpd_stream(struct httpd_response *response, const struct httpd_source *source);

void httpd_close(struct httpd *httpd, void (*on_closed)(void *arg), void *arg);

#endif
