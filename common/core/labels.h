/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_LABELS_H
#define PS_COMMON_CORE_LABELS_H
/*
 * A label set: sorted by name (as memcmp sorts), each name once, strings owned. Pure; any thread.
 */
#include "common/core/buf.h"

struct label {
	char *name;
	char *value;
};

struct labels {
	struct label *items; /* sorted by name */
	size_t count;
};

/* Adds the label or replaces its value; copies both. */
void labels_set(struct labels *labels, struct slice name, struct slice value);

/* The value, borrowed until the set changes; NULL where the name is absent. */
const char *labels_get(const struct labels *labels, const char *name);

/* Sets every label of `from` in `to`, replacing what is there. */
void labels_merge(struct labels *to, const struct labels *from);
bool labels_equal(const struct labels *a, const struct labels *b);
void labels_free(struct labels *labels);

/* What the set costs in memory, about. */
size_t labels_bytes(const struct labels *labels);

/* [a-zA-Z_][a-zA-Z0-9_]*: Prometheus' legacy label name. */
bool label_name_is_valid(struct slice name);

/* Appends {a="b",c="d"} in exposition syntax (escaped), for logs and pages; "{}" when empty. */
void labels_format(const struct labels *labels, struct buf *out);

/*
 * The <t> token of a subject (DESIGN: wire format): 0 for no labels, else a non-zero hash64 over
 * name NUL value NUL of each label in order.
 */
uint64_t labels_hash(const struct labels *labels);

#endif
