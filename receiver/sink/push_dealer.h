/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_DEALER_H
#define PS_RECEIVER_SINK_PUSH_DEALER_H
/*
 * Which request the gateway gets next: of the jobs of targets, of orphans' deletions, or a survey;
 * and what its answer means for them. It takes targets out of newest and ends them there. The
 * inside of the sink, for push_gateway.c alone. Loop thread.
 */
#include "common/loop/fetch.h"
#include "receiver/sink/push_gateway.h"
#include "receiver/sink/push_health.h"
#include "receiver/sink/push_job.h"
#include "receiver/sink/push_orphans.h"
#include "receiver/sink/push_surveyor.h"

TAILQ_HEAD(push_job_list, push_job);

struct push_gateway {
	struct sink base;
	struct sink_context context;
	const struct push_gateway_settings *settings;
	struct push_maker maker;
	char *base_url; /* without a slash at its end; may hold credentials */
	char *shown_url;
	struct fetch *fetch;
	struct fetch_client *client; /* what secures its requests; NULL: nothing */
	struct push_claims *claims;
	struct push_types *types;
	struct push_marks *marks;
	struct push_orphans orphans;
	bool orphan_had_turn;
	size_t held_by_orphan;    /* targets whose frame in flight waits for that */
	bool must_survey;         /* before anything else may be pushed */
	bool wants_survey;        /* when there is time */
	int64_t trusted_since_ms; /* as last swept */
	struct push_surveyor surveyor;
	bool is_lost_by_survey; /* and not by a push */
	struct push_health health;
	size_t running;                /* requests */
	size_t pushing;                /* jobs that push, begun and not ended */
	struct push_job_list pushes;   /* of these, those with steps to begin */
	struct push_job_list removals; /* likewise */
	bool removal_has_turn, begun_have_turn;
	bool is_stopping, is_closing;
	size_t closing_parts;
	void (*on_closed)(void *arg);
	void *closed_arg;
	TAILQ_HEAD(, push_state) targets;
	struct series *puts, *deletes, *seconds, *groups;
};

/* Once everything that comes from outside is set; nothing is sent yet. */
void push_dealer_init(struct push_gateway *gateway);

/* Begins what may begin; nothing beside a survey. */
void push_dealer_pump(struct push_gateway *gateway);

/* Begins to delete all groups of a silent target, which has no job and some groups. */
void push_dealer_remove(struct push_gateway *gateway, struct push_state *state);

/*
 * The stream is not heard any more as it was, or another receiver takes from it: what was about to
 * be deleted may be alive.
 */
void push_dealer_doubt(struct push_gateway *gateway);

/* Ends a job with its requests; NULL is allowed. */
void push_dealer_end(struct push_job *job);

void push_dealer_count_groups(struct push_gateway *gateway);

#endif
