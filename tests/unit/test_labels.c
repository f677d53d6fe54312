/* SPDX-License-Identifier: Apache-2.0 */
/* Label sets: order, replacement, equality, and the hash that subjects carry. */
#include "common/core/labels.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct labels labels_of(const char *const *pairs)
{
	struct labels labels = {0};

	for (; *pairs != NULL; pairs += 2)
		labels_set(&labels, slice_from(pairs[0]), slice_from(pairs[1]));
	return labels;
}

#define LABELS(...) labels_of((const char *const[]){__VA_ARGS__, NULL})

static void test_set(void **state)
{
	struct labels labels = LABELS("b", "2", "a", "1", "c", "3", "ab", "4", "b", "5");

	(void)state;
	assert_int_equal(labels.count, 4);
	assert_string_equal(labels.items[0].name, "a");
	assert_string_equal(labels.items[1].name, "ab");
	assert_string_equal(labels.items[2].name, "b");
	assert_string_equal(labels.items[3].name, "c");
	assert_string_equal(labels_get(&labels, "b"), "5");
	assert_string_equal(labels_get(&labels, "ab"), "4");
	assert_null(labels_get(&labels, "abc"));
	assert_null(labels_get(&labels, ""));
	labels_free(&labels);
	assert_int_equal(labels.count, 0);
	assert_null(labels_get(&labels, "a"));
	labels_free(&labels);
}

static void test_merge(void **state)
{
	struct labels to = LABELS("a", "1", "b", "2"), from = LABELS("b", "3", "c", "4");
	struct labels want = LABELS("c", "4", "b", "3", "a", "1");

	(void)state;
	assert_false(labels_equal(&to, &want));
	labels_merge(&to, &from);
	assert_true(labels_equal(&to, &want));
	labels_set(&want, SLICE("a"), SLICE("2"));
	assert_false(labels_equal(&to, &want));
	labels_free(&to);
	labels_free(&from);
	labels_free(&want);
}

static const struct {
	const char *name;
	bool valid;
} label_names[] = {
	{"a", true},
	{"_", true},
	{"__x", true},
	{"aZ_09", true},
	{"", false},
	{"0a", false},
	{"a-b", false},
	{"a:b", false},
	{"a b", false},
	{"k\xc3\xb6", false},
};

static void test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(label_names); i++)
		if (label_name_is_valid(slice_from(label_names[i].name)) != label_names[i].valid)
			fail_msg("\"%s\": want %d", label_names[i].name, label_names[i].valid);
	assert_false(label_name_is_valid(SLICE("a\0b")));
}

static void test_format(void **state)
{
	struct labels none = {0}, labels = LABELS("b", "q\"b\\n\n", "a", "");
	struct buf out = {0};

	(void)state;
	labels_format(&none, &out);
	assert_string_equal(buf_cstr(&out), "{}");
	buf_clear(&out);
	labels_format(&labels, &out);
	assert_string_equal(buf_cstr(&out), "{a=\"\",b=\"q\\\"b\\\\n\\n\"}");
	buf_free(&out);
	labels_free(&labels);
}

static void check_hash(const char *what, struct labels labels, uint64_t want)
{
	uint64_t got = labels_hash(&labels);

	if (got != want)
		fail_msg("%s: got %016" PRIx64 ", want %016" PRIx64, what, got, want);
	labels_free(&labels);
}

/* The values are from another implementation of common/wire.md. */
static void test_hash(void **state)
{
	struct labels ab = LABELS("a", "bc"), bc = LABELS("ab", "c");

	(void)state;
	check_hash("none", (struct labels){0}, 0);
	check_hash("one", LABELS("a", "b"), UINT64_C(0x9ee055ea1a8ec313));
	check_hash("two", LABELS("rack", "b 7", "env", "prod"), UINT64_C(0x046c442eaab8b26d));
	assert_true(labels_hash(&ab) != labels_hash(&bc));
	labels_free(&ab);
	labels_free(&bc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_merge),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
