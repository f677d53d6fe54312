/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_KINDS_H
#define PS_RECEIVER_SINK_KINDS_H
/* A row for each kind of sink: how it is fed and how it is opened. Loop thread. */
#include "receiver/sink/sink.h"

/* What an intake has to know of its sink's settings. */
struct sink_needs {
	int64_t max_age_ms;         /* 0: off */
	int64_t timeout_ms;         /* how long one delivery may take */
	size_t publisher_in_flight; /* of one publisher at once; 0: any number */
};

struct intake_ops;

struct sink_kind {
	const struct intake_ops *intake; /* see intake_internal.h */
	void (*needs)(const struct settings *settings, const void *own, struct sink_needs *needs);
	/* `own` as in settings_sink_at; kept by reference until set_settings, its name for ever. */
	struct sink *(*open)(const struct sink_context *context, const void *own);
};

extern const struct sink_kind sink_kinds[SINK_KIND_COUNT];

#endif
