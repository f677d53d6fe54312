/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_BATCH_H
#define PS_RECEIVER_SINK_WRITE_BATCH_H
/*
 * Samples of one target that are to be sent, numbered from 0: what we report of it, what its scrape
 * exposed, and markers for series that are gone. Pure.
 */
#include "receiver/sink/write_scrape.h"

#include <sys/queue.h>

/* The value that says that a series is not there any more: a NaN of Prometheus' choice. */
#define WRITE_STALE_BITS UINT64_C(0x7ff0000000000002)

static inline double write_stale(void)
{
	uint64_t bits = WRITE_STALE_BITS;
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

struct write_batch {
	TAILQ_ENTRY(write_batch) in_queue;
	struct write_labels *labels; /* of the target; a reference */
	bool honor_labels;
	int64_t time_ms;
	double own[WRITE_OWN_COUNT]; /* the values of what we report */
	struct write_list *list;     /* a reference; NULL: none */
	double *values;              /* one for each of the list; owned */
	int64_t *times;              /* the same, or NULL: all have time_ms; owned */
	struct write_list *gone;     /* a reference; NULL: none */
	size_t bytes;                /* that it takes, about, what is shared apart */
	uint32_t taken;              /* samples that the far side has answered for */
	bool was_refused;            /* some of them */
	uint64_t queued_ms;          /* when it was put into a queue, monotonic */
	void *frame, *state;         /* its user's */
};

struct write_sample {
	const struct write_series *series;
	double value;
	int64_t time_ms;
};

static inline uint32_t write_batch_count(const struct write_batch *batch)
{
	return WRITE_OWN_COUNT + (batch->list == NULL ? 0 : batch->list->count) +
	       (batch->gone == NULL ? 0 : batch->gone->count);
}

/* The i-th sample; `own` is write_table_own's. */
static inline struct write_sample write_batch_get(
	const struct write_batch *batch, struct write_series *const *own, uint32_t i)
{
	uint32_t listed = batch->list == NULL ? 0 : batch->list->count;

	if (i < WRITE_OWN_COUNT)
		return (struct write_sample){own[i], batch->own[i], batch->time_ms};
	i -= WRITE_OWN_COUNT;
	if (i < listed)
		return (struct write_sample){batch->list->items[i], batch->values[i],
			batch->times == NULL ? batch->time_ms : batch->times[i]};
	return (struct write_sample){batch->gone->items[i - listed], write_stale(), batch->time_ms};
}

/* With a reference to the labels. All reports are stale markers at first. */
struct write_batch *write_batch_new(
	struct write_labels *labels, bool honor_labels, int64_t time_ms);
void write_batch_free(struct write_batch *batch, struct write_table *table);

#endif
