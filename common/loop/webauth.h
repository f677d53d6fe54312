/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_WEBAUTH_H
#define PS_COMMON_LOOP_WEBAUTH_H
/*
 * A web.config.file of Prometheus' format: the certificate that a listener shows, and who may ask.
 * Files are looked at every two seconds by a worker thread: changed ones count for the connections
 * and requests that begin then; while they cannot be used, what they said before does.
 * Passwords are bcrypt hashes, which take long to check on purpose: that is done by worker threads,
 * at most a few at a time, and what was found is remembered. Loop thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

#include <uv.h>

struct webauth;
struct webtls;
struct webtls_own;

/* NULL and `err` if the file is wrong or one that it names cannot be read. Blocks: at the start. */
struct webauth *webauth_load(uv_loop_t *loop, const char *path, struct err *err) MUST_CHECK;

/* Of TLS, in PEM; NULL without. Valid until the loop runs. */
const char *webauth_cert(const struct webauth *auth);
const char *webauth_key(const struct webauth *auth);

/* What a connection that begins now is made with, a reference for the caller; NULL without TLS. */
struct webtls *webauth_tls(const struct webauth *auth);

/* What this process shows where clients must have a certificate. */
const struct webtls_own *webauth_own(const struct webauth *auth);

/* An `Authorization` header that passes though no user has it: of this process's own requests. */
const char *webauth_own_header(const struct webauth *auth);

enum webauth_verdict { WEBAUTH_PASS, WEBAUTH_REFUSE, WEBAUTH_LATER };

/*
 * Judges the Authorization header, which may be NULL. WEBAUTH_LATER: `on_judged` will be called,
 * never from inside, with the verdict.
 */
enum webauth_verdict webauth_judge(struct webauth *auth, const char *header,
	void (*on_judged)(void *arg, bool pass), void *arg);

/* Nothing may be pending to which the callbacks still matter: they come, with a refusal. */
void webauth_close(struct webauth *auth, void (*on_closed)(void *arg), void *arg);

#endif
