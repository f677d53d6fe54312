/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_LINK_FATE_H
#define PS_COMMON_NATS_LINK_FATE_H
/*
 * How a session fares: what its own thread, cnats' threads and the watchdog let each other know of
 * it. It repairs nothing. Any thread; outlives its sessions, of which it has one at a time.
 */
#include "common/nats/link_internal.h"
#include "common/nats/link_server.h"

#define LINK_CONNECT_TIMEOUT_MS 5000 /* for each server */

/* Its owner waits on `wake` under `lock`, and may share both. */
struct link_fate {
	uv_mutex_t lock;
	uv_cond_t wake;
	uint64_t connecting_ms;     /* since when, by the monotonic clock; 0: not connecting */
	bool cut;                   /* by the watchdog, while connecting */
	bool closed;                /* cnats calls back no more */
	size_t deliveries;          /* threads of cnats that bring messages */
	char lost[LINK_TEXT_BYTES]; /* why it has to end; "" while it is good */
};
void link_fate_init(struct link_fate *fate);
void link_fate_fini(struct link_fate *fate);

/*
 * Any thread, every second or so: cuts off a server that went silent in the middle of connecting,
 * which cnats before 3.8 waits for in a busy loop, and without end.
 */
void link_fate_watch(struct link_fate *fate, const struct link_servers *servers);

/* It has to end. The first reason given is the cause, what follows its consequences. */
void link_fate_lose(struct link_fate *fate, const char *why);

/* As true it begins a session: all that was known of the one before is forgotten. */
void link_fate_set_connecting(struct link_fate *fate, bool is_connecting);
bool link_fate_is_connecting(struct link_fate *fate);
bool link_fate_was_cut(struct link_fate *fate);

#endif
