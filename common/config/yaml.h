/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CONFIG_YAML_H
#define PS_COMMON_CONFIG_YAML_H
/*
 * YAML as a tree of nodes that know where they stand, and the way back. It reads exactly one
 * document and refuses what is more likely a mistake or an attack than a configuration: tabs as
 * indentation, a key given twice, keys that are no plain values, foreign tags, NUL, and documents
 * that are deep, large, or become so when their aliases are followed. It gives values no types: a
 * scalar is text. Pure but for yaml_read_file; any thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

#define YAML_MAX_FILE_BYTES (64 << 20)
#define YAML_MAX_DEPTH      64
#define YAML_MAX_NODES      4000000     /* with every alias followed */
#define YAML_MAX_TEXT_BYTES (256 << 20) /* likewise */

/* From 1, columns in characters; line 0 is nowhere. */
struct yaml_position {
	int line, column;
};

enum yaml_kind { YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

/* An element of a sequence (`key` is NULL) or a pair of a mapping. */
struct yaml_entry {
	struct yaml_node *key, *value;
	struct yaml_entry *next;
};

/* An alias is the very node it refers to: a node may be found in several places, never in itself.
 */
struct yaml_node {
	enum yaml_kind kind;
	bool is_null;                  /* a plain ~, null or nothing at all */
	struct yaml_position position; /* of the anchored node where reached through an alias */
	struct slice text;             /* scalar: valid UTF-8 without NUL, and NUL-terminated */
	struct yaml_entry *entries;    /* merge keys are resolved: own entries first */
	size_t count;
	int height;                  /* 1 for a scalar */
	size_t all_nodes, all_bytes; /* with what is below, aliases followed */
};

struct yaml_document;

/*
 * Reads one document. NULL if it is none: `err` says why and `position` where. Frees with
 * yaml_document_free, and the nodes with it; `text` is not needed afterwards.
 */
struct yaml_document *yaml_parse(
	struct slice text, struct yaml_position *position, struct err *err) MUST_CHECK;
void yaml_document_free(struct yaml_document *document);

/* Never NULL. */
const struct yaml_node *yaml_root(const struct yaml_document *document);

/* Appends a file of at most YAML_MAX_FILE_BYTES. -1 and `err`, which names the file. */
int yaml_read_file(const char *path, struct buf *out, struct err *err) MUST_CHECK;

/*
 * Writes one document in block style. Between open and close come, in a mapping, keys and values in
 * turns, all as texts; what yaml_parse reads back is the same tree.
 */
struct yaml_writer;

struct yaml_writer *yaml_writer_new(struct buf *out);
void yaml_write_open(struct yaml_writer *writer, enum yaml_kind kind);
void yaml_write_close(struct yaml_writer *writer, enum yaml_kind kind);

/* A scalar, quoted where it would not be read as the text it is. */
void yaml_write_text(struct yaml_writer *writer, const char *text);

/* A number or a boolean: never quoted. */
void yaml_write_plain(struct yaml_writer *writer, const char *text);

/* Completes the document. */
void yaml_writer_free(struct yaml_writer *writer);

#endif
