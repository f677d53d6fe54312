/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_ANSWER_H
#define PS_RECEIVER_SINK_PUSH_ANSWER_H
/*
 * What an answer of the gateway means: taken, refused for good, or to be tried again. Pure.
 */
#include "common/loop/fetch.h"

enum push_meaning {
	PUSH_TAKEN,
	PUSH_REFUSED, /* this content; the gateway works */
	PUSH_RETRY,   /* the gateway, the way to it, or what it is told about us does not work */
};

#define PUSH_WORDS_BYTES 300

struct push_answer {
	enum push_meaning meaning;
	char reason[32]; /* for counting: "timeout", "http_503", …; "" when taken */
	char words[PUSH_WORDS_BYTES + 64]; /* for people, printable; "" when taken */
};

/* Appends the beginning of what the other side says to a text of `size`, on one line, printable. */
void push_append_words(char *words, size_t size, struct slice said);

void push_answer_read(struct push_answer *answer, const struct fetch_result *result);

#endif
