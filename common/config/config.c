/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk over a document along the tables. Rows are taken in the order of the table, not of the
 * file, so that what others inherit comes first and each struct is whole when its check is called.
 */
#include "common/config/config.h"

#include "common/config/value.h"
#include "common/core/labels.h"

#include <assert.h>

#define KEYS_MAX 64 /* rows of one table */
#define SLIP_MAX 3  /* a distance of slips, not of parts of words */

void string_list_add(struct string_list *list, struct slice text)
{
	/* Doubling at powers of two keeps long lists linear without a capacity member. */
	if ((list->count & (list->count - 1)) == 0)
		list->items = xreallocarray(
			list->items, list->count == 0 ? 1 : list->count * 2, sizeof(*list->items));
	list->items[list->count++] = slice_dup(text);
}

void string_list_copy(struct string_list *to, const struct string_list *from)
{
	for (size_t i = 0; i < from->count; i++)
		string_list_add(to, slice_from(from->items[i]));
}

void string_list_free(struct string_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct string_list){0};
}

static void *member_of(const struct config_key *key, void *value)
{
	return (char *)value + key->offset;
}

static size_t row_of(const struct config_table *table, struct slice name)
{
	for (size_t i = 0; i < table->key_count; i++)
		if (slice_is(name, table->keys[i].name))
			return i;
	return table->key_count;
}

bool config_is_default(const struct config_object *object, const char *name)
{
	size_t row = row_of(object->table, slice_from(name));
	const struct config_key *key = &object->table->keys[row];
	struct buf text = {0};
	bool same;

	assert(row < object->table->key_count && key->fallback != NULL);
	config_format(key, member_of(key, object->value), &text);
	same = slice_is(buf_slice(&text), key->fallback);
	buf_free(&text);
	return same;
}

enum config_state config_state(const struct config_object *object, const char *key)
{
	size_t row = row_of(object->table, slice_from(key));

	assert(row < object->table->key_count);
	return object->rows[row].state;
}

struct yaml_position config_position(const struct config_object *object, const char *key)
{
	size_t row = row_of(object->table, slice_from(key));

	assert(row < object->table->key_count);
	return object->rows[row].position;
}

struct home {
	struct slice key;
	char *path; /* owned; "in …", the first table that has the key */
};

static void look_for_home(void *arg, const char *path, const struct config_table *table)
{
	struct home *home = arg;

	if (home->path == NULL && row_of(table, home->key) < table->key_count)
		home->path =
			path[0] == '\0' ? xstrdup("at the top level") : xasprintf("in %s", path);
}

static const char *nearest_key(const struct config_table *table, struct slice word, size_t *best)
{
	const char *nearest = NULL;
	size_t distance;

	*best = SIZE_MAX;
	for (size_t i = 0; i < table->key_count; i++) {
		if (config_is_near(word, slice_from(table->keys[i].name), &distance) &&
			distance < *best) {
			*best = distance;
			nearest = table->keys[i].name;
		}
	}
	return nearest;
}

static void report_unknown(
	struct config *config, const struct config_table *table, const struct yaml_node *key)
{
	struct home home = {.key = key->text};
	size_t distance;
	const char *nearest = nearest_key(table, key->text, &distance);

	if (config->problem_count >= CONFIG_MAX_PROBLEMS) {
		config->error_count++;
		return;
	}
	config_each_table(config->root_table, look_for_home, &home);
	if (home.path != NULL && distance > SLIP_MAX)
		config_error_at(config, key->position, "unknown key \"%s\" here: it belongs %s",
			key->text.ptr, home.path);
	else if (nearest != NULL)
		config_error_at(config, key->position, "unknown key \"%s\", did you mean \"%s\"?",
			key->text.ptr, nearest);
	else
		config_error_at(config, key->position, "unknown key \"%s\"", key->text.ptr);
	free(home.path);
}

/* Expands, parses, checks and stores the scalar. */
static int set_expanded(
	const struct config_key *key, void *member, struct slice text, struct err *err)
{
	struct buf expanded = {0};
	bool is_unset;
	int result = config_expand(text, &expanded, &is_unset, err);

	if (result == 0)
		result = config_set(key, member, buf_slice(&expanded), err);
	buf_free(&expanded);
	return result;
}

/* Another daemon's text: judged if its variables happen to be set, and kept as it was written. */
static enum config_state keep_unexpanded(
	const struct config_key *key, void *member, struct slice text, struct err *err)
{
	struct config_key unchecked = *key;
	struct buf expanded = {0};
	union {
		char *text;
		struct string_list list;
	} trial = {.list = {0}};
	bool is_unset;
	int result = config_expand(text, &expanded, &is_unset, err);

	if (result == 0)
		result = config_set(key, &trial, buf_slice(&expanded), err);
	else if (is_unset)
		result = 0;
	buf_free(&expanded);
	if (key->type == CONFIG_STRINGS)
		string_list_free(&trial.list);
	else
		free(trial.text);
	unchecked.check = NULL;
	unchecked.max = 0;
	if (result != 0 || config_set(&unchecked, member, text, err) != 0)
		return CONFIG_WRONG;
	return CONFIG_UNKNOWN;
}

/* One scalar into the member, or added to it if that is a list. */
static enum config_state read_scalar(struct config *config, const struct config_key *key,
	void *member, const struct yaml_node *node)
{
	bool expand = (key->flags & CONFIG_EXPAND) && node->kind == YAML_SCALAR &&
		      memchr(node->text.ptr, '$', node->text.len) != NULL;
	enum config_state state = CONFIG_GIVEN;
	struct err err;

	if (node->kind != YAML_SCALAR) {
		config_error_at(config, node->position, "%s takes a single value, not a %s",
			key->name, node->kind == YAML_MAPPING ? "mapping" : "list");
		return CONFIG_WRONG;
	}
	if (expand && config->for_others)
		state = keep_unexpanded(key, member, node->text, &err);
	else if ((expand ? set_expanded : config_set)(key, member, node->text, &err) != 0)
		state = CONFIG_WRONG;
	if (state == CONFIG_WRONG)
		config_error_at(config, node->position, "%s: %s", key->name, err.text);
	return state;
}

static enum config_state read_strings(struct config *config, const struct config_key *key,
	void *member, const struct yaml_node *node)
{
	enum config_state worst = CONFIG_GIVEN;
	struct config_key item = *key;

	/* In a YAML list a comma is part of the text: of a password, say. */
	item.flags &= ~(unsigned)CONFIG_COMMA;
	if (node->kind == YAML_SCALAR)
		return read_scalar(config, key, member, node);
	if (node->kind != YAML_SEQUENCE) {
		config_error_at(
			config, node->position, "%s takes a list, not a mapping", key->name);
		return CONFIG_WRONG;
	}
	for (const struct yaml_entry *entry = node->entries; entry != NULL; entry = entry->next) {
		enum config_state state = read_scalar(config, &item, member, entry->value);

		if (state > worst)
			worst = state;
	}
	return worst;
}

static enum config_state read_labels(struct config *config, const struct config_key *key,
	void *member, const struct yaml_node *node)
{
	enum config_state state = CONFIG_GIVEN;

	if (node->kind != YAML_MAPPING) {
		config_error_at(
			config, node->position, "%s takes a mapping of names to values", key->name);
		return CONFIG_WRONG;
	}
	for (const struct yaml_entry *entry = node->entries; entry != NULL; entry = entry->next) {
		struct err err;

		if (key->check(entry->key->text.ptr, &err) != 0) {
			config_error_at(
				config, entry->key->position, "%s: %s", key->name, err.text);
			state = CONFIG_WRONG;
		} else if (entry->value->kind != YAML_SCALAR) {
			config_error_at(config, entry->value->position,
				"%s: the value of \"%s\" must be a text", key->name,
				entry->key->text.ptr);
			state = CONFIG_WRONG;
		} else {
			labels_set(member, entry->key->text,
				entry->value->is_null ? SLICE("") : entry->value->text);
		}
	}
	return state;
}

static void read_object(struct config *config, const struct config_table *table, void *value,
	const struct yaml_node *node, const struct yaml_node *name);

static enum config_state read_section(struct config *config, const struct config_key *key,
	void *member, const struct yaml_node *node)
{
	if (node->kind != YAML_MAPPING) {
		config_error_at(
			config, node->position, "%s takes a mapping of keys to values", key->name);
		return CONFIG_WRONG;
	}
	read_object(config, key->table, member, node, NULL);
	return CONFIG_GIVEN;
}

/* Makes room for `more` structs behind those that are there; returns the first. */
static void *grow(const struct config_key *key, void **items, size_t *count, size_t more)
{
	char *grown = xreallocarray(*items, *count + more, key->table->size);

	memset(grown + *count * key->table->size, 0, more * key->table->size);
	*items = grown;
	*count += more;
	return grown + (*count - more) * key->table->size;
}

static enum config_state read_items(struct config *config, const struct config_key *key,
	void *value, const struct yaml_node *node)
{
	void **items = member_of(key, value);
	size_t *count = (size_t *)(void *)((char *)value + key->count_offset);
	bool as_map = key->type == CONFIG_MAP;
	char *item;

	if (!as_map && node->kind == YAML_MAPPING && (key->flags & CONFIG_SINGLE)) {
		read_object(config, key->table, grow(key, items, count, 1), node, NULL);
		return CONFIG_GIVEN;
	}
	if (node->kind != (as_map ? YAML_MAPPING : YAML_SEQUENCE)) {
		config_error_at(config, node->position, "%s takes a %s", key->name,
			as_map                       ? "mapping of names to their settings"
			: key->flags & CONFIG_SINGLE ? "mapping or a list of them"
						     : "list");
		return CONFIG_WRONG;
	}
	item = grow(key, items, count, node->count);
	for (const struct yaml_entry *entry = node->entries; entry != NULL; entry = entry->next) {
		read_object(config, key->table, item, entry->value, entry->key);
		item += key->table->size;
	}
	return CONFIG_GIVEN;
}

static enum config_state read_member(struct config *config, const struct config_key *key,
	void *value, const struct yaml_node *node)
{
	switch (key->type) {
	case CONFIG_STRINGS:
		return read_strings(config, key, member_of(key, value), node);
	case CONFIG_LABELS:
		return read_labels(config, key, member_of(key, value), node);
	case CONFIG_SECTION:
		return read_section(config, key, member_of(key, value), node);
	case CONFIG_LIST:
	case CONFIG_MAP:
		return read_items(config, key, value, node);
	default:
		return read_scalar(config, key, member_of(key, value), node);
	}
}

static void set_default(struct config *config, const struct config_key *key, void *value)
{
	struct buf text = {0};
	struct err err;
	int result = 0;

	for (size_t i = 0; key->flags & CONFIG_FILLED && i < key->table->key_count; i++)
		set_default(config, &key->table->keys[i], member_of(key, value));
	if (key->flags & CONFIG_INHERIT) {
		size_t row = row_of(config->root_table, slice_from(key->name));
		const struct config_key *from = &config->root_table->keys[row];

		config_format(from, member_of(from, config->root), &text);
		result = config_set(key, member_of(key, value), buf_slice(&text), &err);
		buf_free(&text);
	} else if (key->fallback != NULL) {
		result = config_set(key, member_of(key, value), slice_from(key->fallback), &err);
	}
	assert(result == 0);
}

static void read_row(struct config_object *object, size_t row, const struct yaml_node *node)
{
	const struct config_key *key = &object->table->keys[row];
	struct config *config = object->config;
	bool outer = config->for_others;

	if (node != NULL && !node->is_null) {
		if (key->audience != 0 && !(key->audience & config->audience))
			config->for_others = true;
		object->rows[row].position = node->position;
		object->rows[row].state = read_member(config, key, object->value, node);
		config->for_others = outer;
	} else if (key->flags & CONFIG_REQUIRED) {
		config_error_at(config, node == NULL ? object->position : node->position,
			"%s is missing", key->name);
		object->rows[row].state = CONFIG_WRONG;
	}
	if (object->rows[row].state == CONFIG_ABSENT || object->rows[row].state == CONFIG_WRONG)
		set_default(config, key, object->value);
}

/* Which nodes stand for which rows. */
static void match_keys(
	struct config_object *object, const struct yaml_node *node, const struct yaml_node **found)
{
	const struct config_table *table = object->table;

	for (const struct yaml_entry *entry = node->entries; entry != NULL; entry = entry->next) {
		size_t row = row_of(table, entry->key->text);

		if (row < table->key_count)
			found[row] = entry->value;
		else
			report_unknown(object->config, table, entry->key);
	}
}

static void mark_object(struct config_object *object, const struct yaml_node *name)
{
	const struct config_table *table = object->table;
	char *base = object->value;

	if (table->position_offset != CONFIG_NOWHERE)
		memcpy(base + table->position_offset, &object->position, sizeof(object->position));
	if (table->present_offset != CONFIG_NOWHERE)
		*(bool *)(base + table->present_offset) = true;
	if (name != NULL && table->name_offset != CONFIG_NOWHERE) {
		*(char **)(void *)(base + table->name_offset) = slice_dup(name->text);
		object->named = true;
	}
}

static void read_rows(struct config_object *object, const struct yaml_node **found)
{
	for (size_t i = 0; i < object->table->key_count; i++)
		read_row(object, i, found[i]);
	if (object->table->check != NULL)
		object->table->check(object);
}

/* `object` has its table and value; `name`: the key it stands under in a map. */
static void read_into(
	struct config_object *object, const struct yaml_node *node, const struct yaml_node *name)
{
	const struct yaml_node *found[KEYS_MAX] = {NULL};
	struct config_row rows[KEYS_MAX];
	bool is_readable = true;

	assert(object->table->key_count <= KEYS_MAX);
	object->position = name == NULL ? node->position : name->position;
	object->rows = rows;
	for (size_t i = 0; i < object->table->key_count; i++)
		rows[i] = (struct config_row){CONFIG_ABSENT, object->position};
	mark_object(object, name);
	if (object->table->bare)
		found[0] = node;
	else if (node->kind == YAML_MAPPING)
		match_keys(object, node, found);
	else if (!node->is_null || name == NULL)
		is_readable = false;
	if (is_readable)
		read_rows(object, found);
	else
		config_error_at(object->config, node->position,
			"a mapping of keys to values is expected here");
	object->rows = NULL;
}

static void read_object(struct config *config, const struct config_table *table, void *value,
	const struct yaml_node *node, const struct yaml_node *name)
{
	struct config_object object = {.config = config, .table = table, .value = value};

	read_into(&object, node, name);
}

void config_read(struct config *config, const struct yaml_node *document)
{
	struct config_object object = {
		.config = config, .table = config->root_table, .value = config->root};

	config->root_object = &object;
	read_into(&object, document, NULL);
	config->root_object = NULL;
}

static void free_items(const struct config_key *key, void *value)
{
	char **items = member_of(key, value);
	size_t *count = (size_t *)(void *)((char *)value + key->count_offset);

	for (size_t i = 0; i < *count; i++)
		config_free(key->table, *items + i * key->table->size);
	free(*items);
	*items = NULL;
	*count = 0;
}

void config_free_member(const struct config_key *key, void *value)
{
	void *member = member_of(key, value);

	switch (key->type) {
	case CONFIG_STRING:
		free(*(char **)member);
		*(char **)member = NULL;
		break;
	case CONFIG_STRINGS:
		string_list_free(member);
		break;
	case CONFIG_LABELS:
		labels_free(member);
		break;
	case CONFIG_SECTION:
		config_free(key->table, member);
		break;
	case CONFIG_LIST:
	case CONFIG_MAP:
		free_items(key, value);
		break;
	default:
		break;
	}
}

void config_free(const struct config_table *table, void *value)
{
	if (table->fini != NULL)
		table->fini(value);
	for (size_t i = 0; i < table->key_count; i++)
		config_free_member(&table->keys[i], value);
	if (table->name_offset != CONFIG_NOWHERE) {
		char **name = (char **)(void *)((char *)value + table->name_offset);

		free(*name);
		*name = NULL;
	}
}
