/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A body goes out in the encoding it came in unless `compression` or the size bound says otherwise.
 * It is encoded at the last moment before it leaves, when it is known what a delta may refer to.
 * Re-encoding never loses a scrape: a body that cannot be decoded goes as it came, and the
 * receiver, which is the one that parses, says what is wrong with it.
 */
#include "poller/frame.h"

#include "common/core/clock.h"
#include "poller/target.h"

#include <inttypes.h>

/* What re-encoding may unpack a body to; what is larger goes as it came. */
#define DECODED_MAX_BYTES ((size_t)256 << 20)

static const int levels[] = {
	[ENCODING_IDENTITY] = 0,
	[ENCODING_GZIP] = 6,
	[ENCODING_ZSTD] = 3,
	[ENCODING_ZSTD_DELTA] = 3,
};

void frame_format_size(uint64_t bytes, struct buf *out)
{
	static const struct {
		const char *name;
		uint64_t bytes;
	} units[] = {{"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}};

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		uint64_t tenths = (bytes * 10 + units[i].bytes / 2) / units[i].bytes;

		/* From 0.95 on: a bound a little below a round number reads as that number. */
		if (bytes < units[i].bytes - units[i].bytes / 20)
			continue;
		buf_appendf(out, "%" PRIu64, tenths / 10);
		if (tenths % 10 != 0)
			buf_appendf(out, ".%" PRIu64, tenths % 10);
		buf_append_str(out, units[i].name);
		return;
	}
	buf_appendf(out, "%" PRIu64 "B", bytes);
}

bool frame_text(const struct frame_maker *maker, const struct scrape *scrape, struct buf *plain,
	struct slice *text)
{
	*text = buf_slice(&scrape->body);
	if (scrape->wire.encoding == ENCODING_IDENTITY)
		return true;
	if (codec_decode(maker->codec, scrape->wire.encoding, *text, DECODED_MAX_BYTES, plain) !=
		CODEC_OK)
		return false;
	*text = buf_slice(plain);
	return true;
}

static void replace_body(struct scrape *scrape, struct buf *body, enum encoding encoding)
{
	buf_free(&scrape->body);
	scrape->body = buf_take(body);
	scrape->wire.encoding = encoding;
}

static void note_time(const struct frame_maker *maker, uint64_t start_us)
{
	series_observe(maker->compress_seconds, (double)(clock_mono_us() - start_us) / 1e6);
}

/* Leaves the scrape as it is where the body cannot be decoded. */
static void recode(const struct frame_maker *maker, struct scrape *scrape, enum encoding wanted)
{
	uint64_t start_us = clock_mono_us();
	struct buf plain = {0}, out = {0};
	struct slice text;

	if (scrape->wire.encoding == wanted || scrape->body.len == 0)
		return;
	if (frame_text(maker, scrape, &plain, &text) &&
		codec_encode(maker->codec, wanted, levels[wanted], text, &out, NULL) == 0) {
		replace_body(scrape, &out, wanted);
		note_time(maker, start_us);
	}
	buf_free(&plain);
	buf_free(&out);
}

/* Leaves the scrape as it is also where it is no larger than the delta. */
static void refer(const struct frame_maker *maker, struct scrape *scrape, struct frame_key *key)
{
	uint64_t start_us = clock_mono_us();
	struct buf plain = {0}, out = {0};
	struct slice text;

	if (frame_text(maker, scrape, &plain, &text) &&
		codec_encode_delta(maker->codec, key->text, levels[ENCODING_ZSTD_DELTA], text, &out,
			NULL) == 0 &&
		out.len < scrape->body.len) {
		key->delta_bytes = out.len;
		key->text_bytes = text.len;
		scrape->wire.key_time_ms = key->time_ms;
		replace_body(scrape, &out, ENCODING_ZSTD_DELTA);
		note_time(maker, start_us);
	}
	buf_free(&plain);
	buf_free(&out);
}

void frame_pack(const struct frame_maker *maker, struct scrape *scrape)
{
	if (scrape->wire.encoding == ENCODING_IDENTITY)
		recode(maker, scrape, ENCODING_ZSTD);
}

/* What the target compressed is not compressed again for a few bytes. */
static void encode_body(
	const struct frame_maker *maker, struct scrape *scrape, struct frame_key *key)
{
	if (key != NULL)
		refer(maker, scrape, key);
	switch (maker->compression) {
	case COMPRESSION_PASSTHROUGH:
		break;
	case COMPRESSION_GZIP:
		recode(maker, scrape, ENCODING_GZIP);
		break;
	case COMPRESSION_ZSTD:
		recode(maker, scrape, ENCODING_ZSTD);
		break;
	case COMPRESSION_DELTA:
		frame_pack(maker, scrape);
		break;
	}
}

/* Of the message as NATS counts it: status line, "name: value" lines, an empty line, the body. */
static size_t message_bytes(const struct wire_headers *headers, size_t body_bytes)
{
	size_t bytes = sizeof("NATS/1.0\r\n\r\n") - 1 + body_bytes;

	for (size_t i = 0; i < headers->count; i++)
		bytes += strlen(headers->items[i].name) + strlen(headers->items[i].value) +
			 sizeof(": \r\n") - 1;
	return bytes;
}

/* The scrape keeps its body unless FRAME_MADE is returned. */
static enum frame_outcome build(
	struct scrape *scrape, size_t max_bytes, struct nats_outgoing **message)
{
	struct wire_scrape wire = scrape->wire;
	struct slice subject = buf_slice(&scrape->target->subject);
	enum frame_outcome outcome = FRAME_TOO_LARGE;
	struct wire_headers headers;
	struct err err;

	wire.labels = scrape->target->settings->labels;
	*message = NULL;
	if (wire_headers_build(&headers, subject, &wire, &err) < 0) {
		scrape_fail(scrape, "%s", err.text);
		return FRAME_IMPOSSIBLE;
	}
	if (max_bytes == 0 || message_bytes(&headers, scrape->body.len) <= max_bytes) {
		*message = nats_outgoing_new(subject, &headers, &scrape->body);
		scrape->frame_bytes = nats_outgoing_bytes(*message);
		outcome = FRAME_MADE;
	}
	wire_headers_fini(&headers);
	return outcome;
}

/* `came_bytes` is what the target sent: that is what people can look up. */
static void fail_too_large(struct scrape *scrape, size_t came_bytes, size_t max_bytes)
{
	struct buf came = {0}, max = {0};

	frame_format_size(came_bytes, &came);
	frame_format_size(max_bytes, &max);
	if (slice_eq(buf_slice(&came), buf_slice(&max)))
		scrape_fail(scrape,
			"scrape of %zu bytes exceeds the server's %zu bytes message limit",
			came_bytes, max_bytes);
	else
		scrape_fail(scrape, "scrape of %s exceeds the server's %s message limit",
			buf_cstr(&came), buf_cstr(&max));
	buf_free(&came);
	buf_free(&max);
}

enum frame_outcome frame_make(const struct frame_maker *maker, struct scrape *scrape,
	struct frame_key *key, size_t max_bytes, struct nats_outgoing **message)
{
	size_t came_bytes = scrape->body.len;
	enum frame_outcome outcome;

	encode_body(maker, scrape, key);
	outcome = build(scrape, max_bytes, message);
	if (outcome != FRAME_TOO_LARGE)
		return outcome;
	recode(maker, scrape, ENCODING_ZSTD);
	outcome = build(scrape, max_bytes, message);
	if (outcome != FRAME_TOO_LARGE)
		return outcome;
	fail_too_large(scrape, came_bytes, max_bytes);
	outcome = build(scrape, max_bytes, message);
	return outcome == FRAME_MADE ? FRAME_TOO_LARGE : FRAME_IMPOSSIBLE;
}
