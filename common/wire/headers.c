/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of a scrape, out and in. One table says which headers there are and how each is read,
 * so that the receiver looks at no other. Numbers are parsed by hand: strtod and friends accept
 * signs, spaces, hex, "inf", and the locale's decimal point.
 */
#include "common/wire/wire.h"

#include "common/core/utf8.h"

#include <inttypes.h>
#include <jansson.h>

#define UNKNOWN_ERROR "unknown"
#define MICRO         1000000
#define QUOTE_BYTES   40

static const struct {
	const char *name;
	enum wire_flag flag;
} flags[] = {
	{"honor_labels", WIRE_HONOR_LABELS},
	{"ignore_timestamps", WIRE_IGNORE_TIMESTAMPS},
	{"strict", WIRE_STRICT},
	{"allow_loop", WIRE_ALLOW_LOOP},
	{"removed", WIRE_REMOVED},
};

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/* Whether a header may carry it: UTF-8 without control bytes. */
static bool is_printable(struct slice text)
{
	while (text.len > 0) {
		size_t len = utf8_first(text);

		if (len == 0 || is_control(text.ptr[0]))
			return false;
		text.ptr += len;
		text.len -= len;
	}
	return true;
}

static struct slice trimmed(struct slice text)
{
	while (text.len > 0 && text.ptr[text.len - 1] == ' ')
		text.len--;
	while (text.len > 0 && text.ptr[0] == ' ')
		text = (struct slice){text.ptr + 1, text.len - 1};
	return text;
}

/* A copy that a header may carry: control bytes become spaces, what is no UTF-8 U+FFFD. NULL if
 * nothing but spaces remains, which the way through NATS would take off. */
static char *printable(const char *text)
{
	struct buf out = {0};
	struct slice shown;
	char *copy;
	struct slice rest = slice_from(text);

	while (rest.len > 0 && out.len <= WIRE_HEADER_MAX_BYTES) {
		size_t len = utf8_first(rest);

		if (len == 0)
			buf_append_str(&out, UTF8_REPLACEMENT);
		else if (is_control(rest.ptr[0]))
			buf_append_char(&out, ' ');
		else
			buf_append(&out, rest.ptr, len);
		rest.ptr += len == 0 ? 1 : len;
		rest.len -= len == 0 ? 1 : len;
	}
	shown = trimmed(utf8_cut(buf_slice(&out), WIRE_HEADER_MAX_BYTES));
	copy = shown.len == 0 ? NULL : slice_dup(shown);
	buf_free(&out);
	return copy;
}

/* Labels: which a target may add, and their JSON. */

static int check_label_name(struct slice name, struct err *err)
{
	struct slice quote = utf8_cut(name, QUOTE_BYTES);

	if (!label_name_is_valid(name))
		return err_setf(err, "\"%.*s\" is not a label name", SLICE_FMT(quote));
	if (slice_is(name, "job") || slice_is(name, "instance"))
		return err_setf(err, "label \"%.*s\" is part of the subject", SLICE_FMT(quote));
	if (name.len >= 2 && memcmp(name.ptr, "__", 2) == 0)
		return err_setf(err, "label \"%.*s\" is internal", SLICE_FMT(quote));
	return 0;
}

static void append_json_string(struct buf *out, const char *text)
{
	buf_append_char(out, '"');
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			buf_append(out, (char[]){'\\', *text}, 2);
		else if (is_control(*text))
			buf_appendf(out, "\\u%04x", (unsigned)*text);
		else
			buf_append_char(out, *text);
	}
	buf_append_char(out, '"');
}

/* Names in order, no spaces. */
static int append_labels(struct buf *out, const struct labels *labels, struct err *err)
{
	if (labels->count > WIRE_LABELS_MAX_COUNT)
		return err_setf(err, "more than %d labels", WIRE_LABELS_MAX_COUNT);
	for (size_t i = 0; i < labels->count; i++) {
		const struct label *label = &labels->items[i];

		if (check_label_name(slice_from(label->name), err) < 0)
			return -1;
		buf_append_char(out, i == 0 ? '{' : ',');
		append_json_string(out, label->name);
		buf_append_char(out, ':');
		append_json_string(out, label->value);
	}
	buf_append_char(out, '}');
	if (out->len > WIRE_LABELS_MAX_BYTES)
		return err_setf(err, "labels take more than %d bytes", WIRE_LABELS_MAX_BYTES);
	if (!is_printable(buf_slice(out)))
		return err_setf(err, "a label's value is not UTF-8");
	return 0;
}

static int labels_from_json(struct labels *labels, json_t *object, struct err *err)
{
	const char *name;
	json_t *value;

	if (!json_is_object(object))
		return err_setf(err, "not a JSON object");
	if (json_object_size(object) > WIRE_LABELS_MAX_COUNT)
		return err_setf(err, "more than %d labels", WIRE_LABELS_MAX_COUNT);
	json_object_foreach(object, name, value)
	{
		if (check_label_name(slice_from(name), err) < 0)
			return -1;
		if (!json_is_string(value))
			return err_setf(err, "label \"%.*s\" is not a string", QUOTE_BYTES, name);
		labels_set(labels, slice_from(name), slice_from(json_string_value(value)));
	}
	return 0;
}

/* Building. */

static void add(struct wire_headers *headers, const char *name, char *value)
{
	headers->items[headers->count++] = (struct wire_header){name, value};
}

/* Seconds with microseconds, as short as possible: "0.0123". */
static char *format_duration(double seconds)
{
	uint64_t micros = (uint64_t)(seconds * MICRO + 0.5);
	char *text = xasprintf("%" PRIu64 ".%06" PRIu64, micros / MICRO, micros % MICRO);
	size_t len = strlen(text);

	while (text[len - 1] == '0')
		len--;
	text[text[len - 1] == '.' ? len - 1 : len] = '\0';
	return text;
}

static char *format_flags(unsigned set)
{
	struct buf text = {0};

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (set & flags[i].flag)
			buf_appendf(&text, "%s%s", text.len > 0 ? "," : "", flags[i].name);
	buf_cstr(&text);
	return text.ptr;
}

static int check_ranges(const struct wire_scrape *scrape, struct err *err)
{
	if (scrape->time_ms < 0 || scrape->time_ms > WIRE_TIME_MAX_MS)
		return err_setf(err, "Ps-Time: %" PRId64 " is out of range", scrape->time_ms);
	if (scrape->interval_ms < 0 || scrape->interval_ms > WIRE_INTERVAL_MAX_MS)
		return err_setf(
			err, "Ps-Interval: %" PRId64 " is out of range", scrape->interval_ms);
	if (!(scrape->duration_s >= 0 && scrape->duration_s <= WIRE_DURATION_MAX_S))
		return err_setf(err, "Ps-Duration: %g is out of range", scrape->duration_s);
	if (scrape->encoding == ENCODING_ZSTD_DELTA &&
		(scrape->key_time_ms < 0 || scrape->key_time_ms > WIRE_TIME_MAX_MS))
		return err_setf(err, "Ps-Key: %" PRId64 " is out of range", scrape->key_time_ms);
	return 0;
}

static void add_error(struct wire_headers *headers, const char *error)
{
	char *text = printable(error);

	add(headers, "Ps-Up", xstrdup("0"));
	if (text != NULL && strcmp(text, UNKNOWN_ERROR) != 0)
		add(headers, "Ps-Error", text);
	else
		free(text);
}

int wire_headers_build(struct wire_headers *headers, struct slice subject,
	const struct wire_scrape *scrape, struct err *err)
{
	struct buf labels = {0};
	char *content_type, id[17];

	*headers = (struct wire_headers){0};
	if (check_ranges(scrape, err) < 0)
		return -1;
	if (scrape->labels.count > 0 && append_labels(&labels, &scrape->labels, err) < 0) {
		buf_free(&labels);
		return err_wrapf(err, "Ps-Labels");
	}
	add(headers, "Ps-Time", xasprintf("%" PRId64, scrape->time_ms));
	if (scrape->duration_s * MICRO >= 0.5)
		add(headers, "Ps-Duration", format_duration(scrape->duration_s));
	if (scrape->interval_ms > 0)
		add(headers, "Ps-Interval", xasprintf("%" PRId64, scrape->interval_ms));
	if (!scrape->up)
		add_error(headers, scrape->error);
	if (labels.len > 0)
		add(headers, "Ps-Labels", slice_dup(buf_slice(&labels)));
	if (scrape->flags != 0)
		add(headers, "Ps-Flags", format_flags(scrape->flags));
	content_type = printable(scrape->content_type);
	if (content_type != NULL)
		add(headers, "Content-Type", content_type);
	if (scrape->encoding != ENCODING_IDENTITY)
		add(headers, "Content-Encoding", xstrdup(encoding_name(scrape->encoding)));
	if (scrape->encoding == ENCODING_ZSTD_DELTA)
		add(headers, "Ps-Key", xasprintf("%" PRId64, scrape->key_time_ms));
	wire_msg_id(id, subject, scrape->time_ms);
	add(headers, "Nats-Msg-Id", xstrdup(id));
	buf_free(&labels);
	return 0;
}

void wire_headers_fini(struct wire_headers *headers)
{
	for (size_t i = 0; i < headers->count; i++)
		free(headers->items[i].value);
	*headers = (struct wire_headers){0};
}

/* Parsing: each reads one header's value, already known to be printable, into the scrape. */

/* All digits, at most `max`. */
static int parse_int(struct slice text, int64_t max, int64_t *value, struct err *err)
{
	*value = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return err_setf(err, "not a whole number");
		*value = *value > max ? *value : *value * 10 + (text.ptr[i] - '0');
	}
	return *value > max ? err_setf(err, "above %" PRId64, max) : 0;
}

static int parse_time(struct wire_scrape *scrape, struct slice text, struct err *err)
{
	return parse_int(text, WIRE_TIME_MAX_MS, &scrape->time_ms, err);
}

static int parse_interval(struct wire_scrape *scrape, struct slice text, struct err *err)
{
	if (parse_int(text, WIRE_INTERVAL_MAX_MS, &scrape->interval_ms, err) < 0)
		return -1;
	return scrape->interval_ms == 0 ? err_setf(err, "below 1") : 0;
}

/* Digits, then perhaps a point and up to six digits. */
static int parse_duration(struct wire_scrape *scrape, struct slice text, struct err *err)
{
	const char *point = memchr(text.ptr, '.', text.len);
	struct slice whole = {text.ptr, point == NULL ? text.len : (size_t)(point - text.ptr)};
	struct slice rest = {point, point == NULL ? 0 : text.len - whole.len};
	int64_t seconds, micros = 0;

	if (whole.len == 0 || rest.len == 1 || rest.len > 7)
		return err_setf(err, "not seconds with up to six decimals");
	if (parse_int(whole, (int64_t)WIRE_DURATION_MAX_S, &seconds, err) < 0)
		return -1;
	if (rest.len > 0 &&
		parse_int((struct slice){rest.ptr + 1, rest.len - 1}, MICRO, &micros, err) < 0)
		return -1;
	for (size_t digits = rest.len; digits > 0 && digits < 7; digits++)
		micros *= 10;
	scrape->duration_s = (double)(seconds * MICRO + micros) / MICRO;
	if (scrape->duration_s > WIRE_DURATION_MAX_S)
		return err_setf(err, "above %.0f", WIRE_DURATION_MAX_S);
	return 0;
}

static int parse_up(struct wire_scrape *scrape, struct slice text, struct err *err)
{
	scrape->up = slice_is(text, "1");
	return scrape->up || slice_is(text, "0") ? 0 : err_setf(err, "neither 0 nor 1");
}

static int parse_error(struct wire_scrape *scrape, struct slice text, struct err *err)
{
	(void)err;
	if (!scrape->up)
		scrape->error = slice_dup(text);
	return 0;
}

static int parse_labels(struct wire_scrape *scrape, struct slice text, struct err *err)
{
	json_error_t problem;
	json_t *object = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, &problem);
	int result;

	if (object == NULL)
		return err_setf(err, "%s", problem.text);
	result = labels_from_json(&scrape->labels, object, err);
	json_decref(object);
	return result;
}

static int parse_flag(struct wire_scrape *scrape, struct slice name, struct err *err)
{
	if (name.len == 0)
		return err_setf(err, "empty item");
	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (slice_is(name, flags[i].name))
			scrape->flags |= flags[i].flag;
	return 0;
}

/* A later poller's flags are passed over. */
static int parse_flags(struct wire_scrape *scrape, struct slice text, struct err *err)
{
	for (;;) {
		const char *comma = text.len == 0 ? NULL : memchr(text.ptr, ',', text.len);
		size_t len = comma == NULL ? text.len : (size_t)(comma - text.ptr);

		if (parse_flag(scrape, (struct slice){text.ptr, len}, err) < 0)
			return -1;
		if (comma == NULL)
			return 0;
		text = (struct slice){comma + 1, text.len - len - 1};
	}
}

static int parse_content_type(struct wire_scrape *scrape, struct slice text, struct err *err)
{
	(void)err;
	scrape->content_type = slice_dup(text);
	return 0;
}

static int parse_content_encoding(struct wire_scrape *scrape, struct slice text, struct err *err)
{
	(void)err;
	scrape->encoding = encoding_parse(text);
	return 0;
}

static int parse_key(struct wire_scrape *scrape, struct slice text, struct err *err)
{
	return parse_int(text, WIRE_TIME_MAX_MS, &scrape->key_time_ms, err);
}

enum presence {
	OPTIONAL,
	REQUIRED,
	OF_DELTAS, /* required there, else passed over */
};

/* Ps-Up stands before Ps-Error, which counts only where it is 0, Content-Encoding before Ps-Key. */
static const struct {
	const char *name;
	size_t max_bytes;
	enum presence presence;
	int (*parse)(struct wire_scrape *scrape, struct slice text, struct err *err);
} known[] = {
	{"Ps-Time", WIRE_HEADER_MAX_BYTES, REQUIRED, parse_time},
	{"Ps-Duration", WIRE_HEADER_MAX_BYTES, OPTIONAL, parse_duration},
	{"Ps-Interval", WIRE_HEADER_MAX_BYTES, OPTIONAL, parse_interval},
	{"Ps-Up", WIRE_HEADER_MAX_BYTES, OPTIONAL, parse_up},
	{"Ps-Error", WIRE_HEADER_MAX_BYTES, OPTIONAL, parse_error},
	{"Ps-Labels", WIRE_LABELS_MAX_BYTES, OPTIONAL, parse_labels},
	{"Ps-Flags", WIRE_HEADER_MAX_BYTES, OPTIONAL, parse_flags},
	{"Content-Type", WIRE_HEADER_MAX_BYTES, OPTIONAL, parse_content_type},
	{"Content-Encoding", WIRE_HEADER_MAX_BYTES, OPTIONAL, parse_content_encoding},
	{"Ps-Key", WIRE_HEADER_MAX_BYTES, OF_DELTAS, parse_key},
};

static int parse_known(struct wire_scrape *scrape, size_t which, wire_header_lookup lookup,
	void *arg, struct err *err)
{
	struct slice value = {NULL, 0};
	enum presence presence = known[which].presence;
	int times;

	if (presence == OF_DELTAS && scrape->encoding != ENCODING_ZSTD_DELTA)
		return 0;
	times = lookup(arg, known[which].name, &value);
	if (times > 1)
		return err_setf(err, "occurs more than once");
	if (times == 0)
		return presence == OPTIONAL ? 0 : err_setf(err, "missing");
	if (value.len == 0)
		return err_setf(err, "empty");
	if (value.len > known[which].max_bytes)
		return err_setf(err, "longer than %zu bytes", known[which].max_bytes);
	if (!is_printable(value))
		return err_setf(err, "not printable UTF-8");
	return known[which].parse(scrape, value, err);
}

int wire_headers_parse(
	struct wire_scrape *scrape, wire_header_lookup lookup, void *arg, struct err *err)
{
	*scrape = (struct wire_scrape){.up = true, .encoding = ENCODING_IDENTITY};
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (parse_known(scrape, i, lookup, arg, err) < 0) {
			wire_scrape_fini(scrape);
			return err_wrapf(err, "%s", known[i].name);
		}
	if (!scrape->up && scrape->error == NULL)
		scrape->error = xstrdup(UNKNOWN_ERROR);
	return 0;
}

void wire_scrape_fini(struct wire_scrape *scrape)
{
	free(scrape->error);
	free(scrape->content_type);
	labels_free(&scrape->labels);
	*scrape = (struct wire_scrape){0};
}
