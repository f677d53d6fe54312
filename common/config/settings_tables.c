/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key of the configuration, once. Order matters: what other rows inherit or compare with
 * comes before them, and --print-config and the reference follow it. docs/configuration.md and the
 * samples in etc/ are tested against these rows.
 */
#include "common/config/settings_internal.h"
#include "common/config/settings_security.h"

#define MB           (INT64_C(1) << 20)
#define GB           (INT64_C(1) << 30)
#define MINUTE_MS    INT64_C(60000)
#define HOUR_MS      (60 * MINUTE_MS)
#define NAME_MAX_LEN 64 /* of what durables are named after: NATS takes 255 bytes in all */
#define FOR_POLLER   SETTINGS_AUDIENCE(SETTINGS_FOR_POLLER)
#define FOR_RECEIVER SETTINGS_AUDIENCE(SETTINGS_FOR_RECEIVER)

static const char *const askings[] = {"auto", "true", "false", NULL};
static const char *const compressions[] = {"passthrough", "gzip", "zstd", "delta", NULL};
static const char *const storages[] = {"file", "memory", NULL};
static const char *const discards[] = {"old", "new", NULL};

static const struct config_key param_keys[] = {
	{.name = "params",
		.type = CONFIG_STRINGS,
		CONFIG_AT(struct param_settings, values),
		.flags = CONFIG_SECRET,
		.help = "The values of the parameter."},
};

static const struct config_table param_table = {
	KEYS(param_keys),
	.size = sizeof(struct param_settings),
	.name_offset = offsetof(struct param_settings, name),
	NO_POSITION,
	NO_PRESENT,
	.bare = true,
};

static const struct config_key address_keys[] = {
	{.name = "targets",
		.type = CONFIG_STRING,
		CONFIG_AT(struct written_address, address),
		.flags = CONFIG_REQUIRED,
		.check = check_address,
		.help = "One host:port."},
};

static const struct config_table address_table = {
	KEYS(address_keys),
	.size = sizeof(struct written_address),
	POSITION(struct written_address),
	NO_NAME,
	NO_PRESENT,
	.bare = true,
};

static const struct config_key group_keys[] = {
	{.name = "targets",
		.type = CONFIG_LIST,
		CONFIG_AT(struct written_group, addresses),
		COUNTED(struct written_group, address_count),
		.flags = CONFIG_REQUIRED,
		.table = &address_table,
		.help = "host:port of each target. `scheme`, `metrics_path` and `params` of the "
			"job make the URL, and host:port is the instance."},
	{.name = "labels",
		.type = CONFIG_LABELS,
		CONFIG_AT(struct written_group, labels),
		.check = check_label_name,
		.help = "Labels that all series of these targets get. A label `instance` replaces "
			"host:port."},
};

static const struct config_table group_table = {
	.title = "Targets in Prometheus' form",
	KEYS(group_keys),
	.size = sizeof(struct written_group),
	NO_POSITION,
	NO_NAME,
	NO_PRESENT,
};

static const struct config_key target_keys[] = {
	{.name = "name",
		.type = CONFIG_STRING,
		CONFIG_AT(struct written_target, name),
		.check = check_name,
		.fallback_note = "host:port of the URL",
		.help = "The target's `instance`."},
	{.name = "url",
		.type = CONFIG_STRING,
		CONFIG_AT(struct written_target, url),
		.flags = CONFIG_REQUIRED | CONFIG_EXPAND | CONFIG_SECRET,
		.check = check_http_url,
		.help = "What to scrape, http or https, used as it stands. Without a path it gets "
			"the job's `metrics_path`; the job's `params` are added to its query."},
	{.name = "labels",
		.type = CONFIG_LABELS,
		CONFIG_AT(struct written_target, labels),
		.check = check_label_name,
		.help = "Labels that all series of this target get."},
};

static const struct config_table target_table = {
	.title = "Targets",
	KEYS(target_keys),
	.size = sizeof(struct written_target),
	POSITION(struct written_target),
	NO_NAME,
	NO_PRESENT,
};

static const struct config_key job_keys[] = {
	{.name = "job_name",
		.type = CONFIG_STRING,
		CONFIG_AT(struct job_settings, name),
		.flags = CONFIG_ALIAS,
		.check = check_name,
		.fallback_note = "required in `scrape_configs`",
		.help = "The job's name in `scrape_configs`; in `jobs` it is the key that the job "
			"stands under."},
	{.name = "scrape_interval",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct job_settings, scrape_interval_ms),
		.min = 10,
		.max = INT64_MAX,
		.flags = CONFIG_INHERIT,
		.help = "How often each target is scraped."},
	{.name = "scrape_timeout",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct job_settings, scrape_timeout_ms),
		.min = 10,
		.max = INT64_MAX,
		.fallback_note = "the global one, at most the interval",
		.help = "How long a scrape may take, from connecting to the last byte. Never above "
			"`scrape_interval`."},
	{.name = "metrics_path",
		.type = CONFIG_STRING,
		CONFIG_AT(struct job_settings, metrics_path),
		.flags = CONFIG_INHERIT,
		.check = check_metrics_path,
		.help = "The path of targets that are given without one."},
	{.name = "scheme",
		.type = CONFIG_STRING,
		CONFIG_AT(struct job_settings, scheme),
		.flags = CONFIG_INHERIT,
		.check = check_scheme,
		.help = "http or https, for the targets of `static_configs`."},
	{.name = "params",
		.type = CONFIG_MAP,
		CONFIG_AT(struct job_settings, params),
		COUNTED(struct job_settings, param_count),
		.fallback_note = "the global ones",
		.table = &param_table,
		.help = "Query parameters, each with a list of values; instead of the global "
			"ones."},
	{.name = "body_size_limit",
		.type = CONFIG_SIZE,
		CONFIG_AT(struct job_settings, body_size_limit_bytes),
		.flags = CONFIG_INHERIT,
		.help = "A scrape whose body is this large or larger once decompressed fails. 0 is "
			"no limit."},
	{.name = "honor_labels",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct job_settings, honor_labels),
		.flags = CONFIG_INHERIT,
		.help = "Whether a label of the scraped series wins over the target's label of the "
			"same name; otherwise it is kept as `exported_<name>`."},
	{.name = "enable_compression",
		.type = CONFIG_ENUM,
		CONFIG_AT(struct job_settings, enable_compression),
		.flags = CONFIG_INHERIT,
		.choices = askings,
		.help = "Whether targets are asked for gzip; `auto`: unless `compression` is "
			"`delta`."},
	HTTP_CLIENT_KEYS(struct job_settings, 0),
	{.name = "targets",
		.type = CONFIG_LIST,
		CONFIG_AT(struct job_settings, written_targets),
		COUNTED(struct job_settings, written_target_count),
		.table = &target_table,
		.help = "Targets as `{name, url, labels}`."},
	{.name = "static_configs",
		.type = CONFIG_LIST,
		CONFIG_AT(struct job_settings, written_groups),
		COUNTED(struct job_settings, written_group_count),
		.table = &group_table,
		.help = "Targets as `{targets: [host:port, ...], labels}`."},
};

static const struct config_table job_table = {
	.title = "Jobs",
	KEYS(job_keys),
	.size = sizeof(struct job_settings),
	POSITION(struct job_settings),
	.name_offset = offsetof(struct job_settings, name),
	NO_PRESENT,
	.check = check_job,
	.fini = job_fini,
};

/* The same members as at the top level, for what is pasted from a prometheus.yml. */
static const struct config_key global_keys[] = {
	{.name = "scrape_interval",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct settings, scrape_interval_ms),
		.min = 10,
		.max = INT64_MAX,
		.flags = CONFIG_ALIAS,
		.fallback_note = "that of the top level",
		.help = "The same as `scrape_interval` at the top level."},
	{.name = "scrape_timeout",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct settings, scrape_timeout_ms),
		.min = 10,
		.max = INT64_MAX,
		.flags = CONFIG_ALIAS,
		.fallback_note = "that of the top level",
		.help = "The same as `scrape_timeout` at the top level."},
	{.name = "body_size_limit",
		.type = CONFIG_SIZE,
		CONFIG_AT(struct settings, body_size_limit_bytes),
		.flags = CONFIG_ALIAS,
		.fallback_note = "that of the top level",
		.help = "The same as `body_size_limit` at the top level."},
};

static const struct config_table global_table = {
	.title = "Prometheus' global section",
	KEYS(global_keys),
	.size = sizeof(struct settings),
	NO_POSITION,
	NO_NAME,
	NO_PRESENT,
	.check = check_global,
};

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

static const struct config_table poller_stream_table = {
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

static const struct config_table receiver_stream_table = {
	.title = "The receiver's stream",
	KEYS(receiver_stream_keys),
	.size = sizeof(struct stream_settings),
	POSITION(struct stream_settings),
	.present_offset = offsetof(struct stream_settings, present),
	NO_NAME,
	.check = check_receiver_stream,
};

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

static const struct config_table push_gateway_table = {
	.title = "Push Gateway",
	KEYS(push_gateway_keys),
	.size = sizeof(struct push_gateway_settings),
	POSITION(struct push_gateway_settings),
	NO_NAME,
	NO_PRESENT,
	.check = check_http_client,
};

static const struct config_key settings_keys[] = {
	{.name = "verbose",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct settings, verbose),
		.fallback = "true",
		.help = "Whether to log what is done (level info); otherwise only warnings and "
			"errors."},
	{.name = "debug",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct settings, debug),
		.fallback = "false",
		.help = "Whether to log at level debug."},
	{.name = "logfile",
		.type = CONFIG_STRING,
		CONFIG_AT(struct settings, logfile),
		.fallback = "",
		.fallback_note = "standard error",
		.flags = CONFIG_EXPAND | CONFIG_EMPTY | CONFIG_RESTART,
		.help = "The file that log lines are appended to; opened again on SIGHUP."},
	{.name = "identity",
		.type = CONFIG_STRING,
		CONFIG_AT(struct settings, identity),
		.flags = CONFIG_EXPAND | CONFIG_RESTART,
		.audience = FOR_POLLER,
		.check = check_name,
		.fallback_note = "the host name",
		.help = "The publisher: the name of this poller, or of its data centre, in the "
			"subjects of all it publishes. One poller per identity."},
	{.name = "monitor_address",
		.type = CONFIG_STRING,
		CONFIG_AT(struct settings, monitor_address),
		.fallback = "127.0.0.1",
		.check = check_ip_address,
		.flags = CONFIG_RESTART,
		.help = "The IP address that the monitor port is bound to."},
	{.name = "monitor_port",
		.type = CONFIG_INT,
		CONFIG_AT(struct settings, monitor_port),
		.fallback = "0",
		.min = 0,
		.max = 65535,
		.flags = CONFIG_RESTART,
		.help = "Where /metrics, /-/healthy and /-/ready are served; a poller with a "
			"monitor "
			"port also scrapes itself. 0 is none."},
	FILE_KEY("web_config_file", struct settings, web_config_file, CONFIG_RESTART,
		"The path of a file in the format of Prometheus' web.config.file, with TLS "
		"(tls_server_config: cert_file, key_file, client_ca_file, client_auth_type) and "
		"users (basic_auth_users, with bcrypt hashes) of the monitor port. What is in it, "
		"and the files that it names, are read again within seconds of a change. "
		"`--web.config.file` goes before this path."),
	{.name = "shutdown_timeout",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct settings, shutdown_timeout_ms),
		.fallback = "10s",
		.min = 0,
		.max = HOUR_MS,
		.help = "How long a stop may wait for what is under way; a poller with scrapes "
			"left waits so long for a NATS server that is away, too. A second signal "
			"stops at once."},
	{.name = "max_age",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct settings, max_age_ms),
		.fallback = "80s",
		.flags = CONFIG_SECONDS,
		.help = "Scrapes older than this are not delivered any more: a number of seconds "
			"or "
			"a duration. 0 turns the check off."},
	{.name = "scrape_interval",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct settings, scrape_interval_ms),
		.fallback = "1m",
		.min = 10,
		.max = INT64_MAX,
		.audience = FOR_POLLER,
		.help = "How often targets are scraped where their job does not say it."},
	{.name = "scrape_timeout",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct settings, scrape_timeout_ms),
		.fallback_note = "`10s`, at most the interval",
		.min = 10,
		.max = INT64_MAX,
		.audience = FOR_POLLER,
		.help = "How long a scrape may take where its job does not say it. Never above "
			"`scrape_interval`; a job with a shorter interval gets that."},
	{.name = "body_size_limit",
		.type = CONFIG_SIZE,
		CONFIG_AT(struct settings, body_size_limit_bytes),
		.fallback = "16MB",
		.audience = FOR_POLLER,
		.help = "A scrape whose body is this large or larger once decompressed fails. 0 is "
			"no limit."},
	{.name = "metrics_path",
		.type = CONFIG_STRING,
		CONFIG_AT(struct settings, metrics_path),
		.fallback = "/metrics",
		.check = check_metrics_path,
		.audience = FOR_POLLER,
		.help = "The path of targets that are given without one."},
	{.name = "scheme",
		.type = CONFIG_STRING,
		CONFIG_AT(struct settings, scheme),
		.fallback = "http",
		.check = check_scheme,
		.audience = FOR_POLLER,
		.help = "http or https, for the targets of `static_configs`."},
	{.name = "params",
		.type = CONFIG_MAP,
		CONFIG_AT(struct settings, params),
		COUNTED(struct settings, param_count),
		.table = &param_table,
		.audience = FOR_POLLER,
		.help = "Query parameters of every scrape, each with a list of values."},
	{.name = "honor_labels",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct settings, honor_labels),
		.fallback = "false",
		.audience = FOR_POLLER,
		.help = "Whether a label of the scraped series wins over the target's label of the "
			"same name; otherwise it is kept as `exported_<name>`."},
	{.name = "enable_compression",
		.type = CONFIG_ENUM,
		CONFIG_AT(struct settings, enable_compression),
		.fallback = "auto",
		.choices = askings,
		.audience = FOR_POLLER,
		.help = "Whether targets are asked for gzip; `auto`: unless `compression` is "
			"`delta`, since gzip costs the target more than all that the poller does."},
	{.name = "global",
		.type = CONFIG_SECTION,
		.offset = 0,
		.size = sizeof(struct settings),
		.flags = CONFIG_ALIAS,
		.table = &global_table,
		.audience = FOR_POLLER,
		.help = "Prometheus' place for what stands at the top level here."},
	{.name = "compression",
		.type = CONFIG_ENUM,
		CONFIG_AT(struct settings, compression),
		.fallback = "delta",
		.choices = compressions,
		.audience = FOR_POLLER,
		.help = "How scrapes are encoded: as the target sent them, compressed by the "
			"poller, or as what differs from a keyframe, a whole scrape of the target "
			"published now and then."},
	{.name = "keyframe_interval",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct settings, keyframe_interval_ms),
		.fallback = "0",
		.fallback_note = "`15m`, or 40 scrapes of the target if that is longer",
		.min = 0,
		.max = 366 * 24 * HOUR_MS,
		.audience = FOR_POLLER,
		.help = "With `delta`, how often each target gets a new keyframe at least. Never "
			"above half of what the stream keeps."},
	{.name = "keyframe_memory",
		.type = CONFIG_SIZE,
		CONFIG_AT(struct settings, keyframe_memory_bytes),
		.fallback = "128MB",
		.min = MB,
		.max = INT64_MAX,
		.help = "How much memory keyframes may take: about a compressed scrape for each "
			"target, and what is left for decoded ones, which saves time. A poller "
			"publishes the scrapes of targets beyond it whole; a receiver gives up "
			"the keyframes used longest ago, and looks them up again when they are "
			"referred to."},
	{.name = "queue_bytes",
		.type = CONFIG_SIZE,
		CONFIG_AT(struct settings, queue_bytes),
		.fallback = "64MB",
		.min = MB,
		.max = INT64_MAX,
		.audience = FOR_POLLER,
		.help = "How much may wait in the poller's memory, for NATS or for its "
			"acknowledgement; beyond it the oldest scrapes are dropped and counted."},
	{.name = "max_unacked",
		.type = CONFIG_INT,
		CONFIG_AT(struct settings, max_unacked),
		.fallback = "1000",
		.min = 1,
		.max = 100000,
		.audience = FOR_POLLER,
		.help = "How many publishes may wait for the stream's acknowledgement at once."},
	{.name = "max_message_bytes",
		.type = CONFIG_SIZE,
		CONFIG_AT(struct settings, max_message_bytes),
		.fallback = "0",
		.max = 64 * MB,
		.audience = FOR_POLLER,
		.help = "The largest message to publish; a scrape beyond it is published as "
			"failed. "
			"0 is what the server takes."},
	{.name = "max_scrape_bytes",
		.type = CONFIG_SIZE,
		CONFIG_AT(struct settings, max_scrape_bytes),
		.fallback = "16MB",
		.min = 1024,
		.max = GB,
		.audience = FOR_RECEIVER,
		.help = "The largest scrape, once decompressed, that the receiver takes."},
	{.name = "max_targets_per_publisher",
		.type = CONFIG_INT,
		CONFIG_AT(struct settings, max_targets_per_publisher),
		.fallback = "20000",
		.min = 1,
		.max = 10000000,
		.audience = FOR_RECEIVER,
		.help = "How many targets of one publisher the receiver takes; further ones are "
			"dropped and counted. All targets that come in envelopes of the original "
			"program count as those of one publisher, as anybody who may send them can "
			"name any: with more of them than this, raise it."},
	{.name = "max_publisher_bytes",
		.type = CONFIG_SIZE,
		CONFIG_AT(struct settings, max_publisher_bytes),
		.fallback = "256MB",
		.min = MB,
		.max = 1024 * GB,
		.audience = FOR_RECEIVER,
		.help = "How much memory of the receiver one publisher may take: its targets, "
			"their scrapes waiting or on their way, its groups at the gateway, and "
			"in /federate all its series, some 55 bytes each. "
			"Beyond it what arrives is dropped and counted. All publishers together "
			"get eight times as much, then each an equal part."},
	{.name = "tls",
		.type = CONFIG_SECTION,
		CONFIG_AT(struct settings, tls),
		.flags = CONFIG_RESTART,
		.table = &nats_tls_table,
		.help = "TLS of the connections to NATS, where a stream has no `tls` of its own."},
	{.name = "poller_stream",
		.type = CONFIG_SECTION,
		CONFIG_AT(struct settings, poller_stream),
		.table = &poller_stream_table,
		.audience = FOR_POLLER,
		.help = "The stream that the poller publishes to; required by the poller."},
	{.name = "receiver_stream",
		.type = CONFIG_SECTION,
		CONFIG_AT(struct settings, receiver_stream),
		.table = &receiver_stream_table,
		.audience = FOR_RECEIVER,
		.help = "The stream that the receiver reads; required by the receiver."},
	{.name = "push_gateway",
		.type = CONFIG_LIST,
		CONFIG_AT(struct settings, push_gateways),
		COUNTED(struct settings, push_gateway_count),
		.flags = CONFIG_SINGLE | CONFIG_FIXED_ITEMS,
		.table = &push_gateway_table,
		.audience = FOR_RECEIVER,
		.help = "The Push Gateway that the receiver delivers to, or a list of them. The "
			"receiver requires at least one sink of any kind."},
	{.name = "federate",
		.type = CONFIG_LIST,
		CONFIG_AT(struct settings, federates),
		COUNTED(struct settings, federate_count),
		.flags = CONFIG_SINGLE | CONFIG_FIXED_ITEMS,
		.table = &federate_table,
		.audience = FOR_RECEIVER,
		.help = "Where the receiver serves what it holds at /federate, for a central "
			"Prometheus to scrape, or a list of such places."},
	{.name = "remote_write",
		.type = CONFIG_LIST,
		CONFIG_AT(struct settings, remote_writes),
		COUNTED(struct settings, remote_write_count),
		.flags = CONFIG_SINGLE | CONFIG_FIXED_ITEMS,
		.table = &remote_write_table,
		.audience = FOR_RECEIVER,
		.help = "Where the receiver sends all scrapes by Prometheus' remote write "
			"protocol, or a list of such."},
	{.name = "victoriametrics",
		.type = CONFIG_LIST,
		CONFIG_AT(struct settings, victoriametrics),
		COUNTED(struct settings, victoriametrics_count),
		.flags = CONFIG_SINGLE | CONFIG_FIXED_ITEMS,
		.table = &victoriametrics_table,
		.audience = FOR_RECEIVER,
		.help = "The VictoriaMetrics that the receiver brings each scrape to, or a list "
			"of them."},
	{.name = "files",
		.type = CONFIG_LIST,
		CONFIG_AT(struct settings, files),
		COUNTED(struct settings, files_count),
		.flags = CONFIG_SINGLE | CONFIG_FIXED_ITEMS,
		.table = &files_table,
		.audience = FOR_RECEIVER,
		.help = "A folder that the receiver writes each scrape into as a file, or a list "
			"of them."},
	{.name = "jobs",
		.type = CONFIG_MAP,
		CONFIG_AT(struct settings, jobs),
		COUNTED(struct settings, job_count),
		.table = &job_table,
		.audience = FOR_POLLER,
		.help = "What to scrape, by job; the poller requires at least one target."},
	{.name = "scrape_configs",
		.type = CONFIG_LIST,
		CONFIG_AT(struct settings, jobs),
		COUNTED(struct settings, job_count),
		.flags = CONFIG_ALIAS,
		.table = &job_table,
		.audience = FOR_POLLER,
		.help = "The same as `jobs` in Prometheus' form: a list of jobs, each with its "
			"`job_name`."},
};

const struct config_table settings_table = {
	.title = "Top level",
	KEYS(settings_keys),
	.size = sizeof(struct settings),
	NO_POSITION,
	NO_NAME,
	NO_PRESENT,
	.check = check_settings,
};
