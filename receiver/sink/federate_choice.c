/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Selectors against what is held. There are at most 64 of them: sets of selectors are the bits of a
 * word.
 */
#include "receiver/sink/federate_choice.h"

/* What a regular expression costs, in matches of a text; one that is given up costs much more. */
#define PATTERN_WORK 4
#define LIMIT_WORK   200

void chooser_init(struct chooser *chooser, struct selectors *selectors)
{
	_Static_assert(SELECTORS_MAX <= 64, "one bit for each");

	*chooser = (struct chooser){.selectors = *selectors};
	*selectors = (struct selectors){0};
	chooser->selectors.limits_hit = 0;
}

static bool matches(struct chooser *chooser, const struct matcher *matcher, struct slice value)
{
	uint64_t given_up = chooser->selectors.limits_hit;
	bool result = selectors_match(&chooser->selectors, matcher, value);

	chooser->work += matcher->pattern == NULL ? 1 : PATTERN_WORK;
	chooser->work += (chooser->selectors.limits_hit - given_up) * LIMIT_WORK;
	return result;
}

/* The value of a label among those in `labels`, unescaped; false if there is none. */
static bool find_label(
	struct chooser *chooser, struct slice labels, const struct buf *name, struct slice *value)
{
	struct expo_label label;

	while (expo_labels_next(&labels, &label)) {
		if (label.name_quoted) {
			buf_clear(&chooser->scratch);
			expo_unescape(label.name, &chooser->scratch);
			label.name = buf_slice(&chooser->scratch);
		}
		if (!slice_eq(label.name, buf_slice(name)))
			continue;
		*value = label.value;
		if (memchr(label.value.ptr, '\\', label.value.len) == NULL)
			return true;
		buf_clear(&chooser->scratch);
		expo_unescape(label.value, &chooser->scratch);
		*value = buf_slice(&chooser->scratch);
		return true;
	}
	*value = (struct slice){NULL, 0};
	return false;
}

/* What the target's labels say to each selector. */
static void judge_target(struct chooser *chooser, const struct block *block, struct choice *choice)
{
	choice->is_judged = true;
	for (size_t i = 0; i < chooser->selectors.count; i++) {
		const struct selector *selector = &chooser->selectors.items[i];
		bool is_alive = true, is_settled = true;

		for (size_t k = 0; k < selector->count && is_alive; k++) {
			const struct matcher *matcher = &selector->items[k];
			struct slice value;

			if (matcher->is_name)
				continue;
			if (find_label(chooser, block->labels, &matcher->name, &value))
				is_alive = matches(chooser, matcher, value);
			else
				is_settled = false;
		}
		choice->alive |= (uint64_t)is_alive << i;
		choice->settled |= (uint64_t)(is_alive && is_settled) << i;
	}
}

/* The metric's name: `open` without what follows it. */
static struct slice name_of(struct chooser *chooser, struct slice open)
{
	if (*open.ptr != '{')
		return (struct slice){open.ptr, open.len - 1};
	buf_clear(&chooser->scratch);
	expo_unescape((struct slice){open.ptr + 2, open.len - 4}, &chooser->scratch);
	return buf_slice(&chooser->scratch);
}

static uint64_t match_name(struct chooser *chooser, struct slice open)
{
	struct slice name = name_of(chooser, open);
	uint64_t taken = 0;

	for (size_t i = 0; i < chooser->selectors.count; i++) {
		const struct selector *selector = &chooser->selectors.items[i];
		bool is_taken = true;

		for (size_t k = 0; k < selector->count && is_taken; k++)
			if (selector->items[k].is_name)
				is_taken = matches(chooser, &selector->items[k], name);
		taken |= (uint64_t)is_taken << i;
	}
	return taken;
}

/* The selectors that take this name, remembered. */
static uint64_t judge_name(struct chooser *chooser, struct slice open)
{
	struct chooser_name *name;

	for (size_t i = 0; i < CHOOSER_NAMES; i++)
		if (slice_eq(chooser->names[i].open, open))
			return chooser->names[i].taken;
	name = &chooser->names[chooser->next_name++ % CHOOSER_NAMES];
	buf_clear(&name->copy);
	buf_append_slice(&name->copy, open);
	name->open = buf_slice(&name->copy);
	name->taken = match_name(chooser, open);
	return name->taken;
}

enum choice_verdict chooser_judge(struct chooser *chooser, const struct block *block,
	struct choice *choice, struct slice open)
{
	if (chooser->selectors.count == 0)
		return CHOICE_ALL;
	chooser->by_name = judge_name(chooser, open);
	if (chooser->by_name == 0)
		return CHOICE_NONE;
	if (!choice->is_judged)
		judge_target(chooser, block, choice);
	if (block->has_whole)
		return CHOICE_BY_LINE;
	if (chooser->by_name & choice->settled)
		return CHOICE_ALL;
	return chooser->by_name & choice->alive ? CHOICE_BY_LINE : CHOICE_NONE;
}

/* The labels of a line: what stands before the brace that its value follows. */
static struct slice labels_of(struct slice text)
{
	const char *brace = memrchr(text.ptr, '}', text.len);

	return (struct slice){text.ptr, (size_t)(brace - text.ptr)};
}

/* Whether the selector's matchers take the line's labels; those of the target are settled. */
static bool takes_labels(struct chooser *chooser, const struct selector *selector,
	struct slice labels, struct slice target_labels)
{
	for (size_t k = 0; k < selector->count; k++) {
		const struct matcher *matcher = &selector->items[k];
		struct slice value;

		if (matcher->is_name || (target_labels.len > 0 && find_label(chooser, target_labels,
									  &matcher->name, &value)))
			continue;
		(void)find_label(chooser, labels, &matcher->name, &value);
		if (!matches(chooser, matcher, value))
			return false;
	}
	return true;
}

bool chooser_takes(struct chooser *chooser, const struct block *block, const struct choice *choice,
	struct slice text, bool is_whole)
{
	struct slice labels = labels_of(text);
	struct slice settled = is_whole ? (struct slice){NULL, 0} : block->labels;
	uint64_t candidates = chooser->by_name & (is_whole ? UINT64_MAX : choice->alive);

	if (!is_whole && (candidates & choice->settled) != 0)
		return true;
	for (; candidates != 0; candidates &= candidates - 1) {
		int i = __builtin_ctzll(candidates);

		if (takes_labels(chooser, &chooser->selectors.items[i], labels, settled))
			return true;
	}
	return false;
}

void chooser_rest(struct chooser *chooser)
{
	chooser->work = 0;
}

void chooser_fini(struct chooser *chooser)
{
	selectors_fini(&chooser->selectors);
	for (size_t i = 0; i < CHOOSER_NAMES; i++)
		buf_free(&chooser->names[i].copy);
	buf_free(&chooser->scratch);
}
