/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of known names decides which series a name counts in: its own, or those of "other". What
 * every message counts in is kept with the name; none of these series is ever forgotten.
 */
#include "receiver/tally.h"

#include "common/core/table.h"
#include "receiver/metrics.h"

struct known_name {
	UT_hash_handle by_name;
	struct series *seen, *skew; /* a publisher's, from its first message on */
	struct series *aged;        /* a job's, of `aged_sink` */
	const char *aged_sink;
	char name[];
};

struct tally {
	struct metrics *metrics;
	struct known_name *publishers, *jobs;
	struct known_name *other_publisher, *other_job;
};

static struct known_name *new_name(struct slice name)
{
	struct known_name *known = xcalloc(1, sizeof(*known) + name.len + 1);

	memcpy(known->name, name.ptr, name.len);
	return known;
}

struct tally *tally_new(struct metrics *metrics)
{
	struct tally *tally = xcalloc(1, sizeof(*tally));

	tally->metrics = metrics;
	tally->other_publisher = new_name(slice_from(TALLY_OTHER));
	tally->other_job = new_name(slice_from(TALLY_OTHER));
	return tally;
}

static void free_names(struct known_name **names)
{
	struct known_name *known, *next;

	HASH_ITER (by_name, *names, known, next) {
		HASH_DELETE(by_name, *names, known);
		free(known);
	}
}

void tally_free(struct tally *tally)
{
	if (tally == NULL)
		return;
	free_names(&tally->publishers);
	free_names(&tally->jobs);
	free(tally->other_publisher);
	free(tally->other_job);
	free(tally);
}

static struct known_name *counted_as(
	struct known_name **names, struct known_name *other, struct slice name)
{
	struct known_name *known;

	HASH_FIND(by_name, *names, name.ptr, name.len, known);
	if (known != NULL)
		return known;
	if (name.len == 0 || HASH_CNT(by_name, *names) >= TALLY_MAX_NAMES)
		return other;
	known = new_name(name);
	HASH_ADD(by_name, *names, name, name.len, known);
	return known;
}

static struct known_name *publisher_of(struct tally *tally, struct slice name)
{
	return counted_as(&tally->publishers, tally->other_publisher, name);
}

static struct series *of_publisher(
	struct tally *tally, enum receiver_metric id, struct slice publisher)
{
	return metrics_series(tally->metrics, id, publisher_of(tally, publisher)->name);
}

void tally_seen(struct tally *tally, struct slice publisher, int64_t arrived_ms, double skew_s)
{
	struct known_name *known = publisher_of(tally, publisher);

	if (known->seen == NULL) {
		known->seen = metrics_series(tally->metrics, RM_SEEN, known->name);
		known->skew = metrics_series(tally->metrics, RM_CLOCK_SKEW, known->name);
	}
	series_set(known->seen, (double)arrived_ms / 1e3);
	series_set(known->skew, skew_s);
}

void tally_future(struct tally *tally, struct slice publisher)
{
	series_inc(of_publisher(tally, RM_FUTURE_SCRAPES, publisher));
}

void tally_clock_reset(struct tally *tally, struct slice publisher)
{
	series_inc(of_publisher(tally, RM_CLOCK_RESETS, publisher));
}

void tally_discard(struct tally *tally, struct slice publisher, const char *reason)
{
	series_inc(metrics_series(tally->metrics, RM_PUBLISHER_DISCARDS,
		publisher_of(tally, publisher)->name, reason));
}

void tally_aged(struct tally *tally, const char *sink, struct slice job)
{
	struct known_name *known = counted_as(&tally->jobs, tally->other_job, job);

	/* As a rule there is one sink only. */
	if (known->aged == NULL || strcmp(known->aged_sink, sink) != 0) {
		known->aged = metrics_series(tally->metrics, RM_AGED_DISCARDS, sink, known->name);
		known->aged_sink = sink;
	}
	series_inc(known->aged);
}
