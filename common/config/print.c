/* SPDX-License-Identifier: Apache-2.0 */
/* The way back: structs as YAML, and the tables themselves as a tree of sections. */
#include "common/config/value.h"

#include "common/core/labels.h"
#include "common/core/url.h"

struct printing {
	struct yaml_writer *writer;
	unsigned audience;
	bool mask;
	bool for_others; /* within what was read for others: variables were left alone */
};

static const void *member_of(const struct config_key *key, const void *value)
{
	return (const char *)value + key->offset;
}

static void print_text(
	const struct config_key *key, const char *text, const struct printing *printing)
{
	char *shown;

	if (printing->mask && (key->flags & CONFIG_HIDDEN))
		shown = xstrdup(CONFIG_MASK);
	else if (printing->mask && (key->flags & CONFIG_SECRET))
		shown = url_redact(text);
	else
		shown = xstrdup(text);
	if (config_type_is_plain(key->type))
		yaml_write_plain(printing->writer, shown);
	else
		yaml_write_text(printing->writer, shown);
	free(shown);
}

static void print_scalar(
	const struct config_key *key, const void *member, const struct printing *printing)
{
	struct buf text = {0};

	if (printing->for_others && key->type == CONFIG_STRING)
		buf_append_str(&text, *(char *const *)member == NULL ? "" : *(char *const *)member);
	else
		config_format(key, member, &text);
	print_text(key, buf_cstr(&text), printing);
	buf_free(&text);
}

static void print_strings(const struct config_key *key, const struct string_list *list,
	const struct printing *printing)
{
	yaml_write_open(printing->writer, YAML_SEQUENCE);
	for (size_t i = 0; i < list->count; i++) {
		struct config_key one = *key;

		one.type = CONFIG_STRING;
		print_scalar(&one, &list->items[i], printing);
	}
	yaml_write_close(printing->writer, YAML_SEQUENCE);
}

static void print_labels(const struct labels *labels, const struct printing *printing)
{
	yaml_write_open(printing->writer, YAML_MAPPING);
	for (size_t i = 0; i < labels->count; i++) {
		yaml_write_text(printing->writer, labels->items[i].name);
		yaml_write_text(printing->writer, labels->items[i].value);
	}
	yaml_write_close(printing->writer, YAML_MAPPING);
}

static void print_member(
	const struct config_key *key, const void *value, const struct printing *printing);
static void print_table(
	const struct config_table *table, const void *value, const struct printing *printing);

static void print_item(
	const struct config_table *table, const void *item, const struct printing *printing)
{
	if (table->bare)
		print_member(&table->keys[0], item, printing);
	else
		print_table(table, item, printing);
}

static void print_items(
	const struct config_key *key, const void *value, const struct printing *printing)
{
	enum yaml_kind kind = key->type == CONFIG_MAP ? YAML_MAPPING : YAML_SEQUENCE;
	const char *item = *(char *const *)member_of(key, value);
	size_t count = *(const size_t *)(const void *)((const char *)value + key->count_offset);

	yaml_write_open(printing->writer, kind);
	for (size_t i = 0; i < count; i++, item += key->table->size) {
		if (kind == YAML_MAPPING)
			yaml_write_text(printing->writer,
				*(char *const *)(const void *)(item + key->table->name_offset));
		print_item(key->table, item, printing);
	}
	yaml_write_close(printing->writer, kind);
}

static void print_member(
	const struct config_key *key, const void *value, const struct printing *printing)
{
	const void *member = member_of(key, value);

	switch (key->type) {
	case CONFIG_STRINGS:
		print_strings(key, member, printing);
		break;
	case CONFIG_LABELS:
		print_labels(member, printing);
		break;
	case CONFIG_SECTION:
		print_table(key->table, member, printing);
		break;
	case CONFIG_LIST:
	case CONFIG_MAP:
		print_items(key, value, printing);
		break;
	default:
		print_scalar(key, member, printing);
		break;
	}
}

/* Whether there is nothing to print. Empty lists are something: they override what is inherited. */
static bool is_absent(const struct config_key *key, const void *value)
{
	const void *member = member_of(key, value);

	switch (key->type) {
	case CONFIG_STRING:
		return *(char *const *)member == NULL && !(key->flags & CONFIG_EMPTY);
	case CONFIG_LABELS:
		return ((const struct labels *)member)->count == 0;
	case CONFIG_SECTION:
		return key->table->present_offset != CONFIG_NOWHERE &&
		       !*(const bool *)((const char *)member + key->table->present_offset);
	default:
		return false;
	}
}

static void print_table(
	const struct config_table *table, const void *value, const struct printing *printing)
{
	yaml_write_open(printing->writer, YAML_MAPPING);
	for (size_t i = 0; i < table->key_count; i++) {
		const struct config_key *key = &table->keys[i];
		struct printing row = *printing;

		if ((key->flags & CONFIG_ALIAS) || is_absent(key, value))
			continue;
		row.for_others |= key->audience != 0 && !(key->audience & printing->audience);
		yaml_write_text(printing->writer, key->name);
		print_member(key, value, &row);
	}
	yaml_write_close(printing->writer, YAML_MAPPING);
}

void config_print(const struct config_table *table, const void *value, struct yaml_writer *writer,
	unsigned audience, bool mask)
{
	const struct printing printing = {.writer = writer, .audience = audience, .mask = mask};

	print_table(table, value, &printing);
}

struct table_walk {
	void (*visit)(void *arg, const char *path, const struct config_table *table);
	void *arg;
	const struct config_table *seen[32];
	size_t seen_count;
};

static bool is_first_visit(struct table_walk *walk, const struct config_table *table)
{
	for (size_t i = 0; i < walk->seen_count; i++)
		if (walk->seen[i] == table)
			return false;
	if (walk->seen_count < ARRAY_LEN(walk->seen))
		walk->seen[walk->seen_count++] = table;
	return true;
}

static void walk_table(struct table_walk *walk, const char *path, const struct config_table *table)
{
	walk->visit(walk->arg, path, table);
	for (size_t i = 0; i < table->key_count; i++) {
		const struct config_key *key = &table->keys[i];
		char *below;

		if (key->table == NULL || key->table->bare || !is_first_visit(walk, key->table))
			continue;
		below = xasprintf("%s%s%s%s", path, path[0] == '\0' ? "" : ".", key->name,
			key->type == CONFIG_MAP ? ".<name>" : "");
		walk_table(walk, below, key->table);
		free(below);
	}
}

void config_each_table(const struct config_table *root,
	void (*visit)(void *arg, const char *path, const struct config_table *table), void *arg)
{
	struct table_walk walk = {.visit = visit, .arg = arg};

	walk_table(&walk, "", root);
}
