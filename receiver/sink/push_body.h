/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_BODY_H
#define PS_RECEIVER_SINK_PUSH_BODY_H
/*
 * Turns a target's exposition into what a Push Gateway takes: one body per group, without
 * timestamps, colliding labels renamed (exported_…) or honoured (a group of its own per combination
 * of job, instance and the target's other labels exposed), HELP and TYPE where the gateway wants
 * them, and the target's own `up`, `scrape_duration_seconds`, `scrape_samples_scraped` and the mark
 * `prometheus_streams_scrape_timestamp_seconds` added. Pure: bytes in, bytes out.
 */
#include "common/core/buf.h"
#include "common/core/err.h"
#include "common/core/labels.h"
#include "receiver/sink/push_types.h"

#define PUSH_MARK "prometheus_streams_scrape_timestamp_seconds"

/* More groups, or a longer path of one, are refused: no honest target exposes that. */
#define PUSH_MAX_GROUPS     10000
#define PUSH_MAX_PATH_BYTES 65536
/* Of all paths together; the target's own labels are in each. */
#define PUSH_MAX_PATHS_BYTES (16 << 20)
/* HELP is repeated in each group as long as that makes no more than this of it, and then left out:
 * one long text and thousands of groups are few bytes to expose and many to push. */
#define PUSH_MAX_HELP_BYTES (16 << 20)

struct push_target {
	struct slice job, instance, publisher; /* publisher empty: not part of the group */
	const struct labels *labels;           /* the target's others */
	int64_t time_ms;
	double duration_s;
	bool up;
	bool honor_labels;
	bool allow_loop;
	bool utf8_names; /* the gateway takes quoted names */
};

/* Asked before anything of a group is written. */
struct push_gate {
	struct push_types *types;
	/* Who is to hold the group's families; NULL: it is another's and its body stays empty. */
	struct push_type_holder *(*open)(void *arg, const char *path, size_t group);
	void *arg;
};

struct push_group {
	struct buf path; /* push_path of it */
	struct buf body;
	struct push_type_holder *holder; /* as the gate said; NULL without a gate */
};

struct push_body {
	struct push_group *groups; /* the target's own is the first */
	size_t count, capacity;
	uint64_t samples;             /* parsed */
	uint64_t timestamps_stripped; /* samples that carried one */
	uint64_t labels_renamed;
	uint64_t labels_dropped;      /* their names begin with __, which the gateway keeps */
	uint64_t samples_repeated;    /* of a series that came again later: the last was kept */
	uint64_t samples_displaced;   /* of a series that we add ourselves */
	uint64_t samples_of_gateway;  /* of families that the gateway sets in each group */
	uint64_t samples_conflicting; /* of families that others hold with another type */
	uint64_t families_untyped;    /* histograms and summaries that the gateway would not read */
	uint64_t families_retyped; /* untyped ones that have the type now that others gave them */
	/* One of the families left out, the one in its way, and who was not to have it. */
	struct buf conflict, rival;
	const struct push_type_holder *refused;
};

enum push_verdict {
	PUSH_OK,
	PUSH_MALFORMED, /* `err`: where and why; nothing was built */
	PUSH_LOOP,      /* it carries our own mark: a gateway was scraped */
};

/*
 * Builds all groups of a scrape that succeeded; without a gate (NULL) nothing is known of others'
 * types. Fini with push_body_fini whatever is returned.
 */
enum push_verdict push_body_build(struct push_body *body, struct slice exposition,
	const struct push_target *target, const struct push_gate *gate, struct err *err);

/* The target's own group with `up 0` (target->up is ignored) and its companions only. */
void push_body_minimal(struct push_body *body, const struct push_target *target);

/* Replaces `body` by what a refused group is left with: the mark, and `up 0` if `is_own`. */
void push_body_remains(struct buf *body, const struct push_target *target, bool is_own);

void push_body_fini(struct push_body *body);

#endif
