/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JetStream's JSON. Answers come from a server that may be anybody's: they are bounded before they
 * are read, every member is optional unless the answer would mean nothing without it, and a member
 * of another type counts as absent. Strings that do not fit are an error, as a cut name would be
 * the name of something else.
 */
#include "common/nats/jetstream.h"

#include "common/core/base64.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#define ANSWER_MAX_BYTES ((size_t)1 << 20)
/* Of one that holds a message, in base64. */
#define STORED_MAX_BYTES ((size_t)24 << 20)
#define NS_PER_MS        INT64_C(1000000)

static json_t *parse_bounded(struct slice json, size_t max_bytes, struct err *err)
{
	json_error_t error;
	json_t *root;

	if (json.len > max_bytes) {
		err_setf(err, "a JetStream answer of %zu bytes", json.len);
		return NULL;
	}
	root = json_loadb(json.ptr == NULL ? "" : json.ptr, json.len, 0, &error);
	if (root == NULL) {
		err_setf(err, "a JetStream answer is not JSON: %s", error.text);
	} else if (!json_is_object(root)) {
		err_setf(err, "a JetStream answer is not a JSON object");
		json_decref(root);
		root = NULL;
	}
	return root;
}

static json_t *parse_object(struct slice json, struct err *err)
{
	return parse_bounded(json, ANSWER_MAX_BYTES, err);
}

/* Copies a string member; "" where it is absent. -1 if it does not fit. */
static int copy_string(
	char *to, size_t size, const json_t *object, const char *key, struct err *err)
{
	const char *text = json_string_value(json_object_get(object, key));
	size_t len = text == NULL ? 0 : strlen(text);

	to[0] = '\0';
	if (len >= size)
		return err_setf(err, "\"%s\" is %zu bytes long", key, len);
	if (len > 0)
		memcpy(to, text, len + 1);
	return 0;
}

static int64_t get_integer(const json_t *object, const char *key, int64_t fallback)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? (int64_t)json_integer_value(value) : fallback;
}

/* Counts are never negative. */
static uint64_t get_count(const json_t *object, const char *key)
{
	int64_t value = get_integer(object, key, 0);

	return value < 0 ? 0 : (uint64_t)value;
}

static bool has_items(const json_t *value)
{
	return json_array_size(value) > 0 || json_object_size(value) > 0;
}

static void parse_error(struct js_error *error, const json_t *root)
{
	const json_t *object = json_object_get(root, "error");
	const char *text = json_string_value(json_object_get(object, "description"));

	memset(error, 0, sizeof(*error));
	if (!json_is_object(object))
		return;
	error->code = (int)get_integer(object, "code", 0);
	error->err_code = (int)get_integer(object, "err_code", 0);
	if (error->code == 0)
		error->code = 500; /* an error all the same */
	/* For people only: cut rather than refused. */
	snprintf(error->description, sizeof(error->description), "%s", text == NULL ? "" : text);
}

static int pub_ack_from(struct js_pub_ack *ack, const json_t *root, struct err *err)
{
	parse_error(&ack->error, root);
	if (copy_string(ack->stream, sizeof(ack->stream), root, "stream", err) != 0 ||
		copy_string(ack->domain, sizeof(ack->domain), root, "domain", err) != 0)
		return err_wrapf(err, "PubAck");
	ack->sequence = get_count(root, "seq");
	ack->duplicate = json_is_true(json_object_get(root, "duplicate"));
	if (ack->error.code == 0 && (ack->stream[0] == '\0' || ack->sequence == 0))
		return err_setf(err, "an answer that is no PubAck");
	return 0;
}

/* Cuts `text` off the front of `json`; false if it does not begin so. */
static bool cut(struct slice *json, const char *text)
{
	size_t len = strlen(text);

	if (json->len < len || memcmp(json->ptr, text, len) != 0)
		return false;
	json->ptr += len;
	json->len -= len;
	return true;
}

/* The answer to nearly every publish, letter for letter as the server writes it. */
static bool read_usual_ack(struct js_pub_ack *ack, struct slice json)
{
	size_t len = 0, digits = 0;

	if (!cut(&json, "{\"stream\":\""))
		return false;
	while (len < json.len && len < sizeof(ack->stream) - 1 &&
		(isalnum((unsigned char)json.ptr[len]) || json.ptr[len] == '_' ||
			json.ptr[len] == '-'))
		len++;
	memcpy(ack->stream, json.ptr, len);
	ack->stream[len] = '\0';
	json.ptr += len;
	json.len -= len;
	if (len == 0 || !cut(&json, "\", \"seq\":"))
		return false;
	/* No number of JSON begins with a zero, nor is one a sequence. */
	if (json.len == 0 || json.ptr[0] == '0')
		return false;
	for (; digits < json.len && digits < 18 && isdigit((unsigned char)json.ptr[digits]);
		digits++)
		ack->sequence = ack->sequence * 10 + (uint64_t)(json.ptr[digits] - '0');
	json.ptr += digits;
	json.len -= digits;
	return digits > 0 && slice_is(json, "}");
}

int js_pub_ack_parse(struct js_pub_ack *ack, struct slice json, struct err *err)
{
	json_t *root;
	int result;

	memset(ack, 0, sizeof(*ack));
	if (read_usual_ack(ack, json))
		return 0;
	memset(ack, 0, sizeof(*ack));
	root = parse_object(json, err);
	if (root == NULL)
		return -1;
	result = pub_ack_from(ack, root, err);
	json_decref(root);
	return result;
}

static void copy_subjects(struct string_list *subjects, const json_t *array)
{
	size_t i;
	json_t *value;

	if (json_array_size(array) == 0)
		return;
	subjects->items = xcalloc(json_array_size(array), sizeof(*subjects->items));
	json_array_foreach(array, i, value)
	{
		if (json_is_string(value))
			subjects->items[subjects->count++] = xstrdup(json_string_value(value));
	}
}

static int stream_info_from(struct js_stream_info *info, const json_t *root, struct err *err)
{
	const json_t *config = json_object_get(root, "config");
	const json_t *state = json_object_get(root, "state");
	const char *retention = json_string_value(json_object_get(config, "retention"));

	parse_error(&info->error, root);
	if (info->error.code != 0)
		return 0;
	if (!json_is_object(config))
		return err_setf(err, "stream info without its configuration");
	if (copy_string(info->created, sizeof(info->created), root, "created", err) != 0)
		return err_wrapf(err, "stream info");
	info->max_age_ms = get_integer(config, "max_age", 0) / NS_PER_MS;
	info->max_msg_size = get_integer(config, "max_msg_size", -1);
	info->is_consumed = retention != NULL && strcmp(retention, "limits") != 0;
	info->is_sourced_or_mirror = has_items(json_object_get(config, "sources")) ||
				     has_items(json_object_get(config, "mirror"));
	info->first_seq = get_count(state, "first_seq");
	info->last_seq = get_count(state, "last_seq");
	copy_subjects(&info->subjects, json_object_get(config, "subjects"));
	return 0;
}

int js_stream_info_parse(struct js_stream_info *info, struct slice json, struct err *err)
{
	json_t *root = parse_object(json, err);
	int result;

	memset(info, 0, sizeof(*info));
	if (root == NULL)
		return -1;
	result = stream_info_from(info, root, err);
	json_decref(root);
	return result;
}

void js_stream_info_fini(struct js_stream_info *info)
{
	for (size_t i = 0; i < info->subjects.count; i++)
		free(info->subjects.items[i]);
	free(info->subjects.items);
	memset(&info->subjects, 0, sizeof(info->subjects));
}

/* Cuts the first token off `*rest`, which becomes NULL after the last one. */
static struct slice next_token(const char **rest)
{
	const char *end = strchrnul(*rest, '.');
	struct slice token = {*rest, (size_t)(end - *rest)};

	*rest = *end == '\0' ? NULL : end + 1;
	return token;
}

bool js_subject_covers(const char *pattern, const char *subject)
{
	while (pattern != NULL && subject != NULL) {
		struct slice takes = next_token(&pattern);
		struct slice token = next_token(&subject);

		if (token.len == 0)
			return false;
		if (slice_is(takes, ">"))
			return true;
		if (slice_is(token, ">") || (!slice_is(takes, "*") && !slice_eq(takes, token)))
			return false;
	}
	return pattern == NULL && subject == NULL;
}

/* Milliseconds as JetStream's nanoseconds, as many as there can be. */
static json_t *nanoseconds(int64_t ms)
{
	return json_integer(ms > INT64_MAX / NS_PER_MS ? INT64_MAX : ms * NS_PER_MS);
}

/* Appends and frees the object. */
static void append_json(struct buf *out, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	if (text == NULL)
		abort(); /* out of memory: what we put in can be encoded */
	buf_append_str(out, text);
	free(text);
	json_decref(object);
}

/* A JSON string; names that are not UTF-8 cannot be one, nor exist on a server. */
static json_t *string(const char *text)
{
	json_t *value = json_string(text);

	return value != NULL ? value : json_string("");
}

void js_stream_create_request(struct buf *out, const struct stream_settings *settings)
{
	int64_t window_ms = settings->duplicate_window_ms;
	json_t *subjects = json_array();
	json_t *config = json_object();
	char *below = xasprintf("%s.>", settings->topic);

	/* The server refuses a window longer than the messages live. */
	if (settings->stream_max_age_ms > 0 && window_ms > settings->stream_max_age_ms)
		window_ms = settings->stream_max_age_ms;
	json_array_append_new(subjects, string(settings->topic));
	json_array_append_new(subjects, string(below));
	json_object_set_new(config, "name", string(settings->stream));
	json_object_set_new(config, "subjects", subjects);
	json_object_set_new(config, "retention", json_string("limits"));
	json_object_set_new(config, "storage",
		json_string(settings->storage == STORAGE_MEMORY ? "memory" : "file"));
	json_object_set_new(
		config, "discard", json_string(settings->discard == DISCARD_NEW ? "new" : "old"));
	json_object_set_new(config, "max_consumers", json_integer(-1));
	json_object_set_new(config, "max_msgs", json_integer(-1));
	json_object_set_new(
		config, "max_msgs_per_subject", json_integer(settings->max_msgs_per_subject));
	json_object_set_new(config, "max_bytes", json_integer(settings->max_bytes));
	json_object_set_new(config, "max_age", nanoseconds(settings->stream_max_age_ms));
	json_object_set_new(config, "max_msg_size", json_integer(-1));
	json_object_set_new(config, "duplicate_window", nanoseconds(window_ms));
	json_object_set_new(config, "num_replicas", json_integer(settings->replicas));
	json_object_set_new(config, "allow_direct", json_true());
	append_json(out, config);
	free(below);
}

/* RFC 3339 in UTC with milliseconds. */
static json_t *timestamp(int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm utc;
	char date[48];
	char text[64];

	if (gmtime_r(&seconds, &utc) == NULL ||
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc) == 0)
		return json_string("1970-01-01T00:00:00Z");
	snprintf(text, sizeof(text), "%s.%03dZ", date, (int)(ms % 1000));
	return json_string(text);
}

void js_consumer_create_request(struct buf *out, const struct js_consumer_settings *settings)
{
	json_t *request = json_object();
	json_t *config = json_object();
	bool is_all = settings->start_time_ms <= 0;

	json_object_set_new(config, "durable_name", string(settings->durable));
	json_object_set_new(
		config, "deliver_policy", json_string(is_all ? "all" : "by_start_time"));
	if (!is_all)
		json_object_set_new(config, "opt_start_time", timestamp(settings->start_time_ms));
	json_object_set_new(config, "ack_policy", json_string("explicit"));
	json_object_set_new(config, "ack_wait", nanoseconds(settings->ack_wait_ms));
	json_object_set_new(config, "max_ack_pending", json_integer(settings->max_ack_pending));
	json_object_set_new(config, "max_deliver", json_integer(-1));
	json_object_set_new(config, "filter_subject", string(settings->filter_subject));
	json_object_set_new(config, "replay_policy", json_string("instant"));
	json_object_set_new(request, "stream_name", string(settings->stream));
	json_object_set_new(request, "config", config);
	append_json(out, request);
}

void js_lookback_create_request(
	struct buf *out, const char *stream, const char *filter_subject, int64_t inactive_ms)
{
	json_t *request = json_object();
	json_t *config = json_object();

	json_object_set_new(config, "deliver_policy", json_string("last_per_subject"));
	json_object_set_new(config, "ack_policy", json_string("none"));
	json_object_set_new(config, "filter_subject", string(filter_subject));
	json_object_set_new(config, "replay_policy", json_string("instant"));
	json_object_set_new(config, "inactive_threshold", nanoseconds(inactive_ms));
	json_object_set_new(config, "mem_storage", json_true());
	json_object_set_new(request, "stream_name", string(stream));
	json_object_set_new(request, "config", config);
	append_json(out, request);
}

static int consumer_info_from(struct js_consumer_info *info, const json_t *root, struct err *err)
{
	const json_t *config = json_object_get(root, "config");

	parse_error(&info->error, root);
	if (info->error.code != 0)
		return 0;
	if (!json_is_object(config))
		return err_setf(err, "consumer info without its configuration");
	if (copy_string(info->name, sizeof(info->name), root, "name", err) != 0 ||
		copy_string(info->durable, sizeof(info->durable), config, "durable_name", err) !=
			0 ||
		copy_string(info->filter_subject, sizeof(info->filter_subject), config,
			"filter_subject", err) != 0 ||
		copy_string(info->ack_policy, sizeof(info->ack_policy), config, "ack_policy",
			err) != 0 ||
		copy_string(info->created, sizeof(info->created), root, "created", err) != 0)
		return err_wrapf(err, "consumer info");
	info->is_push = json_string_length(json_object_get(config, "deliver_subject")) > 0;
	info->num_pending = get_count(root, "num_pending");
	info->ack_wait_ms = (int64_t)(get_count(config, "ack_wait") / NS_PER_MS);
	info->num_ack_pending = (int64_t)get_count(root, "num_ack_pending");
	info->delivered_consumer_seq =
		get_count(json_object_get(root, "delivered"), "consumer_seq");
	return 0;
}

int js_consumer_info_parse(struct js_consumer_info *info, struct slice json, struct err *err)
{
	json_t *root = parse_object(json, err);
	int result;

	memset(info, 0, sizeof(*info));
	if (root == NULL)
		return -1;
	result = consumer_info_from(info, root, err);
	json_decref(root);
	return result;
}

void js_pull_request(struct buf *out, int64_t batch, uint64_t max_bytes, int64_t expires_ms,
	int64_t heartbeat_ms)
{
	buf_appendf(out, "{\"batch\":%lld,\"expires\":%lld", (long long)batch,
		(long long)(expires_ms * NS_PER_MS));
	if (max_bytes > 0)
		buf_appendf(out, ",\"max_bytes\":%llu", (unsigned long long)max_bytes);
	if (heartbeat_ms > 0)
		buf_appendf(out, ",\"idle_heartbeat\":%lld", (long long)(heartbeat_ms * NS_PER_MS));
	buf_append_char(out, '}');
}

int64_t js_unacked_batch(uint64_t max_payload)
{
	const uint64_t most_bytes = (uint64_t)64 << 20, least = 16, most = 1000;
	uint64_t batch = max_payload == 0 ? least : most_bytes / max_payload;

	return (int64_t)(batch < least ? least : batch > most ? most : batch);
}

static int parse_number(struct slice text, uint64_t *number)
{
	*number = 0;
	if (text.len == 0)
		return -1;
	for (size_t i = 0; i < text.len; i++) {
		unsigned digit = (unsigned)(unsigned char)text.ptr[i] - '0';

		if (digit > 9 || *number > (UINT64_MAX - digit) / 10)
			return -1;
		*number = *number * 10 + digit;
	}
	return 0;
}

/* Splits at dots; the number of tokens, at most `max`, the last of which takes what remains. */
static size_t split(struct slice text, struct slice *tokens, size_t max)
{
	size_t count = 0;

	while (count < max - 1) {
		const char *dot = text.len == 0 ? NULL : memchr(text.ptr, '.', text.len);
		size_t len = dot == NULL ? text.len : (size_t)(dot - text.ptr);

		tokens[count++] = (struct slice){text.ptr, len};
		if (dot == NULL)
			return count;
		text.ptr += len + 1;
		text.len -= len + 1;
	}
	tokens[count++] = text;
	return count;
}

int js_delivery_parse(struct js_delivery *delivery, struct slice reply)
{
	/* $JS ACK [domain account] stream consumer, five numbers; in the longer form maybe more. */
	struct slice tokens[12];
	size_t count = split(reply, tokens, ARRAY_LEN(tokens));
	const struct slice *numbers = count == 9 ? tokens + 4 : tokens + 6;
	uint64_t stored_ns;

	if ((count != 9 && count < 11) || !slice_is(tokens[0], "$JS") ||
		!slice_is(tokens[1], "ACK"))
		return -1;
	if (parse_number(numbers[0], &delivery->delivered) != 0 ||
		parse_number(numbers[1], &delivery->stream_seq) != 0 ||
		parse_number(numbers[2], &delivery->consumer_seq) != 0 ||
		parse_number(numbers[3], &stored_ns) != 0 ||
		parse_number(numbers[4], &delivery->pending) != 0)
		return -1;
	delivery->stored_ms = (int64_t)(stored_ns / NS_PER_MS);
	return 0;
}

void js_stored_request(struct buf *out, const char *subject)
{
	json_t *request = json_object();

	json_object_set_new(request, "last_by_subj", string(subject));
	append_json(out, request);
}

/* Absent where it would be empty. */
static int take_base64(struct buf *out, const json_t *object, const char *key, struct err *err)
{
	const json_t *value = json_object_get(object, key);
	struct slice text = {json_string_value(value), json_string_length(value)};

	if (text.len == 0 || base64_decode(text, out) == 0)
		return 0;
	return err_setf(err, "\"%s\" of a stored message is not base64", key);
}

static int stored_from(struct js_stored *stored, const json_t *root, struct err *err)
{
	const json_t *message = json_object_get(root, "message");

	parse_error(&stored->error, root);
	if (stored->error.code != 0)
		return 0;
	if (!json_is_object(message))
		return err_setf(err, "an answer without a message");
	if (take_base64(&stored->headers, message, "hdrs", err) == 0 &&
		take_base64(&stored->body, message, "data", err) == 0)
		return 0;
	js_stored_fini(stored);
	return -1;
}

int js_stored_parse(struct js_stored *stored, struct slice json, struct err *err)
{
	json_t *root = parse_bounded(json, STORED_MAX_BYTES, err);
	int result;

	*stored = (struct js_stored){0};
	if (root == NULL)
		return -1;
	result = stored_from(stored, root, err);
	json_decref(root);
	return result;
}

void js_stored_fini(struct js_stored *stored)
{
	buf_free(&stored->headers);
	buf_free(&stored->body);
}
