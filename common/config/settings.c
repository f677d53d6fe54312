/* SPDX-License-Identifier: Apache-2.0 */
/* From bytes to settings and to texts about them; tables and checks are in settings_*.c. */
#include "common/config/settings.h"

#include "common/config/settings_internal.h"
#include "common/core/units.h"
#include "common/core/url.h"
#include "common/wire/wire.h"

#include <inttypes.h>

#define TARGETS_SHOWN 5 /* of a job, in settings_describe */

struct settings *settings_parse(
	const char *path, struct slice yaml, enum settings_role role, struct buf *report)
{
	struct yaml_position position;
	struct err err;
	struct yaml_document *document = yaml_parse(yaml, &position, &err);
	struct settings *settings = xcalloc(1, sizeof(*settings));
	struct config config = {.path = path,
		.audience = SETTINGS_AUDIENCE(role),
		.root_table = &settings_table,
		.root = settings};

	settings->path = xstrdup(path);
	settings->role = role;
	if (document == NULL)
		config_error_at(&config, position, "%s", err.text);
	else
		config_read(&config, yaml_root(document));
	yaml_document_free(document);
	if (config_report(&config, report) == 0)
		return settings;
	settings_free(settings);
	return NULL;
}

struct settings *settings_load(const char *path, enum settings_role role, struct buf *report)
{
	struct settings *settings = NULL;
	struct buf yaml = {0};
	struct err err;

	if (yaml_read_file(path, &yaml, &err) != 0)
		buf_appendf(report, "%s\n", err.text);
	else
		settings = settings_parse(path, buf_slice(&yaml), role, report);
	buf_free(&yaml);
	return settings;
}

struct settings *settings_ref(struct settings *settings)
{
	settings->refs++;
	return settings;
}

void settings_free(struct settings *settings)
{
	if (settings == NULL || settings->refs-- > 0)
		return;
	config_free(&settings_table, settings);
	free(settings->path);
	free(settings);
}

void settings_reconcile(const struct settings *current, struct settings *fresh,
	void (*on_change)(void *arg, const char *key, bool needs_restart), void *arg)
{
	const struct config_reconcile options = {
		.audience = SETTINGS_AUDIENCE(current->role), .on_change = on_change, .arg = arg};

	config_reconcile(&settings_table, &options, current, fresh);
}

/* Appends the token of a name that has passed check_name. */
static void append_token(const char *name, struct buf *out)
{
	if (wire_escape(slice_from(name), out) != 0)
		buf_append_str(out, "?");
}

static void describe_urls(const struct stream_settings *stream, struct buf *out)
{
	for (size_t i = 0; i < stream->urls.count; i++) {
		char *shown = url_redact(stream->urls.items[i]);

		buf_appendf(out, "%s%s", i == 0 ? " at " : ", ", shown);
		free(shown);
	}
	buf_append_char(out, '\n');
}

static void describe_job(const struct job_settings *job, struct buf *out)
{
	buf_appendf(out, "  job %s: %zu target%s, every ", job->name, job->target_count,
		job->target_count == 1 ? "" : "s");
	units_format_duration(job->scrape_interval_ms, out);
	buf_append_str(out, ", timeout ");
	units_format_duration(job->scrape_timeout_ms, out);
	buf_append_char(out, '\n');
	for (size_t i = 0; i < job->target_count && i < TARGETS_SHOWN; i++) {
		const struct target_settings *target = &job->targets[i];
		char *url = url_redact(target->url);

		buf_appendf(out, "    %s ", target->instance);
		if (target->labels.count > 0) {
			labels_format(&target->labels, out);
			buf_append_char(out, ' ');
		}
		buf_appendf(out, "%s\n", url);
		free(url);
	}
	if (job->target_count > TARGETS_SHOWN)
		buf_appendf(out, "    and %zu more\n", job->target_count - TARGETS_SHOWN);
}

static void describe_poller(const struct settings *settings, struct buf *out)
{
	const struct stream_settings *stream = &settings->poller_stream;
	size_t targets = 0;

	for (size_t i = 0; i < settings->job_count; i++)
		targets += settings->jobs[i].target_count;
	buf_appendf(out, "poller %s\n", settings->identity);
	buf_appendf(out, "  publishes to stream %s%s", stream->stream,
		stream->create ? " (created if missing)" : "");
	describe_urls(stream, out);
	buf_appendf(out, "  subjects %s.scrape.", stream->topic);
	append_token(settings->identity, out);
	buf_appendf(out, ".>\n  scrapes %zu target%s in %zu job%s\n", targets,
		targets == 1 ? "" : "s", settings->job_count, settings->job_count == 1 ? "" : "s");
	for (size_t i = 0; i < settings->job_count; i++)
		describe_job(&settings->jobs[i], out);
}

static void describe_subjects(const struct stream_settings *stream, struct buf *out)
{
	buf_append_str(out, "  subjects ");
	for (size_t i = 0; i < stream->filter.count; i++) {
		buf_appendf(out, "%s%s.scrape.", i == 0 ? "" : ", ", stream->topic);
		append_token(stream->filter.items[i], out);
		buf_append_str(out, ".>");
	}
	if (stream->filter.count == 0)
		buf_appendf(out, "%s.scrape.>", stream->topic);
	if (stream->legacy)
		buf_appendf(out, ", %s (the original's format)", stream->topic);
	buf_append_char(out, '\n');
}

static void describe_receiver(const struct settings *settings, struct buf *out)
{
	const struct stream_settings *stream = &settings->receiver_stream;
	struct string_list durables = {0};

	settings_durables(settings, &durables);
	buf_appendf(out, "receiver %s\n  reads stream %s", stream->client_id, stream->stream);
	describe_urls(stream, out);
	describe_subjects(stream, out);
	buf_append_str(out, settings->max_age_ms == 0 ? "  drops nothing for its age"
						      : "  drops what is older than ");
	if (settings->max_age_ms != 0)
		units_format_duration(settings->max_age_ms, out);
	buf_append_char(out, '\n');
	for (size_t i = 0; i < settings_sink_count(settings); i++) {
		struct settings_sink sink = settings_sink_at(settings, i);

		settings_describe_sink(&sink, out);
	}
	for (size_t i = 0; i < durables.count; i++)
		buf_appendf(out, "  durable %s\n", durables.items[i]);
	string_list_free(&durables);
}

void settings_describe(const struct settings *settings, enum settings_role role, struct buf *out)
{
	if (role == SETTINGS_FOR_POLLER)
		describe_poller(settings, out);
	else
		describe_receiver(settings, out);
}

void settings_print(const struct settings *settings, struct buf *out)
{
	struct yaml_writer *writer = yaml_writer_new(out);

	config_print(&settings_table, settings, writer, SETTINGS_AUDIENCE(settings->role), true);
	yaml_writer_free(writer);
}

static void write_table(void *arg, const char *path, const struct config_table *table)
{
	struct buf *out = arg;

	buf_appendf(out, "%s### %s", out->len == 0 ? "" : "\n", table->title);
	if (path[0] != '\0')
		buf_appendf(out, ": `%s`", path);
	buf_append_str(out, "\n\n| key | type | default | meaning |\n|---|---|---|---|\n");
	for (size_t i = 0; i < table->key_count; i++) {
		const struct config_key *key = &table->keys[i];

		buf_appendf(out, "| `%s` | ", key->name);
		config_describe_type(key, out);
		buf_append_str(out, " | ");
		config_describe_default(key, out);
		buf_appendf(out, " | %s%s%s |\n", key->help,
			key->flags & CONFIG_EXPAND ? " `${VAR}` is expanded." : "",
			key->flags & CONFIG_RESTART ? " A change needs a restart." : "");
	}
}

void settings_write_keys(struct buf *out)
{
	config_each_table(&settings_table, write_table, out);
}
