/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From consumers to the newest of each target to the sink. Whatever cannot become a frame is
 * acknowledged and counted here: nothing malformed ever stops a consumer.
 */
#include "receiver/intake.h"

#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/nats/lookback.h"
#include "receiver/metrics.h"
#include "receiver/sink/federate.h"
#include "receiver/sink/push_gateway.h"
#include "receiver/trust.h"
#include "receiver/waiting.h"

#define SWEEP_INTERVAL_MS 1000
#define DRAIN_CHECK_MS    20
/* What the server has sent by then is on its way: it is to be given back, not to be lost for
 * ack_wait. */
#define DRAIN_LEAST_MS    100
#define MAX_ACK_PENDING   1000000
#define ACK_WAIT_FLOOR_MS 60000
/* Long enough for this process to be gone, short enough for the next one's start. */
#define GIVE_BACK_DELAY_MS 1000

/* One of its consumers. */
struct source {
	struct intake *intake;
	struct consumer *consumer;
	struct lookback *lookback; /* NULL for envelopes, which share one subject */
	bool has_looked_back;
	uint64_t generation; /* the consumer's, of its last message */
};

struct intake {
	struct intake_options options;
	struct newest *newest;
	struct waiting *waiting;
	struct sink *sink;
	struct source *sources; /* as many as there is room for: consumers keep pointers to them */
	size_t source_count;
	/* Consumers count their generations independently, but share targets: this one goes up with
	 * any of theirs. */
	uint64_t generation;
	size_t open_parts; /* consumers, lookbacks and the sink, still to be closed */
	uv_timer_t sweep;
	struct trust trust;
	bool was_caught_up;
	struct log_limit malformed, clock_reset, lacking;
	struct series *received, *looked_back, *received_bytes, *redelivered, *delivered,
		*delivered_age, *ack_seconds;
	struct series *stale; /* NULL until there was one: a backlog brings millions */
	void (*on_drained)(void *arg);
	void *drained_arg;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* What newest reports. */

static void on_ready(void *arg)
{
	struct intake *intake = arg;

	intake->sink->ops->wake(intake->sink);
}

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

static void ack(struct intake *intake, struct slice reply)
{
	consumer_ack(intake->sources[0].consumer, reply);
}

static void on_ack(void *arg, struct slice reply, uint64_t arrived_us)
{
	struct intake *intake = arg;

	ack(intake, reply);
	series_observe(intake->ack_seconds, (double)(clock_mono_us() - arrived_us) / 1e6);
}

static void count_discard(struct intake *intake, const char *reason)
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

static void on_fate(void *arg, const struct frame *frame, enum frame_fate fate)
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
	count_discard(intake, frame_fate_name(fate));
}

static void on_clock_reset(void *arg, const struct frame *frame, int64_t step_back_ms)
{
	struct intake *intake = arg;

	tally_clock_reset(intake->options.tally, frame->publisher);
	log_limited(&intake->clock_reset, LOG_WARN,
		"a target's scrape time went back; taken as a reset of its poller's clock",
		LOG_SL("publisher", frame->publisher), LOG_SL("job", frame->job),
		LOG_SL("instance", frame->instance), LOG_I("step_back_ms", step_back_ms));
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

	ack(intake, reply);
	count_discard(intake, reason);
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
		ack(intake, buf_slice(&frame->reply));
		count_discard(intake, "filtered");
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

static void note_generation(struct source *source, struct consumer_message *message)
{
	if (message->generation != source->generation)
		source->intake->generation++;
	source->generation = message->generation;
	message->generation = source->intake->generation;
}

static bool consumers_are_ready(const struct intake *intake, struct buf *why)
{
	for (size_t i = 0; i < intake->source_count; i++)
		if (!consumer_is_ready(intake->sources[i].consumer, why))
			return false;
	return true;
}

static bool consumers_have_caught_up(const struct intake *intake)
{
	for (size_t i = 0; i < intake->source_count; i++)
		if (!consumer_is_caught_up(intake->sources[i].consumer))
			return false;
	return true;
}

static void note_caught_up(struct intake *intake)
{
	if (intake->was_caught_up || intake->sink->ops->caught_up == NULL ||
		!consumers_have_caught_up(intake) || waiting_count(intake->waiting) > 0)
		return;
	intake->was_caught_up = true;
	intake->sink->ops->caught_up(intake->sink);
}

static void on_message(void *arg, struct consumer_message *message)
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
	note_generation(source, message);
	verdict = frame_from_message(
		&frame, message, slice_from(stream->topic), &reply, &publisher, &err);
	if (verdict == FRAME_OK)
		offer(intake, frame);
	else if (!is_lookback)
		discard_message(intake, verdict, buf_slice(&publisher), buf_slice(&reply), &err);
	buf_free(&reply);
	buf_free(&publisher);
	note_caught_up(intake);
}

static void update_trust(struct intake *intake)
{
	trust_update(&intake->trust, consumers_are_ready(intake, NULL),
		consumers_have_caught_up(intake), clock_wall_ms(), clock_mono_ms());
}

static void on_consumer_state(void *arg)
{
	struct source *source = arg;

	update_trust(source->intake);
}

/*
 * What was delivered to a process that died, or to a connection that was lost, comes again only
 * after ack_wait: too late. A durable made just now has delivered nothing.
 */
static void on_bound(void *arg, bool is_made, int64_t unacked)
{
	struct source *source = arg;
	bool is_wanted = !is_made && (!source->has_looked_back || unacked != 0);

	source->has_looked_back = true;
	if (is_wanted && source->lookback != NULL)
		lookback_start(source->lookback, consumer_generation(source->consumer));
}

static void on_sweep(uv_timer_t *timer)
{
	struct intake *intake = timer->data;

	update_trust(intake);
	note_caught_up(intake);
	newest_sweep(intake->newest, clock_wall_ms(), intake->trust.since_ms);
	intake->sink->ops->sweep(intake->sink, clock_wall_ms(), intake->trust.since_ms);
}

/* Opening. */

static void add_lookback(struct source *source, const char *filter_subject)
{
	const struct intake_options *options = &source->intake->options;
	const struct lookback_options lookback = {
		.link = options->link,
		.stream = options->settings->receiver_stream.stream,
		.filter_subject = filter_subject,
		.on_message = on_message,
		.arg = source,
	};

	if (options->federate != NULL)
		return; /* a passing consumer begins with them */
	source->lookback = lookback_open(options->loop, &lookback);
}

static struct source *add_consumer(
	struct intake *intake, const char *filter_subject, const char *suffix)
{
	const struct settings *settings = intake->options.settings;
	const struct stream_settings *stream = &settings->receiver_stream;
	struct source *source = &intake->sources[intake->source_count++];
	bool is_passing = intake->options.federate != NULL;
	char *durable =
		is_passing ? NULL : settings_durable_name(stream, intake->sink->name, suffix);
	int64_t age_ms =
		settings->max_age_ms > ACK_WAIT_FLOOR_MS ? settings->max_age_ms : ACK_WAIT_FLOOR_MS;
	const struct consumer_options options = {
		.link = intake->options.link,
		.settings =
			{
				.stream = stream->stream,
				.durable = durable,
				.filter_subject = filter_subject,
				.ack_wait_ms =
					is_passing
						? 0
						: age_ms + intake->options.push_gateway->timeout_ms,
				.max_ack_pending = MAX_ACK_PENDING,
			},
		.start_age_ms = settings->max_age_ms,
		.on_message = on_message,
		.on_state = on_consumer_state,
		.on_bound = on_bound,
		.arg = source,
	};

	source->intake = intake;
	source->consumer = consumer_open(intake->options.loop, &options);
	free(durable);
	return source;
}

static void add_publisher_consumer(struct intake *intake, const char *publisher)
{
	struct buf token = {0}, subject = {0};

	/* settings_load has made sure that the name can be escaped. */
	if (wire_escape(slice_from(publisher), &token) < 0)
		abort();
	buf_appendf(&subject, "%s.scrape.%s.>", intake->options.settings->receiver_stream.topic,
		buf_cstr(&token));
	add_lookback(
		add_consumer(intake, buf_cstr(&subject), buf_cstr(&token)), buf_cstr(&subject));
	buf_free(&token);
	buf_free(&subject);
}

static void open_consumers(struct intake *intake)
{
	const struct stream_settings *stream = &intake->options.settings->receiver_stream;
	struct buf subject = {0};

	intake->sources = xcalloc(stream->filter.count + 2, sizeof(struct source));
	for (size_t i = 0; i < stream->filter.count; i++)
		add_publisher_consumer(intake, stream->filter.items[i]);
	buf_appendf(&subject, "%s.scrape.>", stream->topic);
	if (stream->filter.count == 0)
		add_lookback(add_consumer(intake, buf_cstr(&subject), NULL), buf_cstr(&subject));
	if (stream->legacy)
		(void)add_consumer(intake, stream->topic, "legacy");
	buf_free(&subject);
}

static void resolve_series(struct intake *intake)
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

static struct waiting *open_waiting(struct intake *intake)
{
	const struct waiting_options options = {
		.keyframes = intake->options.keyframes,
		.topic = slice_from(intake->options.settings->receiver_stream.topic),
		.taker = &newest_taker,
		.taker_self = intake->newest,
	};

	return waiting_new(&options);
}

static struct newest_limits limits_of(
	const struct settings *settings, const struct push_gateway_settings *push_gateway)
{
	return (struct newest_limits){
		.max_age_ms = settings->max_age_ms,
		.max_targets_per_publisher = settings->max_targets_per_publisher,
		.max_publisher_bytes = settings->max_publisher_bytes,
		.max_publisher_in_flight =
			push_gateway == NULL ? 0 : (size_t)push_gateway->concurrency,
	};
}

void intake_set_settings(
	struct intake *intake, const struct settings *settings, const struct settings_sink *own)
{
	bool is_gateway = own->kind == SINK_PUSH_GATEWAY;
	struct newest_limits limits = limits_of(settings, is_gateway ? own->own : NULL);

	intake->options.settings = settings;
	intake->options.push_gateway = is_gateway ? own->own : NULL;
	intake->options.federate = is_gateway ? NULL : own->own;
	newest_set_limits(intake->newest, &limits);
	intake->sink->ops->set_settings(intake->sink, settings, own->own);
}

struct intake *intake_open(const struct intake_options *options)
{
	struct intake *intake = xcalloc(1, sizeof(*intake));
	const struct newest_options newest_options = {
		.limits = limits_of(options->settings, options->push_gateway),
		.on_ready = on_ready,
		.on_silent = on_silent,
		.on_forget = on_forget,
		.on_ack = on_ack,
		.on_fate = on_fate,
		.on_clock_reset = on_clock_reset,
		.arg = intake,
	};
	struct sink_context context = {
		.loop = options->loop,
		.metrics = options->metrics,
		.codec = options->codec,
		.tally = options->tally,
		.settings = options->settings,
	};

	intake->options = *options;
	context.newest = intake->newest = newest_new(&newest_options);
	intake->waiting = open_waiting(intake);
	intake->sink = options->federate != NULL
			       ? federate_open(&context, options->federate, options->federate_door)
			       : push_gateway_open(&context, options->push_gateway);
	resolve_series(intake);
	open_consumers(intake);
	uv_timer_init(options->loop, &intake->sweep);
	intake->sweep.data = intake;
	uv_timer_start(&intake->sweep, on_sweep, SWEEP_INTERVAL_MS, SWEEP_INTERVAL_MS);
	return intake;
}

bool intake_is_ready(const struct intake *intake, struct buf *why)
{
	return consumers_are_ready(intake, why) && intake->sink->ops->is_ready(intake->sink, why);
}

void intake_collect(struct intake *intake)
{
	uint64_t pending = 0, jumps = 0;
	bool is_shared = false;

	for (size_t i = 0; i < intake->source_count; i++) {
		const struct consumer *consumer = intake->sources[i].consumer;

		pending += consumer_pending(consumer);
		jumps += consumer_counts(consumer)->jumps;
		is_shared = is_shared || consumer_is_shared(consumer);
	}
	const struct {
		enum receiver_metric id;
		double value;
	} numbers[] = {
		{RM_TARGETS, (double)newest_target_count(intake->newest)},
		{RM_PUBLISHERS, (double)newest_publisher_count(intake->newest)},
		{RM_KEYFRAME_WAITING, (double)waiting_count(intake->waiting)},
		{RM_WAITING, (double)newest_waiting_count(intake->newest)},
		{RM_WAITING_BYTES, (double)newest_waiting_bytes(intake->newest)},
		{RM_HELD_BYTES, (double)newest_held_bytes(intake->newest)},
		{RM_IN_FLIGHT, (double)intake->sink->ops->running(intake->sink)},
		{RM_ACKS, (double)consumer_counts(intake->sources[0].consumer)->acks},
		{RM_STREAM_PENDING, (double)pending},
		{RM_CONSUMER_READY, consumers_are_ready(intake, NULL)},
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
	for (size_t i = 0; i < intake->source_count; i++)
		consumer_pause(intake->sources[i].consumer, true);
	intake->sink->ops->stop(intake->sink);
	uv_timer_start(&intake->sweep, on_drain_check, DRAIN_LEAST_MS, DRAIN_CHECK_MS);
}

static void on_sweep_closed(uv_handle_t *handle)
{
	struct intake *intake = handle->data;

	free(intake->sources);
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
	newest_each_unacked(intake->newest, give_back, intake);
	waiting_each_unacked(intake->waiting, UINT64_MAX, give_back, intake);
	intake->open_parts = intake->source_count + 1;
	for (size_t i = 0; i < intake->source_count; i++) {
		struct source *source = &intake->sources[i];

		consumer_close(source->consumer, on_part_closed, intake);
		if (source->lookback == NULL)
			continue;
		intake->open_parts++;
		lookback_close(source->lookback, on_part_closed, intake);
	}
	intake->sink->ops->close(intake->sink, on_part_closed, intake);
	waiting_free(intake->waiting);
	newest_free(intake->newest);
}
