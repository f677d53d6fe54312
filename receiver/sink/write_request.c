/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Version 1.0 writes each sample as a series of its own with all of its labels, copied from where
 * they stand encoded. Version 2.0 refers to texts by numbers: those of names and of a target's
 * labels are remembered where they stand, the others found by their hash. Neither cares for the
 * order of fields, so that the texts of 2.0 follow the series that refer to them.
 */
#include "receiver/sink/write_request.h"

#include "receiver/sink/push_index.h"
#include "receiver/sink/write_wire.h"

#include <snappy-c.h>

enum { V1_TIMESERIES = 1, V1_METADATA = 3 };
enum { V1_SAMPLES = 2 };
enum { V1_TYPE = 1, V1_FAMILY = 2, V1_HELP = 4 };
enum { V2_SYMBOLS = 4, V2_TIMESERIES = 5 };
enum { V2_REFS = 1, V2_SAMPLES = 2, V2_METADATA = 5 };
enum { V2_TYPE = 1, V2_HELP_REF = 3 };
enum { SAMPLE_VALUE = 1, SAMPLE_TIMESTAMP = 2 };

#define KEPT_BYTES ((size_t)4 << 20)

struct write_request {
	struct write_table *table;
	enum write_version version;
	struct write_counts counts;
	struct write_planner planner;
	struct buf message;

	/* Of 2.0 only. */
	uint64_t number; /* of the request: what remembers a number of a text, remembers of when */
	uint64_t seed;
	struct push_index known;
	uint32_t symbol_count;
	struct buf symbols, refs;
};

/* Parts that both versions have. */

static char *put_double(char *at, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	for (size_t i = 0; i < sizeof(bits); i++)
		*at++ = (char)(bits >> (8 * i));
	return at;
}

/* A whole field; both versions write samples alike, under the same number. */
static char *put_sample(char *at, const struct write_sample *sample)
{
	char *len;

	*at++ = WRITE_BYTES(V1_SAMPLES);
	len = at++;
	*at++ = WRITE_FIXED64(SAMPLE_VALUE);
	at = put_double(at, sample->value);
	*at++ = WRITE_VARINT(SAMPLE_TIMESTAMP);
	at = write_varint(at, (uint64_t)sample->time_ms);
	*len = (char)(at - len - 1);
	return at;
}

static size_t sample_len(const struct write_sample *sample)
{
	return 2 + 1 + sizeof(double) + 1 + write_varint_len((uint64_t)sample->time_ms);
}

/* 1.0 */

static void add_v1(struct write_request *request, const struct write_plan *plan,
	const struct write_sample *sample)
{
	size_t labels = write_plan_len(plan, sample->series);
	size_t len = labels + sample_len(sample);
	char *at = buf_reserve(&request->message, 1 + WRITE_VARINT_MAX_BYTES + len);

	*at++ = WRITE_BYTES(V1_TIMESERIES);
	at = write_varint(at, len);
	at = write_plan_put(plan, sample->series, at);
	at = put_sample(at, sample);
	request->message.len = (size_t)(at - request->message.ptr);
}

void write_request_add_family(struct write_request *request, const struct write_family *family)
{
	struct buf *fields = &request->refs;

	if (request->version != WRITE_V1)
		return;
	buf_clear(fields);
	write_append_number(fields, V1_TYPE, write_family_type(family));
	write_append_text(fields, V1_FAMILY, slice_from(family->name));
	write_append_text(fields, V1_HELP, buf_slice(&family->help));
	write_append_text(&request->message, V1_METADATA, buf_slice(fields));
	request->counts.metadata++;
}

/* 2.0 */

/* The number of a text in the request. */
static uint32_t symbol(struct write_request *request, struct slice text)
{
	uint32_t *known;

	if (text.len == 0)
		return 0;
	known = push_index_at(&request->known, push_hash(request->seed, text));
	if (*known == 0) {
		*known = request->symbol_count++;
		write_append_text(&request->symbols, V2_SYMBOLS, text);
	}
	return *known;
}

static void number_shape(struct write_request *request, struct write_shape *shape)
{
	if (shape->request == request->number)
		return;
	shape->request = request->number;
	for (uint32_t i = 0; i < shape->count; i++)
		shape->symbols[i] =
			shape->names[i].is_empty ? 0 : symbol(request, shape->names[i].name);
}

static void number_labels(struct write_request *request, struct write_labels *labels)
{
	if (labels->request == request->number)
		return;
	labels->request = request->number;
	for (uint32_t i = 0; i < labels->count; i++) {
		labels->symbols[2 * i] = symbol(request, labels->names[i]);
		labels->symbols[2 * i + 1] = symbol(request, labels->values[i]);
	}
}

static struct slice series_value(const struct write_series *series, uint32_t i)
{
	uint32_t begin = write_series_begin(series, i);
	struct slice pair = {write_series_pairs(series) + begin, series->ends[i] - begin};

	return write_pair_value(pair, series->shape->names[i].name.len);
}

static void append_refs(struct write_request *request, uint32_t name, uint32_t value)
{
	char *at = buf_reserve(&request->refs, (size_t)2 * WRITE_VARINT_MAX_BYTES);

	at = write_varint(write_varint(at, name), value);
	request->refs.len = (size_t)(at - request->refs.ptr);
}

static void append_step(struct write_request *request, const struct write_plan *plan,
	const struct write_step *step, const struct write_series *series)
{
	const struct write_shape *shape = series->shape;
	const uint32_t *of_target = plan->labels->symbols;

	for (uint32_t i = step->from; i < step->to; i++) {
		uint32_t name;

		if (step->kind == WRITE_OF_TARGET) {
			append_refs(request, of_target[2 * i], of_target[2 * i + 1]);
			continue;
		}
		if (shape->names[i].is_empty)
			continue;
		name = step->kind == WRITE_OF_SERIES
			       ? shape->symbols[i]
			       : symbol(request, (struct slice){plan->names.ptr + step->name_at,
							 step->name_len});
		append_refs(request, name, symbol(request, series_value(series, i)));
	}
}

/* Appends a field; nothing where nothing is known. */
static char *put_metadata(struct write_request *request, struct write_family *family, char *at)
{
	char *len;

	if (family == NULL)
		return at;
	if (family->request != request->number) {
		family->request = request->number;
		family->help_symbol = symbol(request, buf_slice(&family->help));
	}
	*at++ = WRITE_BYTES(V2_METADATA);
	len = at++;
	*at++ = WRITE_VARINT(V2_TYPE);
	at = write_varint(at, write_family_type(family));
	*at++ = WRITE_VARINT(V2_HELP_REF);
	at = write_varint(at, family->help_symbol);
	*len = (char)(at - len - 1);
	return at;
}

static void add_v2(struct write_request *request, const struct write_plan *plan,
	const struct write_sample *sample)
{
	char metadata[2 + 2 * (1 + WRITE_VARINT_MAX_BYTES)], *at;
	size_t metadata_len, len;

	number_shape(request, sample->series->shape);
	buf_clear(&request->refs);
	for (uint32_t i = 0; i < plan->count; i++)
		append_step(request, plan, &plan->steps[i], sample->series);
	metadata_len = (size_t)(put_metadata(request, sample->series->family, metadata) - metadata);
	len = 1 + write_varint_len(request->refs.len) + request->refs.len + sample_len(sample) +
	      metadata_len;
	at = buf_reserve(&request->message, 1 + WRITE_VARINT_MAX_BYTES + len);
	*at++ = WRITE_BYTES(V2_TIMESERIES);
	at = write_varint(at, len);
	*at++ = WRITE_BYTES(V2_REFS);
	at = write_varint(at, request->refs.len);
	at = write_copy(at, request->refs.ptr, request->refs.len);
	at = put_sample(at, sample);
	at = write_copy(at, metadata, metadata_len);
	request->message.len = (size_t)(at - request->message.ptr);
}

/* Requests. */

struct write_request *write_request_new(struct write_table *table)
{
	struct write_request *request = xcalloc(1, sizeof(*request));

	request->table = table;
	request->seed = push_hash_seed();
	return request;
}

void write_request_free(struct write_request *request)
{
	write_planner_fini(&request->planner);
	push_index_free(&request->known);
	buf_free(&request->message);
	buf_free(&request->symbols);
	buf_free(&request->refs);
	free(request);
}

size_t write_request_bytes(const struct write_request *request)
{
	return request->message.len + (request->version == WRITE_V2 ? request->symbols.len : 0);
}

/* What an unusually large one took is given back. */
static void empty(struct buf *buf)
{
	if (buf->capacity > KEPT_BYTES)
		buf_free(buf);
	else
		buf_clear(buf);
}

void write_request_begin(struct write_request *request, enum write_version version)
{
	static uint64_t numbers; /* what remembers them may be in several requests */

	request->version = version;
	request->counts = (struct write_counts){0};
	request->number = ++numbers;
	empty(&request->message);
	if (version != WRITE_V2)
		return;
	push_index_free(&request->known);
	empty(&request->symbols);
	/* The first is the empty text. */
	buf_append(&request->symbols, (char[]){WRITE_BYTES(V2_SYMBOLS), 0}, 2);
	request->symbol_count = 1;
}

static bool is_stale(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits == WRITE_STALE_BITS;
}

void write_request_add(struct write_request *request, const struct write_batch *batch,
	uint32_t from, uint32_t to, int64_t oldest_ms)
{
	struct write_series *const *own = write_table_own(request->table);
	const struct write_plan *plan = NULL;

	if (request->version == WRITE_V2)
		number_labels(request, batch->labels);
	for (uint32_t i = from; i < to; i++) {
		struct write_sample sample = write_batch_get(batch, own, i);

		if (sample.time_ms < oldest_ms) {
			request->counts.too_old++;
			continue;
		}
		if (plan == NULL || plan->shape != sample.series->shape)
			plan = write_planner_get(&request->planner, sample.series->shape,
				batch->labels, batch->honor_labels);
		request->counts.samples++;
		request->counts.markers += is_stale(sample.value);
		if (sample.time_ms > request->counts.highest_ms)
			request->counts.highest_ms = sample.time_ms;
		if (request->version == WRITE_V1)
			add_v1(request, plan, &sample);
		else
			add_v2(request, plan, &sample);
	}
}

struct write_counts write_request_end(struct write_request *request, struct buf *out)
{
	size_t len;
	char *at;

	if (request->version == WRITE_V2)
		buf_append_slice(&request->message, buf_slice(&request->symbols));
	len = snappy_max_compressed_length(request->message.len);
	at = buf_reserve(out, len);
	/* Fails only where there is less room than that. */
	if (snappy_compress(request->message.ptr, request->message.len, at, &len) == SNAPPY_OK)
		out->len += len;
	write_planner_forget(&request->planner);
	return request->counts;
}

struct slice write_request_message(const struct write_request *request)
{
	return buf_slice(&request->message);
}
