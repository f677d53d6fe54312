/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_WRITE_READER_H
#define PS_TESTS_UNIT_WRITE_READER_H
/*
 * Reads remote write requests of either version, by itself: nothing of what wrote them is used. A
 * request becomes lines, "<label>=<value>,… <sample>@<time>", a marker's sample being "stale", and
 * for metadata "# <family> <type> <help>". Whatever a receiver could object to is an error.
 */
#include "common/core/buf.h"
#include "common/exposition/chars.h"

#include <math.h>
#include <stdio.h>

#include <snappy-c.h>

struct pb {
	const uint8_t *at, *end;
};

struct pb_field {
	int number, type;
	uint64_t value; /* of types 0 and 1 */
	struct pb bytes;
};

struct write_reader {
	struct buf *out;
	const char *error; /* NULL: none */
	struct slice *symbols;
	size_t symbol_count;
	size_t samples;
};

static inline bool pb_varint(struct pb *pb, uint64_t *value)
{
	*value = 0;
	for (int shift = 0; pb->at < pb->end && shift < 64; shift += 7) {
		*value |= (uint64_t)(*pb->at & 0x7f) << shift;
		if ((*pb->at++ & 0x80) == 0)
			return true;
	}
	return false;
}

/* False at the end, and with an error where there is one. */
static inline bool pb_next(struct write_reader *r, struct pb *pb, struct pb_field *field)
{
	uint64_t tag;

	if (r->error != NULL || pb->at == pb->end)
		return false;
	r->error = "broken field";
	if (!pb_varint(pb, &tag))
		return false;
	field->number = (int)(tag >> 3);
	field->type = (int)(tag & 7);
	if (field->type == 0) {
		if (!pb_varint(pb, &field->value))
			return false;
	} else if (field->type == 1 && pb->end - pb->at >= 8) {
		memcpy(&field->value, pb->at, 8);
		pb->at += 8;
	} else {
		uint64_t len;

		if (field->type != 2 || !pb_varint(pb, &len) || len > (uint64_t)(pb->end - pb->at))
			return false;
		field->bytes = (struct pb){pb->at, pb->at + len};
		pb->at += len;
	}
	r->error = NULL;
	return true;
}

static inline struct slice pb_text(const struct pb_field *field)
{
	return (struct slice){
		(const char *)field->bytes.at, (size_t)(field->bytes.end - field->bytes.at)};
}

static inline void write_reader_label(
	struct write_reader *r, struct slice *last, struct slice name, struct slice value)
{
	size_t at = r->out->len;

	if (name.len == 0 || value.len == 0)
		r->error = "empty label";
	else if (last->ptr != NULL && slice_cmp(*last, name) >= 0)
		r->error = "labels out of order, or repeated";
	*last = name;
	if (at > 0 && r->out->ptr[at - 1] != '\n')
		buf_append_char(r->out, ',');
	buf_append_slice(r->out, name);
	buf_append_char(r->out, '=');
	buf_append_slice(r->out, value);
}

static inline void write_reader_sample(struct write_reader *r, struct pb pb)
{
	uint64_t bits = 0, time = 0;
	struct pb_field field;
	double value;

	while (pb_next(r, &pb, &field)) {
		if (field.number == 1 && field.type == 1)
			bits = field.value;
		else if (field.number == 2 && field.type == 0)
			time = field.value;
		else
			r->error = "unknown field of a sample";
	}
	memcpy(&value, &bits, sizeof(value));
	r->samples++;
	if (bits == UINT64_C(0x7ff0000000000002))
		buf_append_str(r->out, " stale");
	else
		buf_appendf(r->out, isnan(value) ? " NaN" : " %.17g", value);
	buf_appendf(r->out, "@%lld\n", (long long)(int64_t)time);
}

static inline void write_reader_pair(struct write_reader *r, struct pb pb, struct slice *last)
{
	struct slice name = {NULL, 0}, value = {NULL, 0};
	struct pb_field field;

	while (pb_next(r, &pb, &field)) {
		if (field.number == 1 && field.type == 2)
			name = pb_text(&field);
		else if (field.number == 2 && field.type == 2)
			value = pb_text(&field);
		else
			r->error = "unknown field of a label";
	}
	if (r->error == NULL)
		write_reader_label(r, last, name, value);
}

static inline struct slice write_reader_symbol(struct write_reader *r, uint64_t number)
{
	if (number < r->symbol_count)
		return r->symbols[number];
	r->error = "no such symbol";
	return (struct slice){NULL, 0};
}

static inline void write_reader_refs(struct write_reader *r, struct pb pb, struct slice *last)
{
	uint64_t name, value;

	while (r->error == NULL && pb.at < pb.end) {
		struct slice of_name, of_value;

		if (!pb_varint(&pb, &name) || !pb_varint(&pb, &value)) {
			r->error = "odd labels_refs";
			return;
		}
		of_name = write_reader_symbol(r, name);
		of_value = write_reader_symbol(r, value);
		if (r->error == NULL)
			write_reader_label(r, last, of_name, of_value);
	}
}

static inline void write_reader_series(struct write_reader *r, struct pb pb, bool is_v2)
{
	struct slice last = {NULL, 0};
	struct pb_field field;
	size_t samples = r->samples;

	while (pb_next(r, &pb, &field)) {
		if (field.number == 1 && field.type == 2 && is_v2)
			write_reader_refs(r, field.bytes, &last);
		else if (field.number == 1 && field.type == 2)
			write_reader_pair(r, field.bytes, &last);
		else if (field.number == 2 && field.type == 2)
			write_reader_sample(r, field.bytes);
		else if (field.number != 5 || field.type != 2 || !is_v2)
			r->error = "unknown field of a series";
	}
	if (r->error == NULL && r->samples == samples)
		r->error = "series without a sample";
}

static inline void write_reader_family(struct write_reader *r, struct pb pb)
{
	struct slice name = {"", 0}, help = {"", 0};
	struct pb_field field;
	uint64_t type = 0;

	while (pb_next(r, &pb, &field)) {
		if (field.number == 1 && field.type == 0)
			type = field.value;
		else if (field.number == 2 && field.type == 2)
			name = pb_text(&field);
		else if (field.number == 4 && field.type == 2)
			help = pb_text(&field);
		else
			r->error = "unknown field of metadata";
	}
	buf_appendf(r->out, "# %.*s %d %.*s\n", SLICE_FMT(name), (int)type, SLICE_FMT(help));
}

static inline void write_reader_symbols(struct write_reader *r, struct pb pb)
{
	struct pb_field field;

	while (pb_next(r, &pb, &field)) {
		if (field.number != 4)
			continue;
		r->symbols = xreallocarray(r->symbols, r->symbol_count + 1, sizeof(*r->symbols));
		r->symbols[r->symbol_count++] = pb_text(&field);
	}
	if (r->error == NULL && (r->symbol_count == 0 || r->symbols[0].len != 0))
		r->error = "the first symbol is not empty";
}

/* Appends the lines; NULL or what is wrong. */
static inline const char *write_reader_read(struct slice message, bool is_v2, struct buf *out)
{
	struct write_reader r = {.out = out};
	struct pb whole = {
		(const uint8_t *)message.ptr, (const uint8_t *)message.ptr + message.len};
	struct pb pb = whole;
	struct pb_field field;

	if (is_v2)
		write_reader_symbols(&r, pb);
	while (pb_next(&r, &pb, &field)) {
		if (field.type == 2 && field.number == (is_v2 ? 5 : 1))
			write_reader_series(&r, field.bytes, is_v2);
		else if (field.type == 2 && field.number == 3 && !is_v2)
			write_reader_family(&r, field.bytes);
		else if (field.type != 2 || field.number != 4 || !is_v2)
			r.error = "unknown field of a request";
	}
	if (r.error == NULL && expo_invalid_utf8(buf_slice(out)) != NULL)
		r.error = "not UTF-8";
	free(r.symbols);
	return r.error;
}

/* The same of a body as it is sent. */
static inline const char *write_reader_body(struct slice body, bool is_v2, struct buf *out)
{
	struct buf message = {0};
	const char *error = "not snappy";
	size_t len;

	if (snappy_uncompressed_length(body.ptr, body.len, &len) == SNAPPY_OK) {
		buf_reserve(&message, len + 1);
		if (snappy_uncompress(body.ptr, body.len, message.ptr, &len) == SNAPPY_OK) {
			message.len = len;
			error = write_reader_read(buf_slice(&message), is_v2, out);
		}
	}
	buf_free(&message);
	return error;
}

#endif
