/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_STREAM_WATCH_H
#define PS_COMMON_NATS_STREAM_WATCH_H
/*
 * Asks now and then what a stream is like: its limits, when it was made, what it still holds. For
 * those who refer to messages that a stream may remove. A help only: where the server does not
 * answer, nothing is told; where it forbids the question, it is not asked again before the next
 * stream_watch_now. Loop thread. Opened after its link and closed before it.
 */
#include "common/nats/jetstream.h"
#include "common/nats/link.h"

struct stream_watch;

struct stream_watch_options {
	struct nats_link *link;
	const char *stream;  /* copied */
	int64_t interval_ms; /* from one answer to the next question */
	/* `info` is no error, and lives as long as the call. */
	void (*on_info)(void *arg, const struct js_stream_info *info);
	void *arg;
};

struct stream_watch *stream_watch_open(uv_loop_t *loop, const struct stream_watch_options *options);

/* Asks at once, unless it is just being asked. */
void stream_watch_now(struct stream_watch *watch);

void stream_watch_close(struct stream_watch *watch, void (*on_closed)(void *arg), void *arg);

#endif
