/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two structs of one table side by side. Rows that tell of a restart are copied back, so that what
 * was read aside can take the place of what is in use. Lists whose items need a restart in any of
 * their rows stay as they are as a whole: half of one list and half of the other would be neither.
 */
#include "common/config/value.h"

#include "common/core/labels.h"

struct reconciling {
	const struct config_reconcile *options;
	bool is_trial; /* nothing is told or copied, only looked at */
	bool must_restart;
};

static const void *member_of(const struct config_key *key, const void *value)
{
	return (const char *)value + key->offset;
}

static size_t count_of(const struct config_key *key, const void *value)
{
	return *(const size_t *)(const void *)((const char *)value + key->count_offset);
}

static const char *item_of(const struct config_key *key, const void *value, size_t at)
{
	return *(char *const *)member_of(key, value) + at * key->table->size;
}

static const char *name_of(const struct config_table *table, const void *item)
{
	const char *name = table->name_offset == CONFIG_NOWHERE
				   ? NULL
				   : *(char *const *)((const char *)item + table->name_offset);

	return name == NULL ? "" : name;
}

static bool is_present(const struct config_table *table, const void *value)
{
	return table->present_offset == CONFIG_NOWHERE ||
	       *(const bool *)((const char *)value + table->present_offset);
}

/* -- equal? ---------------------------------------------------------------------------------- */

static bool strings_are_equal(const struct string_list *a, const struct string_list *b)
{
	bool same = a->count == b->count;

	for (size_t i = 0; same && i < a->count; i++)
		same = strcmp(a->items[i], b->items[i]) == 0;
	return same;
}

static bool items_are_equal(const struct config_key *key, const void *a, const void *b)
{
	size_t count = count_of(key, a);
	bool same = count == count_of(key, b);

	for (size_t i = 0; same && i < count; i++)
		same = config_is_equal(key->table, item_of(key, a, i), item_of(key, b, i));
	return same;
}

static bool scalars_are_equal(const struct config_key *key, const void *a, const void *b)
{
	struct buf left = {0}, right = {0};
	bool same;

	config_format(key, a, &left);
	config_format(key, b, &right);
	same = slice_eq(buf_slice(&left), buf_slice(&right));
	buf_free(&left);
	buf_free(&right);
	return same;
}

static bool are_equal(const struct config_key *key, const void *a, const void *b)
{
	const void *left = member_of(key, a), *right = member_of(key, b);

	switch (key->type) {
	case CONFIG_STRINGS:
		return strings_are_equal(left, right);
	case CONFIG_LABELS:
		return labels_equal(left, right);
	case CONFIG_SECTION:
		return config_is_equal(key->table, left, right);
	case CONFIG_LIST:
	case CONFIG_MAP:
		return items_are_equal(key, a, b);
	default:
		return scalars_are_equal(key, left, right);
	}
}

bool config_is_equal(const struct config_table *table, const void *a, const void *b)
{
	if (strcmp(name_of(table, a), name_of(table, b)) != 0 ||
		is_present(table, a) != is_present(table, b))
		return false;
	for (size_t i = 0; i < table->key_count; i++)
		if (!(table->keys[i].flags & CONFIG_ALIAS) && !are_equal(&table->keys[i], a, b))
			return false;
	return true;
}

/* -- copied ---------------------------------------------------------------------------------- */

static void copy_table(const struct config_table *table, const void *from, void *to);

static char *dup_or_null(const char *text)
{
	return text == NULL ? NULL : xstrdup(text);
}

static void copy_items(const struct config_key *key, const void *from, void *to)
{
	size_t count = count_of(key, from);
	char *items = count == 0 ? NULL : xcalloc(count, key->table->size);

	for (size_t i = 0; i < count; i++)
		copy_table(key->table, item_of(key, from, i), items + i * key->table->size);
	memcpy((char *)to + key->offset, &items, sizeof(items));
	memcpy((char *)to + key->count_offset, &count, sizeof(count));
}

/* `to` holds the bytes of `from`: what those point to is copied. */
static void copy_member(const struct config_key *key, const void *from, void *to)
{
	const void *source = member_of(key, from);
	void *member = (char *)to + key->offset;

	switch (key->type) {
	case CONFIG_STRING:
		*(char **)member = dup_or_null(*(char *const *)source);
		break;
	case CONFIG_STRINGS:
		*(struct string_list *)member = (struct string_list){0};
		string_list_copy(member, source);
		break;
	case CONFIG_LABELS:
		*(struct labels *)member = (struct labels){0};
		labels_merge(member, source);
		break;
	case CONFIG_SECTION:
		copy_table(key->table, source, member);
		break;
	case CONFIG_LIST:
	case CONFIG_MAP:
		copy_items(key, from, to);
		break;
	default:
		memcpy(member, source, key->size);
		break;
	}
}

static void copy_table(const struct config_table *table, const void *from, void *to)
{
	memcpy(to, from, table->size);
	for (size_t i = 0; i < table->key_count; i++)
		if (!(table->keys[i].flags & CONFIG_ALIAS))
			copy_member(&table->keys[i], from, to);
	if (table->name_offset != CONFIG_NOWHERE) {
		char *name = dup_or_null(
			*(char *const *)(const void *)((const char *)from + table->name_offset));

		memcpy((char *)to + table->name_offset, &name, sizeof(name));
	}
}

static void set_back(const struct config_key *key, const void *current, void *fresh)
{
	config_free_member(key, fresh);
	copy_member(key, current, fresh);
}

/* -- walked ---------------------------------------------------------------------------------- */

static void walk(struct reconciling *run, const char *path, const struct config_table *table,
	const void *current, void *fresh);

static void tell(struct reconciling *run, const char *path, bool needs_restart)
{
	run->must_restart |= needs_restart;
	if (!run->is_trial)
		run->options->on_change(run->options->arg, path, needs_restart);
}

static void walk_items(struct reconciling *run, const char *path, const struct config_key *key,
	const void *current, void *fresh)
{
	for (size_t i = 0; i < count_of(key, current); i++) {
		char *below = xasprintf("%s[%zu].", path, i);

		walk(run, below, key->table, item_of(key, current, i),
			(void *)item_of(key, fresh, i));
		free(below);
	}
}

/* A list whose items are told one by one. */
static void reconcile_items(struct reconciling *run, const char *path, const struct config_key *key,
	const void *current, void *fresh)
{
	struct reconciling trial = {.options = run->options, .is_trial = true};

	if (count_of(key, current) != count_of(key, fresh)) {
		tell(run, path, true);
		set_back(key, current, fresh);
		return;
	}
	walk_items(&trial, path, key, current, fresh);
	walk_items(run, path, key, current, fresh);
	if (trial.must_restart)
		set_back(key, current, fresh);
}

static void reconcile_member(struct reconciling *run, const char *path,
	const struct config_key *key, const void *current, void *fresh)
{
	if (key->type == CONFIG_SECTION && !(key->flags & CONFIG_RESTART)) {
		char *below = xasprintf("%s.", path);

		walk(run, below, key->table, member_of(key, current), (char *)fresh + key->offset);
		free(below);
	} else if (key->flags & CONFIG_FIXED_ITEMS) {
		reconcile_items(run, path, key, current, fresh);
	} else if (!are_equal(key, current, fresh)) {
		bool needs_restart = (key->flags & CONFIG_RESTART) != 0;

		tell(run, path, needs_restart);
		if (needs_restart && !run->is_trial)
			set_back(key, current, fresh);
	}
}

static bool is_for(const struct config_key *key, unsigned audience)
{
	return key->audience == 0 || (key->audience & audience) != 0;
}

static void walk(struct reconciling *run, const char *path, const struct config_table *table,
	const void *current, void *fresh)
{
	for (size_t i = 0; i < table->key_count; i++) {
		const struct config_key *key = &table->keys[i];
		char *below;

		if ((key->flags & CONFIG_ALIAS) || !is_for(key, run->options->audience))
			continue;
		below = xasprintf("%s%s", path, key->name);
		reconcile_member(run, below, key, current, fresh);
		free(below);
	}
}

void config_reconcile(const struct config_table *table, const struct config_reconcile *options,
	const void *current, void *fresh)
{
	struct reconciling run = {.options = options};

	walk(&run, "", table, current, fresh);
}
