/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /federate without a network: taking scrapes, and writing answers of all that is held, by one and
 * by two requests at a time. CPU time of one thread, best of several rounds; MB are of the answer's
 * text, 10^6 bytes. Memory is the process's.
 */
#include "common/wire/stream_encoder.h"
#include "receiver/sink/federate_answer.h"
#include "receiver/sink/federate_body.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS      5
#define PIECE_BYTES ((size_t)128 << 10)
#define PER_FAMILY  5 /* series */

struct stock {
	struct families families;
	struct federate_builder builder;
	struct federate_series *series;
	struct block **blocks;
	size_t targets, per_target;
};

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* In kB, "VmRSS" or "VmHWM". */
static long memory_kb(const char *which)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	long kb = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, which, strlen(which)) == 0)
			kb = strtol(line + strlen(which) + 1, NULL, 10);
	if (file != NULL)
		fclose(file);
	return kb;
}

/* From here on the peak is counted anew. */
static void reset_peak(void)
{
	FILE *file = fopen("/proc/self/clear_refs", "w");

	if (file == NULL)
		return;
	fputs("5\n", file);
	fclose(file);
}

static void write_body(const struct stock *stock, size_t target, int turn, struct buf *out)
{
	for (size_t i = 0; i < stock->per_target; i++) {
		size_t family = i / PER_FAMILY;

		if (i % PER_FAMILY == 0)
			buf_appendf(out,
				"# HELP app_some_family_%zu_total What family %zu counts.\n"
				"# TYPE app_some_family_%zu_total counter\n",
				family, family, family);
		buf_appendf(out, "app_some_family_%zu_total{cpu=\"%zu\",mode=\"idle\"} %zu.%03d\n",
			family, i % PER_FAMILY, target * 7919 + i * 104729 % 999983, turn);
	}
}

static void take(struct stock *stock, size_t number, struct slice body, int turn)
{
	struct federate_repairs repairs;
	struct federate_target target = {
		.time_ms = 1700000000000 + turn * 15000 + (int64_t)number,
		.duration_s = 0.01,
		.owner = &stock->series[number],
		.former = stock->blocks[number],
	};
	char instance[64];
	struct block *block;
	struct err err;

	snprintf(instance, sizeof(instance), "host%05zu.dc1.example.net:9100", number);
	push_labels_init(&target.labels, SLICE("node"), slice_from(instance), SLICE("dc1"), NULL);
	block = federate_body_build(&stock->builder, body, &target, &stock->families,
		&stock->series[number], &repairs, &err);
	if (block == NULL) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	block_unref(stock->blocks[number]);
	stock->blocks[number] = block;
}

static void take_all(struct stock *stock, int turn)
{
	struct buf body = {0};
	double spent = 0, bytes = 0;

	for (size_t i = 0; i < stock->targets; i++) {
		double begin;

		buf_clear(&body);
		write_body(stock, i, turn, &body);
		begin = now_s();
		take(stock, i, buf_slice(&body), turn);
		spent += now_s() - begin;
		bytes += (double)body.len;
	}
	printf("take, scrape %d: %.1f us per scrape of %.0f bytes, %.0f MB/s\n", turn + 1,
		spent / (double)stock->targets * 1e6, bytes / (double)stock->targets,
		bytes / spent / 1e6);
	buf_free(&body);
}

static struct answer *ask(const struct stock *stock, const char *match)
{
	struct selectors selectors = {0};
	struct answer *answer;
	struct err err;

	if (match[0] != '\0' && selectors_add(&selectors, slice_from(match), &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	answer = answer_new(&stock->families, &selectors, stock->targets, true);
	for (size_t i = 0; i < stock->targets; i++)
		answer_add(answer, stock->blocks[i]);
	return answer;
}

struct figures {
	double seconds, bytes, encoded, samples;
};

/* One answer, its pieces thrown away. */
static struct figures write_one(
	const struct stock *stock, const char *match, enum encoding encoding)
{
	double begin = now_s();
	struct answer *answer = ask(stock, match);
	struct stream_encoder *encoder =
		encoding == ENCODING_IDENTITY ? NULL : stream_encoder_new(encoding);
	struct buf plain = {0}, encoded = {0};
	struct figures figures = {0};
	bool is_more;

	do {
		buf_clear(&plain);
		is_more = answer_write(answer, &plain, PIECE_BYTES);
		figures.bytes += (double)plain.len;
		if (encoder == NULL)
			continue;
		buf_clear(&encoded);
		stream_encoder_add(encoder, buf_slice(&plain), !is_more, &encoded);
		figures.encoded += (double)encoded.len;
	} while (is_more);
	figures.samples = (double)answer_samples(answer);
	answer_free(answer);
	stream_encoder_free(encoder);
	buf_free(&plain);
	buf_free(&encoded);
	figures.seconds = now_s() - begin;
	return figures;
}

static void bench(
	const struct stock *stock, const char *what, const char *match, enum encoding encoding)
{
	struct figures best = {.seconds = 1e9};

	for (int round = 0; round < ROUNDS; round++) {
		struct figures figures = write_one(stock, match, encoding);

		if (figures.seconds < best.seconds)
			best = figures;
	}
	printf("%s: %.0f MB/s, %.1f ms for %.0f samples, %.1f MB", what,
		best.bytes / best.seconds / 1e6, best.seconds * 1e3, best.samples,
		best.bytes / 1e6);
	if (best.encoded > 0)
		printf(", %.1f MB sent", best.encoded / 1e6);
	printf("\n");
}

/* Two answers in turn, all targets being replaced half-way: what they began with, they keep. */
static void bench_memory(struct stock *stock)
{
	struct answer *answers[2] = {ask(stock, ""), ask(stock, "")};
	struct buf pieces[2] = {{0}, {0}};
	long before = memory_kb("VmRSS");
	bool is_more[2] = {true, true};

	reset_peak();
	while (is_more[0] || is_more[1])
		for (size_t i = 0; i < 2; i++) {
			buf_clear(&pieces[i]);
			if (is_more[i])
				is_more[i] = answer_write(answers[i], &pieces[i], PIECE_BYTES);
		}
	printf("two answers at once: %ld kB held, %ld kB more at the peak\n", before,
		memory_kb("VmHWM") - before);
	for (size_t i = 0; i < 2; i++) {
		answer_free(answers[i]);
		answers[i] = ask(stock, "");
	}
	reset_peak();
	take_all(stock, 3);
	printf("two answers that wait while all targets are scraped again: %ld kB more at the "
	       "peak\n",
		memory_kb("VmHWM") - before);
	for (size_t i = 0; i < 2; i++) {
		answer_free(answers[i]);
		buf_free(&pieces[i]);
	}
}

static void print_held(const struct stock *stock)
{
	double bytes = 0;

	for (size_t i = 0; i < stock->targets; i++)
		bytes += (double)stock->blocks[i]->bytes + 8.0 * (double)stock->series[i].count;
	printf("held: %.0f bytes per target, %.1f per series; the process: %ld kB\n",
		bytes / (double)stock->targets,
		bytes / (double)(stock->targets * stock->per_target), memory_kb("VmRSS"));
}

int main(int argc, char **argv)
{
	struct stock stock = {
		.targets = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000,
		.per_target = argc > 2 ? strtoul(argv[2], NULL, 10) : 500,
	};

	if (stock.targets == 0 || stock.per_target == 0) {
		fprintf(stderr, "usage: bench_federate [TARGETS [SERIES]]\n");
		return 2;
	}
	stock.series = xcalloc(stock.targets, sizeof(*stock.series));
	stock.blocks = xcalloc(stock.targets, sizeof(struct block *));
	printf("%zu targets of %zu series\n", stock.targets, stock.per_target);
	for (int turn = 0; turn < 3; turn++)
		take_all(&stock, turn);
	print_held(&stock);
	bench(&stock, "everything", "", ENCODING_IDENTITY);
	bench(&stock, "everything, gzip", "", ENCODING_GZIP);
	bench(&stock, "everything, zstd", "", ENCODING_ZSTD);
	bench(&stock, "{job=~\".+\"}", "{job=~\".+\"}", ENCODING_IDENTITY);
	bench(&stock, "{cpu=~\".+\"}", "{cpu=~\".+\"}", ENCODING_IDENTITY);
	bench(&stock, "{cpu=\"1\"}", "{cpu=\"1\"}", ENCODING_IDENTITY);
	bench(&stock, "up", "up", ENCODING_IDENTITY);
	bench_memory(&stock);
	for (size_t i = 0; i < stock.targets; i++) {
		block_retract(stock.blocks[i], &stock.series[i]);
		block_unref(stock.blocks[i]);
		federate_series_fini(&stock.series[i]);
	}
	families_fini(&stock.families);
	federate_builder_fini(&stock.builder);
	free(stock.blocks);
	free(stock.series);
	return 0;
}
