/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_HTTPD_STREAM_H
#define PS_COMMON_LOOP_HTTPD_STREAM_H
/*
 * Bodies of answers that come piece by piece; for httpd.c. A connection whose next piece is not
 * ready is suspended for one turn of the loop. Loop thread.
 */
#include "common/loop/httpd.h"

#include <microhttpd.h>
#include <sys/queue.h>

struct httpd_stream;

/* Those of one server; zero-initialise. */
struct httpd_streams {
	LIST_HEAD(, httpd_stream) waiting; /* suspended */
	bool is_moving;                    /* a client took something since this was reset */
};

/* A response that sends the stream, which it owns from now on; NULL, and it is freed. */
struct MHD_Response *httpd_stream_response(
	struct httpd_stream *stream, struct httpd_streams *streams);

/* For an answer without a body: the response's stream, if any, is freed. */
void httpd_stream_drop(struct httpd_response *response);

/* Resumes what is suspended. */
void httpd_streams_resume(struct httpd_streams *streams);

#endif
