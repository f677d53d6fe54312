/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_NKEY_H
#define PS_COMMON_NATS_NKEY_H
/*
 * nkeys, as far as a client needs them: the public key that goes with a user's seed, and what a
 * .creds file holds. Signing is cnats' business. Errors quote nothing: it is all secret. Pure; any
 * thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

#define NKEY_PUBLIC_BYTES 57 /* of text, with its NUL */

/* The seed within a seed file, decorated (-----BEGIN …) or bare; false if there is none. */
bool nkey_find_seed(struct slice text, struct slice *seed);

/* The user's JWT within a .creds file; false if there is none. */
bool nkey_find_jwt(struct slice text, struct slice *jwt);

/* When a JWT expires, in seconds since the epoch; false if it says nothing of it. */
bool nkey_jwt_expiry(struct slice jwt, int64_t *expires_s);

/* The public key (U…) of a user's seed (SU…). */
int nkey_public(struct slice seed, char public_key[NKEY_PUBLIC_BYTES], struct err *err) MUST_CHECK;

#endif
