/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames out of messages. A legacy envelope becomes the frame that a poller of today would have
 * sent: the same subject, so that both spell the same target.
 */
#include "receiver/frame.h"

#include "common/core/clock.h"
#include "common/wire/legacy.h"

#define AHEAD_TOLERANCE_MS (60 * 1000)
/* The original's envelope may lack a publisher, a subject may not. */
#define LEGACY_PUBLISHER "unknown"

static void judge_time(struct frame *frame)
{
	frame->arrived_ms = clock_wall_ms();
	frame->arrived_us = clock_mono_us();
	frame->is_ahead = frame->scrape.time_ms - frame->arrived_ms > AHEAD_TOLERANCE_MS;
	frame->age_from_ms = frame->is_ahead ? frame->arrived_ms : frame->scrape.time_ms;
}

static void name_from_subject(struct frame *frame)
{
	frame->publisher = buf_slice(&frame->names.publisher);
	frame->job = buf_slice(&frame->names.job);
	frame->instance = buf_slice(&frame->names.instance);
}

static int read_scrape(struct frame *frame, struct err *err)
{
	if (wire_headers_parse(&frame->scrape, nats_incoming_header, frame->incoming, err) < 0)
		return -1;
	if (!wire_labels_match(&frame->names, &frame->scrape))
		return err_setf(err, "Ps-Labels do not belong to the subject");
	frame->subject = nats_incoming_subject(frame->incoming);
	frame->body = nats_incoming_body(frame->incoming);
	name_from_subject(frame);
	return 0;
}

static int read_legacy(struct frame *frame, struct slice topic, struct err *err)
{
	struct legacy_scrape legacy = {0};
	int result = -1;

	if (legacy_parse(&legacy, nats_incoming_body(frame->incoming), err) < 0)
		return -1;
	if (legacy.publisher.len == 0)
		buf_append_str(&legacy.publisher, LEGACY_PUBLISHER);
	if (wire_scrape_subject(&frame->own_subject, topic, buf_slice(&legacy.publisher),
		    buf_slice(&legacy.job), buf_slice(&legacy.instance), &frame->scrape.labels,
		    err) < 0)
		goto out;
	frame->subject = buf_slice(&frame->own_subject);
	wire_subject_parse(&frame->names, topic, frame->subject);
	name_from_subject(frame);
	frame->is_legacy = true;
	frame->scrape.time_ms = legacy.time_ms;
	frame->scrape.up = true;
	frame->scrape.encoding = ENCODING_GZIP;
	frame->own_body = buf_take(&legacy.body);
	frame->body = buf_slice(&frame->own_body);
	/* All that is wanted of it has been copied. */
	nats_incoming_free(frame->incoming);
	frame->incoming = NULL;
	result = 0;
out:
	legacy_fini(&legacy);
	return result;
}

static enum frame_verdict read_message(struct frame *frame, struct slice topic, struct err *err)
{
	wire_subject_parse(&frame->names, topic, nats_incoming_subject(frame->incoming));
	switch (frame->names.kind) {
	case WIRE_SCRAPE:
		return read_scrape(frame, err) < 0 ? FRAME_MALFORMED : FRAME_OK;
	case WIRE_LEGACY:
		return read_legacy(frame, topic, err) < 0 ? FRAME_MALFORMED : FRAME_OK;
	case WIRE_KEY:
		return FRAME_KEY;
	case WIRE_UNKNOWN:
		return FRAME_UNKNOWN;
	case WIRE_FOREIGN:
		break;
	}
	err_setf(err, "the subject is not one of ours");
	return FRAME_MALFORMED;
}

enum frame_verdict frame_from_message(struct frame **frame, struct consumer_message *message,
	struct slice topic, struct buf *reply, struct buf *publisher, struct err *err)
{
	struct frame *made = xcalloc(1, sizeof(*made));
	enum frame_verdict verdict;

	made->incoming = message->incoming;
	made->generation = message->generation;
	made->stream_seq = message->delivery.stream_seq;
	made->stored_ms = message->delivery.stored_ms;
	made->is_lookback = message->is_lookback;
	if (!made->is_lookback && !message->is_unacked)
		buf_append_slice(&made->reply, nats_incoming_reply(made->incoming));
	message->incoming = NULL;
	verdict = read_message(made, topic, err);
	buf_append_slice(publisher, buf_slice(&made->names.publisher));
	if (verdict == FRAME_OK) {
		judge_time(made);
		*frame = made;
		return FRAME_OK;
	}
	*reply = buf_take(&made->reply);
	frame_free(made);
	return verdict;
}

void frame_shed(struct frame *frame, enum frame_fate fate, const char *why)
{
	if (frame->own_subject.len == 0)
		buf_append_slice(&frame->own_subject, frame->subject);
	frame->subject = buf_slice(&frame->own_subject);
	frame->body = (struct slice){"", 0};
	buf_free(&frame->own_body);
	keyframe_unref(frame->keyframe);
	frame->keyframe = NULL;
	nats_incoming_free(frame->incoming);
	frame->incoming = NULL;
	free(frame->scrape.error);
	frame->scrape.error = xstrdup(why);
	frame->scrape.up = false;
	frame->scrape.encoding = ENCODING_IDENTITY;
	frame->delivered_as = fate;
}

bool frame_is_before(const struct frame *a, const struct frame *b)
{
	return a->generation != b->generation ? a->generation < b->generation
					      : a->stream_seq < b->stream_seq;
}

bool frame_is_last(const struct frame *frame)
{
	return !frame->scrape.up && (frame->scrape.flags & WIRE_REMOVED) != 0;
}

void frame_free(struct frame *frame)
{
	if (frame == NULL)
		return;
	wire_scrape_fini(&frame->scrape);
	wire_subject_fini(&frame->names);
	buf_free(&frame->own_subject);
	buf_free(&frame->own_body);
	buf_free(&frame->reply);
	keyframe_unref(frame->keyframe);
	if (frame->incoming != NULL)
		nats_incoming_free(frame->incoming);
	free(frame);
}

size_t frame_bytes(const struct frame *frame)
{
	const struct wire_scrape *scrape = &frame->scrape;
	size_t names = frame->publisher.len + frame->job.len + frame->instance.len;
	size_t words = (scrape->error == NULL ? 0 : strlen(scrape->error)) +
		       (scrape->content_type == NULL ? 0 : strlen(scrape->content_type));
	size_t message = frame->incoming == NULL ? frame->body.len + frame->subject.len
						 : nats_incoming_bytes(frame->incoming);
	size_t keyframe = frame->keyframe == NULL ? 0 : keyframe_encoded_bytes(frame->keyframe);

	return sizeof(*frame) + message + names + words + labels_bytes(&scrape->labels) +
	       frame->reply.capacity + keyframe;
}

bool frame_needs_keyframe(const struct frame *frame)
{
	return frame->scrape.up && frame->scrape.encoding == ENCODING_ZSTD_DELTA;
}

static enum codec_status decode_delta(
	const struct frame *frame, struct codec *codec, size_t limit_bytes, struct buf *out)
{
	struct buf scratch = {0};
	struct slice prefix;
	enum codec_status status;

	if (frame->keyframe == NULL)
		return CODEC_CORRUPT;
	status = keyframe_read(frame->keyframe, codec, &scratch, &prefix);
	if (status == CODEC_OK)
		status = codec_decode_delta(codec, prefix, frame->body, limit_bytes, out);
	buf_free(&scratch);
	return status;
}

enum codec_status frame_decode(
	const struct frame *frame, struct codec *codec, size_t limit_bytes, struct buf *out)
{
	if (frame->scrape.encoding == ENCODING_ZSTD_DELTA)
		return decode_delta(frame, codec, limit_bytes, out);
	return codec_decode(codec, frame->scrape.encoding, frame->body, limit_bytes, out);
}
