/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_REMOTE_WRITE_H
#define PS_RECEIVER_SINK_REMOTE_WRITE_H
/*
 * The sink that sends every scrape to an endpoint of Prometheus' remote write protocol, in order
 * per series, with markers for series that go away. Loop thread.
 */
#include "receiver/sink/sink.h"

/* `settings` is kept by reference until set_settings, its name for ever. */
struct sink *remote_write_open(
	const struct sink_context *context, const struct remote_write_settings *settings);

#endif
