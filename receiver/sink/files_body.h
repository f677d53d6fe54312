/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FILES_BODY_H
#define PS_RECEIVER_SINK_FILES_BODY_H
/*
 * A scrape as a file of the text format: what the target exposed, as it exposed it, with the time
 * of the scrape behind each sample that has none of its own; then up, scrape_duration_seconds and
 * scrape_samples_scraped. The target's labels are not put into the samples: the file says what the
 * target said, so that no label collides and two files differ in what changed; a comment in its
 * first line names the target. Pure; any thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"
#include "common/core/labels.h"

struct files_scrape {
	struct slice title; /* files_body_title of its target */
	int64_t time_ms;
	double duration_s;
	bool ignores_timestamps; /* of the samples */
};

/* Appends the comment that names the target. */
void files_body_title(struct buf *out, struct slice publisher, struct slice job,
	struct slice instance, const struct labels *labels);

/* Appends the file of a scrape that succeeded; -1 and nothing appended where it is malformed. */
int files_body_up(struct buf *out, const struct files_scrape *scrape, struct slice exposition,
	struct err *err) MUST_CHECK;

/* Appends the file of one that failed, or cannot be read: up 0, and the reason as a comment. */
void files_body_down(struct buf *out, const struct files_scrape *scrape, const char *error);

#endif
