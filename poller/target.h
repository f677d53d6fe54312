/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_TARGET_H
#define PS_POLLER_TARGET_H
/*
 * The targets as the settings describe them, with everything that a scrape needs resolved once:
 * subject, schedule, request headers, metric series. Made at the start, unchanged until the end.
 * Loop thread.
 */
#include "common/config/settings.h"
#include "common/core/metrics.h"
#include "poller/schedule.h"
#include "poller/scrape.h"

struct target_job {
	const struct job_settings *settings;
	char *timeout_header;
	const char *headers[4];  /* of a request, ended by NULL */
	size_t body_limit_bytes; /* over the wire */
	struct series *outcomes[SCRAPE_OUTCOME_COUNT];
	struct series *poll_seconds;
	struct series *polled_bytes;
};

struct target {
	const struct target_job *job;
	const struct target_settings *settings;
	struct buf subject;
	struct schedule schedule;
};

struct target_list {
	struct target_job *jobs;
	size_t job_count;
	struct target *targets;
	size_t target_count;
};

/*
 * All jobs of the settings and, if not NULL, the poller's own; both are kept by reference. -1 and
 * `err` if a target cannot be published: a name that does not fit a subject, labels that do not fit
 * a header, two targets of one identity. Needs fini only on success.
 */
int target_list_init(struct target_list *list, const struct settings *settings,
	const struct job_settings *own, struct metrics *metrics, struct err *err) MUST_CHECK;
void target_list_fini(struct target_list *list);

/* Appends the seconds without trailing zeros: "10", "0.5". */
void target_format_seconds(int64_t ms, struct buf *out);

#endif
