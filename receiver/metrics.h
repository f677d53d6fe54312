/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_METRICS_H
#define PS_RECEIVER_METRICS_H
/* The receiver's metric ids, one per row of receiver_metrics.def. */
#include "common/core/metrics.h"

enum receiver_metric {
#define M(id, type, name, labels, buckets, help) RM_##id,
#include "receiver/receiver_metrics.def"
#undef M
	RM_COUNT,
};

extern const struct metric_def receiver_metric_defs[RM_COUNT];

#endif
