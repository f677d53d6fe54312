/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receiver's sinks, whatever their kind: a row for each kind says where its settings are and
 * what is told of one. Names, durables and --check-config follow from it.
 */
#include "common/config/settings_internal.h"

#include "common/core/table.h"
#include "common/core/units.h"
#include "common/core/url.h"
#include "common/wire/wire.h"

#include <inttypes.h>

struct sink_row {
	const char *key;   /* its list at the top level, and the name of the first that has none */
	bool has_durables; /* else it reads the stream through passing consumers */
	size_t items_offset, count_offset, size;            /* of the list in struct settings */
	size_t name_offset, position_offset;                /* of an item */
	void (*describe)(const void *own, struct buf *out); /* the rest of "sink <name>: " */
};

#define LIST(type_, items_, count_)                                                                \
	.items_offset = offsetof(struct settings, items_),                                         \
	.count_offset = offsetof(struct settings, count_), .size = sizeof(type_),                  \
	.name_offset = offsetof(type_, name), .position_offset = offsetof(type_, position)

static void describe_push_gateway(const void *own, struct buf *out)
{
	const struct push_gateway_settings *gateway = own;
	char *url = url_redact(gateway->url);

	buf_appendf(
		out, "Push Gateway %s, %" PRId64 " at once, timeout ", url, gateway->concurrency);
	units_format_duration(gateway->timeout_ms, out);
	buf_appendf(out, "%s%s", gateway->publisher_label ? ", with publisher_label" : "",
		gateway->delete_stale ? "" : ", keeps stale groups");
	free(url);
}

static void describe_federate(const void *own, struct buf *out)
{
	const struct federate_settings *federate = own;

	buf_appendf(out, "/federate at %s, up to %" PRId64 " answers at once%s%s", federate->listen,
		federate->max_concurrent_requests,
		federate->publisher_label ? ", with publisher_label" : "",
		federate->web_config_file != NULL ? ", secured" : "");
}

static void describe_max_age(int64_t max_age_ms, struct buf *out)
{
	if (max_age_ms == 0)
		return;
	buf_append_str(out, ", drops what is older than ");
	units_format_duration(max_age_ms, out);
}

static void describe_remote_write(const void *own, struct buf *out)
{
	const struct remote_write_settings *write = own;
	char *url = url_redact(write->url);

	buf_appendf(out, "remote write %s to %s, timeout ",
		write->protobuf_message == REMOTE_WRITE_V1 ? "1.0" : "2.0", url);
	units_format_duration(write->remote_timeout_ms, out);
	buf_append_str(out, write->publisher_label ? ", with publisher_label" : "");
	describe_max_age(write->max_age_ms, out);
	free(url);
}

static void describe_victoriametrics(const void *own, struct buf *out)
{
	const struct victoriametrics_settings *victoria = own;
	char *url = url_redact(victoria->url);

	buf_appendf(out, "VictoriaMetrics %s, %" PRId64 " at once, timeout ", url,
		victoria->concurrency);
	units_format_duration(victoria->timeout_ms, out);
	buf_append_str(out, victoria->publisher_label ? ", with publisher_label" : "");
	describe_max_age(victoria->max_age_ms, out);
	free(url);
}

static void describe_files(const void *own, struct buf *out)
{
	const struct files_settings *files = own;

	buf_appendf(
		out, "files in %s%s", files->dir, files->compression == FILES_ZSTD ? ", zstd" : "");
	if (files->retention_age_ms > 0) {
		buf_append_str(out, ", kept for ");
		units_format_duration(files->retention_age_ms, out);
	}
	if (files->retention_bytes > 0) {
		buf_append_str(out, ", up to ");
		units_format_size(files->retention_bytes, out);
	}
	describe_max_age(files->max_age_ms, out);
}

static const struct sink_row rows[SINK_KIND_COUNT] = {
	[SINK_PUSH_GATEWAY] = {.key = "push_gateway",
		.has_durables = true,
		LIST(struct push_gateway_settings, push_gateways, push_gateway_count),
		.describe = describe_push_gateway},
	[SINK_FEDERATE] = {.key = "federate",
		LIST(struct federate_settings, federates, federate_count),
		.describe = describe_federate},
	[SINK_REMOTE_WRITE] = {.key = "remote_write",
		.has_durables = true,
		LIST(struct remote_write_settings, remote_writes, remote_write_count),
		.describe = describe_remote_write},
	[SINK_VICTORIAMETRICS] = {.key = "victoriametrics",
		.has_durables = true,
		LIST(struct victoriametrics_settings, victoriametrics, victoriametrics_count),
		.describe = describe_victoriametrics},
	[SINK_FILES] = {.key = "files",
		.has_durables = true,
		LIST(struct files_settings, files, files_count),
		.describe = describe_files},
};

static size_t count_of(const struct settings *settings, enum settings_sink_kind kind)
{
	return *(const size_t *)((const char *)settings + rows[kind].count_offset);
}

static char *item_of(const struct settings *settings, enum settings_sink_kind kind, size_t index)
{
	char *const *items = (char *const *)((const char *)settings + rows[kind].items_offset);

	return *items + index * rows[kind].size;
}

size_t settings_sink_count(const struct settings *settings)
{
	size_t count = 0;

	for (enum settings_sink_kind kind = 0; kind < SINK_KIND_COUNT; kind++)
		count += count_of(settings, kind);
	return count;
}

struct settings_sink settings_sink_at(const struct settings *settings, size_t index)
{
	enum settings_sink_kind kind = 0;
	const char *item;

	while (index >= count_of(settings, kind))
		index -= count_of(settings, kind++);
	item = item_of(settings, kind, index);
	return (struct settings_sink){
		.kind = kind,
		.name = *(char *const *)(item + rows[kind].name_offset),
		.position = *(const struct yaml_position *)(item + rows[kind].position_offset),
		.own = item,
	};
}

void settings_name_sinks(struct settings *settings)
{
	for (enum settings_sink_kind kind = 0; kind < SINK_KIND_COUNT; kind++)
		for (size_t i = 0; i < count_of(settings, kind); i++) {
			char **name =
				(char **)(item_of(settings, kind, i) + rows[kind].name_offset);

			if (*name == NULL && i == 0)
				*name = xstrdup(rows[kind].key);
			else if (*name == NULL)
				*name = xasprintf("%s_%zu", rows[kind].key, i + 1);
		}
}

void settings_write_sink_kinds(struct buf *out)
{
	for (enum settings_sink_kind kind = 0; kind < SINK_KIND_COUNT; kind++)
		buf_appendf(out, "%s%s",
			kind == 0                     ? ""
			: kind + 1 == SINK_KIND_COUNT ? " or "
						      : ", ",
			rows[kind].key);
}

const char *settings_sink_key(enum settings_sink_kind kind)
{
	return rows[kind].key;
}

void settings_describe_sink(const struct settings_sink *sink, struct buf *out)
{
	buf_appendf(out, "  sink %s: ", sink->name);
	rows[sink->kind].describe(sink->own, out);
	buf_append_char(out, '\n');
}

char *settings_durable_name(
	const struct stream_settings *stream, const char *sink, const char *suffix_or_null)
{
	if (suffix_or_null == NULL)
		return xasprintf("%s_%s", stream->client_id, sink);
	return xasprintf("%s_%s_%s", stream->client_id, sink, suffix_or_null);
}

static void add_durable(const struct stream_settings *stream, const char *sink, const char *suffix,
	struct string_list *out)
{
	char *name = settings_durable_name(stream, sink, suffix);

	string_list_add(out, slice_from(name));
	free(name);
}

static void add_durables(
	const struct stream_settings *stream, const char *sink, struct string_list *out)
{
	for (size_t i = 0; i < stream->filter.count; i++) {
		struct buf token = {0};

		/* A name that has passed check_name. */
		if (wire_escape(slice_from(stream->filter.items[i]), &token) != 0)
			buf_append_str(&token, "?");
		add_durable(stream, sink, buf_cstr(&token), out);
		buf_free(&token);
	}
	if (stream->filter.count == 0)
		add_durable(stream, sink, NULL, out);
	if (stream->legacy)
		add_durable(stream, sink, "legacy", out);
}

void settings_durables(const struct settings *settings, struct string_list *out)
{
	for (size_t i = 0; i < settings_sink_count(settings); i++) {
		struct settings_sink sink = settings_sink_at(settings, i);

		if (rows[sink.kind].has_durables)
			add_durables(&settings->receiver_stream, sink.name, out);
	}
}
