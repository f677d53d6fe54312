/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The remote write sink: frames become batches, batches go to shards.
 *
 * While samples of a target are under way, what comes of it goes to the same shard; otherwise to
 * one that has room. So a target's samples arrive in order, and no shard is loaded by the chance of
 * a hash. A frame whose shard is full is kept back, and nothing is taken behind it.
 */
#include "receiver/sink/remote_write.h"

#include "common/core/clock.h"
#include "receiver/metrics.h"
#include "receiver/sink/write_metadata.h"
#include "receiver/sink/write_shard.h"
#include "receiver/sink/write_target.h"

/* Nothing more is taken while what is pending takes so much: series that differ from scrape to
 * scrape are charged to nobody once another scrape has come. */
#define PENDING_BYTES ((size_t)64 << 20)

struct remote_write {
	struct sink base;
	struct sink_context context;
	const struct remote_write_settings *settings;
	struct write_sender sender;
	struct write_maker maker;
	struct write_metadata metadata;
	struct write_shard **shards;
	size_t shard_count;            /* made so far */
	size_t shards_used;            /* to which targets are given now */
	struct frame *kept;            /* its shard is full */
	size_t pending, pending_bytes; /* samples in all shards, and what they take */
	struct series *pending_samples, *shards_series;
	bool is_stopping;
	size_t closing_parts;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

static struct remote_write *from_sink(const struct sink *sink)
{
	return container_of(sink, struct remote_write, base);
}

static bool has_room(const struct remote_write *write, const struct write_shard *shard)
{
	return shard->pending < (size_t)write->settings->queue.capacity;
}

static void pump(struct remote_write *write);

/* `sign`: 1 or -1. */
static void count_pending(struct remote_write *write, const struct write_batch *batch, int sign)
{
	write->pending += (size_t)sign * write_batch_count(batch);
	write->pending_bytes += (size_t)sign * batch->bytes;
	series_set(write->pending_samples, (double)write->pending);
}

/* What shards report. */

static void end_frame(struct remote_write *write, struct write_target *state, struct frame *frame,
	bool was_refused)
{
	struct ordered *ordered = write->context.ordered;
	bool is_removed = !frame->scrape.up && (frame->scrape.flags & WIRE_REMOVED) != 0;

	ordered_end(ordered, frame, was_refused ? ORDERED_REFUSED : ORDERED_TAKEN);
	if (is_removed && state->batches == 0)
		ordered_forget(ordered, state->target);
}

static void on_done(void *arg, struct write_batch *batch)
{
	struct remote_write *write = arg;
	struct write_target *state = batch->state;
	struct frame *frame = batch->frame;
	bool was_refused = batch->was_refused;

	count_pending(write, batch, -1);
	write_batch_free(batch, write->maker.table);
	if (--state->batches == 0)
		state->shard = NULL;
	if (frame != NULL)
		end_frame(write, state, frame, was_refused);
	else if (state->batches == 0 && state->target != NULL && state->target->is_silent)
		ordered_forget(write->context.ordered, state->target);
	else if (state->batches == 0 && state->target == NULL)
		write_target_free(&write->maker, state);
}

static void on_room(void *arg)
{
	pump(arg);
}

/* Shards. */

static struct write_shard *add_shard(struct remote_write *write)
{
	struct write_shard *shard = xcalloc(1, sizeof(*shard));

	shard->sender = &write->sender;
	shard->on_done = on_done;
	shard->on_room = on_room;
	shard->arg = write;
	write_shard_init(shard, write->context.loop);
	write->shards =
		xreallocarray(write->shards, write->shard_count + 1, sizeof(struct write_shard *));
	write->shards[write->shard_count++] = shard;
	return shard;
}

/* The one of those in use that has least to do. */
static struct write_shard *least_loaded(struct remote_write *write)
{
	struct write_shard *least = NULL;

	while (write->shard_count < write->shards_used)
		add_shard(write);
	for (size_t i = 0; i < write->shards_used; i++)
		if (least == NULL || write->shards[i]->pending < least->pending)
			least = write->shards[i];
	return least;
}

/* One with room; NULL: there is none. */
static struct write_shard *choose_shard(struct remote_write *write)
{
	const struct remote_write_queue_settings *queue = &write->settings->queue;
	struct write_shard *shard;

	if (write->pending == 0 || write->shards_used > (size_t)queue->max_shards)
		write->shards_used = (size_t)queue->min_shards;
	series_set(write->shards_series, (double)write->shards_used);
	shard = least_loaded(write);
	if (has_room(write, shard))
		return shard;
	if (write->shards_used == (size_t)queue->max_shards)
		return NULL;
	write->shards_used++;
	shard = least_loaded(write);
	return has_room(write, shard) ? shard : NULL;
}

static void put_batch(struct remote_write *write, struct write_target *state,
	struct write_shard *shard, struct write_batch *batch)
{
	batch->state = state;
	state->shard = shard;
	state->batches++;
	count_pending(write, batch, 1);
	write_shard_put(shard, batch);
}

/* Taking. */

static struct write_target *state_of(struct remote_write *write, struct ordered_target *target)
{
	if (target->sink_state == NULL)
		target->sink_state = write_target_new(&write->maker, target);
	return target->sink_state;
}

/* False, and the frame is kept, if there is no room for it. */
static bool take(struct remote_write *write, struct frame *frame)
{
	struct write_target *state = state_of(write, frame->target);
	struct write_shard *shard = state->shard != NULL ? state->shard : choose_shard(write);
	struct write_batch *batch;

	if (shard == NULL || !has_room(write, shard)) {
		write->kept = frame;
		return false;
	}
	write->kept = NULL;
	batch = write_target_read(&write->maker, state, frame);
	batch->frame = frame;
	put_batch(write, state, shard, batch);
	return true;
}

static void pump(struct remote_write *write)
{
	struct frame *frame;

	while (!write->is_stopping) {
		frame = write->kept;
		if (frame == NULL && write->pending_bytes < PENDING_BYTES &&
			choose_shard(write) != NULL)
			frame = ordered_next(write->context.ordered, clock_wall_ms());
		if (frame == NULL || !take(write, frame))
			break;
	}
}

/* The sink's functions. */

static void wake(struct sink *sink)
{
	pump(from_sink(sink));
}

static void silent(struct sink *sink, struct ordered_target *target)
{
	struct remote_write *write = from_sink(sink);
	struct write_target *state = target->sink_state;
	struct write_batch *batch = NULL;
	struct write_shard *shard;

	if (write->is_stopping)
		return;
	if (state != NULL)
		batch = write_target_end(state, clock_wall_ms());
	if (batch == NULL) {
		if (state == NULL || state->batches == 0)
			ordered_forget(write->context.ordered, target);
		return;
	}
	shard = state->shard != NULL ? state->shard : choose_shard(write);
	put_batch(write, state, shard != NULL ? shard : least_loaded(write), batch);
}

static void forget(struct sink *sink, struct ordered_target *target)
{
	struct remote_write *write = from_sink(sink);
	struct write_target *state = target->sink_state;

	target->sink_state = NULL;
	if (state == NULL)
		return;
	state->target = NULL;
	if (state->batches == 0)
		write_target_free(&write->maker, state);
}

/* What a target's silence ends is told to `silent`; nothing is shown of others. */
static void sweep(struct sink *sink, int64_t now_ms, int64_t trusted_since_ms)
{
	(void)sink;
	(void)now_ms;
	(void)trusted_since_ms;
}

static void set_settings(struct sink *sink, const struct settings *settings, const void *own)
{
	struct remote_write *write = from_sink(sink);

	write->context.settings = settings;
	write->settings = own;
	write->sender.settings = own;
	write->maker.settings = own;
	pump(write);
}

static size_t running(const struct sink *sink)
{
	const struct remote_write *write = from_sink(sink);
	size_t busy = 0;

	for (size_t i = 0; i < write->shard_count; i++)
		busy += write_shard_is_busy(write->shards[i]);
	return busy;
}

static void stop(struct sink *sink)
{
	struct remote_write *write = from_sink(sink);

	write->is_stopping = true;
	write_metadata_stop(&write->metadata);
	for (size_t i = 0; i < write->shard_count; i++)
		write_shard_flush(write->shards[i]);
}

static bool is_ready(const struct sink *sink, struct buf *why)
{
	return readiness_get(&from_sink(sink)->sender.readiness, why);
}

static void finish_closing(struct remote_write *write)
{
	for (size_t i = 0; i < write->shard_count; i++)
		free(write->shards[i]);
	free(write->shards);
	write_sender_fini(&write->sender);
	write_maker_fini(&write->maker);
	write_table_free(write->maker.table);
	write->on_closed(write->closed_arg);
	free(write);
}

static void on_part_closed(void *arg)
{
	struct remote_write *write = arg;

	if (--write->closing_parts == 0)
		finish_closing(write);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_part_closed(
		container_of((uv_timer_t *)handle, struct write_metadata, timer)->sender->arg);
}

static void on_shard_closed(uv_handle_t *handle)
{
	on_part_closed(((struct write_shard *)handle->data)->arg);
}

static void close_sink(struct sink *sink, void (*on_closed)(void *arg), void *arg)
{
	struct remote_write *write = from_sink(sink);

	write->is_stopping = true;
	write->on_closed = on_closed;
	write->closed_arg = arg;
	write->closing_parts = 2 + write->shard_count;
	for (size_t i = 0; i < write->shard_count; i++)
		write_shard_close(write->shards[i], on_shard_closed);
	write_metadata_close(&write->metadata, on_timer_closed);
	write_sender_close(&write->sender, on_part_closed, write);
}

static const struct sink_ops remote_write_ops = {
	.wake = wake,
	.log_silent = silent,
	.log_forget = forget,
	.sweep = sweep,
	.set_settings = set_settings,
	.running = running,
	.stop = stop,
	.is_ready = is_ready,
	.close = close_sink,
};

struct sink *remote_write_open(
	const struct sink_context *context, const struct remote_write_settings *settings)
{
	struct remote_write *write = xcalloc(1, sizeof(*write));
	struct write_table *table = write_table_new();
	struct metrics *metrics = context->metrics;

	write->base = (struct sink){.ops = &remote_write_ops, .name = settings->name};
	write->context = *context;
	write->settings = settings;
	write->shards_used = (size_t)settings->queue.min_shards;
	write->sender = (struct write_sender){
		.sink = settings->name,
		.settings = settings,
		.metrics = metrics,
		.table = table,
		.arg = write,
	};
	write_sender_init(&write->sender, context->loop);
	write->maker = (struct write_maker){
		.sink = settings->name,
		.context = &write->context,
		.settings = settings,
		.table = table,
		.parse_errors = metrics_series(metrics, RM_PARSE_ERRORS, settings->name),
		.rewrite_seconds = metrics_plain(metrics, RM_DECOMPRESS_SECONDS),
	};
	write_maker_init(&write->maker);
	write->pending_samples = metrics_series(metrics, RM_WRITE_PENDING, settings->name);
	write->shards_series = metrics_series(metrics, RM_WRITE_SHARDS, settings->name);
	write->metadata.sender = &write->sender;
	write_metadata_init(&write->metadata, context->loop);
	return &write->base;
}
