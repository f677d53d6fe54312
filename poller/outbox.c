/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scrape is in exactly one place: the queue, or the list of those sent. `pump` moves from one to
 * the other while there is room, a few at a time, since encoding takes the loop's time; the timer
 * brings it back when there is more. Those sent take at most half of queue_bytes and one message,
 * the queue takes the rest.
 *
 *	push -> queue -> pump: frame_make -> sent -> acked: gone
 *	         ^   ^    |                   |
 *	         |   |    v                   |
 *	         |   '- waiting for its keyframe's ack, KEYFRAMES_PATIENCE_MS at most
 *	         '------ up 0 in its place ---'  refused, once
 *
 * What has waited goes to the head of the queue: it is older than what is there of its target.
 */
#include "poller/outbox_internal.h"

#include "poller/metrics.h"
#include "poller/target.h"

/* Frames made before other work on the loop has its turn; 10 ms if each is re-encoded. */
#define FRAMES_PER_TURN 32

/* Held beside a message sent: its scrape, its headers apart, what publisher and link remember. */
#define SENT_OVERHEAD_BYTES 1024

/* Of queue_bytes, what may wait uncompressed. */
#define LOOSE_PART 8

static const char *const drop_reasons[DROP_REASON_COUNT] = {
	[DROP_QUEUE_FULL] = "queue_full",
	[DROP_TOO_LARGE] = "too_large",
	[DROP_IMPOSSIBLE] = "impossible",
	[DROP_REFUSED] = "refused",
	[DROP_DENIED] = "denied",
	[DROP_DUPLICATE] = "duplicate",
	[DROP_SHUTDOWN] = "shutdown",
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

void outbox_remember_sent(struct outbox *outbox, struct scrape *scrape)
{
	LIST_INSERT_HEAD(&outbox->sent, scrape, siblings);
	outbox->sent_count++;
	outbox->sent_keyframes += scrape->is_keyframe;
	outbox->sent_bytes += scrape->frame_bytes + SENT_OVERHEAD_BYTES;
}

static void forget_sent(struct outbox *outbox, struct scrape *scrape)
{
	LIST_REMOVE(scrape, siblings);
	outbox->sent_count--;
	outbox->sent_keyframes -= scrape->is_keyframe;
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
	uint64_t used = outbox->sent_bytes + outbox->waiting_bytes;

	return used < limit / 2 ? limit - used : limit / 2;
}

static void tell_if_idle(struct outbox *outbox)
{
	if (outbox_is_idle(outbox))
		outbox->options.on_idle(outbox->options.arg);
}

static void on_resume(uv_timer_t *timer);

void outbox_resume(struct outbox *outbox)
{
	uv_timer_start(&outbox->resume, on_resume, 0, 0);
}

static void count_frame(
	struct outbox *outbox, const struct scrape *scrape, const struct frame_key *key)
{
	enum encoding encoding = scrape->wire.up ? scrape->wire.encoding : ENCODING_UNKNOWN;

	series_inc(outbox->frames[encoding]);
	series_add(outbox->frame_bytes[encoding], (double)scrape->frame_bytes);
	if (scrape->has_waited)
		series_inc(key->delta_bytes > 0 ? outbox->waited_refer : outbox->waited_whole);
	if (key->delta_bytes > 0)
		keyframes_note_delta(outbox->keys, scrape, key->delta_bytes, key->text_bytes);
}

/* Makes the frame of a scrape just dequeued and sends it, or its keyframe first. */
static void send_scrape(struct outbox *outbox, struct scrape *scrape)
{
	size_t max_bytes = publisher_max_message_bytes(outbox->publisher);
	struct frame_key key = {.text = SLICE("")};
	struct nats_outgoing *message;
	enum frame_outcome outcome;

	if (outbox_consult_keyframes(outbox, scrape, &key))
		return;
	outcome = frame_make(
		&outbox->maker, scrape, key.text.len > 0 ? &key : NULL, max_bytes, &message);
	if (outcome != FRAME_MADE) {
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
	count_frame(outbox, scrape, &key);
	outbox_remember_sent(outbox, scrape);
	publisher_send(outbox->publisher, message, scrape);
	nats_outgoing_unref(message);
}

static void pump(struct outbox *outbox)
{
	for (int i = 0; i < FRAMES_PER_TURN; i++) {
		if (STAILQ_EMPTY(&outbox->queue) || !has_room(outbox))
			return;
		send_scrape(outbox, dequeue(outbox));
	}
	outbox_resume(outbox);
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

	outbox_watch_stream(outbox);
	outbox_resume(outbox);
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

	/* Bodies that came as text since that is best for deltas would fill it soon. */
	if (outbox->keys != NULL && outbox->queue_bytes > queue_limit(outbox) / LOOSE_PART)
		frame_pack(&outbox->maker, scrape);
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
	while (outbox->queue_bytes > queue_limit(outbox) && !STAILQ_EMPTY(&outbox->queue))
		drop_oldest(outbox);
}

static void on_acked(struct outbox *outbox, struct scrape *scrape, double ack_seconds)
{
	series_inc(outbox->published);
	series_add(outbox->published_bytes, (double)scrape->frame_bytes);
	series_observe(outbox->publish_seconds, ack_seconds);
	if (scrape_is_last(scrape))
		outbox_forget_keyframe(outbox, scrape);
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

static void on_scrape_done(struct outbox *outbox, struct scrape *scrape,
	enum publish_outcome outcome, const char *reason, double ack_seconds)
{
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
}

static void on_done(void *arg, void *cookie, enum publish_outcome outcome, const char *reason,
	double ack_seconds)
{
	struct outbox *outbox = arg;
	struct scrape *scrape = cookie;

	forget_sent(outbox, scrape);
	if (outbox->keys != NULL && outcome == PUBLISH_ACKED)
		keyframes_note_ack(outbox->keys, publisher_ack(outbox->publisher));
	if (scrape->is_keyframe)
		outbox_on_keyframe_done(outbox, scrape, outcome, ack_seconds);
	else
		on_scrape_done(outbox, scrape, outcome, reason, ack_seconds);
	/* The publisher tells of its own room only. */
	if (!STAILQ_EMPTY(&outbox->queue) && has_room(outbox))
		outbox_resume(outbox);
	tell_if_idle(outbox);
}

static void resolve_series(struct outbox *outbox)
{
	struct metrics *metrics = outbox->options.metrics;

	for (size_t i = 0; i < DROP_REASON_COUNT; i++)
		outbox->dropped[i] = metrics_series(metrics, PM_DROPPED, drop_reasons[i]);
	for (size_t i = 0; i < ENCODING_UNKNOWN; i++) {
		const char *name = encoding_name((enum encoding)i);

		outbox->frames[i] = metrics_series(metrics, PM_FRAMES, name);
		outbox->frame_bytes[i] = metrics_series(metrics, PM_FRAME_BYTES, name);
	}
	outbox->frames[ENCODING_UNKNOWN] = metrics_series(metrics, PM_FRAMES, "none");
	outbox->frame_bytes[ENCODING_UNKNOWN] = metrics_series(metrics, PM_FRAME_BYTES, "none");
	outbox->waited_refer = metrics_series(metrics, PM_FRAMES_WAITED, "refer");
	outbox->waited_whole = metrics_series(metrics, PM_FRAMES_WAITED, "whole");
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
	uv_timer_init(options->loop, &outbox->patience);
	outbox->patience.data = outbox;
	outbox_open_keyframes(outbox);
	outbox->publisher = publisher_open(options->loop, &publisher_options);
	return outbox;
}

void outbox_set_settings(struct outbox *outbox, const struct settings *settings)
{
	outbox->options.settings = settings;
	outbox->maker.compression = settings->compression;
	publisher_set_limits(outbox->publisher, settings->max_unacked, settings->max_message_bytes);
	outbox_change_keyframes(outbox);
	outbox_resume(outbox);
}

bool outbox_is_idle(const struct outbox *outbox)
{
	return outbox->queue_count == 0 && outbox->waiting_count == 0 && outbox->sent_count == 0;
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
	series_set(metrics_plain(metrics, PM_QUEUE_SCRAPES),
		(double)(outbox->queue_count + outbox->waiting_count));
	series_set(metrics_plain(metrics, PM_QUEUE_BYTES),
		(double)(outbox->queue_bytes + outbox->waiting_bytes));
	series_set(metrics_plain(metrics, PM_STREAM_READY), outbox_is_ready(outbox, NULL));
	series_set(metrics_plain(metrics, PM_PUBLISH_ERRORS), (double)counts->errors);
	series_set(metrics_plain(metrics, PM_PUBLISH_RETRIES), (double)counts->retries);
	if (outbox->keys != NULL)
		keyframes_collect(outbox->keys);
}

static void on_part_closed(struct outbox *outbox)
{
	void (*on_closed)(void *arg) = outbox->on_closed;
	void *arg = outbox->closed_arg;

	if (--outbox->to_close > 0)
		return;
	keyframes_free(outbox->keys);
	free(outbox);
	on_closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_part_closed(handle->data);
}

static void on_other_closed(void *arg)
{
	on_part_closed(arg);
}

static void drop_all(struct outbox *outbox)
{
	size_t count;
	struct scrape *scrape;

	outbox_drain(outbox);
	count = outbox->queue_count + outbox->sent_count - outbox->sent_keyframes;
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
	outbox->to_close = outbox->watch != NULL ? 4 : 3;
	drop_all(outbox);
	publisher_close(outbox->publisher, on_other_closed, outbox);
	if (outbox->watch != NULL)
		stream_watch_close(outbox->watch, on_other_closed, outbox);
	uv_close((uv_handle_t *)&outbox->resume, on_timer_closed);
	uv_close((uv_handle_t *)&outbox->patience, on_timer_closed);
}
