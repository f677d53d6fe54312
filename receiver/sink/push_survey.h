/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_SURVEY_H
#define PS_RECEIVER_SINK_PUSH_SURVEY_H
/*
 * What a Push Gateway holds, read out of its /metrics: the groups that carry our mark, and the type
 * of every family, with who exposes it: which of those groups, and whether anything else does (the
 * gateway itself, other pushers). Pure.
 */
#include "common/core/err.h"
#include "common/core/labels.h"
#include "common/exposition/exposition.h"

/* A group with a mark: some receiver's, before this one perhaps. */
struct push_survey_group {
	struct labels labels; /* of the mark: those of the group; values may be empty */
	int64_t time_ms;      /* what the mark says; 0 where it says nonsense */
	uint32_t *families;   /* numbers of those it exposes, in their order */
	size_t family_count;
};

struct push_survey_family {
	char *name;
	enum expo_type type;
	bool is_foreign; /* not only groups with a mark expose it */
};

struct push_survey {
	struct push_survey_group *groups;
	size_t group_count, group_capacity;
	/* Without a mark, but pushed to with success: somebody else's. Labels only. */
	struct push_survey_group *foreign_groups;
	size_t foreign_group_count, foreign_group_capacity;
	struct push_survey_family *families; /* in the order of the exposition */
	size_t family_count, family_capacity;
};

/* -1 and `err` where it cannot be read. Fini whatever is returned. */
int push_survey_parse(
	struct push_survey *survey, struct slice exposition, struct err *err) MUST_CHECK;

/* Appends the path that a sink with this setting of publisher_label gives to the group. */
void push_survey_path(struct buf *out, const struct push_survey_group *group, bool publisher_label);

void push_survey_fini(struct push_survey *survey);

#endif
