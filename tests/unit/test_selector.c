/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Selectors: what each is taken apart to, what is refused and where, and what bounds them. That
 * whole series are selected as Prometheus selects them is in tests/e2e/test_federate.py.
 */
#include "receiver/sink/selector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const char *const ops[] = {"=", "!=", "=~", "!~"};

static void render(const struct selector *selector, struct buf *out)
{
	for (size_t i = 0; i < selector->count; i++) {
		const struct matcher *matcher = &selector->items[i];

		buf_appendf(out, "%s%.*s%s<%.*s>", i > 0 ? " " : "",
			SLICE_FMT(buf_slice(&matcher->name)), ops[matcher->op],
			SLICE_FMT(buf_slice(&matcher->value)));
	}
}

static const struct {
	const char *name, *text, *expected;
} good[] = {
	{"name", "up", "__name__=<up>"},
	{"name with a colon", ":job:rate5m", "__name__=<:job:rate5m>"},
	{"name and empty braces", "up{}", "__name__=<up>"},
	{"blanks", " up \n{ a = \"b\" , c!=\"d\" }\t", "__name__=<up> a=<b> c!=<d>"},
	{"comments", "up # it is\n{a=\"b\"#so\n}#end", "__name__=<up> a=<b>"},
	{"every operator", "{a=\"b\",c!=\"d\",e=~\"f.*\",g!~\"h\"}",
		"a=<b> c!=<d> e=~<f.*> g!~<h>"},
	{"trailing comma", "{a=\"b\",}", "a=<b>"},
	{"without a comma at all", "{a='b'}", "a=<b>"},
	{"back quotes take all as it is", "{a=`\\n\n\"'`}", "a=<\\n\n\"'>"},
	{"escapes", "{a=\"\\a\\b\\f\\n\\r\\t\\v\\\\\\\"\"}", "a=<\a\b\f\n\r\t\v\\\">"},
	{"single quote in its own", "{a='\\''}", "a=<'>"},
	{"bytes by number", "{a=\"\\x41\\102\"}", "a=<AB>"},
	{"characters by number", "{a=\"\\u00e4\\u20ac\\U0001F600\"}",
		"a=<\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80>"},
	{"quoted name", "{\"utf8.name\"}", "__name__=<utf8.name>"},
	{"quoted names", "{\"utf8.name\", \"a.b\"=\"c\", 'd e'!~`f`}",
		"__name__=<utf8.name> a.b=<c> d e!~<f>"},
	{"quoted name not first", "{a=\"b\",\"utf8.name\"}", "a=<b> __name__=<utf8.name>"},
	{"matcher on the name", "{__name__=~\"a|b\"}", "__name__=~<a|b>"},
	{"several on the name", "{__name__=~\"a.*\",__name__!=\"ab\"}",
		"__name__=~<a.*> __name__!=<ab>"},
	{"same label twice", "{a=~\"b+\",a!=\"bb\"}", "a=~<b+> a!=<bb>"},
	{"name beside what matches empty", "up{a=\"\"}", "__name__=<up> a=<>"},
	{"a negative that does not match empty", "{a!=\"\"}", "a!=<>"},
	{"a regular expression that wants something", "{a=~\".+\"}", "a=~<.+>"},
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct selectors selectors = {0};
		struct buf out = {0};
		struct err err = {""};

		if (selectors_add(&selectors, slice_from(good[i].text), &err) < 0)
			fail_msg("%s: %s", good[i].name, err.text);
		render(&selectors.items[0], &out);
		if (strcmp(buf_cstr(&out), good[i].expected) != 0)
			fail_msg("%s: got %s, expected %s", good[i].name, buf_cstr(&out),
				good[i].expected);
		buf_free(&out);
		selectors_fini(&selectors);
	}
}

static const struct {
	const char *name, *text, *words;
} bad[] = {
	{"empty", "", "position 1: expected a metric's name or {"},
	{"blank", "  ", "position 3: expected a metric's name or {"},
	{"only braces", "{}", "must not match the empty text"},
	{"only what matches empty", "{a=\"\",b=~\".*\",c!=\"d\"}", "must not match the empty text"},
	{"only a comma", "{,}", "position 2: expected a label's name or }"},
	{"two commas", "{a=\"b\",,}", "position 8: expected a label's name"},
	{"no comma", "{a=\"b\" c=\"d\"}", "position 8: expected , or }"},
	{"not closed", "{a=\"b\"", "position 7: expected , or }"},
	{"no operator", "{a}", "position 3: expected one of ="},
	{"half an operator", "{a!\"b\"}", "position 4: expected one of ="},
	{"comparison", "{a==\"b\"}", "position 4: expected a text in quotes"},
	{"no quotes", "{a=b}", "position 4: expected a text in quotes"},
	{"number", "{a=1}", "position 4: expected a text in quotes"},
	{"text without end", "{a=\"b}", "position 7: a text without its closing quote"},
	{"text over lines", "{a=\"b\nc\"}", "a text ends within its line"},
	{"unknown escape", "{a=\"\\d\"}", "unknown escape"},
	{"the other quote's escape", "{a=\"\\'\"}", "unknown escape"},
	{"short number", "{a=\"\\x4\"}", "malformed escape"},
	{"octal above a byte", "{a=\"\\777\"}", "malformed escape"},
	{"surrogate", "{a=\"\\ud800\"}", "malformed escape"},
	{"beyond Unicode", "{a=\"\\U00110000\"}", "malformed escape"},
	{"label with a colon", "{a:b=\"c\"}", "position 3: expected one of ="},
	{"label that begins with a digit", "{1a=\"c\"}", "position 2: expected a label's name"},
	{"name that begins with a digit", "1up", "position 1: expected a metric's name"},
	{"range", "up[5m]", "position 3: something follows"},
	{"offset", "up offset 5m", "position 4: something follows"},
	{"sum", "up + up", "position 4: something follows"},
	{"two selectors", "up{a=\"b\"}{c=\"d\"}", "position 10: something follows"},
	{"name twice", "up{\"down\"}", "must not be set twice"},
	{"name in quotes twice", "{\"up\",\"down\"}", "must not be set twice"},
	{"name and a matcher on it", "up{__name__=\"up\"}", "must not be set twice"},
	{"quoted name and a matcher on it", "{\"up\",__name__=~\"u.\"}", "must not be set twice"},
	{"regular expression", "{a=~\"(\"}", "malformed regular expression"},
	{"that closes and opens", "{a=~\"a)(b\"}", "malformed regular expression"},
	{"that is not UTF-8", "{a=~\"\\xff\"}", "malformed regular expression"},
	{"that explodes", "{a=~\"((((a{1,1000}){1,1000}){1,1000}){1,1000})\"}",
		"malformed regular expression"},
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct selectors selectors = {0};
		struct err err = {""};

		if (selectors_add(&selectors, slice_from(bad[i].text), &err) == 0)
			fail_msg("%s: accepted", bad[i].name);
		if (strstr(err.text, bad[i].words) == NULL)
			fail_msg("%s: said %s, expected %s", bad[i].name, err.text, bad[i].words);
		selectors_fini(&selectors);
	}
}

static const struct {
	const char *name, *matcher, *value;
	bool matches;
} matches[] = {
	{"equal", "m{x=\"a\"}", "a", true},
	{"not equal to nothing", "m{x=\"a\"}", "", false},
	{"unequal", "m{x!=\"a\"}", "b", true},
	{"anchored at both ends", "m{x=~\"b\"}", "abc", false},
	{"anchored around an alternative", "m{x=~\"a|bc\"}", "ac", false},
	{"the longer alternative", "m{x=~\"a|ab\"}", "ab", true},
	{"anchored in the negative, too", "m{x!~\"b\"}", "abc", true},
	{"a dot takes a newline", "m{x=~\"a.b\"}", "a\nb", true},
	{"no newline at the end", "m{x=~\"a\"}", "a\n", false},
	{"nor with an anchor of its own", "m{x=~\"^a$\"}", "a\n", false},
	{"a dot takes a character, not a byte", "m{x=~\".\"}", "\xe2\x82\xac", true},
	{"upper and lower case", "m{x=~\"(?i)STRASSE\"}", "strasse", true},
	{"empty", "m{x!~\".+\"}", "", true},
	{"classes", "m{x=~\"[[:alpha:]]+\\\\d{2}\"}", "ab12", true},
	{"Unicode classes", "m{x=~\"\\\\pL+\"}", "\xc3\xa4\xc3\xb6", true},
	{"named group", "m{x=~\"(?P<n>a)b\"}", "ab", true},
};

static void test_match(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(matches); i++) {
		struct selectors selectors = {0};
		struct err err = {""};
		bool result;

		if (selectors_add(&selectors, slice_from(matches[i].matcher), &err) < 0)
			fail_msg("%s: %s", matches[i].name, err.text);
		result = selectors_match(
			&selectors, &selectors.items[0].items[1], slice_from(matches[i].value));
		if (result != matches[i].matches)
			fail_msg("%s: got %d, expected %d", matches[i].name, result,
				matches[i].matches);
		selectors_fini(&selectors);
	}
}

/* Whatever the operator, what is given up is not selected. */
static void test_limits(void **state)
{
	static const char *const texts[] = {"m{x=~\"(a+)+[bc]\"}", "m{x!~\"(a+)+[bc]\"}"};
	char value[64];

	(void)state;
	memset(value, 'a', sizeof(value));
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct selectors selectors = {0};
		struct err err = {""};

		assert_int_equal(selectors_add(&selectors, slice_from(texts[i]), &err), 0);
		selectors.limits_hit = 0;
		assert_false(selectors_match(&selectors, &selectors.items[0].items[1],
			(struct slice){value, sizeof(value)}));
		assert_int_equal(selectors.limits_hit, 1);
		selectors_fini(&selectors);
	}
}

static void expect_refused(struct selectors *selectors, struct slice text, const char *words)
{
	struct err err = {""};

	assert_int_equal(selectors_add(selectors, text, &err), -1);
	if (strstr(err.text, words) == NULL)
		fail_msg("said %s, expected %s", err.text, words);
}

static void test_bounds(void **state)
{
	struct selectors selectors = {0};
	struct buf text = {0};
	struct err err;

	(void)state;
	for (size_t i = 0; i < SELECTORS_MAX; i++)
		assert_int_equal(selectors_add(&selectors, SLICE("up"), &err), 0);
	expect_refused(&selectors, SLICE("up"), "more than 64 selectors");
	selectors_fini(&selectors);

	buf_append_str(&text, "{");
	for (size_t i = 0; i < SELECTOR_MAX_MATCHERS; i++)
		buf_append_str(&text, "a=\"b\",");
	buf_append_str(&text, "c=\"d\"}");
	expect_refused(&selectors, buf_slice(&text), "too many matchers");
	selectors_fini(&selectors);

	buf_clear(&text);
	buf_append_str(&text, "{");
	for (size_t i = 0; i < SELECTOR_MAX_MATCHERS - 1; i++)
		buf_append_str(&text, "a=\"b\",");
	buf_append_str(&text, "c=\"d\"}");
	for (size_t i = 0; i < SELECTORS_MAX_MATCHES / SELECTOR_MAX_MATCHERS; i++)
		assert_int_equal(selectors_add(&selectors, buf_slice(&text), &err), 0);
	expect_refused(&selectors, SLICE("up"), "too many matchers");
	selectors_fini(&selectors);

	buf_clear(&text);
	buf_append_str(&text, "{a=\"");
	for (size_t i = 0; i < SELECTOR_MAX_BYTES; i++)
		buf_append_char(&text, 'b');
	buf_append_str(&text, "\"}");
	expect_refused(&selectors, buf_slice(&text), "longer than 8192 bytes");
	selectors_fini(&selectors);

	buf_clear(&text);
	buf_append_str(&text, "{a=~\"");
	for (size_t i = 0; i <= PATTERN_MAX_BYTES; i++)
		buf_append_char(&text, 'b');
	buf_append_str(&text, "\"}");
	expect_refused(&selectors, buf_slice(&text), "longer than 4096 bytes");
	selectors_fini(&selectors);
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
