/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remote write requests out of arbitrary bytes: a target's scrapes, one behind the other where the
 * input has a line of "====". Both versions are read by a reader that knows nothing of what wrote
 * them, say the same, hold each series once and in order, and no sample gets lost uncounted.
 * Scrapes that repeat the one before differ in nothing. The first byte chooses the target's
 * settings.
 */
#include "receiver/sink/write_request.h"
#include "tests/unit/write_reader.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum {
	HONOR_LABELS = 1,
	HONOR_TIMESTAMPS = 2,
	ALLOW_LOOP = 4,
	LABELS = 8,
	OTHER_TARGET = 16, /* exposes the same, and shares the series */
};

struct fuzz {
	uint8_t settings;
	struct write_table *table;
	struct write_planner planner;
	struct write_request *request;
	struct write_labels *labels;
	int64_t time_ms;
};

static void encode(struct fuzz *f, const struct write_batch *batch, enum write_version version,
	struct buf *lines)
{
	struct write_counts counts;
	struct buf body = {0};

	write_request_begin(f->request, version);
	write_request_add(f->request, batch, 0, write_batch_count(batch), 0);
	counts = write_request_end(f->request, &body);
	assert(counts.samples == write_batch_count(batch));
	assert(write_reader_body(buf_slice(&body), version == WRITE_V2, lines) == NULL);
	buf_free(&body);
}

static int compare_slices(const void *a, const void *b)
{
	return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* No two samples are of one series: what stands before the last blank of each line is different. */
static void check_unique(const struct fuzz *f, const struct write_batch *batch)
{
	uint32_t count = write_batch_count(batch);
	struct slice *texts = xcalloc(count, sizeof(*texts));
	struct buf *all = xcalloc(count, sizeof(*all));
	struct write_plan plan = {0};

	for (uint32_t i = 0; i < count; i++) {
		struct write_sample sample = write_batch_get(batch, write_table_own(f->table), i);

		write_plan_make(&plan, sample.series->shape, batch->labels, batch->honor_labels);
		all[i].len = (size_t)(write_plan_put(&plan, sample.series,
					      buf_reserve(&all[i],
						      write_plan_len(&plan, sample.series) + 1)) -
				      all[i].ptr);
		assert(all[i].len == write_plan_len(&plan, sample.series));
		texts[i] = buf_slice(&all[i]);
	}
	qsort(texts, count, sizeof(*texts), compare_slices);
	for (uint32_t i = 1; i < count; i++)
		assert(!slice_eq(texts[i - 1], texts[i]));
	for (uint32_t i = 0; i < count; i++)
		buf_free(&all[i]);
	write_plan_fini(&plan);
	free(texts);
	free(all);
}

static void check_batch(struct fuzz *f, struct write_scrape *scrape)
{
	struct write_batch *batch =
		write_batch_new(f->labels, (f->settings & HONOR_LABELS) != 0, f->time_ms);
	struct buf first = {0}, second = {0};

	batch->list = write_list_ref(scrape->list);
	batch->values = scrape->values;
	batch->times = scrape->times;
	batch->gone = scrape->gone;
	scrape->gone = NULL;
	scrape->values = NULL;
	scrape->times = NULL;
	check_unique(f, batch);
	encode(f, batch, WRITE_V1, &first);
	encode(f, batch, WRITE_V2, &second);
	assert(slice_eq(buf_slice(&first), buf_slice(&second)));
	buf_free(&first);
	buf_free(&second);
	write_batch_free(batch, f->table);
}

static enum write_verdict read_body(
	struct fuzz *f, struct write_list *former, struct slice body, struct write_scrape *scrape)
{
	const struct write_scrape_options options = {
		.labels = f->labels,
		.time_ms = f->time_ms,
		.honor_labels = (f->settings & HONOR_LABELS) != 0,
		.honor_timestamps = (f->settings & HONOR_TIMESTAMPS) != 0,
		.allow_loop = (f->settings & ALLOW_LOOP) != 0,
		.learns = (f->time_ms & 1) != 0,
	};
	struct err err = {""};
	enum write_verdict verdict =
		write_scrape_read(scrape, f->table, &f->planner, former, body, &options, &err);

	assert((verdict == WRITE_MALFORMED) == (err.text[0] != '\0'));
	return verdict;
}

/* The next scrape of the target; the list is the one of the scrape before. */
static void run_scrape(struct fuzz *f, struct write_list **former, struct slice body)
{
	int64_t samples = expo_count_samples(body, NULL);
	struct write_scrape scrape, again;
	enum write_verdict verdict;

	f->time_ms++;
	verdict = read_body(f, *former, body, &scrape);
	assert((verdict == WRITE_MALFORMED) <= (samples < 0));
	assert(verdict != WRITE_OK || samples >= 0);
	if (verdict != WRITE_OK)
		return;
	assert((uint64_t)samples == scrape.samples);
	assert(scrape.list->count == scrape.samples - scrape.repeated - scrape.displaced);
	assert(read_body(f, scrape.list, body, &again) == WRITE_OK);
	assert(again.list == scrape.list && again.gone == NULL && again.added == 0);
	write_scrape_fini(&again, f->table);
	write_list_unref(f->table, *former);
	*former = write_list_ref(scrape.list);
	(void)write_list_bytes(*former);
	check_batch(f, &scrape);
	write_scrape_fini(&scrape, f->table);
}

static void run_target(struct fuzz *f, struct slice scrapes, struct write_list **former)
{
	static const char separator[] = "====\n";

	while (scrapes.len > 0) {
		const char *end = memmem(scrapes.ptr, scrapes.len, separator, strlen(separator));
		size_t len = end == NULL ? scrapes.len : (size_t)(end - scrapes.ptr);

		run_scrape(f, former, (struct slice){scrapes.ptr, len});
		len += end == NULL ? 0 : strlen(separator);
		scrapes = (struct slice){scrapes.ptr + len, scrapes.len - len};
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice scrapes = {(const char *)bytes + (len > 0), len - (len > 0)};
	struct fuzz f = {.settings = len > 0 ? bytes[0] : 0, .table = write_table_new()};
	struct write_list *former = NULL, *other = NULL;
	struct labels labels = {0};

	if ((f.settings & LABELS) != 0) {
		labels_set(&labels, SLICE("exported_job"), SLICE("x"));
		labels_set(&labels, SLICE("Env"), SLICE("a/b"));
	}
	f.request = write_request_new(f.table);
	f.labels = write_labels_new(SLICE("job"), SLICE("host:1"), SLICE("dc"), &labels);
	run_target(&f, scrapes, &former);
	if ((f.settings & OTHER_TARGET) != 0)
		run_target(&f, scrapes, &other);
	write_list_unref(f.table, former);
	write_list_unref(f.table, other);
	assert(write_table_count(f.table) == WRITE_OWN_COUNT);
	write_labels_unref(f.labels);
	write_planner_fini(&f.planner);
	write_request_free(f.request);
	write_table_free(f.table);
	labels_free(&labels);
	return 0;
}
