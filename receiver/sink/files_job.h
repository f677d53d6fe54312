/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FILES_JOB_H
#define PS_RECEIVER_SINK_FILES_JOB_H
/*
 * One file to be written by another thread: filled on the loop with copies of all that it takes,
 * worked off on the other thread, looked at on the loop again.
 */
#include "common/wire/codec.h"
#include "receiver/frame.h"
#include "receiver/sink/files_body.h"
#include "receiver/sink/files_store.h"

#include <uv.h>

/* Reused, for its memory; files_job_init once, files_job_set for each file. */
struct files_job {
	uv_work_t work;
	void *owner;
	struct codec *codec;

	/* What it takes. */
	const char *top;                   /* borrowed: stays until the work is done */
	const struct files_folder *folder; /* likewise */
	struct files_scrape scrape;
	struct buf title, exposition;
	bool is_up, is_compressed;
	char *error; /* where not up */
	uint64_t begun_us;

	/* What became of it. */
	struct buf content, compressed;
	struct err malformed; /* "" where it is not */
	struct files_error result;
	uint64_t bytes;
};

void files_job_init(struct files_job *job);
void files_job_fini(struct files_job *job);

/* Everything of the frame that is needed; the exposition, decoded, or the error are the caller's to
 * set. */
void files_job_set(struct files_job *job, const struct frame *frame);

/* On another thread: makes the file and stores it. */
void files_job_run(struct files_job *job);

#endif
