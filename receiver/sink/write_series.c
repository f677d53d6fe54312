/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of series and that of shapes: chains in as many buckets as there are entries, hashes
 * seeded. Two texts may stand for the same labels: then at least one of them is unusual.
 */
#include "receiver/sink/write_series.h"

#include "receiver/sink/push_index.h"
#include "receiver/sink/write_wire.h"

#define FIRST_BUCKETS 1024
#define FEW_PARTS     16
/* Of malloc, for each entry, and its place among the buckets. */
#define ENTRY_OVERHEAD_BYTES 24

/* A label of the line that is looked up. */
struct part {
	struct slice name, value;
};

struct write_table {
	struct write_series **series;
	struct write_shape **shapes;
	size_t series_buckets, shape_buckets; /* powers of two */
	size_t series_count, shape_count;
	uint64_t seed;
	uint32_t round;
	struct write_families families;
	struct write_series *own[WRITE_OWN_COUNT];

	/* Of the line that is looked up. */
	struct part *parts;
	uint32_t *ends;
	size_t part_count, part_room;
	struct buf texts, pairs, names;
};

static const struct {
	const char *line;
	const char *help;
} own_series[WRITE_OWN_COUNT] = {
	[WRITE_OWN_UP] = {"up 0\n", "1 if the target could be scraped."},
	[WRITE_OWN_DURATION] = {"scrape_duration_seconds 0\n", "How long the scrape took."},
	[WRITE_OWN_SCRAPED] = {"scrape_samples_scraped 0\n", "Samples that the target exposed."},
	[WRITE_OWN_POST] = {"scrape_samples_post_metric_relabeling 0\n",
		"Samples that were left after relabelling."},
	[WRITE_OWN_ADDED] = {"scrape_series_added 0\n",
		"Series that the scrape before did not have, about."},
};

/* Taking a line apart. */

static struct slice unescape(struct write_table *table, struct slice escaped)
{
	size_t at = table->texts.len;

	if (memchr(escaped.ptr, '\\', escaped.len) == NULL)
		return escaped;
	expo_unescape(escaped, &table->texts);
	return (struct slice){table->texts.ptr + at, table->texts.len - at};
}

static void add_part(struct write_table *table, struct slice name, struct slice value)
{
	if (table->part_count == table->part_room) {
		table->part_room = table->part_room == 0 ? FEW_PARTS : 2 * table->part_room;
		table->parts = xreallocarray(table->parts, table->part_room, sizeof(*table->parts));
		table->ends = xreallocarray(table->ends, table->part_room, sizeof(*table->ends));
	}
	table->parts[table->part_count++] = (struct part){name, value};
}

static int compare_parts(const void *left, const void *right)
{
	return slice_cmp(((const struct part *)left)->name, ((const struct part *)right)->name);
}

static void sort_parts(struct part *parts, size_t count)
{
	if (count > FEW_PARTS) {
		qsort(parts, count, sizeof(*parts), compare_parts);
		return;
	}
	for (size_t i = 1; i < count; i++) {
		struct part part = parts[i];
		size_t at = i;

		for (; at > 0 && slice_cmp(part.name, parts[at - 1].name) < 0; at--)
			parts[at] = parts[at - 1];
		parts[at] = part;
	}
}

/* Fills parts, pairs and ends. */
static void read_line(struct write_table *table, const struct expo_line *line)
{
	struct slice rest = line->labels;
	struct expo_label label;

	table->part_count = 0;
	buf_clear(&table->texts);
	/* Nothing grows by losing its escapes: what points into it stays. */
	buf_reserve(&table->texts, line->whole.len);
	add_part(table, SLICE("__name__"),
		line->name_quoted ? unescape(table, line->name) : line->name);
	while (expo_labels_next(&rest, &label))
		add_part(table, label.name_quoted ? unescape(table, label.name) : label.name,
			unescape(table, label.value));
	sort_parts(table->parts, table->part_count);
	buf_clear(&table->pairs);
	for (size_t i = 0; i < table->part_count; i++) {
		if (table->parts[i].value.len > 0)
			write_append_pair(
				&table->pairs, table->parts[i].name, table->parts[i].value);
		table->ends[i] = (uint32_t)table->pairs.len;
	}
}

/* Shapes. */

static void grow_shapes(struct write_table *table)
{
	size_t buckets = 2 * table->shape_buckets;
	struct write_shape **shapes = xcalloc(buckets, sizeof(struct write_shape *)), *shape;

	for (size_t i = 0; i < table->shape_buckets; i++) {
		while ((shape = table->shapes[i]) != NULL) {
			table->shapes[i] = shape->next;
			shape->next = shapes[shape->hash & (buckets - 1)];
			shapes[shape->hash & (buckets - 1)] = shape;
		}
	}
	free(table->shapes);
	table->shapes = shapes;
	table->shape_buckets = buckets;
}

static bool has_shape(const struct write_table *table, const struct write_shape *shape)
{
	if (shape->count != table->part_count)
		return false;
	for (uint32_t i = 0; i < shape->count; i++) {
		const struct part *part = &table->parts[i];

		if (shape->names[i].is_empty != (part->value.len == 0) ||
			!slice_eq(shape->names[i].name, part->name))
			return false;
	}
	return true;
}

static struct write_shape *add_shape(struct write_table *table, uint64_t hash)
{
	uint32_t count = (uint32_t)table->part_count;
	struct write_shape *shape =
		xmalloc(sizeof(*shape) + count * (sizeof(*shape->names) + sizeof(uint32_t)) +
			table->names.len);
	char *at;

	*shape = (struct write_shape){.hash = hash, .count = count};
	shape->symbols = (uint32_t *)(shape->names + count);
	at = (char *)(shape->symbols + count);
	for (uint32_t i = 0; i < count; i++) {
		struct slice name = table->parts[i].name;

		shape->names[i] = (struct write_shape_name){
			.name = {at, name.len}, .is_empty = table->parts[i].value.len == 0};
		at = write_copy(at, name.ptr, name.len);
	}
	if (table->shape_count == table->shape_buckets)
		grow_shapes(table);
	shape->next = table->shapes[hash & (table->shape_buckets - 1)];
	table->shapes[hash & (table->shape_buckets - 1)] = shape;
	table->shape_count++;
	return shape;
}

/* The shape of the line that has been read, with one reference more. */
static struct write_shape *take_shape(struct write_table *table)
{
	struct write_shape *shape;
	uint64_t hash;

	buf_clear(&table->names);
	for (size_t i = 0; i < table->part_count; i++)
		buf_append_slice(&table->names, table->parts[i].name);
	hash = push_hash(table->seed, buf_slice(&table->names));
	shape = table->shapes[hash & (table->shape_buckets - 1)];
	while (shape != NULL && (shape->hash != hash || !has_shape(table, shape)))
		shape = shape->next;
	if (shape == NULL)
		shape = add_shape(table, hash);
	shape->refs++;
	return shape;
}

static void put_shape(struct write_table *table, struct write_shape *shape)
{
	struct write_shape **at = &table->shapes[shape->hash & (table->shape_buckets - 1)];

	if (--shape->refs > 0)
		return;
	while (*at != shape)
		at = &(*at)->next;
	*at = shape->next;
	table->shape_count--;
	free(shape);
}

/* Series. */

static void grow_series(struct write_table *table)
{
	size_t buckets = 2 * table->series_buckets;
	struct write_series **all = xcalloc(buckets, sizeof(struct write_series *)), *series;

	for (size_t i = 0; i < table->series_buckets; i++) {
		while ((series = table->series[i]) != NULL) {
			table->series[i] = series->next;
			series->next = all[series->hash & (buckets - 1)];
			all[series->hash & (buckets - 1)] = series;
		}
	}
	free(table->series);
	table->series = all;
	table->series_buckets = buckets;
}

/* Which of our own series it is, if it has no label that counts. */
static uint8_t own_of(const struct write_table *table, const struct expo_line *line)
{
	for (size_t i = 0; i < table->part_count; i++)
		if (table->parts[i].value.len > 0 &&
			!slice_eq(table->parts[i].name, SLICE("__name__")))
			return WRITE_OWN_COUNT;
	for (uint8_t i = 0; i < WRITE_OWN_COUNT; i++) {
		size_t len = strcspn(own_series[i].line, " ");

		if (slice_eq(line->name, (struct slice){own_series[i].line, len}))
			return i;
	}
	return WRITE_OWN_COUNT;
}

static struct slice metric_name(const struct write_table *table)
{
	size_t i = 0;

	while (!slice_eq(table->parts[i].name, SLICE("__name__")))
		i++;
	return table->parts[i].value;
}

/*
 * Whether no other text that is like this one stands for the same labels: they are in order, each
 * with a value, nothing is escaped, and there is not a byte more than needed.
 */
static bool is_usual(const struct write_table *table, const struct expo_line *line)
{
	size_t len = line->name.len + (table->part_count > 1 ? strlen("{} ") - 1 : strlen(" "));
	const char *before = line->name.ptr;

	if (line->name_quoted || memchr(line->whole.ptr, '\\', line->whole.len) != NULL)
		return false;
	for (size_t i = 0; i < table->part_count; i++) {
		const struct part *part = &table->parts[i];

		if (part->value.ptr == line->name.ptr)
			continue;
		if (part->value.len == 0 || part->value.ptr < before)
			return false;
		before = part->value.ptr;
		len += part->name.len + part->value.len + strlen("=\"\",");
	}
	return write_line_text(line).len == len;
}

static struct write_series *add_series(struct write_table *table, const struct expo_line *line,
	const struct write_meta *meta, uint64_t hash)
{
	struct slice text = write_line_text(line), name = metric_name(table);
	struct write_shape *shape = take_shape(table);
	struct write_series *series =
		xmalloc(sizeof(*series) + shape->count * sizeof(*series->ends) + table->pairs.len +
			text.len);
	char *at;

	*series = (struct write_series){
		.shape = shape,
		.family = write_family_of(&table->families, meta, name),
		.hash = hash,
		.text_len = (uint32_t)text.len,
		.pairs_len = (uint32_t)table->pairs.len,
		.own = own_of(table, line),
		.is_unusual = !is_usual(table, line),
		.is_loop = slice_eq(name, SLICE("prometheus_streams_scrape_timestamp_seconds")),
	};
	memcpy(series->ends, table->ends, shape->count * sizeof(*series->ends));
	at = write_copy((char *)(series->ends + shape->count), table->pairs.ptr, table->pairs.len);
	write_copy(at, text.ptr, text.len);
	if (table->series_count == table->series_buckets)
		grow_series(table);
	series->next = table->series[hash & (table->series_buckets - 1)];
	table->series[hash & (table->series_buckets - 1)] = series;
	table->series_count++;
	return series;
}

struct write_series *write_series_take(
	struct write_table *table, const struct expo_line *line, const struct write_meta *meta)
{
	struct slice text = write_line_text(line);
	uint64_t hash = push_hash(table->seed, text);
	struct write_series *series = table->series[hash & (table->series_buckets - 1)];

	while (series != NULL &&
		(series->hash != hash || !slice_eq(write_series_text(series), text)))
		series = series->next;
	if (series == NULL) {
		read_line(table, line);
		series = add_series(table, line, meta, hash);
	}
	series->refs++;
	return series;
}

void write_series_put(struct write_table *table, struct write_series *series)
{
	struct write_series **at;

	if (--series->refs > 0)
		return;
	at = &table->series[series->hash & (table->series_buckets - 1)];
	while (*at != series)
		at = &(*at)->next;
	*at = series->next;
	table->series_count--;
	put_shape(table, series->shape);
	write_family_put(&table->families, series->family);
	free(series);
}

size_t write_series_share(const struct write_series *series)
{
	size_t bytes = sizeof(*series) + series->shape->count * sizeof(*series->ends) +
		       series->pairs_len + series->text_len + ENTRY_OVERHEAD_BYTES;

	if (series->family != NULL)
		bytes += write_family_bytes(series->family) / series->family->refs;
	/* The names are in the pairs, too. */
	bytes += (sizeof(*series->shape) + series->pairs_len +
			 series->shape->count * sizeof(*series->shape->names)) /
		 series->shape->refs;
	return sizeof(series) + bytes / series->refs;
}

/* The table. */

static void add_own(struct write_table *table, enum write_own own)
{
	struct slice text = slice_from(own_series[own].line);
	struct write_meta meta = {.type = EXPO_GAUGE, .is_typed = true};
	struct expo_parser parser;
	struct expo_line line;

	expo_init(&parser, text);
	if (expo_next(&parser, &line, NULL) != EXPO_SAMPLE)
		return;
	meta.name = line.name;
	meta.help = slice_from(own_series[own].help);
	table->own[own] = write_series_take(table, &line, &meta);
	table->own[own]->family->is_own = true;
}

struct write_table *write_table_new(void)
{
	struct write_table *table = xcalloc(1, sizeof(*table));

	table->series_buckets = table->shape_buckets = FIRST_BUCKETS;
	table->series = xcalloc(FIRST_BUCKETS, sizeof(struct write_series *));
	table->shapes = xcalloc(FIRST_BUCKETS, sizeof(struct write_shape *));
	table->seed = push_hash_seed();
	for (enum write_own i = 0; i < WRITE_OWN_COUNT; i++)
		add_own(table, i);
	return table;
}

void write_table_free(struct write_table *table)
{
	for (size_t i = 0; i < WRITE_OWN_COUNT; i++)
		write_series_put(table, table->own[i]);
	free(table->series);
	free(table->shapes);
	free(table->parts);
	free(table->ends);
	buf_free(&table->texts);
	buf_free(&table->pairs);
	buf_free(&table->names);
	free(table);
}

struct write_series *const *write_table_own(const struct write_table *table)
{
	return table->own;
}

struct write_families *write_table_families(struct write_table *table)
{
	return &table->families;
}

size_t write_table_count(const struct write_table *table)
{
	return table->series_count;
}

uint32_t write_table_next_round(struct write_table *table)
{
	if (++table->round == 0)
		table->round = 1;
	return table->round;
}
