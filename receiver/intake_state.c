/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The intake of a state sink with durables: the newest scrape of each target. What is held there is
 * unacknowledged for long, so that much of it must not keep newer ones from arriving; what was
 * delivered to a process that died would come too late and is looked back at.
 */
#include "receiver/intake_internal.h"

#define MAX_ACK_PENDING   1000000
#define ACK_WAIT_FLOOR_MS 60000

static void on_silent(void *arg, struct target *target)
{
	struct intake *intake = arg;

	intake->sink->ops->silent(intake->sink, target);
}

static void on_forget(void *arg, struct target *target)
{
	struct intake *intake = arg;

	intake->sink->ops->forget(intake->sink, target);
}

static struct newest_limits limits_of(const struct intake *intake)
{
	const struct settings *settings = intake->options.settings;

	return (struct newest_limits){
		.max_age_ms = intake->needs.max_age_ms,
		.max_targets_per_publisher = settings->max_targets_per_publisher,
		.max_publisher_bytes = settings->max_publisher_bytes,
		.max_publisher_in_flight = intake->needs.publisher_in_flight,
	};
}

static void make(struct intake *intake, struct sink_context *context)
{
	const struct newest_options options = {
		.limits = limits_of(intake),
		.on_ready = intake_on_ready,
		.on_silent = on_silent,
		.on_forget = on_forget,
		.on_ack = intake_on_ack,
		.on_fate = intake_on_fate,
		.on_clock_reset = intake_on_clock_reset,
		.arg = intake,
	};

	context->newest = intake->newest = newest_new(&options);
}

static void set_limits(struct intake *intake)
{
	struct newest_limits limits = limits_of(intake);

	newest_set_limits(intake->newest, &limits);
}

static void shape(const struct intake *intake, struct consumer_options *options)
{
	int64_t age_ms = intake->needs.max_age_ms;

	options->settings.ack_wait_ms = (age_ms > ACK_WAIT_FLOOR_MS ? age_ms : ACK_WAIT_FLOOR_MS) +
					intake->needs.timeout_ms;
	options->settings.max_ack_pending = MAX_ACK_PENDING;
	options->start_age_ms = age_ms;
}

/*
 * What was delivered to a process that died, or to a connection that was lost, comes again only
 * after ack_wait: too late. A durable made just now has delivered nothing.
 */
static void on_bound(struct source *source, bool is_made, int64_t unacked)
{
	bool is_wanted = !is_made && (!source->has_looked_back || unacked != 0);

	source->has_looked_back = true;
	if (is_wanted && source->lookback != NULL)
		lookback_start(source->lookback, consumer_generation(source->consumer));
}

static void sweep(struct intake *intake, int64_t now_ms)
{
	newest_sweep(intake->newest, now_ms, intake->trust.since_ms);
}

static void measure(const struct intake *intake, struct intake_amounts *amounts)
{
	amounts->targets = newest_target_count(intake->newest);
	amounts->publishers = newest_publisher_count(intake->newest);
	amounts->waiting = newest_waiting_count(intake->newest);
	amounts->waiting_bytes = newest_waiting_bytes(intake->newest);
	amounts->held_bytes = newest_held_bytes(intake->newest);
}

static void each_unacked(
	struct intake *intake, void (*visit)(void *arg, struct slice reply), void *arg)
{
	newest_each_unacked(intake->newest, visit, arg);
}

static void free_newest(struct intake *intake)
{
	newest_free(intake->newest);
}

const struct intake_ops intake_of_state = {
	.make = make,
	.set_limits = set_limits,
	.taker = &newest_taker,
	.shape = shape,
	.looks_back = true,
	.on_bound = on_bound,
	.sweep = sweep,
	.measure = measure,
	.each_unacked = each_unacked,
	.free = free_newest,
};

/* Passing consumers begin with the newest of each target, and acknowledge nothing. */

static void shape_passing(const struct intake *intake, struct consumer_options *options)
{
	(void)intake;
	options->settings.durable = NULL;
}

static void on_bound_passing(struct source *source, bool is_made, int64_t unacked)
{
	(void)source;
	(void)is_made;
	(void)unacked;
}

static void note_caught_up(struct intake *intake)
{
	if (intake->was_caught_up || !intake_sources_have_caught_up(intake) ||
		waiting_count(intake->waiting) > 0)
		return;
	intake->was_caught_up = true;
	intake->sink->ops->caught_up(intake->sink);
}

static void sweep_passing(struct intake *intake, int64_t now_ms)
{
	note_caught_up(intake);
	sweep(intake, now_ms);
}

const struct intake_ops intake_of_passing = {
	.make = make,
	.set_limits = set_limits,
	.taker = &newest_taker,
	.shape = shape_passing,
	.on_bound = on_bound_passing,
	.on_change = note_caught_up,
	.sweep = sweep_passing,
	.measure = measure,
	.each_unacked = each_unacked,
	.free = free_newest,
};
