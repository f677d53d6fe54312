/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two passes, as marks stand anywhere between the families. The first collects the groups. Their
 * label sets have few shapes (sets of names), so that the second finds the group of a sample with
 * one look-up per shape, the largest that fits being its group. Values are compared as they stand:
 * the gateway escapes one value in one way.
 */
#include "receiver/sink/push_survey.h"

#include "receiver/sink/push_body.h"
#include "receiver/sink/push_index.h"
#include "receiver/sink/push_path.h"

/* Groups of further shapes are listed, but what they expose counts as foreign. */
#define MAX_SHAPES        64
#define MAX_SAMPLE_LABELS 256
#define MAX_TIME_S        1e12

struct reader {
	struct push_survey *survey;
	uint64_t seed;
	struct labels shapes[MAX_SHAPES]; /* whose names are meant */
	size_t shape_count;
	struct push_index groups; /* by shape and values: number + 1 */
	struct push_index families;
	struct expo_label labels[MAX_SAMPLE_LABELS]; /* of the current sample */
	size_t label_count;
	struct buf text;
};

static void *grow(void *items, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return items;
	*capacity = *capacity == 0 ? 64 : 2 * *capacity;
	return xreallocarray(items, *capacity, size);
}

static bool is_mark(const struct expo_line *line)
{
	return !line->name_quoted && slice_is(line->name, PUSH_MARK);
}

/* Labels. */

static void read_labels(struct reader *r, const struct expo_line *line)
{
	struct slice rest = line->labels;

	r->label_count = 0;
	while (r->label_count < MAX_SAMPLE_LABELS &&
		expo_labels_next(&rest, &r->labels[r->label_count]))
		r->label_count++;
}

static const struct expo_label *find_label(const struct reader *r, const char *name)
{
	for (size_t i = 0; i < r->label_count; i++) {
		if (!r->labels[i].name_quoted && slice_is(r->labels[i].name, name))
			return &r->labels[i];
	}
	return NULL;
}

/* The hash of the current sample's values for this shape; false where it lacks one of them. */
static bool hash_of(const struct reader *r, size_t shape, uint64_t *hash)
{
	const struct labels *names = &r->shapes[shape];

	*hash = push_hash(r->seed, (struct slice){(const char *)&shape, sizeof(shape)});
	for (size_t i = 0; i < names->count; i++) {
		const struct expo_label *label = find_label(r, names->items[i].name);

		if (label == NULL)
			return false;
		*hash = push_hash(*hash, label->value);
	}
	return true;
}

/* Groups. */

static bool has_shape(const struct labels *a, const struct labels *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->items[i].name, b->items[i].name) != 0)
			return false;
	}
	return true;
}

static bool find_shape(struct reader *r, const struct labels *labels, size_t *shape)
{
	for (*shape = 0; *shape < r->shape_count; (*shape)++) {
		if (has_shape(&r->shapes[*shape], labels))
			return true;
	}
	return false;
}

static bool make_shape(struct reader *r, const struct labels *labels, size_t *shape)
{
	if (find_shape(r, labels, shape))
		return true;
	if (r->shape_count == MAX_SHAPES)
		return false;
	labels_merge(&r->shapes[r->shape_count++], labels);
	return true;
}

static int64_t time_of(const struct expo_line *line)
{
	double seconds = expo_value(line->value);

	return seconds > 0 && seconds < MAX_TIME_S ? (int64_t)(seconds * 1e3 + 0.5) : 0;
}

static void set_labels(struct reader *r, struct labels *labels)
{
	for (size_t i = 0; i < r->label_count; i++) {
		struct buf *text = &r->text;
		size_t name_len;

		buf_clear(text);
		if (r->labels[i].name_quoted)
			expo_unescape(r->labels[i].name, text);
		else
			buf_append_slice(text, r->labels[i].name);
		name_len = text->len;
		expo_unescape(r->labels[i].value, text);
		labels_set(labels, (struct slice){text->ptr, name_len},
			(struct slice){text->ptr + name_len, text->len - name_len});
	}
}

static void add_group(struct reader *r, const struct expo_line *line)
{
	struct push_survey *s = r->survey;
	struct push_survey_group group = {.time_ms = time_of(line)};
	size_t shape;
	uint64_t hash;

	read_labels(r, line);
	set_labels(r, &group.labels);
	s->groups = grow(s->groups, s->group_count, &s->group_capacity, sizeof(*s->groups));
	s->groups[s->group_count++] = group;
	if (group.labels.count > 0 && make_shape(r, &group.labels, &shape) &&
		hash_of(r, shape, &hash))
		*push_index_at(&r->groups, hash) = (uint32_t)s->group_count;
}

/* NULL: of no group with a mark. */
static struct push_survey_group *group_of_sample(struct reader *r, const struct expo_line *line)
{
	struct push_survey_group *best = NULL;
	uint64_t hash;

	read_labels(r, line);
	for (size_t i = 0; i < r->shape_count; i++) {
		size_t labels = r->shapes[i].count;
		uint32_t known;

		if (best != NULL && best->labels.count >= labels)
			continue;
		known = hash_of(r, i, &hash) ? push_index_get(&r->groups, hash) : 0;
		if (known != 0)
			best = &r->survey->groups[known - 1];
	}
	return best;
}

/* Families. */

static uint32_t family_at(struct reader *r, const struct expo_line *line)
{
	struct push_survey *s = r->survey;
	struct slice name = line->name;
	uint32_t *known;

	buf_clear(&r->text);
	if (line->name_quoted) {
		expo_unescape(name, &r->text);
		name = buf_slice(&r->text);
	}
	known = push_index_at(&r->families, push_hash(r->seed, name));
	if (*known == 0) {
		s->families = grow(
			s->families, s->family_count, &s->family_capacity, sizeof(*s->families));
		s->families[s->family_count] =
			(struct push_survey_family){.name = slice_dup(name), .type = EXPO_UNTYPED};
		*known = (uint32_t)++s->family_count;
	}
	return *known - 1;
}

/* Samples stand behind the TYPE of their family, whose name they have, or a longer one. */
static uint32_t family_of_sample(struct reader *r, const struct expo_line *line, uint32_t last)
{
	const struct push_survey_family *family;
	size_t len;

	if (last == UINT32_MAX)
		return family_at(r, line);
	family = &r->survey->families[last];
	len = strlen(family->name);
	if (family->type < EXPO_HISTOGRAM || line->name.len < len ||
		memcmp(line->name.ptr, family->name, len) != 0)
		return family_at(r, line);
	return last;
}

/* The gateway's own series of each group; 0 where no push of it ever succeeded. */
static bool tells_a_push(const struct expo_line *line)
{
	return !line->name_quoted && slice_is(line->name, "push_time_seconds") &&
	       expo_value(line->value) > 0;
}

/* The labels of the line have been read. */
static void add_foreign_group(struct reader *r)
{
	struct push_survey *s = r->survey;

	s->foreign_groups = grow(s->foreign_groups, s->foreign_group_count,
		&s->foreign_group_capacity, sizeof(*s->foreign_groups));
	s->foreign_groups[s->foreign_group_count] = (struct push_survey_group){.time_ms = 0};
	set_labels(r, &s->foreign_groups[s->foreign_group_count++].labels);
}

static void note_holder(struct reader *r, const struct expo_line *line, uint32_t family)
{
	struct push_survey_group *group = group_of_sample(r, line);

	if (group == NULL && tells_a_push(line))
		add_foreign_group(r);
	if (group == NULL) {
		r->survey->families[family].is_foreign = true;
		return;
	}
	if (group->family_count > 0 && group->families[group->family_count - 1] == family)
		return;
	if ((group->family_count & (group->family_count - 1)) == 0)
		group->families = xreallocarray(group->families,
			group->family_count == 0 ? 1 : 2 * group->family_count,
			sizeof(*group->families));
	group->families[group->family_count++] = family;
}

/* Passes. */

static int read_marks(struct reader *r, struct slice exposition, struct err *err)
{
	struct expo_parser parser;
	struct expo_line line;
	enum expo_kind kind;

	expo_init(&parser, exposition);
	while ((kind = expo_next(&parser, &line, err)) != EXPO_END) {
		if (kind == EXPO_ERROR)
			return -1;
		if (kind == EXPO_SAMPLE && is_mark(&line))
			add_group(r, &line);
	}
	return 0;
}

static void read_families(struct reader *r, struct slice exposition)
{
	struct expo_parser parser;
	struct expo_line line;
	enum expo_kind kind;
	uint32_t last = UINT32_MAX;

	expo_init(&parser, exposition);
	while ((kind = expo_next(&parser, &line, NULL)) != EXPO_END) {
		if (kind == EXPO_TYPE) {
			last = family_at(r, &line);
			r->survey->families[last].type = line.type;
		} else if (kind == EXPO_SAMPLE) {
			note_holder(r, &line, family_of_sample(r, &line, last));
		}
	}
}

static void reader_fini(struct reader *r)
{
	for (size_t i = 0; i < r->shape_count; i++)
		labels_free(&r->shapes[i]);
	push_index_free(&r->groups);
	push_index_free(&r->families);
	buf_free(&r->text);
}

int push_survey_parse(struct push_survey *survey, struct slice exposition, struct err *err)
{
	struct reader *r = xcalloc(1, sizeof(*r));
	int result;

	*survey = (struct push_survey){0};
	r->survey = survey;
	r->seed = push_hash_seed();
	result = read_marks(r, exposition, err);
	if (result == 0)
		read_families(r, exposition);
	reader_fini(r);
	free(r);
	return result;
}

void push_survey_path(struct buf *out, const struct push_survey_group *group, bool publisher_label)
{
	static const char *const first[] = {"job", "instance", "publisher"};
	struct push_labels path = {.count = 0};
	size_t first_count = publisher_label ? 3 : 2;

	for (size_t i = 0; i < first_count; i++) {
		const char *value = labels_get(&group->labels, first[i]);

		if (value != NULL)
			path.items[path.count++] =
				(struct push_label){slice_from(first[i]), slice_from(value)};
	}
	for (size_t i = 0; i < group->labels.count && path.count < ARRAY_LEN(path.items); i++) {
		const struct label *label = &group->labels.items[i];
		bool is_first = false;

		for (size_t k = 0; k < first_count; k++)
			is_first = is_first || strcmp(label->name, first[k]) == 0;
		if (!is_first)
			path.items[path.count++] = (struct push_label){
				slice_from(label->name), slice_from(label->value)};
	}
	push_labels_path(out, &path);
}

void push_survey_fini(struct push_survey *survey)
{
	for (size_t i = 0; i < survey->group_count; i++) {
		labels_free(&survey->groups[i].labels);
		free(survey->groups[i].families);
	}
	for (size_t i = 0; i < survey->foreign_group_count; i++)
		labels_free(&survey->foreign_groups[i].labels);
	free(survey->foreign_groups);
	for (size_t i = 0; i < survey->family_count; i++)
		free(survey->families[i].name);
	free(survey->groups);
	free(survey->families);
	*survey = (struct push_survey){0};
}
