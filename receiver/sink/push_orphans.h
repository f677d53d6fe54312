/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_ORPHANS_H
#define PS_RECEIVER_SINK_PUSH_ORPHANS_H
/*
 * Groups with a mark that no target claims: of targets that ended while no receiver ran. It deletes
 * them one at a time, once the stream has been heard for as long as any target may be silent and
 * the gateway been read once more: another receiver's targets have new marks by then. What is there
 * later without a target is not for us to judge. When its turn is, its user decides. Loop thread.
 */
#include "common/loop/fetch.h"
#include "receiver/sink/push_answer.h"
#include "receiver/sink/push_job.h"

/* Embedded; zero-initialise and set the first members. */
struct push_orphans {
	const struct push_maker *maker;
	struct fetch *fetch;
	struct fetch_client *client; /* what secures its requests; NULL: nothing */
	const char *base_url;
	struct series *deletes; /* requests */
	/* A deletion has been answered; `away` is NULL unless the gateway did not take it. */
	void (*on_end)(void *arg, const struct push_answer *away, int64_t retry_after_ms);
	void *arg;

	bool are_due;
	bool is_second_survey; /* asked for, to see whose marks are still renewed */
	int64_t before_ms;     /* what it said to be older may go; 0: it has not come */
	bool are_none;         /* as was found since the last survey */
	struct push_mark *current;
	struct fetch_transfer *transfer; /* its deletion */
};

/* As the sink's sweep. True where the gateway has to be read once more, said once. */
bool push_orphans_sweep(struct push_orphans *orphans, int64_t now_ms, int64_t trusted_since_ms);

/* The gateway has been read. */
void push_orphans_on_survey(struct push_orphans *orphans);

/* Begins to delete one; false if there is none to be deleted now. */
bool push_orphans_delete(struct push_orphans *orphans);

/* No on_end. True if a deletion ran. */
bool push_orphans_cancel(struct push_orphans *orphans);

#endif
