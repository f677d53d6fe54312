/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON library makes a hundred bytes of "[]", so that a hostile envelope could cost many times
 * its size: a scan beforehand lets only one flat object of a few members through to it.
 */
#include "common/wire/legacy.h"

#include "common/core/base64.h"
#include "common/wire/wire.h"

#include <jansson.h>

#define MAX_MEMBERS    32
#define MAX_TIME_S     (WIRE_TIME_MAX_MS / 1000)
#define NAME_MAX_BYTES 255

/* Behind the string that begins at `at`, or the length if it does not end. */
static size_t skip_string(struct slice json, size_t at)
{
	for (at++; at < json.len && json.ptr[at] != '"'; at++)
		if (json.ptr[at] == '\\')
			at++;
	return at < json.len ? at + 1 : json.len;
}

/* Whether no array, no inner object and few members are in it; it need not be JSON at all. */
static bool is_flat(struct slice json)
{
	size_t braces = 0, commas = 0;

	for (size_t at = 0; at < json.len;) {
		char c = json.ptr[at];

		if (c == '"') {
			at = skip_string(json, at);
			continue;
		}
		braces += c == '{';
		commas += c == ',';
		if (c == '[' || braces > 1 || commas >= MAX_MEMBERS)
			return false;
		at++;
	}
	return true;
}

static int take_name(const json_t *object, const char *key, struct buf *name, struct err *err)
{
	const json_t *value = json_object_get(object, key);
	size_t len = json_string_length(value);

	if (!json_is_string(value) || len == 0)
		return err_setf(err, "\"%s\" is missing or not a string", key);
	if (len > NAME_MAX_BYTES)
		return err_setf(err, "\"%s\" is longer than %d bytes", key, NAME_MAX_BYTES);
	buf_append(name, json_string_value(value), len);
	return 0;
}

/* Absent, null and empty are the same. */
static int take_publisher(const json_t *object, struct buf *name, struct err *err)
{
	const json_t *value = json_object_get(object, "publisher");

	if (value == NULL || json_is_null(value) ||
		(json_is_string(value) && json_string_length(value) == 0))
		return 0;
	return take_name(object, "publisher", name, err);
}

static int take_time(const json_t *object, int64_t *time_ms, struct err *err)
{
	const json_t *value = json_object_get(object, "time");
	json_int_t seconds = json_integer_value(value);

	if (!json_is_integer(value))
		return err_setf(err, "\"time\" is missing or not a whole number");
	if (seconds < 0 || seconds > MAX_TIME_S)
		return err_setf(err, "\"time\" is out of range");
	*time_ms = seconds * 1000;
	return 0;
}

static int take_body(const json_t *object, struct buf *body, struct err *err)
{
	const json_t *value = json_object_get(object, "Scrape");

	if (!json_is_string(value))
		return err_setf(err, "\"Scrape\" is missing or not a string");
	if (base64_decode(
		    (struct slice){json_string_value(value), json_string_length(value)}, body) < 0)
		return err_setf(err, "\"Scrape\" is not base64");
	return 0;
}

static int take_all(struct legacy_scrape *scrape, const json_t *object, struct err *err)
{
	if (!json_is_object(object))
		return err_setf(err, "not a JSON object");
	if (take_name(object, "job", &scrape->job, err) < 0 ||
		take_name(object, "instance", &scrape->instance, err) < 0 ||
		take_publisher(object, &scrape->publisher, err) < 0 ||
		take_time(object, &scrape->time_ms, err) < 0)
		return -1;
	return take_body(object, &scrape->body, err);
}

/* The library's words without what they quote: payloads are not for logs. */
static int refuse_json(const json_error_t *problem, struct err *err)
{
	const char *quote = strstr(problem->text, " near '");
	size_t len = quote == NULL ? strlen(problem->text) : (size_t)(quote - problem->text);

	return err_setf(err, "envelope is not JSON: %.*s", (int)len, problem->text);
}

int legacy_parse(struct legacy_scrape *scrape, struct slice json, struct err *err)
{
	json_error_t problem;
	json_t *object;
	int result;

	*scrape = (struct legacy_scrape){0};
	if (json.len > LEGACY_MAX_BYTES)
		return err_setf(err, "envelope is longer than %d bytes", LEGACY_MAX_BYTES);
	if (!is_flat(json))
		return err_setf(err, "envelope is not one flat JSON object");
	object = json_loadb(
		json.len == 0 ? "" : json.ptr, json.len, JSON_REJECT_DUPLICATES, &problem);
	if (object == NULL)
		return refuse_json(&problem, err);
	result = take_all(scrape, object, err);
	json_decref(object);
	if (result == 0)
		return 0;
	legacy_fini(scrape);
	return err_wrapf(err, "envelope");
}

void legacy_fini(struct legacy_scrape *scrape)
{
	buf_free(&scrape->job);
	buf_free(&scrape->instance);
	buf_free(&scrape->publisher);
	buf_free(&scrape->body);
}
