/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_DURABLE_H
#define PS_COMMON_NATS_DURABLE_H
/*
 * Finds a durable pull consumer, and makes it if it is missing. An existing one is never altered or
 * deleted: where it contradicts the configuration, a person has to decide. When to ask again is its
 * user's. Without a name (settings.durable is NULL) it makes a passing one instead, each time: of
 * the newest message of each subject and those that follow, without acknowledgements, gone when
 * nobody pulls. Loop thread.
 */
#include "common/nats/jetstream.h"
#include "common/nats/link.h"

enum durable_verdict {
	DURABLE_FOUND,       /* `info` describes it */
	DURABLE_MADE,        /* by us, just now; likewise */
	DURABLE_UNCHECKED,   /* no permission to ask: said once; pulling will tell */
	DURABLE_UNREACHABLE, /* no answer in time; `why` */
	DURABLE_FAILED,      /* `why` */
	DURABLE_CONTRADICTS, /* `why`, with the command that removes it */
};
/* `info` only with the first two, `why` with the last three; both end with the call. */
typedef void (*durable_callback)(void *arg, enum durable_verdict verdict,
	const struct js_consumer_info *info, const char *why);

struct durable {
	/* Set by the owner. */
	struct nats_link *link;
	struct js_consumer_settings settings;
	int64_t start_age_ms; /* see struct consumer_options */
	durable_callback on_verdict;
	void *arg;

	uint64_t request; /* 0 while nothing is asked */
	bool was_skipped;
};

/* The callback comes once, never from inside this call, unless cancelled. Nothing may be asked. */
void durable_find(struct durable *durable);
void durable_cancel(struct durable *durable);

/* Whether two times of creation, as JetStream says them, are those of one durable. */
bool durable_is_same(const char *created_before, const char *created);

#endif
