/* SPDX-License-Identifier: Apache-2.0 */
/* The table of sinks. */
#include "receiver/sink/kinds.h"

#include "receiver/intake_internal.h"
#include "receiver/sink/federate.h"
#include "receiver/sink/push_gateway.h"

static void push_gateway_needs(
	const struct settings *settings, const void *own, struct sink_needs *needs)
{
	const struct push_gateway_settings *gateway = own;

	needs->max_age_ms = settings->max_age_ms;
	needs->timeout_ms = gateway->timeout_ms;
	needs->publisher_in_flight = (size_t)gateway->concurrency;
}

static struct sink *open_push_gateway(const struct sink_context *context, const void *own)
{
	return push_gateway_open(context, own);
}

/* Scrapes are taken as they come: nothing is ever in flight. */
static void federate_needs(
	const struct settings *settings, const void *own, struct sink_needs *needs)
{
	(void)own;
	needs->max_age_ms = settings->max_age_ms;
}

static struct sink *open_federate(const struct sink_context *context, const void *own)
{
	return federate_open(context, own, context->door);
}

const struct sink_kind sink_kinds[SINK_KIND_COUNT] = {
	[SINK_PUSH_GATEWAY] = {&intake_of_state, push_gateway_needs, open_push_gateway},
	[SINK_FEDERATE] = {&intake_of_passing, federate_needs, open_federate},
};
