/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_PATH_H
#define PS_RECEIVER_SINK_PUSH_PATH_H
/*
 * The URL path of a Push Gateway group: /metrics/job/<job>/instance/<instance>/…, each value
 * percent-encoded or, where the gateway would misread that, as RFC 4648 url-safe base64. Pure.
 */
#include "common/core/buf.h"
#include "common/core/labels.h"

/*
 * Appends the path. `publisher` may be empty: then it is left out. The order is job, instance,
 * publisher, then `labels` sorted, so that one group has one path.
 */
void push_path(struct buf *out, struct slice job, struct slice instance, struct slice publisher,
	const struct labels *labels);

#endif
