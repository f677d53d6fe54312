/* SPDX-License-Identifier: Apache-2.0 */
/* What several consumers of one intake agree on. */
#include "receiver/intake_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/*
 * Sequences are those of one stream: that another consumer begins to speak makes nothing anew. Else
 * scrapes that the stream stored within one millisecond would be taken for the same.
 */
static void test_generations(void **state)
{
	struct intake intake = {.generation = 0};
	struct source first = {.intake = &intake}, second = {.intake = &intake};
	uint64_t begin = intake_source_generation(&first, 1);

	(void)state;
	assert_int_equal(intake_source_generation(&second, 1), begin);
	assert_int_equal(intake_source_generation(&first, 1), begin);
	/* Made anew, of which all are told. */
	assert_int_equal(intake_source_generation(&second, 2), begin + 1);
	assert_int_equal(intake_source_generation(&first, 1), begin + 1);
	assert_int_equal(intake_source_generation(&first, 5), begin + 2);
	assert_int_equal(intake_source_generation(&second, 2), begin + 2);
}

/* A consumer that may not ask for its durable counts from 0. */
static void test_generations_from_0(void **state)
{
	struct intake intake = {.generation = 0};
	struct source source = {.intake = &intake};
	uint64_t begin = intake_source_generation(&source, 0);

	(void)state;
	assert_int_equal(intake_source_generation(&source, 0), begin);
	assert_int_equal(intake_source_generation(&source, 1), begin + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_generations),
		cmocka_unit_test(test_generations_from_0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
