/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_TARGET_H
#define PS_POLLER_TARGET_H
/*
 * The targets as the settings describe them, with everything that a scrape needs resolved once:
 * subject, schedule, request headers, metric series. A list never changes: after a reload another
 * one takes its place, and it lives on as long as any scrape of it. Loop thread.
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

struct target_list;

struct target {
	struct target_list *list; /* it belongs to; NULL: to none that is counted */
	const struct target_job *job;
	const struct target_settings *settings;
	struct buf subject;
	struct schedule schedule;
};

struct target_list {
	size_t refs; /* beyond the first */
	/* When the last reference is given up; may be NULL where none is given up beyond those
	 * taken. */
	void (*release)(struct target_list *list);
	struct target_job *jobs;
	size_t job_count;
	struct target *targets;
	size_t target_count;
};

/*
 * All jobs of the settings and, if not NULL, the poller's own; both are kept by reference. -1 and
 * `err` if a target cannot be published: a name that does not fit a subject, labels that do not fit
 * a header, two targets of one identity. Needs fini only on success. Without `metrics` there
 * are no series until target_list_show.
 */
int target_list_init(struct target_list *list, const struct settings *settings,
	const struct job_settings *own, struct metrics *metrics, struct err *err) MUST_CHECK;
void target_list_fini(struct target_list *list);

/* Finds the jobs' series in the metrics, and takes away those of jobs that only `previous` (may be
 * NULL) has, whose targets are not scraped any more. */
void target_list_show(
	struct target_list *list, const struct target_list *previous, struct metrics *metrics);

/* References; NULL is allowed. */
void target_list_ref(struct target_list *list);
void target_list_unref(struct target_list *list);

/* Whether scrapes of both are made alike, at the same times; they are of one subject. */
bool target_is_same(const struct target *a, const struct target *b);

/* Appends the seconds without trailing zeros: "10", "0.5". */
void target_format_seconds(int64_t ms, struct buf *out);

#endif
