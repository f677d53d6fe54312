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
	const struct target_list *targets; /* kept by reference */
	struct metrics *metrics;
	struct codec *codec; /* borrowed */

	void (*on_scrape)(void *arg, struct scrape *scrape); /* owns the scrape */
	/* After scraper_drain, never from inside it: the last fetch has ended. */
	void (*on_idle)(void *arg);
	void *arg;
};

struct scraper *scraper_open(const struct scraper_options *options);

/* Begins no further scrape; those that run may end. */
void scraper_drain(struct scraper *scraper);

/* Whether no fetch runs. */
bool scraper_is_idle(const struct scraper *scraper);

/* Gives up the fetches that run, closes every handle and frees. */
void scraper_close(struct scraper *scraper, void (*on_closed)(void *arg), void *arg);

#endif
