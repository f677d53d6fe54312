/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding labels; those of a target are kept as they are written. */
#include "receiver/sink/write_labels.h"

#include "receiver/sink/write_wire.h"

enum { FIELD_LABELS = 1, FIELD_NAME = 1, FIELD_VALUE = 2 };

void write_append_pair(struct buf *out, struct slice name, struct slice value)
{
	size_t len =
		2 + write_varint_len(name.len) + name.len + write_varint_len(value.len) + value.len;
	char *at = buf_reserve(out, 1 + WRITE_VARINT_MAX_BYTES + len);

	*at++ = WRITE_BYTES(FIELD_LABELS);
	at = write_varint(at, len);
	*at++ = WRITE_BYTES(FIELD_NAME);
	at = write_copy(write_varint(at, name.len), name.ptr, name.len);
	*at++ = WRITE_BYTES(FIELD_VALUE);
	at = write_copy(write_varint(at, value.len), value.ptr, value.len);
	out->len = (size_t)(at - out->ptr);
}

struct slice write_pair_value(struct slice pair, size_t name_len)
{
	size_t at = 1;

	while ((pair.ptr[at] & 0x80) != 0)
		at++;
	at += 1 + 1 + write_varint_len(name_len) + name_len + 1;
	while ((pair.ptr[at] & 0x80) != 0)
		at++;
	at++;
	return (struct slice){pair.ptr + at, pair.len - at};
}

static void set_label(struct labels *labels, const char *name, struct slice value)
{
	if (value.len > 0)
		labels_set(labels, slice_from(name), value);
}

struct write_labels *write_labels_new(struct slice job, struct slice instance,
	struct slice publisher, const struct labels *labels)
{
	struct write_labels *encoded = xcalloc(1, sizeof(*encoded));

	encoded->refs = 1;
	for (size_t i = 0; i < labels->count; i++)
		set_label(&encoded->labels, labels->items[i].name,
			slice_from(labels->items[i].value));
	set_label(&encoded->labels, "job", job);
	set_label(&encoded->labels, "instance", instance);
	set_label(&encoded->labels, "publisher", publisher);
	encoded->count = (uint32_t)encoded->labels.count;
	encoded->names = xcalloc(encoded->count, sizeof(*encoded->names));
	encoded->values = xcalloc(encoded->count, sizeof(*encoded->values));
	encoded->ends = xcalloc(encoded->count, sizeof(*encoded->ends));
	encoded->symbols = xcalloc(encoded->count, 2 * sizeof(*encoded->symbols));
	for (uint32_t i = 0; i < encoded->count; i++) {
		encoded->names[i] = slice_from(encoded->labels.items[i].name);
		encoded->values[i] = slice_from(encoded->labels.items[i].value);
		write_append_pair(&encoded->pairs, encoded->names[i], encoded->values[i]);
		encoded->ends[i] = (uint32_t)encoded->pairs.len;
	}
	buf_trim(&encoded->pairs);
	encoded->bytes = sizeof(*encoded) + encoded->pairs.len + labels_bytes(&encoded->labels) +
			 encoded->count * (2 * sizeof(struct slice) + 3 * sizeof(uint32_t));
	return encoded;
}

struct write_labels *write_labels_ref(struct write_labels *labels)
{
	labels->refs++;
	return labels;
}

void write_labels_unref(struct write_labels *labels)
{
	if (labels == NULL || --labels->refs > 0)
		return;
	free(labels->names);
	free(labels->values);
	free(labels->ends);
	free(labels->symbols);
	buf_free(&labels->pairs);
	labels_free(&labels->labels);
	free(labels);
}
