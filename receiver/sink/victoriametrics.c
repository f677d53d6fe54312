/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames are gathered into a batch until it holds enough samples or its first has waited long
 * enough. Batches are sent in order, several at once; samples carry their times, so that it does
 * not matter which comes first. A batch that the far side refuses for its content goes again scrape
 * by scrape, so that one bad one costs no other; after any other failure all wait.
 */
#include "receiver/sink/victoriametrics.h"

#include "common/core/backoff.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/core/readiness.h"
#include "common/core/url.h"
#include "common/loop/fetch_client.h"
#include "receiver/metrics.h"
#include "receiver/sink/decode.h"
#include "receiver/sink/push_answer.h"
#include "receiver/sink/victoria_body.h"

/* Its words are for people: no more is read of them. */
#define ANSWER_LIMIT_BYTES ((size_t)64 << 10)
#define PATH               "/api/v1/import/prometheus"
/* Above it a batch is full, however few samples it has. */
#define BATCH_BYTES        (4 << 20)
#define RETRY_AFTER_MAX_MS 60000
/* Of one scrape, whose lines get the target's labels each. */
#define SCRAPE_BYTES ((size_t)256 << 20)
/* Nothing more is taken while all batches are so large together. */
#define HELD_BYTES ((size_t)64 << 20)

/* A frame, and where its lines are in the batch. */
struct part {
	struct frame *frame;
	size_t at, len;
	TAILQ_ENTRY(part) next;
};

struct batch {
	struct victoriametrics *sink;
	TAILQ_HEAD(parts, part) parts;
	struct buf body;
	uint64_t samples;
	struct fetch_transfer *transfer;
	TAILQ_ENTRY(batch) next;
};
TAILQ_HEAD(batches, batch);

struct victoriametrics {
	struct sink base;
	struct sink_context context;
	const struct victoriametrics_settings *settings;
	char *url, *shown_url;
	struct fetch *fetch;
	struct fetch_client *client;
	struct batch *filling; /* NULL: none */
	struct batches ready, sending;
	size_t ready_count, sending_count;
	size_t held_bytes; /* bodies of all batches */
	uv_timer_t deadline, retry;
	bool is_waiting; /* for the retry */
	bool is_stopping;
	struct backoff backoff;
	struct readiness readiness;
	struct log_limit lost, refused, malformed, undecodable;
	struct series *posts, *seconds, *parse_errors;
	size_t closing_parts;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

static struct victoriametrics *from_sink(const struct sink *sink)
{
	return container_of((struct sink *)sink, struct victoriametrics, base);
}

/* Batches. */

static struct batch *new_batch(struct victoriametrics *sink)
{
	struct batch *batch = xcalloc(1, sizeof(*batch));

	batch->sink = sink;
	TAILQ_INIT(&batch->parts);
	return batch;
}

static void free_batch(struct batch *batch)
{
	struct part *part;

	if (batch == NULL)
		return;
	while ((part = TAILQ_FIRST(&batch->parts)) != NULL) {
		TAILQ_REMOVE(&batch->parts, part, next);
		free(part);
	}
	buf_free(&batch->body);
	free(batch);
}

static void free_batches(struct batches *batches)
{
	struct batch *batch;

	while ((batch = TAILQ_FIRST(batches)) != NULL) {
		TAILQ_REMOVE(batches, batch, next);
		free_batch(batch);
	}
}

static void end_batch(
	struct victoriametrics *sink, struct batch *batch, enum ordered_outcome outcome)
{
	struct part *part;

	TAILQ_FOREACH (part, &batch->parts, next)
		ordered_end(sink->context.ordered, part->frame, outcome);
	sink->held_bytes -= batch->body.len;
	free_batch(batch);
}

static bool is_single(const struct batch *batch)
{
	return TAILQ_NEXT(TAILQ_FIRST(&batch->parts), next) == NULL;
}

/* One for each of its scrapes, in its place. */
static void split(struct victoriametrics *sink, struct batch *batch)
{
	struct part *part;

	while ((part = TAILQ_LAST(&batch->parts, parts)) != NULL) {
		struct batch *single = new_batch(sink);

		TAILQ_REMOVE(&batch->parts, part, next);
		buf_append(&single->body, batch->body.ptr + part->at, part->len);
		part->at = 0;
		TAILQ_INSERT_TAIL(&single->parts, part, next);
		TAILQ_INSERT_HEAD(&sink->ready, single, next);
		sink->ready_count++;
	}
	free_batch(batch);
}

/* Frames become lines. */

static void count(
	struct victoriametrics *sink, enum receiver_metric id, const char *reason, uint64_t by)
{
	if (by > 0)
		series_add(metrics_series(sink->context.metrics, id, sink->base.name, reason),
			(double)by);
}

static void say_malformed(
	struct victoriametrics *sink, const struct frame *frame, const char *error)
{
	series_inc(sink->parse_errors);
	log_limited(&sink->malformed, LOG_WARN, "a scrape is malformed; it is delivered as up 0",
		LOG_S("sink", sink->base.name), LOG_SL("publisher", frame->publisher),
		LOG_SL("job", frame->job), LOG_SL("instance", frame->instance),
		LOG_S("error", error));
}

static bool append_up(struct victoriametrics *sink, struct batch *batch, const struct frame *frame,
	const struct victoria_scrape *scrape, struct victoria_tally *tally)
{
	struct buf exposition = {0};
	struct err err;
	bool is_done = false;

	if (sink_decode(&sink->context, sink->base.name, frame, &sink->undecodable, &exposition) ==
		NULL) {
		is_done = victoria_body_up(
				  &batch->body, scrape, buf_slice(&exposition), tally, &err) == 0;
		if (!is_done)
			say_malformed(sink, frame, err.text);
	}
	buf_free(&exposition);
	return is_done;
}

static void append(struct victoriametrics *sink, struct batch *batch, struct frame *frame)
{
	struct part *part = xcalloc(1, sizeof(*part));
	struct victoria_tally tally = {0};
	struct push_labels labels;
	const struct victoria_scrape scrape = {
		.labels = &labels,
		.time_ms = frame->scrape.time_ms,
		.duration_s = frame->scrape.duration_s,
		.honor_labels = (frame->scrape.flags & WIRE_HONOR_LABELS) != 0,
		.ignores_timestamps = (frame->scrape.flags & WIRE_IGNORE_TIMESTAMPS) != 0,
		.max_bytes = SCRAPE_BYTES,
	};

	push_labels_init(&labels, frame->job, frame->instance,
		sink->settings->publisher_label ? frame->publisher : (struct slice){"", 0},
		&frame->target->labels);
	part->frame = frame;
	part->at = batch->body.len;
	if (!frame->scrape.up || !append_up(sink, batch, frame, &scrape, &tally))
		victoria_body_down(&batch->body, &scrape, &tally);
	part->len = batch->body.len - part->at;
	sink->held_bytes += part->len;
	batch->samples += tally.samples;
	TAILQ_INSERT_TAIL(&batch->parts, part, next);
	count(sink, RM_LEFT_OUT, "displaced", tally.displaced);
	count(sink, RM_CHANGED, "exported_label", tally.labels_renamed);
	count(sink, RM_CHANGED, "reserved_label", tally.labels_dropped);
}

/* Filling. */

static void pump(struct victoriametrics *sink);

static void finish_filling(struct victoriametrics *sink)
{
	uv_timer_stop(&sink->deadline);
	if (sink->filling == NULL)
		return;
	TAILQ_INSERT_TAIL(&sink->ready, sink->filling, next);
	sink->ready_count++;
	sink->filling = NULL;
}

static void on_deadline(uv_timer_t *timer)
{
	finish_filling(timer->data);
	pump(timer->data);
}

static bool is_full(const struct victoriametrics *sink)
{
	return sink->filling->samples >= (uint64_t)sink->settings->max_samples_per_send ||
	       sink->filling->body.len >= BATCH_BYTES;
}

/* No more is taken than what can be on its way and what is to follow that. */
static void fill(struct victoriametrics *sink)
{
	size_t most = 2 * (size_t)sink->settings->concurrency;
	struct frame *frame;

	while (sink->ready_count + sink->sending_count < most && sink->held_bytes < HELD_BYTES &&
		(frame = ordered_next(sink->context.ordered, clock_wall_ms())) != NULL) {
		if (sink->filling == NULL) {
			sink->filling = new_batch(sink);
			uv_timer_start(&sink->deadline, on_deadline,
				(uint64_t)sink->settings->batch_send_deadline_ms, 0);
		}
		append(sink, sink->filling, frame);
		if (is_full(sink))
			finish_filling(sink);
	}
}

/* Sending. */

static void on_retry(uv_timer_t *timer)
{
	struct victoriametrics *sink = timer->data;

	sink->is_waiting = false;
	pump(sink);
}

static void lose(struct victoriametrics *sink, const char *why, int64_t retry_after_ms)
{
	uint64_t wait_ms;

	if (readiness_lose(&sink->readiness, "%s: %s", sink->shown_url, why))
		log_limited(&sink->lost, LOG_WARN,
			"the far side does not take what we bring; trying again",
			LOG_S("sink", sink->base.name), LOG_S("url", sink->shown_url),
			LOG_S("error", why));
	if (sink->is_waiting)
		return;
	wait_ms = backoff_next_ms(&sink->backoff);
	if (retry_after_ms > RETRY_AFTER_MAX_MS)
		retry_after_ms = RETRY_AFTER_MAX_MS;
	if (retry_after_ms > 0 && (uint64_t)retry_after_ms > wait_ms)
		wait_ms = (uint64_t)retry_after_ms;
	sink->is_waiting = true;
	uv_timer_start(&sink->retry, on_retry, wait_ms, 0);
}

static void gain(struct victoriametrics *sink)
{
	backoff_reset(&sink->backoff);
	if (readiness_gain(&sink->readiness))
		log_info("the far side takes what we bring again", LOG_S("sink", sink->base.name),
			LOG_S("url", sink->shown_url));
}

static void refuse(struct victoriametrics *sink, struct batch *batch, const char *words)
{
	const struct frame *frame = TAILQ_FIRST(&batch->parts)->frame;

	if (!is_single(batch)) {
		split(sink, batch);
		return;
	}
	log_limited(&sink->refused, LOG_WARN, "a scrape is refused, and given up",
		LOG_S("sink", sink->base.name), LOG_S("url", sink->shown_url),
		LOG_SL("publisher", frame->publisher), LOG_SL("job", frame->job),
		LOG_SL("instance", frame->instance), LOG_S("error", words));
	end_batch(sink, batch, ORDERED_REFUSED);
}

static void on_answer(void *arg, struct fetch_result *result)
{
	struct batch *batch = arg;
	struct victoriametrics *sink = batch->sink;
	struct push_answer answer;

	push_answer_read(&answer, result);
	batch->transfer = NULL;
	TAILQ_REMOVE(&sink->sending, batch, next);
	sink->sending_count--;
	series_observe(sink->seconds, result->duration_s);
	if (answer.meaning != PUSH_TAKEN)
		series_inc(metrics_series(
			sink->context.metrics, RM_PUBLISH_ERRORS, sink->base.name, answer.reason));
	switch (answer.meaning) {
	case PUSH_TAKEN:
		gain(sink);
		end_batch(sink, batch, ORDERED_TAKEN);
		break;
	case PUSH_REFUSED:
		refuse(sink, batch, answer.words);
		break;
	case PUSH_RETRY:
		TAILQ_INSERT_HEAD(&sink->ready, batch, next);
		sink->ready_count++;
		lose(sink, answer.words, result->retry_after_ms);
		break;
	}
	pump(sink);
}

static void send_first(struct victoriametrics *sink)
{
	static const char *const headers[] = {"Content-Type: text/plain", "Expect:", NULL};
	struct batch *batch = TAILQ_FIRST(&sink->ready);
	const struct fetch_request request = {
		.method = "POST",
		.url = sink->url,
		.headers = headers,
		.body = buf_slice(&batch->body),
		.timeout_ms = sink->settings->timeout_ms,
		.body_limit_bytes = ANSWER_LIMIT_BYTES,
		.cuts_body = true,
		.client = sink->client,
	};

	TAILQ_REMOVE(&sink->ready, batch, next);
	sink->ready_count--;
	TAILQ_INSERT_TAIL(&sink->sending, batch, next);
	sink->sending_count++;
	series_inc(sink->posts);
	batch->transfer = fetch_start(sink->fetch, &request, on_answer, batch);
}

/* While it is not known whether the far side takes anything, one request finds out. */
static size_t allowed(const struct victoriametrics *sink)
{
	if (sink->is_stopping || sink->is_waiting)
		return 0;
	return sink->readiness.is_ready ? (size_t)sink->settings->concurrency : 1;
}

static void pump(struct victoriametrics *sink)
{
	if (!sink->is_stopping)
		fill(sink);
	while (sink->ready_count > 0 && sink->sending_count < allowed(sink)) {
		send_first(sink);
		fill(sink);
	}
}

/* The sink's functions. */

static void wake(struct sink *sink)
{
	pump(from_sink(sink));
}

static void log_silent(struct sink *sink, struct ordered_target *target)
{
	ordered_forget(from_sink(sink)->context.ordered, target);
}

/* Nothing is kept of targets. */
static void log_forget(struct sink *sink, struct ordered_target *target)
{
	(void)sink;
	(void)target;
}

static void sweep(struct sink *sink, int64_t now_ms, int64_t trusted_since_ms)
{
	(void)now_ms;
	(void)trusted_since_ms;
	pump(from_sink(sink));
}

static void apply_backoff(struct victoriametrics *sink)
{
	sink->backoff.min_ms = (uint64_t)sink->settings->min_backoff_ms;
	sink->backoff.max_ms = (uint64_t)sink->settings->max_backoff_ms;
}

static void set_settings(struct sink *base, const struct settings *settings, const void *own)
{
	struct victoriametrics *sink = from_sink(base);

	sink->context.settings = settings;
	sink->settings = own;
	apply_backoff(sink);
	pump(sink);
}

static size_t running(const struct sink *sink)
{
	return from_sink(sink)->sending_count;
}

static void stop(struct sink *sink)
{
	from_sink(sink)->is_stopping = true;
}

static bool is_ready(const struct sink *sink, struct buf *why)
{
	return readiness_get(&from_sink(sink)->readiness, why);
}

static void on_part_closed(void *arg)
{
	struct victoriametrics *sink = arg;

	if (--sink->closing_parts > 0)
		return;
	free_batches(&sink->sending);
	free_batches(&sink->ready);
	free_batch(sink->filling);
	free(sink->url);
	free(sink->shown_url);
	sink->on_closed(sink->closed_arg);
	free(sink);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_part_closed(handle->data);
}

static void close_sink(struct sink *base, void (*on_closed)(void *arg), void *arg)
{
	struct victoriametrics *sink = from_sink(base);

	sink->is_stopping = true;
	sink->on_closed = on_closed;
	sink->closed_arg = arg;
	sink->closing_parts = 3;
	fetch_close(sink->fetch, on_part_closed, sink);
	uv_close((uv_handle_t *)&sink->deadline, on_timer_closed);
	uv_close((uv_handle_t *)&sink->retry, on_timer_closed);
}

static const struct sink_ops victoriametrics_ops = {
	.wake = wake,
	.log_silent = log_silent,
	.log_forget = log_forget,
	.sweep = sweep,
	.set_settings = set_settings,
	.running = running,
	.stop = stop,
	.is_ready = is_ready,
	.close = close_sink,
};

/* The path is put behind it. */
static char *make_url(const char *base)
{
	size_t len = strlen(base);

	while (len > 0 && base[len - 1] == '/')
		len--;
	return xasprintf("%.*s" PATH, (int)len, base);
}

struct sink *victoriametrics_open(
	const struct sink_context *context, const struct victoriametrics_settings *settings)
{
	static const struct fetch_options options = {.user_agent = "prometheus-streams/" VERSION};
	struct victoriametrics *sink = xcalloc(1, sizeof(*sink));
	struct metrics *metrics = context->metrics;

	sink->base = (struct sink){.ops = &victoriametrics_ops, .name = settings->name};
	sink->context = *context;
	sink->settings = settings;
	sink->url = make_url(settings->url);
	sink->shown_url = url_redact(sink->url);
	sink->fetch = fetch_open(context->loop, &options);
	sink->client = fetch_client_new(sink->fetch, &settings->http);
	TAILQ_INIT(&sink->ready);
	TAILQ_INIT(&sink->sending);
	apply_backoff(sink);
	readiness_gain(&sink->readiness);
	sink->posts = metrics_series(metrics, RM_PUSHES, settings->name, "POST");
	sink->seconds = metrics_series(metrics, RM_PUBLISH_SECONDS, settings->name);
	sink->parse_errors = metrics_series(metrics, RM_PARSE_ERRORS, settings->name);
	uv_timer_init(context->loop, &sink->deadline);
	uv_timer_init(context->loop, &sink->retry);
	sink->deadline.data = sink->retry.data = sink;
	return &sink->base;
}
