/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FEDERATE_BODY_H
#define PS_RECEIVER_SINK_FEDERATE_BODY_H
/*
 * From a target's exposition to the block that is held of it: labels that collide are renamed
 * (exported_…) or honoured once and for all, samples are put to their families, and the series that
 * Prometheus adds to each scrape are added. Pure; loop thread.
 */
#include "receiver/sink/federate_block.h"
#include "receiver/sink/push_index.h"
#include "receiver/sink/push_sample.h"

struct federate_target {
	struct push_labels labels; /* what all of its series get */
	int64_t time_ms;
	double duration_s;
	bool honor_labels;
	bool ignore_timestamps;
	uint64_t shard;
	const void *owner; /* who it is, for HELP */
	/* What is held of it until now, or NULL: says no more of families once another is made. */
	const struct block *former;
};

/* The series of a scrape, by which the next one tells what is new: hashes in the order they came.
 */
struct federate_series {
	uint64_t *hashes;
	size_t count;
	bool has_repeats;
};

/* What did not come as it was exposed. */
struct federate_repairs {
	uint64_t labels_renamed;
	uint64_t samples_repeated;  /* of a series that the scrape had already: the first stays */
	uint64_t samples_displaced; /* of a series that is added ourselves */
};

/* What is used again from one body to the next; zero-initialise. */
struct federate_builder {
	struct push_rewriter rewriter;
	struct push_index families_by_name, seen;
	struct buf names, opens, text, scratch;
	struct federate_item *items;
	struct federate_family *families;
	struct federate_open *openings;
	uint64_t *hashes;
	size_t item_count, item_capacity;
	size_t family_count, family_capacity;
	size_t opening_count, opening_capacity;
	size_t hash_count, hash_capacity;
};

/*
 * The block of a scrape that succeeded; NULL and `err` if it is malformed. `series` holds those of
 * the scrape before and then those of this one.
 */
struct block *federate_body_build(struct federate_builder *builder, struct slice exposition,
	const struct federate_target *target, struct families *families,
	struct federate_series *series, struct federate_repairs *repairs,
	struct err *err) MUST_CHECK;

/* `up 0` and nothing else. */
struct block *federate_body_down(struct federate_builder *builder,
	const struct federate_target *target, struct families *families);

void federate_series_fini(struct federate_series *series);
void federate_builder_fini(struct federate_builder *builder);

#endif
