/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_LABELS_H
#define PS_RECEIVER_SINK_WRITE_LABELS_H
/*
 * The labels that a target gives to all of its series, encoded once. What is encoded of a label is
 * a `pair`: the whole field of prometheus.TimeSeries, so that a series' labels are its pairs one
 * behind the other. Pure.
 */
#include "common/core/labels.h"

struct write_labels {
	uint32_t refs;
	uint32_t count; /* sorted by name, none of them empty */
	struct slice *names, *values;
	uint32_t *ends; /* of each in `pairs` */
	struct buf pairs;
	size_t bytes; /* that it takes, about */
	/* write_request.c's: numbers of names and values in the request of this number. */
	uint32_t *symbols;
	uint64_t request;
	struct labels labels; /* what holds the texts */
};

/* With one reference. `publisher` empty: no such label. Labels without a value are left out. */
struct write_labels *write_labels_new(struct slice job, struct slice instance,
	struct slice publisher, const struct labels *labels);
struct write_labels *write_labels_ref(struct write_labels *labels);
/* NULL is allowed. */
void write_labels_unref(struct write_labels *labels);

/* Appends one label as a pair. */
void write_append_pair(struct buf *out, struct slice name, struct slice value);

/* The value within a pair whose name is so long. */
struct slice write_pair_value(struct slice pair, size_t name_len);

#endif
