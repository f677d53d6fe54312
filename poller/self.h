/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_SELF_H
#define PS_POLLER_SELF_H
/*
 * The poller as a target of itself: a job like any other, `prometheus_streams`, whose one instance
 * is the poller's identity and whose URL is its monitor port. Pure; loop thread.
 */
#include "common/config/settings.h"

struct webtls_own;

#define SELF_JOB_NAME "prometheus_streams"

struct self {
	struct job_settings job;
	struct target_settings target;
	struct http_header_settings header; /* where the monitor port wants to know who asks */
	char *secret;
	char *cert, *key; /* shown where the monitor port wants a certificate */
};

/* How the monitor port is reached by its own process. */
struct self_access {
	int port;                     /* the one bound */
	bool is_tls;                  /* by a certificate that need not be for this address */
	const char *header;           /* its Authorization; NULL: none needed */
	const struct webtls_own *own; /* the certificate shown; NULL: none needed */
};

/* `self` must not move until fini. */
void self_init(
	struct self *self, const struct settings *settings, const struct self_access *access);
void self_fini(struct self *self);

#endif
