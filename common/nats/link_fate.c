/* SPDX-License-Identifier: Apache-2.0 */
/* A few words under one lock, which is also the one that the link's thread waits under. */
#include "common/nats/link_fate.h"

#include "common/core/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define CONNECT_GRACE_MS 2000

void link_fate_init(struct link_fate *fate)
{
	memset(fate, 0, sizeof(*fate));
	/* They fail for want of memory only. */
	if (uv_mutex_init(&fate->lock) != 0 || uv_cond_init(&fate->wake) != 0)
		abort();
}

void link_fate_fini(struct link_fate *fate)
{
	uv_cond_destroy(&fate->wake);
	uv_mutex_destroy(&fate->lock);
}

void link_fate_watch(struct link_fate *fate, const struct link_servers *servers)
{
	uint64_t limit_ms = LINK_CONNECT_TIMEOUT_MS * servers->count + CONNECT_GRACE_MS;
	bool is_late;

	uv_mutex_lock(&fate->lock);
	is_late = fate->connecting_ms != 0 && clock_mono_ms() - fate->connecting_ms > limit_ms;
	fate->cut = fate->cut || is_late;
	uv_mutex_unlock(&fate->lock);
	if (is_late)
		link_servers_cut(servers);
}

void link_fate_lose(struct link_fate *fate, const char *why)
{
	uv_mutex_lock(&fate->lock);
	if (fate->lost[0] == '\0')
		snprintf(fate->lost, sizeof(fate->lost), "%s", why);
	uv_cond_signal(&fate->wake);
	uv_mutex_unlock(&fate->lock);
}

void link_fate_set_connecting(struct link_fate *fate, bool is_connecting)
{
	uv_mutex_lock(&fate->lock);
	if (is_connecting) {
		fate->lost[0] = '\0';
		fate->closed = false;
		fate->cut = false;
		fate->deliveries = 0;
	}
	fate->connecting_ms = is_connecting ? clock_mono_ms() : 0;
	uv_mutex_unlock(&fate->lock);
}

bool link_fate_is_connecting(struct link_fate *fate)
{
	bool is_connecting;

	uv_mutex_lock(&fate->lock);
	is_connecting = fate->connecting_ms != 0;
	uv_mutex_unlock(&fate->lock);
	return is_connecting;
}

bool link_fate_was_cut(struct link_fate *fate)
{
	bool cut;

	uv_mutex_lock(&fate->lock);
	cut = fate->cut;
	uv_mutex_unlock(&fate->lock);
	return cut;
}
