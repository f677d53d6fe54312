/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_STREAM_CHECK_H
#define PS_COMMON_NATS_STREAM_CHECK_H
/*
 * Asks once whether a stream is there and takes what we publish; makes it if it is missing and that
 * is wanted. It never alters a stream, and it leaves when to ask again to its user. Loop thread.
 */
#include "common/nats/link.h"

/* What became of a check: NULL `why` if we may publish, else the reason for people. */
typedef void (*stream_check_callback)(void *arg, const char *why);

struct stream_check {
	/* Set by the owner. */
	struct nats_link *link;
	const struct stream_settings *stream;
	const char *publish_subject;
	stream_check_callback on_verdict;
	void *arg;

	/* -1: no limit, or not known. */
	int64_t max_message_bytes;

	uint64_t request; /* 0 while nothing is asked */
	bool was_skipped; /* for want of permission; said once */
};

/* The callback comes once, never from inside this call, unless cancelled. */
void stream_check_start(struct stream_check *check);
void stream_check_cancel(struct stream_check *check);

#endif
