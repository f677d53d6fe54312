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

enum frame_outcome {
	FRAME_WHOLE,
	FRAME_TOO_LARGE,  /* the message says up 0 and why, the body is gone */
	FRAME_IMPOSSIBLE, /* no message: there are no headers for it, or not even they fit */
};

/*
 * Moves the body of `scrape` into a new *message of at most `max_bytes`, headers included (0: no
 * bound known). What is too large is compressed first, whatever the configuration says.
 */
enum frame_outcome frame_make(const struct frame_maker *maker, struct scrape *scrape,
	size_t max_bytes, struct nats_outgoing **message) MUST_CHECK;

/* Appends a size for people, with at most one decimal: "2.3MB", "1MB" (also for 1008 kB). */
void frame_format_size(uint64_t bytes, struct buf *out);

#endif
