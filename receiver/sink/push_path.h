/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_PATH_H
#define PS_RECEIVER_SINK_PUSH_PATH_H
/*
 * The URL path of a Push Gateway group: /metrics/job/<job>/instance/<instance>/…, each value
 * percent-encoded or, where the gateway would misread that, as RFC 4648 url-safe base64. Pure.
 */
#include "common/core/buf.h"
#include "common/core/labels.h"

/* Of a target, other than job, instance and publisher; more are not looked at. */
#define PUSH_MAX_TARGET_LABELS 64

struct push_label {
	struct slice name, value;
};

/* The grouping labels of a target, in the order of its path. Borrows everything. */
struct push_labels {
	struct push_label items[PUSH_MAX_TARGET_LABELS + 3];
	size_t count;
};

/*
 * Job, instance, publisher (left out if empty), then `labels` sorted. Labels that a group cannot
 * have are left out: empty values (which mean absence), names that are reserved or not legacy.
 */
void push_labels_init(struct push_labels *group, struct slice job, struct slice instance,
	struct slice publisher, const struct labels *labels);

/*
 * Appends the path of these labels. Empty values are kept (a label set to nothing); bytes that are
 * not UTF-8 become U+FFFD, as one of them would make every scrape of the gateway fail.
 */
void push_labels_path(struct buf *out, const struct push_labels *group);

/* Both at once. One group has one path. */
void push_path(struct buf *out, struct slice job, struct slice instance, struct slice publisher,
	const struct labels *labels);

#endif
