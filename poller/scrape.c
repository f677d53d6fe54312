/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judgement of a fetch, as a chain of questions: did an answer come whole, is its status 200,
 * can its encoding be passed on, is it small enough. The first no is the scrape's error.
 */
#include "poller/scrape.h"

#include "common/core/units.h"
#include "poller/target.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

/* What an allocation takes beyond what was asked for, about. */
#define ALLOCATION_OVERHEAD_BYTES 16

static const char *const outcome_names[SCRAPE_OUTCOME_COUNT] = {
	[SCRAPE_SUCCESS] = "success",
	[SCRAPE_UNREACHABLE] = "unreachable",
	[SCRAPE_TIMED_OUT] = "timeout",
	[SCRAPE_BAD_STATUS] = "http_status",
	[SCRAPE_TOO_LARGE] = "too_large",
	[SCRAPE_BAD_ENCODING] = "encoding",
};

const char *scrape_outcome_name(enum scrape_outcome outcome)
{
	return outcome_names[outcome];
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct slice trimmed(struct slice s)
{
	while (s.len > 0 && is_blank(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

static bool is_word(struct slice s, const char *word)
{
	return s.len == strlen(word) && strncasecmp(s.ptr, word, s.len) == 0;
}

/* Cuts what is before the first `separator` off the front of *rest. */
static struct slice take_until(struct slice *rest, char separator)
{
	const char *end = rest->len == 0 ? NULL : memchr(rest->ptr, separator, rest->len);
	struct slice part = {rest->ptr, end == NULL ? rest->len : (size_t)(end - rest->ptr)};
	size_t used = part.len + (end != NULL);

	rest->ptr += used;
	rest->len -= used;
	return trimmed(part);
}

static bool is_default_parameter(struct slice parameter)
{
	struct slice value = parameter;
	struct slice name = take_until(&value, '=');

	value = trimmed(value);
	if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
		value = (struct slice){value.ptr + 1, value.len - 2};
	return parameter.len == 0 || (is_word(name, "version") && is_word(value, "0.0.4")) ||
	       (is_word(name, "charset") && is_word(value, "utf-8"));
}

bool scrape_is_default_type(struct slice content_type)
{
	struct slice rest = content_type;
	struct slice type = take_until(&rest, ';');
	bool is_default = type.len == 0 || is_word(type, "text/plain");

	while (is_default && rest.len > 0)
		is_default = is_default_parameter(take_until(&rest, ';'));
	return is_default;
}

/* HTTP's names for encodings do not mind case, and gzip has an old one. */
static enum encoding encoding_of(const char *content_encoding)
{
	static const struct {
		const char *name;
		enum encoding encoding;
	} passed_on[] = {
		{"", ENCODING_IDENTITY},
		{"identity", ENCODING_IDENTITY},
		{"gzip", ENCODING_GZIP},
		{"x-gzip", ENCODING_GZIP},
	};
	struct slice name = trimmed(slice_from(content_encoding));

	for (size_t i = 0; i < ARRAY_LEN(passed_on); i++)
		if (is_word(name, passed_on[i].name))
			return passed_on[i].encoding;
	return ENCODING_UNKNOWN;
}

struct scrape *scrape_new(const struct target *target, int64_t time_ms)
{
	const struct job_settings *job = target->job->settings;
	struct scrape *scrape = xcalloc(1, sizeof(*scrape));

	scrape->target = target;
	target_list_ref(target->list);
	scrape->wire.time_ms = time_ms;
	scrape->wire.interval_ms = job->scrape_interval_ms;
	scrape->wire.flags = job->honor_labels ? WIRE_HONOR_LABELS : 0;
	scrape->wire.up = true;
	scrape->wire.encoding = ENCODING_IDENTITY;
	return scrape;
}

void scrape_free(struct scrape *scrape)
{
	if (scrape == NULL)
		return;
	wire_scrape_fini(&scrape->wire);
	buf_free(&scrape->body);
	target_list_unref(scrape->target->list);
	free(scrape);
}

void scrape_fail(struct scrape *scrape, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	free(scrape->wire.error);
	free(scrape->wire.content_type);
	buf_free(&scrape->body);
	scrape->wire.error = xstrdup(text);
	scrape->wire.content_type = NULL;
	scrape->wire.encoding = ENCODING_IDENTITY;
	scrape->wire.up = false;
}

struct scrape *scrape_new_last(const struct target *target, int64_t time_ms)
{
	struct scrape *scrape = scrape_new(target, time_ms);

	scrape_fail(scrape, "not scraped any more");
	scrape->wire.flags |= WIRE_REMOVED;
	return scrape;
}

bool scrape_is_last(const struct scrape *scrape)
{
	return (scrape->wire.flags & WIRE_REMOVED) != 0;
}

static enum scrape_outcome fail_too_large(struct scrape *scrape, uint64_t limit_bytes)
{
	struct buf limit = {0};

	units_format_size(limit_bytes, &limit);
	scrape_fail(scrape, "body exceeds %s", buf_cstr(&limit));
	buf_free(&limit);
	return SCRAPE_TOO_LARGE;
}

static enum scrape_outcome fail_timed_out(struct scrape *scrape, int64_t timeout_ms)
{
	struct buf timeout = {0};

	units_format_duration(timeout_ms, &timeout);
	scrape_fail(scrape, "timed out after %s", buf_cstr(&timeout));
	buf_free(&timeout);
	return SCRAPE_TIMED_OUT;
}

/* The fetch brought a whole answer of status 200. */
static enum scrape_outcome judge_body(
	struct scrape *scrape, struct fetch_result *result, struct codec *codec)
{
	uint64_t limit_bytes = scrape->target->job->settings->body_size_limit_bytes;
	enum encoding encoding = encoding_of(result->content_encoding);

	if (encoding == ENCODING_UNKNOWN) {
		scrape_fail(
			scrape, "unsupported content encoding \"%s\"", result->content_encoding);
		return SCRAPE_BAD_ENCODING;
	}
	if (limit_bytes > 0 && limit_bytes < SIZE_MAX &&
		!codec_fits(codec, encoding, buf_slice(&result->body), (size_t)limit_bytes))
		return fail_too_large(scrape, limit_bytes);
	scrape->wire.encoding = encoding;
	if (!scrape_is_default_type(slice_from(result->content_type)))
		scrape->wire.content_type = xstrdup(result->content_type);
	scrape->body = buf_take(&result->body);
	return SCRAPE_SUCCESS;
}

enum scrape_outcome scrape_judge(
	struct scrape *scrape, struct fetch_result *result, struct codec *codec)
{
	const struct target_job *job = scrape->target->job;

	scrape->wire.duration_s = result->duration_s;
	switch (result->outcome) {
	case FETCH_FAILED:
		scrape_fail(scrape, "%s", result->error);
		return SCRAPE_UNREACHABLE;
	case FETCH_TIMED_OUT:
		return fail_timed_out(scrape, job->settings->scrape_timeout_ms);
	case FETCH_TOO_LARGE:
		return fail_too_large(scrape, job->body_limit_bytes);
	case FETCH_DONE:
		break;
	}
	if (result->status != 200) {
		scrape_fail(scrape, "HTTP %d", result->status);
		return SCRAPE_BAD_STATUS;
	}
	return judge_body(scrape, result, codec);
}

static size_t allocated_bytes(size_t asked_bytes)
{
	return asked_bytes == 0 ? 0 : asked_bytes + ALLOCATION_OVERHEAD_BYTES;
}

static size_t text_bytes(const char *text)
{
	return text == NULL ? 0 : allocated_bytes(strlen(text) + 1);
}

size_t scrape_bytes(const struct scrape *scrape)
{
	return allocated_bytes(sizeof(*scrape)) + allocated_bytes(scrape->body.capacity) +
	       text_bytes(scrape->wire.error) + text_bytes(scrape->wire.content_type);
}

void scrape_trim(struct scrape *scrape)
{
	buf_trim(&scrape->body);
}
