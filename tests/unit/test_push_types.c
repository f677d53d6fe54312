/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The type table. A case is a script: "A+x:g" group A claims x as a gauge for its body ("!" before
 * it: and is refused), "A(" it begins one, "A)" the gateway has taken it, "A-" it is gone, "A~" it
 * is left alone; "*x:c" is foreign, "<" and ">" begin and end a survey; "?x:g" that is what others
 * than the last that began say ("?x" nobody says anything); "=2" so many families are known.
 */
#include "receiver/sink/push_types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
	const char *name;
	const char *script;
} cases[] = {
	{"one holder", "A( A+x:g A+y:c A) =2 A- =0"},
	{"the same type twice", "A( A+x:g A) B( B+x:g B) A- =1 B- =0"},
	{"another type", "A( A+x:g A) B( !B+x:c B+y:c B) =2"},
	{"first wins until gone", "A( A+x:g A) B( !B+x:c B) A- B( B+x:c B) =1"},
	{"first wins until it exposes it no longer", "A( A+x:g A) A( A+y:g A) B( B+x:c B) =2"},
	{"until the last has gone", "A( A+x:g A) B( B+x:g B) A- C( !C+x:c C) B- C( C+x:c C) =1"},
	{"its own type may change", "A( A+x:g A) A( A+x:c A) =1 B( !B+x:g B)"},
	{"not while others hold it", "A( A+x:g A) B( B+x:g B) A( !A+x:c A) B( B+x:g B)"},
	{"what was not taken is still held", "A( A+x:g A) A( A+y:g B( !B+x:c B) A) B( B+x:c B)"},
	{"bodies that were never taken pile up nothing",
		"A( A+x:g A( A+x:g A( A+y:g A( A+x:g A) =1 A- =0"},
	{"claimed twice in one body", "A( A+x:g A+x:g A) =1 A- =0"},
	{"claimed twice with two types", "A( A+x:g !A+x:c A)"},
	{"parts of a histogram",
		"A( A+x:h A) B( !B+x_count:c !B+x_sum:u !B+x_bucket:g B+x_total:c B)"},
	{"parts of a summary", "A( A+x:s A) B( !B+x_count:c !B+x_sum:u B+x_bucket:g B)"},
	{"a histogram whose parts are taken",
		"A( A+x_count:c A) B( !B+x:h !B+x:s B+x:g B) A- C( !C+x:h C)"},
	{"a summary has no bucket", "A( A+x_bucket:c A) B( B+x:s B) A- B( B+x:h B)"},
	{"parts within one body", "A( A+x:h !A+x_sum:u A)"},
	{"parts in turn", "A( A+x:h A) A( A+x_sum:u A) =1"},
	{"a part of nothing", "A( A+_sum:u A+_count:u A)"},
	{"foreign ones", "< *x:c *y:s > A( !A+x:g A+x:c !A+y_sum:u A) A- =2"},
	{"foreign ones are forgotten", "< *x:c > < > =0 A( A+x:g A)"},
	{"foreign ones outlive ours", "A( A+x:c A) < *x:c > A- =1 B( !B+x:g B)"},
	{"ours outlive foreign ones", "< *x:c > A( A+x:c A) < > =1 B( !B+x:g B)"},
	{"foreign types win", "A( A+x:g A) < *x:c > A( !A+x:g A) A( A+x:c A)"},
	{"left alone", "A( A+x:g A~ =1 B( !B+x:c B) < > B( B+x:c B)"},
	{"what others say",
		"A( A+x:g A) < *y:s > B( ?x:g ?y:s ?z B+z:c ?z B) A( ?x ?z:c A+x:h ?x A)"},
};

static enum expo_type type_of(char letter)
{
	static const char letters[] = {[EXPO_UNTYPED] = 'u',
		[EXPO_COUNTER] = 'c',
		[EXPO_GAUGE] = 'g',
		[EXPO_HISTOGRAM] = 'h',
		[EXPO_SUMMARY] = 's'};
	const char *found = memchr(letters, letter, sizeof(letters));

	assert_non_null(found);
	return (enum expo_type)(found - letters);
}

struct play {
	struct push_types *types;
	struct push_type_holder holders[3];
};

static bool play_holder(struct play *p, struct push_type_holder *holder, struct slice rest)
{
	switch (rest.ptr[0]) {
	case '(':
		push_types_begin(p->types, holder);
		return true;
	case ')':
		push_types_settle(holder);
		return true;
	case '-':
		push_types_release(holder);
		return true;
	case '~':
		push_types_abandon(holder);
		return true;
	default:
		return push_types_claim(holder, (struct slice){rest.ptr + 1, rest.len - 3},
			type_of(rest.ptr[rest.len - 1]));
	}
}

static bool play_question(struct play *p, struct slice step)
{
	enum expo_type type;

	if (memchr(step.ptr, ':', step.len) == NULL)
		return !push_types_get(p->types, (struct slice){step.ptr + 1, step.len - 1}, &type);
	return push_types_get(p->types, (struct slice){step.ptr + 1, step.len - 3}, &type) &&
	       type == type_of(step.ptr[step.len - 1]);
}

static bool play_step(struct play *p, struct slice step)
{
	switch (step.ptr[0]) {
	case '!':
		return !play_step(p, (struct slice){step.ptr + 1, step.len - 1});
	case '<':
		push_types_begin_survey(p->types);
		return true;
	case '>':
		push_types_end_survey(p->types);
		return true;
	case '*':
		push_types_set_foreign(p->types, (struct slice){step.ptr + 1, step.len - 3},
			type_of(step.ptr[step.len - 1]));
		return true;
	case '?':
		return play_question(p, step);
	case '=':
		return push_types_count(p->types) == (size_t)(step.ptr[1] - '0');
	default:
		return play_holder(p, &p->holders[step.ptr[0] - 'A'],
			(struct slice){step.ptr + 1, step.len - 1});
	}
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct play p = {.types = push_types_new()};
		const char *at = cases[i].script;

		while (*at != '\0') {
			struct slice step = {at, strcspn(at, " ")};

			if (!play_step(&p, step))
				fail_msg("%s: %.*s is not so, in %s", cases[i].name,
					SLICE_FMT(step), cases[i].script);
			at += step.len + (at[step.len] == ' ');
		}
		for (size_t k = 0; k < ARRAY_LEN(p.holders); k++)
			push_types_release(&p.holders[k]);
		push_types_free(p.types);
	}
}

/* 2,000 groups of 200 families: each step stays in proportion to its own group. */
static const struct {
	const char *name, *held;
	enum expo_type held_as;
	const char *wanted;
	enum expo_type wanted_as;
	const char *rival;
} rivals[] = {
	{"itself", "x", EXPO_COUNTER, "x", EXPO_GAUGE, "x"},
	{"the whole", "x", EXPO_SUMMARY, "x_sum", EXPO_GAUGE, "x"},
	{"a part", "x_bucket", EXPO_COUNTER, "x", EXPO_HISTOGRAM, "x_bucket"},
	{"nothing", "x_bucket", EXPO_COUNTER, "x", EXPO_SUMMARY, ""},
};

static void test_rivals(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rivals); i++) {
		struct push_types *types = push_types_new();
		struct push_type_holder first = {0}, second = {0};
		struct slice held = slice_from(rivals[i].held), rival;

		print_message("%s\n", rivals[i].name);
		push_types_begin(types, &first);
		assert_true(push_types_claim(&first, held, rivals[i].held_as));
		push_types_begin(types, &second);
		rival = push_types_rival(
			&second, slice_from(rivals[i].wanted), rivals[i].wanted_as);
		assert_true(slice_eq(rival, slice_from(rivals[i].rival)));
		assert_true(push_types_holds(&first, held));
		assert_false(push_types_holds(&second, held));
		push_types_release(&first);
		push_types_release(&second);
		push_types_free(types);
	}
}

static void test_many(void **state)
{
	struct push_types *types = push_types_new();
	struct push_type_holder *holders = xcalloc(2000, sizeof(*holders));

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 2000; i++) {
			push_types_begin(types, &holders[i]);
			for (int k = 0; k < 200; k++) {
				char name[32];

				snprintf(name, sizeof(name), "family_%d_total", k);
				assert_true(push_types_claim(
					&holders[i], slice_from(name), EXPO_COUNTER));
			}
			push_types_settle(&holders[i]);
			assert_int_equal(holders[i].count, 200);
		}
	}
	assert_int_equal(push_types_count(types), 200);
	for (int i = 0; i < 2000; i++)
		push_types_release(&holders[i]);
	assert_int_equal(push_types_count(types), 0);
	push_types_free(types);
	free(holders);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_rivals),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
