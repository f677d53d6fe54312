/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manual pages hold what the tables say, between two comments: `.\" From the table of … {{{`
 * and `.\" }}}`. APPROVE=1 writes those parts anew.
 */
#include "common/config/settings.h"
#include "common/config/yaml.h"
#include "common/core/roff.h"
#include "common/loop/cmdline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define OPENING "{{{\n"
#define CLOSING ".\\\" }}}\n"

static const struct page {
	const char *path;
	void (*write)(struct buf *out);
} pages[] = {
	{"docs/man/prometheus-streams-poller.8", cmdline_write_manual},
	{"docs/man/prometheus-streams-receiver.8", cmdline_write_manual},
	{"docs/man/prometheus-streams.yaml.5", settings_write_manual},
};

static void test_escapes(void **state)
{
	static const struct {
		const char *text, *roff;
	} cases[] = {
		{"plain words", "plain words"},
		{"a `key` and `other`.", "a \\fBkey\\fR and \\fBother\\fR."},
		{"--config C:\\x", "\\-\\-config C:\\ex"},
		{".so /etc/passwd", "\\&.so /etc/passwd"},
		{"'it", "\\&'it"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = {0};

		roff_append(&out, cases[i].text);
		if (strcmp(buf_cstr(&out), cases[i].roff) != 0)
			fail_msg("%s gives %s instead of %s", cases[i].text, buf_cstr(&out),
				cases[i].roff);
		buf_free(&out);
	}
}

static void replace(
	const char *path, const char *page, const char *from, const char *to, const char *by)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, "%.*s%s%s", (int)(from - page), page, by, to);
	assert_int_equal(fclose(file), 0);
}

static void check_page(const struct page *page)
{
	struct buf content = {0}, table = {0};
	const char *text, *from, *to;
	struct err err;

	if (yaml_read_file(page->path, &content, &err) != 0)
		fail_msg("%s", err.text);
	text = buf_cstr(&content);
	from = strstr(text, OPENING);
	to = from == NULL ? NULL : strstr(from, CLOSING);
	if (to == NULL)
		fail_msg("%s has no part for the table", page->path);
	from += strlen(OPENING);
	page->write(&table);
	if (getenv("APPROVE") != NULL)
		replace(page->path, text, from, to, buf_cstr(&table));
	else if (!slice_eq((struct slice){from, (size_t)(to - from)}, buf_slice(&table)))
		fail_msg("%s is not what the table says (APPROVE=1 writes it anew):\n%s",
			page->path, buf_cstr(&table));
	buf_free(&table);
	buf_free(&content);
}

static void test_pages_are_the_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pages); i++)
		check_page(&pages[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_pages_are_the_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
