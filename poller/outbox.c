/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scrape is in exactly one place: the queue, or the list of those sent. `pump` moves from one to
 * the other while there is room, a few at a time, since encoding takes the loop's time; the timer
 * brings it back when there is more. Those sent take at most half of queue_bytes and one message,
 * the queue takes the rest.
 *
 *	push -> queue -> pump: frame_make -> sent -> acked: gone
 *	           ^                           |
 *	           '--- up 0 in its place -----'  refused, once
 */
#include "poller/outbox.h"

#include "common/core/log.h"
#include "poller/metrics.h"
#include "poller/target.h"

/* Frames made before other work on the loop has its turn; 10 ms if each is re-encoded. */
#define FRAMES_PER_TURN 32

/* Held beside a message sent: its scrape, its headers apart, what publisher and link remember. */
#define SENT_OVERHEAD_BYTES 1024

STAILQ_HEAD(scrape_queue, scrape);
LIST_HEAD(scrape_set, scrape);

enum drop_reason {
	DROP_QUEUE_FULL,
	DROP_TOO_LARGE,
	DROP_IMPOSSIBLE,
	DROP_REFUSED,
	DROP_DENIED,
	DROP_DUPLICATE,
	DROP_SHUTDOWN,
	DROP_REASON_COUNT,
};

static const char *const drop_reasons[DROP_REASON_COUNT] = {
	[DROP_QUEUE_FULL] = "queue_full",
	[DROP_TOO_LARGE] = "too_large",
	[DROP_IMPOSSIBLE] = "impossible",
	[DROP_REFUSED] = "refused",
	[DROP_DENIED] = "denied",
	[DROP_DUPLICATE] = "duplicate",
	[DROP_SHUTDOWN] = "shutdown",
};

struct outbox {
	struct outbox_options options;
	struct publisher *publisher;
	struct frame_maker maker;
	uv_timer_t resume;
	struct scrape_queue queue;
	struct scrape_set sent;
	size_t queue_count, sent_count;
	uint64_t queue_bytes, sent_bytes;
	struct series *dropped[DROP_REASON_COUNT];
	struct series *published, *published_bytes, *publish_seconds, *duplicates;
	struct log_limit full_limit, frame_limit, refused_limit, denied_limit, duplicate_limit;
	void (*on_closed)(void *arg);
	void *closed_arg;
	int to_close; /* handles and the publisher */
};

static const char *job_of(const struct scrape *scrape)
{
	return scrape->target->job->settings->name;
}

static const char *instance_of(const struct scrape *scrape)
{
	return scrape->target->settings->instance;
}

static void enqueue(struct outbox *outbox, struct scrape *scrape, bool at_front)
{
	if (at_front)
		STAILQ_INSERT_HEAD(&outbox->queue, scrape, next);
	else
		STAILQ_INSERT_TAIL(&outbox->queue, scrape, next);
	outbox->queue_count++;
	outbox->queue_bytes += scrape_bytes(scrape);
}

static struct scrape *dequeue(struct outbox *outbox)
{
	struct scrape *scrape = STAILQ_FIRST(&outbox->queue);

	STAILQ_REMOVE_HEAD(&outbox->queue, next);
	outbox->queue_count--;
	outbox->queue_bytes -= scrape_bytes(scrape);
	return scrape;
}

static void remember_sent(struct outbox *outbox, struct scrape *scrape)
{
	LIST_INSERT_HEAD(&outbox->sent, scrape, siblings);
	outbox->sent_count++;
	outbox->sent_bytes += scrape->frame_bytes + SENT_OVERHEAD_BYTES;
}

static void forget_sent(struct outbox *outbox, struct scrape *scrape)
{
	LIST_REMOVE(scrape, siblings);
	outbox->sent_count--;
	outbox->sent_bytes -= scrape->frame_bytes + SENT_OVERHEAD_BYTES;
}

static bool has_room(const struct outbox *outbox)
{
	uint64_t most = outbox->options.settings->queue_bytes / 2;

	return publisher_has_room(outbox->publisher) && outbox->sent_bytes < most;
}

/* What the queue may take. */
static uint64_t queue_limit(const struct outbox *outbox)
{
	uint64_t limit = outbox->options.settings->queue_bytes;

	return outbox->sent_bytes < limit / 2 ? limit - outbox->sent_bytes : limit / 2;
}

static void tell_if_idle(struct outbox *outbox)
{
	if (outbox_is_idle(outbox))
		outbox->options.on_idle(outbox->options.arg);
}

/* Makes the frame of a scrape just dequeued and sends it. */
static void send_scrape(struct outbox *outbox, struct scrape *scrape)
{
	struct nats_outgoing *message;
	enum frame_outcome outcome = frame_make(
		&outbox->maker, scrape, publisher_max_message_bytes(outbox->publisher), &message);

	if (outcome != FRAME_WHOLE) {
		series_inc(outbox->dropped[outcome == FRAME_TOO_LARGE ? DROP_TOO_LARGE
								      : DROP_IMPOSSIBLE]);
		log_limited(&outbox->frame_limit, LOG_WARN, "scrape cannot be published",
			LOG_S("job", job_of(scrape)), LOG_S("instance", instance_of(scrape)),
			LOG_S("error", scrape->wire.error));
	}
	if (outcome == FRAME_IMPOSSIBLE) {
		scrape_free(scrape);
		return;
	}
	remember_sent(outbox, scrape);
	publisher_send(outbox->publisher, message, scrape);
	nats_outgoing_unref(message);
}

static void on_resume(uv_timer_t *timer);

static void pump(struct outbox *outbox)
{
	for (int i = 0; i < FRAMES_PER_TURN; i++) {
		if (STAILQ_EMPTY(&outbox->queue) || !has_room(outbox))
			return;
		send_scrape(outbox, dequeue(outbox));
	}
	uv_timer_start(&outbox->resume, on_resume, 0, 0);
}

static void on_resume(uv_timer_t *timer)
{
	struct outbox *outbox = timer->data;

	pump(outbox);
	tell_if_idle(outbox);
}

static void on_room(void *arg)
{
	struct outbox *outbox = arg;

	uv_timer_start(&outbox->resume, on_resume, 0, 0);
}

static void drop_oldest(struct outbox *outbox)
{
	struct scrape *scrape = dequeue(outbox);

	series_inc(outbox->dropped[DROP_QUEUE_FULL]);
	log_limited(&outbox->full_limit, LOG_WARN,
		"too many scrapes wait for NATS: the oldest is dropped",
		LOG_S("job", job_of(scrape)), LOG_S("instance", instance_of(scrape)),
		LOG_I("queue_bytes", outbox->options.settings->queue_bytes));
	scrape_free(scrape);
}

/* Makes a scrape fit to wait; one that is too large by itself would cost all the others. */
static void prepare_to_wait(struct outbox *outbox, struct scrape *scrape)
{
	struct buf size = {0}, limit = {0};

	scrape_trim(scrape);
	if (scrape_bytes(scrape) <= queue_limit(outbox))
		return;
	frame_format_size(scrape->body.len, &size);
	frame_format_size(outbox->options.settings->queue_bytes, &limit);
	scrape_fail(scrape, "scrape of %s is too large to wait for NATS (queue_bytes: %s)",
		buf_cstr(&size), buf_cstr(&limit));
	buf_free(&size);
	buf_free(&limit);
	series_inc(outbox->dropped[DROP_QUEUE_FULL]);
	log_limited(&outbox->full_limit, LOG_WARN, "scrape cannot wait for NATS",
		LOG_S("job", job_of(scrape)), LOG_S("instance", instance_of(scrape)),
		LOG_S("error", scrape->wire.error));
}

void outbox_push(struct outbox *outbox, struct scrape **scrape)
{
	struct scrape *newest = *scrape;

	*scrape = NULL;
	if (!STAILQ_EMPTY(&outbox->queue) || !has_room(outbox))
		prepare_to_wait(outbox, newest);
	enqueue(outbox, newest, false);
	pump(outbox);
	while (outbox->queue_bytes > queue_limit(outbox))
		drop_oldest(outbox);
}

static void on_acked(struct outbox *outbox, struct scrape *scrape, double ack_seconds)
{
	series_inc(outbox->published);
	series_add(outbox->published_bytes, (double)scrape->frame_bytes);
	series_observe(outbox->publish_seconds, ack_seconds);
	scrape_free(scrape);
}

static void on_duplicate(struct outbox *outbox, struct scrape *scrape, double ack_seconds)
{
	series_inc(outbox->duplicates);
	series_inc(outbox->dropped[DROP_DUPLICATE]);
	series_observe(outbox->publish_seconds, ack_seconds);
	log_limited(&outbox->duplicate_limit, LOG_ERROR,
		"the stream took a scrape for a duplicate: does another poller run as this "
		"identity?",
		LOG_S("job", job_of(scrape)), LOG_S("instance", instance_of(scrape)));
	scrape_free(scrape);
}

/* The first time, a message without the body says why; if that is refused too, nothing is left. */
static void on_refused(struct outbox *outbox, struct scrape *scrape, const char *reason)
{
	series_inc(outbox->dropped[DROP_REFUSED]);
	log_limited(&outbox->refused_limit, LOG_ERROR, "the stream refused a scrape",
		LOG_S("job", job_of(scrape)), LOG_S("instance", instance_of(scrape)),
		LOG_S("reason", reason));
	if (scrape->is_substitute) {
		scrape_free(scrape);
		return;
	}
	scrape_fail(scrape, "%s", reason);
	scrape->is_substitute = true;
	enqueue(outbox, scrape, true);
}

static void on_denied(struct outbox *outbox, struct scrape *scrape, const char *reason)
{
	series_inc(outbox->dropped[DROP_DENIED]);
	log_limited(&outbox->denied_limit, LOG_ERROR, "NATS takes scrapes, but not this one",
		LOG_S("job", job_of(scrape)), LOG_S("instance", instance_of(scrape)),
		LOG_S("reason", reason));
	scrape_free(scrape);
}

static void on_done(void *arg, void *cookie, enum publish_outcome outcome, const char *reason,
	double ack_seconds)
{
	struct outbox *outbox = arg;
	struct scrape *scrape = cookie;

	forget_sent(outbox, scrape);
	switch (outcome) {
	case PUBLISH_ACKED:
		on_acked(outbox, scrape, ack_seconds);
		break;
	case PUBLISH_DUPLICATE:
		on_duplicate(outbox, scrape, ack_seconds);
		break;
	case PUBLISH_REFUSED:
		on_refused(outbox, scrape, reason);
		break;
	case PUBLISH_DENIED:
		on_denied(outbox, scrape, reason);
		break;
	}
	/* The publisher tells of its own room only. */
	if (!STAILQ_EMPTY(&outbox->queue) && has_room(outbox))
		uv_timer_start(&outbox->resume, on_resume, 0, 0);
	tell_if_idle(outbox);
}

static void resolve_series(struct outbox *outbox)
{
	struct metrics *metrics = outbox->options.metrics;

	for (size_t i = 0; i < DROP_REASON_COUNT; i++)
		outbox->dropped[i] = metrics_series(metrics, PM_DROPPED, drop_reasons[i]);
	outbox->published = metrics_plain(metrics, PM_PUBLISHED);
	outbox->published_bytes = metrics_plain(metrics, PM_PUBLISHED_BYTES);
	outbox->publish_seconds = metrics_plain(metrics, PM_PUBLISH_SECONDS);
	outbox->duplicates = metrics_plain(metrics, PM_DUPLICATES);
}

struct outbox *outbox_open(const struct outbox_options *options)
{
	struct outbox *outbox = xcalloc(1, sizeof(*outbox));
	const struct settings *settings = options->settings;
	const struct publisher_options publisher_options = {
		.link = options->link,
		.stream = &settings->poller_stream,
		.publish_subject = options->publish_subject,
		.max_unacked = settings->max_unacked,
		.max_message_bytes = settings->max_message_bytes,
		.on_done = on_done,
		.on_room = on_room,
		.arg = outbox,
	};

	outbox->options = *options;
	STAILQ_INIT(&outbox->queue);
	LIST_INIT(&outbox->sent);
	resolve_series(outbox);
	outbox->maker = (struct frame_maker){
		.codec = options->codec,
		.compression = settings->compression,
		.compress_seconds = metrics_plain(options->metrics, PM_COMPRESS_SECONDS),
	};
	uv_timer_init(options->loop, &outbox->resume);
	outbox->resume.data = outbox;
	outbox->publisher = publisher_open(options->loop, &publisher_options);
	return outbox;
}

bool outbox_is_idle(const struct outbox *outbox)
{
	return outbox->queue_count == 0 && outbox->sent_count == 0;
}

bool outbox_is_ready(const struct outbox *outbox, struct buf *why)
{
	return publisher_is_ready(outbox->publisher, why);
}

void outbox_collect(struct outbox *outbox)
{
	struct metrics *metrics = outbox->options.metrics;
	const struct publisher_counts *counts = publisher_counts(outbox->publisher);

	series_set(metrics_plain(metrics, PM_UNACKED), (double)outbox->sent_count);
	series_set(metrics_plain(metrics, PM_QUEUE_SCRAPES), (double)outbox->queue_count);
	series_set(metrics_plain(metrics, PM_QUEUE_BYTES), (double)outbox->queue_bytes);
	series_set(metrics_plain(metrics, PM_STREAM_READY), outbox_is_ready(outbox, NULL));
	series_set(metrics_plain(metrics, PM_PUBLISH_ERRORS), (double)counts->errors);
	series_set(metrics_plain(metrics, PM_PUBLISH_RETRIES), (double)counts->retries);
}

static void on_part_closed(struct outbox *outbox)
{
	void (*on_closed)(void *arg) = outbox->on_closed;
	void *arg = outbox->closed_arg;

	if (--outbox->to_close > 0)
		return;
	free(outbox);
	on_closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_part_closed(handle->data);
}

static void on_publisher_closed(void *arg)
{
	on_part_closed(arg);
}

static void drop_all(struct outbox *outbox)
{
	size_t count = outbox->queue_count + outbox->sent_count;
	struct scrape *scrape;

	if (count > 0)
		log_warn("scrapes are lost that the stream has not acknowledged",
			LOG_I("count", count));
	series_add(outbox->dropped[DROP_SHUTDOWN], (double)count);
	while (!STAILQ_EMPTY(&outbox->queue))
		scrape_free(dequeue(outbox));
	while ((scrape = LIST_FIRST(&outbox->sent)) != NULL) {
		forget_sent(outbox, scrape);
		scrape_free(scrape);
	}
}

void outbox_close(struct outbox *outbox, void (*on_closed)(void *arg), void *arg)
{
	outbox->on_closed = on_closed;
	outbox->closed_arg = arg;
	outbox->to_close = 2;
	drop_all(outbox);
	publisher_close(outbox->publisher, on_publisher_closed, outbox);
	uv_close((uv_handle_t *)&outbox->resume, on_timer_closed);
}
