/* SPDX-License-Identifier: Apache-2.0 */
/* A table by path, made anew by each survey and shrinking as targets speak. */
#include "receiver/sink/push_marks.h"

#include "common/core/mem.h"

struct push_marks {
	struct push_types *types;
	struct push_mark *by_path;
};

struct push_marks *push_marks_new(struct push_types *types)
{
	struct push_marks *marks = xcalloc(1, sizeof(*marks));

	marks->types = types;
	return marks;
}

static void remove_mark(struct push_marks *marks, struct push_mark *mark)
{
	HASH_DELETE(by_path, marks->by_path, mark);
	push_types_release(&mark->types);
	free(mark);
}

void push_marks_free(struct push_marks *marks)
{
	struct push_mark *mark, *next;

	HASH_ITER (by_path, marks->by_path, mark, next)
		remove_mark(marks, mark);
	free(marks);
}

static struct push_mark *find(const struct push_marks *marks, const char *path)
{
	struct push_mark *mark;

	HASH_FIND(by_path, marks->by_path, path, strlen(path), mark);
	return mark;
}

static struct push_mark *set_mark(
	struct push_marks *marks, const char *path, int64_t time_ms, bool is_foreign)
{
	struct push_mark *mark = find(marks, path);
	size_t len = strlen(path);

	if (mark == NULL) {
		mark = xcalloc(1, sizeof(*mark) + len + 1);
		memcpy(mark->path, path, len);
		HASH_ADD(by_path, marks->by_path, path, len, mark);
	}
	mark->time_ms = time_ms;
	mark->is_foreign = is_foreign;
	mark->was_seen = true;
	return mark;
}

/* A type that contradicts one held already is one that is about to go. */
static void hold_types(struct push_marks *marks, struct push_mark *mark,
	const struct push_survey *survey, const struct push_survey_group *group)
{
	push_types_begin(marks->types, &mark->types);
	for (size_t i = 0; i < group->family_count; i++) {
		const struct push_survey_family *family = &survey->families[group->families[i]];

		(void)!push_types_claim(&mark->types, slice_from(family->name), family->type);
	}
	push_types_settle(&mark->types);
}

static void set_groups(struct push_marks *marks, const struct push_survey *survey,
	bool publisher_label, const struct push_claims *claims, bool is_foreign)
{
	const struct push_survey_group *groups =
		is_foreign ? survey->foreign_groups : survey->groups;
	size_t count = is_foreign ? survey->foreign_group_count : survey->group_count;
	struct buf path = {0};

	for (size_t i = 0; i < count; i++) {
		const struct push_claim *claim;
		struct push_mark *mark;

		buf_clear(&path);
		push_survey_path(&path, &groups[i], publisher_label);
		claim = push_claims_find(claims, buf_cstr(&path));
		if (claim != NULL && claim->is_pushed)
			continue;
		mark = set_mark(marks, buf_cstr(&path), groups[i].time_ms, is_foreign);
		if (claim == NULL && !is_foreign)
			hold_types(marks, mark, survey, &groups[i]);
	}
	buf_free(&path);
}

void push_marks_survey(struct push_marks *marks, const struct push_survey *survey,
	bool publisher_label, const struct push_claims *claims)
{
	struct push_mark *mark, *next;

	HASH_ITER (by_path, marks->by_path, mark, next)
		mark->was_seen = false;
	set_groups(marks, survey, publisher_label, claims, true);
	set_groups(marks, survey, publisher_label, claims, false);
	HASH_ITER (by_path, marks->by_path, mark, next) {
		if (!mark->was_seen && !mark->is_going)
			remove_mark(marks, mark);
	}
}

enum push_mark_verdict push_marks_judge(
	const struct push_marks *marks, const char *path, int64_t time_ms, int64_t slack_ms)
{
	const struct push_mark *mark = find(marks, path);

	if (mark == NULL)
		return PUSH_MARK_NONE;
	if (mark->is_going)
		return PUSH_MARK_GOING;
	if (mark->is_foreign)
		return PUSH_MARK_FOREIGN;
	if (time_ms == mark->time_ms)
		return PUSH_MARK_SAME;
	if (time_ms > mark->time_ms)
		return PUSH_MARK_EARLIER;
	return mark->time_ms - time_ms <= slack_ms ? PUSH_MARK_LATER : PUSH_MARK_RESET;
}

void push_marks_hand_over(struct push_marks *marks, struct push_claim *claim)
{
	struct push_mark *mark = find(marks, claim->path);

	if (mark == NULL || mark->types.count == 0)
		return;
	push_types_release(&claim->types);
	claim->types = mark->types;
	mark->types = (struct push_type_holder){0};
}

void push_marks_forget(struct push_marks *marks, const char *path)
{
	struct push_mark *mark = find(marks, path);

	if (mark != NULL && !mark->is_going)
		remove_mark(marks, mark);
}

struct push_mark *push_marks_orphan(
	struct push_marks *marks, const struct push_claims *claims, int64_t older_than_ms)
{
	struct push_mark *mark, *next;

	HASH_ITER (by_path, marks->by_path, mark, next) {
		if (!mark->is_foreign && !mark->is_going && !mark->is_refused &&
			mark->time_ms < older_than_ms &&
			push_claims_find(claims, mark->path) == NULL)
			return mark;
	}
	return NULL;
}

void push_marks_gone(struct push_marks *marks, struct push_mark *mark)
{
	remove_mark(marks, mark);
}

const struct push_mark *push_marks_find_holder(
	const struct push_marks *marks, struct slice family, const struct push_type_holder *except)
{
	const struct push_mark *mark;

	for (mark = marks->by_path; mark != NULL; mark = mark->by_path.next)
		if (&mark->types != except && push_types_holds(&mark->types, family))
			return mark;
	return NULL;
}

size_t push_marks_count(const struct push_marks *marks)
{
	return HASH_CNT(by_path, marks->by_path);
}
