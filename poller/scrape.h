/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_SCRAPE_H
#define PS_POLLER_SCRAPE_H
/*
 * One scrape on its way from the target to the stream: what its headers are to say, and its body as
 * the target sent it. Failed ones are scrapes too: up 0, a reason, no body. It judges what a fetch
 * brought; it does not parse it. Pure; loop thread.
 */
#include "common/loop/fetch.h"
#include "common/wire/wire.h"

#include <sys/queue.h>

struct target;

struct scrape {
	STAILQ_ENTRY(scrape) next;   /* the outbox's or the keyframes', while it waits */
	LIST_ENTRY(scrape) siblings; /* the outbox's, while it is unacked */
	const struct target *target; /* a reference of its list's, which outlives the scrape */
	struct wire_scrape wire;     /* without labels: those stay with the target */
	struct buf body;             /* empty once it has been sent */
	size_t frame_bytes;          /* of the message sent */
	bool is_substitute;          /* stands for one that the stream refused */
	bool is_keyframe;            /* stands for a keyframe among those sent */
	bool has_waited;             /* for a keyframe: not again */
};

enum scrape_outcome {
	SCRAPE_SUCCESS,
	SCRAPE_UNREACHABLE,
	SCRAPE_TIMED_OUT,
	SCRAPE_BAD_STATUS,
	SCRAPE_TOO_LARGE,
	SCRAPE_BAD_ENCODING,
	SCRAPE_OUTCOME_COUNT,
};

/* The outcome as a label value. */
const char *scrape_outcome_name(enum scrape_outcome outcome);

/* A scrape of the target that began at `time_ms`, to be judged. Free with scrape_free. */
struct scrape *scrape_new(const struct target *target, int64_t time_ms) MUST_CHECK;
void scrape_free(struct scrape *scrape);

/* The last message of a target that is not scraped any more. */
struct scrape *scrape_new_last(const struct target *target, int64_t time_ms) MUST_CHECK;
bool scrape_is_last(const struct scrape *scrape);

/*
 * Takes the body out of `result` if the scrape succeeded (a whole answer, status 200, an encoding
 * we pass on, within the job's body_size_limit), else makes it a failed one.
 */
enum scrape_outcome scrape_judge(
	struct scrape *scrape, struct fetch_result *result, struct codec *codec);

/* Makes it a failed one, without a body, for a reason in words for people. */
void scrape_fail(struct scrape *scrape, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Memory it holds while it waits. */
size_t scrape_bytes(const struct scrape *scrape);

/* Gives back what its body has in reserve: a scrape may wait for long. */
void scrape_trim(struct scrape *scrape);

/* Whether a Content-Type says no more than its absence: the text format, version 0.0.4. */
bool scrape_is_default_type(struct slice content_type);

#endif
