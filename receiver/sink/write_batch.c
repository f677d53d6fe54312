/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch holds, made and given back. */
#include "receiver/sink/write_batch.h"

struct write_batch *write_batch_new(struct write_labels *labels, bool honor_labels, int64_t time_ms)
{
	struct write_batch *batch = xcalloc(1, sizeof(*batch));

	batch->labels = write_labels_ref(labels);
	batch->honor_labels = honor_labels;
	batch->time_ms = time_ms;
	for (size_t i = 0; i < WRITE_OWN_COUNT; i++)
		batch->own[i] = write_stale();
	return batch;
}

void write_batch_free(struct write_batch *batch, struct write_table *table)
{
	write_labels_unref(batch->labels);
	write_list_unref(table, batch->list);
	write_list_unref(table, batch->gone);
	free(batch->values);
	free(batch->times);
	free(batch);
}
