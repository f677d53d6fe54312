/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml's events made into a tree. Nodes live in the document's arena, so that an alias can share
 * its node and freeing needs no walk. Each node carries the size of all below it with aliases
 * followed, which is how exponential expansion is refused while it is still a few pointers.
 */
#include "common/config/yaml.h"

#include "common/core/table.h"

#include <yaml.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define BLOCK_BYTES (64 << 10)

struct block {
	struct block *next;
	size_t used, size;
	_Alignas(max_align_t) char bytes[];
};

struct yaml_document {
	struct block *blocks;
	struct yaml_node *root;
};

struct anchor {
	char *name;
	struct yaml_node *node;
	bool open; /* its node is still being read */
	UT_hash_handle hh;
};

struct loader {
	yaml_parser_t parser;
	struct slice text;
	struct yaml_document *document;
	struct anchor *anchors;
	size_t node_count;
	struct yaml_position *position;
	struct err *err;
};

/* A key of the mapping being completed. */
struct seen_key {
	const struct yaml_node *key;
	UT_hash_handle hh;
};

static void *arena_take(struct yaml_document *document, size_t size)
{
	struct block *block = document->blocks;
	void *taken;

	size = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
	if (block == NULL || block->size - block->used < size) {
		size_t capacity = size > BLOCK_BYTES ? size : BLOCK_BYTES;

		block = xmalloc(sizeof(*block) + capacity);
		*block = (struct block){.next = document->blocks, .size = capacity};
		document->blocks = block;
	}
	taken = block->bytes + block->used;
	block->used += size;
	memset(taken, 0, size);
	return taken;
}

static struct yaml_position position_of(yaml_mark_t mark)
{
	return (struct yaml_position){(int)mark.line + 1, (int)mark.column + 1};
}

PRINTF_LIKE(3, 4)
static int fail(struct loader *loader, struct yaml_position position, const char *fmt, ...)
{
	char text[sizeof(loader->err->text)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	*loader->position = position;
	return err_setf(loader->err, "%s", text);
}

/* The byte at a mark, whose column counts characters; NUL if it is outside. */
static char byte_at(struct slice text, yaml_mark_t mark)
{
	const char *at = text.ptr, *end = text.ptr + text.len;

	for (size_t line = 0; line < mark.line && at < end; line++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));

		at = newline == NULL ? end : newline + 1;
	}
	for (size_t column = 0; column < mark.column && at < end; column++)
		for (at++; at < end && ((unsigned char)*at & 0xc0) == 0x80;)
			at++;
	return at < end ? *at : '\0';
}

static struct yaml_position position_of_offset(struct slice text, size_t offset)
{
	struct yaml_position position = {1, 1};

	for (size_t i = 0; i < offset && i < text.len; i++) {
		if (text.ptr[i] == '\n')
			position = (struct yaml_position){position.line + 1, 1};
		else if (((unsigned char)text.ptr[i] & 0xc0) != 0x80)
			position.column++;
	}
	return position;
}

static int fail_as_parser(struct loader *loader)
{
	yaml_parser_t *parser = &loader->parser;
	struct yaml_position position = position_of(parser->problem_mark);
	const char *problem = parser->problem == NULL ? "not YAML" : parser->problem;

	if (parser->error == YAML_READER_ERROR)
		return fail(loader, position_of_offset(loader->text, parser->problem_offset),
			"not UTF-8 text: %s", problem);
	if (strstr(problem, "tab character") != NULL ||
		byte_at(loader->text, parser->problem_mark) == '\t')
		return fail(loader, position, "tabs are not allowed as indentation: use spaces");
	return fail(loader, position, "%s%s%s", parser->context == NULL ? "" : parser->context,
		parser->context == NULL ? "" : ": ", problem);
}

static int next_event(struct loader *loader, yaml_event_t *event)
{
	if (!yaml_parser_parse(&loader->parser, event))
		return fail_as_parser(loader);
	return 0;
}

static int next_event_of(struct loader *loader, yaml_event_type_t type, const char *otherwise)
{
	yaml_event_t event;
	struct yaml_position position;
	bool is_it;

	if (next_event(loader, &event) != 0)
		return -1;
	is_it = event.type == type;
	position = position_of(event.start_mark);
	yaml_event_delete(&event);
	return is_it ? 0 : fail(loader, position, "%s", otherwise);
}

static struct yaml_node *node_new(struct loader *loader, enum yaml_kind kind, yaml_mark_t mark)
{
	struct yaml_node *node;

	if (++loader->node_count > YAML_MAX_NODES) {
		fail(loader, position_of(mark), "the file has more than %d values", YAML_MAX_NODES);
		return NULL;
	}
	node = arena_take(loader->document, sizeof(*node));
	*node = (struct yaml_node){
		.kind = kind, .position = position_of(mark), .height = 1, .all_nodes = 1};
	return node;
}

/* Registers the node under its anchor, if it has one; a later one of the same name replaces it. */
static struct anchor *anchor_open(
	struct loader *loader, const yaml_char_t *name, struct yaml_node *node)
{
	struct anchor *anchor;

	if (name == NULL)
		return NULL;
	HASH_FIND_STR(loader->anchors, (const char *)name, anchor);
	if (anchor == NULL) {
		anchor = xcalloc(1, sizeof(*anchor));
		anchor->name = xstrdup((const char *)name);
		HASH_ADD_KEYPTR(hh, loader->anchors, anchor->name, strlen(anchor->name), anchor);
	}
	anchor->node = node;
	anchor->open = true;
	return anchor;
}

static void anchor_close(struct anchor *anchor, const struct yaml_node *node)
{
	if (anchor != NULL && anchor->node == node)
		anchor->open = false;
}

static struct yaml_node *load_alias(struct loader *loader, const yaml_event_t *event, int depth)
{
	const char *name = (const char *)event->data.alias.anchor;
	struct yaml_position position = position_of(event->start_mark);
	struct anchor *anchor;

	HASH_FIND_STR(loader->anchors, name, anchor);
	if (anchor == NULL)
		fail(loader, position, "alias *%s has no anchor &%s before it", name, name);
	else if (anchor->open)
		fail(loader, position, "alias *%s is inside of what it refers to", name);
	else if (depth + anchor->node->height > YAML_MAX_DEPTH)
		fail(loader, position, "nested more than %d deep", YAML_MAX_DEPTH);
	else
		return anchor->node;
	return NULL;
}

/* Standard tags change nothing here, as scalars are text; others would ask for something. */
static int check_tag(struct loader *loader, const yaml_char_t *tag, yaml_mark_t mark)
{
	static const char *const harmless[] = {"!", YAML_STR_TAG, YAML_INT_TAG, YAML_FLOAT_TAG,
		YAML_BOOL_TAG, YAML_NULL_TAG, YAML_SEQ_TAG, YAML_MAP_TAG};

	if (tag == NULL)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
		if (strcmp((const char *)tag, harmless[i]) == 0)
			return 0;
	return fail(loader, position_of(mark), "the tag %s is not supported", (const char *)tag);
}

static bool is_null_word(struct slice text)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (slice_is(text, words[i]))
			return true;
	return false;
}

static struct yaml_node *load_scalar(struct loader *loader, const yaml_event_t *event)
{
	const char *value = (const char *)event->data.scalar.value;
	size_t len = event->data.scalar.length;
	struct yaml_node *node = node_new(loader, YAML_SCALAR, event->start_mark);
	char *copy;

	if (node == NULL || check_tag(loader, event->data.scalar.tag, event->start_mark) != 0)
		return NULL;
	if (memchr(value, '\0', len) != NULL) {
		fail(loader, node->position, "a NUL character is not allowed");
		return NULL;
	}
	copy = arena_take(loader->document, len + 1);
	memcpy(copy, value, len);
	node->text = (struct slice){copy, len};
	node->all_bytes = len;
	node->is_null = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
			event->data.scalar.tag == NULL && is_null_word(node->text);
	anchor_close(anchor_open(loader, event->data.scalar.anchor, node), node);
	return node;
}

/* Counts `child` as part of `parent`. */
static int account(struct loader *loader, struct yaml_node *parent, const struct yaml_node *child,
	struct yaml_position position)
{
	parent->all_nodes += child->all_nodes;
	parent->all_bytes += child->all_bytes;
	if (child->height >= parent->height)
		parent->height = child->height + 1;
	if (parent->all_nodes > YAML_MAX_NODES || parent->all_bytes > YAML_MAX_TEXT_BYTES)
		return fail(loader, position,
			"too large once its aliases are followed (more than %d values or %d MB)",
			YAML_MAX_NODES, YAML_MAX_TEXT_BYTES >> 20);
	return 0;
}

static int add_entry(struct loader *loader, struct yaml_node *parent, struct yaml_entry ***tail,
	struct yaml_entry entry, struct yaml_position position)
{
	if (entry.key != NULL && account(loader, parent, entry.key, position) != 0)
		return -1;
	if (account(loader, parent, entry.value, position) != 0)
		return -1;
	**tail = arena_take(loader->document, sizeof(entry));
	***tail = entry;
	*tail = &(**tail)->next;
	parent->count++;
	return 0;
}

static struct yaml_node *load_node(struct loader *loader, yaml_event_t *event, int depth);

static int load_items(struct loader *loader, struct yaml_node *node, int depth)
{
	struct yaml_entry **tail = &node->entries;

	for (;;) {
		yaml_event_t event;
		struct yaml_entry entry = {0};
		struct yaml_position position;

		if (next_event(loader, &event) != 0)
			return -1;
		if (event.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&event);
			return 0;
		}
		position = position_of(event.start_mark);
		entry.value = load_node(loader, &event, depth);
		if (entry.value == NULL || add_entry(loader, node, &tail, entry, position) != 0)
			return -1;
	}
}

/* The same key as seen before; else NULL, and the key is remembered in `fresh`. */
static const struct yaml_node *key_taken(
	struct seen_key **seen, struct seen_key *fresh, const struct yaml_node *key)
{
	struct seen_key *found;

	HASH_FIND(hh, *seen, key->text.ptr, key->text.len, found);
	if (found != NULL)
		return found->key;
	*fresh = (struct seen_key){.key = key};
	HASH_ADD_KEYPTR(hh, *seen, key->text.ptr, key->text.len, fresh);
	return NULL;
}

/* Adds the pairs of `from` whose keys are not there yet. */
static int merge_mapping(struct loader *loader, struct yaml_node *node, struct yaml_entry ***tail,
	const struct yaml_node *from, struct yaml_position position, struct seen_key **seen)
{
	if (from->kind != YAML_MAPPING)
		return fail(loader, position, "<< takes a mapping or a list of mappings");
	for (const struct yaml_entry *entry = from->entries; entry != NULL; entry = entry->next) {
		struct seen_key *fresh = arena_take(loader->document, sizeof(*fresh));
		struct yaml_entry copy = {.key = entry->key, .value = entry->value};

		if (key_taken(seen, fresh, entry->key) != NULL)
			continue;
		if (add_entry(loader, node, tail, copy, position) != 0)
			return -1;
	}
	return 0;
}

static int merge(struct loader *loader, struct yaml_node *node, struct yaml_entry ***tail,
	const struct yaml_node *key, const struct yaml_node *from, struct seen_key **seen)
{
	if (from->kind != YAML_SEQUENCE)
		return merge_mapping(loader, node, tail, from, key->position, seen);
	for (const struct yaml_entry *entry = from->entries; entry != NULL; entry = entry->next)
		if (merge_mapping(loader, node, tail, entry->value, key->position, seen) != 0)
			return -1;
	return 0;
}

/* Reads a key; *end at the end of the mapping. *is_merge for a plain <<. */
static struct yaml_node *load_key(struct loader *loader, int depth, bool *end, bool *is_merge)
{
	yaml_event_t event;
	struct yaml_position position;
	struct yaml_node *key;
	bool plain;

	if (next_event(loader, &event) != 0)
		return NULL;
	*end = event.type == YAML_MAPPING_END_EVENT;
	if (*end) {
		yaml_event_delete(&event);
		return NULL;
	}
	position = position_of(event.start_mark);
	plain = event.type == YAML_SCALAR_EVENT &&
		event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	key = load_node(loader, &event, depth);
	if (key != NULL && key->kind != YAML_SCALAR) {
		fail(loader, position, "a key must be a plain value, not a list or a mapping");
		return NULL;
	}
	*is_merge = key != NULL && plain && slice_is(key->text, "<<");
	return key;
}

static struct yaml_node *load_value(struct loader *loader, int depth)
{
	yaml_event_t event;

	if (next_event(loader, &event) != 0)
		return NULL;
	return load_node(loader, &event, depth);
}

/* Own pairs first, so that they win over merged ones wherever the << stands. */
static int load_pairs(
	struct loader *loader, struct yaml_node *node, int depth, struct seen_key **seen)
{
	struct yaml_entry **tail = &node->entries;
	struct yaml_entry merged = {0};
	bool end, is_merge = false;

	for (;;) {
		struct seen_key *fresh = arena_take(loader->document, sizeof(*fresh));
		struct yaml_entry entry = {0};
		const struct yaml_node *first;

		entry.key = load_key(loader, depth, &end, &is_merge);
		if (entry.key == NULL && end)
			break;
		if (entry.key == NULL)
			return -1;
		first = key_taken(seen, fresh, entry.key);
		if (first != NULL)
			return fail(loader, entry.key->position,
				"\"%s\" is given twice: the first is in line %d, column %d",
				entry.key->text.ptr, first->position.line, first->position.column);
		entry.value = load_value(loader, depth);
		if (entry.value == NULL)
			return -1;
		if (is_merge)
			merged = entry;
		else if (add_entry(loader, node, &tail, entry, entry.key->position) != 0)
			return -1;
	}
	return merged.key == NULL ? 0 : merge(loader, node, &tail, merged.key, merged.value, seen);
}

static struct yaml_node *load_collection(
	struct loader *loader, const yaml_event_t *event, enum yaml_kind kind, int depth)
{
	bool mapping = kind == YAML_MAPPING;
	const yaml_char_t *name =
		mapping ? event->data.mapping_start.anchor : event->data.sequence_start.anchor;
	const yaml_char_t *tag =
		mapping ? event->data.mapping_start.tag : event->data.sequence_start.tag;
	struct yaml_node *node = node_new(loader, kind, event->start_mark);
	struct seen_key *seen = NULL;
	struct anchor *anchor;
	int result;

	if (node == NULL || check_tag(loader, tag, event->start_mark) != 0)
		return NULL;
	if (depth >= YAML_MAX_DEPTH) {
		fail(loader, node->position, "nested more than %d deep", YAML_MAX_DEPTH);
		return NULL;
	}
	anchor = anchor_open(loader, name, node);
	result = mapping ? load_pairs(loader, node, depth + 1, &seen)
			 : load_items(loader, node, depth + 1);
	HASH_CLEAR(hh, seen);
	anchor_close(anchor, node);
	return result == 0 ? node : NULL;
}

/* The node that begins with `event`, which it deletes. NULL after an error. */
static struct yaml_node *load_node(struct loader *loader, yaml_event_t *event, int depth)
{
	struct yaml_node *node = NULL;

	switch (event->type) {
	case YAML_ALIAS_EVENT:
		node = load_alias(loader, event, depth);
		break;
	case YAML_SCALAR_EVENT:
		node = load_scalar(loader, event);
		break;
	case YAML_SEQUENCE_START_EVENT:
		node = load_collection(loader, event, YAML_SEQUENCE, depth);
		break;
	case YAML_MAPPING_START_EVENT:
		node = load_collection(loader, event, YAML_MAPPING, depth);
		break;
	default:
		fail(loader, position_of(event->start_mark), "a value is missing");
		break;
	}
	yaml_event_delete(event);
	return node;
}

static int load_root(struct loader *loader)
{
	yaml_event_t event;

	if (next_event_of(loader, YAML_STREAM_START_EVENT, "not YAML") != 0 ||
		next_event(loader, &event) != 0)
		return -1;
	if (event.type != YAML_DOCUMENT_START_EVENT) {
		yaml_event_delete(&event);
		return fail(loader, (struct yaml_position){1, 1}, "the file is empty");
	}
	yaml_event_delete(&event);
	loader->document->root = load_value(loader, 0);
	if (loader->document->root == NULL)
		return -1;
	if (loader->document->root->is_null)
		return fail(loader, (struct yaml_position){1, 1}, "the file is empty");
	if (next_event_of(loader, YAML_DOCUMENT_END_EVENT, "the document does not end here") != 0)
		return -1;
	return next_event_of(loader, YAML_STREAM_END_EVENT,
		"a second document begins here: a file holds only one");
}

static void anchors_free(struct anchor *anchors)
{
	struct anchor *anchor, *next;

	HASH_ITER (hh, anchors, anchor, next) {
		HASH_DEL(anchors, anchor);
		free(anchor->name);
		free(anchor);
	}
}

struct yaml_document *yaml_parse(struct slice text, struct yaml_position *position, struct err *err)
{
	struct loader loader = {.text = text, .position = position, .err = err};
	int result;

	*position = (struct yaml_position){1, 1};
	if (text.len > YAML_MAX_FILE_BYTES) {
		err_setf(err, "the file is larger than %d MB", YAML_MAX_FILE_BYTES >> 20);
		return NULL;
	}
	if (!yaml_parser_initialize(&loader.parser)) {
		err_setf(err, "out of memory");
		return NULL;
	}
	yaml_parser_set_input_string(&loader.parser,
		(const unsigned char *)(text.ptr == NULL ? "" : text.ptr), text.len);
	loader.document = xcalloc(1, sizeof(*loader.document));
	result = load_root(&loader);
	anchors_free(loader.anchors);
	yaml_parser_delete(&loader.parser);
	if (result == 0)
		return loader.document;
	yaml_document_free(loader.document);
	return NULL;
}

void yaml_document_free(struct yaml_document *document)
{
	if (document == NULL)
		return;
	while (document->blocks != NULL) {
		struct block *block = document->blocks;

		document->blocks = block->next;
		free(block);
	}
	free(document);
}

const struct yaml_node *yaml_root(const struct yaml_document *document)
{
	return document->root;
}
