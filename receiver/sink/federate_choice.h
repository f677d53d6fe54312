/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FEDERATE_CHOICE_H
#define PS_RECEIVER_SINK_FEDERATE_CHOICE_H
/*
 * Which samples of a block the selectors of a request take. What concerns the target is matched
 * once, what concerns a metric's name once per run, so that only matchers on other labels look at
 * each line. Pure.
 */
#include "receiver/sink/federate_block.h"
#include "receiver/sink/selector.h"

/* Remembered of a target; zero-initialise. */
struct choice {
	bool is_judged;
	uint64_t alive;   /* selectors that the target's labels do not contradict, by bit */
	uint64_t settled; /* those of them that ask for no other label */
};

enum choice_verdict { CHOICE_NONE, CHOICE_ALL, CHOICE_BY_LINE };

/* The last names that were matched: those of a histogram take turns. */
#define CHOOSER_NAMES 4

struct chooser {
	struct selectors selectors;
	uint64_t work; /* matches since chooser_rest */
	struct chooser_name {
		struct slice open; /* borrowed from `copy` */
		struct buf copy;
		uint64_t taken; /* selectors */
	} names[CHOOSER_NAMES];
	size_t next_name;
	uint64_t by_name; /* of the run at hand */
	struct buf scratch;
};

/* `selectors` is moved out of. */
void chooser_init(struct chooser *chooser, struct selectors *selectors);

/* For a run of the block that opens like this. */
enum choice_verdict chooser_judge(struct chooser *chooser, const struct block *block,
	struct choice *choice, struct slice open);

/* Whether to take a line of the run last judged, where that is CHOICE_BY_LINE. */
bool chooser_takes(struct chooser *chooser, const struct block *block, const struct choice *choice,
	struct slice text, bool is_whole);

/* What was matched since the last rest. */
static inline uint64_t chooser_work(const struct chooser *chooser)
{
	return chooser->work;
}
void chooser_rest(struct chooser *chooser);

void chooser_fini(struct chooser *chooser);

#endif
