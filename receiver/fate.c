/* SPDX-License-Identifier: Apache-2.0 */
/* The names of fates: values of the label "reason". */
#include "receiver/fate.h"

static const char *const fate_names[FATE_COUNT] = {
	[FATE_DELIVERED] = "delivered",
	[FATE_STALE] = "stale",
	[FATE_SUPERSEDED] = "superseded",
	[FATE_OUT_OF_ORDER] = "out_of_order",
	[FATE_REDELIVERED] = "redelivered",
	[FATE_REFUSED] = "refused",
	[FATE_OVER_LIMIT] = "over_limit",
	[FATE_OVER_BYTES] = "over_bytes",
	[FATE_KEYFRAME_MISSING] = "keyframe_missing",
	[FATE_KEYFRAME_DENIED] = "keyframe_denied",
	[FATE_KEYFRAME_CORRUPT] = "keyframe_corrupt",
	[FATE_KEYFRAME_TOO_LARGE] = "keyframe_too_large",
	[FATE_KEYFRAME_FAILED] = "keyframe_failed",
};

const char *frame_fate_name(enum frame_fate fate)
{
	return fate_names[fate];
}

const char *frame_fate_words(enum frame_fate fate)
{
	static const char *const words[FATE_COUNT] = {
		[FATE_OVER_BYTES] = "no room: max_publisher_bytes of the receiver",
		[FATE_KEYFRAME_MISSING] = "the stream lacks the scrape's keyframe",
		[FATE_KEYFRAME_DENIED] = "the receiver may not look up keyframes",
		[FATE_KEYFRAME_CORRUPT] = "the scrape's keyframe cannot be read",
		[FATE_KEYFRAME_TOO_LARGE] = "the scrape's keyframe exceeds max_scrape_bytes",
		[FATE_KEYFRAME_FAILED] = "the scrape's keyframe could not be looked up",
	};

	return words[fate];
}
