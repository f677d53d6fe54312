/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As long as each line is the one of before, nothing is looked up and no reference taken: the list
 * of before will do. From the first line that differs on, a list is made: a line is compared with
 * what stood behind the last one that was found there, then looked up. Series carry the number of
 * the reading, for their place in the list of before and for having been seen.
 *
 * That a series is there twice is noticed by that number, unless two texts stand for it, or the
 * target's labels make two series one. A list in which that may be is looked through, label by
 * label, when it is made.
 */
#include "receiver/sink/write_scrape.h"

#include "receiver/sink/push_index.h"

#define FIRST_ROOM 256

struct reading {
	struct write_table *table;
	struct write_planner *planner;
	struct write_list *former; /* may be NULL */
	const struct write_scrape_options *options;
	struct write_scrape *scrape;
	struct expo_parser parser;
	struct write_meta meta;
	struct buf meta_name;

	uint32_t place; /* in former: what is expected next */
	uint32_t count, room;
	int64_t *times;
	double *values;

	bool differs;
	uint32_t round;
	struct write_series **items; /* while it differs; with a reference each */
	uint8_t *stamped;
	uint32_t item_room;
	uint64_t seed;
	struct push_index labels; /* of the series, where two may have the same; hashes */
	struct buf scratch;
};

static uint32_t former_count(const struct reading *r)
{
	return r->former == NULL ? 0 : r->former->count;
}

static bool former_is_stamped(const struct reading *r, uint32_t place)
{
	return r->former->stamped != NULL && r->former->stamped[place] != 0;
}

/* From here on a list of its own is made. */
static void begin_to_differ(struct reading *r)
{
	uint32_t count = former_count(r);

	r->differs = true;
	r->round = write_table_next_round(r->table);
	r->item_room = count + FIRST_ROOM;
	r->items = xreallocarray(NULL, r->item_room, sizeof(struct write_series *));
	r->stamped = xcalloc(r->item_room, 1);
	for (uint32_t i = 0; i < count; i++) {
		struct write_series *series = r->former->items[i];

		series->mark = r->round;
		series->place = i;
		if (i >= r->count)
			continue;
		series->seen = r->round;
		series->refs++;
		r->items[i] = series;
		r->stamped[i] = former_is_stamped(r, i);
	}
}

static void add_item(struct reading *r, struct write_series *series, bool is_stamped)
{
	if (r->count == r->item_room) {
		r->items = xreallocarray(r->items, 2 * r->item_room, sizeof(struct write_series *));
		r->stamped = xreallocarray(r->stamped, 2 * r->item_room, 1);
		r->item_room *= 2;
	}
	series->refs++;
	series->seen = r->round;
	r->items[r->count] = series;
	r->stamped[r->count] = is_stamped;
}

static void add_value(struct reading *r, const struct expo_line *line, bool is_stamped)
{
	if (r->count == r->room) {
		uint32_t expected = former_count(r);

		r->room = r->room > 0 ? 2 * r->room : expected > 0 ? expected : FIRST_ROOM;
		r->values = xreallocarray(r->values, r->room, sizeof(*r->values));
		if (r->times != NULL)
			r->times = xreallocarray(r->times, r->room, sizeof(*r->times));
	}
	if (is_stamped && r->times == NULL) {
		r->times = xreallocarray(NULL, r->room, sizeof(*r->times));
		for (uint32_t i = 0; i < r->count; i++)
			r->times[i] = r->options->time_ms;
	}
	if (r->times != NULL)
		r->times[r->count] =
			is_stamped ? expo_timestamp_ms(line->timestamp) : r->options->time_ms;
	r->values[r->count++] = expo_value(line->value);
}

static bool is_next(const struct reading *r, struct slice text)
{
	return r->place < former_count(r) &&
	       slice_eq(write_series_text(r->former->items[r->place]), text);
}

/* The series of the line, with one reference more. */
static struct write_series *series_of(struct reading *r, const struct expo_line *line)
{
	struct write_series *series;

	if (is_next(r, write_line_text(line))) {
		series = r->former->items[r->place++];
		series->refs++;
		return series;
	}
	series = write_series_take(r->table, line, &r->meta);
	if (series->mark == r->round)
		r->place = series->place + 1;
	return series;
}

/* A line that is not, or not only, the one of before. False where it shows a loop. */
static bool read_differing(struct reading *r, const struct expo_line *line, bool is_stamped)
{
	struct write_series *series = series_of(r, line);
	bool is_loop = series->is_loop && !r->options->allow_loop;

	if (series->own < WRITE_OWN_COUNT) {
		r->scrape->displaced++;
	} else if (series->seen == r->round) {
		r->scrape->repeated++;
	} else if (!is_loop) {
		r->scrape->added += series->mark != r->round;
		add_item(r, series, is_stamped);
		add_value(r, line, is_stamped);
	}
	write_series_put(r->table, series);
	return !is_loop;
}

static bool read_sample(struct reading *r, const struct expo_line *line)
{
	bool is_stamped = line->timestamp.len > 0 && r->options->honor_timestamps;

	r->scrape->samples++;
	if (!r->differs) {
		if (is_next(r, write_line_text(line)) &&
			former_is_stamped(r, r->place) == is_stamped &&
			(!r->former->items[r->place]->is_loop || r->options->allow_loop)) {
			add_value(r, line, is_stamped);
			r->place++;
			return true;
		}
		begin_to_differ(r);
	}
	return read_differing(r, line, is_stamped);
}

/* What is said from now on is of this family. */
static void turn_to_family(struct reading *r, const struct expo_line *line)
{
	struct buf unescaped = {0};

	if (!line->name_quoted) {
		if (!slice_eq(line->name, r->meta.name))
			r->meta = (struct write_meta){.name = line->name};
		return;
	}
	expo_unescape(line->name, &unescaped);
	if (slice_eq(buf_slice(&unescaped), r->meta.name)) {
		buf_free(&unescaped);
		return;
	}
	buf_free(&r->meta_name);
	r->meta_name = unescaped;
	r->meta = (struct write_meta){.name = buf_slice(&unescaped)};
}

static void read_meta(struct reading *r, const struct expo_line *line)
{
	struct write_family *family;

	turn_to_family(r, line);
	if (line->kind == EXPO_HELP)
		r->meta.help = line->text;
	else
		r->meta.type = line->type;
	r->meta.is_typed = r->meta.is_typed || line->kind == EXPO_TYPE;
	if ((!r->options->learns && !r->differs) || r->meta.name.len == 0)
		return;
	family = write_family_find(write_table_families(r->table), r->meta.name);
	if (family != NULL)
		write_family_learn(family, &r->meta);
}

static enum write_verdict read_all(struct reading *r, struct err *err)
{
	struct expo_line line;

	for (;;) {
		switch (expo_next(&r->parser, &line, err)) {
		case EXPO_END:
			return WRITE_OK;
		case EXPO_ERROR:
			return WRITE_MALFORMED;
		case EXPO_SAMPLE:
			if (!read_sample(r, &line))
				return WRITE_LOOP;
			break;
		case EXPO_HELP:
		case EXPO_TYPE:
			read_meta(r, &line);
			break;
		}
	}
}

/* Series that are one once the target's labels are there. */

static uint64_t hash_of(struct reading *r, const struct write_series *series)
{
	const struct write_plan *plan = write_planner_get(
		r->planner, series->shape, r->options->labels, r->options->honor_labels);
	char *begin, *end;

	buf_clear(&r->scratch);
	begin = buf_reserve(&r->scratch, write_plan_len(plan, series) + 1);
	end = write_plan_put(plan, series, begin);
	return push_hash(r->seed, (struct slice){begin, (size_t)(end - begin)});
}

static void drop_item(struct reading *r, uint32_t i)
{
	r->scrape->added -= r->items[i]->mark != r->round;
	write_series_put(r->table, r->items[i]);
	r->items[i] = NULL;
}

static void close_gaps(struct reading *r)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < r->count; i++) {
		if (r->items[i] == NULL)
			continue;
		r->items[kept] = r->items[i];
		r->stamped[kept] = r->stamped[i];
		r->values[kept] = r->values[i];
		if (r->times != NULL)
			r->times[kept] = r->times[i];
		kept++;
	}
	r->count = kept;
}

/* What stands in the index of labels. */
enum { OF_OURS = 1, OF_BODY = 2 };

static void drop_repeated(struct reading *r)
{
	struct write_series *const *own = write_table_own(r->table);
	for (size_t i = 0; i < WRITE_OWN_COUNT; i++)
		*push_index_at(&r->labels, hash_of(r, own[i])) = OF_OURS;
	for (uint32_t i = 0; i < r->count; i++) {
		uint32_t *known = push_index_at(&r->labels, hash_of(r, r->items[i]));

		if (*known == 0) {
			*known = OF_BODY;
			continue;
		}
		if (*known == OF_OURS)
			r->scrape->displaced++;
		else
			r->scrape->repeated++;
		drop_item(r, i);
	}
	close_gaps(r);
}

/* Whether another series may have the labels that this one has in the end. */
static bool may_have_twin(struct reading *r, const struct write_series *series)
{
	return series->is_unusual || write_planner_get(r->planner, series->shape,
					     r->options->labels, r->options->honor_labels)
					     ->collides;
}

static bool may_repeat(struct reading *r)
{
	bool may = false;

	for (uint32_t i = 0; i < r->count && !may; i++)
		may = may_have_twin(r, r->items[i]);
	for (uint32_t i = 0; i < former_count(r) && !may; i++)
		may = r->former->items[i]->seen != r->round &&
		      may_have_twin(r, r->former->items[i]);
	return may;
}

/* Ending. */

static bool is_as_before(const struct reading *r)
{
	if (r->former == NULL || r->count != r->former->count)
		return false;
	for (uint32_t i = 0; i < r->count; i++)
		if (r->items[i] != r->former->items[i] ||
			(r->stamped[i] != 0) != former_is_stamped(r, i))
			return false;
	return true;
}

static void free_items(struct reading *r)
{
	for (uint32_t i = 0; r->differs && i < r->count; i++)
		write_series_put(r->table, r->items[i]);
	free(r->items);
	free(r->stamped);
}

static bool is_there_by_another_text(struct reading *r, const struct write_series *series)
{
	return r->labels.count > 0 && push_index_get(&r->labels, hash_of(r, series)) != 0;
}

/* Those of before that are not there any more. */
static struct write_list *list_gone(struct reading *r)
{
	struct write_series **gone;
	struct write_list *list;
	uint32_t count = 0;

	gone = xcalloc(former_count(r) + 1, sizeof(struct write_series *));
	for (uint32_t i = 0; i < former_count(r); i++) {
		struct write_series *series = r->former->items[i];

		if (series->seen == r->round || former_is_stamped(r, i) ||
			is_there_by_another_text(r, series))
			continue;
		series->refs++;
		gone[count++] = series;
	}
	list = count == 0 ? NULL : write_list_new(gone, count, NULL);
	free(gone);
	return list;
}

static struct write_list *list_own(struct reading *r)
{
	if (memchr(r->stamped, 1, r->count) == NULL) {
		free(r->stamped);
		r->stamped = NULL;
	} else {
		r->stamped = xreallocarray(r->stamped, r->count, 1);
	}
	return write_list_new(r->items, r->count, r->stamped);
}

static void finish(struct reading *r)
{
	struct write_scrape *scrape = r->scrape;

	if (!r->differs && r->place < former_count(r))
		begin_to_differ(r);
	if (r->differs && may_repeat(r))
		drop_repeated(r);
	if (!r->differs || is_as_before(r)) {
		free_items(r);
		scrape->list = r->former == NULL ? write_list_new(NULL, 0, NULL)
						 : write_list_ref(r->former);
	} else {
		scrape->gone = list_gone(r);
		scrape->list = list_own(r);
		free(r->items);
	}
	scrape->values = r->values;
	scrape->times = r->times;
}

enum write_verdict write_scrape_read(struct write_scrape *scrape, struct write_table *table,
	struct write_planner *planner, struct write_list *former, struct slice body,
	const struct write_scrape_options *options, struct err *err)
{
	struct reading r = {
		.table = table,
		.planner = planner,
		.former = former,
		.options = options,
		.scrape = scrape,
		.seed = push_hash_seed(),
	};
	enum write_verdict verdict;

	*scrape = (struct write_scrape){0};
	expo_init(&r.parser, body);
	verdict = read_all(&r, err);
	if (verdict == WRITE_OK) {
		finish(&r);
	} else {
		free_items(&r);
		free(r.values);
		free(r.times);
	}
	write_planner_forget(planner);
	push_index_free(&r.labels);
	buf_free(&r.scratch);
	buf_free(&r.meta_name);
	return verdict;
}

void write_scrape_fini(struct write_scrape *scrape, struct write_table *table)
{
	write_list_unref(table, scrape->list);
	write_list_unref(table, scrape->gone);
	free(scrape->values);
	free(scrape->times);
	*scrape = (struct write_scrape){0};
}

struct write_list *write_list_mortal(struct write_list *list)
{
	struct write_series **items;
	struct write_list *mortal;
	uint32_t count = 0;

	if (list == NULL || list->count == 0)
		return NULL;
	if (list->stamped == NULL)
		return write_list_ref(list);
	items = xcalloc(list->count, sizeof(struct write_series *));
	for (uint32_t i = 0; i < list->count; i++) {
		if (list->stamped[i] != 0)
			continue;
		list->items[i]->refs++;
		items[count++] = list->items[i];
	}
	mortal = count == 0 ? NULL : write_list_new(items, count, NULL);
	free(items);
	return mortal;
}
