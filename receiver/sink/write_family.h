/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_FAMILY_H
#define PS_RECEIVER_SINK_WRITE_FAMILY_H
/*
 * What HELP and TYPE say of families, over all targets: one family of a name, the newest words
 * winning. It lives as long as series of it do. Pure.
 */
#include "common/core/table.h"
#include "common/exposition/exposition.h"

/* More of a HELP text is cut. */
#define WRITE_HELP_MAX_BYTES 2048

struct write_family {
	uint32_t refs;
	enum expo_type type;
	bool is_typed;   /* a TYPE line spoke of it */
	bool is_own;     /* of the series that we add: what bodies say of it does not count */
	struct buf help; /* escapes resolved */
	/* write_request.c's: number of the help text in the request of this number. */
	uint32_t help_symbol;
	uint64_t request;
	UT_hash_handle by_name;
	char name[];
};

struct write_families {
	struct write_family *by_name;
};

/* What has been read of a family so far; names and texts as they stand in the body. */
struct write_meta {
	struct slice name; /* escapes resolved */
	struct slice help;
	enum expo_type type;
	bool is_typed;
};

/* The family of the name, with one reference more; made where there is none. */
struct write_family *write_family_take(struct write_families *families, struct slice name);
/* NULL is allowed. */
void write_family_put(struct write_families *families, struct write_family *family);

/* NULL where there is none. */
struct write_family *write_family_find(const struct write_families *families, struct slice name);

/* Whether a metric of this name is one of the family's. */
bool write_meta_covers(const struct write_meta *meta, struct slice metric);

/*
 * The family of a metric, with one reference more: that of `meta` if it covers it, else one that is
 * known; NULL if there is neither.
 */
struct write_family *write_family_of(
	struct write_families *families, const struct write_meta *meta, struct slice metric);

/* Takes over what `meta` says. */
void write_family_learn(struct write_family *family, const struct write_meta *meta);

size_t write_family_bytes(const struct write_family *family);

/* Prometheus' numbers for the type, the same in both versions of the protocol. */
uint32_t write_family_type(const struct write_family *family);

#endif
