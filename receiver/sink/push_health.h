/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_HEALTH_H
#define PS_RECEIVER_SINK_PUSH_HEALTH_H
/*
 * Whether the gateway takes what we bring, how many requests it may get, and what the log says of
 * it: a gateway that fails now and then is said to be away once in a while, and back only after
 * that. It sends nothing. Loop thread.
 *
 *	            a request fails             the wait is over
 *	  OPEN ─────────────────────> WAITING ────────────────────> PROBING (one request)
 *	   ^                             ^          it fails            │
 *	   │                             └──────────────────────────────┤
 *	   └────────────────────────────────────────────────────────────┘ it is answered
 */
#include "common/config/settings.h"
#include "common/core/backoff.h"
#include "common/core/log.h"
#include "common/core/readiness.h"

#include <uv.h>

enum push_health_state { PUSH_OPEN, PUSH_WAITING, PUSH_PROBING };

/* Embedded; set the first members and init. */
struct push_health {
	const char *sink; /* its name */
	const char *url;  /* without credentials */
	const struct push_gateway_settings *settings;
	void (*on_retry)(void *arg);
	void *arg;

	enum push_health_state state;
	struct readiness readiness;
	struct backoff backoff;
	uv_timer_t timer;
	void (*on_closed)(void *arg);
	struct log_limit lost;
	bool is_reason_said, is_loss_said;
};

void push_health_init(struct push_health *health, uv_loop_t *loop);

/* How many requests may run. */
size_t push_health_allows(const struct push_health *health);

/* False where it has been lost already, and the wait goes on. */
bool push_health_lose(struct push_health *health, const char *why, int64_t retry_after_ms);

/* A request was answered. */
void push_health_gain(struct push_health *health);

/* Then on_closed, never from inside. */
void push_health_close(struct push_health *health, void (*on_closed)(void *arg));

#endif
