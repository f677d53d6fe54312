/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_REQUEST_H
#define PS_RECEIVER_SINK_WRITE_REQUEST_H
/*
 * The body of a remote write request, in either version of the protocol: prometheus.WriteRequest
 * (1.0) or io.prometheus.write.v2.Request (2.0), compressed as a snappy block. Pure; one thread.
 */
#include "receiver/sink/write_batch.h"

enum write_version { WRITE_V1, WRITE_V2 };

/* What went into the request. */
struct write_counts {
	uint64_t samples; /* markers among them */
	uint64_t markers;
	uint64_t too_old; /* left out */
	uint64_t metadata;
	int64_t highest_ms; /* of the samples; 0: there were none */
};

struct write_request;

struct write_request *write_request_new(struct write_table *table);
void write_request_free(struct write_request *request);

/* Begins an empty request. */
void write_request_begin(struct write_request *request, enum write_version version);

/* Adds the samples from..to of the batch, but those older than `oldest_ms`. */
void write_request_add(struct write_request *request, const struct write_batch *batch,
	uint32_t from, uint32_t to, int64_t oldest_ms);

/* What has been added so far takes, before it is compressed. */
size_t write_request_bytes(const struct write_request *request);

/* Adds what is known of a family, in 1.0; in 2.0 it goes with the samples. */
void write_request_add_family(struct write_request *request, const struct write_family *family);

/* Ends it: appends the body to `out`. What was passed may go from now on. */
struct write_counts write_request_end(struct write_request *request, struct buf *out);

/* The message before it is compressed, until the next begin; for tests. */
struct slice write_request_message(const struct write_request *request);

#endif
