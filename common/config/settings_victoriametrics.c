/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of the sink that brings scrapes to VictoriaMetrics. */
#include "common/config/settings_internal.h"
#include "common/config/settings_security.h"

#define HOUR_MS INT64_C(3600000)

static const struct config_key victoriametrics_keys[] = {
	{.name = "name",
		.type = CONFIG_STRING,
		CONFIG_AT(struct victoriametrics_settings, name),
		.max = NAME_MAX_LEN,
		.check = check_durable_part,
		.fallback_note = "`victoriametrics`, `victoriametrics_2`, ...",
		.flags = CONFIG_RESTART,
		.help = "Names the sink and its durable consumers."},
	{.name = "url",
		.type = CONFIG_STRING,
		CONFIG_AT(struct victoriametrics_settings, url),
		.flags = CONFIG_REQUIRED | CONFIG_EXPAND | CONFIG_SECRET | CONFIG_RESTART,
		.check = check_victoriametrics_url,
		.help = "VictoriaMetrics, vmagent or vminsert with its tenant's path; "
			"`/api/v1/import/prometheus` is added to it."},
	{.name = "publisher_label",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct victoriametrics_settings, publisher_label),
		.fallback = "true",
		.flags = CONFIG_RESTART,
		.help = "Whether each series gets the label `publisher`, which keeps apart the "
			"same job and instance of several data centres."},
	{.name = "max_samples_per_send",
		.type = CONFIG_INT,
		CONFIG_AT(struct victoriametrics_settings, max_samples_per_send),
		.fallback = "10000",
		.min = 1,
		.max = 1000000,
		.help = "A request is sent once it holds so many samples; a scrape is never "
			"divided."},
	{.name = "batch_send_deadline",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct victoriametrics_settings, batch_send_deadline_ms),
		.fallback = "1s",
		.min = 1,
		.max = HOUR_MS / 60,
		.help = "How long a scrape may wait for others to share its request."},
	{.name = "concurrency",
		.type = CONFIG_INT,
		CONFIG_AT(struct victoriametrics_settings, concurrency),
		.fallback = "4",
		.min = 1,
		.max = 64,
		.help = "How many requests may be under way at once."},
	{.name = "timeout",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct victoriametrics_settings, timeout_ms),
		.fallback = "30s",
		.min = 100,
		.max = HOUR_MS,
		.help = "How long a request may take."},
	{.name = "min_backoff",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct victoriametrics_settings, min_backoff_ms),
		.fallback = "30ms",
		.min = 1,
		.max = HOUR_MS,
		.help = "How long to wait after a failure at first; doubled with each further "
			"one."},
	{.name = "max_backoff",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct victoriametrics_settings, max_backoff_ms),
		.fallback = "5s",
		.min = 1,
		.max = HOUR_MS,
		.help = "And at most."},
	{.name = "max_age",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct victoriametrics_settings, max_age_ms),
		.fallback = "0",
		.flags = CONFIG_SECONDS,
		.help = "Scrapes older than this are not delivered any more. 0, which is the "
			"default for this sink, delivers all that the stream has."},
	HTTP_CLIENT_KEYS(struct victoriametrics_settings, CONFIG_RESTART),
};

static void check_victoriametrics(struct config_object *object)
{
	const struct victoriametrics_settings *own = object->value;

	check_http_client(object);
	if (own->min_backoff_ms > own->max_backoff_ms)
		config_error_at(
			object->config, object->position, "min_backoff is longer than max_backoff");
}

const struct config_table victoriametrics_table = {
	.title = "VictoriaMetrics",
	KEYS(victoriametrics_keys),
	.size = sizeof(struct victoriametrics_settings),
	POSITION(struct victoriametrics_settings),
	NO_NAME,
	NO_PRESENT,
	.check = check_victoriametrics,
};
