/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_LINK_SECURITY_H
#define PS_COMMON_NATS_LINK_SECURITY_H
/*
 * How a link's connections are secured, and how they say who we are. Files are read for each
 * connection, so that what changed on disk is used at the next one. Reading blocks: the link's own
 * thread only.
 */
#include "common/nats/link_internal.h"

struct link_security {
	struct nats_tls tls;
	struct nats_auth_settings auth;
};

/*
 * Copies; either may be NULL. Before any thread is started: with a CA it changes the environment,
 * so that no other is trusted.
 */
void link_security_init(struct link_security *security, const struct nats_tls *tls,
	const struct nats_auth_settings *auth);
void link_security_fini(struct link_security *security);

/* What cnats calls back for while it connects: it must outlive that. */
struct link_identity {
	struct buf seed, jwt;
};
void link_identity_fini(struct link_identity *identity);

/*
 * Reads the files and sets all on `options`, for a server at `host`. -1 and `err` if a file cannot
 * be used; `identity`, zeroed before, is to be freed either way.
 */
int link_security_apply(const struct link_security *security, const char *host,
	natsOptions *options, struct link_identity *identity, struct err *err) MUST_CHECK;

/* Appends what is wrong with our own files on a second look (expired, say); nothing if nothing is.
 */
void link_security_suspect(const struct link_security *security, struct buf *out);

#endif
