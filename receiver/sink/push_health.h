/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_HEALTH_H
#define PS_RECEIVER_SINK_PUSH_HEALTH_H
/*
 * Whether the gateway takes what we bring, and what the log says of it: a gateway that fails now
 * and then is said to be away once in a while, and back only after that. It decides nothing. Loop
 * thread.
 */
#include "common/core/log.h"
#include "common/core/readiness.h"

/* Embedded; zero-initialise and set the first members and readiness.is_ready. */
struct push_health {
	const char *sink; /* its name */
	const char *url;  /* without credentials */
	struct readiness readiness;

	struct log_limit lost;
	bool is_reason_said, is_loss_said;
};

void push_health_lose(struct push_health *health, const char *why);
void push_health_gain(struct push_health *health);

#endif
