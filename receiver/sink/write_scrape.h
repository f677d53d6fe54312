/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_SCRAPE_H
#define PS_RECEIVER_SINK_WRITE_SCRAPE_H
/*
 * From the body of a scrape to samples: which series it has, their values, and which of those of
 * the scrape before are gone. Consecutive scrapes have the same series in the same order, so that
 * a line is first compared with the one that stood there before. Pure; one thread.
 */
#include "receiver/sink/write_plan.h"

#include <sys/queue.h>

struct write_scrape_options {
	const struct write_labels *labels; /* of the target */
	int64_t time_ms;
	bool honor_labels;
	bool honor_timestamps;
	bool allow_loop;
	bool learns; /* what HELP and TYPE say is to be read, even if the series are those of before
		      */
};

/* What was read. Its lists have one reference each. */
struct write_scrape {
	struct write_list *list;
	double *values;          /* one for each of the list */
	int64_t *times;          /* the same; NULL: all have the scrape's */
	struct write_list *gone; /* to be marked as stale; NULL: none */
	uint64_t samples;        /* exposed */
	uint64_t added;          /* that the scrape before did not have */
	uint64_t repeated;       /* left out: the series was there already */
	uint64_t displaced;      /* left out: the series is one that we add */
};

enum write_verdict {
	WRITE_OK,
	WRITE_MALFORMED, /* `err` says what is wrong */
	WRITE_LOOP,      /* it shows what we push, and may not */
};

/* `former` is the list of the scrape before, NULL if there is none. Fini on WRITE_OK only. */
enum write_verdict write_scrape_read(struct write_scrape *scrape, struct write_table *table,
	struct write_planner *planner, struct write_list *former, struct slice body,
	const struct write_scrape_options *options, struct err *err) MUST_CHECK;
void write_scrape_fini(struct write_scrape *scrape, struct write_table *table);

/* Those of a list whose series can be stale, with one reference; NULL if there are none. */
struct write_list *write_list_mortal(struct write_list *list);

#endif
