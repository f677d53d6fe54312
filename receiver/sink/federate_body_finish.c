/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block of a body: the chains of its families one behind the other, in the order of the slots.
 * From here on nothing fails.
 */
#include "receiver/sink/federate_body_internal.h"

/* A family that has samples, and where it stands. */
struct placed {
	uint32_t slot, number;
};

static int compare_slots(const void *left, const void *right)
{
	const struct placed *a = left, *b = right;

	return (a->slot > b->slot) - (a->slot < b->slot);
}

static bool has_items(const struct federate_builder *b, const struct federate_family *family)
{
	for (uint32_t item = family->first; item != 0; item = b->items[item - 1].next)
		if (b->items[item - 1].len > 0)
			return true;
	return false;
}

/* The families that have samples in the order of their slots, each referred to. */
static struct placed *place_families(
	struct federate_builder *b, struct families *families, size_t *count)
{
	struct placed *placed = xreallocarray(NULL, b->family_count + 1, sizeof(*placed));
	bool is_sorted = true;

	*count = 0;
	for (size_t i = 0; i < b->family_count; i++) {
		const struct federate_family *family = &b->families[i];
		struct slice name = {b->names.ptr + family->name_at, family->name_len};

		if (!has_items(b, family))
			continue;
		placed[*count] = (struct placed){families_ref(families, name)->slot, (uint32_t)i};
		is_sorted =
			is_sorted && (*count == 0 || placed[*count - 1].slot < placed[*count].slot);
		(*count)++;
	}
	if (!is_sorted)
		qsort(placed, *count, sizeof(*placed), compare_slots);
	return placed;
}

static void append_u32(struct buf *out, uint32_t value)
{
	buf_append(out, &value, sizeof(value));
}

/* Ends the run that begins at `at`, if any. */
static void end_run(struct buf *out, size_t at, uint32_t lines)
{
	if (lines > 0)
		memcpy(out->ptr + at + sizeof(uint32_t), &lines, sizeof(lines));
}

static void write_chain(
	const struct federate_builder *b, const struct federate_family *family, struct buf *out)
{
	struct slice open = {NULL, 0};
	size_t run_at = 0;
	uint32_t lines = 0;

	for (uint32_t number = family->first; number != 0; number = b->items[number - 1].next) {
		const struct federate_item *item = &b->items[number - 1];

		if (item->len == 0)
			continue;
		if (lines == 0 || !slice_eq(open, federate_open_of(b, item->open))) {
			end_run(out, run_at, lines);
			open = federate_open_of(b, item->open);
			run_at = out->len;
			lines = 0;
			append_u32(out, (uint32_t)open.len);
			append_u32(out, 0);
			buf_append_slice(out, open);
		}
		append_u32(out, item->len << LINE_FLAG_BITS | item->flags);
		buf_append(out, b->text.ptr + item->at, item->len);
		lines++;
	}
	end_run(out, run_at, lines);
}

static void format_labels(const struct push_labels *labels, struct buf *out)
{
	for (size_t i = 0; i < labels->count; i++) {
		buf_append_str(out, i > 0 ? "," : "");
		buf_append_slice(out, labels->items[i].name);
		buf_append_str(out, "=\"");
		expo_escape(labels->items[i].value, out);
		buf_append_char(out, '"');
	}
}

static bool has_whole(const struct federate_builder *b)
{
	for (size_t i = 0; i < b->item_count; i++)
		if (b->items[i].flags & LINE_WHOLE)
			return true;
	return false;
}

/* What the target says of its families from now on. */
static void declare(struct build *build, struct families *families, struct block *block,
	const struct placed *placed)
{
	const void *owner = build->target->owner;

	if (build->target->former != NULL)
		block_retract(build->target->former, owner);
	for (size_t i = 0; i < block->part_count; i++) {
		const struct federate_family *said = &build->b->families[placed[i].number];
		struct family *family = families->by_slot[placed[i].slot];

		block->parts[i].type = said->type;
		families_declare(families, family, said->type, said->help, owner);
		block->bytes += family_bytes_of(family, owner);
	}
}

struct block *federate_body_finish(struct build *build, struct families *families)
{
	struct federate_builder *b = build->b;
	size_t count;
	struct placed *placed = place_families(b, families, &count);
	struct buf labels = {0}, data = {0};
	struct block_part *parts = xreallocarray(NULL, count + 1, sizeof(*parts));
	struct block *block;

	buf_reserve(&data, b->text.len + 32 * (b->item_count + 1));
	for (size_t i = 0; i < count; i++) {
		parts[i] = (struct block_part){.slot = placed[i].slot, .at = (uint32_t)data.len};
		write_chain(b, &b->families[placed[i].number], &data);
		parts[i].len = (uint32_t)data.len - parts[i].at;
	}
	format_labels(&build->target->labels, &labels);
	block = block_new(families, buf_slice(&labels), build->target->time_ms, count, data.len);
	memcpy(block->parts, parts, count * sizeof(*parts));
	memcpy(block->data, data.ptr, data.len);
	block->shard = build->target->shard;
	block->has_whole = has_whole(b);
	declare(build, families, block, placed);
	free(parts);
	free(placed);
	buf_free(&data);
	buf_free(&labels);
	return block;
}
