/* SPDX-License-Identifier: Apache-2.0 */
/* The table that receiver_metrics.def spells out. */
#include "receiver/metrics.h"

const struct metric_def receiver_metric_defs[RM_COUNT] = {
#define M(id, type, name, labels, buckets, help)                                                   \
	[RM_##id] = {"prometheus_streams_receiver_" name, METRIC_##type, labels, buckets, help},
#include "receiver/receiver_metrics.def"
#undef M
};
