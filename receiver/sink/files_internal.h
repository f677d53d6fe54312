/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FILES_INTERNAL_H
#define PS_RECEIVER_SINK_FILES_INTERNAL_H
/*
 * What the parts of the sink share: files.c is the sink, files_queue.c which target's turn it is,
 * files_write.c the jobs on other threads, files_commit.c the sync after which a scrape counts as
 * taken. Loop thread.
 */
#include "common/core/backoff.h"
#include "common/core/log.h"
#include "common/core/readiness.h"
#include "common/core/table.h"
#include "receiver/sink/files.h"
#include "receiver/sink/files_job.h"
#include "receiver/sink/files_retention.h"

#define FILES_MAX_JOBS (FILES_MAX_THREADS - 2)

/* A frame taken. */
struct item {
	struct frame *frame;
	struct files_state *state;
	TAILQ_ENTRY(item) next;
};
TAILQ_HEAD(items, item);

/* One target's. */
struct files_state {
	struct ordered_target *target; /* NULL: forgotten, as we close, while its job runs */
	struct files_folder folder;
	char *path; /* the folder's names with slashes */
	struct items pending;
	size_t pending_count;
	bool is_busy;           /* its job runs */
	uint64_t not_before_ms; /* 0: it need not wait */
	struct backoff backoff;
	struct states *queue; /* that it is in, or NULL */
	TAILQ_ENTRY(files_state) in_queue;
	UT_hash_handle by_path;
};
TAILQ_HEAD(states, files_state);

struct slot {
	struct files_job job;
	struct item *item; /* NULL: free */
};

struct files {
	struct sink base;
	struct sink_context context;
	const struct files_settings *settings;
	char *top;
	struct files_state *by_path;
	struct states ready, waiting; /* those with pending frames that are not busy */
	struct slot slots[FILES_MAX_JOBS];
	struct items written, syncing;
	/* Of those that need not wait: they do not keep others from being taken. */
	size_t pending_count;
	size_t job_count, unsynced_count;
	uv_work_t sync;
	struct files_error sync_result;
	uint64_t sync_begun_ms, sync_not_before_ms;
	uv_timer_t sync_timer, retry_timer;
	bool is_syncing, is_stopping, is_closing;
	struct readiness readiness;
	struct files_retention *retention;
	int64_t trusted_since_ms;
	struct log_limit failed, refused, malformed, undecodable;
	struct series *files_written, *bytes_written, *seconds, *parse_errors;
	size_t closing_parts;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* files_queue.c */

/* NULL where its names cannot be folders', which no subject has. */
struct files_state *files_state_of(struct files *files, const struct frame *frame);
void files_free_state(struct files_state *state);
void files_free_items(struct items *items);

/* Where it has to be, by what it has and what it waits for; or in no queue. */
void files_enqueue(struct files *files, struct files_state *state);
void files_leave_queue(struct files *files, struct files_state *state);

/* Of its target the last, or the first: back to where it was, before those that came later. */
void files_append(struct files *files, struct item *item);
void files_give_back(struct files *files, struct item *item);

/* The first of those that need not wait; NULL if there is none. */
struct item *files_take_first(struct files *files);

void files_wait_a_while(struct files *files, struct files_state *state);

/* Those that have waited long enough need not any more. */
void files_end_waits(struct files *files);

/* files.c */
void files_end(struct files *files, struct item *item, enum ordered_outcome outcome);
void files_count_failure(struct files *files, const struct files_error *error);
void files_lose(struct files *files, const struct files_error *error, const char *path);
void files_gain(struct files *files);

/* One of what has to end before it is closed did; the sink is freed with the last. */
void files_part_closed(struct files *files);

/* files_write.c */

/* Begins what can be begun. */
void files_pump(struct files *files);

/* files_commit.c */

/* In a while, that many files share it; at once where a stop waits for it. */
void files_start_sync(struct files *files);

#endif
