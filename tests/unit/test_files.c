/* SPDX-License-Identifier: Apache-2.0 */
/* What files say, where they are, and which of them go. */
#include "receiver/sink/files_body.h"
#include "receiver/sink/files_walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define REPORT(up, samples)                                                                        \
	"# TYPE up gauge\nup " up " 1000\n"                                                        \
	"# TYPE scrape_duration_seconds gauge\nscrape_duration_seconds 0.5 1000\n"                 \
	"# TYPE scrape_samples_scraped gauge\nscrape_samples_scraped " samples " 1000\n"

static const struct {
	const char *name;
	struct slice exposition;
	bool ignores_timestamps;
	const char *expected; /* NULL: malformed */
} BODIES[] = {
	{"nothing", SLICE(""), false, REPORT("1", "0")},
	{"one", SLICE("a 1\n"), false, "a 1 1000\n" REPORT("1", "1")},
	{"without a newline at the end", SLICE("a 1"), false, "a 1 1000\n" REPORT("1", "1")},
	{"comments and blanks stay", SLICE("# x\n\n# TYPE a counter\n  \na{b=\"c\"}  1  \n# y"),
		false, "# x\n\n# TYPE a counter\n  \na{b=\"c\"}  1 1000\n# y\n" REPORT("1", "1")},
	{"a time of its own", SLICE("a 1 5\nb 2\n"), false, "a 1 5\nb 2 1000\n" REPORT("1", "2")},
	{"which is not wanted", SLICE("a 1 5\nb 2\n"), true,
		"a 1 1000\nb 2 1000\n" REPORT("1", "2")},
	{"what we say ourselves",
		SLICE("# TYPE up gauge\nup 0\nup{a=\"b\"} 1\n# HELP scrape_duration_seconds x\n"),
		false, "up{a=\"b\"} 1 1000\n" REPORT("1", "2")},
	{"the same at the end", SLICE("a 1\nup 0"), false, "a 1 1000\n" REPORT("1", "2")},
	{"a value over several lines", SLICE("a{b=\"c\nd\"} 1\n"), false,
		"a{b=\"c\nd\"} 1 1000\n" REPORT("1", "1")},
	{"an end by a NUL", SLICE("a 1\n\0b 2\n"), false, "a 1 1000\n" REPORT("1", "1")},
	{"a NUL in a comment at the end", SLICE("a 1\n# x\n#\0b c\n"), false,
		"a 1 1000\n# x\n" REPORT("1", "1")},
	{"malformed", SLICE("a 1\nb{ 2\n"), false, NULL},
};

static void test_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(BODIES); i++) {
		const struct files_scrape scrape = {.title = SLICE("# t\n"),
			.time_ms = 1000,
			.duration_s = 0.5,
			.ignores_timestamps = BODIES[i].ignores_timestamps};
		struct buf out = {0};
		struct err err;
		int result = files_body_up(&out, &scrape, BODIES[i].exposition, &err);

		print_message("%s\n", BODIES[i].name);
		if (BODIES[i].expected == NULL) {
			assert_int_equal(result, -1);
			assert_int_equal(out.len, 0);
		} else {
			assert_int_equal(result, 0);
			assert_memory_equal(buf_cstr(&out), "# t\n", 4);
			assert_string_equal(buf_cstr(&out) + 4, BODIES[i].expected);
		}
		buf_free(&out);
	}
}

static void test_down_and_title(void **state)
{
	const struct files_scrape scrape = {
		.title = SLICE("# t\n"), .time_ms = 1000, .duration_s = 0.5};
	struct labels labels = {0};
	struct buf out = {0};

	(void)state;
	files_body_down(&out, &scrape, "no\nup 1\r");
	assert_string_equal(buf_cstr(&out), "# t\n# error no up 1 \n" REPORT("0", "0"));
	buf_clear(&out);
	labels_set(&labels, SLICE("env"), SLICE("a\nb"));
	files_body_title(&out, SLICE("p"), SLICE("j\""), SLICE("i"), &labels);
	assert_string_equal(buf_cstr(&out),
		"# target {publisher=\"p\",job=\"j\\\"\",instance=\"i\",env=\"a\\nb\"}\n");
	buf_free(&out);
	labels_free(&labels);
}

static void test_names(void **state)
{
	static const struct {
		const char *name;
		bool is_scrape, is_temporary, is_folder;
	} cases[] = {
		{"20260102T030405.678Z.prom", true, false, false},
		{"20260102T030405.678Z.prom.zst", true, false, false},
		{"20260102T030405.678Z.prom.gz", false, false, false},
		{"2026010xT030405.678Z.prom", false, false, false},
		{".tmp-20260102T030405.678Z.prom", false, true, false},
		{".tmp-latest", false, true, false},
		{".tmp-", false, false, false},
		{"latest", false, false, true},
		{"a=2Eb-C_9", false, false, true},
		{"..", false, false, false},
		{"a b", false, false, false},
		{"", false, false, false},
	};
	char name[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		print_message("\"%s\"\n", cases[i].name);
		assert_int_equal(files_name_is_scrape(cases[i].name), cases[i].is_scrape);
		assert_int_equal(files_name_is_temporary(cases[i].name), cases[i].is_temporary);
		assert_int_equal(files_name_is_folder(cases[i].name), cases[i].is_folder);
	}
	files_name(name, 1767323045678, false);
	assert_string_equal(name, "20260102T030405.678Z.prom");
	files_name(name, WIRE_TIME_MAX_MS, true);
	assert_string_equal(name, "22000101T000000.000Z.prom.zst");
	files_name(name, 0, true);
	assert_true(files_name_is_scrape(name));
}

/* A folder of the test's own. */
struct place {
	char top[64];
	struct files_folder folder;
};

static void open_place(struct place *place)
{
	snprintf(place->top, sizeof(place->top), "/tmp/test_files.XXXXXX");
	assert_non_null(mkdtemp(place->top));
	assert_int_equal(files_folder_init(&place->folder, SLICE("dc1"), SLICE("../j"), SLICE("."),
				 UINT64_C(0x12)),
		0);
}

static char *path_in(const struct place *place, const char *name)
{
	return xasprintf("%s/%s/%s/%s/%s/%s", place->top, place->folder.names[0],
		place->folder.names[1], place->folder.names[2], place->folder.names[3], name);
}

static bool is_there(const struct place *place, const char *name)
{
	char *path = path_in(place, name);
	struct stat info;
	bool result = lstat(path, &info) == 0;

	free(path);
	return result;
}

static void expect_latest(const struct place *place, const char *expected)
{
	char *path = path_in(place, FILES_LATEST);
	char target[64] = "";

	assert_true(readlink(path, target, sizeof(target) - 1) > 0);
	assert_string_equal(target, expected);
	free(path);
}

static void store(const struct place *place, int64_t time_ms, const char *text)
{
	struct files_error error;
	char name[64];

	files_name(name, time_ms, false);
	files_store(place->top, &place->folder, name, slice_from(text), &error);
	assert_int_equal(error.failure, FILES_OK);
}

/* As if written then. */
static void set_time(const struct place *place, int64_t time_ms, int64_t written_ms)
{
	const struct timespec times[] = {{written_ms / 1000, written_ms % 1000 * 1000000},
		{written_ms / 1000, written_ms % 1000 * 1000000}};
	char name[64], *path;

	files_name(name, time_ms, false);
	path = path_in(place, name);
	assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
	free(path);
}

static bool has(const struct place *place, int64_t time_ms)
{
	char name[64];

	files_name(name, time_ms, false);
	return is_there(place, name);
}

static void close_place(struct place *place)
{
	char *command = xasprintf("rm -r %s", place->top);

	assert_int_equal(system(command), 0);
	free(command);
	files_folder_fini(&place->folder);
}

static void test_storing(void **state)
{
	struct place place;
	struct files_error error;
	char *path;

	(void)state;
	open_place(&place);
	assert_string_equal(place.folder.names[1], "=2E=2E=2Fj");
	assert_string_equal(place.folder.names[2], "=2E");
	assert_string_equal(place.folder.names[3], "0000000000000012");
	store(&place, 1000, "one");
	store(&place, 2000, "two");
	store(&place, 1000, "one again");
	assert_true(has(&place, 1000) && has(&place, 2000));
	expect_latest(&place, "19700101T000001.000Z.prom");
	assert_false(is_there(&place, ".tmp-19700101T000001.000Z.prom"));
	/* A folder has its place. */
	path = path_in(&place, "19700101T000003.000Z.prom");
	assert_int_equal(mkdir(path, 0700), 0);
	free(path);
	files_store(place.top, &place.folder, "19700101T000003.000Z.prom", SLICE("x"), &error);
	assert_int_equal(error.failure, FILES_OBSTRUCTED);
	assert_false(files_failure_passes(error.failure));
	expect_latest(&place, "19700101T000001.000Z.prom");
	files_sync(place.top, &error);
	assert_int_equal(error.failure, FILES_OK);
	close_place(&place);
}

/* Of what is in the way of all targets, an administrator will hear, and nothing is given up. */
static void test_no_top(void **state)
{
	struct place place;
	struct files_error error;
	char *top;

	(void)state;
	open_place(&place);
	top = xasprintf("%s/file", place.top);
	assert_int_equal(close(open(top, O_WRONLY | O_CREAT, 0600)), 0);
	files_store(top, &place.folder, "19700101T000003.000Z.prom", SLICE("x"), &error);
	assert_int_equal(error.error_number, ENOTDIR);
	assert_true(files_failure_passes(error.failure));
	free(top);
	top = xasprintf("%s/file/below", place.top);
	files_store(top, &place.folder, "19700101T000003.000Z.prom", SLICE("x"), &error);
	assert_int_equal(error.error_number, ENOTDIR);
	assert_true(files_failure_passes(error.failure));
	free(top);
	close_place(&place);
}

static struct files_tally walk(const struct place *place, int64_t now_ms, struct files_cut cut,
	struct files_ages *ages, bool is_alive)
{
	struct files_walk *walk = files_walk_new(place->top, now_ms, &cut, ages);
	struct files_tally tally;
	enum files_step step;

	while ((step = files_walk_step(walk)) != FILES_STEP_END) {
		if (step != FILES_STEP_FOLDER)
			continue;
		assert_memory_equal(files_walk_folder(walk), "dc1/=2E=2E=2Fj/=2E", 18);
		files_walk_answer(walk, is_alive);
	}
	tally = *files_walk_tally(walk);
	files_walk_free(walk);
	return tally;
}

static struct files_ages *new_ages(int64_t from_ms, int64_t width_ms)
{
	struct files_ages *ages = xcalloc(1, sizeof(*ages));

	ages->from_ms = from_ms;
	ages->width_ms = width_ms;
	return ages;
}

#define NOW_MS INT64_C(1700000000000)

/* Files of the seconds 1 to 9, written at these seconds before NOW_MS + 10 s; the last is latest.
 */
static void fill(struct place *place)
{
	open_place(place);
	for (int64_t i = 1; i <= 9; i++) {
		store(place, i * 1000, "x");
		set_time(place, i * 1000, NOW_MS + i * 1000);
	}
}

static void test_what_is_too_old_goes(void **state)
{
	static const bool alive[] = {true, false};
	struct files_tally tally;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(alive); i++) {
		struct files_ages *ages = new_ages(NOW_MS + 10000, 1000);
		struct place place;
		char *notes;

		fill(&place);
		tally = walk(&place, NOW_MS + 10000,
			(struct files_cut){.age_before_ms = NOW_MS + 5000}, ages, alive[i]);
		assert_int_equal(tally.deleted_age, 4);
		assert_int_equal(tally.kept_bytes, 5 * FILES_BLOCK_BYTES);
		assert_false(has(&place, 4000));
		assert_true(has(&place, 5000));
		assert_int_equal(ages->oldest_ms, NOW_MS + 5000);
		memset(ages->bytes, 0, sizeof(ages->bytes));
		tally = walk(&place, NOW_MS + 20000,
			(struct files_cut){.age_before_ms = NOW_MS + 20000}, ages, alive[i]);
		assert_int_equal(tally.deleted_age, alive[i] ? 4 : 5);
		assert_int_equal(has(&place, 9000), alive[i]);
		assert_int_equal(is_there(&place, FILES_LATEST), alive[i]);
		notes = xasprintf("%s/dc1", place.top);
		assert_int_equal(access(notes, F_OK), alive[i] ? 0 : -1);
		assert_int_equal(access(place.top, F_OK), 0);
		free(notes);
		free(ages);
		close_place(&place);
	}
}

static void test_what_is_too_much_goes(void **state)
{
	struct files_ages *ages = new_ages(NOW_MS + 10000, 1000);
	struct files_ages *again = new_ages(NOW_MS + 10000, 1000);
	struct files_cut cut = {0};
	struct files_tally tally;
	struct place place;

	(void)state;
	fill(&place);
	set_time(&place, 3000, NOW_MS + 2000); /* two of one age */
	walk(&place, NOW_MS + 10000, cut, ages, true);
	assert_false(files_cut_for_size(&cut, ages, 10 * FILES_BLOCK_BYTES));
	assert_true(files_cut_for_size(&cut, ages, 2 * FILES_BLOCK_BYTES - 1));
	tally = walk(&place, NOW_MS + 10000, cut, again, true);
	assert_int_equal(tally.deleted_size, 2);
	assert_false(has(&place, 1000));
	assert_int_equal(has(&place, 2000) + has(&place, 3000), 1);
	assert_true(has(&place, 4000) && has(&place, 9000));
	assert_int_equal(tally.freed_bytes, 2 * FILES_BLOCK_BYTES);
	free(ages);
	free(again);
	close_place(&place);
}

static void test_what_is_not_ours_stays(void **state)
{
	static const char *const names[] = {"notes", "19700101T000001.000Z.prom.gz", ".tmp-x"};
	struct files_ages *ages = new_ages(NOW_MS, 1000);
	struct files_tally tally;
	struct place place;
	struct timespec old[2] = {{0, 0}, {0, 0}};

	(void)state;
	open_place(&place);
	store(&place, 5000, "x");
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = path_in(&place, names[i]);
		FILE *file = fopen(path, "w");

		assert_non_null(file);
		fclose(file);
		assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
		free(path);
	}
	set_time(&place, 5000, NOW_MS - 10000);
	tally = walk(&place, NOW_MS, (struct files_cut){.age_before_ms = NOW_MS}, ages, false);
	assert_int_equal(tally.deleted_age, 1);
	assert_int_equal(tally.kept_bytes, 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_true(is_there(&place, names[i]));
	free(ages);
	close_place(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_down_and_title),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_storing),
		cmocka_unit_test(test_no_top),
		cmocka_unit_test(test_what_is_too_old_goes),
		cmocka_unit_test(test_what_is_too_much_goes),
		cmocka_unit_test(test_what_is_not_ours_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
