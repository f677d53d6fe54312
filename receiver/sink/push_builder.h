/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_BUILDER_H
#define PS_RECEIVER_SINK_PUSH_BUILDER_H
/*
 * What push_body.c and push_families.c share while a body is built: samples as items, families by
 * name. Included by these two only. Pure.
 */
#include "receiver/sink/push_body.h"
#include "receiver/sink/push_index.h"
#include "receiver/sink/push_sample.h"

/* A place in the input or, if `rewritten`, among the lines written anew. */
struct place {
	uint32_t at : 31;
	uint32_t rewritten : 1;
	uint32_t len;
};

struct item {
	struct place line; /* len 0: left out after all */
	uint32_t family;
	uint32_t group;
};

/* The first families are those that bodies do not decide about. */
enum {
	FAMILY_PUSH_TIME = 4, /* behind our own, of push_report.h */
	FAMILY_PUSH_FAILURE_TIME,
	FAMILIES_RESERVED,
};

struct family {
	uint32_t name_at, name_len;   /* in builder->names */
	struct place help, type_line; /* len 0: none */
	enum expo_type type;
	bool is_broken;      /* a histogram or summary that the gateway would not read */
	bool is_retyped;     /* its type is what others gave it */
	uint32_t whole;      /* the histogram or summary + 1 of which it becomes a part; 0: none */
	uint32_t written_in; /* the last group + 1 that has its HELP and TYPE */
	uint32_t refused_in; /* the last group + 1 that must not have it */
};

struct builder {
	struct slice input;
	const struct push_target *target;
	const struct push_gate *gate; /* NULL: none */
	struct push_body *body;
	struct push_labels group; /* of the target */
	struct push_rewriter rewriter;

	struct item *items;
	size_t item_count, item_capacity;
	struct family *families;
	size_t family_count, family_capacity;
	struct buf names;  /* of families */
	size_t path_bytes; /* of all groups */
	size_t help_bytes; /* written to groups other than the first */
	struct push_index families_by_name, groups_by_key, items_by_series;
	struct slice last_name; /* and its family: samples of one name mostly come in a row */
	uint32_t last_family;
	struct buf key, last_key; /* of groups */
	uint32_t last_group;
};

/* Makes room for one more element behind `count`. */
void *builder_grow(void *items, size_t count, size_t *capacity, size_t size);

struct slice builder_text(const struct builder *b, struct place place);

/* The line among those written anew that begins at `at`, which this ends. */
struct place builder_end_line(struct builder *b, size_t at);

/* Before anything else. */
void families_init(struct builder *b);

struct slice family_name(const struct builder *b, const struct family *family);

/* The family of that name, made if it is new. */
uint32_t family_at(struct builder *b, struct slice name);

/* As the gateway decides: the family of that very name first, then what it may be a part of. */
uint32_t family_of_sample(struct builder *b, struct slice name);

/*
 * Once everything is read: decides the types of all families and to which of them the items belong,
 * so that the gateway reads every sample with its value. The gate's own group must have begun.
 */
void families_settle(struct builder *b);

#endif
