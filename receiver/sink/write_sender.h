/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_SENDER_H
#define PS_RECEIVER_SINK_WRITE_SENDER_H
/*
 * What sends to one endpoint, whether samples or metadata: the connection, the version of the
 * protocol, what is said and counted of its answers. It holds no samples. Loop thread.
 */
#include "common/config/settings.h"
#include "common/core/log.h"
#include "common/core/metrics.h"
#include "common/core/readiness.h"
#include "common/loop/fetch_client.h"
#include "receiver/sink/write_answer.h"

/* Embedded; zero-initialise, set the first members, and init. */
struct write_sender {
	const char *sink;
	const struct remote_write_settings *settings;
	struct metrics *metrics;
	struct write_table *table;
	void *arg; /* its owner's */

	struct fetch *fetch;
	struct fetch_client *client; /* what secures its requests; NULL: nothing */
	char *shown_url;             /* without credentials */
	enum write_version version;
	struct write_request *request;
	struct readiness readiness;
	bool is_reason_said, is_loss_said;
	struct log_limit lost, dropped;
	struct series *samples, *markers, *retried, *failed, *metadata, *bytes, *requests, *seconds,
		*highest;
	int64_t highest_ms;
};

void write_sender_init(struct write_sender *sender, uv_loop_t *loop);

/* POSTs the body, which must stay; `attempt` from 0. */
struct fetch_transfer *write_sender_post(struct write_sender *sender, struct slice body,
	unsigned attempt, fetch_callback callback, void *arg);

/* What the answer means, said and counted as far as it concerns the endpoint. `version` is that of
 * the request. */
void write_sender_judge(struct write_sender *sender, const struct fetch_result *result,
	enum write_version version, struct write_answer *answer);

/* So many samples will not be sent, for what the endpoint said. */
void write_sender_drop(
	struct write_sender *sender, const struct write_answer *answer, uint64_t samples);

/* Cancels what runs, then on_closed; fini after that. */
void write_sender_close(struct write_sender *sender, void (*on_closed)(void *arg), void *arg);
void write_sender_fini(struct write_sender *sender);

#endif
