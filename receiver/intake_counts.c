/* SPDX-License-Identifier: Apache-2.0 */
/* What became of messages and frames, in the receiver's metrics and its log. */
#include "receiver/intake_internal.h"

#include "common/core/clock.h"
#include "receiver/metrics.h"

void intake_resolve_series(struct intake *intake)
{
	const struct {
		struct series **series;
		enum receiver_metric id;
	} wanted[] = {
		{&intake->received, RM_RECEIVED},
		{&intake->looked_back, RM_LOOKED_BACK},
		{&intake->received_bytes, RM_RECEIVED_BYTES},
		{&intake->redelivered, RM_REDELIVERED},
		{&intake->delivered, RM_DELIVERED},
		{&intake->delivered_age, RM_DELIVERED_AGE_SECONDS},
		{&intake->ack_seconds, RM_ACK_SECONDS},
	};

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		*wanted[i].series =
			metrics_series(intake->options.metrics, wanted[i].id, intake->sink->name);
}

void intake_count_discard(struct intake *intake, const char *reason)
{
	series_inc(
		metrics_series(intake->options.metrics, RM_DISCARDS, intake->sink->name, reason));
}

/* Not below 0: a publisher's clock may be ahead a little. */
static double age_s(const struct frame *frame)
{
	int64_t age_ms = clock_wall_ms() - frame->age_from_ms;

	return age_ms < 0 ? 0 : (double)age_ms / 1e3;
}

/* What a lookback found to be of no use is not counted: the durable's copy is. */
static bool is_counted(const struct frame *frame, enum frame_fate fate)
{
	return !frame->is_lookback || fate == FATE_DELIVERED || fate == FATE_SUPERSEDED ||
	       fate == FATE_REFUSED;
}

static void count_lacking(struct intake *intake, const struct frame *frame, enum frame_fate fate)
{
	tally_discard(intake->options.tally, frame->publisher, frame_fate_name(fate));
	log_limited(&intake->lacking, LOG_WARN,
		"a scrape is dropped, since the keyframe that it refers to is not to be had; the "
		"target is whole again with its next keyframe",
		LOG_S("sink", intake->sink->name), LOG_SL("publisher", frame->publisher),
		LOG_SL("job", frame->job), LOG_SL("instance", frame->instance),
		LOG_S("reason", frame_fate_name(fate)));
}

static void count_stale(struct intake *intake, const struct frame *frame)
{
	if (intake->stale == NULL)
		intake->stale = metrics_series(intake->options.metrics, RM_DISCARDS,
			intake->sink->name, frame_fate_name(FATE_STALE));
	series_inc(intake->stale);
	tally_aged(intake->options.tally, intake->sink->name, frame->job);
}

void intake_on_fate(void *arg, const struct frame *frame, enum frame_fate fate)
{
	struct intake *intake = arg;

	if (!is_counted(frame, fate))
		return;
	switch (fate) {
	case FATE_DELIVERED:
		series_inc(intake->delivered);
		series_observe(intake->delivered_age, age_s(frame));
		return;
	case FATE_REDELIVERED:
		series_inc(intake->redelivered);
		return;
	case FATE_STALE:
		count_stale(intake, frame);
		return;
	case FATE_OVER_LIMIT:
	case FATE_OVER_BYTES:
		tally_discard(intake->options.tally, frame->publisher, frame_fate_name(fate));
		break;
	case FATE_KEYFRAME_MISSING:
	case FATE_KEYFRAME_DENIED:
	case FATE_KEYFRAME_CORRUPT:
	case FATE_KEYFRAME_TOO_LARGE:
	case FATE_KEYFRAME_FAILED:
		count_lacking(intake, frame, fate);
		break;
	default:
		break;
	}
	intake_count_discard(intake, frame_fate_name(fate));
}

void intake_on_clock_reset(void *arg, const struct frame *frame, int64_t step_back_ms)
{
	struct intake *intake = arg;

	tally_clock_reset(intake->options.tally, frame->publisher);
	log_limited(&intake->clock_reset, LOG_WARN,
		"a target's scrape time went back; taken as a reset of its poller's clock",
		LOG_SL("publisher", frame->publisher), LOG_SL("job", frame->job),
		LOG_SL("instance", frame->instance), LOG_I("step_back_ms", step_back_ms));
}
