/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two passes. The first parses: each sample becomes an item that says where its line stands (in the
 * input, or among the lines written anew), of which family it is and into which group it goes. The
 * second writes the groups, HELP and TYPE before the first sample of each family, copying runs of
 * lines that follow each other as one piece. In between the families are settled and the gate is
 * asked about groups. The families of our own series are known from the start, so that no body can
 * give them another type than all groups have.
 */
#include "receiver/sink/push_body.h"

#include "receiver/sink/push_builder.h"
#include "receiver/sink/push_report.h"

/* Places are 31 bits and one for the text they are in. */
#define MAX_TEXT_BYTES ((size_t)INT32_MAX)
/* As the end of a value in the key of a group. */
#define VALUE_OF_TARGET SIZE_MAX

void *builder_grow(void *items, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return items;
	*capacity = *capacity == 0 ? 1024 : 2 * *capacity;
	return xreallocarray(items, *capacity, size);
}

struct slice builder_text(const struct builder *b, struct place place)
{
	const char *text = place.rewritten ? b->rewriter.lines.ptr : b->input.ptr;

	return (struct slice){text + place.at, place.len};
}

/* The first HELP and the first TYPE of a family count, wherever they stand. */

static struct place place_of(const struct builder *b, struct slice text)
{
	return (struct place){
		.at = (uint32_t)(text.ptr - b->input.ptr) & INT32_MAX, .len = (uint32_t)text.len};
}

struct place builder_end_line(struct builder *b, size_t at)
{
	struct buf *lines = &b->rewriter.lines;
	struct place place = {
		.at = (uint32_t)at & INT32_MAX, .rewritten = 1, .len = (uint32_t)(lines->len - at)};

	buf_append_char(lines, '\n');
	return place;
}

/* The gateway knows two escapes in HELP, Prometheus takes any backslash. */
static void append_help_text(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		bool is_escape = text.ptr[i] == '\\' && i + 1 < text.len &&
				 (text.ptr[i + 1] == '\\' || text.ptr[i + 1] == 'n');

		if (text.ptr[i] == '\\' && !is_escape)
			buf_append_char(out, '\\');
		buf_append_char(out, text.ptr[i]);
		if (is_escape)
			buf_append_char(out, text.ptr[++i]);
	}
}

static struct place write_metadata(
	struct builder *b, const struct expo_line *line, struct slice name)
{
	struct buf *lines = &b->rewriter.lines;
	size_t at = lines->len;

	buf_append_str(lines, line->kind == EXPO_HELP ? "# HELP " : "# TYPE ");
	push_quote_name(lines, name, false);
	buf_append_char(lines, ' ');
	if (line->kind == EXPO_HELP)
		append_help_text(lines, line->text);
	else
		buf_append_slice(lines, line->text);
	return builder_end_line(b, at);
}

/* Whether the gateway reads the line as it stands: one blank between its parts, no escapes. */
static bool metadata_is_plain(const struct expo_line *line)
{
	size_t before_text = strlen("# HELP ") + line->name.len;

	return !line->name_quoted && line->text.len > 0 &&
	       line->whole.len == before_text + 1 + line->text.len &&
	       line->whole.ptr[before_text] == ' ' &&
	       memchr(line->text.ptr, '\\', line->text.len) == NULL;
}

static void read_metadata(struct builder *b, const struct expo_line *line)
{
	struct slice name = line->name;
	struct buf raw = {0}, clean = {0};
	struct place *place;
	uint32_t family;

	if (line->name_quoted) {
		expo_unescape(line->name, &raw);
		push_name(&clean, buf_slice(&raw), false, b->target->utf8_names);
		name = buf_slice(&clean);
	}
	family = family_at(b, name);
	place = line->kind == EXPO_HELP ? &b->families[family].help
					: &b->families[family].type_line;
	if (family >= FAMILIES_RESERVED && place->len == 0) {
		*place = metadata_is_plain(line) ? place_of(b, line->whole)
						 : write_metadata(b, line, name);
		if (line->kind == EXPO_TYPE)
			b->families[family].type = line->type;
	}
	buf_free(&raw);
	buf_free(&clean);
}

/* Groups. */

static struct push_group *add_group(struct push_body *body, const struct push_labels *labels)
{
	struct push_group *group;

	body->groups =
		builder_grow(body->groups, body->count, &body->capacity, sizeof(*body->groups));
	group = &body->groups[body->count++];
	*group = (struct push_group){0};
	push_labels_path(&group->path, labels);
	return group;
}

/*
 * One label's value in a group: what the sample exposes (an empty job cannot be). False and nothing
 * appended where that is the target's.
 */
static bool append_group_value(struct builder *b, const struct push_sample *sample, size_t i)
{
	struct slice exposed = sample->exposed[i];
	size_t at = b->key.len;

	if (exposed.ptr == NULL || (exposed.len == 0 && i == 0))
		return false;
	expo_unescape(exposed, &b->key);
	if (!slice_eq((struct slice){b->key.ptr + at, b->key.len - at}, b->group.items[i].value))
		return true;
	b->key.len = at;
	return false;
}

/*
 * The key of the sample's group: the values that are not the target's one behind the other, their
 * ends in `ends`. A value cannot move its end unseen, as the ends are part of the key. The target's
 * values are not: kilobytes of labels would be copied for each sample.
 */
static void make_group_key(struct builder *b, const struct push_sample *sample, size_t *ends)
{
	buf_clear(&b->key);
	for (size_t i = 0; i < b->group.count; i++)
		ends[i] = append_group_value(b, sample, i) ? b->key.len : VALUE_OF_TARGET;
	buf_append(&b->key, ends, b->group.count * sizeof(*ends));
}

static struct push_labels labels_of_key(const struct builder *b, const size_t *ends)
{
	struct push_labels labels = b->group;
	size_t start = 0;

	for (size_t i = 0; i < labels.count; i++) {
		if (ends[i] == VALUE_OF_TARGET)
			continue;
		labels.items[i].value = (struct slice){b->key.ptr + start, ends[i] - start};
		start = ends[i];
	}
	return labels;
}

static int open_group(struct builder *b, const size_t *ends, struct err *err)
{
	struct push_labels labels = labels_of_key(b, ends);
	size_t path_bytes;

	if (b->body->count == PUSH_MAX_GROUPS)
		return err_setf(err, "it exposes more than %d combinations of job and instance",
			PUSH_MAX_GROUPS);
	path_bytes = add_group(b->body, &labels)->path.len;
	if (path_bytes > PUSH_MAX_PATH_BYTES)
		return err_setf(err, "its labels make a group path of more than %d bytes",
			PUSH_MAX_PATH_BYTES);
	b->path_bytes += path_bytes;
	if (b->path_bytes > PUSH_MAX_PATHS_BYTES)
		return err_setf(err, "its labels make group paths of more than %d bytes in all",
			PUSH_MAX_PATHS_BYTES);
	return 0;
}

/* The target's own group gets the key that a sample without any of its labels has. */
static void open_own_group(struct builder *b)
{
	struct push_sample nothing = {.is_exposed = false};
	size_t ends[ARRAY_LEN(b->group.items)];

	add_group(b->body, &b->group);
	make_group_key(b, &nothing, ends);
	*push_index_at(&b->groups_by_key, push_hash(b->rewriter.seed, buf_slice(&b->key))) = 1;
	buf_append_slice(&b->last_key, buf_slice(&b->key));
}

static int group_of_sample(
	struct builder *b, const struct push_sample *sample, uint32_t *group, struct err *err)
{
	size_t ends[ARRAY_LEN(b->group.items)];
	uint32_t *known;

	*group = 0;
	if (!sample->is_exposed)
		return 0;
	make_group_key(b, sample, ends);
	if (slice_eq(buf_slice(&b->key), buf_slice(&b->last_key))) {
		*group = b->last_group;
		return 0;
	}
	known = push_index_at(&b->groups_by_key, push_hash(b->rewriter.seed, buf_slice(&b->key)));
	if (*known == 0) {
		if (open_group(b, ends, err) < 0)
			return -1;
		*known = (uint32_t)b->body->count;
	}
	*group = b->last_group = *known - 1;
	buf_clear(&b->last_key);
	buf_append_slice(&b->last_key, buf_slice(&b->key));
	return 0;
}

/* Samples. */

/* Whether the sample is of a series that we add to its group ourselves. */
static bool is_ours(uint32_t family, uint32_t group, const struct push_sample *sample)
{
	return sample->is_bare && (group == 0 ? family < PUSH_OWN_COUNT : family == PUSH_OWN_MARK);
}

static void add_item(
	struct builder *b, const struct push_sample *sample, uint32_t family, uint32_t group)
{
	struct slice where = {(const char *)&group, sizeof(group)};
	uint32_t *known = push_index_at(&b->items_by_series, push_hash(sample->hash, where));
	struct item *item;

	if (*known != 0) {
		b->items[*known - 1].line.len = 0;
		b->body->samples_repeated++;
	}
	b->items = builder_grow(b->items, b->item_count, &b->item_capacity, sizeof(*b->items));
	item = &b->items[b->item_count++];
	*known = (uint32_t)b->item_count;
	*item = (struct item){.family = family, .group = group};
	if (sample->rewritten)
		item->line = (struct place){.at = (uint32_t)sample->line_at & INT32_MAX,
			.rewritten = 1,
			.len = (uint32_t)sample->line_len};
	else
		item->line = place_of(b, sample->line);
}

static enum push_verdict check_size(const struct builder *b, struct err *err)
{
	if (b->rewriter.lines.len <= MAX_TEXT_BYTES)
		return PUSH_OK;
	err_setf(err, "too large once its labels are renamed");
	return PUSH_MALFORMED;
}

static enum push_verdict read_sample(
	struct builder *b, const struct expo_line *line, struct err *err)
{
	struct push_sample sample;
	uint32_t family, group;

	if (push_sample_read(&b->rewriter, line, &sample, err) < 0)
		return PUSH_MALFORMED;
	if (check_size(b, err) != PUSH_OK)
		return PUSH_MALFORMED;
	family = family_of_sample(b, sample.name);
	if (line->name_quoted)
		b->last_name = (struct slice){0}; /* the next one takes its place */
	if (family == PUSH_OWN_MARK && !b->target->allow_loop)
		return PUSH_LOOP;
	if (group_of_sample(b, &sample, &group, err) < 0)
		return PUSH_MALFORMED;
	b->body->samples++;
	b->body->timestamps_stripped += line->timestamp.len > 0;
	if (family == FAMILY_PUSH_TIME || family == FAMILY_PUSH_FAILURE_TIME)
		b->body->samples_of_gateway++;
	else if (is_ours(family, group, &sample))
		b->body->samples_displaced++;
	else
		add_item(b, &sample, family, group);
	return PUSH_OK;
}

static enum push_verdict read_all(struct builder *b, struct err *err)
{
	enum push_verdict verdict = PUSH_OK;
	struct expo_parser parser;
	struct expo_line line;

	expo_init(&parser, b->input);
	while (verdict == PUSH_OK) {
		switch (expo_next(&parser, &line, err)) {
		case EXPO_END:
			return PUSH_OK;
		case EXPO_ERROR:
			return PUSH_MALFORMED;
		case EXPO_SAMPLE:
			verdict = read_sample(b, &line, err);
			break;
		case EXPO_HELP:
		case EXPO_TYPE:
			read_metadata(b, &line);
			break;
		}
	}
	return verdict;
}

/* Writing. */

/* Lines that follow each other in their text, to be copied at once. */
struct run {
	struct place place;
	struct buf *out;
	const struct builder *builder;
};

static void end_run(struct run *run)
{
	if (run->place.len == 0)
		return;
	buf_append_slice(run->out, builder_text(run->builder, run->place));
	buf_append_char(run->out, '\n');
	run->place.len = 0;
}

static void append_line(struct run *run, struct place line)
{
	struct place *last = &run->place;

	/* The byte between two lines that touch can only be the newline. */
	if (last->len > 0 && last->rewritten == line.rewritten &&
		last->at + last->len + 1 == line.at) {
		last->len += 1 + line.len;
		return;
	}
	end_run(run);
	*last = line;
}

/* Whether the family's HELP goes into the group. */
static bool may_help(struct builder *b, const struct family *family, size_t group)
{
	if (group > 0)
		b->help_bytes += family->help.len;
	return family->help.len > 0 && b->help_bytes <= PUSH_MAX_HELP_BYTES;
}

/* HELP and TYPE before the family's first sample in the group. */
static void append_metadata(
	struct builder *b, struct run *run, const struct item *item, const struct family *family)
{
	if (item->family < PUSH_OWN_COUNT) {
		end_run(run);
		buf_append_str(run->out, push_own_families[item->family].metadata);
	}
	if (may_help(b, family, item->group))
		append_line(run, family->help);
	if (family->type_line.len > 0)
		append_line(run, family->type_line);
}

/* Whether the group may have the family, whose first sample there is to be written. */
static bool admit(struct builder *b, const struct family *family, size_t group)
{
	struct push_type_holder *holder = b->body->groups[group].holder;
	struct slice name = family_name(b, family);
	struct push_body *body = b->body;

	if (b->gate == NULL || family < b->families + PUSH_OWN_COUNT ||
		push_types_claim(holder, name, family->type))
		return true;
	if (body->refused == NULL) {
		body->refused = holder;
		buf_append_slice(&body->conflict, name);
		buf_append_slice(&body->rival, push_types_rival(holder, name, family->type));
	}
	return false;
}

static void append_item(struct builder *b, struct run *run, const struct item *item)
{
	struct family *family = &b->families[item->family];

	if (family->written_in != item->group + 1 && family->refused_in != item->group + 1) {
		if (admit(b, family, item->group)) {
			family->written_in = item->group + 1;
			append_metadata(b, run, item, family);
		} else {
			family->refused_in = item->group + 1;
		}
	}
	if (family->refused_in == item->group + 1)
		b->body->samples_conflicting++;
	else
		append_line(run, item->line);
}

/* False where the group belongs to another. */
static bool enter_gate(struct builder *b, size_t number)
{
	struct push_group *group = &b->body->groups[number];

	if (b->gate == NULL)
		return true;
	group->holder = b->gate->open(b->gate->arg, buf_cstr(&group->path), number);
	if (group->holder != NULL)
		push_types_begin(b->gate->types, group->holder);
	return group->holder != NULL;
}

/* The numbers of the items that stay, sorted by group, otherwise in their order; owned. */
static uint32_t *order_by_group(const struct builder *b, uint32_t *starts)
{
	uint32_t *order = xcalloc(b->item_count + 1, sizeof(*order));

	for (size_t i = 0; i < b->item_count; i++)
		starts[b->items[i].group + 1] += b->items[i].line.len > 0;
	for (size_t g = 0; g < b->body->count; g++)
		starts[g + 1] += starts[g];
	for (size_t i = 0; i < b->item_count; i++) {
		if (b->items[i].line.len > 0)
			order[starts[b->items[i].group]++] = (uint32_t)i;
	}
	return order;
}

static void start_group(struct builder *b, size_t group)
{
	struct buf *out = &b->body->groups[group].body;

	if (group > 0) {
		push_append_mark(out, b->target);
		b->families[PUSH_OWN_MARK].written_in = (uint32_t)group + 1;
		return;
	}
	if (b->body->count == 1)
		buf_reserve(out, b->input.len + b->rewriter.lines.len + 1024);
	push_append_report(out, b->target, true, b->body->samples);
	for (size_t i = 0; i < PUSH_OWN_COUNT; i++)
		b->families[i].written_in = 1;
}

static void write_groups(struct builder *b)
{
	uint32_t *starts = xcalloc(b->body->count + 1, sizeof(*starts));
	uint32_t *order = order_by_group(b, starts);
	size_t at = 0;

	/* Each start has moved to its group's end. */
	for (size_t g = 0; g < b->body->count; g++) {
		struct run run = {.out = &b->body->groups[g].body, .builder = b};

		if (g > 0 && !enter_gate(b, g)) {
			at = starts[g];
			continue;
		}
		start_group(b, g);
		for (; at < starts[g]; at++)
			append_item(b, &run, &b->items[order[at]]);
		end_run(&run);
	}
	free(order);
	free(starts);
}

static void builder_fini(struct builder *b)
{
	push_rewriter_fini(&b->rewriter);
	buf_free(&b->names);
	push_index_free(&b->families_by_name);
	push_index_free(&b->groups_by_key);
	push_index_free(&b->items_by_series);
	buf_free(&b->key);
	buf_free(&b->last_key);
	free(b->items);
	free(b->families);
}

enum push_verdict push_body_build(struct push_body *body, struct slice exposition,
	const struct push_target *target, const struct push_gate *gate, struct err *err)
{
	struct builder b = {.input = exposition, .target = target, .gate = gate, .body = body};
	enum push_verdict verdict;

	*body = (struct push_body){0};
	if (exposition.len > MAX_TEXT_BYTES) {
		err_setf(err, "larger than 2GB");
		return PUSH_MALFORMED;
	}
	push_labels_init(
		&b.group, target->job, target->instance, target->publisher, target->labels);
	b.rewriter.group = &b.group;
	b.rewriter.honor_labels = target->honor_labels;
	b.rewriter.utf8_names = target->utf8_names;
	b.rewriter.seed = push_hash_seed();
	families_init(&b);
	open_own_group(&b);
	verdict = read_all(&b, err);
	if (verdict == PUSH_OK && enter_gate(&b, 0)) {
		families_settle(&b);
		verdict = check_size(&b, err);
	}
	if (verdict == PUSH_OK)
		write_groups(&b);
	body->labels_renamed = b.rewriter.labels_renamed;
	body->labels_dropped = b.rewriter.labels_dropped;
	builder_fini(&b);
	return verdict;
}

void push_body_minimal(struct push_body *body, const struct push_target *target)
{
	struct push_labels labels;

	*body = (struct push_body){0};
	push_labels_init(&labels, target->job, target->instance, target->publisher, target->labels);
	push_append_report(&add_group(body, &labels)->body, target, false, 0);
}

void push_body_remains(struct buf *body, const struct push_target *target, bool is_own)
{
	buf_clear(body);
	if (is_own)
		push_append_report(body, target, false, 0);
	else
		push_append_mark(body, target);
}

void push_body_fini(struct push_body *body)
{
	for (size_t i = 0; i < body->count; i++) {
		buf_free(&body->groups[i].path);
		buf_free(&body->groups[i].body);
	}
	free(body->groups);
	buf_free(&body->conflict);
	buf_free(&body->rival);
	*body = (struct push_body){0};
}
