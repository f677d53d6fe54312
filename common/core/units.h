/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_UNITS_H
#define PS_COMMON_CORE_UNITS_H
/*
 * Durations and sizes as Prometheus writes them. It refuses what Prometheus refuses: negative
 * values, numbers without a unit, units out of order. Pure; any thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

/* The longest duration (292 years): its nanoseconds still fit an int64_t. */
#define UNITS_MAX_DURATION_MS (INT64_MAX / 1000000)

/*
 * Reads "1d2h3m4s5ms" (y w d h m s ms, each at most once, in that order; y is 365 days) or "0" into
 * *ms, which is untouched on failure.
 */
int units_parse_duration(struct slice text, int64_t *ms, struct err *err) MUST_CHECK;

/*
 * Appends it as Prometheus prints it: "1m30s", "0s"; years and weeks only if nothing remains, since
 * 90d is easier to read than 12w6d. What it appends can be parsed, unless negative.
 */
void units_format_duration(int64_t ms, struct buf *out);

/*
 * Reads a whole number of B, KB, MB, GB, TB, PB or EB (powers of 1024, also as KiB, MiB, ...) or of
 * bytes if there is no unit into *bytes, which is untouched on failure.
 */
int units_parse_size(struct slice text, uint64_t *bytes, struct err *err) MUST_CHECK;

/* Appends it in the largest unit that leaves no fraction: "16MB", "1000B", "0". */
void units_format_size(uint64_t bytes, struct buf *out);

#endif
