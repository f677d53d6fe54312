/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exposition parser on arbitrary bytes: every engine gives what the portable one gives, slices
 * lie within the input, labels of accepted samples are distinct, and escaping undoes unescaping.
 */
#include "common/exposition/exposition.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_within(struct slice part, struct slice whole)
{
	if (part.len == 0)
		return;
	assert(part.ptr >= whole.ptr);
	assert(part.ptr + part.len <= whole.ptr + whole.len);
}

static void check_same(struct slice a, struct slice b)
{
	assert(a.len == b.len);
	assert(a.len == 0 || a.ptr == b.ptr);
}

static void check_same_line(const struct expo_line *a, const struct expo_line *b)
{
	assert(a->kind == b->kind);
	assert(a->type == b->type);
	assert(a->name_quoted == b->name_quoted);
	check_same(a->name, b->name);
	check_same(a->labels, b->labels);
	check_same(a->value, b->value);
	check_same(a->timestamp, b->timestamp);
	check_same(a->text, b->text);
	check_same(a->whole, b->whole);
}

static void check_escapes(struct slice escaped)
{
	struct buf raw = {0}, again = {0}, back = {0};

	expo_unescape(escaped, &raw);
	expo_escape(buf_slice(&raw), &again);
	expo_unescape(buf_slice(&again), &back);
	assert(slice_eq(buf_slice(&raw), buf_slice(&back)));
	buf_free(&raw);
	buf_free(&again);
	buf_free(&back);
}

static void check_labels(struct slice labels)
{
	struct slice rest = labels, earlier;
	struct expo_label label, other;
	int compared = 0;

	while (expo_labels_next(&rest, &label)) {
		check_within(label.name, labels);
		check_within(label.value, labels);
		assert(label.name.len > 0);
		check_escapes(label.value);
		for (earlier = rest; compared < 1000 && expo_labels_next(&earlier, &other);
			compared++)
			assert(!slice_eq(label.name, other.name));
	}
}

static void check_sample(const struct expo_line *line)
{
	struct buf exact = {0};

	check_within(line->name, line->whole);
	check_within(line->labels, line->whole);
	check_within(line->value, line->whole);
	check_within(line->timestamp, line->whole);
	assert(line->name.len > 0 && line->value.len > 0);
	assert(line->name_quoted || expo_metric_name_is_legacy(line->name));
	check_labels(line->labels);
	/* A copy of its own: nothing behind the slice may matter. */
	buf_append_slice(&exact, line->value);
	double here = expo_value(line->value), there = expo_value(buf_slice(&exact));
	assert(memcmp(&here, &there, sizeof(here)) == 0);
	assert(expo_timestamp_ms(line->timestamp) >= 0);
	buf_free(&exact);
}

/* Reads the input by two engines side by side. */
static void compare_with_portable(struct slice input, enum expo_engine engine)
{
	struct expo_parser portable, fast;
	struct expo_line line, fast_line;
	struct err err = {""}, fast_err = {""};
	enum expo_kind kind;

	if (!expo_init_engine(&fast, input, engine) ||
		!expo_init_engine(&portable, input, EXPO_PORTABLE))
		return;
	do {
		kind = expo_next(&portable, &line, &err);
		assert(kind == expo_next(&fast, &fast_line, &fast_err));
		assert(portable.at == fast.at && portable.line == fast.line);
		assert(strcmp(err.text, fast_err.text) == 0);
		if (kind != EXPO_END && kind != EXPO_ERROR) {
			check_same_line(&line, &fast_line);
			check_within(line.whole, input);
		}
		if (kind == EXPO_SAMPLE)
			check_sample(&line);
	} while (kind != EXPO_END && kind != EXPO_ERROR);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice input = {(const char *)bytes, len};

	for (int engine = EXPO_PORTABLE; engine <= EXPO_AVX2; engine++)
		compare_with_portable(input, (enum expo_engine)engine);
	return 0;
}
