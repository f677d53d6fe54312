/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The intake of a log sink: every scrape of each target, in stream order.
 *
 * Nothing is dropped for lack of room: while a publisher makes us hold as much as it may, its
 * durable is not pulled from, and the stream keeps the rest. Where one durable serves all
 * publishers, they wait for each other then, though not for longer than the sink needs to take what
 * is held, of which each publisher gets its turn; naming them in `filter` gives each a durable of
 * its own.
 *
 * What was delivered and lost on its way, or to a process that died, comes again after ack_wait,
 * and before anything new. So as not to take newer ones before it, nothing is pulled until then.
 */
#include "receiver/intake_internal.h"

#include "common/core/clock.h"

/*
 * How long what was lost makes its targets wait: short. Longer than what a pull brings may be on
 * its way over a slow line; what is held here is kept from coming again all that time by
 * in-progress acks.
 */
#define ACK_WAIT_MS 15000
/*
 * Not a key: bytes bound the memory. It bounds what comes again after a crash, and how many
 * in-progress acks a dead sink costs, and has to be above what a sink that gathers scrapes for a
 * few seconds holds: 10,000 targets at 15 s bring 20,000 in half a minute.
 */
#define MAX_ACK_PENDING 20000
/* Timers of servers before and after a restart, which count in seconds. */
#define HOLD_OFF_MARGIN_MS 2000
/* Silence means something only if the stream was heard to its end so recently. */
#define CAUGHT_UP_MEMORY_MS 10000

static void on_silent(void *arg, struct ordered_target *target)
{
	struct intake *intake = arg;

	intake->sink->ops->log_silent(intake->sink, target);
}

static void on_forget(void *arg, struct ordered_target *target)
{
	struct intake *intake = arg;

	intake->sink->ops->log_forget(intake->sink, target);
}

static void update_source(struct source *source)
{
	const struct ordered *ordered = source->intake->ordered;
	bool was_full = source->is_full;

	source->is_full = source->publisher == NULL
				  ? ordered_is_full(ordered)
				  : ordered_is_full_for(ordered, slice_from(source->publisher));
	if (source->is_full != was_full)
		intake_source_resume(source);
}

static void on_change(struct intake *intake)
{
	for (size_t i = 0; i < intake->source_count; i++)
		update_source(&intake->sources[i]);
}

static void on_fate(void *arg, const struct frame *frame, enum frame_fate fate)
{
	intake_on_fate(arg, frame, fate);
	on_change(arg);
}

static struct ordered_limits limits_of(const struct intake *intake)
{
	const struct settings *settings = intake->options.settings;

	return (struct ordered_limits){
		.max_age_ms = intake->needs.max_age_ms,
		.max_targets_per_publisher = settings->max_targets_per_publisher,
		.max_publisher_bytes = settings->max_publisher_bytes,
		.max_publisher_in_flight = intake->needs.publisher_in_flight,
	};
}

static void make(struct intake *intake, struct sink_context *context)
{
	const struct ordered_options options = {
		.limits = limits_of(intake),
		.on_ready = intake_on_ready,
		.on_silent = on_silent,
		.on_forget = on_forget,
		.on_ack = intake_on_ack,
		.on_fate = on_fate,
		.on_clock_reset = intake_on_clock_reset,
		.arg = intake,
	};

	context->ordered = intake->ordered = ordered_new(&options);
}

static void set_limits(struct intake *intake)
{
	struct ordered_limits limits = limits_of(intake);

	ordered_set_limits(intake->ordered, &limits);
	on_change(intake);
}

static void shape(const struct intake *intake, struct consumer_options *options)
{
	options->settings.ack_wait_ms = ACK_WAIT_MS;
	options->settings.max_ack_pending = MAX_ACK_PENDING;
	options->start_age_ms = intake->needs.max_age_ms;
}

/* A durable made just now has delivered nothing; where we may not ask, something is unacked. */
static void on_bound(struct source *source, bool is_made, int64_t unacked)
{
	int64_t wait_ms = consumer_ack_wait_ms(source->consumer);

	if (is_made || unacked == 0)
		return;
	source->held_off_until_ms =
		(int64_t)clock_mono_ms() + wait_ms + wait_ms / 10 + HOLD_OFF_MARGIN_MS;
	intake_source_resume(source);
	log_info("what was delivered before and not acknowledged comes first",
		LOG_S("sink", source->intake->sink->name), LOG_I("unacked", unacked),
		LOG_I("wait_ms", source->held_off_until_ms - (int64_t)clock_mono_ms()));
}

static void end_hold_off(struct source *source, int64_t mono_ms)
{
	if (source->held_off_until_ms == 0 || mono_ms < source->held_off_until_ms)
		return;
	source->held_off_until_ms = 0;
	intake_source_resume(source);
}

static bool is_pulling(const struct intake *intake)
{
	for (size_t i = 0; i < intake->source_count; i++)
		if (intake->sources[i].is_full || intake->sources[i].held_off_until_ms != 0)
			return false;
	return true;
}

/* With a backlog in the stream, or here and not pulled, targets only look silent. */
static bool is_heard(struct intake *intake)
{
	int64_t mono_ms = (int64_t)clock_mono_ms();

	if (!is_pulling(intake))
		return false;
	if (intake_sources_have_caught_up(intake))
		intake->caught_up_ms = mono_ms;
	return mono_ms - intake->caught_up_ms <= CAUGHT_UP_MEMORY_MS;
}

static void say_in_progress(void *arg, struct slice reply)
{
	struct intake *intake = arg;

	consumer_in_progress(intake->sources[0].consumer, reply);
}

/* Of what came before the last time, so that each is named before two thirds of ack_wait. */
static void send_progress(struct intake *intake, int64_t mono_ms)
{
	int64_t third_ms = consumer_ack_wait_ms(intake->sources[0].consumer) / 3;
	uint64_t before_us = clock_mono_us() - (uint64_t)third_ms * 1000;

	if (mono_ms - intake->progress_ms < third_ms)
		return;
	intake->progress_ms = mono_ms;
	ordered_each_held(intake->ordered, before_us, say_in_progress, intake);
	waiting_each_unacked(intake->waiting, before_us, say_in_progress, intake);
}

static void sweep(struct intake *intake, int64_t now_ms)
{
	int64_t mono_ms = (int64_t)clock_mono_ms();

	for (size_t i = 0; i < intake->source_count; i++)
		end_hold_off(&intake->sources[i], mono_ms);
	waiting_sweep(intake->waiting);
	ordered_sweep(intake->ordered, now_ms, intake->trust.since_ms);
	on_change(intake);
	send_progress(intake, mono_ms);
}

static void measure(const struct intake *intake, struct intake_amounts *amounts)
{
	amounts->targets = ordered_target_count(intake->ordered);
	amounts->publishers = ordered_publisher_count(intake->ordered);
	amounts->waiting = ordered_waiting_count(intake->ordered);
	amounts->waiting_bytes = ordered_waiting_bytes(intake->ordered);
	amounts->held_bytes = ordered_held_bytes(intake->ordered);
}

static void each_unacked(
	struct intake *intake, void (*visit)(void *arg, struct slice reply), void *arg)
{
	ordered_each_unacked(intake->ordered, visit, arg);
}

static void free_ordered(struct intake *intake)
{
	ordered_free(intake->ordered);
}

const struct intake_ops intake_of_log = {
	.make = make,
	.set_limits = set_limits,
	.taker = &ordered_taker,
	.shape = shape,
	.on_bound = on_bound,
	.on_change = on_change,
	.is_heard = is_heard,
	.sweep = sweep,
	.measure = measure,
	.each_unacked = each_unacked,
	.free = free_ordered,
};
