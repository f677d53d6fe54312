/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_WEBTLS_H
#define PS_COMMON_LOOP_WEBTLS_H
/*
 * What TLS connections to a listener are made with: the certificate shown, and whose are asked for.
 * Each connection keeps what it began with. Made on any thread, then of one.
 */
#include "common/loop/webconfig.h"

struct gnutls_session_int;
struct webtls;

/* A certificate of this process for itself as a client, with its key, in PEM. */
struct webtls_own {
	struct buf cert, key;
};
int webtls_own_init(struct webtls_own *own, struct err *err) MUST_CHECK;
void webtls_own_fini(struct webtls_own *own);

/* With one reference; NULL and `err` if the certificates and keys cannot be used. `own` is trusted
 * whatever clients must show. */
struct webtls *webtls_new(
	const struct web_config *config, const struct webtls_own *own, struct err *err) MUST_CHECK;
struct webtls *webtls_ref(struct webtls *tls);
void webtls_unref(struct webtls *tls);

/* Before the handshake; a reference must be held until the session has ended. */
void webtls_apply(struct webtls *tls, struct gnutls_session_int *session);

#endif
