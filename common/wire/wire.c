/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subjects and message ids; headers.c has the headers. A name and its token are in one-to-one
 * relation: what escaping would not have produced is refused, so that no target has two subjects.
 */
#include "common/wire/wire.h"

#include "common/core/hash.h"
#include "common/core/utf8.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define HASH_DIGITS 16
#define TIME_DIGITS 13 /* of WIRE_TIME_MAX_MS */

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

/* -1 unless it is an upper-case hex digit, or a lower-case one where `lower` asks for those. */
static int hex_digit(char c, bool lower)
{
	char ten = lower ? 'a' : 'A';

	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= ten && c <= ten + 5 ? c - ten + 10 : -1;
}

int wire_escape(struct slice name, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t start = out->len;

	for (size_t i = 0; i < name.len && out->len - start <= WIRE_TOKEN_MAX_BYTES; i++) {
		unsigned char c = (unsigned char)name.ptr[i];

		if (is_plain(name.ptr[i]))
			buf_append_char(out, name.ptr[i]);
		else
			buf_append(out, (char[]){'=', digits[c >> 4], digits[c & 15]}, 3);
	}
	if (name.len > 0 && out->len - start <= WIRE_TOKEN_MAX_BYTES)
		return 0;
	out->len = start;
	return -1;
}

/* The byte behind '=', which must be one that needs it. */
static int unescape_byte(struct slice digits, char *byte)
{
	int high, low;

	if (digits.len < 2)
		return -1;
	high = hex_digit(digits.ptr[0], false);
	low = hex_digit(digits.ptr[1], false);
	if (high < 0 || low < 0)
		return -1;
	*byte = (char)(high << 4 | low);
	return is_plain(*byte) ? -1 : 0;
}

int wire_unescape(struct slice token, struct buf *out)
{
	size_t start = out->len;

	if (token.len == 0 || token.len > WIRE_TOKEN_MAX_BYTES)
		return -1;
	for (size_t i = 0; i < token.len; i++) {
		char c = token.ptr[i];
		struct slice digits = {token.ptr + i + 1, token.len - i - 1};
		bool escaped = c == '=';

		if (escaped ? unescape_byte(digits, &c) < 0 : !is_plain(c)) {
			out->len = start;
			return -1;
		}
		buf_append_char(out, c);
		i += escaped ? 2 : 0;
	}
	return 0;
}

bool wire_topic_is_valid(struct slice topic)
{
	char before = '.';

	if (topic.len > WIRE_TOKEN_MAX_BYTES)
		return false;
	for (size_t i = 0; i < topic.len; i++) {
		char c = topic.ptr[i];

		if ((unsigned char)c <= ' ' || c == 0x7f || c == '*' || c == '>')
			return false;
		if (c == '.' && before == '.')
			return false;
		before = c;
	}
	return before != '.';
}

/* Takes the next token off *rest, with the dot behind it; false at the end. */
static bool take_token(struct slice *rest, struct slice *token)
{
	const char *dot;

	if (rest->ptr == NULL)
		return false;
	dot = rest->len == 0 ? NULL : memchr(rest->ptr, '.', rest->len);
	*token = (struct slice){rest->ptr, dot == NULL ? rest->len : (size_t)(dot - rest->ptr)};
	*rest = dot == NULL ? (struct slice){NULL, 0}
			    : (struct slice){dot + 1, rest->len - token->len - 1};
	return true;
}

static bool is_name(struct slice name)
{
	while (name.len > 0) {
		size_t len = utf8_first(name);

		if (len == 0 || name.ptr[0] == '\0')
			return false;
		name.ptr += len;
		name.len -= len;
	}
	return true;
}

static bool take_name(struct slice *rest, struct buf *name)
{
	struct slice token;

	return take_token(rest, &token) && wire_unescape(token, name) == 0 &&
	       is_name(buf_slice(name));
}

/* "0", or 16 digits that are not all 0. */
static bool take_hash(struct slice *rest, uint64_t *hash)
{
	struct slice token;

	*hash = 0;
	if (!take_token(rest, &token))
		return false;
	if (slice_is(token, "0"))
		return true;
	if (token.len != HASH_DIGITS)
		return false;
	for (size_t i = 0; i < token.len; i++) {
		int digit = hex_digit(token.ptr[i], true);

		if (digit < 0)
			return false;
		*hash = *hash << 4 | (uint64_t)digit;
	}
	return *hash != 0;
}

static bool take_time(struct slice *rest, int64_t *time_ms)
{
	struct slice token;

	*time_ms = 0;
	if (!take_token(rest, &token) || token.len == 0 || token.len > TIME_DIGITS)
		return false;
	for (size_t i = 0; i < token.len; i++) {
		if (token.ptr[i] < '0' || token.ptr[i] > '9')
			return false;
		*time_ms = *time_ms * 10 + (token.ptr[i] - '0');
	}
	return (token.ptr[0] != '0' || token.len == 1) && *time_ms <= WIRE_TIME_MAX_MS;
}

static bool take_target(struct wire_subject *subject, struct slice *rest)
{
	return take_name(rest, &subject->publisher) && take_name(rest, &subject->job) &&
	       take_name(rest, &subject->instance) && take_hash(rest, &subject->labels_hash);
}

/* What follows "<topic>."; fills the subject as far as it can be read. */
static enum wire_kind parse_kind(struct wire_subject *subject, struct slice rest)
{
	struct slice kind;
	bool whole;

	if (!take_token(&rest, &kind) || kind.len == 0)
		return WIRE_FOREIGN;
	if (slice_is(kind, "scrape")) {
		whole = take_target(subject, &rest) && rest.ptr == NULL;
		return whole ? WIRE_SCRAPE : WIRE_FOREIGN;
	}
	if (slice_is(kind, "key")) {
		whole = take_target(subject, &rest) && take_time(&rest, &subject->key_time_ms) &&
			rest.ptr == NULL;
		return whole ? WIRE_KEY : WIRE_FOREIGN;
	}
	return WIRE_UNKNOWN;
}

void wire_subject_parse(struct wire_subject *subject, struct slice topic, struct slice text)
{
	enum wire_kind kind = WIRE_FOREIGN;

	*subject = (struct wire_subject){.kind = WIRE_FOREIGN};
	if (slice_eq(text, topic))
		kind = WIRE_LEGACY;
	else if (text.len > topic.len && memcmp(text.ptr, topic.ptr, topic.len) == 0 &&
		 text.ptr[topic.len] == '.')
		kind = parse_kind(subject,
			(struct slice){text.ptr + topic.len + 1, text.len - topic.len - 1});
	if (kind != WIRE_SCRAPE && kind != WIRE_KEY)
		wire_subject_fini(subject);
	subject->kind = kind;
}

void wire_subject_fini(struct wire_subject *subject)
{
	buf_free(&subject->publisher);
	buf_free(&subject->job);
	buf_free(&subject->instance);
	*subject = (struct wire_subject){.kind = WIRE_FOREIGN};
}

static int append_name(struct buf *out, const char *what, struct slice name, struct err *err)
{
	buf_append_char(out, '.');
	if (name.len == 0)
		return err_setf(err, "%s is empty", what);
	if (!is_name(name))
		return err_setf(err, "%s is not UTF-8 text", what);
	if (wire_escape(name, out) < 0)
		return err_setf(err,
			"%s is too long (at most %d bytes, each byte outside "
			"[A-Za-z0-9_-] counting as 3)",
			what, WIRE_TOKEN_MAX_BYTES);
	return 0;
}

int wire_scrape_subject(struct buf *out, struct slice topic, struct slice publisher,
	struct slice job, struct slice instance, const struct labels *labels, struct err *err)
{
	size_t start = out->len;
	uint64_t hash = labels_hash(labels);

	buf_append_slice(out, topic);
	buf_append_str(out, ".scrape");
	if (append_name(out, "publisher", publisher, err) < 0 ||
		append_name(out, "job", job, err) < 0 ||
		append_name(out, "instance", instance, err) < 0) {
		out->len = start;
		return -1;
	}
	if (hash == 0)
		buf_append_str(out, ".0");
	else
		buf_appendf(out, ".%016" PRIx64, hash);
	return 0;
}

void wire_key_subject(
	struct buf *out, struct slice topic, struct slice scrape_subject, int64_t time_ms)
{
	size_t skip = topic.len + strlen(".scrape");

	assert(scrape_subject.len > skip);
	buf_append_slice(out, topic);
	buf_append_str(out, ".key");
	buf_append(out, scrape_subject.ptr + skip, scrape_subject.len - skip);
	buf_appendf(out, ".%" PRId64, time_ms);
}

void wire_msg_id(char id[17], struct slice subject, int64_t time_ms)
{
	char time[24];
	int len = snprintf(time, sizeof(time), "%" PRId64, time_ms);
	uint64_t state = hash64_update(HASH64_START, subject.ptr, subject.len);

	/* The NUL keeps subject and time apart, as no subject can hold one. */
	state = hash64_update(state, "", 1);
	state = hash64_update(state, time, (size_t)len);
	snprintf(id, 17, "%016" PRIx64, hash64_finish(state));
}

bool wire_labels_match(const struct wire_subject *subject, const struct wire_scrape *scrape)
{
	return subject->labels_hash == labels_hash(&scrape->labels);
}
