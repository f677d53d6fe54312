/* SPDX-License-Identifier: Apache-2.0 */
/* Group paths, each expectation as the gateway of Debian 12 reads it (see test_push_gateway.c). */
#include "receiver/sink/push_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
	const char *name;
	const char *job, *instance, *publisher;
	const char *labels[8]; /* name, value, … */
	const char *path;
} cases[] = {
	{"plain", "node", "host:9100", "", {NULL}, "/metrics/job/node/instance/host:9100"},
	{"publisher", "node", "host", "dc1", {NULL},
		"/metrics/job/node/instance/host/publisher/dc1"},
	{"labels are sorted behind", "node", "host", "dc1", {"zone", "b", "env", "prod"},
		"/metrics/job/node/instance/host/publisher/dc1/env/prod/zone/b"},
	{"unreserved stay", "a-b_c.d~e:f", "1", "", {NULL}, "/metrics/job/a-b_c.d~e:f/instance/1"},
	{"others are percent-encoded", "a b?c#d%e+f&g=h@i", "*", "", {NULL},
		"/metrics/job/a%20b%3Fc%23d%25e%2Bf%26g%3Dh%40i/instance/%2A"},
	{"UTF-8", "k\xc3\xb6ln", "\xe2\x82\xac", "", {NULL},
		"/metrics/job/k%C3%B6ln/instance/%E2%82%AC"},
	{"slash needs base64", "a/b", "http://x", "", {NULL},
		"/metrics/job@base64/YS9i/instance@base64/aHR0cDovL3g"},
	{"one dot", ".", "x", "", {NULL}, "/metrics/job@base64/Lg/instance/x"},
	{"two dots", "x", "..", "", {NULL}, "/metrics/job/x/instance@base64/Li4"},
	{"dots within", "a.b..c", "...", "", {NULL}, "/metrics/job/a.b..c/instance@base64/Li4u"},
	{"control bytes", "a\nb", "x", "", {NULL}, "/metrics/job@base64/YQpi/instance/x"},
	{"url-safe digits", "/\xef\xbf\xbf/?>", "x", "", {NULL},
		"/metrics/job@base64/L--_vy8_Pg/instance/x"},
	{"empty instance", "x", "", "", {NULL}, "/metrics/job/x/instance@base64/="},
	{"not UTF-8",
		"a\xff"
		"b",
		"\xc3", "", {NULL}, "/metrics/job/a%EF%BF%BDb/instance/%EF%BF%BD"},
	{"overlong and surrogates", "\xc0\xaf", "\xed\xa0\x80", "", {NULL},
		"/metrics/job/%EF%BF%BD%EF%BF%BD/instance/%EF%BF%BD%EF%BF%BD%EF%BF%BD"},
	{"labels that no group can have", "x", "y", "p",
		{"__x", "1", "job", "2", "empty", "", "publisher", "q"},
		"/metrics/job/x/instance/y/publisher/p"},
	{"names that are none", "x", "y", "", {"a/b", "1", "", "2", "1a", "3", "publisher", "q"},
		"/metrics/job/x/instance/y/publisher/q"},
};

static void test_path(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct labels labels = {0};
		struct buf path = {0};

		for (size_t k = 0; k + 1 < ARRAY_LEN(cases[i].labels) && cases[i].labels[k]; k += 2)
			labels_set(&labels, slice_from(cases[i].labels[k]),
				slice_from(cases[i].labels[k + 1]));
		push_path(&path, slice_from(cases[i].job), slice_from(cases[i].instance),
			slice_from(cases[i].publisher), &labels);
		if (strcmp(buf_cstr(&path), cases[i].path) != 0)
			fail_msg("%s: got %s, expected %s", cases[i].name, buf_cstr(&path),
				cases[i].path);
		buf_free(&path);
		labels_free(&labels);
	}
}

static void test_labels_are_bounded(void **state)
{
	struct labels labels = {0};
	struct push_labels group;

	(void)state;
	for (int i = 0; i < 2 * PUSH_MAX_TARGET_LABELS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "l%03d", i);
		labels_set(&labels, slice_from(name), SLICE("v"));
	}
	push_labels_init(&group, SLICE("j"), SLICE("i"), SLICE("p"), &labels);
	assert_int_equal(group.count, PUSH_MAX_TARGET_LABELS + 3);
	labels_free(&labels);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_labels_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
