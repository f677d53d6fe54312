/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_FRAME_H
#define PS_RECEIVER_FRAME_H
/*
 * One scrape as it came out of the stream: who it speaks of, what its headers say, and its body,
 * still encoded. Made from a new-style message or from the original's JSON envelope. Judges nothing
 * but form. Loop thread.
 */
#include "common/nats/consumer.h"
#include "common/wire/wire.h"
#include "receiver/fate.h"
#include "receiver/keyframe.h"

#include <sys/queue.h>

struct share;
struct ordered_target;

struct frame {
	struct slice subject; /* the target's identity; into the message, or `own_subject` */
	struct slice publisher, job, instance; /* unescaped; into `names` */
	struct wire_scrape scrape;
	struct slice body;         /* encoded as scrape.encoding says */
	struct keyframe *keyframe; /* that a delta refers to, once it is there; owned */
	int64_t arrived_ms;        /* wall clock */
	uint64_t arrived_us;       /* monotonic */
	int64_t age_from_ms; /* when its age begins: scrape.time_ms, or arrived_ms where that is
				ahead */
	bool is_legacy;      /* an envelope: its publisher is a claim, not the subject's */
	bool is_ahead;       /* its time was more than a minute ahead of ours */
	uint64_t generation, stream_seq;
	int64_t stored_ms;            /* when the stream took it, by the server's clock */
	struct buf reply;             /* to be acked to; empty: nobody waits for that */
	bool is_lookback;             /* read apart from the durable, which delivers it too */
	enum frame_fate delivered_as; /* other than FATE_DELIVERED: see frame_shed */
	bool was_judged; /* what is wrong with it has been counted: it may be tried again */

	/* What holds the bytes above. */
	struct wire_subject names;
	struct buf own_subject, own_body;
	struct nats_incoming *incoming;

	TAILQ_ENTRY(frame) in_queue;   /* of waiting.c, then of ordered.c */
	struct share *charged;         /* while waiting.c has it, to this */
	struct ordered_target *target; /* whose it is, once ordered.c has it */
};
TAILQ_HEAD(frames, frame);

enum frame_verdict {
	FRAME_OK,
	FRAME_MALFORMED, /* `err` says why */
	FRAME_UNKNOWN,   /* a kind or version of a later time */
	FRAME_KEY,       /* a keyframe: not for delivery */
};

/*
 * Takes message->incoming in any case: the frame owns it, or it is freed. `*frame` is set only on
 * FRAME_OK; otherwise the message's reply is in `reply` so that it can be acked. `publisher` (may
 * be empty) receives the publisher's name for counting where the subject tells it.
 */
enum frame_verdict frame_from_message(struct frame **frame, struct consumer_message *message,
	struct slice topic, struct buf *reply, struct buf *publisher, struct err *err);
void frame_free(struct frame *frame);

/* Drops its body: from then on it says that the target is down, and why. Once that is delivered, it
 * counts as `fate`. */
void frame_shed(struct frame *frame, enum frame_fate fate, const char *why);

/* It says that the target was removed from its poller's configuration: the last of it. */
bool frame_is_last(const struct frame *frame);

/* Whether `a` comes before `b` in the stream; durables made anew come later. */
bool frame_is_before(const struct frame *a, const struct frame *b);

/* Bytes that holding it costs, about; its keyframe in full, though others may share it. */
size_t frame_bytes(const struct frame *frame);

/* A delta whose body matters: it cannot be decoded without its keyframe. */
bool frame_needs_keyframe(const struct frame *frame);

/* Appends the body, decoded, as codec_decode does. A delta without its keyframe is CODEC_CORRUPT.
 */
enum codec_status frame_decode(const struct frame *frame, struct codec *codec, size_t limit_bytes,
	struct buf *out) MUST_CHECK;

#endif
