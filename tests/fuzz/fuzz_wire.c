/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of arbitrary bytes: the first line is the subject, the others are the header block. What
 * the subject says makes the same subject again; headers are refused with words, or what they say
 * is within the bounds of common/wire.md and comes back from headers that we write. Whatever the
 * bytes, as names, error and label value of a target of ours they make headers that can be read.
 */
#include "common/core/utf8.h"
#include "common/wire/header_block.h"
#include "tests/unit/header_table.h"

#include <assert.h>
#include <inttypes.h>

#define TOPIC SLICE("t.x")

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Up to the next line end, which goes too. */
static struct slice take_line(struct slice *text)
{
	const char *end = text->len == 0 ? NULL : memchr(text->ptr, '\n', text->len);
	struct slice line = {text->ptr, end == NULL ? text->len : (size_t)(end - text->ptr)};

	text->ptr += line.len + (end != NULL);
	text->len -= line.len + (end != NULL);
	return line;
}

/* The rest as it would arrive, to be freed. */
static struct buf make_block(struct slice text)
{
	struct buf block = {0};

	buf_append_str(&block, "NATS/1.0\r\n");
	buf_append_slice(&block, text);
	return block;
}

static int lookup(void *arg, const char *name, struct slice *value)
{
	const struct buf *block = arg;
	int times = header_block_find(buf_slice(block), name, value);

	assert(times >= 0 && times <= 2);
	if (times == 0)
		return 0;
	assert(value->ptr > block->ptr && value->ptr + value->len <= block->ptr + block->len);
	assert(value->len == 0 || memchr(value->ptr, '\n', value->len) == NULL);
	assert(value->len == 0 || (value->ptr[0] != ' ' && value->ptr[value->len - 1] != ' '));
	return times;
}

/* Subjects */

static void append_token(struct buf *out, const struct buf *name)
{
	buf_append_char(out, '.');
	assert(wire_escape(buf_slice(name), out) == 0);
}

static void check_subject(struct slice text)
{
	struct wire_subject subject;
	struct buf again = {0};

	wire_subject_parse(&subject, TOPIC, text);
	if (subject.kind == WIRE_SCRAPE || subject.kind == WIRE_KEY) {
		buf_append_slice(&again, TOPIC);
		buf_append_str(&again, subject.kind == WIRE_SCRAPE ? ".scrape" : ".key");
		append_token(&again, &subject.publisher);
		append_token(&again, &subject.job);
		append_token(&again, &subject.instance);
		buf_appendf(&again, subject.labels_hash == 0 ? ".%" PRIx64 : ".%016" PRIx64,
			subject.labels_hash);
		if (subject.kind == WIRE_KEY)
			buf_appendf(&again, ".%" PRId64, subject.key_time_ms);
		assert(slice_eq(buf_slice(&again), text));
	} else {
		assert(subject.publisher.len + subject.job.len + subject.instance.len == 0);
		assert((subject.kind == WIRE_LEGACY) == slice_eq(text, TOPIC));
	}
	buf_free(&again);
	wire_subject_fini(&subject);
}

static void check_token(struct slice token)
{
	struct buf name = {0}, again = {0};

	if (wire_unescape(token, &name) == 0) {
		assert(wire_escape(buf_slice(&name), &again) == 0);
		assert(slice_eq(buf_slice(&again), token));
	}
	buf_clear(&name);
	buf_clear(&again);
	if (wire_escape(token, &again) == 0) {
		assert(again.len <= WIRE_TOKEN_MAX_BYTES);
		assert(wire_unescape(buf_slice(&again), &name) == 0);
		assert(slice_eq(buf_slice(&name), token));
	}
	buf_free(&name);
	buf_free(&again);
}

/* Headers */

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void check_bounds(const struct wire_scrape *scrape)
{
	assert(scrape->time_ms >= 0 && scrape->time_ms <= WIRE_TIME_MAX_MS);
	assert(scrape->duration_s >= 0 && scrape->duration_s <= WIRE_DURATION_MAX_S);
	assert(scrape->interval_ms >= 0 && scrape->interval_ms <= WIRE_INTERVAL_MAX_MS);
	assert(scrape->up == (scrape->error == NULL));
	assert(scrape->error == NULL || strlen(scrape->error) <= WIRE_HEADER_MAX_BYTES);
	assert(scrape->labels.count <= WIRE_LABELS_MAX_COUNT);
	for (size_t i = 0; i < scrape->labels.count; i++)
		assert(label_name_is_valid(slice_from(scrape->labels.items[i].name)));
}

/* What was written: printable, not empty, within the bounds, each once. */
static void check_written(const struct wire_headers *headers)
{
	for (size_t i = 0; i < headers->count; i++) {
		const struct wire_header *header = &headers->items[i];
		bool labels = strcmp(header->name, "Ps-Labels") == 0;
		struct slice rest = slice_from(header->value);

		assert(rest.len > 0);
		assert(rest.len <= (labels ? WIRE_LABELS_MAX_BYTES : WIRE_HEADER_MAX_BYTES));
		assert(rest.ptr[0] != ' ' && rest.ptr[rest.len - 1] != ' ');
		for (size_t len; rest.len > 0; rest.ptr += len, rest.len -= len) {
			len = utf8_first(rest);
			assert(len > 0);
			assert((unsigned char)rest.ptr[0] >= 0x20 && rest.ptr[0] != 0x7f);
		}
		for (size_t j = 0; j < i; j++)
			assert(strcmp(headers->items[j].name, header->name) != 0);
	}
}

static void read_again(const struct wire_headers *headers, struct wire_scrape *scrape)
{
	struct header_table table = header_table_of(headers);

	check_written(headers);
	assert(wire_headers_parse(scrape, header_table_lookup, &table, NULL) == 0);
	check_bounds(scrape);
}

/* Values get trimmed on the way out, and labels longer by their escapes. */
static void check_again(const struct wire_scrape *scrape)
{
	struct wire_headers headers;
	struct wire_scrape again, third;

	if (wire_headers_build(&headers, TOPIC, scrape, NULL) < 0) {
		assert(scrape->labels.count > 0);
		return;
	}
	read_again(&headers, &again);
	wire_headers_fini(&headers);
	assert(again.time_ms == scrape->time_ms && again.interval_ms == scrape->interval_ms);
	assert(again.duration_s == scrape->duration_s);
	assert(again.up == scrape->up && again.flags == scrape->flags);
	assert(again.encoding == scrape->encoding);
	assert(labels_equal(&again.labels, &scrape->labels));
	assert(wire_headers_build(&headers, TOPIC, &again, NULL) == 0);
	read_again(&headers, &third);
	assert(same_text(again.error, third.error));
	assert(same_text(again.content_type, third.content_type));
	wire_headers_fini(&headers);
	wire_scrape_fini(&third);
	wire_scrape_fini(&again);
}

static void check_headers(struct buf *block)
{
	struct wire_scrape scrape;
	struct slice status;
	struct err err = {""};

	assert(!header_block_is_valid(buf_slice(block)) ||
		(header_block_status(buf_slice(block), &status) && status.len == 0));
	if (wire_headers_parse(&scrape, lookup, block, &err) < 0) {
		assert(err.text[0] != '\0' && strchr(err.text, '\n') == NULL);
		return;
	}
	check_bounds(&scrape);
	check_again(&scrape);
	wire_scrape_fini(&scrape);
}

/* A target of ours, all of whose texts are this. */
static void check_ours(struct slice bytes)
{
	char *text = slice_dup(bytes);
	struct wire_scrape scrape = {.time_ms = 1, .error = text, .content_type = text}, again;
	struct wire_headers headers;
	struct buf subject = {0};
	struct err err = {""};

	labels_set(&scrape.labels, SLICE("l"), slice_from(text));
	if (wire_headers_build(&headers, TOPIC, &scrape, &err) == 0) {
		read_again(&headers, &again);
		assert(labels_equal(&again.labels, &scrape.labels));
		wire_headers_fini(&headers);
		wire_scrape_fini(&again);
	} else {
		assert(err.text[0] != '\0');
	}
	if (wire_scrape_subject(&subject, TOPIC, bytes, bytes, bytes, &scrape.labels, &err) == 0)
		check_subject(buf_slice(&subject));
	else
		assert(subject.len == 0);
	buf_free(&subject);
	labels_free(&scrape.labels);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice rest = {(const char *)bytes, len};
	struct slice subject = take_line(&rest);
	struct buf block = make_block(rest);

	check_subject(subject);
	check_token(subject);
	check_headers(&block);
	check_ours(rest.len > 0 ? rest : subject);
	buf_free(&block);
	return 0;
}
