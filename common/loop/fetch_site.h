/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_FETCH_SITE_H
#define PS_COMMON_LOOP_FETCH_SITE_H
/*
 * What is known of the sites that are asked past libcurl: where each is, and what has gone wrong.
 * Trouble with connections is the site's; answers that only libcurl takes are those of one URL, and
 * its neighbours do not suffer for them. It resolves no name and opens nothing. Loop thread.
 */
#include "common/core/buf.h"
#include "common/core/table.h"

#include <sys/queue.h>
#include <sys/socket.h>

struct fetch_direct_peer;
TAILQ_HEAD(fetch_direct_peers, fetch_direct_peer);

/* What has gone wrong too often in a row is left alone for a while. */
struct fetch_trouble {
	unsigned times;
	uint64_t until_ms;
};

struct fetch_site {
	char *name; /* host and port as URLs spell them */
	struct sockaddr_storage address;
	socklen_t address_len;   /* 0: not known */
	bool is_numeric;         /* its name is its address */
	bool was_ordinary;       /* libcurl's last answer of it, or none yet */
	uint64_t fresh_until_ms; /* the address of a name is for one connect before that */
	struct fetch_trouble trouble;
	size_t last_bytes; /* of its last body */
	struct fetch_direct_peers idle;
	UT_hash_handle hh;
};

struct fetch_odd_url;

struct fetch_sites {
	struct fetch_site *by_name;
	struct fetch_odd_url *odd;
};

void fetch_sites_fini(struct fetch_sites *sites);

struct fetch_site *fetch_sites_find(const struct fetch_sites *sites, struct slice name);
/* NULL: too many. */
struct fetch_site *fetch_sites_add(struct fetch_sites *sites, struct slice name);

/* Whether it may be connected to now. */
bool fetch_site_is_near(const struct fetch_site *site);
/* It is being connected to. */
void fetch_site_use(struct fetch_site *site);
/* Takes over an address that has answered; returns whether it is another one than before. */
bool fetch_site_learn(struct fetch_site *site, const char *ip, long port);
void fetch_site_forget(struct fetch_site *site);

/* It forgets the address, and is hopeless if that is so again and again. */
void fetch_site_disappoint(struct fetch_site *site);
bool fetch_site_is_hopeless(const struct fetch_site *site);

/* Something about an answer was not for us; again and again, and the URL is odd. */
void fetch_sites_note_odd(struct fetch_sites *sites, const char *url);
void fetch_sites_note_good(struct fetch_sites *sites, const char *url);
bool fetch_sites_is_odd(const struct fetch_sites *sites, const char *url);

#endif
