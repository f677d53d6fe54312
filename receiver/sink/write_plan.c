/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A merge of two sorted lists, with what neighbours in one list joined to a single copy. Only where
 * names collide are labels looked at one by one.
 */
#include "receiver/sink/write_plan.h"

#include "receiver/sink/write_wire.h"

#define EXPORTED "exported_"

/* One label of the result, while names collide. */
struct element {
	struct slice name; /* of a renamed one: see name_of */
	size_t name_at;
	enum write_step_kind kind;
	uint32_t index;
};

static void add_step(struct write_plan *plan, enum write_step_kind kind, uint32_t index)
{
	struct write_step *last = plan->count == 0 ? NULL : &plan->steps[plan->count - 1];

	if (last != NULL && last->kind == kind && last->to == index && kind != WRITE_RENAMED) {
		last->to++;
		return;
	}
	if (plan->count == plan->room) {
		plan->room = plan->room == 0 ? 8 : 2 * plan->room;
		plan->steps = xreallocarray(plan->steps, plan->room, sizeof(*plan->steps));
	}
	plan->steps[plan->count++] =
		(struct write_step){.kind = kind, .from = index, .to = index + 1};
}

/* False, and what has been planned is of no use, where a name is in both. */
static bool merge(struct write_plan *plan)
{
	const struct write_shape *shape = plan->shape;
	const struct write_labels *labels = plan->labels;
	uint32_t i = 0, k = 0;

	while (i < shape->count || k < labels->count) {
		int order = i == shape->count ? 1
			    : k == labels->count
				    ? -1
				    : slice_cmp(shape->names[i].name, labels->names[k]);

		if (order == 0)
			return false;
		if (order < 0)
			add_step(plan, WRITE_OF_SERIES, i++);
		else
			add_step(plan, WRITE_OF_TARGET, k++);
	}
	return true;
}

/* Collisions. */

struct mixture {
	struct element *elements; /* in no order */
	size_t count;
	uint32_t *renamed; /* labels of the series that lose their name */
	size_t renamed_count;
};

/* New names move while there come more. */
static struct slice name_of(const struct write_plan *plan, const struct element *element)
{
	if (element->kind != WRITE_RENAMED)
		return element->name;
	return (struct slice){plan->names.ptr + element->name_at, element->name.len};
}

static bool has_name(
	const struct write_plan *plan, const struct mixture *mixture, struct slice name)
{
	for (size_t i = 0; i < mixture->count; i++)
		if (slice_eq(name_of(plan, &mixture->elements[i]), name))
			return true;
	return false;
}

static void add_element(
	struct mixture *mixture, struct slice name, enum write_step_kind kind, uint32_t index)
{
	mixture->elements[mixture->count++] =
		(struct element){.name = name, .kind = kind, .index = index};
}

/* The label of the series that has this name, or count. */
static uint32_t find_in_shape(const struct write_shape *shape, struct slice name)
{
	uint32_t i = 0;

	while (i < shape->count && !slice_eq(shape->names[i].name, name))
		i++;
	return i;
}

static bool is_of_target(const struct write_labels *labels, struct slice name)
{
	for (uint32_t i = 0; i < labels->count; i++)
		if (slice_eq(labels->names[i], name))
			return true;
	return false;
}

static void add_labels_of_series(struct write_plan *plan, struct mixture *mixture)
{
	for (uint32_t i = 0; i < plan->shape->count; i++) {
		const struct write_shape_name *label = &plan->shape->names[i];

		if (label->is_empty)
			continue;
		if (!plan->honor_labels && is_of_target(plan->labels, label->name))
			mixture->renamed[mixture->renamed_count++] = i;
		else
			add_element(mixture, label->name, WRITE_OF_SERIES, i);
	}
}

/* An empty label of the series takes the target's away, if it is honoured. */
static void add_labels_of_target(struct write_plan *plan, struct mixture *mixture)
{
	for (uint32_t i = 0; i < plan->labels->count; i++) {
		struct slice name = plan->labels->names[i];

		if (!plan->honor_labels || find_in_shape(plan->shape, name) == plan->shape->count)
			add_element(mixture, name, WRITE_OF_TARGET, i);
	}
}

/* The shortest name first, then by name, as Prometheus does. */
static int compare_lengths(const void *left, const void *right, void *arg)
{
	const struct write_shape *shape = arg;
	struct slice a = shape->names[*(const uint32_t *)left].name;
	struct slice b = shape->names[*(const uint32_t *)right].name;

	return a.len != b.len ? (a.len > b.len) - (a.len < b.len) : slice_cmp(a, b);
}

static void rename_label(struct write_plan *plan, struct mixture *mixture, uint32_t index)
{
	struct buf name = {0};

	buf_append_slice(&name, plan->shape->names[index].name);
	do {
		struct buf longer = {0};

		buf_append_str(&longer, EXPORTED);
		buf_append_slice(&longer, buf_slice(&name));
		buf_free(&name);
		name = longer;
	} while (has_name(plan, mixture, buf_slice(&name)));
	add_element(mixture, buf_slice(&name), WRITE_RENAMED, index);
	mixture->elements[mixture->count - 1].name_at = plan->names.len;
	buf_append_slice(&plan->names, buf_slice(&name));
	buf_free(&name);
}

static int compare_elements(const void *left, const void *right, void *plan)
{
	return slice_cmp(name_of(plan, left), name_of(plan, right));
}

static void settle(struct write_plan *plan)
{
	uint32_t most = plan->shape->count + plan->labels->count;
	struct mixture mixture = {
		.elements = xcalloc(most, sizeof(*mixture.elements)),
		.renamed = xcalloc(plan->shape->count, sizeof(*mixture.renamed)),
	};

	plan->collides = true;
	plan->count = 0;
	add_labels_of_series(plan, &mixture);
	add_labels_of_target(plan, &mixture);
	qsort_r(mixture.renamed, mixture.renamed_count, sizeof(*mixture.renamed), compare_lengths,
		(void *)(uintptr_t)plan->shape);
	for (size_t i = 0; i < mixture.renamed_count; i++)
		rename_label(plan, &mixture, mixture.renamed[i]);
	qsort_r(mixture.elements, mixture.count, sizeof(*mixture.elements), compare_elements, plan);
	for (size_t i = 0; i < mixture.count; i++) {
		const struct element *element = &mixture.elements[i];

		add_step(plan, element->kind, element->index);
		if (element->kind != WRITE_RENAMED)
			continue;
		plan->steps[plan->count - 1].name_at = (uint32_t)element->name_at;
		plan->steps[plan->count - 1].name_len = (uint32_t)element->name.len;
	}
	free(mixture.elements);
	free(mixture.renamed);
}

void write_plan_make(struct write_plan *plan, const struct write_shape *shape,
	const struct write_labels *labels, bool honor_labels)
{
	plan->shape = shape;
	plan->labels = labels;
	plan->honor_labels = honor_labels;
	plan->collides = false;
	plan->count = 0;
	buf_clear(&plan->names);
	if (!merge(plan))
		settle(plan);
}

void write_plan_fini(struct write_plan *plan)
{
	free(plan->steps);
	buf_free(&plan->names);
}

/* Carrying it out. */

static uint32_t target_begin(const struct write_labels *labels, uint32_t i)
{
	return i == 0 ? 0 : labels->ends[i - 1];
}

static struct slice step_pairs(const struct write_plan *plan, const struct write_step *step,
	const struct write_series *series)
{
	uint32_t begin;

	if (step->kind == WRITE_OF_TARGET) {
		begin = target_begin(plan->labels, step->from);
		return (struct slice){
			plan->labels->pairs.ptr + begin, plan->labels->ends[step->to - 1] - begin};
	}
	begin = write_series_begin(series, step->from);
	return (struct slice){
		write_series_pairs(series) + begin, series->ends[step->to - 1] - begin};
}

/* The pair under its new name, without what stands before it. */
static size_t renamed_len(const struct write_step *step, struct slice value)
{
	return 2 + write_varint_len(step->name_len) + step->name_len + write_varint_len(value.len) +
	       value.len;
}

static struct slice renamed_value(const struct write_plan *plan, const struct write_step *step,
	const struct write_series *series)
{
	return write_pair_value(
		step_pairs(plan, step, series), plan->shape->names[step->from].name.len);
}

size_t write_plan_len(const struct write_plan *plan, const struct write_series *series)
{
	size_t len = 0;

	if (!plan->collides)
		return series->pairs_len + plan->labels->pairs.len;
	for (uint32_t i = 0; i < plan->count; i++) {
		const struct write_step *step = &plan->steps[i];

		if (step->kind == WRITE_RENAMED) {
			size_t pair = renamed_len(step, renamed_value(plan, step, series));

			len += 1 + write_varint_len(pair) + pair;
		} else {
			len += step_pairs(plan, step, series).len;
		}
	}
	return len;
}

static char *put_renamed(const struct write_plan *plan, const struct write_step *step,
	const struct write_series *series, char *at)
{
	struct slice value = renamed_value(plan, step, series);

	*at++ = WRITE_BYTES(1);
	at = write_varint(at, renamed_len(step, value));
	*at++ = WRITE_BYTES(1);
	at = write_varint(at, step->name_len);
	at = write_copy(at, plan->names.ptr + step->name_at, step->name_len);
	*at++ = WRITE_BYTES(2);
	at = write_varint(at, value.len);
	return write_copy(at, value.ptr, value.len);
}

char *write_plan_put(const struct write_plan *plan, const struct write_series *series, char *at)
{
	for (uint32_t i = 0; i < plan->count; i++) {
		const struct write_step *step = &plan->steps[i];
		struct slice pairs;

		if (step->kind == WRITE_RENAMED) {
			at = put_renamed(plan, step, series, at);
			continue;
		}
		pairs = step_pairs(plan, step, series);
		at = write_copy(at, pairs.ptr, pairs.len);
	}
	return at;
}

/* Plans made lately. */

const struct write_plan *write_planner_get(struct write_planner *planner,
	const struct write_shape *shape, const struct write_labels *labels, bool honor_labels)
{
	size_t place = ((uintptr_t)shape >> 5 ^ (uintptr_t)shape >> 11 ^ (uintptr_t)labels >> 7) %
		       WRITE_PLANS;
	struct write_plan *plan = &planner->plans[place];

	if (plan->shape != shape || plan->labels != labels || plan->honor_labels != honor_labels)
		write_plan_make(plan, shape, labels, honor_labels);
	return plan;
}

void write_planner_forget(struct write_planner *planner)
{
	for (size_t i = 0; i < WRITE_PLANS; i++)
		planner->plans[i].shape = NULL;
}

void write_planner_fini(struct write_planner *planner)
{
	for (size_t i = 0; i < WRITE_PLANS; i++)
		write_plan_fini(&planner->plans[i]);
}
