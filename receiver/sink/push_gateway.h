/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_GATEWAY_H
#define PS_RECEIVER_SINK_PUSH_GATEWAY_H
/*
 * The Push Gateway sink: one PUT per group, the newest scrape of each target, silent groups
 * deleted. It owns the paths it wrote and refuses a second owner. See docs/pushgateway.md and the
 * rules measured on the gateway. Loop thread.
 */
#include "receiver/sink/sink.h"

/* `settings` is kept by reference until set_settings, its name for ever. Begins to read what the
 * gateway holds. */
struct sink *push_gateway_open(
	const struct sink_context *context, const struct push_gateway_settings *settings);

#endif
