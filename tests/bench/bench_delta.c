/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What deltas cost and save, over a folder of scrapes recorded one after the other: bytes and CPU
 * time of one frame by level, matcher and form of the keyframe; what holding a keyframe costs in
 * each form; and the wire bytes of whole runs. The library's calls are made here, since the codec
 * has only the way that was chosen.
 *
 *	bench_delta FOLDER [every n-th scrape [scrapes between keyframes]]
 */
#include "common/wire/codec.h"

#include <dirent.h>
#include <stdio.h>
#include <time.h>
#include <zstd.h>

#define FILES_MAX  4096
#define LEVEL_BEST 3 /* as the poller does */
#define LEVEL_KEY  5
/* What is beside a body: Ps-Time, Ps-Duration, Ps-Interval, Ps-Key, Content-Encoding, Nats-Msg-Id.
 */
#define HEADER_BYTES     153
#define KEY_HEADER_BYTES 87

static struct buf scrapes[FILES_MAX];
static size_t scrape_count;
static size_t key_every = 60;

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "bench_delta: %s: %s\n", what, why);
	exit(1);
}

static size_t check(size_t result)
{
	if (ZSTD_isError(result))
		fail("zstd", ZSTD_getErrorName(result));
	return result;
}

/* -- the scrapes ----------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void read_file(const char *folder, const char *name, struct buf *out)
{
	char *path = xasprintf("%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	size_t got;

	if (file == NULL)
		fail(path, "cannot be read");
	while ((got = fread(buf_reserve(out, 1 << 16), 1, 1 << 16, file)) > 0)
		out->len += got;
	fclose(file);
	free(path);
}

static void read_folder(const char *folder, size_t step)
{
	char *names[FILES_MAX];
	size_t count = 0;
	DIR *dir = opendir(folder);
	struct dirent *entry;

	if (dir == NULL)
		fail(folder, "no folder");
	while ((entry = readdir(dir)) != NULL && count < FILES_MAX)
		if (entry->d_name[0] != '.')
			names[count++] = xstrdup(entry->d_name);
	closedir(dir);
	qsort(names, count, sizeof(names[0]), by_name);
	for (size_t i = 0; i < count; i++) {
		if (i % step == 0)
			read_file(folder, names[i], &scrapes[scrape_count++]);
		free(names[i]);
	}
}

/* -- one frame ------------------------------------------------------------------------------- */

struct way {
	int level;
	bool long_distance, dictionary;
};

struct cost {
	double bytes, encode_us, decode_us, prepare_us, state_bytes;
};

/* The whole run, each scrape against the last keyframe before it; the keyframes' own are left out,
 * as they are next to nothing. */
static struct cost measure(struct way way)
{
	ZSTD_CCtx *encoder = ZSTD_createCCtx();
	ZSTD_DCtx *decoder = ZSTD_createDCtx();
	ZSTD_CDict *dictionary = NULL;
	struct cost sum = {0};
	struct buf out = {0}, back = {0};
	size_t frames = 0, keys = 0;

	for (size_t i = 0; i < scrape_count; i++) {
		struct slice key = buf_slice(&scrapes[i - i % key_every]);
		struct slice in = buf_slice(&scrapes[i]);
		size_t bound = ZSTD_compressBound(in.len);
		double start = now_us();

		if (i % key_every == 0) {
			ZSTD_freeCDict(dictionary);
			dictionary = way.dictionary ? ZSTD_createCDict(key.ptr, key.len, way.level)
						    : NULL;
			sum.prepare_us += now_us() - start;
			sum.state_bytes += (double)ZSTD_sizeof_CDict(dictionary);
			keys++;
			continue;
		}
		buf_reserve(&out, bound);
		buf_reserve(&back, in.len);
		start = now_us();
		ZSTD_CCtx_reset(encoder, ZSTD_reset_session_and_parameters);
		check(ZSTD_CCtx_setParameter(encoder, ZSTD_c_compressionLevel, way.level));
		check(ZSTD_CCtx_setParameter(encoder, ZSTD_c_checksumFlag, 1));
		check(ZSTD_CCtx_setParameter(
			encoder, ZSTD_c_enableLongDistanceMatching, way.long_distance));
		if (way.dictionary)
			check(ZSTD_CCtx_refCDict(encoder, dictionary));
		else
			check(ZSTD_CCtx_refPrefix(encoder, key.ptr, key.len));
		out.len = check(ZSTD_compress2(encoder, out.ptr, bound, in.ptr, in.len));
		sum.encode_us += now_us() - start;
		start = now_us();
		check(ZSTD_decompress_usingDict(
			decoder, back.ptr, in.len, out.ptr, out.len, key.ptr, key.len));
		sum.decode_us += now_us() - start;
		sum.bytes += (double)out.len;
		frames++;
	}
	ZSTD_freeCCtx(encoder);
	ZSTD_freeDCtx(decoder);
	ZSTD_freeCDict(dictionary);
	buf_free(&out);
	buf_free(&back);
	frames = frames == 0 ? 1 : frames;
	return (struct cost){sum.bytes / (double)frames, sum.encode_us / (double)frames,
		sum.decode_us / (double)frames, sum.prepare_us / (double)keys,
		sum.state_bytes / (double)keys};
}

/* The codec's own way, with what it does around the library. */
static struct cost measure_codec(struct codec *codec)
{
	struct cost sum = {0};
	struct buf out = {0}, back = {0};
	struct err err;
	double frames = 0;

	for (size_t i = 0; i < scrape_count; i++) {
		struct slice key = buf_slice(&scrapes[i - i % key_every]);
		struct slice in = buf_slice(&scrapes[i]);
		double start = now_us();

		if (i % key_every == 0)
			continue;
		buf_clear(&out);
		if (codec_encode_delta(codec, key, LEVEL_BEST, in, &out, &err) < 0)
			fail("delta", err.text);
		sum.encode_us += now_us() - start;
		buf_clear(&back);
		start = now_us();
		if (codec_decode_delta(codec, key, buf_slice(&out), in.len, &back) != CODEC_OK)
			fail("delta", "does not decode");
		sum.decode_us += now_us() - start;
		sum.bytes += (double)out.len;
		frames++;
	}
	buf_free(&out);
	buf_free(&back);
	frames = frames == 0 ? 1 : frames;
	return (struct cost){
		sum.bytes / frames, sum.encode_us / frames, sum.decode_us / frames, 0, 0};
}

static void print_codec(struct codec *codec)
{
	struct cost cost = measure_codec(codec); /* warms caches */

	cost = measure_codec(codec);
	printf("| %d | line by line | text | %.0f | %.0f | %.0f | 0 | 0 |\n", LEVEL_BEST,
		cost.bytes, cost.encode_us, cost.decode_us);
}

static void print_ways(void)
{
	static const struct way ways[] = {
		{1, false, false},
		{3, false, false},
		{5, false, false},
		{1, true, false},
		{3, true, false},
		{5, true, false},
		{7, true, false},
		{1, false, true},
		{3, false, true},
		{5, false, true},
		{1, true, true},
		{3, true, true},
	};

	printf("| level | long distance | keyframe as | bytes | encode us | decode us | per "
	       "keyframe: us | bytes held |\n|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct cost cost = measure(ways[i]); /* warms caches */

		cost = measure(ways[i]);
		printf("| %d | %s | %s | %.0f | %.0f | %.0f | %.0f | %.0f |\n", ways[i].level,
			ways[i].long_distance ? "yes" : "no",
			ways[i].dictionary ? "CDict" : "prefix", cost.bytes, cost.encode_us,
			cost.decode_us, cost.prepare_us, cost.state_bytes);
	}
}

/* -- forms of a keyframe --------------------------------------------------------------------- */

static void print_form(struct codec *codec, const char *name, enum encoding encoding, int level)
{
	double bytes = 0, encode_us = 0, decode_us = 0;

	for (size_t i = 0; i < scrape_count; i++) {
		struct buf packed = {0}, back = {0};
		struct err err;
		double start = now_us();

		if (codec_encode(codec, encoding, level, buf_slice(&scrapes[i]), &packed, &err) < 0)
			fail(name, err.text);
		encode_us += now_us() - start;
		bytes += (double)packed.len;
		buf_reserve(&back, scrapes[i].len);
		start = now_us();
		if (codec_decode(codec, encoding, buf_slice(&packed), scrapes[i].len, &back) !=
			CODEC_OK)
			fail(name, "does not decode");
		decode_us += now_us() - start;
		buf_free(&packed);
		buf_free(&back);
	}
	printf("| %s | %.0f | %.0f | %.0f |\n", name, bytes / (double)scrape_count,
		encode_us / (double)scrape_count, decode_us / (double)scrape_count);
}

static void print_forms(struct codec *codec)
{
	printf("\n| form | bytes | encode us | decode us |\n|---|---|---|---|\n");
	print_form(codec, "as it is", ENCODING_IDENTITY, 0);
	print_form(codec, "gzip 6", ENCODING_GZIP, 6);
	print_form(codec, "zstd 1", ENCODING_ZSTD, 1);
	print_form(codec, "zstd 3", ENCODING_ZSTD, 3);
	print_form(codec, "zstd 5", ENCODING_ZSTD, 5);
	print_form(codec, "zstd 9", ENCODING_ZSTD, 9);
	print_form(codec, "zstd 12", ENCODING_ZSTD, 12);
}

/* -- a run as it goes over the wire ---------------------------------------------------------- */

static size_t body_bytes(struct codec *codec, enum encoding encoding, int level, size_t i)
{
	struct buf out = {0};
	struct err err;
	size_t len;

	if (codec_encode(codec, encoding, level, buf_slice(&scrapes[i]), &out, &err) < 0)
		fail("encode", err.text);
	len = out.len;
	buf_free(&out);
	return len;
}

static size_t delta_bytes(struct codec *codec, size_t key, size_t i)
{
	struct buf out = {0}, copy = {0};
	struct err err;
	size_t len;

	buf_append_slice(&copy, buf_slice(&scrapes[i]));
	if (codec_encode_delta(
		    codec, buf_slice(&scrapes[key]), LEVEL_BEST, buf_slice(&copy), &out, &err) < 0)
		fail("delta", err.text);
	len = out.len;
	buf_free(&out);
	buf_free(&copy);
	return len;
}

static void print_wire(struct codec *codec)
{
	double gzip = 0, deltas = 0, keys = 0, wire = 0;
	size_t key_count = 0;

	for (size_t i = 0; i < scrape_count; i++) {
		gzip += (double)body_bytes(codec, ENCODING_GZIP, 6, i);
		deltas += (double)delta_bytes(codec, i - i % key_every, i);
		if (i % key_every != 0)
			continue;
		keys += (double)body_bytes(codec, ENCODING_ZSTD, LEVEL_KEY, i);
		key_count++;
	}
	wire = deltas + keys + HEADER_BYTES * (double)scrape_count +
	       KEY_HEADER_BYTES * (double)key_count;
	printf("\n%zu scrapes, %zu keyframes: gzip body %.0f, delta %.0f, keyframes %.0f a scrape, "
	       "with headers %.0f bytes a scrape, 1/%.2f of the gzip body\n",
		scrape_count, key_count, gzip / (double)scrape_count, deltas / (double)scrape_count,
		keys / (double)scrape_count, wire / (double)scrape_count, gzip / wire);
}

int main(int argc, char **argv)
{
	struct codec *codec = codec_new();

	if (argc < 2)
		fail("usage", "bench_delta FOLDER [every n-th scrape [between keyframes]]");
	read_folder(argv[1], argc > 2 ? (size_t)atoi(argv[2]) : 1);
	if (argc > 3)
		key_every = (size_t)atoi(argv[3]);
	if (scrape_count == 0 || key_every == 0)
		fail(argv[1], "no scrapes");
	print_ways();
	print_codec(codec);
	print_forms(codec);
	print_wire(codec);
	for (size_t i = 0; i < scrape_count; i++)
		buf_free(&scrapes[i]);
	codec_free(codec);
	return 0;
}
