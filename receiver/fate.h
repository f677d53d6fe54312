/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_FATE_H
#define PS_RECEIVER_FATE_H
/* How frames end, and the names that each is counted under. Pure; any thread. */

/* What became of a frame; each is counted under this reason. */
enum frame_fate {
	FATE_DELIVERED,
	FATE_STALE,        /* older than max_age */
	FATE_SUPERSEDED,   /* a newer one came before its delivery began, or succeeded */
	FATE_OUT_OF_ORDER, /* a later sequence with an older time */
	FATE_REDELIVERED,  /* seen before */
	FATE_REFUSED,      /* by the sink, for good */
	FATE_OVER_LIMIT,   /* max_targets_per_publisher */
	FATE_OVER_BYTES,   /* max_publisher_bytes */
	/* The keyframe that it refers to is not to be had, see keyframe_store.h. */
	FATE_KEYFRAME_MISSING,
	FATE_KEYFRAME_DENIED,
	FATE_KEYFRAME_CORRUPT,
	FATE_KEYFRAME_TOO_LARGE,
	FATE_KEYFRAME_FAILED,
	FATE_COUNT,
};
const char *frame_fate_name(enum frame_fate fate);

/* What is said in place of a body that is not to be had; NULL for other fates. */
const char *frame_fate_words(enum frame_fate fate);

#endif
