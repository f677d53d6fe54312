/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of the Push Gateway sink. */
#include "common/config/settings_security.h"

#define HOUR_MS INT64_C(3600000)

static const struct config_key push_gateway_keys[] = {
	{.name = "name",
		.type = CONFIG_STRING,
		CONFIG_AT(struct push_gateway_settings, name),
		.max = NAME_MAX_LEN,
		.check = check_durable_part,
		.fallback_note = "`push_gateway`, `push_gateway_2`, ...",
		.flags = CONFIG_RESTART,
		.help = "Names the sink and its durable consumers."},
	{.name = "url",
		.type = CONFIG_STRING,
		CONFIG_AT(struct push_gateway_settings, url),
		.flags = CONFIG_REQUIRED | CONFIG_EXPAND | CONFIG_SECRET | CONFIG_RESTART,
		.check = check_gateway_url,
		.help = "The gateway, http or https, with its route prefix if it has one."},
	{.name = "publisher_label",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct push_gateway_settings, publisher_label),
		.fallback = "false",
		.flags = CONFIG_RESTART,
		.help = "Whether each group gets the label `publisher`, which keeps apart the same "
			"job and instance of several data centres."},
	{.name = "delete_stale",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct push_gateway_settings, delete_stale),
		.fallback = "true",
		.help = "Whether the groups of targets that have fallen silent, or that their "
			"poller has removed, are deleted."},
	{.name = "concurrency",
		.type = CONFIG_INT,
		CONFIG_AT(struct push_gateway_settings, concurrency),
		.fallback = "2",
		.min = 1,
		.max = 256,
		.help = "How many pushes may be under way at once. A gateway checks one push after "
			"the other: more than a few only wait there."},
	{.name = "timeout",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct push_gateway_settings, timeout_ms),
		.fallback = "40s",
		.min = 100,
		.max = HOUR_MS,
		.help = "How long a push may take. Half of the default `max_age`: a busy gateway "
			"needs long, and giving up early only makes it repeat the work."},
	{.name = "survey_interval",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct push_gateway_settings, survey_interval_ms),
		.fallback = "5m",
		.min = 0,
		.max = 24 * HOUR_MS,
		.help = "How often to read what the gateway holds, to notice a quick restart and "
			"what others push or delete there; never more than a hundredth of the "
			"time. 0: only at the start and after failures."},
	{.name = "utf8_names",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct push_gateway_settings, utf8_names),
		.fallback = "false",
		.help = "Whether quoted (UTF-8) names are pushed as they are, for gateways from "
			"1.11 "
			"on with `--push.enable-utf8-names`; else in `U__` escaping."},
	HTTP_CLIENT_KEYS(struct push_gateway_settings, CONFIG_RESTART),
};

const struct config_table push_gateway_table = {
	.title = "Push Gateway",
	KEYS(push_gateway_keys),
	.size = sizeof(struct push_gateway_settings),
	POSITION(struct push_gateway_settings),
	NO_NAME,
	NO_PRESENT,
	.check = check_http_client,
};
