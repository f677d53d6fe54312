/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and bodies for VictoriaMetrics out of arbitrary bytes: what the parser accepts can be read
 * again, each sample in a line of its own with a time, and none is lost uncounted. The first byte
 * chooses the target's settings.
 */
#include "common/exposition/exposition.h"
#include "receiver/sink/files_body.h"
#include "receiver/sink/victoria_body.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { HONOR_LABELS = 1, IGNORE_TIMESTAMPS = 2 };

static uint64_t check(const struct buf *body, bool is_one_line_each)
{
	struct expo_parser parser;
	struct expo_line line;
	uint64_t samples = 0;
	enum expo_kind kind;

	expo_init(&parser, buf_slice(body));
	while ((kind = expo_next(&parser, &line, NULL)) != EXPO_END) {
		assert(kind != EXPO_ERROR);
		if (kind != EXPO_SAMPLE)
			continue;
		samples++;
		assert(line.timestamp.len > 0);
		if (is_one_line_each)
			assert(memchr(line.whole.ptr, '\n', line.whole.len) == NULL);
	}
	return samples;
}

static void try_file(struct slice exposition, unsigned flags, int64_t accepted)
{
	const struct files_scrape scrape = {.title = SLICE("# target {}\n"),
		.time_ms = 1000,
		.ignores_timestamps = (flags & IGNORE_TIMESTAMPS) != 0};
	struct buf out = {0};
	struct err err;
	int result = files_body_up(&out, &scrape, exposition, &err);

	assert((result == 0) == (accepted >= 0));
	assert(result == 0 || out.len == 0);
	/* Ours displace at most as many of the target's. */
	if (result == 0)
		assert(check(&out, false) <= (uint64_t)accepted + 3);
	buf_free(&out);
}

static void try_victoria(struct slice exposition, unsigned flags, int64_t accepted)
{
	struct labels labels = {0};
	struct push_labels pushed;
	struct victoria_scrape scrape = {.labels = &pushed,
		.max_bytes = (size_t)1 << 20,
		.time_ms = 1000,
		.honor_labels = (flags & HONOR_LABELS) != 0,
		.ignores_timestamps = (flags & IGNORE_TIMESTAMPS) != 0};
	struct victoria_tally tally = {0};
	struct buf out = {0};
	struct err err;

	labels_set(&labels, SLICE("exported_job"), SLICE("x"));
	labels_set(&labels, SLICE("env"), SLICE("a\n\"b"));
	push_labels_init(&pushed, SLICE("j"), SLICE("i"), SLICE("p"), &labels);
	/* It refuses more: samples of very many labels. */
	if (victoria_body_up(&out, &scrape, exposition, &tally, &err) == 0) {
		assert(accepted >= 0);
		assert(check(&out, true) == tally.samples);
		assert(tally.samples + tally.displaced == (uint64_t)accepted + 3);
	} else {
		assert(out.len == 0);
	}
	buf_free(&out);
	labels_free(&labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice exposition;
	int64_t accepted;

	if (len == 0)
		return 0;
	exposition = (struct slice){(const char *)bytes + 1, len - 1};
	accepted = expo_count_samples(exposition, NULL);
	try_file(exposition, bytes[0], accepted);
	try_victoria(exposition, bytes[0], accepted);
	return 0;
}
