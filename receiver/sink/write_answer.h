/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_ANSWER_H
#define PS_RECEIVER_SINK_WRITE_ANSWER_H
/*
 * What an answer to a remote write request means: taken, dropped for good, to be tried again, or in
 * the wrong version of the protocol. Pure.
 */
#include "common/loop/fetch.h"
#include "receiver/sink/write_request.h"

enum write_meaning {
	WRITE_TAKEN,
	WRITE_DROPPED,   /* the endpoint will not have it, now or later */
	WRITE_RETRY,     /* it, or the way to it, does not work */
	WRITE_FALL_BACK, /* it does not know version 2.0 */
};

#define WRITE_WORDS_BYTES 400

struct write_answer {
	enum write_meaning meaning;
	char reason[32];               /* for counting: "timeout", "http_503", …; "" when taken */
	char words[WRITE_WORDS_BYTES]; /* for people, printable; "" when taken */
	int64_t retry_after_ms;        /* bounded; 0: none */
};

/* By which an endpoint shows that it has understood 2.0: one that only knows 1.0 takes such a
 * request for an empty one. */
#define WRITE_WRITTEN_HEADER "X-Prometheus-Remote-Write-Samples-Written"

void write_answer_read(struct write_answer *answer, const struct fetch_result *result,
	enum write_version version, bool retries_429);

#endif
