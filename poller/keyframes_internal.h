/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_KEYFRAMES_INTERNAL_H
#define PS_POLLER_KEYFRAMES_INTERNAL_H
/*
 * What the parts of keyframes share: keyframes.c is their life, keyframes_memory.c who may have
 * one, keyframes_due.c when another is needed. Loop thread.
 */
#include "poller/keyframes.h"

#include "common/core/log.h"
#include "common/core/table.h"

enum keyframe_reason {
	KEYFRAME_REASON_NONE,
	KEYFRAME_REASON_FIRST,
	KEYFRAME_REASON_INTERVAL,
	KEYFRAME_REASON_OUTGROWN,
	KEYFRAME_REASON_STREAM,
	KEYFRAME_REASON_REMOVED,
	KEYFRAME_REASON_AGING,
	KEYFRAME_REASON_COUNT,
};

enum keyframe_failure {
	KEYFRAME_FAILURE_REFUSED,
	KEYFRAME_FAILURE_DENIED,
	KEYFRAME_FAILURE_DUPLICATE,
	KEYFRAME_FAILURE_TOO_LARGE,
	KEYFRAME_FAILURE_NO_MEMORY,
	KEYFRAME_FAILURE_COUNT,
};

struct keyframe {
	int64_t time_ms;
	enum encoding encoding;
	struct buf body; /* as published; empty: there is no keyframe */
	struct buf text; /* decoded, or empty */
	size_t text_bytes;
	uint64_t made_ms;
	uint64_t epoch, sequence, first_seq; /* of the stream, when it was acked */
};

struct keyframe_target {
	UT_hash_handle hh; /* by subject */
	char *subject;
	TAILQ_ENTRY(keyframe_target) by_use;
	TAILQ_ENTRY(keyframe_target) with_text;   /* only while acked.text is there */
	TAILQ_ENTRY(keyframe_target) by_deadline; /* only while something waits */
	uint64_t used_ms, retry_ms;
	int64_t scrape_interval_ms;
	struct keyframe acked, pending;
	struct scrape_queue waiting;
	uint64_t deadline_ms;
	unsigned renewals;
	unsigned deltas; /* since the keyframe */
	unsigned poor;   /* keyframes in a row that did not make deltas small */
	bool is_outgrown;
};
TAILQ_HEAD(keyframe_targets, keyframe_target);

struct keyframes {
	const struct settings *settings;
	struct codec *codec;
	struct metrics *metrics;
	struct keyframe_target *entries;
	struct keyframe_targets by_use, with_text, by_deadline;
	uint64_t memory_bytes;
	struct buf scratch; /* a text that found no room */
	bool has_ended;
	uint64_t denied_until_ms;

	/* Of the stream: as acks tell it, and as it tells itself (0: not known). */
	uint64_t epoch;
	char stream[256], domain[64];
	uint64_t last_ack_seq;
	char created[64];
	bool has_told;    /* anything */
	bool is_consumed; /* it keeps no keyframes */
	int64_t max_age_ms;
	uint64_t first_seq, last_seq;
	uint64_t epoch_first_seq; /* the first one told in this epoch */

	struct series *made[KEYFRAME_REASON_COUNT], *failed[KEYFRAME_FAILURE_COUNT];
	struct series *bytes;
	struct log_limit failed_limit, stream_limit;
};

/* -- keyframes_memory.c -- */

/* Memory that one holds. */
size_t keyframe_bytes(const struct keyframe *keyframe);

/* The target of a scrape; NULL if there is none, or no memory for one. */
struct keyframe_target *keyframes_find(const struct keyframes *keys, const struct scrape *scrape);
struct keyframe_target *keyframes_add(struct keyframes *keys, const struct scrape *scrape);
void keyframes_note_use(
	struct keyframes *keys, struct keyframe_target *target, const struct scrape *scrape);

/* Forgets target.acked or target.pending, or all. */
void keyframes_drop_one(
	struct keyframes *keys, struct keyframe_target *target, struct keyframe *keyframe);
void keyframes_drop_target(struct keyframes *keys, struct keyframe_target *target);

/* Whether there is space for a text as it is; whether some was made for a keyframe, without taking
 * another target's. */
bool keyframes_has_space_for_text(const struct keyframes *keys, size_t bytes);
bool keyframes_make_space(struct keyframes *keys, size_t bytes);

/* -- keyframes_due.c -- */

/* How long a keyframe of this target serves. */
int64_t keyframes_interval(const struct keyframes *keys, const struct keyframe_target *target);

bool keyframes_is_usable(const struct keyframes *keys, const struct keyframe_target *target);

/* KEYFRAME_REASON_NONE if none is due. */
enum keyframe_reason keyframes_why_due(
	const struct keyframes *keys, const struct keyframe_target *target);

#endif
