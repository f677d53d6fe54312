/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_WIRE_LEGACY_H
#define PS_COMMON_WIRE_LEGACY_H
/*
 * The original program's JSON envelope: {"job","instance","time","publisher","Scrape"}, time in
 * seconds, Scrape base64 of a gzip body. Read only. Other members are passed over, but nested ones
 * are refused, as is a member that occurs twice. Pure; any thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

/* The largest message that NATS allows at all. */
#define LEGACY_MAX_BYTES (64 * 1024 * 1024)

struct legacy_scrape {
	struct buf job, instance,
		publisher; /* publisher may be empty: the original sent none then */
	int64_t time_ms;
	struct buf body; /* still gzip */
};

/* -1 and `err` if malformed; fini only after success. */
int legacy_parse(struct legacy_scrape *scrape, struct slice json, struct err *err) MUST_CHECK;
void legacy_fini(struct legacy_scrape *scrape);

#endif
