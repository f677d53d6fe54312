/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A body goes out in the encoding it came in unless `compression` or the size bound says otherwise.
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

/* Leaves the scrape as it is where the body cannot be decoded. */
static void recode(const struct frame_maker *maker, struct scrape *scrape, enum encoding wanted)
{
	uint64_t start_us = clock_mono_us();
	struct buf plain = {0}, out = {0};
	struct slice text = buf_slice(&scrape->body);

	if (scrape->wire.encoding == wanted || scrape->body.len == 0)
		return;
	if (scrape->wire.encoding != ENCODING_IDENTITY) {
		if (codec_decode(maker->codec, scrape->wire.encoding, text, DECODED_MAX_BYTES,
			    &plain) != CODEC_OK)
			goto out;
		text = buf_slice(&plain);
	}
	if (codec_encode(maker->codec, wanted, levels[wanted], text, &out, NULL) < 0)
		goto out;
	buf_free(&scrape->body);
	scrape->body = buf_take(&out);
	scrape->wire.encoding = wanted;
	series_observe(maker->compress_seconds, (double)(clock_mono_us() - start_us) / 1e6);
out:
	buf_free(&plain);
	buf_free(&out);
}

/* Where deltas against a keyframe will be made too: the last moment before a frame leaves. */
static void encode_body(const struct frame_maker *maker, struct scrape *scrape)
{
	switch (maker->compression) {
	case COMPRESSION_PASSTHROUGH:
		break;
	case COMPRESSION_GZIP:
		recode(maker, scrape, ENCODING_GZIP);
		break;
	case COMPRESSION_ZSTD:
		recode(maker, scrape, ENCODING_ZSTD);
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

/* The scrape keeps its body unless FRAME_WHOLE is returned. */
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
		outcome = FRAME_WHOLE;
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
	size_t max_bytes, struct nats_outgoing **message)
{
	size_t came_bytes = scrape->body.len;
	enum frame_outcome outcome;

	encode_body(maker, scrape);
	outcome = build(scrape, max_bytes, message);
	if (outcome != FRAME_TOO_LARGE)
		return outcome;
	recode(maker, scrape, ENCODING_ZSTD);
	outcome = build(scrape, max_bytes, message);
	if (outcome != FRAME_TOO_LARGE)
		return outcome;
	fail_too_large(scrape, came_bytes, max_bytes);
	outcome = build(scrape, max_bytes, message);
	return outcome == FRAME_WHOLE ? FRAME_TOO_LARGE : FRAME_IMPOSSIBLE;
}
