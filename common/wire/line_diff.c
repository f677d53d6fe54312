/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two cursors. While the bytes under them are the same, both go on: that is a match. Where they
 * differ within a value, the rest of both lines is skipped. Where they differ within a name, lines
 * were added or have gone: the line's name is looked for among the next ones of the earlier text,
 * and what lies between has gone; a name that is not there is that of a line that was added.
 */
#include "common/wire/line_diff.h"

#include <stdint.h>

/* Lines of the earlier text that may have gone between two that stay. */
#define LOOK_AHEAD_LINES 64
/* Looking ahead and back may read the earlier text so many times over, all in all. */
#define LOOK_TIMES      4
#define LOOK_FREE_BYTES 4096
/* Of the later text, one byte in so many may stand in lines that are new; more is not our case. */
#define NEW_SHARE      16
#define NEW_FREE_BYTES 512

struct walk {
	struct line_diff *diff;
	const char *earlier, *earlier_end, *from;
	const char *later, *later_end, *at;
	size_t look_bytes; /* that may still be read apart from the walk */
	size_t new_bytes;  /* that may still be new */
};

/* How many bytes are the same, at most `len`. */
static size_t same_bytes(const char *a, const char *b, size_t len)
{
	size_t n = 0;

	for (; n + sizeof(uint64_t) <= len; n += sizeof(uint64_t)) {
		uint64_t left, right;

		memcpy(&left, a + n, sizeof(left));
		memcpy(&right, b + n, sizeof(right));
		if (left != right)
			break;
	}
	while (n < len && a[n] == b[n])
		n++;
	return n;
}

static void add_match(struct walk *walk, size_t len)
{
	struct line_diff *diff = walk->diff;

	if (diff->count == diff->capacity) {
		diff->capacity = diff->capacity == 0 ? 256 : 2 * diff->capacity;
		diff->matches =
			xreallocarray(diff->matches, diff->capacity, sizeof(*diff->matches));
	}
	diff->matches[diff->count++] = (struct line_match){
		(size_t)(walk->at - walk->later), (size_t)(walk->from - walk->earlier), len};
}

static void take_same(struct walk *walk)
{
	size_t left = (size_t)(walk->later_end - walk->at);
	size_t there = (size_t)(walk->earlier_end - walk->from);
	size_t len = same_bytes(walk->at, walk->from, left < there ? left : there);

	if (len >= LINE_MATCH_MIN_BYTES)
		add_match(walk, len);
	walk->at += len;
	walk->from += len;
}

/* The line's end, its line feed being there or not. */
static const char *line_end(const char *at, const char *end)
{
	const char *feed = memchr(at, '\n', (size_t)(end - at));

	return feed == NULL ? end : feed;
}

static const char *line_start(const char *at, const char *start)
{
	const char *feed = memrchr(start, '\n', (size_t)(at - start));

	return feed == NULL ? start : feed + 1;
}

/* Behind name and labels: after a space with no quote behind it. Comments are all name. */
static bool is_in_value(const char *start, const char *at)
{
	const char *space = memrchr(start, ' ', (size_t)(at - start));

	return *start != '#' && space != NULL && memchr(space, '"', (size_t)(at - space)) == NULL;
}

/* Reading the earlier text apart from the walk is paid for, so that no text makes it take long. */
static bool pay(struct walk *walk, size_t bytes)
{
	if (bytes > walk->look_bytes)
		return false;
	walk->look_bytes -= bytes;
	return true;
}

/* Where the earlier text's line begins in which the cursor is; NULL if that is too far back. */
static const char *earlier_line(struct walk *walk)
{
	const char *line = line_start(walk->from, walk->earlier);

	return pay(walk, (size_t)(walk->from - line)) ? line : NULL;
}

/* Of this line and the next ones of the earlier text the one with that name; NULL without. */
static const char *look_ahead(struct walk *walk, const char *line, struct slice name)
{
	for (int i = 0; i < LOOK_AHEAD_LINES && line < walk->earlier_end; i++) {
		size_t left = (size_t)(walk->earlier_end - line);
		size_t paid_for = left < walk->look_bytes ? left : walk->look_bytes;
		const char *feed;

		if (left >= name.len && memcmp(line, name.ptr, name.len) == 0)
			return line;
		feed = memchr(line, '\n', paid_for);
		walk->look_bytes -= feed == NULL ? paid_for : (size_t)(feed + 1 - line);
		if (feed == NULL)
			return NULL;
		line = feed + 1;
	}
	return NULL;
}

/* So much more of the later text is new: false if that is too much. */
static bool pass_new(struct walk *walk, size_t len)
{
	walk->at += len;
	if (len > walk->new_bytes)
		return false;
	walk->new_bytes -= len;
	return true;
}

/* The name of the line differs from the one beside it. */
static bool pass_name(struct walk *walk, const char *start, const char *end)
{
	const char *space = memrchr(start, ' ', (size_t)(end - start));
	struct slice name = {start, (size_t)((space == NULL ? end : space) - start)};
	const char *line = earlier_line(walk), *found;

	if (line == NULL)
		return false;
	found = look_ahead(walk, line, name);
	/* What is the same before the cursor has been taken already. */
	if (found != NULL && (size_t)(walk->at - start) < name.len) {
		walk->from = found + (walk->at - start);
		return true;
	}
	walk->from = line;
	return pass_new(walk, (size_t)(end - walk->at) + (end < walk->later_end));
}

/* Both cursors are where the texts differ, or the earlier has ended. False if too much is new. */
static bool pass_difference(struct walk *walk)
{
	const char *start = line_start(walk->at, walk->later);
	const char *end = line_end(walk->at, walk->later_end);

	if (walk->from == walk->earlier_end)
		return pass_new(walk, (size_t)(walk->later_end - walk->at));
	if (!is_in_value(start, walk->at))
		return pass_name(walk, start, end);
	walk->at = end;
	walk->from = line_end(walk->from, walk->earlier_end);
	return true;
}

bool line_diff_find(struct line_diff *diff, struct slice earlier, struct slice later)
{
	struct walk walk = {
		.diff = diff,
		.earlier = earlier.ptr,
		.earlier_end = earlier.ptr + earlier.len,
		.from = earlier.ptr,
		.later = later.ptr,
		.later_end = later.ptr + later.len,
		.at = later.ptr,
		.look_bytes = LOOK_TIMES * earlier.len + LOOK_FREE_BYTES,
		.new_bytes = later.len / NEW_SHARE + NEW_FREE_BYTES,
	};

	diff->count = 0;
	if (earlier.len == 0 || later.len == 0)
		return false;
	for (;;) {
		take_same(&walk);
		if (walk.at == walk.later_end)
			return true;
		if (!pass_difference(&walk))
			return false;
	}
}

void line_diff_free(struct line_diff *diff)
{
	free(diff->matches);
	*diff = (struct line_diff){.matches = NULL};
}
