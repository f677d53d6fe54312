/* SPDX-License-Identifier: Apache-2.0 */
/* What holds between keys: of the streams, of the sinks, and of the whole file for one daemon. */
#include "common/config/settings_internal.h"
#include "common/config/value.h"

#include "common/core/table.h"
#include "common/core/units.h"
#include "common/wire/wire.h"

#include <unistd.h>

#define DEFAULT_SCRAPE_TIMEOUT_MS   10000
#define DEFAULT_DUPLICATE_WINDOW_MS 120000
#define DURABLE_MAX_BYTES           255 /* what a NATS server takes */

/* The monitor port makes the poller scrape itself under this name. */
#define OWN_JOB "prometheus_streams"

struct seen_name {
	const char *name;
	struct yaml_position position;
	UT_hash_handle hh;
};

int64_t global_timeout_ms(const struct settings *settings)
{
	if (settings->scrape_timeout_ms != 0)
		return settings->scrape_timeout_ms;
	return settings->scrape_interval_ms < DEFAULT_SCRAPE_TIMEOUT_MS
		       ? settings->scrape_interval_ms
		       : DEFAULT_SCRAPE_TIMEOUT_MS;
}

/* Where this was given at the top level too, it is not clear which is meant. */
void check_global(struct config_object *object)
{
	struct config_object *top = object->config->root_object;

	for (size_t i = 0; i < object->table->key_count; i++) {
		const char *name = object->table->keys[i].name;

		if (object->rows[i].state == CONFIG_ABSENT)
			continue;
		for (size_t k = 0; k < top->table->key_count; k++) {
			if (strcmp(top->table->keys[k].name, name) != 0)
				continue;
			if (top->rows[k].state != CONFIG_ABSENT)
				config_error_at(object->config, object->rows[i].position,
					"%s is given twice: at the top level in line %d, column %d",
					name, top->rows[k].position.line,
					top->rows[k].position.column);
			top->rows[k] = object->rows[i];
		}
	}
}

/* True if the stream was named by its older spelling. */
static bool check_stream_given(struct config_object *object)
{
	enum config_state stream = config_state(object, "stream");
	enum config_state cluster_id = config_state(object, "cluster_id");

	if (stream == CONFIG_ABSENT && cluster_id == CONFIG_ABSENT)
		config_error_at(object->config, object->position, "stream is missing");
	if (stream != CONFIG_ABSENT && cluster_id != CONFIG_ABSENT)
		config_error_at(object->config, config_position(object, "cluster_id"),
			"cluster_id is the older spelling of stream: give only one");
	return cluster_id != CONFIG_ABSENT;
}

static void settle_duplicate_window(struct config_object *object)
{
	struct stream_settings *stream = object->value;
	int64_t most = stream->stream_max_age_ms == 0 ? INT64_MAX : stream->stream_max_age_ms;

	if (config_state(object, "duplicate_window") != CONFIG_GIVEN)
		stream->duplicate_window_ms =
			most < DEFAULT_DUPLICATE_WINDOW_MS ? most : DEFAULT_DUPLICATE_WINDOW_MS;
	else if (stream->duplicate_window_ms > most)
		config_error_at(object->config, config_position(object, "duplicate_window"),
			"duplicate_window is longer than the stream's max_age");
}

/* NATS would take 0 for no limit, which here is -1. */
static void check_limits(struct config_object *object)
{
	const struct stream_settings *stream = object->value;

	if (stream->max_bytes == 0)
		config_error_at(object->config, config_position(object, "max_bytes"),
			"max_bytes: 0 would hold nothing; -1 is no limit");
	if (stream->max_msgs_per_subject == 0)
		config_error_at(object->config, config_position(object, "max_msgs_per_subject"),
			"max_msgs_per_subject: 0 would hold nothing; -1 is no limit");
}

static void warn_without_create(struct config_object *object)
{
	static const char *const only_for_create[] = {
		"storage", "discard", "max_age", "max_msgs_per_subject", "max_bytes", "replicas"};

	if (((struct stream_settings *)object->value)->create)
		return;
	for (size_t i = 0; i < ARRAY_LEN(only_for_create); i++)
		if (!config_is_default(object, only_for_create[i]))
			config_warn_at(object->config, config_position(object, only_for_create[i]),
				"%s has no effect without create: true", only_for_create[i]);
}

void check_poller_stream(struct config_object *object)
{
	check_stream_given(object);
	settle_duplicate_window(object);
	check_limits(object);
	warn_without_create(object);
	check_nats_auth(object);
}

static void check_filter(struct config_object *object)
{
	const struct stream_settings *stream = object->value;

	for (size_t i = 0; i < stream->filter.count; i++) {
		if (stream->legacy && strcmp(stream->filter.items[i], "legacy") == 0)
			config_error_at(object->config, config_position(object, "filter"),
				"filter: a publisher named legacy needs legacy: false, as both "
				"would "
				"have the same durable");
		for (size_t k = 0; k < i; k++)
			if (strcmp(stream->filter.items[i], stream->filter.items[k]) == 0)
				config_error_at(object->config, config_position(object, "filter"),
					"filter: \"%.80s\" is given twice",
					stream->filter.items[i]);
	}
}

void check_receiver_stream(struct config_object *object)
{
	struct stream_settings *stream = object->value;
	bool older_spelling = check_stream_given(object);

	if (config_state(object, "legacy") == CONFIG_ABSENT)
		stream->legacy = older_spelling;
	check_filter(object);
	check_nats_auth(object);
}

/* Reports each name that was there before. */
static void note_name(struct config *config, struct seen_name **seen, struct seen_name *fresh,
	const char *what, const char *remedy)
{
	struct seen_name *found;

	HASH_FIND_STR(*seen, fresh->name, found);
	if (found == NULL)
		HASH_ADD_KEYPTR(hh, *seen, fresh->name, strlen(fresh->name), fresh);
	else
		config_error_at(config, fresh->position,
			"%s \"%.80s\" is given twice: the first is in line %d, column %d%s", what,
			fresh->name, found->position.line, found->position.column, remedy);
}

static void check_job_names(struct config *config, const struct settings *settings)
{
	struct seen_name *names = xcalloc(settings->job_count, sizeof(*names)), *seen = NULL;

	for (size_t i = 0; i < settings->job_count; i++) {
		names[i].name = settings->jobs[i].name;
		names[i].position = settings->jobs[i].position;
		if (names[i].name != NULL)
			note_name(config, &seen, &names[i], "the job", "");
	}
	HASH_CLEAR(hh, seen);
	free(names);
}

static void settle_sinks(struct config *config, struct settings *settings)
{
	size_t count = settings_sink_count(settings);
	struct seen_name *names = xcalloc(count, sizeof(*names)), *seen = NULL;

	settings_name_sinks(settings);
	for (size_t i = 0; i < count; i++) {
		struct settings_sink sink = settings_sink_at(settings, i);

		names[i].name = sink.name;
		names[i].position = sink.position;
		note_name(config, &seen, &names[i], "the sink", "; give it another name");
	}
	HASH_CLEAR(hh, seen);
	free(names);
}

/* Durables of two sinks may not meet, and none may be longer than a server takes. */
static void check_durables(struct config *config, const struct settings *settings)
{
	const struct stream_settings *stream = &settings->receiver_stream;
	struct string_list durables = {0};
	struct seen_name *names, *seen = NULL;

	settings_durables(settings, &durables);
	names = xcalloc(durables.count, sizeof(*names));
	for (size_t i = 0; i < durables.count; i++) {
		names[i] =
			(struct seen_name){.name = durables.items[i], .position = stream->position};
		if (strlen(durables.items[i]) > DURABLE_MAX_BYTES)
			config_error_at(config, stream->position,
				"the durable \"%.80s...\" would be longer than %d bytes: shorten "
				"client_id, the sink's name or the publisher",
				durables.items[i], DURABLE_MAX_BYTES);
		note_name(config, &seen, &names[i], "the durable",
			"; rename a sink: two would share it");
	}
	HASH_CLEAR(hh, seen);
	free(names);
	string_list_free(&durables);
}

static void settle_identity(struct config_object *object, struct settings *settings)
{
	char host[256] = "";
	struct err err;

	if (settings->identity != NULL || config_state(object, "identity") == CONFIG_WRONG)
		return;
	if (gethostname(host, sizeof(host) - 1) != 0 || !config_is_utf8(slice_from(host)) ||
		check_name(host, &err) != 0) {
		config_error_at(object->config, object->position,
			"identity is missing, and the host has no name that could be used");
		return;
	}
	settings->identity = xstrdup(host);
}

static void settle_times(struct config_object *object, struct settings *settings)
{
	bool given = config_state(object, "scrape_timeout") == CONFIG_GIVEN;
	struct buf interval = {0};

	units_format_duration(settings->scrape_interval_ms, &interval);
	if (given && settings->scrape_timeout_ms > settings->scrape_interval_ms &&
		config_state(object, "scrape_interval") != CONFIG_WRONG)
		config_error_at(object->config, config_position(object, "scrape_timeout"),
			"scrape_timeout is longer than scrape_interval, %s", buf_cstr(&interval));
	settings->scrape_timeout_ms = global_timeout_ms(settings);
	buf_free(&interval);
}

/* Jobs with an interval of their own have been looked at; here are those that have the global. */
static void warn_of_age(struct config_object *object, const struct settings *settings)
{
	bool used = false;
	struct buf text = {0};

	if (settings->max_age_ms == 0 || settings->scrape_interval_ms <= settings->max_age_ms)
		return;
	for (size_t i = 0; i < settings->job_count && !used; i++)
		used = settings->jobs[i].scrape_interval_ms == settings->scrape_interval_ms;
	units_format_duration(settings->max_age_ms, &text);
	if (used)
		config_warn_at(object->config,
			config_position(
				object, config_state(object, "scrape_interval") == CONFIG_GIVEN
						? "scrape_interval"
						: "max_age"),
			"the scrape_interval is longer than max_age (%s): a scrape that waits is "
			"dropped before the next one comes",
			buf_cstr(&text));
	buf_free(&text);
}

static void check_own_job(struct config *config, const struct settings *settings)
{
	for (size_t i = 0; i < settings->job_count && settings->monitor_port != 0; i++) {
		const struct job_settings *job = &settings->jobs[i];

		if (job->name == NULL || strcmp(job->name, OWN_JOB) != 0)
			continue;
		for (size_t k = 0; k < job->target_count; k++)
			if (settings->identity != NULL && job->targets[k].labels.count == 0 &&
				strcmp(job->targets[k].instance, settings->identity) == 0)
				config_error_at(config, job->targets[k].position,
					"with a monitor_port, the poller scrapes itself as job "
					"\"%s\", instance \"%.80s\": name this target otherwise",
					OWN_JOB, settings->identity);
	}
}

static void check_for_poller(struct config_object *object, const struct settings *settings)
{
	size_t targets = 0, written = 0;

	if (!settings->poller_stream.present &&
		config_state(object, "poller_stream") == CONFIG_ABSENT)
		config_error_at(object->config, object->position,
			"poller_stream is missing: the poller publishes to it");
	for (size_t i = 0; i < settings->job_count; i++) {
		targets += settings->jobs[i].target_count;
		written += settings->jobs[i].written_target_count +
			   settings->jobs[i].written_group_count;
		if (settings->jobs[i].target_count == 0 &&
			settings->jobs[i].written_target_count == 0 &&
			settings->jobs[i].written_group_count == 0)
			config_warn_at(object->config, settings->jobs[i].position,
				"the job \"%.80s\" has no targets",
				settings->jobs[i].name == NULL ? "" : settings->jobs[i].name);
	}
	if (targets == 0 && written == 0 && config_state(object, "jobs") != CONFIG_WRONG &&
		config_state(object, "scrape_configs") != CONFIG_WRONG)
		config_error_at(object->config, object->position,
			"there is nothing to scrape: the poller needs a job with a target in jobs "
			"or "
			"scrape_configs");
	check_own_job(object->config, settings);
}

/* Each would take the other's files for its own, and delete them. */
static void check_folders(struct config *config, const struct settings *settings)
{
	struct seen_name *names = xcalloc(settings->files_count, sizeof(*names)), *seen = NULL;

	for (size_t i = 0; i < settings->files_count; i++) {
		names[i].name = settings->files[i].dir;
		names[i].position = settings->files[i].position;
		if (names[i].name != NULL)
			note_name(config, &seen, &names[i], "the dir",
				"; each sink needs one of its own");
	}
	HASH_CLEAR(hh, seen);
	free(names);
}

static void check_sinks(struct config_object *object, const struct settings *settings)
{
	struct buf kinds = {0};

	for (enum settings_sink_kind kind = 0; kind < SINK_KIND_COUNT; kind++)
		if (config_state(object, settings_sink_key(kind)) == CONFIG_WRONG)
			return;
	if (settings_sink_count(settings) > 0)
		return;
	settings_write_sink_kinds(&kinds);
	config_error_at(object->config, object->position,
		"there is no sink: the receiver needs a %s", buf_cstr(&kinds));
	buf_free(&kinds);
}

static void check_for_receiver(struct config_object *object, const struct settings *settings)
{
	if (config_state(object, "receiver_stream") == CONFIG_ABSENT)
		config_error_at(object->config, object->position,
			"receiver_stream is missing: the receiver reads it");
	check_sinks(object, settings);
	check_folders(object->config, settings);
	if (settings->receiver_stream.client_id != NULL)
		check_durables(object->config, settings);
}

void check_settings(struct config_object *object)
{
	struct settings *settings = object->value;

	settle_identity(object, settings);
	settle_times(object, settings);
	check_job_names(object->config, settings);
	settle_sinks(object->config, settings);
	warn_of_age(object, settings);
	if (!config_is_default(object, "monitor_address") && settings->monitor_port == 0 &&
		config_state(object, "monitor_port") != CONFIG_WRONG)
		config_warn_at(object->config, config_position(object, "monitor_address"),
			"monitor_address has no effect without a monitor_port");
	if (object->config->audience == SETTINGS_AUDIENCE(SETTINGS_FOR_POLLER))
		check_for_poller(object, settings);
	else
		check_for_receiver(object, settings);
}
