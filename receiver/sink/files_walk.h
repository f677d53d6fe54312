/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FILES_WALK_H
#define PS_RECEIVER_SINK_FILES_WALK_H
/*
 * One pass over all files of a folder that files_store.h fills: deletes what is too old or too
 * much, empty folders with it, and adds up what stays, by age. It goes in steps, each of which
 * looks at a bounded number of entries and blocks: for threads other than the loop's. What is not
 * ours by its name is left alone, and no symbolic link is followed.
 *
 * A file's age counts from when it was written, by the clock of this machine.
 */
#include "receiver/sink/files_store.h"

#define FILES_AGES 4096

/* How much there is of each age; the last place is all that is older. */
struct files_ages {
	int64_t from_ms;  /* wall clock; 0: not known yet */
	int64_t width_ms; /* of one place */
	uint64_t bytes[FILES_AGES];
	int64_t oldest_ms; /* written first of all; 0: there is none */
};

/* Files written before such a time go. */
struct files_cut {
	int64_t age_before_ms;  /* for their age; 0: none */
	int64_t size_before_ms; /* to make room; 0: none */
	/* Of those written before this, though not before the other, as many as it takes. */
	int64_t size_upto_ms;
	uint64_t excess_bytes; /* to be gained by the last two */
};

/* What of it has to go so that `excess_bytes` are gained, oldest first; false if all of it would
 * not do. */
bool files_cut_for_size(
	struct files_cut *cut, const struct files_ages *ages, uint64_t excess_bytes);

struct files_walk;

struct files_tally {
	uint64_t deleted_age, deleted_size, deleted_temporary;
	uint64_t freed_bytes;
	uint64_t kept_bytes; /* of files written before the pass began */
	bool failed;         /* a folder could not be read, or a file not be deleted */
};

/* `now_ms` is the wall clock; what is there is counted into `ages`, which stays the caller's. */
struct files_walk *files_walk_new(
	const char *top, int64_t now_ms, const struct files_cut *cut, struct files_ages *ages);

enum files_step {
	FILES_STEP_ON,     /* there is more to do */
	FILES_STEP_FOLDER, /* a target's folder comes next: say whether the target is alive */
	FILES_STEP_END,
};
enum files_step files_walk_step(struct files_walk *walk);

/* The folder's names, joined by slashes, below the top. */
const char *files_walk_folder(const struct files_walk *walk);

/* The file behind its "latest" stays while the target is alive. */
void files_walk_answer(struct files_walk *walk, bool is_alive);

const struct files_tally *files_walk_tally(const struct files_walk *walk);
void files_walk_free(struct files_walk *walk);

#endif
