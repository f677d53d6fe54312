/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_DECODE_H
#define PS_RECEIVER_SINK_DECODE_H
/*
 * Decoding a scrape for a sink, and counting and telling where that fails: the same for all sinks.
 * Loop thread.
 */
#include "receiver/sink/sink.h"

/*
 * Appends the body of the frame, decoded. NULL, or else why it cannot be, a literal: counted for
 * its publisher and logged, unless the frame was judged before; the caller delivers up 0.
 */
const char *sink_decode(const struct sink_context *context, const char *sink,
	const struct frame *frame, struct log_limit *limit, struct buf *out) MUST_CHECK;

#endif
