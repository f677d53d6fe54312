/* SPDX-License-Identifier: Apache-2.0 */
/* The table that poller_metrics.def spells out. */
#include "poller/metrics.h"

const struct metric_def poller_metric_defs[PM_COUNT] = {
#define M(id, type, name, labels, buckets, help)                                                   \
	[PM_##id] = {"prometheus_streams_poller_" name, METRIC_##type, labels, buckets, help},
#include "poller/poller_metrics.def"
#undef M
};
