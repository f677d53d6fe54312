/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_TALLY_H
#define PS_RECEIVER_TALLY_H
/*
 * Counting by names that come from outside (publishers, jobs): a bounded number of names has series
 * of its own, the rest share those of "other", so that nobody can grow the receiver's memory or its
 * /metrics by inventing names. Loop thread.
 */
#include "common/core/buf.h"
#include "common/core/metrics.h"

#define TALLY_MAX_NAMES 1000
#define TALLY_OTHER     "other"

struct tally;

struct tally *tally_new(struct metrics *metrics);
void tally_free(struct tally *tally);

/* A message of the publisher arrived; `skew_s`: its clock against the stream's, see the metric's
 * help. */
void tally_seen(struct tally *tally, struct slice publisher, int64_t arrived_ms, double skew_s);
void tally_future(struct tally *tally, struct slice publisher);
void tally_clock_reset(struct tally *tally, struct slice publisher);

/* A message that broke a rule or a bound; `reason` is a literal. */
void tally_discard(struct tally *tally, struct slice publisher, const char *reason);

/* A scrape older than max_age. `sink` is kept by reference. */
void tally_aged(struct tally *tally, const char *sink, struct slice job);

#endif
