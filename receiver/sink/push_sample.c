/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most samples are plain: nothing collides and the gateway reads the line as it stands. They are
 * only looked through, once, which also yields the hash of their series. The others are taken apart
 * and written anew. A series has one hash whichever way its line takes: over names and values in
 * the form in which they are written, the order of labels not counting, empty ones being absent.
 */
#include "receiver/sink/push_sample.h"

#include "receiver/sink/push_index.h"

#define EXPORTED "exported_"

/* One label of a sample that is written anew; places in `names`. */
struct push_part {
	size_t name_at, name_len;
	size_t value_at, value_len; /* normally escaped */
	bool collides;
};

/* The group's label of this name, or -1. */
static int find_in_group(const struct push_labels *group, struct slice name)
{
	for (size_t i = 0; i < group->count; i++) {
		if (slice_eq(group->items[i].name, name))
			return (int)i;
	}
	return -1;
}

static bool is_reserved(struct slice name)
{
	return name.len >= 2 && name.ptr[0] == '_' && name.ptr[1] == '_';
}

static uint64_t hash_label(uint64_t seed, struct slice name, struct slice value)
{
	return push_hash(push_hash(seed, name), value);
}

/* Whether the gateway reads the escapes of a value as Prometheus does. */
static bool value_is_plain(struct slice value)
{
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] == '\n')
			return false;
		if (value.ptr[i] != '\\')
			continue;
		i++;
		if (i == value.len || strchr("\\\"n", value.ptr[i]) == NULL || value.ptr[i] == '\0')
			return false;
	}
	return true;
}

/* The state of looking through one sample. */
struct scan {
	bool is_plain;
	bool look_for_escapes;
	bool is_first;
};

static void scan_label(const struct push_rewriter *rewriter, const struct expo_label *label,
	struct scan *scan, struct push_sample *sample)
{
	int in_group;

	/* The gateway wants exactly one comma between labels. */
	if (label->name_quoted || (!scan->is_first && label->name.ptr[-1] != ','))
		scan->is_plain = false;
	scan->is_first = false;
	if (scan->look_for_escapes && !value_is_plain(label->value))
		scan->is_plain = false;
	if (!rewriter->is_exact && is_reserved(label->name)) {
		scan->is_plain = false;
		return;
	}
	in_group = find_in_group(rewriter->group, label->name);
	if (in_group >= 0 && rewriter->honor_labels) {
		sample->exposed[in_group] = label->value;
		sample->is_exposed = true;
	} else if (in_group >= 0) {
		scan->is_plain = scan->is_plain && label->value.len == 0 && !rewriter->is_exact;
	} else if (label->value.len > 0) {
		sample->hash += hash_label(rewriter->seed, label->name, label->value);
		sample->is_bare = false;
	}
}

/* Whether the line can go as it stands; hash, is_bare and exposed are right only then. */
static bool scan_sample(const struct push_rewriter *rewriter, const struct expo_line *line,
	struct push_sample *sample)
{
	struct scan scan = {.is_plain = !line->name_quoted, .is_first = true};
	struct slice rest = line->labels;
	struct expo_label label;
	const char *tail = NULL;

	sample->hash = push_hash(rewriter->seed, line->name);
	if (rest.len == 0)
		return scan.is_plain;
	scan.look_for_escapes = memchr(rest.ptr, '\\', rest.len) != NULL ||
				memchr(rest.ptr, '\n', rest.len) != NULL;
	while (scan.is_plain && expo_labels_next(&rest, &label)) {
		scan_label(rewriter, &label, &scan, sample);
		tail = label.value.ptr + label.value.len + 1;
	}
	/* One comma may follow the last label. */
	if (tail != NULL && line->labels.ptr + line->labels.len - tail > 1)
		return false;
	return scan.is_plain;
}

/* Takes one character off a text that is UTF-8 (the parser has seen to it) and not empty. */
static uint32_t take_rune(struct slice *text)
{
	unsigned char c = (unsigned char)*text->ptr;
	uint32_t rune = c < 0xc0 ? c : c & (c >= 0xf0 ? 0x07 : c >= 0xe0 ? 0x0f : 0x1f);

	text->ptr++;
	text->len--;
	while (c >= 0xc0 && text->len > 0 && ((unsigned char)*text->ptr & 0xc0) == 0x80) {
		rune = rune << 6 | ((unsigned char)*text->ptr & 0x3f);
		text->ptr++;
		text->len--;
	}
	return rune;
}

static bool is_legacy(struct slice name, bool is_label)
{
	return is_label ? label_name_is_valid(name) : expo_metric_name_is_legacy(name);
}

void push_quote_name(struct buf *out, struct slice name, bool is_label)
{
	if (is_legacy(name, is_label)) {
		buf_append_slice(out, name);
		return;
	}
	buf_append_char(out, '"');
	expo_escape(name, out);
	buf_append_char(out, '"');
}

void push_name(struct buf *out, struct slice name, bool is_label, bool utf8_names)
{
	struct slice rest = name;

	if (utf8_names || is_legacy(name, is_label)) {
		buf_append_slice(out, name);
		return;
	}
	buf_append_str(out, "U__");
	while (rest.len > 0) {
		bool is_first = rest.len == name.len;
		uint32_t rune = take_rune(&rest);

		if (rune == '_')
			buf_append_str(out, "__");
		else if ((rune >= 'a' && rune <= 'z') || (rune >= 'A' && rune <= 'Z') ||
			 (rune >= '0' && rune <= '9' && !is_first) || (rune == ':' && !is_label))
			buf_append_char(out, (char)rune);
		else
			buf_appendf(out, "_%x_", rune);
	}
}

static struct slice part_name(const struct push_rewriter *rewriter, const struct push_part *part)
{
	return (struct slice){rewriter->names.ptr + part->name_at, part->name_len};
}

static struct slice part_value(const struct push_rewriter *rewriter, const struct push_part *part)
{
	return (struct slice){rewriter->names.ptr + part->value_at, part->value_len};
}

/* Appends a label's or metric's name as the gateway reads it; a quoted one is still escaped. */
static void append_name(struct push_rewriter *rewriter, struct buf *out, struct slice name,
	bool is_quoted, bool is_label)
{
	if (!is_quoted) {
		buf_append_slice(out, name);
		return;
	}
	buf_clear(&rewriter->scratch);
	expo_unescape(name, &rewriter->scratch);
	push_name(out, buf_slice(&rewriter->scratch), is_label, rewriter->utf8_names);
}

static void keep_label(
	struct push_rewriter *rewriter, const struct expo_label *label, struct push_sample *sample)
{
	struct push_part part = {.name_at = rewriter->names.len};
	int in_group;

	append_name(rewriter, &rewriter->names, label->name, label->name_quoted, true);
	part.name_len = rewriter->names.len - part.name_at;
	part.value_at = rewriter->names.len;
	buf_clear(&rewriter->scratch);
	expo_unescape(label->value, &rewriter->scratch);
	expo_escape(buf_slice(&rewriter->scratch), &rewriter->names);
	part.value_len = rewriter->names.len - part.value_at;
	in_group = find_in_group(rewriter->group, part_name(rewriter, &part));
	part.collides = in_group >= 0;
	if (!rewriter->is_exact && is_reserved(part_name(rewriter, &part))) {
		rewriter->labels_dropped++;
	} else if (part.collides && rewriter->honor_labels) {
		sample->exposed[in_group] = label->value;
		sample->is_exposed = true;
	} else if (part.value_len > 0) {
		rewriter->parts[rewriter->part_count++] = part;
	}
}

static int keep_labels(struct push_rewriter *rewriter, const struct expo_line *line,
	struct push_sample *sample, struct err *err)
{
	struct slice rest = line->labels;
	struct expo_label label;

	if (rewriter->parts == NULL)
		rewriter->parts =
			xreallocarray(NULL, PUSH_MAX_SAMPLE_LABELS, sizeof(*rewriter->parts));
	rewriter->part_count = 0;
	buf_clear(&rewriter->names);
	while (expo_labels_next(&rest, &label)) {
		if (rewriter->part_count == PUSH_MAX_SAMPLE_LABELS)
			return err_setf(err, "a sample of %.100s has more than %d labels",
				buf_cstr(&rewriter->metric), PUSH_MAX_SAMPLE_LABELS);
		keep_label(rewriter, &label, sample);
	}
	return 0;
}

static bool name_is_taken(const struct push_rewriter *rewriter, struct slice name)
{
	if (find_in_group(rewriter->group, name) >= 0)
		return true;
	for (size_t i = 0; i < rewriter->part_count; i++) {
		if (slice_eq(part_name(rewriter, &rewriter->parts[i]), name))
			return true;
	}
	return false;
}

static void rename_part(struct push_rewriter *rewriter, struct push_part *part)
{
	struct slice name;

	buf_clear(&rewriter->scratch);
	buf_append_slice(&rewriter->scratch, part_name(rewriter, part));
	do {
		struct buf longer = {0};

		buf_append_str(&longer, EXPORTED);
		buf_append_slice(&longer, buf_slice(&rewriter->scratch));
		buf_free(&rewriter->scratch);
		rewriter->scratch = longer;
		name = buf_slice(&rewriter->scratch);
	} while (name_is_taken(rewriter, name));
	part->name_at = rewriter->names.len;
	part->name_len = name.len;
	part->collides = false;
	buf_append_slice(&rewriter->names, name);
	rewriter->labels_renamed++;
}

/* The next to be renamed: shortest name first, then by name, as Prometheus does. */
static struct push_part *next_collision(const struct push_rewriter *rewriter)
{
	struct push_part *first = NULL;

	for (size_t i = 0; i < rewriter->part_count; i++) {
		struct push_part *part = &rewriter->parts[i];

		if (!part->collides)
			continue;
		if (first == NULL || part->name_len < first->name_len ||
			(part->name_len == first->name_len &&
				slice_cmp(part_name(rewriter, part), part_name(rewriter, first)) <
					0))
			first = part;
	}
	return first;
}

/* The metric's name goes before the braces or, in quotes, inside of them. */
static void append_series(struct push_rewriter *rewriter, struct push_sample *sample)
{
	struct buf *out = &rewriter->lines;
	bool is_inside = !expo_metric_name_is_legacy(sample->name);

	buf_append_str(out, is_inside ? "{" : "");
	push_quote_name(out, sample->name, false);
	for (size_t i = 0; i < rewriter->part_count; i++) {
		struct slice name = part_name(rewriter, &rewriter->parts[i]);
		struct slice value = part_value(rewriter, &rewriter->parts[i]);

		buf_append_char(out, i == 0 && !is_inside ? '{' : ',');
		push_quote_name(out, name, true);
		buf_append_str(out, "=\"");
		buf_append_slice(out, value);
		buf_append_char(out, '"');
		sample->hash += hash_label(rewriter->seed, name, value);
		sample->is_bare = false;
	}
	if (rewriter->part_count > 0 || is_inside)
		buf_append_char(out, '}');
}

static int rewrite(struct push_rewriter *rewriter, const struct expo_line *line,
	struct push_sample *sample, struct err *err)
{
	struct buf *out = &rewriter->lines;
	struct push_part *part;

	sample->rewritten = true;
	sample->line_at = out->len;
	buf_clear(&rewriter->metric);
	append_name(rewriter, &rewriter->metric, line->name, line->name_quoted, false);
	sample->name = line->name_quoted ? buf_slice(&rewriter->metric) : line->name;
	sample->hash = push_hash(rewriter->seed, sample->name);
	if (keep_labels(rewriter, line, sample, err) < 0)
		return -1;
	while ((part = next_collision(rewriter)) != NULL)
		rename_part(rewriter, part);
	append_series(rewriter, sample);
	buf_append_char(out, ' ');
	buf_append_slice(out, line->value);
	sample->line_len = out->len - sample->line_at;
	buf_append_char(out, '\n');
	return 0;
}

static void forget_labels(const struct push_rewriter *rewriter, struct push_sample *sample)
{
	sample->is_bare = true;
	sample->is_exposed = false;
	for (size_t i = 0; rewriter->honor_labels && i < rewriter->group->count; i++)
		sample->exposed[i] = (struct slice){0};
}

int push_sample_read(struct push_rewriter *rewriter, const struct expo_line *line,
	struct push_sample *sample, struct err *err)
{
	forget_labels(rewriter, sample);
	if (!scan_sample(rewriter, line, sample)) {
		forget_labels(rewriter, sample);
		return rewrite(rewriter, line, sample, err);
	}
	sample->rewritten = false;
	sample->name = line->name;
	/* Up to the value: blanks behind it are an error to the gateway, and so is a timestamp. */
	sample->line = (struct slice){
		line->whole.ptr, (size_t)(line->value.ptr + line->value.len - line->whole.ptr)};
	return 0;
}

void push_rewriter_fini(struct push_rewriter *rewriter)
{
	free(rewriter->parts);
	buf_free(&rewriter->lines);
	buf_free(&rewriter->names);
	buf_free(&rewriter->scratch);
	buf_free(&rewriter->metric);
}
