/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_METRICS_H
#define PS_POLLER_METRICS_H
/* The poller's metric ids, one per row of poller_metrics.def. */
#include "common/core/metrics.h"

enum poller_metric {
#define M(id, type, name, labels, buckets, help) PM_##id,
#include "poller/poller_metrics.def"
#undef M
	PM_COUNT,
};

extern const struct metric_def poller_metric_defs[PM_COUNT];

#endif
