/* SPDX-License-Identifier: Apache-2.0 */
/* A set of known names decides which series a name counts in: its own, or those of "other". */
#include "receiver/tally.h"

#include "common/core/table.h"
#include "receiver/metrics.h"

struct known_name {
	UT_hash_handle by_name;
	char name[];
};

struct tally {
	struct metrics *metrics;
	struct known_name *publishers, *jobs;
};

struct tally *tally_new(struct metrics *metrics)
{
	struct tally *tally = xcalloc(1, sizeof(*tally));

	tally->metrics = metrics;
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
	free(tally);
}

static const char *counted_as(struct known_name **names, struct slice name)
{
	struct known_name *known;

	HASH_FIND(by_name, *names, name.ptr, name.len, known);
	if (known != NULL)
		return known->name;
	if (name.len == 0 || HASH_CNT(by_name, *names) >= TALLY_MAX_NAMES)
		return TALLY_OTHER;
	known = xcalloc(1, sizeof(*known) + name.len + 1);
	memcpy(known->name, name.ptr, name.len);
	HASH_ADD(by_name, *names, name, name.len, known);
	return known->name;
}

static struct series *of_publisher(
	struct tally *tally, enum receiver_metric id, struct slice publisher)
{
	return metrics_series(tally->metrics, id, counted_as(&tally->publishers, publisher));
}

void tally_seen(struct tally *tally, struct slice publisher, int64_t arrived_ms, double skew_s)
{
	series_set(of_publisher(tally, RM_SEEN, publisher), (double)arrived_ms / 1e3);
	series_set(of_publisher(tally, RM_CLOCK_SKEW, publisher), skew_s);
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
		counted_as(&tally->publishers, publisher), reason));
}

void tally_aged(struct tally *tally, const char *sink, struct slice job)
{
	series_inc(metrics_series(
		tally->metrics, RM_AGED_DISCARDS, sink, counted_as(&tally->jobs, job)));
}
