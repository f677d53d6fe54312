/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_VICTORIA_BODY_H
#define PS_RECEIVER_SINK_VICTORIA_BODY_H
/*
 * A scrape as lines that say everything by themselves, so that those of many targets make one
 * request: the target's labels in each sample, colliding ones renamed (exported_…) or honoured, and
 * a timestamp behind it, the sample's own or the scrape's; then up, scrape_duration_seconds and
 * scrape_samples_scraped. No HELP and TYPE, which the far side does not keep. Pure.
 */
#include "common/core/buf.h"
#include "common/core/err.h"
#include "receiver/sink/push_path.h"

struct victoria_scrape {
	const struct push_labels *labels; /* the target's */
	int64_t time_ms;
	double duration_s;
	bool honor_labels;
	bool ignores_timestamps; /* of the samples */
	size_t max_bytes;        /* that it may become: each line gets the target's labels */
};

/* What was made of it; added up. */
struct victoria_tally {
	uint64_t samples; /* appended, ours among them */
	uint64_t labels_renamed, labels_dropped, displaced;
};

/* Appends a scrape that succeeded; -1 and nothing appended where it is malformed or
 * becomes too large. */
int victoria_body_up(struct buf *out, const struct victoria_scrape *scrape, struct slice exposition,
	struct victoria_tally *tally, struct err *err) MUST_CHECK;

/* Appends up 0 and its companions. */
void victoria_body_down(
	struct buf *out, const struct victoria_scrape *scrape, struct victoria_tally *tally);

#endif
