/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_SAMPLE_H
#define PS_RECEIVER_SINK_PUSH_SAMPLE_H
/*
 * One sample line against the labels of its group: what of it can be copied as it stands, and what
 * must be written anew because labels collide or the gateway would not read them. Pure.
 */
#include "common/exposition/exposition.h"
#include "receiver/sink/push_path.h"

/* Of one sample that has to be written anew. */
#define PUSH_MAX_SAMPLE_LABELS 1024

struct push_part;

/* Embedded; zero-initialise and set the first members. */
struct push_rewriter {
	const struct push_labels *group;
	bool honor_labels;
	bool utf8_names; /* quoted names stay as they are */
	bool is_exact;   /* labels that begin with __ stay; of the group none does, even empty */
	uint64_t seed;
	struct buf lines; /* lines written anew, each ended by a newline */
	uint64_t labels_renamed, labels_dropped;

	/* The rest is push_sample.c's. */
	struct push_part *parts;
	size_t part_count;
	struct buf names, scratch, metric;
};

struct push_sample {
	bool rewritten;    /* `line` is rewriter->lines from line_at on */
	struct slice line; /* if not rewritten: as it came, without its timestamp */
	size_t line_at, line_len;
	struct slice name; /* of the metric as the gateway reads it; until the next sample */
	bool is_bare;      /* no label but the group's */
	uint64_t hash;     /* of the series within its group */
	/* With honor_labels: what it says for the group's labels, escaped; ptr NULL where nothing.
	 */
	bool is_exposed;
	struct slice exposed[PUSH_MAX_TARGET_LABELS + 3];
};

/* -1 and `err` where the sample has too many labels to be written anew. */
int push_sample_read(struct push_rewriter *rewriter, const struct expo_line *line,
	struct push_sample *sample, struct err *err) MUST_CHECK;

/*
 * Appends the name of a metric or label (without quotes and escapes) as the gateway reads it: with
 * `utf8_names` as it is; else what is not a legacy name as Prometheus escapes it for those who know
 * no others (U__…).
 */
void push_name(struct buf *out, struct slice name, bool is_label, bool utf8_names);

/* Appends a name in quotes if it needs them. */
void push_quote_name(struct buf *out, struct slice name, bool is_label);

void push_rewriter_fini(struct push_rewriter *rewriter);

#endif
