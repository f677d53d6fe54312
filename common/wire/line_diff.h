/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_WIRE_LINE_DIFF_H
#define PS_COMMON_WIRE_LINE_DIFF_H
/*
 * What a text has in common with an earlier one, found by walking both side by side: for
 * expositions, whose lines keep their order while the values at their ends change. It finds nothing
 * that has moved far, and says when that makes it the wrong way. Pure.
 */
#include "common/core/buf.h"

/* `len` bytes that stand at `at` in the later text and at `from` in the earlier. */
struct line_match {
	size_t at, from, len;
};

/* In the order of both texts, nothing overlapping. Zero-initialise. */
struct line_diff {
	struct line_match *matches;
	size_t count, capacity;
};

/* Shorter ones cost more than they save. */
#define LINE_MATCH_MIN_BYTES 5

/*
 * Finds the matches anew. False, and the matches are of no use, if the texts have too little in
 * common line by line. Takes time in proportion to both lengths, whatever they hold.
 */
bool line_diff_find(struct line_diff *diff, struct slice earlier, struct slice later);

void line_diff_free(struct line_diff *diff);

#endif
