/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The /federate sink. A scrape is taken as soon as it comes: its block replaces the one before.
 * What it costs is charged to its publisher; where there is no room, the target is shown as down
 * rather than with what it said once.
 */
#include "receiver/sink/federate_internal.h"

#include "common/core/clock.h"
#include "common/core/hash.h"
#include "common/core/log.h"
#include "receiver/metrics.h"
#include "receiver/sink/decode.h"

static struct federate *from_sink(const struct sink *sink)
{
	return container_of(sink, struct federate, base);
}

static struct series *series_of(struct federate *federate, enum receiver_metric id)
{
	return metrics_series(federate->context.metrics, id, federate->base.name);
}

/* Taking a scrape. */

static struct federate_state *state_of(struct federate *federate, struct target *target)
{
	struct federate_state *state = target->sink_state;

	if (state != NULL)
		return state;
	state = xcalloc(1, sizeof(*state));
	state->target = target;
	state->shard = hash64(target->subject, target->subject_len);
	TAILQ_INSERT_TAIL(&federate->states, state, of_sink);
	federate->state_count++;
	target->sink_state = state;
	return state;
}

static void describe(const struct federate *federate, const struct federate_state *state,
	struct federate_target *out)
{
	const struct target *target = state->target;
	const struct wire_scrape *scrape = &target->in_flight->scrape;
	const char *publisher = federate->settings->publisher_label ? target->publisher : "";

	push_labels_init(&out->labels, slice_from(target->job), slice_from(target->instance),
		slice_from(publisher), &target->labels);
	out->time_ms = scrape->time_ms;
	out->duration_s = scrape->duration_s;
	out->honor_labels = (scrape->flags & WIRE_HONOR_LABELS) != 0;
	out->ignore_timestamps = (scrape->flags & WIRE_IGNORE_TIMESTAMPS) != 0;
	out->shard = state->shard;
	out->owner = state;
	out->former = state->block;
}

static void replace(struct federate_state *state, struct block *block)
{
	block_unref(state->block);
	state->block = block;
}

static void show_nothing(struct federate_state *state)
{
	if (state->block != NULL)
		block_retract(state->block, state);
	replace(state, NULL);
}

static void show_down(struct federate *federate, struct federate_state *state)
{
	struct federate_target target;

	describe(federate, state, &target);
	replace(state, federate_body_down(&federate->builder, &target, &federate->families));
}

static void discard(struct federate *federate, const struct target *target, const char *reason)
{
	tally_discard(federate->context.tally, slice_from(target->publisher), reason);
}

#define LOG_TARGET(federate, target)                                                               \
	LOG_S("sink", (federate)->base.name), LOG_S("publisher", (target)->publisher),             \
		LOG_S("job", (target)->job), LOG_S("instance", (target)->instance)

/* Whether the target serves what we serve: its series would come round again and again. */
static bool is_loop(struct federate *federate, const struct target *target, struct slice body)
{
	size_t len = strlen(federate->mark);

	if ((target->in_flight->scrape.flags & WIRE_ALLOW_LOOP) != 0 || body.len < len ||
		memcmp(body.ptr, federate->mark, len) != 0)
		return false;
	discard(federate, target, "loop");
	log_limited(&federate->loop, LOG_WARN,
		"a target serves what we serve (a loop: is it our own /federate?); it is shown as "
		"up 0 unless allow_loop is set",
		LOG_TARGET(federate, target));
	return true;
}

static void count(
	struct federate *federate, enum receiver_metric id, const char *reason, uint64_t by)
{
	if (by > 0)
		series_add(
			metrics_series(federate->context.metrics, id, federate->base.name, reason),
			(double)by);
}

static void count_repairs(struct federate *federate, const struct federate_repairs *repairs)
{
	count(federate, RM_LEFT_OUT, "duplicate", repairs->samples_repeated);
	count(federate, RM_LEFT_OUT, "displaced", repairs->samples_displaced);
	count(federate, RM_CHANGED, "exported_label", repairs->labels_renamed);
}

/* False where its body is of no use. */
static bool show_body(struct federate *federate, struct federate_state *state, struct slice body)
{
	struct target *target = state->target;
	struct federate_repairs repairs;
	struct federate_target described;
	struct err err = {""};
	struct block *block;

	if (is_loop(federate, target, body))
		return false;
	describe(federate, state, &described);
	block = federate_body_build(&federate->builder, body, &described, &federate->families,
		&state->series, &repairs, &err);
	if (block != NULL) {
		replace(state, block);
		count_repairs(federate, &repairs);
		return true;
	}
	series_inc(federate->parse_errors);
	log_limited(&federate->malformed, LOG_WARN, "a scrape is malformed; it is shown as up 0",
		LOG_TARGET(federate, target), LOG_S("error", err.text));
	return false;
}

static bool charge(struct federate *federate, struct federate_state *state)
{
	size_t bytes = sizeof(*state) + state->series.count * sizeof(*state->series.hashes);

	if (state->block != NULL)
		bytes += state->block->bytes;
	return newest_hold(federate->context.newest, state->target, bytes);
}

/* Down where the publisher may not hold so much, and nothing at all where not even that. */
static void settle_charge(struct federate *federate, struct federate_state *state)
{
	if (charge(federate, state))
		return;
	discard(federate, state->target, frame_fate_name(FATE_OVER_BYTES));
	log_limited(&federate->no_room, LOG_WARN,
		"a publisher makes us hold as much as max_publisher_bytes; a target is shown as "
		"up 0",
		LOG_TARGET(federate, state->target));
	federate_series_fini(&state->series);
	show_down(federate, state);
	if (charge(federate, state))
		return;
	show_nothing(state);
	(void)charge(federate, state);
}

static bool was_removed(const struct frame *frame)
{
	return !frame->scrape.up && (frame->scrape.flags & WIRE_REMOVED) != 0;
}

static void show(struct federate *federate, struct federate_state *state)
{
	uint64_t begin_us = clock_mono_us();
	const struct frame *frame = state->target->in_flight;
	struct buf body = {0};

	if (was_removed(frame)) {
		federate_series_fini(&state->series);
		show_nothing(state);
	} else if (!frame->scrape.up ||
		   sink_decode(&federate->context, federate->base.name, frame,
			   &federate->undecodable, &body) != NULL ||
		   !show_body(federate, state, buf_slice(&body))) {
		show_down(federate, state);
	}
	buf_free(&body);
	settle_charge(federate, state);
	series_observe(federate->rewrite_seconds, (double)(clock_mono_us() - begin_us) / 1e6);
}

/* False where the target cannot be shown at all. */
static bool take(struct federate *federate, struct target *target)
{
	if (target->labels.count > PUSH_MAX_TARGET_LABELS) {
		discard(federate, target, "too_many_labels");
		return false;
	}
	show(federate, state_of(federate, target));
	return true;
}

/* The sink's functions. */

static void wake(struct sink *sink)
{
	struct federate *federate = from_sink(sink);
	struct newest *newest = federate->context.newest;
	struct target *target;

	while (!federate->is_stopping && (target = newest_begin(newest, clock_wall_ms())) != NULL)
		newest_end(newest, target,
			take(federate, target) ? NEWEST_DELIVERED : NEWEST_REFUSED,
			clock_wall_ms());
}

static void silent(struct sink *sink, struct target *target)
{
	newest_forget(from_sink(sink)->context.newest, target);
}

static void forget(struct sink *sink, struct target *target)
{
	struct federate *federate = from_sink(sink);
	struct federate_state *state = target->sink_state;

	if (state == NULL)
		return;
	show_nothing(state);
	federate_series_fini(&state->series);
	TAILQ_REMOVE(&federate->states, state, of_sink);
	federate->state_count--;
	free(state);
	target->sink_state = NULL;
}

static const struct family *find_contradicted(const struct families *families)
{
	for (size_t i = 0; i < families->slots; i++)
		if (families->by_slot[i] != NULL && families->by_slot[i]->is_contradicted)
			return families->by_slot[i];
	return NULL;
}

static void sweep(struct sink *sink, int64_t now_ms, int64_t trusted_since_ms)
{
	struct federate *federate = from_sink(sink);
	size_t contradicted = federate->families.contradicted;

	(void)now_ms;
	(void)trusted_since_ms;
	series_set(series_of(federate, RM_FEDERATE_TYPE_CONFLICTS), (double)contradicted);
	if (contradicted > federate->said_contradicted) {
		const struct family *family = find_contradicted(&federate->families);

		log_limited(&federate->contradicted, LOG_WARN,
			"targets give a family different types; it is served as untyped",
			LOG_S("sink", federate->base.name),
			LOG_SL("family", ((struct slice){family->name, family->name_len})),
			LOG_I("families", contradicted));
	}
	federate->said_contradicted = contradicted;
}

static void caught_up(struct sink *sink)
{
	from_sink(sink)->is_warm = true;
}

static void set_settings(struct sink *sink, const struct settings *settings, const void *own)
{
	struct federate *federate = from_sink(sink);

	federate->context.settings = settings;
	federate->settings = own;
}

static size_t running(const struct sink *sink)
{
	return from_sink(sink)->answers;
}

static void stop(struct sink *sink)
{
	from_sink(sink)->is_stopping = true;
}

static bool is_ready(const struct sink *sink, struct buf *why)
{
	const struct federate *federate = from_sink(sink);

	if (!federate->is_warm && why != NULL)
		buf_appendf(why, "%s: the newest scrape of each target is being read",
			federate->base.name);
	return federate->is_warm;
}

static void on_door_closed(void *arg)
{
	struct federate *federate = arg;

	while (!TAILQ_EMPTY(&federate->states))
		forget(&federate->base, TAILQ_FIRST(&federate->states)->target);
	families_fini(&federate->families);
	federate_builder_fini(&federate->builder);
	free(federate->mark);
	federate->on_closed(federate->closed_arg);
	free(federate);
}

static void close_sink(struct sink *sink, void (*on_closed)(void *arg), void *arg)
{
	struct federate *federate = from_sink(sink);

	federate->is_stopping = federate->is_closing = true;
	federate->on_closed = on_closed;
	federate->closed_arg = arg;
	federate_door_close(federate->door, on_door_closed, federate);
}

static const struct sink_ops federate_ops = {
	.wake = wake,
	.silent = silent,
	.forget = forget,
	.sweep = sweep,
	.caught_up = caught_up,
	.set_settings = set_settings,
	.running = running,
	.stop = stop,
	.is_ready = is_ready,
	.close = close_sink,
};

struct sink *federate_open(const struct sink_context *context,
	const struct federate_settings *settings, struct federate_door *door)
{
	struct federate *federate = xcalloc(1, sizeof(*federate));

	federate->base = (struct sink){.ops = &federate_ops, .name = settings->name};
	federate->context = *context;
	federate->settings = settings;
	federate->door = door;
	TAILQ_INIT(&federate->states);
	federate->mark = xasprintf("# prometheus-streams %s of %s\n", settings->name,
		context->settings->receiver_stream.client_id);
	federate->parse_errors = series_of(federate, RM_PARSE_ERRORS);
	federate->rewrite_seconds = metrics_plain(context->metrics, RM_DECOMPRESS_SECONDS);
	federate_door_set_sink(door, federate);
	return &federate->base;
}
