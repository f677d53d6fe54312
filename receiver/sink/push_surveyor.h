/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_SURVEYOR_H
#define PS_RECEIVER_SINK_PUSH_SURVEYOR_H
/*
 * Reads the gateway's /metrics and takes what it shows into the table of types and the marks. It
 * knows when another reading is due; that nothing else runs meanwhile is its user's. Loop thread.
 */
#include "common/loop/fetch.h"
#include "receiver/sink/push_answer.h"
#include "receiver/sink/push_job.h"

/* Embedded; zero-initialise and set the first members. */
struct push_surveyor {
	const struct push_maker *maker;
	struct fetch *fetch;
	struct fetch_client *client; /* what secures its requests; NULL: nothing */
	const char *base_url;
	const char *shown_url; /* without credentials */
	/*
	 * A survey has ended: `away` is NULL where the gateway answered, read or not (`was_read`),
	 * else what is wrong.
	 */
	void (*on_end)(
		void *arg, bool was_read, const struct push_answer *away, int64_t retry_after_ms);
	void *arg;

	struct fetch_transfer *transfer; /* NULL: not running */
	bool is_optional;                /* the one that runs */
	int timeouts;                    /* in a row */
	uint64_t began_ms, ended_ms;     /* the last */
	struct log_limit unread;
};

/* As if a gateway had been surveyed that shows nothing yet. */
void push_surveyor_take_nothing(struct push_surveyor *surveyor);

/* Whether survey_interval has passed since the last. */
bool push_surveyor_is_due(const struct push_surveyor *surveyor);

/* Whether another may be made out of turn. */
bool push_surveyor_has_rested(const struct push_surveyor *surveyor);

/* None may run. A gateway that lets an optional one time out is not away. */
void push_surveyor_start(struct push_surveyor *surveyor, bool is_optional);

/* No on_end. True if one ran. */
bool push_surveyor_cancel(struct push_surveyor *surveyor);

#endif
