/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_LINK_SERVER_H
#define PS_COMMON_NATS_LINK_SERVER_H
/*
 * The servers a link may connect to: their addresses and credentials in the form cnats takes, and
 * why one cannot be reached, which cnats does not say. Probing blocks: the link's own thread only.
 */
#include "common/config/settings.h"
#include "common/core/buf.h"

struct link_servers {
	char **urls;
	size_t count;
	char **each; /* one by one, without credentials */
	char *shown; /* all of them */
	/* From the first URL with %-escapes in its credentials; else NULL. A token has no password.
	 */
	char *user, *password;
};

/* Copies; what it owns is freed by link_servers_fini. */
void link_servers_init(struct link_servers *servers, const struct string_list *urls);
void link_servers_fini(struct link_servers *servers);

/* Appends why no TCP connection to a server can be made; in words, in a few seconds. */
void link_servers_probe(const struct link_servers *servers, size_t index, struct buf *reason);

/* The host of a server, without brackets; NULL if it has none. To be freed by the caller. */
char *link_servers_host(const struct link_servers *servers, size_t index) MUST_CHECK;

/* As the inside of a JSON string, which cnats makes of it unseen. To be freed by the caller. */
char *link_quote(struct slice text) MUST_CHECK;

/*
 * Shuts down every TCP connection of this process to a port of these servers: the only hold there
 * is on a connection that cnats is still making. Any thread.
 */
void link_servers_cut(const struct link_servers *servers);

#endif
