/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FEDERATE_BLOCK_H
#define PS_RECEIVER_SINK_FEDERATE_BLOCK_H
/*
 * One scrape of one target in the form in which it is held: its samples as text, sorted by the
 *slots of their families, without the labels that all of them have in common and without the time.
 *It is never altered: a newer scrape replaces it, while answers under way go on with the old one.
 *Loop thread.
 *
 *	data:  part, part, …          one for each family, in the order of `parts`
 *	part:  run, run, …            samples of one name that follow each other
 *	run:   u32 length of `open`, u32 number of lines, `open`, line, line, …
 *	line:  u32 length << 3 | flags, text
 *
 * `open` is what a sample begins with, `name{` or `{"quoted name",`. Then come the labels of the
 * target, and the text: `,a="b"} 1`, or `} 1` where there are no others.
 */
#include "receiver/sink/federate_families.h"

enum {
	LINE_TIMED = 1,  /* the text ends with a time of its own */
	LINE_WHOLE = 2,  /* the text has all labels, those of the target among them: `a="b"} 1` */
	LINE_QUOTED = 4, /* names of labels stand in quotes */
};
#define LINE_FLAG_BITS 3

/* Of one block, so that offsets and lengths fit. */
#define BLOCK_MAX_BYTES ((size_t)1 << 30)

struct block_part {
	uint32_t slot;
	uint32_t at, len; /* in `data` */
	uint32_t type;    /* enum expo_type: as the target says it */
};

struct block {
	size_t refs;
	size_t bytes; /* that holding it costs */
	struct families *families;
	uint64_t shard; /* hash of the target's identity */
	int64_t time_ms;
	struct slice labels; /* of the target, escaped: a="b",c="d" */
	struct slice time;   /* what follows samples without a time: " 1700000000000\n" */
	struct block_part *parts;
	size_t part_count;
	char *data;
	bool has_whole; /* some lines have all labels in their text */
};

/* Room for a block of this shape, with one reference; the caller fills it, each part referring to
 * its family. */
struct block *block_new(struct families *families, struct slice labels, int64_t time_ms,
	size_t part_count, size_t data_bytes);

struct block *block_ref(struct block *block);
void block_unref(struct block *block); /* NULL is allowed */

/* Says of all its families what the target says no more, when it holds another block, or none. */
void block_retract(const struct block *block, const void *target);

static inline uint32_t block_u32(const char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

#endif
