/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_KEYFRAME_STORE_H
#define PS_RECEIVER_KEYFRAME_STORE_H
/*
 * The keyframes that frames refer to: held compressed within a budget, looked up in the stream
 * where they are lacking. One for all sinks of a receiver. A keyframe that somebody refers to
 * outlives its place here. What is not there, or of no use, is remembered for a while, so that not
 * every frame asks anew. Publishers take turns in being looked up for, and the one that takes most
 * of the budget gives way first. Loop thread. Opened after its link and closed before it.
 */
#include "common/core/metrics.h"
#include "common/nats/link.h"
#include "receiver/keyframe.h"

#include <sys/queue.h>

enum keyframe_verdict {
	KEYFRAME_HERE,
	KEYFRAME_AWAITED,   /* to be looked up, or being so */
	KEYFRAME_MISSING,   /* not in the stream */
	KEYFRAME_DENIED,    /* it cannot be looked up: see keyframe_store_is_reachable */
	KEYFRAME_CORRUPT,   /* its headers or body cannot be read */
	KEYFRAME_TOO_LARGE, /* decoded, more than max_scrape_bytes */
	KEYFRAME_FAILED,    /* no usable answer, though asked for several times */
};

struct keyframe_store;

struct keyframe_store_options {
	struct nats_link *link;
	const char *stream; /* copied */
	struct codec *codec;
	struct metrics *metrics; /* ids in receiver/metrics.h */
	uint64_t max_scrape_bytes;
	uint64_t memory_bytes; /* the budget, of keyframes and of what is remembered as lacking */
};

/* As in the options, from now on. */
void keyframe_store_set_limits(
	struct keyframe_store *keyframes, uint64_t max_scrape_bytes, uint64_t memory_bytes);

/* Somebody who waits for a keyframe; embedded in the owner, which sets on_verdict. */
struct keyframe_wait {
	/* Comes exactly once, never from inside keyframe_store_await; never KEYFRAME_AWAITED.
	 * `keyframe` (with KEYFRAME_HERE) is to be ref'd where it is kept. */
	void (*on_verdict)(struct keyframe_wait *wait, enum keyframe_verdict verdict,
		struct keyframe *keyframe);
	struct keyframe_entry *entry; /* keyframe_store.c's; NULL: not waiting */
	TAILQ_ENTRY(keyframe_wait) next;
};

struct keyframe_store *keyframe_store_open(const struct keyframe_store_options *options);

/*
 * What is known of the keyframe of this exact subject: with KEYFRAME_HERE, `*keyframe` is a
 * reference of the caller's. Asks nobody.
 */
enum keyframe_verdict keyframe_store_find(
	struct keyframe_store *keyframes, struct slice subject, struct keyframe **keyframe);

/* Where keyframe_store_find said KEYFRAME_AWAITED. `publisher` is the one that the subject names.
 */
void keyframe_store_await(struct keyframe_store *keyframes, struct slice subject,
	struct slice publisher, struct keyframe_wait *wait);

/* Without a verdict. Nothing happens where it does not wait. */
void keyframe_store_cancel(struct keyframe_wait *wait);

/* False with the reason (`why` may be NULL) while none can be looked up. */
bool keyframe_store_is_reachable(const struct keyframe_store *keyframes, struct buf *why);

/* Sets the metrics that are read off at once. */
void keyframe_store_collect(struct keyframe_store *keyframes);

/* Nobody waits any more. */
void keyframe_store_close(struct keyframe_store *keyframes);

#endif
