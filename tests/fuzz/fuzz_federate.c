/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two expositions out of arbitrary bytes, held and served: what the parser accepts is accepted, and
 * what is served is an exposition again, of as many samples as it says, whatever the size of its
 * pieces; each family has one TYPE.
 */
#include "receiver/sink/federate_answer.h"
#include "receiver/sink/federate_body.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct held {
	struct families families;
	struct federate_builder builder;
	struct federate_series series[2];
	struct block *blocks[2];
};

static void take(struct held *held, size_t number, struct slice body, unsigned flags)
{
	struct federate_target target = {
		.time_ms = 1700000000000,
		.honor_labels = (flags & 1) != 0,
		.ignore_timestamps = (flags & 2) != 0,
		.owner = &held->series[number],
		.former = held->blocks[number],
	};
	struct federate_repairs repairs;
	struct err err = {""};
	struct block *block;

	push_labels_init(&target.labels, SLICE("j\"b"), SLICE("i"), SLICE("p"), NULL);
	block = federate_body_build(&held->builder, body, &target, &held->families,
		&held->series[number], &repairs, &err);
	assert(block != NULL || err.text[0] != '\0');
	if (block == NULL) {
		if (expo_count_samples(body, NULL) >= 0)
			assert(strstr(err.text, "more than") != NULL);
		block = federate_body_down(&held->builder, &target, &held->families);
	}
	block_unref(held->blocks[number]);
	held->blocks[number] = block;
}

static void serve(
	const struct held *held, const char *match, bool utf8_names, size_t piece, struct buf *out)
{
	struct selectors selectors = {0};
	struct answer *answer;
	struct err err;

	if (match != NULL)
		assert(selectors_add(&selectors, slice_from(match), &err) == 0);
	answer = answer_new(&held->families, &selectors, 2, utf8_names);
	for (size_t i = 0; i < 2; i++)
		answer_add(answer, held->blocks[i]);
	while (answer_write(answer, out, piece))
		;
	if (expo_count_samples(buf_slice(out), &err) != (int64_t)answer_samples(answer))
		__builtin_trap();
	answer_free(answer);
}

static void check_types(struct slice text)
{
	struct push_index seen = {0};
	struct expo_parser parser;
	struct expo_line line;
	enum expo_kind kind;

	expo_init(&parser, text);
	while ((kind = expo_next(&parser, &line, NULL)) != EXPO_END) {
		uint32_t *known;

		assert(kind != EXPO_ERROR);
		if (kind != EXPO_TYPE)
			continue;
		known = push_index_at(&seen, push_hash(1, line.name));
		assert(*known == 0);
		*known = 1;
	}
	push_index_free(&seen);
}

static void check(const struct held *held)
{
	struct buf whole = {0}, pieces = {0}, selected = {0}, escaped = {0};

	serve(held, NULL, true, 1 << 20, &whole);
	serve(held, NULL, true, 7, &pieces);
	assert(slice_eq(buf_slice(&whole), buf_slice(&pieces)));
	check_types(buf_slice(&whole));
	serve(held, "{__name__=~\"(?s:.*)\",job=~\".*\",x=~\".*\",__name__!=\"\"}", true, 100,
		&selected);
	assert(slice_eq(buf_slice(&whole), buf_slice(&selected)));
	serve(held, NULL, false, 100, &escaped);
	buf_free(&whole);
	buf_free(&pieces);
	buf_free(&selected);
	buf_free(&escaped);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice input = {(const char *)bytes, len};
	const char *between;
	unsigned flags;
	struct held held = {0};

	if (len == 0)
		return 0;
	flags = (unsigned)bytes[0];
	input.ptr++;
	input.len--;
	between = memmem(input.ptr, input.len, "\n--\n", 4);
	take(&held, 0,
		(struct slice){
			input.ptr, between == NULL ? input.len : (size_t)(between - input.ptr) + 1},
		flags);
	take(&held, 1,
		between == NULL ? input
				: (struct slice){between + 4,
					  (size_t)(input.ptr + input.len - between) - 4},
		flags >> 2);
	check(&held);
	take(&held, 0, input, flags >> 4);
	check(&held);
	for (size_t i = 0; i < 2; i++) {
		block_retract(held.blocks[i], &held.series[i]);
		block_unref(held.blocks[i]);
		federate_series_fini(&held.series[i]);
	}
	assert(held.families.contradicted == 0);
	families_fini(&held.families);
	federate_builder_fini(&held.builder);
	return 0;
}
