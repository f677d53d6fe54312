/* SPDX-License-Identifier: Apache-2.0 */
/* A reason that the rate limit kept back is said by a later failure, if it still holds. */
#include "receiver/sink/push_health.h"

#define BACKOFF_MIN_MS     500
#define BACKOFF_MAX_MS     10000
#define RETRY_AFTER_MAX_MS 60000

void push_health_init(struct push_health *health, uv_loop_t *loop)
{
	health->readiness.is_ready = true;
	health->backoff = (struct backoff){.min_ms = BACKOFF_MIN_MS, .max_ms = BACKOFF_MAX_MS};
	uv_timer_init(loop, &health->timer);
	health->timer.data = health;
}

size_t push_health_allows(const struct push_health *health)
{
	if (health->state == PUSH_WAITING)
		return 0;
	return health->state == PUSH_PROBING ? 1 : (size_t)health->settings->concurrency;
}

static void say_lost(struct push_health *health, const char *why)
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

static void on_wait_over(uv_timer_t *timer)
{
	struct push_health *health = timer->data;

	health->state = PUSH_PROBING;
	health->on_retry(health->arg);
}

bool push_health_lose(struct push_health *health, const char *why, int64_t retry_after_ms)
{
	uint64_t wait_ms;

	if (health->state == PUSH_WAITING)
		return false;
	wait_ms = backoff_next_ms(&health->backoff);
	if (retry_after_ms > RETRY_AFTER_MAX_MS)
		retry_after_ms = RETRY_AFTER_MAX_MS;
	if (retry_after_ms > 0 && (uint64_t)retry_after_ms > wait_ms)
		wait_ms = (uint64_t)retry_after_ms;
	health->state = PUSH_WAITING;
	uv_timer_start(&health->timer, on_wait_over, wait_ms, 0);
	say_lost(health, why);
	return true;
}

void push_health_gain(struct push_health *health)
{
	if (health->state == PUSH_PROBING) {
		health->state = PUSH_OPEN;
		backoff_reset(&health->backoff);
	}
	if (health->state != PUSH_OPEN)
		return;
	if (!readiness_gain(&health->readiness) || !health->is_loss_said)
		return;
	health->is_loss_said = false;
	log_info("the Push Gateway takes what we bring again", LOG_S("sink", health->sink),
		LOG_S("url", health->url));
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct push_health *health = handle->data;

	health->on_closed(health->arg);
}

void push_health_close(struct push_health *health, void (*on_closed)(void *arg))
{
	health->on_closed = on_closed;
	uv_close((uv_handle_t *)&health->timer, on_timer_closed);
}
