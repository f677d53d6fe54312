/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_ROSTER_H
#define PS_POLLER_ROSTER_H
/*
 * All that is scraped under one configuration: its settings, the poller's own job, and the targets
 * of both. It never changes, and is freed when its user and the last scrape of it are done with it.
 * Loop thread.
 */
#include "poller/scraper.h"
#include "poller/self.h"
#include "poller/target.h"

struct roster {
	struct settings *settings; /* a reference */
	struct self self;
	bool has_self;
	struct target_list targets;
};

/* `access` is for the monitor port; its port 0: there is none. NULL and `err` as target_list_init,
 * whose `metrics` they are. Given up with roster_unref. */
struct roster *roster_new(const struct settings *settings, const struct self_access *access,
	struct metrics *metrics, struct err *err) MUST_CHECK;

/* NULL is allowed. */
void roster_unref(struct roster *roster);

/* A reload: its targets take the place of the former ones, with scraper and metrics. Logs what that
 * changes, and appends lines of it for people. */
void roster_put_in_place(struct roster *roster, const struct roster *former,
	struct scraper *scraper, struct metrics *metrics, struct buf *answer);

#endif
