/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_REPORT_H
#define PS_RECEIVER_SINK_PUSH_REPORT_H
/*
 * The series that we add to groups: the target's report (`up` and its companions) and the mark.
 * Their families have one type in all groups, whatever a body says of them. Pure.
 */
#include "receiver/sink/push_body.h"

enum push_own_family {
	PUSH_OWN_UP,
	PUSH_OWN_DURATION,
	PUSH_OWN_SAMPLES,
	PUSH_OWN_MARK, /* the only one in groups other than the target's own */
	PUSH_OWN_COUNT,
};

/* All are gauges; `metadata` is their HELP and TYPE lines. */
extern const struct push_own_text {
	const char *name;
	const char *metadata;
} push_own_families[PUSH_OWN_COUNT];

/*
 * Families that the gateway shows of itself, but only once it has been pushed to: too late for what
 * is read there at its start. Their HELP, too, must be the gateway's.
 */
#define PUSH_LATE_COUNT 3
extern const struct push_late_family {
	const char *name;
	enum expo_type type;
	const char *help; /* its line */
} push_late_families[PUSH_LATE_COUNT];

/* Both append whole lines, metadata included. */
void push_append_mark(struct buf *out, const struct push_target *target);
void push_append_report(
	struct buf *out, const struct push_target *target, bool up, uint64_t samples);

#endif
