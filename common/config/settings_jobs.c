/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs made ready: what was written becomes targets with whole URLs, instances and labels. What is
 * written stays as it was, so that the settings can be printed and loaded again.
 */
#include "common/config/settings_internal.h"

#include "common/core/table.h"
#include "common/core/units.h"
#include "common/core/url.h"
#include "common/wire/wire.h"

#include <ctype.h>

/* One job being made. */
struct making {
	struct config *config;
	struct job_settings *job;
	struct buf query; /* the params, encoded; empty without any */
};

/* One target of it, borrowed from what was written. */
struct draft {
	struct yaml_position position;
	const char *name; /* the instance; NULL where a label says it */
	const char *url;  /* without the params */
	const struct labels *labels;
};

struct seen_target {
	char *key;
	struct yaml_position position;
	UT_hash_handle hh;
};

static void append_encoded(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (isalnum((unsigned char)*text) || strchr("-._~", *text) != NULL)
			buf_append_char(out, *text);
		else
			buf_appendf(out, "%%%02X", (unsigned char)*text);
	}
}

static int compare_params(const void *left, const void *right)
{
	const struct param_settings *a = left, *b = right;

	return strcmp(a->name, b->name);
}

static void append_query(const struct job_settings *job, struct buf *out)
{
	for (size_t i = 0; i < job->param_count; i++) {
		const struct param_settings *param = &job->params[i];

		for (size_t k = 0; k < param->values.count; k++) {
			if (out->len > 0)
				buf_append_char(out, '&');
			append_encoded(out, param->name);
			buf_append_char(out, '=');
			append_encoded(out, param->values.items[k]);
		}
	}
}

/* A job's params replace the global ones, as a whole. */
static void settle_params(struct config_object *object)
{
	const struct settings *settings = object->config->root;
	struct job_settings *job = object->value;

	if (config_state(object, "params") == CONFIG_ABSENT && settings->param_count > 0) {
		job->params = xcalloc(settings->param_count, sizeof(*job->params));
		job->param_count = settings->param_count;
		for (size_t i = 0; i < job->param_count; i++) {
			job->params[i].name = xstrdup(settings->params[i].name);
			string_list_copy(&job->params[i].values, &settings->params[i].values);
		}
	}
	if (job->param_count > 0)
		qsort(job->params, job->param_count, sizeof(*job->params), compare_params);
}

/* The URL as it is fetched: with a path, with the params, without a fragment. */
static void append_url(const struct making *making, const char *url, struct buf *out)
{
	const char *authority = strstr(url, "://") + 3;
	const char *rest = authority + strcspn(authority, "/?#");
	size_t rest_len = strcspn(rest, "#");

	buf_append(out, url, (size_t)(rest - url));
	if (*rest != '/')
		buf_append_str(out, making->job->metrics_path);
	buf_append(out, rest, rest_len);
	if (making->query.len == 0)
		return;
	buf_append_char(out, memchr(rest, '?', rest_len) == NULL ? '?' : '&');
	buf_append_slice(out, buf_slice(&making->query));
}

static char *host_port_of(const char *text)
{
	struct url url;
	char *host_port;

	if (url_parse(&url, slice_from(text), NULL) != 0)
		return NULL;
	host_port = url_host_port(&url);
	url_fini(&url);
	return host_port;
}

/* What the labels take as Ps-Labels, a JSON object. */
static size_t header_bytes(const struct labels *labels)
{
	size_t bytes = 2;

	for (size_t i = 0; i < labels->count; i++) {
		bytes += strlen(labels->items[i].name) + strlen("\"\":\"\",");
		for (const char *at = labels->items[i].value; *at != '\0'; at++) {
			unsigned char c = (unsigned char)*at;

			bytes += c < 0x20 || c == 0x7f   ? strlen("\\u0000")
				 : c == '"' || c == '\\' ? 2
							 : 1;
		}
	}
	return bytes;
}

/* An empty label is one that is not there, as in Prometheus. */
static void take_labels(struct target_settings *target, const struct labels *from)
{
	for (size_t i = 0; i < from->count; i++) {
		const struct label *label = &from->items[i];

		if (strcmp(label->name, "instance") != 0 && label->value[0] != '\0')
			labels_set(
				&target->labels, slice_from(label->name), slice_from(label->value));
	}
}

static void take_instance(
	const struct making *making, struct target_settings *target, const struct draft *draft)
{
	const char *label = labels_get(draft->labels, "instance");
	struct err err;

	if (label != NULL && draft->name != NULL && strcmp(label, draft->name) != 0)
		config_error_at(making->config, draft->position,
			"the target has two instances: its name \"%.80s\" and the label \"%.80s\"",
			draft->name, label);
	if (label == NULL)
		label = draft->name;
	target->instance = xstrdup(label);
	if (check_name(label, &err) != 0)
		config_error_at(making->config, draft->position, "instance: %s", err.text);
}

static void add_target(const struct making *making, const struct draft *draft)
{
	struct target_settings *target = &making->job->targets[making->job->target_count++];
	struct buf url = {0};
	struct url parsed;
	struct err err;

	*target = (struct target_settings){.position = draft->position};
	take_instance(making, target, draft);
	take_labels(target, draft->labels);
	append_url(making, draft->url, &url);
	target->url = xstrdup(buf_cstr(&url));
	buf_free(&url);
	if (url_parse(&parsed, slice_from(target->url), &err) != 0)
		config_error_at(
			making->config, draft->position, "with path and params: %s", err.text);
	else
		url_fini(&parsed);
	if (header_bytes(&target->labels) > WIRE_LABELS_MAX_BYTES)
		config_error_at(making->config, draft->position,
			"the labels take more than %d bytes", WIRE_LABELS_MAX_BYTES);
}

static void add_written_target(const struct making *making, struct written_target *written)
{
	char *host_port = written->url == NULL ? NULL : host_port_of(written->url);

	if (host_port == NULL)
		return;
	if (written->name == NULL && labels_get(&written->labels, "instance") == NULL)
		written->name = xstrdup(host_port);
	free(host_port);
	add_target(making,
		&(struct draft){written->position, written->name, written->url, &written->labels});
}

static void add_written_group(const struct making *making, const struct written_group *group)
{
	bool own_instance = labels_get(&group->labels, "instance") != NULL;

	for (size_t i = 0; i < group->address_count; i++) {
		const struct written_address *written = &group->addresses[i];
		const char *name = own_instance ? NULL : written->address;
		char *url;

		if (written->address == NULL)
			continue;
		url = xasprintf("%s://%s", making->job->scheme, written->address);
		add_target(making, &(struct draft){written->position, name, url, &group->labels});
		free(url);
	}
}

static void make_targets(struct making *making)
{
	struct job_settings *job = making->job;
	size_t count = job->written_target_count;

	for (size_t i = 0; i < job->written_group_count; i++)
		count += job->written_groups[i].address_count;
	job->targets = xcalloc(count, sizeof(*job->targets));
	append_query(job, &making->query);
	for (size_t i = 0; i < job->written_target_count; i++)
		add_written_target(making, &job->written_targets[i]);
	for (size_t i = 0; i < job->written_group_count; i++)
		add_written_group(making, &job->written_groups[i]);
	buf_free(&making->query);
}

/* Instance and labels as one text: no two different sets have the same. */
static char *identity_of(const struct target_settings *target)
{
	struct buf key = {0};
	char *text;

	labels_format(&target->labels, &key);
	buf_append_str(&key, target->instance);
	text = slice_dup(buf_slice(&key));
	buf_free(&key);
	return text;
}

static void check_duplicates(const struct making *making)
{
	struct seen_target *seen = NULL, *entry, *next;

	for (size_t i = 0; i < making->job->target_count; i++) {
		const struct target_settings *target = &making->job->targets[i];
		char *key = identity_of(target);

		HASH_FIND_STR(seen, key, entry);
		if (entry != NULL) {
			config_error_at(making->config, target->position,
				"the target \"%.80s\" has the same instance and labels as the one "
				"in "
				"line %d, column %d",
				target->instance, entry->position.line, entry->position.column);
			free(key);
			continue;
		}
		entry = xcalloc(1, sizeof(*entry));
		*entry = (struct seen_target){.key = key, .position = target->position};
		HASH_ADD_KEYPTR(hh, seen, entry->key, strlen(entry->key), entry);
	}
	HASH_ITER (hh, seen, entry, next) {
		HASH_DEL(seen, entry);
		free(entry->key);
		free(entry);
	}
}

static void check_job_name(struct config_object *object)
{
	struct job_settings *job = object->value;
	struct err err;

	if (object->named && config_state(object, "job_name") != CONFIG_ABSENT)
		config_error_at(object->config, config_position(object, "job_name"),
			"job_name belongs in scrape_configs: in jobs, the key is the name");
	else if (object->named && check_name(job->name, &err) != 0)
		config_error_at(object->config, object->position, "the job's name: %s", err.text);
	else if (job->name == NULL && config_state(object, "job_name") == CONFIG_ABSENT)
		config_error_at(object->config, object->position, "job_name is missing");
}

static void settle_times(struct config_object *object)
{
	const struct settings *settings = object->config->root;
	struct job_settings *job = object->value;
	struct buf interval = {0};

	if (config_state(object, "scrape_timeout") != CONFIG_GIVEN) {
		int64_t inherited = global_timeout_ms(settings);

		job->scrape_timeout_ms =
			inherited > job->scrape_interval_ms ? job->scrape_interval_ms : inherited;
		return;
	}
	units_format_duration(job->scrape_interval_ms, &interval);
	if (job->scrape_timeout_ms > job->scrape_interval_ms &&
		config_state(object, "scrape_interval") != CONFIG_WRONG)
		config_error_at(object->config, config_position(object, "scrape_timeout"),
			"scrape_timeout is longer than the scrape_interval of this job, %s",
			buf_cstr(&interval));
	buf_free(&interval);
}

static void warn_of_age(struct config_object *object)
{
	const struct settings *settings = object->config->root;
	const struct job_settings *job = object->value;
	struct buf age = {0};

	if (config_state(object, "scrape_interval") != CONFIG_GIVEN || settings->max_age_ms == 0 ||
		job->scrape_interval_ms <= settings->max_age_ms)
		return;
	units_format_duration(settings->max_age_ms, &age);
	config_warn_at(object->config, config_position(object, "scrape_interval"),
		"the scrape_interval is longer than max_age (%s): a scrape of this job that waits "
		"is "
		"dropped before the next one comes",
		buf_cstr(&age));
	buf_free(&age);
}

void check_job(struct config_object *object)
{
	struct making making = {.config = object->config, .job = object->value};

	check_job_name(object);
	check_http_client(object);
	settle_times(object);
	warn_of_age(object);
	settle_params(object);
	make_targets(&making);
	check_duplicates(&making);
}

void job_fini(void *value)
{
	struct job_settings *job = value;

	for (size_t i = 0; i < job->target_count; i++) {
		free(job->targets[i].url);
		free(job->targets[i].instance);
		labels_free(&job->targets[i].labels);
	}
	free(job->targets);
	job->targets = NULL;
	job->target_count = 0;
}
