/* SPDX-License-Identifier: Apache-2.0 */
/* The table of sinks. */
#include "receiver/sink/kinds.h"

#include "receiver/intake_internal.h"
#include "receiver/sink/federate.h"
#include "receiver/sink/files.h"
#include "receiver/sink/push_gateway.h"
#include "receiver/sink/remote_write.h"
#include "receiver/sink/victoriametrics.h"

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

static void remote_write_needs(
	const struct settings *settings, const void *own, struct sink_needs *needs)
{
	const struct remote_write_settings *write = own;

	(void)settings;
	needs->max_age_ms = write->max_age_ms;
	needs->timeout_ms = write->remote_timeout_ms;
	needs->publisher_in_flight = 0; /* shards bound them */
}

static struct sink *open_remote_write(const struct sink_context *context, const void *own)
{
	return remote_write_open(context, own);
}

static void victoriametrics_needs(
	const struct settings *settings, const void *own, struct sink_needs *needs)
{
	const struct victoriametrics_settings *victoria = own;

	(void)settings;
	needs->max_age_ms = victoria->max_age_ms;
	needs->timeout_ms = victoria->timeout_ms;
}

static struct sink *open_victoriametrics(const struct sink_context *context, const void *own)
{
	return victoriametrics_open(context, own);
}

static void files_needs(const struct settings *settings, const void *own, struct sink_needs *needs)
{
	const struct files_settings *files = own;

	(void)settings;
	needs->max_age_ms = files->max_age_ms;
}

static struct sink *open_files(const struct sink_context *context, const void *own)
{
	return files_open(context, own);
}

const struct sink_kind sink_kinds[SINK_KIND_COUNT] = {
	[SINK_PUSH_GATEWAY] = {&intake_of_state, push_gateway_needs, open_push_gateway},
	[SINK_FEDERATE] = {&intake_of_passing, federate_needs, open_federate},
	[SINK_REMOTE_WRITE] = {&intake_of_log, remote_write_needs, open_remote_write},
	[SINK_VICTORIAMETRICS] = {&intake_of_log, victoriametrics_needs, open_victoriametrics},
	[SINK_FILES] = {&intake_of_log, files_needs, open_files},
};
