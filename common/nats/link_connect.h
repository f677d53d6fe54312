/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_LINK_CONNECT_H
#define PS_COMMON_NATS_LINK_CONNECT_H
/*
 * Making a connection: each server in turn, beginning with any. One attempt has the options for one
 * server, since the name expected in a certificate is one. Blocks: the link's own thread only.
 */
#include "common/nats/link_fate.h"
#include "common/nats/link_security.h"
#include "common/nats/link_server.h"

struct link_connect_options {
	const struct link_servers *servers;
	const struct link_security *security;
	const char *client_name;
	natsErrHandler on_error;
	natsConnectionHandler on_closed;
	void *closure;          /* of both */
	struct link_fate *fate; /* cut by the watchdog, no other server is tried */
	bool gathers_writes;    /* as of nats_link_options */
};

/* On failure `why` gets the reasons, in words that are the same from one attempt to the next. */
natsStatus link_connect(const struct link_connect_options *options, natsConnection **connection,
	struct buf *why, enum nats_failure *failure);

#endif
