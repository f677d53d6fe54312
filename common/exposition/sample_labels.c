/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Iterating over validated labels, resolving escapes, finding repeated names. A sample with few
 * labels is checked pair by pair and on the stack; more are sorted, so that a body made of one
 * sample with very many labels costs no more than n log n.
 */
#include "common/exposition/sample_labels.h"

#include "common/exposition/chars.h"

/* Takes a quoted string off the front of *rest, which begins with its quote. */
static struct slice take_quoted(struct slice *rest)
{
	const char *end = rest->ptr + rest->len, *broken;
	const char *quote = expo_find_quote(rest->ptr + 1, end, &broken);
	struct slice text = {rest->ptr + 1, (size_t)(quote - rest->ptr) - 1};

	*rest = (struct slice){quote + 1, (size_t)(end - quote) - 1};
	return text;
}

static void drop_blanks(struct slice *rest, bool commas)
{
	while (rest->len > 0 &&
		(char_is(*rest->ptr, CHAR_BLANK) || (commas && *rest->ptr == ','))) {
		rest->ptr++;
		rest->len--;
	}
}

static struct slice take_label_name(struct slice *rest)
{
	const char *end = rest->ptr + rest->len;
	const char *name_end = skip_class(rest->ptr, end, CHAR_LABEL);
	struct slice name = {rest->ptr, (size_t)(name_end - rest->ptr)};

	*rest = (struct slice){name_end, (size_t)(end - name_end)};
	return name;
}

bool expo_labels_next(struct slice *labels, struct expo_label *label)
{
	for (;;) {
		drop_blanks(labels, true);
		if (labels->len == 0)
			return false;
		label->name_quoted = *labels->ptr == '"';
		label->name = label->name_quoted ? take_quoted(labels) : take_label_name(labels);
		drop_blanks(labels, false);
		if (labels->len == 0 || *labels->ptr != '=')
			continue; /* the metric's name */
		labels->ptr++;
		labels->len--;
		drop_blanks(labels, false);
		label->value = take_quoted(labels);
		return true;
	}
}

/* Takes one byte off the front of an escaped text that is not empty, its escape resolved. */
static char take_unescaped(struct slice *text)
{
	char c = *text->ptr, next = text->len > 1 ? text->ptr[1] : '\0';
	bool escape = c == '\\' && (next == '\\' || next == '"' || next == 'n');

	text->ptr += escape ? 2 : 1;
	text->len -= escape ? 2 : 1;
	if (!escape)
		return c;
	return next == 'n' ? '\n' : next;
}

void expo_unescape(struct slice escaped, struct buf *out)
{
	while (escaped.len > 0) {
		const char *backslash = memchr(escaped.ptr, '\\', escaped.len);
		size_t plain = backslash == NULL ? escaped.len : (size_t)(backslash - escaped.ptr);

		buf_append(out, escaped.ptr, plain);
		escaped.ptr += plain;
		escaped.len -= plain;
		if (escaped.len > 0)
			buf_append_char(out, take_unescaped(&escaped));
	}
}

void expo_escape(struct slice raw, struct buf *out)
{
	size_t plain = 0;

	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.ptr[i];

		if (c != '\\' && c != '"' && c != '\n')
			continue;
		buf_append(out, raw.ptr + plain, i - plain);
		buf_append_char(out, '\\');
		buf_append_char(out, c == '\n' ? 'n' : c);
		plain = i + 1;
	}
	if (plain < raw.len)
		buf_append(out, raw.ptr + plain, raw.len - plain);
}

static bool has_escape(const struct expo_label *label)
{
	return label->name_quoted && memchr(label->name.ptr, '\\', label->name.len) != NULL;
}

/* Orders names by what they stand for. */
static int compare_names(const struct expo_label *left, const struct expo_label *right)
{
	struct slice a = left->name, b = right->name;

	if (!has_escape(left) && !has_escape(right))
		return slice_cmp(a, b);
	while (a.len > 0 && b.len > 0) {
		uint8_t x = (uint8_t)take_unescaped(&a), y = (uint8_t)take_unescaped(&b);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return (a.len > 0) - (b.len > 0);
}

static bool same_name(const struct expo_label *a, const struct expo_label *b)
{
	if (!a->name_quoted && !b->name_quoted)
		return slice_eq(a->name, b->name);
	return compare_names(a, b) == 0;
}

static const char *first_refused_of_few(const struct expo_label *labels, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (slice_eq(labels[i].name, SLICE("__name__")))
			return labels[i].name.ptr;
		for (size_t earlier = 0; earlier < i; earlier++)
			if (same_name(&labels[earlier], &labels[i]))
				return labels[i].name.ptr;
	}
	return NULL;
}

/* The label whose name, with its quote if it has one, begins at `at`; its value is not read. */
static struct expo_label label_at(const char *at, const char *end)
{
	struct slice rest = {at, (size_t)(end - at)};
	struct expo_label label = {.name_quoted = *at == '"'};

	label.name = label.name_quoted ? take_quoted(&rest) : take_label_name(&rest);
	return label;
}

/* For qsort_r: elements are pointers to where names begin, the argument is where the labels end. */
static int compare_names_then_places(const void *left, const void *right, void *end)
{
	const char *const *a = left, *const *b = right;
	struct expo_label x = label_at(*a, end), y = label_at(*b, end);
	int order = compare_names(&x, &y);

	return order != 0 ? order : (*a > *b) - (*a < *b);
}

static const char *first_refused_of_many(const char **names, size_t count, const char *end)
{
	struct expo_label label, before = {.name = {NULL, 0}};
	const char *first = NULL;

	qsort_r(names, count, sizeof(*names), compare_names_then_places, (void *)(uintptr_t)end);
	for (size_t i = 0; i < count; i++) {
		label = label_at(names[i], end);
		if (slice_eq(label.name, SLICE("__name__")) ||
			(i > 0 && same_name(&before, &label)))
			if (first == NULL || label.name.ptr < first)
				first = label.name.ptr;
		before = label;
	}
	return first;
}

#define FEW_LABELS 32

/* One pointer a label: a body of nothing but labels must not take many times its own size. */
static const char *refused_of_many(struct slice labels)
{
	const char **names = NULL, *first;
	size_t count = 0, room = 0;
	struct slice rest = labels;
	struct expo_label label;

	while (expo_labels_next(&rest, &label)) {
		if (count == room) {
			room = room == 0 ? 4 * FEW_LABELS : 2 * room;
			names = xreallocarray(names, room, sizeof(*names));
		}
		names[count++] = label.name.ptr - label.name_quoted;
	}
	first = first_refused_of_many(names, count, labels.ptr + labels.len);
	free(names);
	return first;
}

const char *expo_refused_label(struct slice labels)
{
	struct expo_label few[FEW_LABELS], label;
	struct slice rest = labels;
	size_t count = 0;

	while (expo_labels_next(&rest, &label)) {
		if (count == FEW_LABELS) {
			const char *first = first_refused_of_few(few, count);

			return first != NULL ? first : refused_of_many(labels);
		}
		few[count++] = label;
	}
	return first_refused_of_few(few, count);
}
