/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of remote_write, with Prometheus' names and, but for max_shards, its defaults. */
#include "common/config/settings_security.h"

#define DAY_MS (INT64_C(24) * 3600 * 1000)

static const char *const messages[] = {
	"prometheus.WriteRequest", "io.prometheus.write.v2.Request", NULL};

static void check_queue(struct config_object *object)
{
	struct remote_write_queue_settings *queue = object->value;

	if (queue->min_shards > queue->max_shards)
		config_error_at(object->config, config_position(object, "min_shards"),
			"min_shards is above max_shards");
	if (queue->min_backoff_ms > queue->max_backoff_ms)
		config_error_at(object->config, config_position(object, "min_backoff"),
			"min_backoff is longer than max_backoff");
}

static const struct config_key queue_keys[] = {
	{.name = "capacity",
		.type = CONFIG_INT,
		CONFIG_AT(struct remote_write_queue_settings, capacity),
		.fallback = "10000",
		.min = 1,
		.max = 10000000,
		.help = "How many samples may wait in each shard. While all shards are full, "
			"nothing more is taken: the stream holds it."},
	{.name = "max_shards",
		.type = CONFIG_INT,
		CONFIG_AT(struct remote_write_queue_settings, max_shards),
		.fallback = "10",
		.min = 1,
		.max = 1000,
		.help = "How many shards there may be, each with one request under way. Another is "
			"used only where the others are full. Prometheus has 50, as it has to keep "
			"up or lose samples; here the stream waits."},
	{.name = "min_shards",
		.type = CONFIG_INT,
		CONFIG_AT(struct remote_write_queue_settings, min_shards),
		.fallback = "1",
		.min = 1,
		.max = 1000,
		.help = "How many shards are used from the start. All samples of a target go "
			"through one, so that they arrive in order."},
	{.name = "max_samples_per_send",
		.type = CONFIG_INT,
		CONFIG_AT(struct remote_write_queue_settings, max_samples_per_send),
		.fallback = "2000",
		.min = 1,
		.max = 1000000,
		.help = "How many samples a request may hold."},
	{.name = "batch_send_deadline",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct remote_write_queue_settings, batch_send_deadline_ms),
		.fallback = "5s",
		.min = 1,
		.max = DAY_MS,
		.help = "How long a sample waits at most for a request to be full."},
	{.name = "min_backoff",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct remote_write_queue_settings, min_backoff_ms),
		.fallback = "30ms",
		.min = 1,
		.max = DAY_MS,
		.help = "How long to wait before the first retry. The bound doubles with each, up "
			"to `max_backoff`; `Retry-After` is honoured up to 5m."},
	{.name = "max_backoff",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct remote_write_queue_settings, max_backoff_ms),
		.fallback = "5s",
		.min = 1,
		.max = DAY_MS,
		.help = "The longest wait before a retry."},
	{.name = "retry_on_http_429",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct remote_write_queue_settings, retry_on_http_429),
		.fallback = "false",
		.help = "Whether samples that are answered by 429 (too many requests) are sent "
			"again; else they are dropped as after any other 4xx."},
	{.name = "sample_age_limit",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct remote_write_queue_settings, sample_age_limit_ms),
		.fallback = "0s",
		.min = 0,
		.max = 366 * DAY_MS,
		.help = "Samples older than this are left out of requests. 0 is no limit."},
};

static const struct config_table queue_table = {
	.title = "Remote write queues",
	KEYS(queue_keys),
	.size = sizeof(struct remote_write_queue_settings),
	NO_POSITION,
	NO_NAME,
	NO_PRESENT,
	.check = check_queue,
};

static const struct config_key metadata_keys[] = {
	{.name = "send",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct remote_write_metadata_settings, send),
		.fallback = "true",
		.help = "Whether what HELP and TYPE say is sent, too. In 2.0 it always goes with "
			"the samples."},
	{.name = "send_interval",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct remote_write_metadata_settings, send_interval_ms),
		.fallback = "1m",
		.min = 100,
		.max = DAY_MS,
		.help = "How often it is sent, all of it."},
	{.name = "max_samples_per_send",
		.type = CONFIG_INT,
		CONFIG_AT(struct remote_write_metadata_settings, max_samples_per_send),
		.fallback = "2000",
		.min = 1,
		.max = 1000000,
		.help = "How many families a request may hold."},
};

static const struct config_table metadata_table = {
	.title = "Remote write metadata",
	KEYS(metadata_keys),
	.size = sizeof(struct remote_write_metadata_settings),
	NO_POSITION,
	NO_NAME,
	NO_PRESENT,
};

static const struct config_key remote_write_keys[] = {
	{.name = "name",
		.type = CONFIG_STRING,
		CONFIG_AT(struct remote_write_settings, name),
		.max = NAME_MAX_LEN,
		.check = check_durable_part,
		.fallback_note = "`remote_write`, `remote_write_2`, ...",
		.flags = CONFIG_RESTART,
		.help = "Names the sink and its durable consumers."},
	{.name = "url",
		.type = CONFIG_STRING,
		CONFIG_AT(struct remote_write_settings, url),
		.flags = CONFIG_REQUIRED | CONFIG_EXPAND | CONFIG_SECRET | CONFIG_RESTART,
		.check = check_http_url,
		.help = "Where to POST to, http or https, with its path: "
			"`http://prometheus:9090/api/v1/write`."},
	{.name = "protobuf_message",
		.type = CONFIG_ENUM,
		CONFIG_AT(struct remote_write_settings, protobuf_message),
		.fallback = "prometheus.WriteRequest",
		.choices = messages,
		.flags = CONFIG_RESTART,
		.help = "`prometheus.WriteRequest` is version 1.0 of the protocol, "
			"`io.prometheus.write.v2.Request` is 2.0; an endpoint that does not take "
			"that gets 1.0."},
	{.name = "remote_timeout",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct remote_write_settings, remote_timeout_ms),
		.fallback = "30s",
		.min = 100,
		.max = DAY_MS,
		.help = "How long a request may take."},
	{.name = "max_age",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct remote_write_settings, max_age_ms),
		.fallback = "0",
		.flags = CONFIG_SECONDS,
		.help = "Scrapes older than this are not sent any more: a number of seconds or a "
			"duration. 0: all that the stream has are sent, in order."},
	{.name = "publisher_label",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct remote_write_settings, publisher_label),
		.fallback = "true",
		.flags = CONFIG_RESTART,
		.help = "Whether all series get the label `publisher`, which keeps apart the same "
			"job and instance of several data centres."},
	{.name = "queue_config",
		.type = CONFIG_SECTION,
		CONFIG_AT(struct remote_write_settings, queue),
		.flags = CONFIG_FILLED,
		.table = &queue_table,
		.help = "How samples wait and are sent."},
	{.name = "metadata_config",
		.type = CONFIG_SECTION,
		CONFIG_AT(struct remote_write_settings, metadata),
		.flags = CONFIG_FILLED,
		.table = &metadata_table,
		.help = "How what HELP and TYPE say is sent."},
	HTTP_CLIENT_KEYS(struct remote_write_settings, CONFIG_RESTART),
};

static void check_remote_write(struct config_object *object)
{
	const struct remote_write_settings *own = object->value;
	const char *scheme_end = own->url == NULL ? NULL : strstr(own->url, "://");

	check_http_client(object);
	if (scheme_end != NULL && scheme_end[3 + strcspn(scheme_end + 3, "/?#")] == '\0')
		config_warn_at(object->config, config_position(object, "url"),
			"url: has no path; Prometheus takes remote write at /api/v1/write");
}

const struct config_table remote_write_table = {
	.title = "Remote write",
	KEYS(remote_write_keys),
	.size = sizeof(struct remote_write_settings),
	POSITION(struct remote_write_settings),
	NO_NAME,
	NO_PRESENT,
	.check = check_remote_write,
};
