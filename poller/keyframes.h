/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_KEYFRAMES_H
#define PS_POLLER_KEYFRAMES_H
/*
 * What deltas refer to: of each target the keyframe that the stream has acknowledged, the one on
 * its way there, and the scrapes that wait for it. It says what a scrape that is about to leave is
 * to do, makes keyframes, and forgets those that the stream no longer holds. It sends nothing, and
 * keeps to keyframe_memory: targets beyond it have no keyframe. Loop thread.
 */
#include "common/config/settings.h"
#include "common/core/metrics.h"
#include "common/nats/jetstream.h"
#include "common/nats/link.h"
#include "common/nats/publisher.h"
#include "poller/scrape.h"

/* How long scrapes wait for a keyframe's acknowledgement, at most. */
#define KEYFRAMES_PATIENCE_MS 1500

STAILQ_HEAD(scrape_queue, scrape);

struct keyframes;

/* Settings and codec are kept by reference, settings until there are others; their poller_stream
 * is the same. */
struct keyframes *keyframes_new(
	const struct settings *settings, struct metrics *metrics, struct codec *codec);
/* Nothing waits any more. */
void keyframes_free(struct keyframes *keys);

void keyframes_set_settings(struct keyframes *keys, const struct settings *settings);

/* Forgets all keyframes, also those on their way; all scrapes that wait are taken. */
void keyframes_clear(struct keyframes *keys, struct scrape_queue *out);

/* The target of the scrape has ended; does nothing while a keyframe of it is on its way. */
void keyframes_forget(struct keyframes *keys, const struct scrape *scrape);

enum keyframes_advice {
	KEYFRAMES_WHOLE, /* no keyframe to refer to */
	KEYFRAMES_REFER,
	KEYFRAMES_WAIT, /* one is on its way, or others of this target wait */
	KEYFRAMES_MAKE, /* one is due: keyframes_make from this scrape, which then waits */
};

/* For a scrape that is about to leave. */
enum keyframes_advice keyframes_advise(struct keyframes *keys, const struct scrape *scrape);

/*
 * The keyframe made of this scrape, whose decoded body is `text`, and which stays as it is; a
 * message of at most `max_bytes` and, as the sign of it among what is sent, a scrape that
 * is_keyframe. NULL, counted, and not due again for long, if there can be none.
 */
struct scrape *keyframes_make(struct keyframes *keys, const struct scrape *scrape,
	struct slice text, size_t max_bytes, struct nats_outgoing **message) MUST_CHECK;

/* What became of one; `ack` is that of PUBLISH_ACKED. Those that wait for it are to be taken. */
void keyframes_done(struct keyframes *keys, const struct scrape *keyframe,
	enum publish_outcome outcome, const struct js_pub_ack *ack);

/* The text that a scrape's delta refers to, until the next call of any of these, and its time;
 * false if there is none after all. */
bool keyframes_text(struct keyframes *keys, const struct scrape *scrape, struct slice *text,
	int64_t *time_ms) MUST_CHECK;

/* How large a delta of that text became: one that is too large makes a new keyframe due. */
void keyframes_note_delta(
	struct keyframes *keys, const struct scrape *scrape, size_t delta_bytes, size_t text_bytes);

/* Takes the scrape to wait, behind others of its target. */
void keyframes_hold(struct keyframes *keys, struct scrape *scrape);

/* Appends those of the same target as `scrape` that wait, in order. */
void keyframes_release(
	struct keyframes *keys, const struct scrape *scrape, struct scrape_queue *out);

/* The same of all whose time is up; and when that is for the next: UINT64_MAX if none waits. */
void keyframes_release_late(struct keyframes *keys, struct scrape_queue *out);
uint64_t keyframes_next_ms(const struct keyframes *keys);

/* Of every acknowledgement, before keyframes_done: one that shows another stream than before, or
 * that it began anew, ends all references. */
void keyframes_note_ack(struct keyframes *keys, const struct js_pub_ack *ack);

/* What the stream is like now, which limits how long keyframes serve. */
void keyframes_note_stream(struct keyframes *keys, const struct js_stream_info *info);

/* No new keyframes and no waiting from now on; all that wait are taken. */
void keyframes_end(struct keyframes *keys, struct scrape_queue *out);

/* Brings the gauges up to date. */
void keyframes_collect(struct keyframes *keys);

#endif
