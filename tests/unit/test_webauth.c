/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask: headers that no honest client sends, and an end in the middle of anything. */
#include "common/loop/webauth.h"

#include "common/core/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* Of "pass", with the least cost. */
#define HASH "$2b$04$abcdefghijklmnopqrstuufznL8bkzdtHwLhca4To/v9Lo9bA7fR6"
/* a:pass and a:word */
#define PASS "Basic YTpwYXNz"
#define WORD "Basic YTp3b3Jk"

struct scene {
	uv_loop_t loop;
	struct webauth *auth;
	char path[64];
	int judged;
	bool passed;
};

static void write_file(const struct scene *scene, const char *text)
{
	FILE *file = fopen(scene->path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void scene_open(struct scene *scene, const char *text)
{
	struct err err;
	int fd;

	*scene = (struct scene){.path = "/tmp/test-webauth-XXXXXX"};
	fd = mkstemp(scene->path);
	assert_true(fd >= 0);
	close(fd);
	write_file(scene, text);
	assert_int_equal(uv_loop_init(&scene->loop), 0);
	scene->auth = webauth_load(&scene->loop, scene->path, &err);
	if (scene->auth == NULL)
		fail_msg("%s", err.text);
}

static void on_closed(void *arg)
{
	((struct scene *)arg)->auth = NULL;
}

static void scene_close(struct scene *scene)
{
	webauth_close(scene->auth, on_closed, scene);
	uv_run(&scene->loop, UV_RUN_DEFAULT);
	assert_null(scene->auth);
	assert_int_equal(uv_loop_close(&scene->loop), 0);
	unlink(scene->path);
}

static void on_judged(void *arg, bool pass)
{
	struct scene *scene = arg;

	scene->judged++;
	scene->passed = pass;
}

static enum webauth_verdict judge(struct scene *scene, const char *header)
{
	return webauth_judge(scene->auth, header, on_judged, scene);
}

/* After as many worker threads as it takes. */
static bool passes(struct scene *scene, const char *header)
{
	enum webauth_verdict verdict = judge(scene, header);
	int before = scene->judged;

	while (verdict == WEBAUTH_LATER && scene->judged == before)
		uv_run(&scene->loop, UV_RUN_ONCE);
	return verdict == WEBAUTH_LATER ? scene->passed : verdict == WEBAUTH_PASS;
}

static void run_for(struct scene *scene, uint64_t ms)
{
	uint64_t until_ms = clock_mono_ms() + ms;

	while (clock_mono_ms() < until_ms)
		uv_run(&scene->loop, UV_RUN_ONCE);
}

static void test_headers(void **state)
{
	static char endless[20000] = "Basic ";
	static const struct {
		const char *name, *header;
		bool passes;
	} cases[] = {
		{"none", NULL, false},
		{"right", PASS, true},
		{"right, remembered", PASS, true},
		{"lower case", "basic YTpwYXNz", true},
		{"padded", "Basic YTpwYXNz====", true},
		{"wrong", WORD, false},
		{"wrong, remembered", WORD, false},
		{"empty", "", false},
		{"no digits", "Basic ", false},
		{"padding alone", "Basic ====", false},
		{"not base64", "Basic !!!!", false},
		{"no colon", "Basic YXBhc3M", false},
		{"a colon alone", "Basic Og==", false},
		{"NUL behind the password", "Basic YTpwYXNzAA==", false},
		{"NUL before the colon", "Basic YQA6cGFzcw==", false},
		{"another scheme", "Bearer YTpwYXNz", false},
		{"endless", endless, false},
	};
	struct scene scene;

	(void)state;
	memset(endless + 6, 'Y', sizeof(endless) - 7);
	memcpy(endless + 6, "YTpw", 4);
	scene_open(&scene, "basic_auth_users: {a: " HASH "}\n");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (passes(&scene, cases[i].header) != cases[i].passes)
			fail_msg(
				"%s: %s", cases[i].name, cases[i].passes ? "is refused" : "passes");
	scene_close(&scene);
}

static void test_all_at_once(void **state)
{
	struct scene scene;
	int later = 0;

	(void)state;
	scene_open(&scene, "basic_auth_users: {a: " HASH "}\n");
	for (int i = 0; i < 200; i++)
		later += judge(&scene, PASS) == WEBAUTH_LATER;
	assert_true(later >= 64 && later < 100);
	while (scene.judged < later)
		uv_run(&scene.loop, UV_RUN_ONCE);
	assert_true(scene.passed);
	scene_close(&scene);
}

/* Else whoever guesses could keep out those who know. */
static void test_guesses_do_not_push_out_who_is_known(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, "basic_auth_users: {a: " HASH "}\n");
	assert_true(passes(&scene, PASS));
	for (int i = 0; i < 300; i++) {
		char header[64];

		/* a: and two digits of base64 that differ */
		snprintf(header, sizeof(header), "Basic YTp%c%c%c%c", 'A' + i % 26, 'A' + i / 26,
			'A' + i % 26, 'A' + i / 26);
		assert_false(passes(&scene, header));
	}
	assert_int_equal(judge(&scene, PASS), WEBAUTH_PASS);
	scene_close(&scene);
}

static void test_end_in_the_middle(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, "");
	scene_close(&scene);
	scene_open(&scene, "basic_auth_users: {a: " HASH "}\n");
	for (int i = 0; i < 10; i++)
		assert_int_equal(judge(&scene, PASS), WEBAUTH_LATER);
	scene_close(&scene);
	assert_int_equal(scene.judged, 0);
	/* The only event is the timer, upon which a worker looks at the file, which has changed. */
	scene_open(&scene, "basic_auth_users: {a: " HASH "}\n");
	write_file(&scene, "");
	uv_run(&scene.loop, UV_RUN_ONCE);
	scene_close(&scene);
}

/* What was found by the file as it was says nothing of the file as it is. */
static void test_a_verdict_of_the_old_file_is_not_remembered(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, "basic_auth_users: {a: " HASH "}\n");
	assert_true(passes(&scene, PASS));
	write_file(&scene, "basic_auth_users: {b: " HASH "}\n");
	run_for(&scene, 2500);
	assert_false(passes(&scene, PASS));
	write_file(&scene, "");
	run_for(&scene, 2500);
	assert_true(passes(&scene, NULL));
	scene_close(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_all_at_once),
		cmocka_unit_test(test_guesses_do_not_push_out_who_is_known),
		cmocka_unit_test(test_end_in_the_middle),
		cmocka_unit_test(test_a_verdict_of_the_old_file_is_not_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
