/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FEDERATE_H
#define PS_RECEIVER_SINK_FEDERATE_H
/*
 * The /federate sink: holds the newest scrape of each target and serves all of them, or what
 * `match[]` selects, to who asks. Loop thread.
 */
#include "receiver/sink/sink.h"

struct federate_door;

/*
 * Listens, before anything else is begun: nobody is served until the sink is there. NULL and `err`
 * if that is not possible. The door goes with the sink.
 */
struct federate_door *federate_door_open(
	uv_loop_t *loop, const struct federate_settings *settings, struct err *err) MUST_CHECK;

/* For a door without a sink, when another could not be opened. */
void federate_door_close(struct federate_door *door, void (*on_closed)(void *arg), void *arg);

struct sink *federate_open(const struct sink_context *context,
	const struct federate_settings *settings, struct federate_door *door);

#endif
