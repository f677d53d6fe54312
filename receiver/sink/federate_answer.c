/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slot by slot. Each target stands in the list of the family that comes next in its block, and goes
 * on to the list of the one after it: the work is one step for each family of each target, whatever
 * the number of slots.
 */
#include "receiver/sink/federate_answer.h"

#include "common/core/clock.h"
#include "receiver/sink/federate_choice.h"
#include "receiver/sink/push_sample.h"

#include <assert.h>

/* What one piece may look at: lines, and steps from family to family; a step of choosing counts as
 * many as it takes matches. */
#define MAX_WORK  20000
#define MAX_LINES 8192 /* at a stretch */
/* With selectors, how long a piece may take: what a match takes is theirs to say. */
#define MAX_PIECE_US 10000
#define LOOK_WORK    16

struct cursor {
	struct block *block; /* NULL: done */
	const char *at;      /* the part that comes next */
	uint32_t part;
	uint32_t following; /* in its list, + 1 */
	struct choice choice;
};

/* Where it is in the part of one target. */
struct place {
	const char *at, *end;
	struct slice open; /* of the run */
	uint32_t lines;    /* left of it */
	enum choice_verdict verdict;
};

struct answer {
	const struct families *families;
	struct chooser chooser;
	struct cursor *cursors;
	size_t count, most;
	struct list {
		uint32_t first, last; /* cursors, + 1 */
	} * lists;                    /* by slot */
	size_t slots;
	size_t slot;
	struct cursor *current; /* NULL: none */
	struct place place;
	bool is_opened; /* HELP and TYPE of the slot are written */
	bool utf8_names;
	struct buf open, text, scratch; /* escaped, where they have to be */
	uint64_t samples;
	uint64_t late_us;      /* when the piece at hand is to end */
	uint64_t look_at_work; /* at the clock, the next time */
};

struct answer *answer_new(
	const struct families *families, struct selectors *selectors, size_t most, bool utf8_names)
{
	struct answer *answer = xcalloc(1, sizeof(*answer));

	answer->families = families;
	answer->utf8_names = utf8_names;
	chooser_init(&answer->chooser, selectors);
	answer->cursors = xcalloc(most + 1, sizeof(*answer->cursors));
	answer->most = most;
	answer->slots = families->slots;
	answer->lists = xcalloc(answer->slots + 1, sizeof(*answer->lists));
	return answer;
}

/* Puts it into the list of its part, or ends it. */
static void enlist(struct answer *answer, struct cursor *cursor)
{
	const struct block_part *part = &cursor->block->parts[cursor->part];
	uint32_t number = (uint32_t)(cursor - answer->cursors) + 1;
	struct list *list;

	if (cursor->part == cursor->block->part_count) {
		block_unref(cursor->block);
		cursor->block = NULL;
		return;
	}
	cursor->at = cursor->block->data + part->at;
	cursor->following = 0;
	list = &answer->lists[part->slot];
	if (list->first == 0)
		list->first = number;
	else
		answer->cursors[list->last - 1].following = number;
	list->last = number;
}

void answer_add(struct answer *answer, struct block *block)
{
	struct cursor *cursor = &answer->cursors[answer->count++];

	assert(answer->count <= answer->most);
	cursor->block = block_ref(block);
	enlist(answer, cursor);
}

/* What is read next, while this one is written. */
static void look_ahead(const struct answer *answer, const struct cursor *cursor)
{
	const struct cursor *next;

	if (cursor->following == 0)
		return;
	next = &answer->cursors[cursor->following - 1];
	__builtin_prefetch(next->at);
	__builtin_prefetch(next->at + 64);
	__builtin_prefetch(&next->block->parts[next->part]);
}

/* The next part of any target; false if there is none. */
static bool begin_part(struct answer *answer)
{
	const struct block_part *part;

	while (answer->slot < answer->slots && answer->lists[answer->slot].first == 0) {
		answer->slot++;
		answer->is_opened = false;
	}
	if (answer->slot == answer->slots)
		return false;
	answer->current = &answer->cursors[answer->lists[answer->slot].first - 1];
	answer->lists[answer->slot].first = answer->current->following;
	look_ahead(answer, answer->current);
	part = &answer->current->block->parts[answer->current->part];
	answer->place =
		(struct place){.at = answer->current->at, .end = answer->current->at + part->len};
	return true;
}

static void end_part(struct answer *answer)
{
	answer->current->part++;
	enlist(answer, answer->current);
	answer->current = NULL;
}

/* What samples begin with, its quoted name escaped: for who takes no such names. */
static struct slice escape_open(struct answer *answer, struct slice open)
{
	buf_clear(&answer->scratch);
	expo_unescape((struct slice){open.ptr + 2, open.len - 4}, &answer->scratch);
	buf_clear(&answer->open);
	push_name(&answer->open, buf_slice(&answer->scratch), false, false);
	buf_append_char(&answer->open, '{');
	return buf_slice(&answer->open);
}

/* The same with the names of a line's labels. */
static struct slice escape_labels(struct answer *answer, struct slice text)
{
	const char *brace = memrchr(text.ptr, '}', text.len);
	struct slice labels = {text.ptr, (size_t)(brace - text.ptr)};
	bool has_comma = *text.ptr == ',';
	struct expo_label label;

	buf_clear(&answer->text);
	for (; expo_labels_next(&labels, &label); has_comma = true) {
		buf_append_str(&answer->text, has_comma ? "," : "");
		buf_clear(&answer->scratch);
		expo_unescape(label.name, &answer->scratch);
		push_name(&answer->text, buf_slice(&answer->scratch), true, false);
		buf_append_str(&answer->text, "=\"");
		buf_append_slice(&answer->text, label.value);
		buf_append_char(&answer->text, '"');
	}
	buf_append(&answer->text, brace, (size_t)(text.ptr + text.len - brace));
	return buf_slice(&answer->text);
}

static void begin_run(struct answer *answer)
{
	struct place *place = &answer->place;

	place->open = (struct slice){place->at + 2 * sizeof(uint32_t), block_u32(place->at)};
	place->lines = block_u32(place->at + sizeof(uint32_t));
	place->at = place->open.ptr + place->open.len;
	place->verdict = chooser_judge(
		&answer->chooser, answer->current->block, &answer->current->choice, place->open);
	if (!answer->utf8_names && *place->open.ptr == '{')
		place->open = escape_open(answer, place->open);
}

static char *put(char *to, struct slice text)
{
	memcpy(to, text.ptr, text.len);
	return to + text.len;
}

static void write_line(struct answer *answer, struct buf *out, const struct block *block,
	struct slice text, int flags)
{
	struct slice labels = flags & LINE_WHOLE ? (struct slice){"", 0} : block->labels;
	struct slice time = flags & LINE_TIMED ? (struct slice){"\n", 1} : block->time;
	char *begin, *at;

	if (!answer->is_opened) {
		answer->is_opened = true;
		families_write_metadata(answer->families, answer->families->by_slot[answer->slot],
			answer->utf8_names, out);
	}
	if ((flags & LINE_QUOTED) != 0 && !answer->utf8_names)
		text = escape_labels(answer, text);
	begin = buf_reserve(out, answer->place.open.len + labels.len + text.len + time.len);
	at = put(begin, answer->place.open);
	at = put(at, labels);
	at = put(at, text);
	at = put(at, time);
	out->len += (size_t)(at - begin);
	answer->samples++;
}

/* Reading the clock costs as much as a match of a text: it is done after some. */
static bool is_late(struct answer *answer)
{
	if (chooser_work(&answer->chooser) < answer->look_at_work)
		return false;
	if (clock_mono_us() >= answer->late_us)
		return true;
	answer->look_at_work = chooser_work(&answer->chooser) + LOOK_WORK;
	return false;
}

static bool may_go_on(struct answer *answer, const struct buf *out, size_t full)
{
	return answer->place.lines > 0 && out->len < full &&
	       chooser_work(&answer->chooser) < MAX_WORK &&
	       (answer->place.verdict != CHOICE_BY_LINE || !is_late(answer));
}

/* Writes lines of the run; returns how many it has looked at. */
static size_t write_run(struct answer *answer, struct buf *out, size_t full)
{
	const struct block *block = answer->current->block;
	struct place *place = &answer->place;
	size_t before = place->lines;

	for (; may_go_on(answer, out, full) && before - place->lines < MAX_LINES; place->lines--) {
		uint32_t head = block_u32(place->at);
		struct slice text = {place->at + sizeof(head), head >> LINE_FLAG_BITS};
		int flags = head & ((1 << LINE_FLAG_BITS) - 1);

		place->at = text.ptr + text.len;
		if (place->verdict == CHOICE_ALL ||
			(place->verdict == CHOICE_BY_LINE &&
				chooser_takes(&answer->chooser, block, &answer->current->choice,
					text, (flags & LINE_WHOLE) != 0)))
			write_line(answer, out, block, text, flags);
	}
	return before - place->lines;
}

bool answer_write(struct answer *answer, struct buf *out, size_t bytes)
{
	size_t full = out->len + bytes, work = 0;

	answer->late_us = clock_mono_us() + MAX_PIECE_US;
	answer->look_at_work = LOOK_WORK;
	while (out->len < full && work + chooser_work(&answer->chooser) < MAX_WORK &&
		!is_late(answer)) {
		if (answer->current == NULL && !begin_part(answer))
			return false;
		if (answer->place.lines == 0 && answer->place.at == answer->place.end) {
			end_part(answer);
		} else {
			if (answer->place.lines == 0)
				begin_run(answer);
			work += write_run(answer, out, full) / 8;
		}
		work++;
	}
	chooser_rest(&answer->chooser);
	return true;
}

uint64_t answer_samples(const struct answer *answer)
{
	return answer->samples;
}

uint64_t answer_limits_hit(const struct answer *answer)
{
	return answer->chooser.selectors.limits_hit;
}

void answer_free(struct answer *answer)
{
	if (answer == NULL)
		return;
	for (size_t i = 0; i < answer->count; i++)
		block_unref(answer->cursors[i].block);
	chooser_fini(&answer->chooser);
	buf_free(&answer->open);
	buf_free(&answer->text);
	buf_free(&answer->scratch);
	free(answer->cursors);
	free(answer->lists);
	free(answer);
}
