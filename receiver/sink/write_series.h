/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_SERIES_H
#define PS_RECEIVER_SINK_WRITE_SERIES_H
/*
 * Every series that targets expose, once over all of them: targets of one kind expose the same
 * texts. A series here is its text, without the target's labels, with its own labels sorted and
 * encoded. Pure; one thread.
 */
#include "receiver/sink/write_family.h"
#include "receiver/sink/write_labels.h"

struct write_table;

/* The names of a series' labels, sorted. Most series share theirs with others. */
struct write_shape {
	struct write_shape *next; /* in its bucket */
	uint64_t hash;
	uint32_t refs;
	uint32_t count;
	/* write_request.c's: numbers of the names in the request of this number. */
	uint32_t *symbols;
	uint64_t request;
	struct write_shape_name {
		struct slice name;
		bool is_empty; /* its value: Prometheus takes such a label to be absent */
	} names[];
};

/* The series that we add for each target. */
enum write_own {
	WRITE_OWN_UP,
	WRITE_OWN_DURATION,
	WRITE_OWN_SCRAPED,
	WRITE_OWN_POST,
	WRITE_OWN_ADDED,
	WRITE_OWN_COUNT,
};

struct write_series {
	struct write_series *next; /* in its bucket */
	struct write_shape *shape;
	struct write_family *family; /* NULL: none was known when it was first seen */
	uint64_t hash;               /* of its text */
	uint32_t refs;
	uint32_t text_len, pairs_len;
	/* write_scrape.c's: numbers of the reading in which it was there, had a place, was seen. */
	uint32_t mark, place, seen;
	uint8_t own;  /* enum write_own if it is the target's own series of that name, else COUNT */
	bool is_loop; /* what a Push Gateway shows of our own pushes */
	bool is_unusual; /* another text may stand for the same labels */
	uint32_t ends[]; /* of each pair, an empty one where the value is empty; pairs; text */
};

static inline const char *write_series_pairs(const struct write_series *series)
{
	return (const char *)(series->ends + series->shape->count);
}

static inline struct slice write_series_text(const struct write_series *series)
{
	return (struct slice){write_series_pairs(series) + series->pairs_len, series->text_len};
}

/* Where the i-th pair begins. */
static inline uint32_t write_series_begin(const struct write_series *series, uint32_t i)
{
	return i == 0 ? 0 : series->ends[i - 1];
}

struct write_table *write_table_new(void);

/* All references must have been given back. */
void write_table_free(struct write_table *table);

/* The part of a sample's line that names its series. */
static inline struct slice write_line_text(const struct expo_line *line)
{
	return (struct slice){line->whole.ptr, (size_t)(line->value.ptr - line->whole.ptr)};
}

/* The series of a sample's line, with one reference more. `meta`: what was said of its family. */
struct write_series *write_series_take(
	struct write_table *table, const struct expo_line *line, const struct write_meta *meta);
void write_series_put(struct write_table *table, struct write_series *series);

struct write_series *const *write_table_own(const struct write_table *table);
struct write_families *write_table_families(struct write_table *table);
size_t write_table_count(const struct write_table *table);

/* A number that no reading had before; never 0. */
uint32_t write_table_next_round(struct write_table *table);

/* What one of those that hold the series is to be charged with. */
size_t write_series_share(const struct write_series *series);

/* The series of one scrape, in their order. Shared by what was read of scrapes that equal it. */
struct write_list {
	uint32_t refs;
	uint32_t count;
	uint8_t *stamped; /* 1: its sample has a time of its own; NULL: none has */
	struct write_series *items[];
};

/* With one reference; takes over those of the items, and `stamped`. Copies the items. */
struct write_list *write_list_new(
	struct write_series *const *items, uint32_t count, uint8_t *stamped);
struct write_list *write_list_ref(struct write_list *list);
/* NULL is allowed. */
void write_list_unref(struct write_table *table, struct write_list *list);

/* What its target is to be charged with. */
size_t write_list_bytes(const struct write_list *list);

#endif
