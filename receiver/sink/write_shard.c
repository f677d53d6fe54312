/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of the queue is what a request carries, until it is answered for: then it leaves.
 * So a request can be made anew at any time, for another version or without what became too old.
 */
#include "receiver/sink/write_shard.h"

#include "common/core/clock.h"
#include "receiver/metrics.h"

/* A request is not to become larger, beyond the first batch in it. */
#define REQUEST_BYTES ((size_t)8 << 20)
#define KEPT_BYTES    ((size_t)1 << 20)

static void pump(struct write_shard *shard);

static const struct remote_write_queue_settings *queue_of(const struct write_shard *shard)
{
	return &shard->sender->settings->queue;
}

/* What is older than this is left out. */
static int64_t oldest_ms(const struct write_shard *shard)
{
	int64_t limit_ms = queue_of(shard)->sample_age_limit_ms;

	return limit_ms == 0 ? INT64_MIN : clock_wall_ms() - limit_ms;
}

/* Fills the request from the beginning of the queue, with at most so many samples. */
static void make_request(struct write_shard *shard, size_t most)
{
	struct write_sender *sender = shard->sender;
	const struct write_batch *batch;
	int64_t from_ms = oldest_ms(shard);

	shard->sending = 0;
	shard->version = sender->version;
	write_request_begin(sender->request, shard->version);
	TAILQ_FOREACH (batch, &shard->batches, in_queue) {
		size_t left = write_batch_count(batch) - batch->taken;
		size_t take = left < most - shard->sending ? left : most - shard->sending;

		write_request_add(sender->request, batch, batch->taken,
			batch->taken + (uint32_t)take, from_ms);
		shard->sending += take;
		if (shard->sending == most || shard->doubtful > 0 ||
			write_request_bytes(sender->request) >= REQUEST_BYTES)
			break;
	}
	if (shard->body.capacity > KEPT_BYTES)
		buf_free(&shard->body);
	buf_clear(&shard->body);
	shard->counts = write_request_end(sender->request, &shard->body);
}

/* The samples of the request leave the queue. */
static void advance(struct write_shard *shard, bool was_refused)
{
	size_t left = shard->sending;

	shard->sending = 0;
	shard->pending -= left;
	shard->doubtful -= left < shard->doubtful ? left : shard->doubtful;
	while (left > 0) {
		struct write_batch *batch = TAILQ_FIRST(&shard->batches);
		size_t of_batch = write_batch_count(batch) - batch->taken;
		size_t take = of_batch < left ? of_batch : left;

		left -= take;
		batch->taken += (uint32_t)take;
		batch->was_refused = batch->was_refused || was_refused;
		if (take < of_batch)
			break;
		TAILQ_REMOVE(&shard->batches, batch, in_queue);
		shard->on_done(shard->arg, batch);
	}
}

static void count_too_old(struct write_shard *shard)
{
	if (shard->counts.too_old > 0)
		series_add(metrics_series(shard->sender->metrics, RM_LEFT_OUT, shard->sender->sink,
				   "too_old"),
			(double)shard->counts.too_old);
	shard->counts.too_old = 0;
}

static void on_taken(struct write_shard *shard)
{
	struct write_sender *sender = shard->sender;

	series_add(sender->samples, (double)shard->counts.samples);
	series_add(sender->markers, (double)shard->counts.markers);
	if (shard->counts.highest_ms > sender->highest_ms) {
		sender->highest_ms = shard->counts.highest_ms;
		series_set(sender->highest, (double)sender->highest_ms / 1e3);
	}
	count_too_old(shard);
	advance(shard, false);
}

static bool is_of_several_batches(const struct write_shard *shard)
{
	const struct write_batch *first = TAILQ_FIRST(&shard->batches);

	return shard->sending > write_batch_count(first) - first->taken;
}

/* One batch that is refused takes those of other targets with it, where the endpoint takes a
 * request as a whole or not at all. */
static void on_dropped(struct write_shard *shard, const struct write_answer *answer)
{
	if (is_of_several_batches(shard)) {
		shard->doubtful = shard->sending;
		shard->sending = 0;
		return;
	}
	write_sender_drop(shard->sender, answer, shard->counts.samples);
	count_too_old(shard);
	advance(shard, true);
}

static void on_wait_over(uv_timer_t *timer)
{
	struct write_shard *shard = timer->data;

	if (shard->state == WRITE_WAITING)
		shard->state = WRITE_IDLE;
	pump(shard);
}

static void wait_for_retry(struct write_shard *shard, const struct write_answer *answer)
{
	uint64_t wait_ms;

	shard->backoff.min_ms = (uint64_t)queue_of(shard)->min_backoff_ms;
	shard->backoff.max_ms = (uint64_t)queue_of(shard)->max_backoff_ms;
	wait_ms = backoff_next_ms(&shard->backoff);
	if ((uint64_t)answer->retry_after_ms > wait_ms)
		wait_ms = (uint64_t)answer->retry_after_ms;
	shard->attempts++;
	shard->state = WRITE_WAITING;
	series_add(shard->sender->retried, (double)shard->counts.samples);
	uv_timer_start(&shard->timer, on_wait_over, wait_ms, 0);
}

static void on_answer(void *arg, struct fetch_result *result)
{
	struct write_shard *shard = arg;
	struct write_answer answer;

	shard->transfer = NULL;
	shard->state = WRITE_IDLE;
	write_sender_judge(shard->sender, result, shard->version, &answer);
	switch (answer.meaning) {
	case WRITE_TAKEN:
		on_taken(shard);
		break;
	case WRITE_DROPPED:
		on_dropped(shard, &answer);
		break;
	case WRITE_FALL_BACK:
		shard->sending = 0;
		break;
	case WRITE_RETRY:
		wait_for_retry(shard, &answer);
		return;
	}
	shard->attempts = 0;
	backoff_reset(&shard->backoff);
	pump(shard);
	shard->on_room(shard->arg);
}

/* How long until a request must go, full or not; 0: now. */
static uint64_t left_ms(const struct write_shard *shard)
{
	const struct write_batch *first = TAILQ_FIRST(&shard->batches);
	uint64_t deadline_ms = (uint64_t)queue_of(shard)->batch_send_deadline_ms;
	uint64_t waited_ms = clock_mono_ms() - first->queued_ms;

	if (shard->is_flushing || shard->doubtful > 0 ||
		shard->pending >= (size_t)queue_of(shard)->max_samples_per_send ||
		waited_ms >= deadline_ms)
		return 0;
	return deadline_ms - waited_ms;
}

/* What is to be sent: what was tried before, unless some of it may be too old by now. */
static void prepare(struct write_shard *shard)
{
	if (shard->sending > 0 && shard->version == shard->sender->version &&
		queue_of(shard)->sample_age_limit_ms == 0)
		return;
	make_request(shard, shard->sending > 0 ? shard->sending
					       : (size_t)queue_of(shard)->max_samples_per_send);
}

static void pump(struct write_shard *shard)
{
	while (shard->state == WRITE_IDLE && shard->pending > 0) {
		uint64_t wait_ms = shard->sending > 0 ? 0 : left_ms(shard);

		if (wait_ms > 0) {
			uv_timer_start(&shard->timer, on_wait_over, wait_ms, 0);
			return;
		}
		prepare(shard);
		if (shard->counts.samples == 0) {
			count_too_old(shard);
			advance(shard, false);
			continue;
		}
		shard->state = WRITE_SENDING;
		shard->transfer = write_sender_post(
			shard->sender, buf_slice(&shard->body), shard->attempts, on_answer, shard);
	}
}

void write_shard_init(struct write_shard *shard, uv_loop_t *loop)
{
	TAILQ_INIT(&shard->batches);
	uv_timer_init(loop, &shard->timer);
	shard->timer.data = shard;
}

void write_shard_put(struct write_shard *shard, struct write_batch *batch)
{
	batch->queued_ms = clock_mono_ms();
	TAILQ_INSERT_TAIL(&shard->batches, batch, in_queue);
	shard->pending += write_batch_count(batch);
	/* Not sent from here, where samples that are too old would end their batch at once. */
	if (shard->state == WRITE_IDLE)
		uv_timer_start(&shard->timer, on_wait_over, left_ms(shard), 0);
}

void write_shard_flush(struct write_shard *shard)
{
	shard->is_flushing = true;
	if (shard->state == WRITE_IDLE && shard->pending > 0)
		uv_timer_start(&shard->timer, on_wait_over, 0, 0);
}

bool write_shard_is_busy(const struct write_shard *shard)
{
	return shard->state == WRITE_SENDING || (shard->state == WRITE_IDLE && shard->pending > 0);
}

void write_shard_close(struct write_shard *shard, uv_close_cb on_closed)
{
	struct write_batch *batch;

	if (shard->transfer != NULL)
		fetch_cancel(shard->transfer);
	while ((batch = TAILQ_FIRST(&shard->batches)) != NULL) {
		TAILQ_REMOVE(&shard->batches, batch, in_queue);
		write_batch_free(batch, shard->sender->table);
	}
	shard->pending = 0;
	buf_free(&shard->body);
	uv_close((uv_handle_t *)&shard->timer, on_closed);
}
