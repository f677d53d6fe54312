/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to member and back, by type. Numbers are decimal and nothing else: what YAML 1.1 would read
 * as octal, hexadecimal or sexagesimal is an error rather than a surprise.
 */
#include "common/config/value.h"

#include "common/core/units.h"
#include "common/core/utf8.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#define QUOTED_MAX 80 /* of a value in an error text */

struct type_ops {
	const char *name; /* in the reference */
	int (*set)(const struct config_key *key, void *member, struct slice text, struct err *err);
	void (*format)(const struct config_key *key, const void *member, struct buf *out);
	bool plain;
};

static int quote_len(struct slice text)
{
	return text.len > QUOTED_MAX ? QUOTED_MAX : (int)text.len;
}

static int set_bool(const struct config_key *key, void *member, struct slice text, struct err *err)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {{"true", true}, {"false", false}, {"yes", true}, {"no", false}, {"on", true},
		{"off", false}};

	(void)key;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (text.len == strlen(words[i].word) &&
			strncasecmp(text.ptr, words[i].word, text.len) == 0) {
			*(bool *)member = words[i].value;
			return 0;
		}
	}
	return err_setf(err, "\"%.*s\" is neither true nor false", quote_len(text), text.ptr);
}

static bool is_digits(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!isdigit((unsigned char)text.ptr[i]))
			return false;
	return text.len > 0;
}

static int parse_integer(struct slice text, int64_t *value, struct err *err)
{
	bool negative = text.len > 0 && text.ptr[0] == '-';
	struct slice digits = {text.ptr + negative, text.len - negative};
	int64_t sum = 0;

	if (!is_digits(digits))
		return err_setf(err, "\"%.*s\" is not a whole number", quote_len(text), text.ptr);
	if (digits.len > 1 && digits.ptr[0] == '0')
		return err_setf(err, "\"%.*s\" begins with 0: numbers are decimal", quote_len(text),
			text.ptr);
	for (size_t i = 0; i < digits.len; i++) {
		int digit = digits.ptr[i] - '0';

		if (__builtin_mul_overflow(sum, 10, &sum) ||
			__builtin_add_overflow(sum, negative ? -digit : digit, &sum))
			return err_setf(
				err, "\"%.*s\" is too large a number", quote_len(text), text.ptr);
	}
	*value = sum;
	return 0;
}

static void format_number(const struct config_key *key, int64_t value, struct buf *out)
{
	if (key->type == CONFIG_DURATION)
		units_format_duration(value, out);
	else if (key->type == CONFIG_SIZE && value >= 0)
		units_format_size((uint64_t)value, out);
	else
		buf_appendf(out, "%" PRId64, value);
}

static int check_bounds(
	const struct config_key *key, int64_t value, struct slice text, struct err *err)
{
	struct buf bounds = {0};

	if ((key->min == 0 && key->max == 0) || (value >= key->min && value <= key->max))
		return 0;
	buf_append_str(&bounds, value < key->min ? "at least " : "at most ");
	format_number(key, value < key->min ? key->min : key->max, &bounds);
	err_setf(err, "%.*s is out of bounds: it must be %s", quote_len(text), text.ptr,
		buf_cstr(&bounds));
	buf_free(&bounds);
	return -1;
}

static int store_number(const struct config_key *key, void *member, int64_t value)
{
	if (key->size == sizeof(int))
		*(int *)member = (int)value;
	else
		*(int64_t *)member = value;
	return 0;
}

static int64_t load_number(const struct config_key *key, const void *member)
{
	return key->size == sizeof(int) ? *(const int *)member : *(const int64_t *)member;
}

static int set_int(const struct config_key *key, void *member, struct slice text, struct err *err)
{
	int64_t value;

	if (parse_integer(text, &value, err) != 0 || check_bounds(key, value, text, err) != 0)
		return -1;
	return store_number(key, member, value);
}

static int set_size(const struct config_key *key, void *member, struct slice text, struct err *err)
{
	uint64_t bytes;

	if (key->min == -1 && slice_is(text, "-1"))
		return store_number(key, member, -1);
	if (units_parse_size(text, &bytes, err) != 0)
		return -1;
	if (bytes > INT64_MAX)
		return err_setf(err, "%.*s is too large", quote_len(text), text.ptr);
	if (check_bounds(key, (int64_t)bytes, text, err) != 0)
		return -1;
	return store_number(key, member, (int64_t)bytes);
}

static int parse_duration(
	const struct config_key *key, struct slice text, int64_t *ms, struct err *err)
{
	if (!is_digits(text) || slice_is(text, "0"))
		return units_parse_duration(text, ms, err);
	if (!(key->flags & CONFIG_SECONDS))
		return err_setf(err, "%.*s has no unit: write %.*ss for seconds", quote_len(text),
			text.ptr, quote_len(text), text.ptr);
	if (parse_integer(text, ms, err) != 0)
		return -1;
	if (*ms > UNITS_MAX_DURATION_MS / 1000)
		return err_setf(err, "%.*s is too long a time", quote_len(text), text.ptr);
	*ms *= 1000;
	return 0;
}

static int set_duration(
	const struct config_key *key, void *member, struct slice text, struct err *err)
{
	int64_t ms;

	if (parse_duration(key, text, &ms, err) != 0 || check_bounds(key, ms, text, err) != 0)
		return -1;
	return store_number(key, member, ms);
}

static void format_int(const struct config_key *key, const void *member, struct buf *out)
{
	format_number(key, load_number(key, member), out);
}

static void format_bool(const struct config_key *key, const void *member, struct buf *out)
{
	(void)key;
	buf_append_str(out, *(const bool *)member ? "true" : "false");
}

static int set_enum(const struct config_key *key, void *member, struct slice text, struct err *err)
{
	const char *nearest = NULL;
	size_t best = SIZE_MAX, distance;
	struct buf all = {0};

	for (int i = 0; key->choices[i] != NULL; i++) {
		if (slice_is(text, key->choices[i])) {
			*(int *)member = i;
			buf_free(&all);
			return 0;
		}
		if (config_is_near(text, slice_from(key->choices[i]), &distance) &&
			distance < best) {
			best = distance;
			nearest = key->choices[i];
		}
		buf_appendf(&all, "%s%s", i == 0 ? "" : ", ", key->choices[i]);
	}
	err_setf(err, "\"%.*s\" is none of %s%s%s%s", quote_len(text), text.ptr, buf_cstr(&all),
		nearest == NULL ? "" : ", did you mean \"", nearest == NULL ? "" : nearest,
		nearest == NULL ? "" : "\"?");
	buf_free(&all);
	return -1;
}

static void format_enum(const struct config_key *key, const void *member, struct buf *out)
{
	buf_append_str(out, key->choices[*(const int *)member]);
}

bool config_is_utf8(struct slice text)
{
	size_t len;

	for (; text.len > 0; text = (struct slice){text.ptr + len, text.len - len}) {
		len = utf8_first(text);
		if (len == 0)
			return false;
	}
	return true;
}

/* What every text must be, whether from the file or through a variable. */
static int check_text(const struct config_key *key, struct slice text, struct err *err)
{
	int result = 0;
	char *copy;

	if (text.len == 0)
		return err_setf(err, "must not be empty");
	if (!config_is_utf8(text))
		return err_setf(err, "is not valid UTF-8");
	if (key->max > 0 && text.len > (size_t)key->max)
		return err_setf(err, "is longer than %" PRId64 " bytes", key->max);
	if (key->check == NULL)
		return 0;
	copy = slice_dup(text);
	result = key->check(copy, err);
	free(copy);
	return result;
}

static int set_string(
	const struct config_key *key, void *member, struct slice text, struct err *err)
{
	bool is_none = text.len == 0 && (key->flags & CONFIG_EMPTY);

	if (!is_none && check_text(key, text, err) != 0)
		return -1;
	free(*(char **)member);
	*(char **)member = is_none ? NULL : slice_dup(text);
	return 0;
}

/* `$` was `$$` in the file where variables are expanded. */
static void append_unexpanded(const struct config_key *key, const char *text, struct buf *out)
{
	for (; *text != '\0'; text++)
		buf_append_str(out,
			(char[]){*text, *text == '$' && (key->flags & CONFIG_EXPAND) ? '$' : '\0',
				'\0'});
}

static void format_string(const struct config_key *key, const void *member, struct buf *out)
{
	const char *text = *(char *const *)member;

	append_unexpanded(key, text == NULL ? "" : text, out);
}

static int set_strings(
	const struct config_key *key, void *member, struct slice text, struct err *err)
{
	return config_add_strings(key, member, text, err);
}

static const struct type_ops all_ops[] = {
	[CONFIG_BOOL] = {"boolean", set_bool, format_bool, true},
	[CONFIG_INT] = {"number", set_int, format_int, true},
	[CONFIG_SIZE] = {"size", set_size, format_int, true},
	[CONFIG_DURATION] = {"duration", set_duration, format_int, true},
	[CONFIG_ENUM] = {"choice", set_enum, format_enum, true},
	[CONFIG_STRING] = {"text", set_string, format_string, false},
	[CONFIG_STRINGS] = {"list of texts", set_strings, NULL, false},
	[CONFIG_LABELS] = {"mapping of texts", NULL, NULL, false},
	[CONFIG_SECTION] = {"section", NULL, NULL, false},
	[CONFIG_LIST] = {"list", NULL, NULL, false},
	[CONFIG_MAP] = {"mapping", NULL, NULL, false},
};

bool config_type_is_scalar(enum config_type type)
{
	return all_ops[type].format != NULL;
}

bool config_type_is_plain(enum config_type type)
{
	return all_ops[type].plain;
}

int config_set(const struct config_key *key, void *member, struct slice text, struct err *err)
{
	return all_ops[key->type].set(key, member, text, err);
}

void config_format(const struct config_key *key, const void *member, struct buf *out)
{
	all_ops[key->type].format(key, member, out);
}

static struct slice trimmed(struct slice text)
{
	while (text.len > 0 && isspace((unsigned char)text.ptr[0]))
		text = (struct slice){text.ptr + 1, text.len - 1};
	while (text.len > 0 && isspace((unsigned char)text.ptr[text.len - 1]))
		text.len--;
	return text;
}

int config_add_strings(
	const struct config_key *key, struct string_list *list, struct slice text, struct err *err)
{
	for (;;) {
		const char *comma =
			(key->flags & CONFIG_COMMA) ? memchr(text.ptr, ',', text.len) : NULL;
		size_t len = comma == NULL ? text.len : (size_t)(comma - text.ptr);
		struct slice item = {text.ptr, len};

		if (key->flags & CONFIG_COMMA)
			item = trimmed(item);
		if (check_text(key, item, err) != 0)
			return -1;
		string_list_add(list, item);
		if (comma == NULL)
			return 0;
		text = (struct slice){comma + 1, text.len - len - 1};
	}
}

/* The length of a variable's name at the start of `text`. */
static size_t variable_length(struct slice text)
{
	size_t i = 0;

	while (i < text.len && (isalpha((unsigned char)text.ptr[i]) || text.ptr[i] == '_' ||
				       (i > 0 && isdigit((unsigned char)text.ptr[i]))))
		i++;
	return i;
}

/* `text` follows "${"; what was used of it, or 0 and `err`. */
static size_t expand_variable(struct slice text, struct buf *out, bool *is_unset, struct err *err)
{
	size_t len = variable_length(text);
	const char *value;
	char *name;

	if (len == 0 || len >= text.len || text.ptr[len] != '}') {
		err_setf(err, "${ must be followed by a variable's name and }; write $${ for ${");
		return 0;
	}
	name = xstrndup(text.ptr, len);
	value = getenv(name);
	*is_unset = value == NULL;
	if (value == NULL)
		err_setf(err, "the environment variable %s is not set", name);
	else
		buf_append_str(out, value);
	free(name);
	return value == NULL ? 0 : len + 1;
}

int config_expand(struct slice text, struct buf *out, bool *is_unset, struct err *err)
{
	*is_unset = false;
	for (size_t i = 0; i < text.len; i++) {
		char next = i + 1 < text.len ? text.ptr[i + 1] : '\0';
		size_t used;

		if (text.ptr[i] != '$' || next != '{') {
			buf_append_char(out, text.ptr[i]);
			i += text.ptr[i] == '$' && next == '$';
			continue;
		}
		used = expand_variable(
			(struct slice){text.ptr + i + 2, text.len - i - 2}, out, is_unset, err);
		if (used == 0)
			return -1;
		i += used + 1;
	}
	return 0;
}

void config_describe_type(const struct config_key *key, struct buf *out)
{
	if (key->type != CONFIG_ENUM) {
		buf_append_str(out, all_ops[key->type].name);
		return;
	}
	for (size_t i = 0; key->choices[i] != NULL; i++)
		buf_appendf(out, "%s%s", i == 0 ? "" : ", ", key->choices[i]);
}

void config_describe_default(const struct config_key *key, struct buf *out)
{
	if (key->flags & CONFIG_REQUIRED)
		buf_append_str(out, "required");
	else if (key->fallback_note != NULL)
		buf_append_str(out, key->fallback_note);
	else if (key->flags & CONFIG_INHERIT)
		buf_append_str(out, "the global one");
	else if (key->fallback != NULL && key->fallback[0] != '\0')
		buf_appendf(out, "`%s`", key->fallback);
	else
		buf_append_str(out, "none");
}
