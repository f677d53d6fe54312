/* SPDX-License-Identifier: Apache-2.0 */
/* What a gateway's /metrics lets a starting receiver push, and which of its groups are orphans. */
#include "receiver/sink/push_marks.h"

#include "receiver/sink/push_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define PATH(instance)   "/metrics/job/j/instance/" instance
#define LABELS(instance) "{instance=\"" instance "\",job=\"j\"}"

/* "ours" of 1000 s, a push that failed, somebody else's push. */
static const char EXPOSITION[] =
	"# TYPE " PUSH_MARK " gauge\n" PUSH_MARK LABELS("ours") " 1000\n" PUSH_MARK LABELS(
		"old") " 10.5\n"
		       "# TYPE push_time_seconds gauge\npush_time_seconds" LABELS(
			       "ours") " 1001\n"
				       "push_time_seconds" LABELS(
					       "old") " 11\n"
						      "push_time_seconds" LABELS(
							      "failed") " 0\n"
									"push_time_seconds" LABELS(
										"foreign") " 999\n";

struct fixture {
	struct push_types *types;
	struct push_marks *marks;
	struct push_claims *claims;
	struct push_holder holder;
};

static void survey(struct fixture *f, const char *exposition)
{
	struct push_survey found;
	struct err err;

	assert_int_equal(push_survey_parse(&found, slice_from(exposition), &err), 0);
	push_marks_survey(f->marks, &found, false, f->claims);
	push_survey_fini(&found);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));

	f->types = push_types_new();
	f->marks = push_marks_new(f->types);
	f->claims = push_claims_new();
	push_holder_init(&f->holder);
	survey(f, EXPOSITION);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	push_claims_release_all(f->claims, &f->holder);
	push_claims_free(f->claims);
	push_marks_free(f->marks);
	push_types_free(f->types);
	free(f);
	return 0;
}

static const struct {
	const char *name, *path;
	int64_t time_ms;
	enum push_mark_verdict verdict; /* with a slack of 80 s */
} judgements[] = {
	{"unknown", PATH("x"), 1, PUSH_MARK_NONE},
	{"later than the mark", PATH("ours"), 1000001, PUSH_MARK_EARLIER},
	{"the very scrape", PATH("ours"), 1000000, PUSH_MARK_SAME},
	{"before the mark", PATH("ours"), 999999, PUSH_MARK_LATER},
	{"as far before as may be", PATH("ours"), 920000, PUSH_MARK_LATER},
	{"a clock that was set", PATH("ours"), 919999, PUSH_MARK_RESET},
	{"a push that failed", PATH("failed"), 1, PUSH_MARK_NONE},
	{"somebody else's", PATH("foreign"), INT64_MAX, PUSH_MARK_FOREIGN},
};

static void test_judgements(void **state)
{
	const struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(judgements); i++) {
		print_message("%s\n", judgements[i].name);
		assert_int_equal(push_marks_judge(f->marks, judgements[i].path,
					 judgements[i].time_ms, 80000),
			judgements[i].verdict);
	}
}

static void test_forgotten_once_pushed(void **state)
{
	struct fixture *f = *state;
	struct push_claim *claim = push_claims_take(f->claims, &f->holder, PATH("ours"), NULL);

	survey(f, EXPOSITION);
	assert_int_equal(push_marks_judge(f->marks, PATH("ours"), 1, INT64_MAX), PUSH_MARK_LATER);
	claim->is_pushed = true;
	push_marks_forget(f->marks, PATH("ours"));
	survey(f, EXPOSITION);
	assert_int_equal(push_marks_judge(f->marks, PATH("ours"), 1, INT64_MAX), PUSH_MARK_NONE);
}

static void test_a_gateway_that_lost_everything(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(push_marks_count(f->marks), 3);
	survey(f, "");
	assert_int_equal(push_marks_count(f->marks), 0);
}

static void test_orphans(void **state)
{
	struct fixture *f = *state;
	struct push_mark *orphan;

	assert_null(push_marks_orphan(f->marks, f->claims, 10500));
	orphan = push_marks_orphan(f->marks, f->claims, 10501);
	assert_non_null(orphan);
	assert_string_equal(orphan->path, PATH("old"));
	orphan->is_going = true;
	assert_null(push_marks_orphan(f->marks, f->claims, 10501));
	assert_int_equal(push_marks_judge(f->marks, PATH("old"), 1, 0), PUSH_MARK_GOING);
	push_marks_forget(f->marks, PATH("old"));
	survey(f, "");
	assert_int_equal(push_marks_count(f->marks), 1);
	push_marks_gone(f->marks, orphan);
	assert_int_equal(push_marks_count(f->marks), 0);
}

static void test_what_is_claimed_or_refused_is_no_orphan(void **state)
{
	struct fixture *f = *state;

	(void)push_claims_take(f->claims, &f->holder, PATH("old"), NULL);
	assert_null(push_marks_orphan(f->marks, f->claims, 10501));
	push_claims_release_all(f->claims, &f->holder);
	push_marks_orphan(f->marks, f->claims, 10501)->is_refused = true;
	assert_null(push_marks_orphan(f->marks, f->claims, 10501));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_judgements),
		TEST(test_forgotten_once_pushed),
		TEST(test_a_gateway_that_lost_everything),
		TEST(test_orphans),
		TEST(test_what_is_claimed_or_refused_is_no_orphan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
