/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of the streams: what the poller writes and the receiver reads. */
#include "common/config/settings_security.h"

static const char *const storages[] = {"file", "memory", NULL};
static const char *const discards[] = {"old", "new", NULL};

#define STREAM_KEYS                                                                                \
	{.name = "urls",                                                                           \
		.type = CONFIG_STRINGS,                                                            \
		CONFIG_AT(struct stream_settings, urls),                                           \
		.flags = CONFIG_REQUIRED | CONFIG_EXPAND | CONFIG_SECRET | CONFIG_COMMA |          \
			 CONFIG_RESTART,                                                           \
		.check = check_nats_url,                                                           \
		.help = "The NATS servers, nats:// or tls://, as a comma list or a YAML list. "    \
			"May "                                                                     \
			"hold user:password@."},                                                   \
		{.name = "stream",                                                                 \
			.type = CONFIG_STRING,                                                     \
			CONFIG_AT(struct stream_settings, stream),                                 \
			.check = check_stream_name,                                                \
			.fallback_note = "required, unless `cluster_id` is given",                 \
			.flags = CONFIG_RESTART,                                                   \
			.help = "The name of the JetStream stream."},                              \
		{.name = "cluster_id",                                                             \
			.type = CONFIG_STRING,                                                     \
			CONFIG_AT(struct stream_settings, stream),                                 \
			.flags = CONFIG_ALIAS,                                                     \
			.check = check_stream_name,                                                \
			.help = "The older spelling of `stream`."},                                \
	{                                                                                          \
		.name = "topic", .type = CONFIG_STRING, CONFIG_AT(struct stream_settings, topic),  \
		.fallback = "prometheus", .max = 128, .flags = CONFIG_RESTART,                     \
		.check = check_topic,                                                              \
		.help = "The first token or tokens of all subjects; the stream takes `<topic>` "   \
			"and "                                                                     \
			"`<topic>.>`."                                                             \
	}

static const struct config_key poller_stream_keys[] = {
	STREAM_KEYS,
	NATS_SECURITY_KEYS,
	{.name = "client_id",
		.type = CONFIG_STRING,
		CONFIG_AT(struct stream_settings, client_id),
		.max = NAME_MAX_LEN,
		.check = check_durable_part,
		.fallback_note = "the identity",
		.flags = CONFIG_RESTART,
		.help = "What the NATS server's monitoring calls this poller's connection."},
	{.name = "create",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct stream_settings, create),
		.fallback = "false",
		.flags = CONFIG_RESTART,
		.help = "Whether to create the stream, with the settings below, where it is "
			"missing. "
			"An existing one is never altered."},
	{.name = "storage",
		.type = CONFIG_ENUM,
		CONFIG_AT(struct stream_settings, storage),
		.fallback = "file",
		.choices = storages,
		.flags = CONFIG_RESTART,
		.help = "Where a created stream keeps its messages."},
	{.name = "discard",
		.type = CONFIG_ENUM,
		CONFIG_AT(struct stream_settings, discard),
		.fallback = "old",
		.choices = discards,
		.flags = CONFIG_RESTART,
		.help = "What a created stream does when it is full: drop the oldest message or "
			"refuse the new one."},
	{.name = "max_age",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct stream_settings, stream_max_age_ms),
		.fallback = "1h",
		.flags = CONFIG_SECONDS | CONFIG_RESTART,
		.help = "How long a created stream keeps a message. 0 is for ever."},
	{.name = "max_msgs_per_subject",
		.type = CONFIG_INT,
		CONFIG_AT(struct stream_settings, max_msgs_per_subject),
		.fallback = "-1",
		.min = -1,
		.max = INT64_MAX,
		.flags = CONFIG_RESTART,
		.help = "How many messages of one target a created stream keeps. -1 is no limit."},
	{.name = "max_bytes",
		.type = CONFIG_SIZE,
		CONFIG_AT(struct stream_settings, max_bytes),
		.fallback = "-1",
		.min = -1,
		.max = INT64_MAX,
		.flags = CONFIG_RESTART,
		.help = "How large a created stream may become. -1 is no limit."},
	{.name = "duplicate_window",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct stream_settings, duplicate_window_ms),
		.fallback_note = "`2m`, at most `max_age`",
		.min = 100,
		.max = INT64_MAX,
		.flags = CONFIG_RESTART,
		.help = "How long a created stream remembers message ids, so that a message sent "
			"again is stored once. Never above `max_age`."},
	{.name = "replicas",
		.type = CONFIG_INT,
		CONFIG_AT(struct stream_settings, replicas),
		.fallback = "1",
		.min = 1,
		.max = 5,
		.flags = CONFIG_RESTART,
		.help = "How many servers of a cluster hold a created stream."},
};

const struct config_table poller_stream_table = {
	.title = "The poller's stream",
	KEYS(poller_stream_keys),
	.size = sizeof(struct stream_settings),
	POSITION(struct stream_settings),
	.present_offset = offsetof(struct stream_settings, present),
	NO_NAME,
	.check = check_poller_stream,
};

static const struct config_key receiver_stream_keys[] = {
	STREAM_KEYS,
	NATS_SECURITY_KEYS,
	{.name = "client_id",
		.type = CONFIG_STRING,
		CONFIG_AT(struct stream_settings, client_id),
		.flags = CONFIG_REQUIRED | CONFIG_RESTART,
		.max = NAME_MAX_LEN,
		.check = check_durable_part,
		.help = "Names the durable consumers, `<client_id>_<sink>`: unique to each "
			"receiver "
			"of "
			"a stream, and the same after a restart."},
	{.name = "filter",
		.type = CONFIG_STRINGS,
		CONFIG_AT(struct stream_settings, filter),
		.check = check_name,
		.fallback_note = "all",
		.flags = CONFIG_RESTART,
		.help = "The publishers to receive; each gets a consumer of its own."},
	{.name = "legacy",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct stream_settings, legacy),
		.fallback_note = "true if `cluster_id` is given, else false",
		.flags = CONFIG_RESTART,
		.help = "Whether to consume also what the original program publishes on "
			"`<topic>`."},
};

const struct config_table receiver_stream_table = {
	.title = "The receiver's stream",
	KEYS(receiver_stream_keys),
	.size = sizeof(struct stream_settings),
	POSITION(struct stream_settings),
	.present_offset = offsetof(struct stream_settings, present),
	NO_NAME,
	.check = check_receiver_stream,
};
