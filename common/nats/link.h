/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_LINK_H
#define PS_COMMON_NATS_LINK_H
/*
 * One connection to NATS, kept for ever: requests, publishes and replies over it. The only module
 * that knows cnats; JetStream is spoken over it as plain requests (jetstream.h), which never block
 * and fail by name when a permission is missing.
 *
 * cnats' calls may block (connect, a full socket), so that a thread of the link's own makes all of
 * them; its callbacks come on cnats' threads and are handed to the loop. Everything below is called
 * on, and calls back on, the loop thread.
 */
#include "common/config/settings.h"
#include "common/core/buf.h"
#include "common/core/err.h"
#include "common/wire/wire.h"

#include <uv.h>

struct nats_link;

struct nats_link_options {
	const struct string_list *urls; /* copied; may hold credentials, which never show */
	const struct nats_tls *tls;     /* copied; NULL: where the URL or the server asks for it */
	const struct nats_auth_settings *auth; /* copied; NULL: what the URLs say */
	const char *client_name;               /* shown by the server's monitoring */
	const char *inbox_prefix; /* "_INBOX_…": this client's own, for least privilege */
};

/* Why attempts to connect fail, in kind. */
enum nats_failure {
	NATS_FAILURE_UNREACHABLE,
	NATS_FAILURE_TIMEOUT,
	NATS_FAILURE_TLS,  /* certificates, names; refused by either side */
	NATS_FAILURE_AUTH, /* who we are, by password, token, nkey or credentials */
	NATS_FAILURE_FILE, /* a file of ours cannot be used */
	NATS_FAILURE_OTHER,
	NATS_FAILURE_COUNT,
};
const char *nats_failure_name(enum nats_failure failure);

/* Called when the state or its reason changes. Listeners are called in order of adding. */
struct nats_link_listener {
	void (*on_up)(void *arg);
	void (*on_down)(void *arg, const char *reason);
	void *arg;
	struct nats_link_listener *next; /* the link's */
};

struct nats_link *nats_link_open(uv_loop_t *loop, const struct nats_link_options *options);

/* `listener` is kept by reference until nats_link_unlisten, or until the link is closed. */
void nats_link_listen(struct nats_link *link, struct nats_link_listener *listener);

/* It is not called any more, nor referred to. Allowed from inside a listener's callbacks. */
void nats_link_unlisten(struct nats_link *link, struct nats_link_listener *listener);

bool nats_link_is_up(const struct nats_link *link);
const char *nats_link_reason(const struct nats_link *link); /* why it is not up; "" when it is */
size_t nats_link_max_payload(
	const struct nats_link *link); /* the server's; 0 before the first connect */
uint64_t nats_link_connects(const struct nats_link *link); /* how often it came up */
/* How many attempts failed so. */
uint64_t nats_link_failures(const struct nats_link *link, enum nats_failure failure);
uint64_t nats_link_violations(const struct nats_link *link); /* permission violations reported */
const char *nats_link_server(const struct nats_link *link);  /* connected URL, redacted; "" */

/*
 * A message to be sent, immutable once made, shared between the loop (which may send it again) and
 * the link's thread. Takes the content of `body`; copies subject and headers (NULL: none).
 */
struct nats_outgoing;
struct nats_outgoing *nats_outgoing_new(
	struct slice subject, const struct wire_headers *headers, struct buf *body);
struct nats_outgoing *nats_outgoing_ref(struct nats_outgoing *message);
void nats_outgoing_unref(struct nats_outgoing *message);
size_t nats_outgoing_bytes(const struct nats_outgoing
		*message); /* as the server counts max_payload: headers and body */

/* A received message; lives until nats_incoming_free. */
struct nats_incoming;
struct slice nats_incoming_subject(const struct nats_incoming *message);
struct slice nats_incoming_reply(const struct nats_incoming *message);
struct slice nats_incoming_body(const struct nats_incoming *message);
/* What holding it costs, about: headers and all. */
size_t nats_incoming_bytes(const struct nats_incoming *message);
/* By exact name, the first value; of type wire_header_lookup with the message as `arg`. */
int nats_incoming_header(void *message, const char *name, struct slice *value);
/* JetStream's status line ("NATS/1.0 404 No Messages"): 404; 0 if there is none. */
int nats_incoming_status(const struct nats_incoming *message, struct slice *description);
void nats_incoming_free(struct nats_incoming *message);

/* Sends without awaiting anything; dropped (and counted by the server's redelivery) while down. */
void nats_link_publish(struct nats_link *link, struct nats_outgoing *message);

enum nats_reply {
	NATS_REPLY_OK,      /* `message` is the answer; freed by the link after the callback */
	NATS_REPLY_TIMEOUT, /* none came in time */
	/* The server refused the publish (`text` names the subject), or it was not sent since the
	 * server would have closed the connection: no valid subject, or above max_payload. */
	NATS_REPLY_DENIED,
	NATS_REPLY_NO_RESPONDERS, /* nobody listens on the subject: the stream or consumer is
				     missing */
	NATS_REPLY_DOWN,          /* the connection is or went down */
};
typedef void (*nats_reply_callback)(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text);

/*
 * Sends and awaits one answer. The callback comes exactly once, never from inside this call; unless
 * cancelled. Returns an id for nats_link_cancel, never 0.
 */
uint64_t nats_link_request(struct nats_link *link, struct nats_outgoing *message,
	int64_t timeout_ms, nats_reply_callback callback, void *arg);
void nats_link_cancel(struct nats_link *link, uint64_t request);

/*
 * A standing address for many answers (pull requests): `on_message` owns each message. Sending with
 * nats_inbox_ask sets it as the reply subject. Answers across a change of connection are dropped;
 * one that JetStream never gives (the consumer is gone) shows by missing heartbeats only.
 */
struct nats_inbox;
struct nats_inbox *nats_inbox_open(struct nats_link *link,
	void (*on_message)(void *arg, struct nats_incoming *message),
	void (*on_denied)(void *arg, const char *text), void *arg);
void nats_inbox_ask(struct nats_inbox *inbox, struct nats_outgoing *message);
void nats_inbox_close(struct nats_inbox *inbox);

/*
 * The inboxes are closed before. Flushes under `timeout_ms`, ends the thread, closes the connection
 * and every handle, and frees. Outstanding requests end without callbacks.
 */
void nats_link_close(
	struct nats_link *link, int64_t timeout_ms, void (*on_closed)(void *arg), void *arg);

#endif
