/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_FETCH_H
#define PS_COMMON_LOOP_FETCH_H
/*
 * HTTP requests on the loop: libcurl's multi interface driven by libuv, connections kept alive. The
 * only module that knows libcurl. Where asked for, plain GETs of sites that have answered well go
 * past it. It decodes no body and judges no status. Loop thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

#include <uv.h>

struct fetch;
struct fetch_transfer;
struct fetch_client; /* fetch_client.h */

struct fetch_options {
	size_t max_idle_connections; /* about so many in all; 0: libcurl's default */
	const char *user_agent;
	bool goes_directly; /* where it can: the same sites are asked again and again */
};

enum fetch_outcome {
	FETCH_DONE,      /* a whole answer of any status */
	FETCH_FAILED,    /* `error` says why */
	FETCH_TIMED_OUT, /* the deadline passed: connect, headers and body together */
	FETCH_TOO_LARGE, /* more body than body_limit_bytes */
};

struct fetch_request {
	const char *method; /* "GET", "PUT", "POST", "DELETE" */
	const char *url;    /* http or https */
	const char *const
		*headers; /* "Name: value", ended by NULL; borrowed until completion; may be NULL */
	struct slice body; /* borrowed until completion */
	int64_t timeout_ms;
	size_t body_limit_bytes; /* of the answer as it comes over the wire; 0:
				    FETCH_DEFAULT_LIMIT_BYTES */
	/* What is beyond the limit is left out, instead of the answer being of no use: for those of
	 * which only the first words matter. */
	bool cuts_body;
	bool follow_redirects;
	struct fetch_client *client; /* what secures it; NULL: nothing */
	/* Of the answer, beside those that a result always has; a literal; NULL: none. */
	const char *answer_header;
};
#define FETCH_DEFAULT_LIMIT_BYTES ((size_t)64 << 20)

struct fetch_result {
	enum fetch_outcome outcome;
	int status;             /* HTTP status, FETCH_DONE only */
	char error[160];        /* "connection refused", "timed out after 10s", …; "" when done */
	struct buf body;        /* as it came; the callback may buf_take it */
	char content_type[128]; /* "" if none, cut if longer */
	char content_encoding[32];
	char answer_header[64]; /* the one asked for; "" if none, cut if longer */
	int64_t retry_after_ms; /* of Retry-After, seconds or a date; -1 if none */
	double duration_s;      /* from fetch_start to the last byte */
};

/* Called on the loop thread, never from inside fetch_start; the result is freed when it returns. */
typedef void (*fetch_callback)(void *arg, struct fetch_result *result);

struct fetch *fetch_open(uv_loop_t *loop, const struct fetch_options *options);

/* As max_idle_connections, which is not 0, from now on. */
void fetch_set_max_idle(struct fetch *fetch, size_t max_idle_connections);

/* Never NULL: a request that cannot even be made completes with FETCH_FAILED. Copies url; `method`
 * is a literal. */
struct fetch_transfer *fetch_start(struct fetch *fetch, const struct fetch_request *request,
	fetch_callback callback, void *arg);

/* Ends a transfer without its callback. */
void fetch_cancel(struct fetch_transfer *transfer);

/* Transfers that have not completed. */
size_t fetch_running(const struct fetch *fetch);

/* Cancels what runs, then closes every handle and frees. `on_closed` may be NULL. */
void fetch_close(struct fetch *fetch, void (*on_closed)(void *arg), void *arg);

#endif
