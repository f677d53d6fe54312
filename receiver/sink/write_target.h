/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_TARGET_H
#define PS_RECEIVER_SINK_WRITE_TARGET_H
/*
 * What remote write knows of a target: the series of its last scrape, so that those that go away
 * can be marked as stale; and how a frame becomes a batch of samples. Loop thread.
 */
#include "common/core/log.h"
#include "receiver/frame.h"
#include "receiver/sink/sink.h"
#include "receiver/sink/write_batch.h"

struct write_shard;
struct write_publisher;

struct write_target {
	TAILQ_ENTRY(write_target) of_maker;
	struct ordered_target *target; /* NULL once it is forgotten, while batches are under way */
	struct write_labels *labels;
	struct write_list *former; /* NULL: the last scrape has shown nothing */
	bool former_honors;        /* labels, as its series were written */
	bool is_shown;             /* samples were sent and not ended by markers */
	int64_t last_ms;           /* of the last batch */
	uint64_t learned_ms;       /* when HELP and TYPE were last read, monotonic; 0: never */
	struct write_shard *shard; /* of its batches under way */
	size_t batches;            /* under way */
	struct write_publisher *publisher; /* to which it is charged; NULL: not yet */
	size_t held_bytes;
	struct log_limit malformed;
};

/* What all targets of a sink share. Embedded; zero-initialise, set the first members, and init. */
struct write_maker {
	const char *sink;
	const struct sink_context *context; /* until the settings change */
	const struct remote_write_settings *settings;
	struct write_table *table;
	struct series *parse_errors, *rewrite_seconds;

	TAILQ_HEAD(, write_target) targets;
	struct write_planner planner;
	struct write_publisher *publishers;
	struct buf decoded;
	struct log_limit undecodable, loop, over_bytes;
};

void write_maker_init(struct write_maker *maker);

struct write_target *write_target_new(struct write_maker *maker, struct ordered_target *target);

/* Its batches must have gone, or be about to go unsent. */
void write_target_free(struct write_maker *maker, struct write_target *state);

/* The samples of a frame of the target; it stays the caller's. */
struct write_batch *write_target_read(
	struct write_maker *maker, struct write_target *state, struct frame *frame);

/* Markers for all that is shown of it, NULL if there is nothing. */
struct write_batch *write_target_end(struct write_target *state, int64_t now_ms);

/* Frees its targets, too. */
void write_maker_fini(struct write_maker *maker);

#endif
