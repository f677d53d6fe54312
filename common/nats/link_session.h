/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_LINK_SESSION_H
#define PS_COMMON_NATS_LINK_SESSION_H
/*
 * One connection to NATS, from connect to close: what calls cnats and what cnats calls back. It is
 * never repaired: once its fate says that it is lost, it is closed, and another one is made. The
 * link's own thread only, but for link_fate_….
 */
#include "common/nats/link_internal.h"
#include "common/nats/link_security.h"
#include "common/nats/link_server.h"

/* How a session fares. Its owner waits on `wake` under `lock`, and may share both. */
struct link_fate {
	uv_mutex_t lock;
	uv_cond_t wake;
	uint64_t connecting_ms;     /* since when, by the monotonic clock; 0: not connecting */
	bool cut;                   /* by the watchdog, while connecting */
	bool closed;                /* cnats calls back no more */
	size_t deliveries;          /* threads of cnats that bring messages */
	char lost[LINK_TEXT_BYTES]; /* why it has to end; "" while it is good */
};
void link_fate_init(struct link_fate *fate);
void link_fate_fini(struct link_fate *fate);

/*
 * Any thread, every second or so: cuts off a server that went silent in the middle of connecting,
 * which cnats before 3.8 waits for in a busy loop, and without end.
 */
void link_fate_watch(struct link_fate *fate, const struct link_servers *servers);

struct link_session_options {
	struct link_fate *fate;
	struct handoff *handoff;
	const struct link_servers *servers;
	const struct link_security *security;
	const char *client_name;
	const char *inbox_prefix;
	uint64_t generation;
};

struct link_session;

/* Connects, which blocks for seconds. Never NULL; where it fails, the fate says why. */
struct link_session *link_session_open(const struct link_session_options *options);

/* Whether it was never connected, and why in kind. */
bool link_session_failed(const struct link_session *session, enum nats_failure *failure);

/* Whether it was connected, and is not yet known to be lost. */
bool link_session_is_good(const struct link_session *session);

/* The server's, redacted, to be freed by the caller. */
char *link_session_server(const struct link_session *session) MUST_CHECK;
size_t link_session_max_payload(const struct link_session *session);

/* Carries the operation out; a failure is the session's fate. May block for the write deadline. */
void link_session_execute(struct link_session *session, const struct link_op *op);

/* Waits for the server to have read all that was sent. */
void link_session_flush(struct link_session *session, int64_t timeout_ms);

/* Ends it, good or lost, and frees it. */
void link_session_close(struct link_session *session);

/* How long it has been connected; 0 if it never was. */
uint64_t link_session_age_ms(const struct link_session *session);

#endif
