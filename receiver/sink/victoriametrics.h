/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_VICTORIAMETRICS_H
#define PS_RECEIVER_SINK_VICTORIAMETRICS_H
/*
 * The sink that brings every scrape to VictoriaMetrics (or vmagent, or what else takes the text
 * format with timestamps at /api/v1/import/prometheus), those of several targets in one request. A
 * log sink: it takes from context->ordered. Loop thread.
 */
#include "receiver/sink/sink.h"

struct sink *victoriametrics_open(
	const struct sink_context *context, const struct victoriametrics_settings *settings);

#endif
