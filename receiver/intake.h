/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_INTAKE_H
#define PS_RECEIVER_INTAKE_H
/*
 * What one sink takes in: its consumers, what keeps the scrapes that it is to get (the newest of
 * each target, or all of them in order), and the sink itself, wired together and counted. Each sink
 * has an intake of its own, so that a slow one holds back nobody. Loop thread.
 */
#include "common/config/settings.h"
#include "common/core/metrics.h"
#include "common/nats/consumer.h"
#include "receiver/keyframe_store.h"
#include "receiver/tally.h"

struct intake;

struct intake_options {
	uv_loop_t *loop;
	struct nats_link *link;
	const struct settings *settings;
	struct metrics *metrics;
	struct codec *codec;
	struct tally *tally;
	struct keyframe_store *keyframes;
	struct settings_sink sink;
	struct federate_door *door; /* of a /federate; the intake's from now on */
};

struct intake *intake_open(const struct intake_options *options);

/* Others, equal in what needs a restart, and its sink's among them (as in settings_sink_at). */
void intake_set_settings(struct intake *intake, const struct settings *settings, const void *own);

/* False with the reason while its consumers are not bound or its sink does not take anything. */
bool intake_is_ready(const struct intake *intake, struct buf *why);

/* Sets the metrics that are read off at once. */
void intake_collect(struct intake *intake);

/* Takes no more and lets the sink finish what is in flight. `on_drained` comes once, later. */
void intake_drain(struct intake *intake, void (*on_drained)(void *arg), void *arg);

/*
 * Gives back to the stream what was not delivered, to be delivered again soon after the next start;
 * closes everything and frees; then on_closed.
 */
void intake_close(struct intake *intake, void (*on_closed)(void *arg), void *arg);

#endif
