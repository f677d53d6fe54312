/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cnats before 3.8 sends no signature where its first byte is 0: one connection in 256 with an nkey
 * is refused for nothing. So a refusal is believed only when it comes again, and again.
 */
#include "common/nats/link_connect.h"

#include "common/core/clock.h"

#define PING_INTERVAL_MS  10000
#define PINGS_UNANSWERED  2
#define WRITE_DEADLINE_MS 10000
#define SIGNED_ATTEMPTS   3

/* One attempt at one server. */
struct attempt {
	const struct link_connect_options *options;
	size_t server;
	struct link_identity identity;
	natsStatus status;
	enum nats_failure failure;
	struct buf why; /* beforehand known; "" otherwise */
};

static natsStatus set_server(natsOptions *options, const struct link_servers *servers, size_t index)
{
	const char *url = servers->urls[index];
	natsStatus s = natsOptions_SetServers(options, &url, 1);

	if (s == NATS_OK && servers->password != NULL)
		s = natsOptions_SetUserInfo(options, servers->user, servers->password);
	else if (s == NATS_OK && servers->user != NULL)
		s = natsOptions_SetToken(options, servers->user);
	/* The configured servers are those to be used, and those that the watchdog knows. */
	if (s == NATS_OK)
		s = natsOptions_SetIgnoreDiscoveredServers(options, true);
	return s;
}

static natsStatus set_limits(natsOptions *options)
{
	natsStatus s = natsOptions_SetAllowReconnect(options, false);

	if (s == NATS_OK)
		s = natsOptions_SetTimeout(options, LINK_CONNECT_TIMEOUT_MS);
	if (s == NATS_OK)
		s = natsOptions_SetPingInterval(options, PING_INTERVAL_MS);
	if (s == NATS_OK)
		s = natsOptions_SetMaxPingsOut(options, PINGS_UNANSWERED);
	if (s == NATS_OK)
		s = natsOptions_SetWriteDeadline(options, WRITE_DEADLINE_MS);
	if (s == NATS_OK)
		s = natsOptions_SetSendAsap(options, true);
	return s;
}

static natsStatus set_all(natsOptions *to, const struct link_connect_options *options, size_t index)
{
	natsStatus s = set_server(to, options->servers, index);

	if (s == NATS_OK)
		s = set_limits(to);
	if (s == NATS_OK)
		s = natsOptions_SetName(to, options->client_name);
	if (s == NATS_OK)
		s = natsOptions_SetErrorHandler(to, options->on_error, options->closure);
	if (s == NATS_OK)
		s = natsOptions_SetClosedCB(to, options->on_closed, options->closure);
	return s;
}

static const char *error_text(natsStatus status)
{
	const char *text = nats_GetLastError(NULL);

	return text != NULL && text[0] != '\0' ? text : natsStatus_GetText(status);
}

static void say_tls(struct attempt *attempt, const char *text)
{
	attempt->failure = NATS_FAILURE_TLS;
	buf_appendf(&attempt->why, "TLS: %s", text);
	link_security_suspect(attempt->options->security, &attempt->why);
}

static void say_auth(struct attempt *attempt)
{
	attempt->failure = NATS_FAILURE_AUTH;
	buf_append_str(&attempt->why, "authorization violation");
	/* It may be the certificate that says who we are. */
	link_security_suspect(attempt->options->security, &attempt->why);
}

/* With TLS 1.3 a server judges our certificate once we are through with the handshake. */
static bool say_closed(struct attempt *attempt, const char *text)
{
	const struct link_connect_options *options = attempt->options;
	const struct nats_tls *tls = &options->security->tls;
	bool is_tls =
		tls->wanted || strncmp(options->servers->urls[attempt->server], "tls://", 6) == 0;

	if (strstr(text, "got ''") == NULL)
		return false;
	if (!is_tls)
		buf_append_str(&attempt->why, "the server closed the connection");
	else if (tls->cert == NULL)
		say_tls(attempt, "the server closed the connection: it may want a client "
				 "certificate, and there is none");
	else
		say_tls(attempt, "the server closed the connection: it may not trust our client "
				 "certificate");
	return true;
}

/* Why cnats did not connect. */
static void explain(struct attempt *attempt)
{
	const struct link_connect_options *options = attempt->options;

	attempt->failure = NATS_FAILURE_OTHER;
	if (attempt->status == NATS_TIMEOUT || options->was_cut(options->cut_arg)) {
		attempt->failure = NATS_FAILURE_TIMEOUT;
		buf_appendf(&attempt->why, "no answer within %ds", LINK_CONNECT_TIMEOUT_MS / 1000);
	} else if (attempt->status == NATS_NO_SERVER) {
		attempt->failure = NATS_FAILURE_UNREACHABLE;
		link_servers_probe(options->servers, attempt->server, &attempt->why);
	} else if (attempt->status == NATS_CONNECTION_AUTH_FAILED) {
		say_auth(attempt);
	} else if (attempt->status == NATS_SSL_ERROR) {
		say_tls(attempt, error_text(attempt->status));
	} else if (!say_closed(attempt, error_text(attempt->status))) {
		buf_append_str(&attempt->why, error_text(attempt->status));
	}
}

static void try_once(struct attempt *attempt, natsConnection **connection)
{
	const struct link_connect_options *options = attempt->options;
	char *host = link_servers_host(options->servers, attempt->server);
	natsOptions *nats = NULL;
	struct err err;

	buf_clear(&attempt->why);
	attempt->status = natsOptions_Create(&nats);
	if (attempt->status == NATS_OK)
		attempt->status = set_all(nats, options, attempt->server);
	if (attempt->status == NATS_OK &&
		link_security_apply(options->security, host, nats, &attempt->identity, &err) != 0) {
		attempt->status = NATS_ERR;
		attempt->failure = NATS_FAILURE_FILE;
		buf_append_str(&attempt->why, err.text);
	}
	if (attempt->status == NATS_OK)
		attempt->status = natsConnection_Connect(connection, nats);
	if (attempt->status != NATS_OK && attempt->why.len == 0)
		explain(attempt);
	natsOptions_Destroy(nats);
	free(host);
}

static void try_server(struct attempt *attempt, natsConnection **connection)
{
	bool is_signed = true;

	for (int left = SIGNED_ATTEMPTS; left > 0 && is_signed; left--) {
		try_once(attempt, connection);
		is_signed = attempt->status == NATS_CONNECTION_AUTH_FAILED &&
			    attempt->identity.seed.len > 0;
		link_identity_fini(&attempt->identity);
	}
}

/* In the order of the configuration, whichever was tried first. */
static void join(
	const struct attempt *attempts, const struct link_servers *servers, struct buf *why)
{
	buf_append_str(why, "cannot connect to ");
	for (size_t i = 0, said = 0; i < servers->count; i++) {
		const struct buf *reason = &attempts[i].why;

		if (reason->len == 0)
			continue;
		buf_appendf(why, "%s%s: %.*s", said++ > 0 ? ", or " : "", servers->each[i],
			(int)reason->len, reason->ptr);
	}
}

natsStatus link_connect(const struct link_connect_options *options, natsConnection **connection,
	struct buf *why, enum nats_failure *failure)
{
	size_t count = options->servers->count;
	size_t first = count == 0 ? 0 : random_u64() % count;
	struct attempt *attempts = xcalloc(count, sizeof(*attempts));
	natsStatus s = NATS_NO_SERVER;

	*failure = NATS_FAILURE_OTHER;
	for (size_t i = 0; i < count && s != NATS_OK && !options->was_cut(options->cut_arg); i++) {
		struct attempt *attempt = &attempts[(first + i) % count];

		attempt->options = options;
		attempt->server = (first + i) % count;
		try_server(attempt, connection);
		s = attempt->status;
		*failure = attempt->failure;
	}
	if (s != NATS_OK && count == 0)
		buf_append_str(why, "no server is given in urls");
	else if (s != NATS_OK)
		join(attempts, options->servers, why);
	for (size_t i = 0; i < count; i++)
		buf_free(&attempts[i].why);
	free(attempts);
	return s;
}
