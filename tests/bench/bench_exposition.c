/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speed of the exposition parser over the files named on the command line: lines cut into slices
 * and validated, then the same with every value and timestamp converted. Each file is timed alone,
 * best of several rounds; the last lines add up bytes and best times over all files. CPU time, so
 * that a busy machine disturbs less.
 */
#include "common/exposition/exposition.h"

#include <stdio.h>
#include <time.h>

#define ROUNDS         5
#define ROUND_LEAST_NS 4000000.0

struct figures {
	double bytes, samples, slicing_ns, converting_ns;
};

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* Keeps the compiler from dropping what nobody looks at. */
static volatile double sink;

static int64_t parse(struct slice body, enum expo_engine engine, bool convert)
{
	struct expo_parser parser;
	struct expo_line line;
	enum expo_kind kind;
	int64_t samples = 0;
	double sum = 0;

	if (!expo_init_engine(&parser, body, engine))
		return -1;
	while ((kind = expo_next(&parser, &line, NULL)) != EXPO_END) {
		if (kind == EXPO_ERROR)
			return -1;
		if (kind != EXPO_SAMPLE)
			continue;
		samples++;
		sum += (double)line.labels.len;
		if (!convert)
			continue;
		sum += expo_value(line.value);
		if (line.timestamp.len > 0)
			sum += (double)expo_timestamp_ms(line.timestamp);
	}
	sink = sum;
	return samples;
}

/* Nanoseconds that one pass takes, the best of all rounds. */
static double time_pass(struct slice body, enum expo_engine engine, bool convert)
{
	double best = 0;

	for (int round = 0; round < ROUNDS; round++) {
		double start = now_ns(), taken;
		int passes = 0;

		do {
			parse(body, engine, convert);
			passes++;
			taken = now_ns() - start;
		} while (taken < ROUND_LEAST_NS);
		if (round == 0 || taken / passes < best)
			best = taken / passes;
	}
	return best;
}

static void print_figures(const char *what, const struct figures *f)
{
	printf("%9.0f %8.0f %10.0f %12.2f %10.0f %12.2f  %s\n", f->bytes, f->samples,
		f->bytes / f->slicing_ns * 1e3, f->samples / f->slicing_ns * 1e3,
		f->bytes / f->converting_ns * 1e3, f->samples / f->converting_ns * 1e3, what);
}

static bool read_file(const char *path, struct buf *body)
{
	FILE *file = fopen(path, "rb");
	size_t got;

	if (file == NULL)
		return false;
	do {
		got = fread(buf_reserve(body, 1 << 16), 1, 1 << 16, file);
		body->len += got;
	} while (got > 0);
	fclose(file);
	return true;
}

static void bench_file(const char *path, enum expo_engine engine, struct figures *all)
{
	struct buf body = {0};
	struct figures f;
	int64_t samples;

	samples = read_file(path, &body) ? parse(buf_slice(&body), engine, false) : -1;
	if (samples < 0) {
		printf("%s: not readable, or not accepted: left out\n", path);
		buf_free(&body);
		return;
	}
	f = (struct figures){
		.bytes = (double)body.len,
		.samples = (double)samples,
		.slicing_ns = time_pass(buf_slice(&body), engine, false),
		.converting_ns = time_pass(buf_slice(&body), engine, true),
	};
	print_figures(path, &f);
	all->bytes += f.bytes;
	all->samples += f.samples;
	all->slicing_ns += f.slicing_ns;
	all->converting_ns += f.converting_ns;
	buf_free(&body);
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_exposition [--engine portable|ssse3|avx2] FILE...\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"portable", "ssse3", "avx2"};
	struct figures all = {0};
	struct expo_parser probe;
	int engine = EXPO_AVX2, first = 1;

	while (engine > EXPO_PORTABLE &&
		!expo_init_engine(&probe, SLICE(""), (enum expo_engine)engine))
		engine--;
	if (argc > 2 && strcmp(argv[1], "--engine") == 0) {
		for (engine = EXPO_AVX2; engine >= 0 && strcmp(argv[2], names[engine]) != 0;)
			engine--;
		first = 3;
	}
	if (engine < 0 || first >= argc || argv[first][0] == '-' ||
		!expo_init_engine(&probe, SLICE(""), (enum expo_engine)engine))
		return usage();
	printf("engine %s; MB/s and million samples/s, slicing, then with values converted\n",
		names[engine]);
	printf("%9s %8s %10s %12s %10s %12s\n", "bytes", "samples", "slice MB/s", "Msamples/s",
		"conv MB/s", "Msamples/s");
	for (int i = first; i < argc; i++)
		bench_file(argv[i], (enum expo_engine)engine, &all);
	if (all.bytes == 0)
		return 1;
	print_figures("all files", &all);
	return 0;
}
