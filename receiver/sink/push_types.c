/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of families with the number of their holders; each holder lists the families it holds.
 * Who else holds a family is its holders less those that the holder at work has itself, which are
 * marked when its claims begin: each begin is a round.
 */
#include "receiver/sink/push_types.h"

#include "common/core/table.h"

#include <assert.h>

struct push_type {
	enum expo_type type;
	bool is_foreign, is_surveyed;
	size_t holds;    /* as often as it stands in the lists of holders */
	uint64_t round;  /* that of `own` and `is_claimed` */
	size_t own;      /* of these, in the list of the holder at work */
	bool is_claimed; /* for its next body */
	UT_hash_handle by_name;
	char name[];
};

struct push_types {
	struct push_type *by_name;
	uint64_t round;
};

struct push_types *push_types_new(void)
{
	return xcalloc(1, sizeof(struct push_types));
}

static void drop_if_unused(struct push_types *types, struct push_type *type)
{
	if (type->holds > 0 || type->is_foreign)
		return;
	HASH_DELETE(by_name, types->by_name, type);
	free(type);
}

void push_types_free(struct push_types *types)
{
	struct push_type *type, *next;

	HASH_ITER (by_name, types->by_name, type, next) {
		assert(type->holds == 0);
		type->is_foreign = false;
		drop_if_unused(types, type);
	}
	free(types);
}

static struct push_type *find(const struct push_types *types, struct slice name)
{
	struct push_type *type;

	HASH_FIND(by_name, types->by_name, name.ptr, name.len, type);
	return type;
}

static struct push_type *find_or_add(struct push_types *types, struct slice name)
{
	struct push_type *type = find(types, name);

	if (type != NULL)
		return type;
	type = xcalloc(1, sizeof(*type) + name.len + 1);
	memcpy(type->name, name.ptr, name.len);
	HASH_ADD_KEYPTR(by_name, types->by_name, type->name, name.len, type);
	return type;
}

/* What the holder at work has of it, reset as a round begins. */
static void enter_round(const struct push_types *types, struct push_type *type)
{
	if (type->round == types->round)
		return;
	type->round = types->round;
	type->own = 0;
	type->is_claimed = false;
}

static bool others_have(const struct push_types *types, const struct push_type *type)
{
	return type->is_foreign || type->holds > (type->round == types->round ? type->own : 0);
}

/* Whether the gateway may show this name once the body is there. */
static bool will_be_shown(const struct push_types *types, const struct push_type *type)
{
	return others_have(types, type) || (type->round == types->round && type->is_claimed);
}

void push_types_begin(struct push_types *types, struct push_type_holder *holder)
{
	size_t kept = 0;

	holder->types = types;
	types->round++;
	/* A body that was never taken leaves its claims behind: each family once. */
	for (size_t i = 0; i < holder->count; i++) {
		struct push_type *type = holder->held[i];

		if (type->round == types->round) {
			type->holds--;
			continue;
		}
		enter_round(types, type);
		type->own = 1;
		holder->held[kept++] = type;
	}
	holder->count = holder->before = kept;
}

/* Collisions. */

static const struct {
	struct slice suffix;
	bool of_summary;
} parts[] = {
	{{"_bucket", 7}, false},
	{{"_count", 6}, true},
	{{"_sum", 4}, true},
};

static bool has_part(enum expo_type type, size_t part)
{
	return type == EXPO_HISTOGRAM || (type == EXPO_SUMMARY && parts[part].of_summary);
}

/* The histogram or summary that is shown and has a part of this name; NULL if none. */
static const struct push_type *find_whole(const struct push_types *types, struct slice name)
{
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		struct slice suffix = parts[i].suffix;
		const struct push_type *whole;

		if (name.len <= suffix.len ||
			memcmp(name.ptr + name.len - suffix.len, suffix.ptr, suffix.len) != 0)
			continue;
		whole = find(types, (struct slice){name.ptr, name.len - suffix.len});
		return whole != NULL && has_part(whole->type, i) && will_be_shown(types, whole)
			       ? whole
			       : NULL;
	}
	return NULL;
}

/* One of the parts of this histogram or summary that is shown as a family of its own. */
static const struct push_type *find_part(
	const struct push_types *types, struct slice name, enum expo_type type)
{
	const struct push_type *found = NULL;
	struct buf part = {0};

	for (size_t i = 0; i < ARRAY_LEN(parts) && found == NULL; i++) {
		const struct push_type *other;

		if (!has_part(type, i))
			continue;
		buf_clear(&part);
		buf_append_slice(&part, name);
		buf_append_slice(&part, parts[i].suffix);
		other = find(types, buf_slice(&part));
		if (other != NULL && will_be_shown(types, other))
			found = other;
	}
	buf_free(&part);
	return found;
}

/* What keeps the family from having this type; NULL if nothing does. */
static const struct push_type *find_rival(
	const struct push_types *types, struct slice family, enum expo_type type)
{
	const struct push_type *known = find(types, family), *whole;

	if (known != NULL && will_be_shown(types, known))
		return known->type == type ? NULL : known;
	whole = find_whole(types, family);
	return whole != NULL ? whole : find_part(types, family, type);
}

/* Claims. */

static void hold(struct push_type_holder *holder, struct push_type *type)
{
	if (holder->count == holder->capacity) {
		holder->capacity = holder->capacity == 0 ? 16 : 2 * holder->capacity;
		holder->held = xreallocarray(holder->held, holder->capacity, sizeof(*holder->held));
	}
	holder->held[holder->count++] = type;
	enter_round(holder->types, type);
	type->holds++;
	type->own++;
	type->is_claimed = true;
}

bool push_types_claim(struct push_type_holder *holder, struct slice family, enum expo_type type)
{
	struct push_types *types = holder->types;
	struct push_type *known;

	if (find_rival(types, family, type) != NULL)
		return false;
	known = find_or_add(types, family);
	known->type = type;
	if (known->round != types->round || !known->is_claimed)
		hold(holder, known);
	return true;
}

struct slice push_types_rival(
	const struct push_type_holder *holder, struct slice family, enum expo_type type)
{
	const struct push_type *rival = find_rival(holder->types, family, type);

	return rival == NULL ? (struct slice){0} : slice_from(rival->name);
}

bool push_types_holds(const struct push_type_holder *holder, struct slice family)
{
	const struct push_type *type = holder->count == 0 ? NULL : find(holder->types, family);

	for (size_t i = 0; type != NULL && i < holder->count; i++)
		if (holder->held[i] == type)
			return true;
	return false;
}

static void release_first(struct push_type_holder *holder, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		holder->held[i]->holds--;
		drop_if_unused(holder->types, holder->held[i]);
	}
	/* What is marked as the own of the holder at work may have been this one's. */
	if (count > 0)
		holder->types->round++;
}

void push_types_settle(struct push_type_holder *holder)
{
	size_t before = holder->before;

	if (before == 0)
		return;
	release_first(holder, before);
	holder->count -= before;
	holder->before = 0;
	memmove(holder->held, holder->held + before, holder->count * sizeof(*holder->held));
}

void push_types_release(struct push_type_holder *holder)
{
	release_first(holder, holder->count);
	free(holder->held);
	*holder = (struct push_type_holder){0};
}

void push_types_abandon(struct push_type_holder *holder)
{
	for (size_t i = 0; i < holder->count; i++)
		holder->held[i]->is_foreign = true;
	push_types_release(holder);
}

bool push_types_get(const struct push_types *types, struct slice family, enum expo_type *type)
{
	const struct push_type *known = find(types, family);

	if (known == NULL || !others_have(types, known))
		return false;
	*type = known->type;
	return true;
}

/* Surveys. */

void push_types_begin_survey(struct push_types *types)
{
	struct push_type *type, *next;

	HASH_ITER (by_name, types->by_name, type, next)
		type->is_surveyed = false;
}

void push_types_set_foreign(struct push_types *types, struct slice family, enum expo_type type)
{
	struct push_type *known = find_or_add(types, family);

	known->is_foreign = known->is_surveyed = true;
	known->type = type;
}

void push_types_end_survey(struct push_types *types)
{
	struct push_type *type, *next;

	HASH_ITER (by_name, types->by_name, type, next) {
		type->is_foreign = type->is_surveyed;
		drop_if_unused(types, type);
	}
}

size_t push_types_count(const struct push_types *types)
{
	return HASH_CNT(by_name, types->by_name);
}
