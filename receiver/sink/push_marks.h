/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_MARKS_H
#define PS_RECEIVER_SINK_PUSH_MARKS_H
/*
 * What the gateway held when it was last surveyed and this process has not pushed to since: groups
 * with a mark, of a receiver before us, and groups of others, which are left alone. It says what
 * may be pushed there, and which groups nobody claims; what those expose keeps its type until their
 * targets speak. Loop thread; knows no gateway.
 */
#include "receiver/sink/push_claims.h"
#include "receiver/sink/push_survey.h"

enum push_mark_verdict {
	PUSH_MARK_NONE,    /* nothing is there */
	PUSH_MARK_EARLIER, /* than what is to be pushed */
	PUSH_MARK_SAME,
	PUSH_MARK_LATER,
	PUSH_MARK_RESET,   /* later by more than can be */
	PUSH_MARK_FOREIGN, /* somebody else's group */
	PUSH_MARK_GOING,   /* its deletion is under way */
};

struct push_mark {
	int64_t time_ms;
	bool is_foreign;
	bool is_going;   /* the user's: its deletion is under way */
	bool is_refused; /* the user's: it cannot be deleted */
	bool was_seen;
	struct push_type_holder types; /* of what the group exposes while nobody claims it */
	UT_hash_handle by_path;
	char path[];
};

struct push_marks;

/* `types` outlives it. */
struct push_marks *push_marks_new(struct push_types *types);
void push_marks_free(struct push_marks *marks);

/*
 * Takes what a survey found in place of what was found before, except at the paths that this
 * process has pushed to since they were claimed.
 */
void push_marks_survey(struct push_marks *marks, const struct push_survey *survey,
	bool publisher_label, const struct push_claims *claims);

/* What stands in the way of a scrape of this time; a step back above `slack_ms` is a clock reset.
 */
enum push_mark_verdict push_marks_judge(
	const struct push_marks *marks, const char *path, int64_t time_ms, int64_t slack_ms);

/* A claim was taken on the path: it holds now what the group exposes. */
void push_marks_hand_over(struct push_marks *marks, struct push_claim *claim);

/* From now on the order of the stream decides what may be pushed there. */
void push_marks_forget(struct push_marks *marks, const char *path);

/*
 * A group that nobody claims, with a mark before `older_than_ms`: a receiver that serves others at
 * the same gateway keeps its marks new. Neither going nor refused; NULL if there is none.
 */
struct push_mark *push_marks_orphan(
	struct push_marks *marks, const struct push_claims *claims, int64_t older_than_ms);

/* The group is no more. */
void push_marks_gone(struct push_marks *marks, struct push_mark *mark);

/* A group other than that of `except` with a mark that holds the family; NULL if none does. */
const struct push_mark *push_marks_find_holder(
	const struct push_marks *marks, struct slice family, const struct push_type_holder *except);

size_t push_marks_count(const struct push_marks *marks);

#endif
