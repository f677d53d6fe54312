/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyframe is sent beside the scrape that it was made of, which waits for its acknowledgement for
 * KEYFRAMES_PATIENCE_MS at most; then those that waited go to the head of the queue: they are older
 * than what is there of their target.
 */
#include "poller/outbox_internal.h"

#include "common/core/clock.h"

/* Of queue_bytes, what may wait. */
#define WAITING_PART 4

/* How often the stream is asked what it still holds. */
#define WATCH_MS 20000

static void on_patience(uv_timer_t *timer);

static void watch_patience(struct outbox *outbox)
{
	uint64_t next_ms = keyframes_next_ms(outbox->keys), now_ms = clock_mono_ms();

	if (next_ms == UINT64_MAX)
		uv_timer_stop(&outbox->patience);
	else if (!uv_is_active((uv_handle_t *)&outbox->patience))
		uv_timer_start(
			&outbox->patience, on_patience, next_ms > now_ms ? next_ms - now_ms : 0, 0);
}

/* Puts those that have waited where they leave next. */
static void requeue(struct outbox *outbox, struct scrape_queue *waited)
{
	struct scrape *scrape;

	if (STAILQ_EMPTY(waited))
		return;
	STAILQ_FOREACH (scrape, waited, next) {
		outbox->waiting_count--;
		outbox->waiting_bytes -= scrape_bytes(scrape);
		outbox->queue_count++;
		outbox->queue_bytes += scrape_bytes(scrape);
	}
	STAILQ_CONCAT(waited, &outbox->queue);
	STAILQ_CONCAT(&outbox->queue, waited);
	outbox_resume(outbox);
}

static void release(struct outbox *outbox, const struct scrape *scrape)
{
	struct scrape_queue waited = STAILQ_HEAD_INITIALIZER(waited);

	keyframes_release(outbox->keys, scrape, &waited);
	requeue(outbox, &waited);
	watch_patience(outbox);
}

static void on_patience(uv_timer_t *timer)
{
	struct outbox *outbox = timer->data;
	struct scrape_queue waited = STAILQ_HEAD_INITIALIZER(waited);

	keyframes_release_late(outbox->keys, &waited);
	requeue(outbox, &waited);
	watch_patience(outbox);
}

static void hold(struct outbox *outbox, struct scrape *scrape)
{
	keyframes_hold(outbox->keys, scrape);
	outbox->waiting_count++;
	outbox->waiting_bytes += scrape_bytes(scrape);
	if (outbox->waiting_bytes > outbox->options.settings->queue_bytes / WAITING_PART)
		release(outbox, scrape);
	else
		watch_patience(outbox);
}

/* False if there can be none: then the scrape goes whole. */
static bool send_keyframe(struct outbox *outbox, const struct scrape *scrape)
{
	struct nats_outgoing *message = NULL;
	struct scrape *keyframe = NULL;
	struct buf plain = {0};
	struct slice text;

	if (frame_text(&outbox->maker, scrape, &plain, &text))
		keyframe = keyframes_make(outbox->keys, scrape, text,
			publisher_max_message_bytes(outbox->publisher), &message);
	buf_free(&plain);
	if (keyframe == NULL)
		return false;
	outbox_remember_sent(outbox, keyframe);
	publisher_send(outbox->publisher, message, keyframe);
	nats_outgoing_unref(message);
	return true;
}

bool outbox_consult_keyframes(struct outbox *outbox, struct scrape *scrape, struct frame_key *key)
{
	if (outbox->keys == NULL || outbox->maker.compression != COMPRESSION_DELTA)
		return false;
	switch (keyframes_advise(outbox->keys, scrape)) {
	case KEYFRAMES_WHOLE:
		break;
	case KEYFRAMES_REFER:
		if (!keyframes_text(outbox->keys, scrape, &key->text, &key->time_ms))
			key->text = SLICE("");
		break;
	case KEYFRAMES_MAKE:
		if (!send_keyframe(outbox, scrape))
			break;
		hold(outbox, scrape);
		return true;
	case KEYFRAMES_WAIT:
		hold(outbox, scrape);
		return true;
	}
	return false;
}

void outbox_on_keyframe_done(struct outbox *outbox, struct scrape *keyframe,
	enum publish_outcome outcome, double ack_seconds)
{
	if (outcome == PUBLISH_ACKED) {
		series_add(outbox->published_bytes, (double)keyframe->frame_bytes);
		series_observe(outbox->publish_seconds, ack_seconds);
	}
	keyframes_done(outbox->keys, keyframe, outcome, publisher_ack(outbox->publisher));
	release(outbox, keyframe);
	scrape_free(keyframe);
}

void outbox_forget_keyframe(struct outbox *outbox, const struct scrape *last)
{
	if (outbox->keys != NULL)
		keyframes_forget(outbox->keys, last);
}

void outbox_drain(struct outbox *outbox)
{
	struct scrape_queue waited = STAILQ_HEAD_INITIALIZER(waited);

	if (outbox->keys == NULL)
		return;
	keyframes_end(outbox->keys, &waited);
	requeue(outbox, &waited);
}

static void on_stream(void *arg, const struct js_stream_info *info)
{
	struct outbox *outbox = arg;

	keyframes_note_stream(outbox->keys, info);
}

/* Once it takes messages again it may be another one than before. */
void outbox_watch_stream(struct outbox *outbox)
{
	bool is_ready = publisher_is_ready(outbox->publisher, NULL);

	if (is_ready && !outbox->was_ready && outbox->watch != NULL)
		stream_watch_now(outbox->watch);
	outbox->was_ready = is_ready;
}

void outbox_open_keyframes(struct outbox *outbox)
{
	const struct outbox_options *options = &outbox->options;
	const struct stream_watch_options watch_options = {
		.link = options->link,
		.stream = options->settings->poller_stream.stream,
		.interval_ms = WATCH_MS,
		.on_info = on_stream,
		.arg = outbox,
	};

	if (options->settings->compression != COMPRESSION_DELTA)
		return;
	outbox->keys = keyframes_new(options->settings, options->metrics, options->codec);
	outbox->watch = stream_watch_open(options->loop, &watch_options);
}

void outbox_change_keyframes(struct outbox *outbox)
{
	struct scrape_queue waited = STAILQ_HEAD_INITIALIZER(waited);
	const struct settings *settings = outbox->options.settings;

	if (outbox->keys == NULL) {
		outbox_open_keyframes(outbox);
		return;
	}
	keyframes_set_settings(outbox->keys, settings);
	if (settings->compression == COMPRESSION_DELTA)
		return;
	keyframes_clear(outbox->keys, &waited);
	requeue(outbox, &waited);
	watch_patience(outbox);
}
