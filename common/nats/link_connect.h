/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_LINK_CONNECT_H
#define PS_COMMON_NATS_LINK_CONNECT_H
/*
 * Making a connection: each server in turn, beginning with any. One attempt has the options for one
 * server, since the name expected in a certificate is one. Blocks: the link's own thread only.
 */
#include "common/nats/link_security.h"
#include "common/nats/link_server.h"

#define LINK_CONNECT_TIMEOUT_MS 5000 /* for each server */

struct link_connect_options {
	const struct link_servers *servers;
	const struct link_security *security;
	const char *client_name;
	natsErrHandler on_error;
	natsConnectionHandler on_closed;
	void *closure;              /* of both */
	bool (*was_cut)(void *arg); /* by the watchdog: then no other server is tried */
	void *cut_arg;
};

/* On failure `why` gets the reasons, in words that are the same from one attempt to the next. */
natsStatus link_connect(const struct link_connect_options *options, natsConnection **connection,
	struct buf *why, enum nats_failure *failure);

#endif
