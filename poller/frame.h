/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_FRAME_H
#define PS_POLLER_FRAME_H
/*
 * Makes of a scrape the message that is published: encodes the body as `compression` says, builds
 * the headers, and keeps to the size that the server takes. It decides nothing about when and
 * whether to send. Pure; loop thread, as its codec.
 */
#include "common/config/settings.h"
#include "common/core/metrics.h"
#include "common/nats/link.h"
#include "poller/scrape.h"

struct frame_maker {
	struct codec *codec; /* borrowed */
	enum settings_compression compression;
	struct series *compress_seconds;
};

/* What a delta is to refer to, and what came of it. */
struct frame_key {
	struct slice text; /* the keyframe, decoded */
	int64_t time_ms;
	size_t delta_bytes, text_bytes; /* set by frame_make: 0 where the scrape went whole */
};

enum frame_outcome {
	FRAME_MADE,
	FRAME_TOO_LARGE,  /* the message says up 0 and why, the body is gone */
	FRAME_IMPOSSIBLE, /* no message: there are no headers for it, or not even they fit */
};

/*
 * Moves the body of `scrape` into a new *message of at most `max_bytes`, headers included (0: no
 * bound known). With a `key` it becomes a delta, if that is smaller. What is too large is
 * compressed first, whatever the configuration says.
 */
enum frame_outcome frame_make(const struct frame_maker *maker, struct scrape *scrape,
	struct frame_key *key, size_t max_bytes, struct nats_outgoing **message) MUST_CHECK;

/* The scrape's body decoded: the body itself, or `plain`, to which it is appended; false if it
 * cannot be decoded. */
bool frame_text(const struct frame_maker *maker, const struct scrape *scrape, struct buf *plain,
	struct slice *text) MUST_CHECK;

/* Compresses a body that is to wait for long. */
void frame_pack(const struct frame_maker *maker, struct scrape *scrape);

/* Appends a size for people, with at most one decimal: "2.3MB", "1MB" (also for 1008 kB). */
void frame_format_size(uint64_t bytes, struct buf *out);

#endif
