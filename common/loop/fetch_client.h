/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_FETCH_CLIENT_H
#define PS_COMMON_LOOP_FETCH_CLIENT_H
/*
 * What requests are secured with: certificates, passwords, headers, a proxy. Files are read at the
 * start, and again within seconds of a change, by a worker thread: requests never wait for a disk.
 * While one cannot be read, the requests fail with the reason. Loop thread.
 */
#include "common/config/settings.h"
#include "common/loop/fetch.h"

/* For requests by `fetch`, with which it ends, if not before. NULL where the settings ask for
 * nothing. `settings` is kept by reference. */
struct fetch_client *fetch_client_new(
	struct fetch *fetch, const struct http_client_settings *settings);

/*
 * No request begins with it any more. `on_freed`, perhaps from inside, tells that it does not look
 * at its settings any more; requests under way still do. NULL is allowed, and on_freed then comes
 * as well.
 */
void fetch_client_free(struct fetch_client *client, void (*on_freed)(void *arg), void *arg);

#endif
