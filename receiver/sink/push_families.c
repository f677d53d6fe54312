/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The families of a body. To Prometheus a type is a remark; to the gateway it decides how samples
 * are read: those of a histogram or summary that do not fit are refused, rounded or lost. So
 * untyped families first take the type that others gave them, as far as they fit it; then parts
 * that are families of their own join their histogram or summary; and what still does not fit, or
 * collides, becomes untyped with all its samples.
 */
#include "receiver/sink/push_builder.h"

#include "common/exposition/number.h"
#include "receiver/sink/push_report.h"

#include <math.h>

/* Counts are unsigned 64-bit integers to the gateway. */
#define COUNT_LIMIT 18446744073709551616.0

enum part {
	PART_BUCKET,
	PART_COUNT,
	PART_SUM,
	PART_NONE, /* the name of the family itself */
};

static const struct {
	struct slice suffix;
	bool of_summary;
} parts[] = {
	[PART_BUCKET] = {{"_bucket", 7}, false},
	[PART_COUNT] = {{"_count", 6}, true},
	[PART_SUM] = {{"_sum", 4}, true},
};

static const char *const type_words[] = {
	[EXPO_UNTYPED] = "untyped",
	[EXPO_COUNTER] = "counter",
	[EXPO_GAUGE] = "gauge",
	[EXPO_HISTOGRAM] = "histogram",
	[EXPO_SUMMARY] = "summary",
};

static bool is_whole(enum expo_type type)
{
	return type == EXPO_HISTOGRAM || type == EXPO_SUMMARY;
}

static bool has_part(enum expo_type type, enum part part)
{
	return type == EXPO_HISTOGRAM || (type == EXPO_SUMMARY && parts[part].of_summary);
}

/* Which part the name would be, and of what. */
static enum part part_of(struct slice name, struct slice *stem)
{
	for (enum part part = PART_BUCKET; part < PART_NONE; part++) {
		struct slice suffix = parts[part].suffix;

		*stem = (struct slice){name.ptr, name.len - suffix.len};
		if (name.len > suffix.len &&
			memcmp(name.ptr + stem->len, suffix.ptr, suffix.len) == 0)
			return part;
	}
	return PART_NONE;
}

/* By name. */

struct slice family_name(const struct builder *b, const struct family *family)
{
	return (struct slice){b->names.ptr + family->name_at, family->name_len};
}

static uint32_t add_family(struct builder *b, struct slice name)
{
	struct family family = {.type = EXPO_UNTYPED,
		.name_at = (uint32_t)b->names.len,
		.name_len = (uint32_t)name.len};

	buf_append_slice(&b->names, name);
	b->families = builder_grow(
		b->families, b->family_count, &b->family_capacity, sizeof(*b->families));
	b->families[b->family_count] = family;
	return (uint32_t)b->family_count++;
}

uint32_t family_at(struct builder *b, struct slice name)
{
	uint32_t *known = push_index_at(&b->families_by_name, push_hash(b->rewriter.seed, name));

	if (*known == 0)
		*known = add_family(b, name) + 1;
	return *known - 1;
}

/* 0 if there is none, else its number + 1. */
static uint32_t find_family(const struct builder *b, struct slice name)
{
	return push_index_get(&b->families_by_name, push_hash(b->rewriter.seed, name));
}

static void add_gauge(struct builder *b, const char *name)
{
	uint32_t family = family_at(b, slice_from(name));

	b->families[family].type = EXPO_GAUGE;
}

void families_init(struct builder *b)
{
	_Static_assert(FAMILY_PUSH_TIME == (int)PUSH_OWN_COUNT, "ours come first");

	for (size_t i = 0; i < PUSH_OWN_COUNT; i++)
		add_gauge(b, push_own_families[i].name);
	add_gauge(b, "push_time_seconds");
	add_gauge(b, "push_failure_time_seconds");
}

/* The histogram or summary of which a sample of this name is a part; false if there is none. */
static bool find_whole(const struct builder *b, struct slice name, uint32_t *family)
{
	struct slice stem;
	enum part part = part_of(name, &stem);
	uint32_t known = part == PART_NONE ? 0 : find_family(b, stem);

	if (known == 0)
		return false;
	*family = known - 1;
	return has_part(b->families[*family].type, part);
}

uint32_t family_of_sample(struct builder *b, struct slice name)
{
	uint32_t known;

	if (b->last_name.ptr != NULL && slice_eq(name, b->last_name))
		return b->last_family;
	known = find_family(b, name);
	b->last_name = name;
	if (known != 0)
		b->last_family = known - 1;
	else if (!find_whole(b, name, &b->last_family))
		b->last_family = family_at(b, name);
	return b->last_family;
}

/* The types that others gave. */

static void retype(struct family *family, enum expo_type type)
{
	family->type = type;
	family->is_retyped = true;
}

/* An untyped family may be what others know it as, or a part of what they know. */
static void take_known_type(struct builder *b, uint32_t number)
{
	struct slice name = family_name(b, &b->families[number]), stem;
	enum expo_type type;
	enum part part;
	struct buf copy = {0};

	if (push_types_get(b->gate->types, name, &type)) {
		if (type != EXPO_UNTYPED)
			retype(&b->families[number], type);
		return;
	}
	part = part_of(name, &stem);
	if (part == PART_NONE || !push_types_get(b->gate->types, stem, &type) ||
		!has_part(type, part))
		return;
	buf_append_slice(&copy, stem); /* the names move */
	number = family_at(b, buf_slice(&copy));
	if (b->families[number].type == EXPO_UNTYPED)
		retype(&b->families[number], type);
	buf_free(&copy);
}

static bool is_known_untyped(const struct builder *b, struct slice name)
{
	enum expo_type type;

	return push_types_get(b->gate->types, name, &type) && type == EXPO_UNTYPED;
}

/* A typed family that others show untyped can only be shown untyped, too. */
static void give_type_up(struct builder *b, struct family *family)
{
	struct buf name = {0};

	if (is_known_untyped(b, family_name(b, family))) {
		if (is_whole(family->type))
			family->is_broken = true;
		else
			retype(family, EXPO_UNTYPED);
		return;
	}
	for (enum part part = PART_BUCKET; part < PART_NONE && !family->is_broken; part++) {
		if (!has_part(family->type, part))
			continue;
		buf_clear(&name);
		buf_append_slice(&name, family_name(b, family));
		buf_append_slice(&name, parts[part].suffix);
		family->is_broken = is_known_untyped(b, buf_slice(&name));
	}
	buf_free(&name);
}

static void take_known_types(struct builder *b)
{
	size_t count = b->family_count;

	for (size_t i = FAMILIES_RESERVED; i < count; i++) {
		if (b->families[i].type == EXPO_UNTYPED)
			take_known_type(b, (uint32_t)i);
		else
			give_type_up(b, &b->families[i]);
	}
}

/* Parts that are families of their own join the whole, unless they say to be something else. */
static void join_parts(struct builder *b, uint32_t number, struct buf *name)
{
	struct family *whole = &b->families[number];

	for (enum part part = PART_BUCKET; part < PART_NONE; part++) {
		uint32_t known;

		if (!has_part(whole->type, part))
			continue;
		buf_clear(name);
		buf_append_slice(name, family_name(b, whole));
		buf_append_slice(name, parts[part].suffix);
		known = find_family(b, buf_slice(name));
		if (known == 0)
			continue;
		if (b->families[known - 1].type != EXPO_UNTYPED)
			whole->is_broken = true;
		else
			b->families[known - 1].whole = number + 1;
	}
}

/* Whether samples can be read as parts. */

static bool label_is_number(struct slice text)
{
	double value;

	return number_parse(text, &value) == NUMBER_OK && !isnan(value);
}

static bool is_count(struct slice text)
{
	double value = expo_value(text);

	return value >= 0 && value < COUNT_LIMIT && value == floor(value);
}

static bool find_value(const struct expo_line *line, const char *name, struct slice *value)
{
	struct slice rest = line->labels;
	struct expo_label label;

	while (expo_labels_next(&rest, &label)) {
		*value = label.value;
		if (!label.name_quoted && slice_is(label.name, name))
			return true;
	}
	return false;
}

/* Which part of `whole` the sample would be. */
static bool fits(enum expo_type type, enum part part, const struct expo_line *line)
{
	bool is_point = part == (type == EXPO_HISTOGRAM ? PART_BUCKET : PART_NONE);
	struct slice point;
	bool has_point = find_value(line, type == EXPO_HISTOGRAM ? "le" : "quantile", &point);

	if (has_point != is_point || (has_point && !label_is_number(point)))
		return false;
	if (part == PART_BUCKET || part == PART_COUNT)
		return is_count(line->value);
	return part == PART_SUM || type == EXPO_SUMMARY;
}

/* Reads an item again; its name as the gateway reads it, in `name` if it is quoted. */
static struct slice read_item(
	const struct builder *b, const struct item *item, struct expo_line *line, struct buf *name)
{
	struct expo_parser parser;

	expo_init(&parser, builder_text(b, item->line));
	(void)expo_next(&parser, line, NULL);
	if (!line->name_quoted)
		return line->name;
	buf_clear(name);
	expo_unescape(line->name, name);
	return buf_slice(name);
}

/* The histogram or summary the item is in or is to join; NULL if none. */
static struct family *whole_of(const struct builder *b, const struct item *item)
{
	struct family *family = &b->families[item->family];

	if (family->whole != 0)
		return &b->families[family->whole - 1];
	return is_whole(family->type) ? family : NULL;
}

static void check_item(const struct builder *b, const struct item *item, struct buf *text)
{
	struct family *whole = whole_of(b, item);
	struct expo_line line;
	struct slice name, stem;
	enum part part;

	if (whole == NULL || whole->is_broken || item->line.len == 0)
		return;
	name = read_item(b, item, &line, text);
	part = name.len == whole->name_len ? PART_NONE : part_of(name, &stem);
	whole->is_broken = !fits(whole->type, part, &line);
}

/* To the family that it has now that everything is known. */
static void move_item(struct builder *b, struct item *item, struct buf *text)
{
	struct family *whole = whole_of(b, item);
	struct expo_line line;

	if (whole == NULL || item->line.len == 0)
		return;
	if (!whole->is_broken)
		item->family = (uint32_t)(whole - b->families);
	else if (whole == &b->families[item->family])
		item->family = family_at(b, read_item(b, item, &line, text));
}

/* Results. */

static void break_family(struct builder *b, struct family *family)
{
	family->type = EXPO_UNTYPED;
	family->type_line.len = 0;
	if (!family->is_retyped)
		b->body->families_untyped++;
	family->is_retyped = false;
}

static void write_type(struct builder *b, struct family *family)
{
	struct buf *lines = &b->rewriter.lines;
	size_t at = lines->len;

	buf_append_str(lines, "# TYPE ");
	push_quote_name(lines, family_name(b, family), false);
	buf_append_char(lines, ' ');
	buf_append_str(lines, type_words[family->type]);
	family->type_line = builder_end_line(b, at);
	b->body->families_retyped++;
}

static void set_late_help(struct builder *b)
{
	for (size_t i = 0; i < PUSH_LATE_COUNT; i++) {
		uint32_t known = find_family(b, slice_from(push_late_families[i].name));
		size_t at = b->rewriter.lines.len;

		if (known == 0)
			continue;
		buf_append_str(&b->rewriter.lines, push_late_families[i].help);
		b->families[known - 1].help = builder_end_line(b, at);
	}
}

void families_settle(struct builder *b)
{
	struct buf text = {0};
	size_t wholes = 0;

	if (b->gate != NULL)
		take_known_types(b);
	for (size_t i = FAMILIES_RESERVED; i < b->family_count; i++) {
		if (!is_whole(b->families[i].type))
			continue;
		join_parts(b, (uint32_t)i, &text);
		wholes++;
	}
	for (size_t i = 0; wholes > 0 && i < b->item_count; i++)
		check_item(b, &b->items[i], &text);
	for (size_t i = 0; wholes > 0 && i < b->item_count; i++)
		move_item(b, &b->items[i], &text);
	for (size_t i = FAMILIES_RESERVED; i < b->family_count; i++) {
		struct family *family = &b->families[i];

		if (family->is_broken)
			break_family(b, family);
		if (family->is_retyped)
			write_type(b, family);
	}
	set_late_help(b);
	buf_free(&text);
}
