/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_SHARD_H
#define PS_RECEIVER_SINK_WRITE_SHARD_H
/*
 * A queue of samples and the one request that carries its beginning: what is behind one another in
 * the queue arrives in that order. A request holds as many samples as it may, of as many batches as
 * it takes. Loop thread.
 *
 *	  IDLE ──full, or waited──> SENDING ──taken, refused──> IDLE
 *	                               │  ^
 *	                     must wait v  │ the wait is over
 *	                             WAITING
 */
#include "common/core/backoff.h"
#include "receiver/sink/write_sender.h"

enum write_shard_state { WRITE_IDLE, WRITE_SENDING, WRITE_WAITING };

struct write_shard {
	struct write_sender *sender;
	/* All samples of the batch have been answered for; it is the receiver's now. */
	void (*on_done)(void *arg, struct write_batch *batch);
	/* There is more room. */
	void (*on_room)(void *arg);
	void *arg;

	enum write_shard_state state;
	TAILQ_HEAD(, write_batch) batches;
	size_t pending; /* samples, those of the request among them */
	size_t sending; /* of them, in the request */
	/* So many samples were refused together: they are brought again batch by batch, as what is
	 * wrong may be one target's. */
	size_t doubtful;
	bool is_flushing; /* waits for nothing but the endpoint */
	struct buf body;
	enum write_version version; /* of the body */
	struct write_counts counts; /* of the body */
	struct fetch_transfer *transfer;
	unsigned attempts;
	struct backoff backoff;
	uv_timer_t timer; /* for a batch's deadline, or the end of a wait */
};

/* The first members must be set. */
void write_shard_init(struct write_shard *shard, uv_loop_t *loop);

/* Takes the batch. No on_done from inside. */
void write_shard_put(struct write_shard *shard, struct write_batch *batch);

/* Sends what there is at once, from now on. */
void write_shard_flush(struct write_shard *shard);

/* Whether a request is under way, or could be. */
bool write_shard_is_busy(const struct write_shard *shard);

/* Cancels the request and closes the timer, then on_closed. What is queued goes, without on_done.
 */
void write_shard_close(struct write_shard *shard, uv_close_cb on_closed);

#endif
