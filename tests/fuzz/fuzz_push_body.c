/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies for the Push Gateway out of arbitrary bytes: what the parser accepts is built (or refused
 * with a reason), no sample gets lost uncounted, and what was built can be read again and needs no
 * further change. The first byte chooses the target's settings.
 */
#include "common/exposition/exposition.h"
#include "receiver/sink/push_body.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum {
	HONOR_LABELS = 1,
	ALLOW_LOOP = 2,
	PUBLISHER = 4,
	LABELS = 8,
	UTF8_NAMES = 16,
	OTHERS = 32, /* hold families */
};

/* Names that collide with each other once exported_ is put before them. */
static void set_labels(struct labels *labels)
{
	labels_set(labels, SLICE("exported_job"), SLICE("x"));
	labels_set(labels, SLICE("env"), SLICE("a/b \xff"));
}

static void check_line(const struct expo_line *line, bool utf8_names)
{
	struct slice labels = line->labels;
	struct expo_label label;

	assert(line->timestamp.len == 0);
	assert(line->name_quoted ? utf8_names : expo_metric_name_is_legacy(line->name));
	while (expo_labels_next(&labels, &label)) {
		assert(label.name_quoted ? utf8_names : label_name_is_valid(label.name));
		assert(label.name.len < 2 || memcmp(label.name.ptr, "__", 2) != 0);
		assert(memchr(label.value.ptr, '\n', label.value.len) == NULL);
	}
}

static uint64_t check_group(const struct push_group *group, bool utf8_names)
{
	struct expo_parser parser;
	struct expo_line line;
	uint64_t samples = 0;
	enum expo_kind kind;

	assert(group->path.len > 0 && group->path.len <= PUSH_MAX_PATH_BYTES);
	assert(group->body.len > 0 && group->body.ptr[group->body.len - 1] == '\n');
	expo_init(&parser, buf_slice(&group->body));
	while ((kind = expo_next(&parser, &line, NULL)) != EXPO_END) {
		assert(kind != EXPO_ERROR);
		check_line(&line, utf8_names);
		samples += kind == EXPO_SAMPLE;
	}
	return samples;
}

/* What was built is what would be built of it. */
static void check_again(const struct push_group *group, struct push_target target)
{
	struct push_body again;

	target.allow_loop = true;
	assert(push_body_build(&again, buf_slice(&group->body), &target, NULL, NULL) == PUSH_OK);
	assert(again.count == 1);
	assert(again.labels_renamed == 0 && again.labels_dropped == 0);
	assert(again.samples_repeated == 0 && again.samples_displaced == 4);
	assert(again.samples_of_gateway == 0 && again.families_untyped == 0);
	push_body_fini(&again);
}

static void check_body(const struct push_body *body, const struct push_target *target)
{
	uint64_t samples = 0;

	assert(body->count >= 1 && body->count <= PUSH_MAX_GROUPS);
	assert(target->honor_labels || body->count == 1);
	for (size_t i = 0; i < body->count; i++)
		samples += check_group(&body->groups[i], target->utf8_names);
	assert(samples == body->samples - body->samples_repeated - body->samples_displaced -
				  body->samples_of_gateway - body->samples_conflicting + 4 +
				  (body->count - 1));
	assert((body->conflict.len > 0) == (body->samples_conflicting > 0));
	check_again(&body->groups[0], *target);
}

/* Types of others, and the holders of all groups. */
struct others {
	struct push_types *types;
	struct push_type_holder holders[PUSH_MAX_GROUPS];
};

static struct push_type_holder *on_group(void *arg, const char *path, size_t group)
{
	assert(path[0] == '/' && group < PUSH_MAX_GROUPS);
	return &((struct others *)arg)->holders[group];
}

static struct others *make_others(void)
{
	struct others *others = xcalloc(1, sizeof(*others));

	others->types = push_types_new();
	push_types_set_foreign(others->types, SLICE("a"), EXPO_GAUGE);
	push_types_set_foreign(others->types, SLICE("h"), EXPO_HISTOGRAM);
	push_types_set_foreign(others->types, SLICE("s"), EXPO_SUMMARY);
	push_types_set_foreign(others->types, SLICE("b_sum"), EXPO_UNTYPED);
	return others;
}

static void free_others(struct others *others)
{
	for (size_t i = 0; i < PUSH_MAX_GROUPS && others->holders[i].types != NULL; i++) {
		push_types_settle(&others->holders[i]);
		push_types_release(&others->holders[i]);
	}
	assert(push_types_count(others->types) == 4);
	push_types_free(others->types);
	free(others);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	uint8_t settings = len > 0 ? bytes[0] : 0;
	struct slice exposition = {(const char *)bytes + (len > 0), len - (len > 0)};
	struct labels labels = {0};
	struct push_target target = {
		.job = SLICE("job"),
		.instance = SLICE("host:1"),
		.publisher = (settings & PUBLISHER) != 0 ? SLICE("dc") : SLICE(""),
		.labels = &labels,
		.time_ms = 1700000000123,
		.duration_s = 0.5,
		.up = true,
		.honor_labels = (settings & HONOR_LABELS) != 0,
		.allow_loop = (settings & ALLOW_LOOP) != 0,
		.utf8_names = (settings & UTF8_NAMES) != 0,
	};
	struct others *others = (settings & OTHERS) != 0 ? make_others() : NULL;
	struct push_gate gate = {
		.types = others == NULL ? NULL : others->types, .open = on_group, .arg = others};
	struct push_body body;
	struct err err = {""};
	int64_t samples = expo_count_samples(exposition, NULL);

	if ((settings & LABELS) != 0)
		set_labels(&labels);
	switch (push_body_build(&body, exposition, &target, others == NULL ? NULL : &gate, &err)) {
	case PUSH_OK:
		assert(samples >= 0 && (uint64_t)samples == body.samples);
		check_body(&body, &target);
		break;
	case PUSH_MALFORMED:
		assert(err.text[0] != '\0');
		break;
	case PUSH_LOOP:
		assert(!target.allow_loop);
		break;
	}
	push_body_fini(&body);
	if (others != NULL)
		free_others(others);
	labels_free(&labels);
	return 0;
}
