/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_LOOKUP_H
#define PS_COMMON_NATS_LOOKUP_H
/*
 * Gets the newest message of one exact subject out of a stream, asynchronously, and knows in which
 * of JetStream's two ways that works: DIRECT.GET, which any server that holds the stream answers
 * and which can be granted by subject, else STREAM.MSG.GET. Neither is tried again for a while
 * where it is refused. It bounds and repeats nothing. Loop thread. Opened after its link, closed
 * before it.
 */
#include "common/nats/link.h"

struct lookup;

struct lookup_options {
	struct nats_link *link;
	const char *stream; /* copied */
	/* It became possible, or impossible for a reason that lookup_is_possible tells. */
	void (*on_change)(void *arg);
	void *arg;
};

enum lookup_outcome {
	LOOKUP_FOUND,
	LOOKUP_MISSING, /* the stream has no message of the subject */
	LOOKUP_BARRED,  /* neither way is open, see lookup_is_possible */
	LOOKUP_FAILED,  /* no answer in time, or an error: may work another time */
	LOOKUP_DOWN,    /* the connection is or went down */
};

struct lookup_result {
	enum lookup_outcome outcome;
	const char *text; /* why it is not there, for people */
	/* Of LOOKUP_FOUND, for the callback's time: the body, and how to read the headers. */
	struct slice body;
	wire_header_lookup header;
	void *header_arg;
};
typedef void (*lookup_callback)(void *arg, const struct lookup_result *result);

struct lookup *lookup_open(const struct lookup_options *options);

/*
 * False, with the reason in `why` (which may be NULL), while neither way is open: for a minute at
 * most, or until the connection is made anew, nothing more is asked; then one request is let
 * through.
 */
bool lookup_is_possible(const struct lookup *lookup, struct buf *why);

/*
 * Whether another one may be asked for now beside `outstanding` ones: one alone, until it is known
 * that it works.
 */
bool lookup_takes(const struct lookup *lookup, size_t outstanding);

/*
 * The callback comes exactly once, never from inside this call. May be called also where
 * lookup_takes says no, but not where neither way is open.
 */
struct lookup_get *lookup_get(
	struct lookup *lookup, struct slice subject, lookup_callback callback, void *arg);

/* Without a callback; not from inside it, where it is over already. */
void lookup_cancel(struct lookup_get *get);

/* All gets are over or cancelled. */
void lookup_close(struct lookup *lookup);

#endif
