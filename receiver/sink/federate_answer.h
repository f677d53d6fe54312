/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FEDERATE_ANSWER_H
#define PS_RECEIVER_SINK_FEDERATE_ANSWER_H
/*
 * One answer of /federate, written piece by piece: what the targets held when it began, families
 * grouped over all of them, each with one HELP and TYPE. What it takes beside the blocks, which it
 * shares with whoever holds them, is some 50 bytes for a target. Pure; loop thread.
 */
#include "receiver/sink/federate_block.h"
#include "receiver/sink/selector.h"

struct answer;

/*
 * `selectors` is moved out of. Room for `most` blocks. Without `utf8_names` names that need quotes
 * are written as those take them who know no others (U__…, see push_name).
 */
struct answer *answer_new(
	const struct families *families, struct selectors *selectors, size_t most, bool utf8_names);

/* The block is shared, and given back as soon as its last sample is written. */
void answer_add(struct answer *answer, struct block *block);

/*
 * Appends the next piece: about `bytes` of it, or more where one line is longer. False once nothing
 * more follows. With selectors it may append less, or nothing, since what it looks at is bounded,
 * too.
 */
bool answer_write(struct answer *answer, struct buf *out, size_t bytes) MUST_CHECK;

uint64_t answer_samples(const struct answer *answer);    /* written so far */
uint64_t answer_limits_hit(const struct answer *answer); /* matches given up */

/* NULL is allowed. */
void answer_free(struct answer *answer);

#endif
