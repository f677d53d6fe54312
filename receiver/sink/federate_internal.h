/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FEDERATE_INTERNAL_H
#define PS_RECEIVER_SINK_FEDERATE_INTERNAL_H
/*
 * What the sink (federate.c) and its web server (federate_door.c) have in common. Loop thread.
 */
#include "receiver/sink/federate.h"

#include "receiver/sink/federate_body.h"

#include <sys/queue.h>

/* What is held of a target: its sink_state. */
struct federate_state {
	struct target *target;
	struct block *block; /* NULL: nothing, there is no room */
	struct federate_series series;
	uint64_t shard;
	TAILQ_ENTRY(federate_state) of_sink;
};

struct federate {
	struct sink base;
	struct sink_context context;
	const struct federate_settings *settings;
	struct federate_door *door;
	struct families families;
	struct federate_builder builder;
	TAILQ_HEAD(, federate_state) states;
	size_t state_count;
	size_t answers; /* under way */
	bool is_warm;   /* has seen the newest of each target */
	bool is_stopping, is_closing;
	char *mark; /* the first line of each answer, by which we know our own */
	struct log_limit malformed, undecodable, loop, no_room, contradicted;
	size_t said_contradicted;
	struct series *parse_errors, *rewrite_seconds;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* Who asks is answered from now on. */
void federate_door_set_sink(struct federate_door *door, struct federate *federate);

#endif
