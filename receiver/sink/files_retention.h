/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FILES_RETENTION_H
#define PS_RECEIVER_SINK_FILES_RETENTION_H
/*
 * Passes over the files (files_walk.h), one after the other, on libuv's threads: it knows how much
 * there is and keeps it within age and size. Which targets are alive is its user's to say. Loop
 * thread.
 */
#include "common/core/buf.h"

#include <uv.h>

struct files_retention;

struct files_retention_options {
	uv_loop_t *loop;
	const char *top; /* copied */
	int64_t age_ms;  /* 0: no limit */
	uint64_t bytes;  /* 0: no limit */
	/* Whether the target whose folder this is may come again: its latest file stays. */
	bool (*is_alive)(void *arg, const char *folder);
	/* So many files went; `reason` is "age", "size" or "temporary". */
	void (*on_deleted)(void *arg, const char *reason, uint64_t files);
	void *arg;
};

struct files_retention *files_retention_open(const struct files_retention_options *options);
void files_retention_set_limits(struct files_retention *retention, int64_t age_ms, uint64_t bytes);

/* A file of so many bytes was stored. */
void files_retention_note(struct files_retention *retention, uint64_t bytes);

/* What there is, in whole blocks; exact after each pass. */
uint64_t files_retention_held_bytes(const struct files_retention *retention);

/* Waits for the step under way, frees; then on_closed, never from inside. */
void files_retention_close(
	struct files_retention *retention, void (*on_closed)(void *arg), void *arg);

#endif
