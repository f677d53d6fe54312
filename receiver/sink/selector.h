/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_SELECTOR_H
#define PS_RECEIVER_SINK_SELECTOR_H
/*
 * Series selectors, as `match[]` of Prometheus' /federate has them: a metric's name, matchers in
 * braces, or both. `{"a name", "a label"="value"}`, Prometheus 3's form for names that need quotes,
 * is read too. Everything is bounded: requests come from others. Pure.
 *
 * Source: https://prometheus.io/docs/prometheus/latest/querying/basics/ and the behaviour of
 * Prometheus' own parser.
 */
#include "common/core/pattern.h"

#define SELECTOR_MAX_BYTES    8192
#define SELECTORS_MAX         64  /* in one request */
#define SELECTOR_MAX_MATCHERS 64  /* in one selector */
#define SELECTORS_MAX_MATCHES 256 /* matchers in all of a request */

enum matcher_op { MATCHER_EQUAL, MATCHER_NOT_EQUAL, MATCHER_REGEX, MATCHER_NOT_REGEX };

struct matcher {
	struct buf name, value; /* of the metric's name: __name__ */
	bool is_name;
	enum matcher_op op;
	struct pattern *pattern; /* of the last two */
};

struct selector {
	struct matcher items[SELECTOR_MAX_MATCHERS];
	size_t count;
};

/* Those of one request: a series is selected if it matches any of them, or if there are none. */
struct selectors {
	struct selector *items;
	size_t count;
	size_t matchers;
	uint64_t limits_hit; /* matches given up for what they cost */
};

/* Adds one, of a set that is zero at first. -1 and `err`, fit for whoever asked, if it is none. */
int selectors_add(struct selectors *selectors, struct slice text, struct err *err) MUST_CHECK;

/*
 * Whether the value (empty: there is no such label) is what the matcher asks for. One that would
 * take too long is not, whatever the operator; that is counted.
 */
bool selectors_match(
	struct selectors *selectors, const struct matcher *matcher, struct slice value);

void selectors_fini(struct selectors *selectors);

#endif
