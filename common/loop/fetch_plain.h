/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_FETCH_PLAIN_H
#define PS_COMMON_LOOP_FETCH_PLAIN_H
/*
 * Requests plain enough to be written without libcurl: a GET by http:// without credentials,
 * escapes, fragments or headers that libcurl treats in ways of its own. Pure; any thread.
 */
#include "common/loop/fetch.h"

/* Whether it is plain; then host and port, and path and query, as the URL spells them. */
bool fetch_plain_read(const struct fetch_request *request, struct slice *authority,
	struct slice *target) MUST_CHECK;

/* Appends the request; `user_agent` may be NULL. */
void fetch_plain_write(struct buf *out, const struct fetch_request *request, const char *user_agent,
	struct slice authority, struct slice target);

#endif
