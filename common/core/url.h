/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_URL_H
#define PS_COMMON_CORE_URL_H
/*
 * URLs, as far as configuration and logs need them: is it one, which host and port, and a copy that
 * may be shown. It does not fetch, resolve relative references or normalise. Pure; any thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

#define URL_MAX_BYTES 8192

struct url {
	char *scheme; /* lower case */
	char *host;   /* as written; an IPv6 address without its brackets */
	int port;     /* the scheme's (http, https, nats, tls) if not given; 0 if unknown */
	bool port_given;
	bool has_userinfo;    /* user:password@, which is not kept */
	char *path_and_query; /* begins with '/'; the fragment is not kept */
};

/*
 * Splits <scheme>://[userinfo@]<host>[:port][/path][?query][#fragment]. Errors quote nothing of the
 * URL, as it may hold a password. `url` needs fini only on success.
 */
int url_parse(struct url *url, struct slice text, struct err *err) MUST_CHECK;
void url_fini(struct url *url);

/*
 * host:port as written, without the scheme's default: what Prometheus makes the instance label. To
 * be freed by the caller.
 */
char *url_host_port(const struct url *url) MUST_CHECK;

/*
 * A copy for logs of a URL or of a comma list of them: user:password@ becomes xxxxx@, the values of
 * query keys that sound secret become xxxxx. Meant for malformed text too, so it rather hides too
 * much: userinfo reaches to the last '@' (Push Gateway's "@base64/" in a path excepted), and what
 * stands in place of host:port but is none is hidden. To be freed by the caller.
 */
char *url_redact(const char *text) MUST_CHECK;

#endif
