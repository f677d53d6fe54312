/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_METADATA_H
#define PS_RECEIVER_SINK_WRITE_METADATA_H
/*
 * What HELP and TYPE say, sent from time to time as version 1.0 has it: all families of all
 * targets, in requests of their own, beside the samples. One that fails is not repeated: all of it
 * comes again. Loop thread.
 */
#include "receiver/sink/write_sender.h"

/* Embedded; zero-initialise, set `sender`, and init. */
struct write_metadata {
	struct write_sender *sender;

	uv_timer_t timer;
	struct buf *bodies; /* to be sent */
	uint64_t *families; /* in each */
	size_t count, sent;
	struct fetch_transfer *transfer;
	bool is_stopping;
};

void write_metadata_init(struct write_metadata *metadata, uv_loop_t *loop);
void write_metadata_stop(struct write_metadata *metadata);
void write_metadata_close(struct write_metadata *metadata, uv_close_cb on_closed);

#endif
