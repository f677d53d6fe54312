/* SPDX-License-Identifier: Apache-2.0 */
/* A reason that the rate limit kept back is said by a later failure, if it still holds. */
#include "receiver/sink/push_health.h"

void push_health_lose(struct push_health *health, const char *why)
{
	if (readiness_lose(&health->readiness, "%s: %s", health->url, why))
		health->is_reason_said = false;
	if (health->is_reason_said)
		return;
	log_limited(&health->lost, LOG_WARN,
		"the Push Gateway does not take what we bring; trying again",
		LOG_S("sink", health->sink), LOG_S("url", health->url), LOG_S("error", why));
	health->is_reason_said = health->lost.suppressed == 0;
	health->is_loss_said = health->is_loss_said || health->is_reason_said;
}

void push_health_gain(struct push_health *health)
{
	if (!readiness_gain(&health->readiness) || !health->is_loss_said)
		return;
	health->is_loss_said = false;
	log_info("the Push Gateway takes what we bring again", LOG_S("sink", health->sink),
		LOG_S("url", health->url));
}
