/* SPDX-License-Identifier: Apache-2.0 */
/* Reasons are those of discards_total. */
#include "receiver/sink/decode.h"

#include "common/core/log.h"

const char *sink_decode(const struct sink_context *context, const char *sink,
	const struct frame *frame, struct log_limit *limit, struct buf *out)
{
	static const char *const reasons[] = {
		[CODEC_TOO_LARGE] = "too_large",
		[CODEC_CORRUPT] = "corrupt",
		[CODEC_UNSUPPORTED] = "unsupported_encoding",
	};
	enum codec_status status = frame_decode(
		frame, context->codec, (size_t)context->settings->max_scrape_bytes, out);

	if (status == CODEC_OK)
		return NULL;
	if (frame->was_judged)
		return reasons[status];
	tally_discard(context->tally, frame->publisher, reasons[status]);
	log_limited(limit, LOG_WARN, "a scrape cannot be decoded; it is delivered as up 0",
		LOG_S("sink", sink), LOG_SL("publisher", frame->publisher),
		LOG_SL("job", frame->job), LOG_SL("instance", frame->instance),
		LOG_S("reason", reasons[status]));
	return reasons[status];
}
