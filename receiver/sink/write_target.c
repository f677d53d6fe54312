/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scrape that failed, that cannot be decoded or read, or whose series there is no room for, is
 * `up 0`, and markers for what the one before had shown. A publisher may make us hold as many bytes
 * of series as half of max_publisher_bytes: so there is always room for its frames.
 */
#include "receiver/sink/write_target.h"

#include "common/core/clock.h"
#include "receiver/metrics.h"
#include "receiver/sink/decode.h"

/* All publishers together get so many times as much as one, then each an equal part: as shares.h.
 */
#define TOTAL_SHARES 8
/* What a target takes beside its series and labels. */
#define TARGET_BYTES (sizeof(struct write_target) + 64)

/* By the share that its targets are charged to. */
struct write_publisher {
	const struct share *share;
	size_t bytes;
	size_t targets;
	UT_hash_handle by_share;
};

/* What is held. */

static struct write_publisher *publisher_of(struct write_maker *maker, const struct share *share)
{
	struct write_publisher *publisher;

	HASH_FIND(by_share, maker->publishers, &share, sizeof(share), publisher);
	if (publisher == NULL) {
		publisher = xcalloc(1, sizeof(*publisher));
		publisher->share = share;
		HASH_ADD(by_share, maker->publishers, share, sizeof(share), publisher);
	}
	publisher->targets++;
	return publisher;
}

static void put_publisher(struct write_maker *maker, struct write_publisher *publisher)
{
	if (--publisher->targets > 0)
		return;
	HASH_DELETE(by_share, maker->publishers, publisher);
	free(publisher);
}

static void hold(struct write_maker *maker, struct write_target *state, size_t bytes)
{
	state->publisher->bytes += bytes - state->held_bytes;
	maker->held_bytes += bytes - state->held_bytes;
	state->held_bytes = bytes;
	if (state->target != NULL)
		ordered_hold(maker->context->ordered, state->target, bytes);
}

static bool has_room(
	const struct write_maker *maker, const struct write_target *state, size_t bytes)
{
	uint64_t most = maker->context->settings->max_publisher_bytes / 2;
	uint64_t of_all = most > UINT64_MAX / TOTAL_SHARES ? UINT64_MAX : most * TOTAL_SHARES;
	size_t of_publisher = state->publisher->bytes - state->held_bytes + bytes;

	if (of_publisher > most)
		return false;
	return maker->held_bytes - state->held_bytes + bytes <= of_all ||
	       of_publisher <= of_all / HASH_CNT(by_share, maker->publishers);
}

static size_t bytes_with(const struct write_target *state, const struct write_list *list)
{
	return TARGET_BYTES + state->labels->bytes + (list == NULL ? 0 : write_list_bytes(list));
}

struct write_target *write_target_new(struct write_maker *maker, struct ordered_target *target)
{
	struct write_target *state = xcalloc(1, sizeof(*state));
	bool has_label = maker->settings->publisher_label;

	state->target = target;
	state->labels = write_labels_new(slice_from(target->job), slice_from(target->instance),
		slice_from(has_label ? target->publisher : ""), &target->labels);
	state->publisher = publisher_of(maker, target->turn.share);
	hold(maker, state, bytes_with(state, NULL));
	TAILQ_INSERT_TAIL(&maker->targets, state, of_maker);
	return state;
}

void write_target_free(struct write_maker *maker, struct write_target *state)
{
	if (state->target != NULL)
		state->target->sink_state = NULL;
	state->target = NULL;
	TAILQ_REMOVE(&maker->targets, state, of_maker);
	hold(maker, state, 0);
	put_publisher(maker, state->publisher);
	write_list_unref(maker->table, state->former);
	write_labels_unref(state->labels);
	free(state);
}

/* Reading. */

static bool decode(struct write_maker *maker, const struct frame *frame)
{
	buf_clear(&maker->decoded);
	return sink_decode(maker->context, maker->sink, frame, &maker->undecodable,
		       &maker->decoded) == NULL;
}

static void say_unread(struct write_maker *maker, struct write_target *state,
	const struct frame *frame, enum write_verdict verdict, const struct err *err)
{
	bool is_loop = verdict == WRITE_LOOP;

	if (is_loop)
		tally_discard(maker->context->tally, frame->publisher, "loop");
	else
		series_inc(maker->parse_errors);
	log_limited(is_loop ? &maker->loop : &state->malformed, LOG_WARN,
		is_loop ? "a target exposes what we push (a loop: is it our Push Gateway, or does "
			  "it scrape one?); it is delivered as up 0 unless allow_loop is set"
			: "a scrape is malformed; it is delivered as up 0",
		LOG_S("sink", maker->sink), LOG_SL("publisher", frame->publisher),
		LOG_SL("job", frame->job), LOG_SL("instance", frame->instance),
		LOG_S("error", err->text));
}

static void say_over_bytes(struct write_maker *maker, const struct frame *frame)
{
	tally_discard(maker->context->tally, frame->publisher, "over_bytes");
	log_limited(&maker->over_bytes, LOG_WARN,
		"a publisher's series take more than half of max_publisher_bytes; a scrape is "
		"delivered as up 0",
		LOG_S("sink", maker->sink), LOG_SL("publisher", frame->publisher),
		LOG_SL("job", frame->job), LOG_SL("instance", frame->instance));
}

/* HELP and TYPE are read as often as they are sent. */
static bool must_learn(struct write_maker *maker, struct write_target *state)
{
	const struct remote_write_metadata_settings *metadata = &maker->settings->metadata;
	uint64_t now_ms = clock_mono_ms();

	if (!metadata->send && maker->settings->protobuf_message == REMOTE_WRITE_V1)
		return false;
	if (state->learned_ms != 0 &&
		now_ms - state->learned_ms < (uint64_t)metadata->send_interval_ms)
		return false;
	state->learned_ms = now_ms;
	return true;
}

static void count_left_out(struct write_maker *maker, const char *reason, uint64_t by)
{
	if (by > 0)
		series_add(
			metrics_series(maker->context->metrics, RM_LEFT_OUT, maker->sink, reason),
			(double)by);
}

/* Series that are the same list as before have been charged; others are the batch's, too. */
static bool charge(struct write_maker *maker, struct write_target *state, const struct frame *frame,
	const struct write_list *list, size_t *own)
{
	size_t bytes;

	if (list == state->former)
		return true;
	*own = bytes = bytes_with(state, list);
	if (!has_room(maker, state, bytes)) {
		say_over_bytes(maker, frame);
		return false;
	}
	hold(maker, state, bytes);
	return true;
}

static bool read_body(struct write_maker *maker, struct write_target *state,
	const struct frame *frame, struct write_batch *batch, struct write_scrape *scrape)
{
	const struct wire_scrape *wire = &frame->scrape;
	const struct write_scrape_options options = {
		.labels = state->labels,
		.time_ms = wire->time_ms,
		.honor_labels = (wire->flags & WIRE_HONOR_LABELS) != 0,
		.honor_timestamps = (wire->flags & WIRE_IGNORE_TIMESTAMPS) == 0,
		.allow_loop = (wire->flags & WIRE_ALLOW_LOOP) != 0,
		.learns = must_learn(maker, state),
	};
	struct err err = {""};
	/* Markers for series that were written in another way would end nothing. */
	struct write_list *former =
		state->former_honors == options.honor_labels ? state->former : NULL;
	enum write_verdict verdict = write_scrape_read(scrape, maker->table, &maker->planner,
		former, buf_slice(&maker->decoded), &options, &err);

	if (verdict != WRITE_OK) {
		say_unread(maker, state, frame, verdict, &err);
		return false;
	}
	if (charge(maker, state, frame, scrape->list, &batch->bytes))
		return true;
	write_scrape_fini(scrape, maker->table);
	batch->bytes = 0;
	return false;
}

static void show(struct write_maker *maker, struct write_target *state, struct write_batch *batch,
	struct write_scrape *scrape)
{
	count_left_out(maker, "duplicate", scrape->repeated);
	count_left_out(maker, "displaced", scrape->displaced);
	batch->own[WRITE_OWN_UP] = 1;
	batch->own[WRITE_OWN_SCRAPED] = (double)scrape->samples;
	batch->own[WRITE_OWN_POST] = (double)scrape->samples;
	batch->own[WRITE_OWN_ADDED] = (double)scrape->added;
	batch->list = scrape->list;
	batch->values = scrape->values;
	batch->times = scrape->times;
	batch->gone = scrape->gone;
	write_list_unref(maker->table, state->former);
	state->former = write_list_ref(scrape->list);
	state->former_honors = batch->honor_labels;
}

/* Nothing is shown of its series any more. */
static void end_series(struct write_target *state, struct write_batch *batch)
{
	batch->honor_labels = state->former_honors;
	batch->gone = write_list_mortal(state->former);
}

static void forget_series(struct write_maker *maker, struct write_target *state)
{
	write_list_unref(maker->table, state->former);
	state->former = NULL;
	hold(maker, state, bytes_with(state, NULL));
}

static void report_down(struct write_batch *batch)
{
	for (size_t i = 0; i < WRITE_OWN_COUNT; i++)
		batch->own[i] = 0;
}

struct write_batch *write_target_read(
	struct write_maker *maker, struct write_target *state, struct frame *frame)
{
	const struct wire_scrape *wire = &frame->scrape;
	bool is_removed = !wire->up && (wire->flags & WIRE_REMOVED) != 0;
	uint64_t begin_us = clock_mono_us();
	struct write_scrape scrape;
	struct write_batch *batch = write_batch_new(
		state->labels, (wire->flags & WIRE_HONOR_LABELS) != 0, wire->time_ms);

	if (wire->up && decode(maker, frame) && read_body(maker, state, frame, batch, &scrape)) {
		show(maker, state, batch, &scrape);
	} else {
		if (!is_removed)
			report_down(batch);
		end_series(state, batch);
		forget_series(maker, state);
	}
	if (!is_removed)
		batch->own[WRITE_OWN_DURATION] = wire->duration_s;
	batch->bytes += sizeof(*batch) + write_batch_count(batch) * sizeof(double);
	state->last_ms = wire->time_ms;
	state->is_shown = !is_removed;
	series_observe(maker->rewrite_seconds, (double)(clock_mono_us() - begin_us) / 1e6);
	return batch;
}

/*
 * The markers stand a little before the time at which the next scrape would have been: if that
 * comes after all, late, it is not behind them.
 */
struct write_batch *write_target_end(struct write_target *state, int64_t now_ms)
{
	int64_t time_ms = state->last_ms + state->target->interval_ms / 10 * 9 + 1;
	struct write_batch *batch;

	if (!state->is_shown)
		return NULL;
	if (time_ms > now_ms && now_ms > state->last_ms)
		time_ms = now_ms;
	batch = write_batch_new(state->labels, state->former_honors, time_ms);
	end_series(state, batch);
	state->last_ms = time_ms;
	state->is_shown = false;
	return batch;
}

void write_maker_init(struct write_maker *maker)
{
	TAILQ_INIT(&maker->targets);
}

void write_maker_fini(struct write_maker *maker)
{
	while (!TAILQ_EMPTY(&maker->targets))
		write_target_free(maker, TAILQ_FIRST(&maker->targets));
	write_planner_fini(&maker->planner);
	buf_free(&maker->decoded);
}
