/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_SCRAPER_H
#define PS_POLLER_SCRAPER_H
/*
 * Scrapes every target on its schedule: one timer for all of them, one fetch at a time for each.
 * Every scrape begun yields one `struct scrape`, a failed one too. It does not know where they go.
 * Loop thread.
 */
#include "poller/target.h"

struct scraper;

struct scraper_options {
	uv_loop_t *loop;
	struct target_list *targets; /* kept by reference */
	struct metrics *metrics;
	struct codec *codec; /* borrowed */

	void (*on_scrape)(void *arg, struct scrape *scrape); /* owns the scrape */
	/* After scraper_drain, never from inside it: the last fetch has ended. */
	void (*on_idle)(void *arg);
	void *arg;
};

struct scraper *scraper_open(const struct scraper_options *options);

/* What a reload did to the targets. */
enum scraper_change { SCRAPER_ADDED, SCRAPER_REMOVED, SCRAPER_CHANGED, SCRAPER_CHANGE_COUNT };

struct scraper_changes {
	size_t unchanged, count[SCRAPER_CHANGE_COUNT];
	/* Of each; `target` is of the new list unless it is removed. */
	void (*on_change)(void *arg, enum scraper_change change, const struct target *target);
	void *arg;
};

/*
 * Other targets take the place of those scraped. Those of a subject that was there keep what they
 * have: schedule, scrape that runs, counters. Those removed yield a last scrape each, and the one
 * that runs is given up. The former list is not used any more, but by scrapes.
 */
void scraper_set_targets(
	struct scraper *scraper, struct target_list *targets, struct scraper_changes *changes);

/* Begins no further scrape; those that run may end. */
void scraper_drain(struct scraper *scraper);

/* Whether no fetch runs. */
bool scraper_is_idle(const struct scraper *scraper);

/* Gives up the fetches that run, closes every handle and frees. */
void scraper_close(struct scraper *scraper, void (*on_closed)(void *arg), void *arg);

#endif
