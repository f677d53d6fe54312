/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From consumers to what keeps the frames to the sink: what the intakes of all kinds of sinks have
 * in common. Whatever cannot become a frame is acknowledged and counted here: nothing malformed
 * ever stops a consumer.
 */
#include "receiver/intake_internal.h"

#include "common/core/clock.h"
#include "receiver/metrics.h"

#define SWEEP_INTERVAL_MS 1000
#define DRAIN_CHECK_MS    20
/* What the server has sent by then is on its way: it is to be given back, not to be lost for
 * ack_wait. */
#define DRAIN_LEAST_MS 100
/* Long enough for this process to be gone, short enough for the next one's start. */
#define GIVE_BACK_DELAY_MS 1000

/* What those who keep the frames report. */

void intake_on_ready(void *arg)
{
	struct intake *intake = arg;

	intake->sink->ops->wake(intake->sink);
}

void intake_ack(struct intake *intake, struct slice reply)
{
	consumer_ack(intake->sources[0].consumer, reply);
}

void intake_on_ack(void *arg, struct slice reply, uint64_t arrived_us)
{
	struct intake *intake = arg;

	intake_ack(intake, reply);
	series_observe(intake->ack_seconds, (double)(clock_mono_us() - arrived_us) / 1e6);
}

/* What the consumers bring. */

static const char *verdict_reason(enum frame_verdict verdict)
{
	static const char *const reasons[] = {
		[FRAME_MALFORMED] = "malformed",
		[FRAME_UNKNOWN] = "unknown_kind",
		[FRAME_KEY] = "keyframe",
	};

	return reasons[verdict];
}

static void discard_message(struct intake *intake, enum frame_verdict verdict,
	struct slice publisher, struct slice reply, const struct err *err)
{
	const char *reason = verdict_reason(verdict);

	intake_ack(intake, reply);
	intake_count_discard(intake, reason);
	tally_discard(intake->options.tally, publisher, reason);
	if (verdict == FRAME_MALFORMED)
		log_limited(&intake->malformed, LOG_WARN, "a malformed message is dropped",
			LOG_SL("publisher", publisher), LOG_S("error", err->text));
}

/* The publisher's clock at the end of the scrape less the stream's clock when it stored it. */
static double skew_s(const struct frame *frame)
{
	return (double)(frame->scrape.time_ms - frame->stored_ms) / 1e3 + frame->scrape.duration_s;
}

/* Only envelopes need the look: otherwise the durables' filters do it. */
static bool is_filtered(const struct intake *intake, const struct frame *frame)
{
	const struct string_list *filter = &intake->options.settings->receiver_stream.filter;

	for (size_t i = 0; i < filter->count; i++)
		if (slice_is(frame->publisher, filter->items[i]))
			return false;
	return filter->count > 0;
}

static void offer(struct intake *intake, struct frame *frame)
{
	if (frame->is_lookback) {
		waiting_offer(intake->waiting, frame);
		return;
	}
	if (is_filtered(intake, frame)) {
		intake_ack(intake, buf_slice(&frame->reply));
		intake_count_discard(intake, "filtered");
		frame_free(frame);
		return;
	}
	tally_seen(intake->options.tally, frame->publisher, frame->arrived_ms, skew_s(frame));
	if (frame->is_ahead)
		tally_future(intake->options.tally, frame->publisher);
	waiting_offer(intake->waiting, frame);
}

/* Of a durable that was made anew meanwhile, which brings the message itself if it is fresh. */
static bool is_obsolete(const struct source *source, const struct consumer_message *message)
{
	return message->is_lookback && message->generation < consumer_generation(source->consumer);
}

/* What is taken may be as much as may be held. */
static void on_change(struct intake *intake)
{
	if (intake->kind->intake->on_change != NULL)
		intake->kind->intake->on_change(intake);
}

void intake_on_message(void *arg, struct consumer_message *message)
{
	struct source *source = arg;
	struct intake *intake = source->intake;
	const struct stream_settings *stream = &intake->options.settings->receiver_stream;
	struct buf reply = {0}, publisher = {0};
	struct frame *frame = NULL;
	struct err err = {""};
	bool is_lookback = message->is_lookback;
	enum frame_verdict verdict;

	series_inc(is_lookback ? intake->looked_back : intake->received);
	series_add(intake->received_bytes, (double)nats_incoming_body(message->incoming).len);
	if (is_obsolete(source, message)) {
		nats_incoming_free(message->incoming);
		return;
	}
	message->generation = intake_source_generation(source, message->generation);
	verdict = frame_from_message(
		&frame, message, slice_from(stream->topic), &reply, &publisher, &err);
	if (verdict == FRAME_OK)
		offer(intake, frame);
	else if (!is_lookback)
		discard_message(intake, verdict, buf_slice(&publisher), buf_slice(&reply), &err);
	buf_free(&reply);
	buf_free(&publisher);
	on_change(intake);
}

static void update_trust(struct intake *intake)
{
	const struct intake_ops *ops = intake->kind->intake;
	bool is_heard = intake_sources_are_ready(intake, NULL) &&
			(ops->is_heard == NULL || ops->is_heard(intake));

	trust_update(&intake->trust, is_heard, intake_sources_have_caught_up(intake),
		clock_wall_ms(), clock_mono_ms());
}

void intake_on_source_state(void *arg)
{
	struct source *source = arg;

	update_trust(source->intake);
}

static void on_sweep(uv_timer_t *timer)
{
	struct intake *intake = timer->data;

	update_trust(intake);
	intake->kind->intake->sweep(intake, clock_wall_ms());
	intake->sink->ops->sweep(intake->sink, clock_wall_ms(), intake->trust.since_ms);
}

/* Opening. */

static struct waiting *open_waiting(struct intake *intake)
{
	const struct waiting_options options = {
		.keyframes = intake->options.keyframes,
		.topic = slice_from(intake->options.settings->receiver_stream.topic),
		.taker = intake->kind->intake->taker,
		.taker_self =
			intake->newest != NULL ? (void *)intake->newest : (void *)intake->ordered,
	};

	return waiting_new(&options);
}

static void note_settings(struct intake *intake, const struct settings *settings, const void *own)
{
	intake->options.settings = settings;
	intake->own = own;
	intake->kind->needs(settings, own, &intake->needs);
}

void intake_set_settings(struct intake *intake, const struct settings *settings, const void *own)
{
	note_settings(intake, settings, own);
	intake->kind->intake->set_limits(intake);
	intake->sink->ops->set_settings(intake->sink, settings, own);
}

struct intake *intake_open(const struct intake_options *options)
{
	struct intake *intake = xcalloc(1, sizeof(*intake));
	struct sink_context context = {
		.loop = options->loop,
		.metrics = options->metrics,
		.codec = options->codec,
		.tally = options->tally,
		.settings = options->settings,
		.door = options->door,
	};

	intake->options = *options;
	intake->kind = &sink_kinds[options->sink.kind];
	note_settings(intake, options->settings, options->sink.own);
	intake->kind->intake->make(intake, &context);
	intake->waiting = open_waiting(intake);
	intake->sink = intake->kind->open(&context, intake->own);
	intake_resolve_series(intake);
	intake_open_sources(intake);
	uv_timer_init(options->loop, &intake->sweep);
	intake->sweep.data = intake;
	uv_timer_start(&intake->sweep, on_sweep, SWEEP_INTERVAL_MS, SWEEP_INTERVAL_MS);
	return intake;
}

bool intake_is_ready(const struct intake *intake, struct buf *why)
{
	return intake_sources_are_ready(intake, why) &&
	       intake->sink->ops->is_ready(intake->sink, why);
}

void intake_collect(struct intake *intake)
{
	uint64_t pending = 0, jumps = 0;
	bool is_shared = false;
	struct intake_amounts amounts;

	for (size_t i = 0; i < intake->source_count; i++) {
		const struct consumer *consumer = intake->sources[i].consumer;

		pending += consumer_pending(consumer);
		jumps += consumer_counts(consumer)->jumps;
		is_shared = is_shared || consumer_is_shared(consumer);
	}
	intake->kind->intake->measure(intake, &amounts);
	const struct {
		enum receiver_metric id;
		double value;
	} numbers[] = {
		{RM_TARGETS, (double)amounts.targets},
		{RM_PUBLISHERS, (double)amounts.publishers},
		{RM_KEYFRAME_WAITING, (double)waiting_count(intake->waiting)},
		{RM_WAITING, (double)amounts.waiting},
		{RM_WAITING_BYTES, (double)amounts.waiting_bytes},
		{RM_HELD_BYTES, (double)amounts.held_bytes},
		{RM_IN_FLIGHT, (double)intake->sink->ops->running(intake->sink)},
		{RM_ACKS, (double)consumer_counts(intake->sources[0].consumer)->acks},
		{RM_STREAM_PENDING, (double)pending},
		{RM_CONSUMER_READY, intake_sources_are_ready(intake, NULL)},
		{RM_CONSUMER_SHARED, is_shared},
		{RM_CONSUMER_JUMPS, (double)jumps},
		{RM_SINK_READY, intake->sink->ops->is_ready(intake->sink, NULL)},
	};
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		series_set(
			metrics_series(intake->options.metrics, numbers[i].id, intake->sink->name),
			numbers[i].value);
}

/* Draining and closing. */

static void give_back(void *arg, struct slice reply)
{
	struct intake *intake = arg;

	consumer_give_back(intake->sources[0].consumer, reply, GIVE_BACK_DELAY_MS);
}

static void on_drain_check(uv_timer_t *timer)
{
	struct intake *intake = timer->data;

	if (intake->sink->ops->running(intake->sink) > 0)
		return;
	uv_timer_stop(timer);
	intake->on_drained(intake->drained_arg);
}

void intake_drain(struct intake *intake, void (*on_drained)(void *arg), void *arg)
{
	intake->on_drained = on_drained;
	intake->drained_arg = arg;
	intake_pause_sources(intake);
	intake->sink->ops->stop(intake->sink);
	uv_timer_start(&intake->sweep, on_drain_check, DRAIN_LEAST_MS, DRAIN_CHECK_MS);
}

static void on_sweep_closed(uv_handle_t *handle)
{
	struct intake *intake = handle->data;

	intake_free_sources(intake);
	intake->on_closed(intake->closed_arg);
	free(intake);
}

static void on_part_closed(void *arg)
{
	struct intake *intake = arg;

	if (--intake->open_parts == 0)
		uv_close((uv_handle_t *)&intake->sweep, on_sweep_closed);
}

void intake_close(struct intake *intake, void (*on_closed)(void *arg), void *arg)
{
	intake->on_closed = on_closed;
	intake->closed_arg = arg;
	uv_timer_stop(&intake->sweep);
	intake->kind->intake->each_unacked(intake, give_back, intake);
	waiting_each_unacked(intake->waiting, UINT64_MAX, give_back, intake);
	intake->open_parts = 1 + intake_close_sources(intake, on_part_closed, intake);
	intake->sink->ops->close(intake->sink, on_part_closed, intake);
	waiting_free(intake->waiting);
	intake->kind->intake->free(intake);
}
