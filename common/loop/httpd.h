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
	int status;                /* 200 at the start */
	const char *content_type;  /* a literal; "text/plain; charset=utf-8" at the start */
	struct buf body;           /* freed by the server */
	struct httpd_later *later; /* httpd.c's */
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
int httpd_port(const struct httpd *httpd);

/*
 * For a handler: the answer comes by httpd_answer, which must be called once, later, even after the
 * server has been closed.
 */
struct httpd_later *httpd_defer(struct httpd_response *response);

/* Takes the body of the response. */
void httpd_answer(struct httpd_later *later, struct httpd_response *response);

void httpd_close(struct httpd *httpd, void (*on_closed)(void *arg), void *arg);

#endif
