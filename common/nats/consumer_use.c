/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of a consumer, and acknowledgements, which go past its pulls. */
#include "common/nats/consumer_internal.h"

#include "common/core/clock.h"
#include "common/nats/api.h"

bool consumer_is_ready(const struct consumer *consumer, struct buf *why)
{
	if (!readiness_get(&consumer->readiness, why))
		return false;
	if (!consumer_is_shared(consumer))
		return true;
	if (why != NULL)
		buf_appendf(why,
			"durable \"%s\" of stream \"%s\" is pulled from by another receiver too",
			consumer->durable_name, consumer->stream);
	return false;
}

bool consumer_is_shared(const struct consumer *consumer)
{
	return sharing_is_seen(&consumer->sharing, clock_mono_ms());
}

uint64_t consumer_generation(const struct consumer *consumer)
{
	return consumer->generation;
}

bool consumer_is_caught_up(const struct consumer *consumer)
{
	return consumer->readiness.is_ready && consumer->pending_is_known && consumer->pending == 0;
}

uint64_t consumer_pending(const struct consumer *consumer)
{
	return consumer->pending;
}

void consumer_ack(struct consumer *consumer, struct slice reply)
{
	if (reply.len > 0)
		consumer->counts.acks += nats_api_ack(consumer->options.link, reply);
}

void consumer_in_progress(struct consumer *consumer, struct slice reply)
{
	(void)nats_api_in_progress(consumer->options.link, reply);
}

int64_t consumer_ack_wait_ms(const struct consumer *consumer)
{
	return consumer->ack_wait_ms;
}

void consumer_give_back(struct consumer *consumer, struct slice reply, int64_t delay_ms)
{
	(void)nats_api_give_back(consumer->options.link, reply, delay_ms);
}

const struct consumer_counts *consumer_counts(const struct consumer *consumer)
{
	return &consumer->counts;
}
