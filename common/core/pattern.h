/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_PATTERN_H
#define PS_COMMON_CORE_PATTERN_H
/*
 * A regular expression that a whole text has to match, as Prometheus means it: `^(?s:…)$`. What a
 * match may cost is bounded, since patterns and texts come from others. Pure; one thread at a time.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

struct pattern;

#define PATTERN_MAX_BYTES 4096

/* NULL and `err` if it is malformed, or too long. */
struct pattern *pattern_new(struct slice text, struct err *err) MUST_CHECK;

enum pattern_verdict {
	PATTERN_NO,
	PATTERN_YES,
	PATTERN_LIMIT, /* given up: it would take too long */
};

/* `text` must be UTF-8. */
enum pattern_verdict pattern_match(const struct pattern *pattern, struct slice text);

/* NULL is allowed. */
void pattern_free(struct pattern *pattern);

#endif
