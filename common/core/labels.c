/* SPDX-License-Identifier: Apache-2.0 */
/* Label sets as sorted arrays: they are small, compared often and changed only while being built.
 */
#include "common/core/labels.h"

#include "common/core/hash.h"

/* Of malloc, for each text. */
#define TEXT_OVERHEAD_BYTES 16

/* Where `name` is, or where it belongs. */
static size_t position_of(const struct labels *labels, struct slice name, bool *found)
{
	size_t low = 0, high = labels->count;

	*found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = slice_cmp(slice_from(labels->items[middle].name), name);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void labels_set(struct labels *labels, struct slice name, struct slice value)
{
	bool found;
	size_t at = position_of(labels, name, &found);

	if (found) {
		free(labels->items[at].value);
		labels->items[at].value = slice_dup(value);
		return;
	}
	labels->items = xreallocarray(labels->items, labels->count + 1, sizeof(*labels->items));
	memmove(labels->items + at + 1, labels->items + at,
		(labels->count - at) * sizeof(*labels->items));
	labels->items[at] = (struct label){slice_dup(name), slice_dup(value)};
	labels->count++;
}

const char *labels_get(const struct labels *labels, const char *name)
{
	bool found;
	size_t at = position_of(labels, slice_from(name), &found);

	return found ? labels->items[at].value : NULL;
}

void labels_merge(struct labels *to, const struct labels *from)
{
	for (size_t i = 0; i < from->count; i++)
		labels_set(to, slice_from(from->items[i].name), slice_from(from->items[i].value));
}

bool labels_equal(const struct labels *a, const struct labels *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i].name, b->items[i].name) != 0 ||
			strcmp(a->items[i].value, b->items[i].value) != 0)
			return false;
	return true;
}

size_t labels_bytes(const struct labels *labels)
{
	size_t bytes = labels->count * (sizeof(*labels->items) + 2 * TEXT_OVERHEAD_BYTES);

	for (size_t i = 0; i < labels->count; i++)
		bytes += strlen(labels->items[i].name) + strlen(labels->items[i].value);
	return bytes;
}

void labels_free(struct labels *labels)
{
	for (size_t i = 0; i < labels->count; i++) {
		free(labels->items[i].name);
		free(labels->items[i].value);
	}
	free(labels->items);
	*labels = (struct labels){0};
}

bool label_name_is_valid(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

		if (!letter && !(i > 0 && c >= '0' && c <= '9'))
			return false;
	}
	return name.len > 0;
}

static void append_escaped(struct buf *out, const char *value)
{
	for (; *value != '\0'; value++) {
		if (*value == '\n')
			buf_append_str(out, "\\n");
		else if (*value == '"' || *value == '\\')
			buf_append(out, (char[]){'\\', *value}, 2);
		else
			buf_append_char(out, *value);
	}
}

void labels_format(const struct labels *labels, struct buf *out)
{
	buf_append_char(out, '{');
	for (size_t i = 0; i < labels->count; i++) {
		buf_appendf(out, "%s%s=\"", i > 0 ? "," : "", labels->items[i].name);
		append_escaped(out, labels->items[i].value);
		buf_append_char(out, '"');
	}
	buf_append_char(out, '}');
}

uint64_t labels_hash(const struct labels *labels)
{
	struct buf bytes = {0};
	uint64_t hash;

	if (labels->count == 0)
		return 0;
	for (size_t i = 0; i < labels->count; i++) {
		buf_append(&bytes, labels->items[i].name, strlen(labels->items[i].name) + 1);
		buf_append(&bytes, labels->items[i].value, strlen(labels->items[i].value) + 1);
	}
	hash = hash64(bytes.ptr, bytes.len);
	buf_free(&bytes);
	return hash == 0 ? 1 : hash;
}
