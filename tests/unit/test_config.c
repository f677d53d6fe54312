/* SPDX-License-Identifier: Apache-2.0 */
/* The table walker on a table of its own: every type, flag and bound, inheritance, printing. */
#include "common/config/config.h"
#include "common/config/value.h"
#include "common/core/labels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { FOR_US = 1, FOR_OTHERS = 2 };

struct item {
	struct yaml_position position;
	char *name, *url;
	int64_t wait_ms;
};

struct root {
	bool flag;
	int port;
	int64_t count, wait_ms, age_ms, limit;
	uint64_t size;
	int color;
	char *text, *empty, *theirs;
	struct string_list list, comma;
	struct labels labels;
	struct {
		bool present;
		char *inner;
	} section;
	struct item *items;
	size_t item_count;
};

static int check_not_bad(const char *text, struct err *err)
{
	return strcmp(text, "bad") == 0 ? err_setf(err, "is bad") : 0;
}

static const char *const colors[] = {"red", "green", NULL};

static const struct config_key item_keys[] = {
	{.name = "item_name",
		.type = CONFIG_STRING,
		CONFIG_AT(struct item, name),
		.flags = CONFIG_ALIAS},
	{.name = "url",
		.type = CONFIG_STRING,
		CONFIG_AT(struct item, url),
		.flags = CONFIG_REQUIRED | CONFIG_EXPAND | CONFIG_SECRET},
	{.name = "wait",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct item, wait_ms),
		.flags = CONFIG_INHERIT},
};
static const struct config_table item_table = {
	.keys = item_keys,
	.key_count = ARRAY_LEN(item_keys),
	.size = sizeof(struct item),
	.position_offset = offsetof(struct item, position),
	.present_offset = CONFIG_NOWHERE,
	.name_offset = offsetof(struct item, name),
};

static const struct config_key section_keys[] = {
	{.name = "inner",
		.type = CONFIG_STRING,
		.offset = offsetof(struct root, section.inner) - offsetof(struct root, section),
		.size = sizeof(char *),
		.fallback = "x"},
};
static const struct config_table section_table = {
	.keys = section_keys,
	.key_count = ARRAY_LEN(section_keys),
	.position_offset = CONFIG_NOWHERE,
	.present_offset = 0,
	.name_offset = CONFIG_NOWHERE,
};

static const struct config_key root_keys[] = {
	{.name = "flag", .type = CONFIG_BOOL, CONFIG_AT(struct root, flag), .fallback = "true"},
	{.name = "port",
		.type = CONFIG_INT,
		CONFIG_AT(struct root, port),
		.fallback = "80",
		.min = 1,
		.max = 65535},
	{.name = "count", .type = CONFIG_INT, CONFIG_AT(struct root, count), .fallback = "-3"},
	{.name = "wait",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct root, wait_ms),
		.fallback = "1m",
		.min = 10,
		.max = 3600000},
	{.name = "age",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct root, age_ms),
		.fallback = "80",
		.flags = CONFIG_SECONDS},
	{.name = "size", .type = CONFIG_SIZE, CONFIG_AT(struct root, size), .fallback = "16MB"},
	{.name = "limit",
		.type = CONFIG_SIZE,
		CONFIG_AT(struct root, limit),
		.fallback = "-1",
		.min = -1,
		.max = INT64_MAX},
	{.name = "color",
		.type = CONFIG_ENUM,
		CONFIG_AT(struct root, color),
		.fallback = "red",
		.choices = colors},
	{.name = "text",
		.type = CONFIG_STRING,
		CONFIG_AT(struct root, text),
		.fallback = "t",
		.max = 8,
		.check = check_not_bad},
	{.name = "empty",
		.type = CONFIG_STRING,
		CONFIG_AT(struct root, empty),
		.fallback = "",
		.flags = CONFIG_EMPTY},
	{.name = "theirs",
		.type = CONFIG_STRING,
		CONFIG_AT(struct root, theirs),
		.flags = CONFIG_EXPAND,
		.audience = FOR_OTHERS},
	{.name = "list",
		.type = CONFIG_STRINGS,
		CONFIG_AT(struct root, list),
		.check = check_not_bad},
	{.name = "comma",
		.type = CONFIG_STRINGS,
		CONFIG_AT(struct root, comma),
		.flags = CONFIG_COMMA},
	{.name = "labels",
		.type = CONFIG_LABELS,
		CONFIG_AT(struct root, labels),
		.check = check_not_bad},
	{.name = "section",
		.type = CONFIG_SECTION,
		CONFIG_AT(struct root, section),
		.table = &section_table},
	{.name = "by_name",
		.type = CONFIG_MAP,
		CONFIG_AT(struct root, items),
		.count_offset = offsetof(struct root, item_count),
		.table = &item_table},
	{.name = "items",
		.type = CONFIG_LIST,
		CONFIG_AT(struct root, items),
		.count_offset = offsetof(struct root, item_count),
		.flags = CONFIG_SINGLE | CONFIG_ALIAS,
		.table = &item_table},
};
static const struct config_table root_table = {
	.keys = root_keys,
	.key_count = ARRAY_LEN(root_keys),
	.size = sizeof(struct root),
	.position_offset = CONFIG_NOWHERE,
	.present_offset = CONFIG_NOWHERE,
	.name_offset = CONFIG_NOWHERE,
};

/* The report of reading `yaml` into *root, to be freed. */
static char *read_root(const char *yaml, struct root *root)
{
	struct config config = {
		.path = "f", .audience = FOR_US, .root_table = &root_table, .root = root};
	struct yaml_position position;
	struct err err;
	struct yaml_document *document = yaml_parse(slice_from(yaml), &position, &err);
	struct buf report = {0};
	char *text;

	*root = (struct root){0};
	assert_non_null(document);
	config_read(&config, yaml_root(document));
	yaml_document_free(document);
	config_report(&config, &report);
	text = slice_dup(buf_slice(&report));
	buf_free(&report);
	return text;
}

static char *print_root(const struct root *root, bool mask)
{
	struct buf out = {0};
	struct yaml_writer *writer = yaml_writer_new(&out);
	char *text;

	config_print(&root_table, root, writer, FOR_US, mask);
	yaml_writer_free(writer);
	text = slice_dup(buf_slice(&out));
	buf_free(&out);
	return text;
}

static void test_defaults(void **state)
{
	struct root root;
	char *report = read_root("{}", &root);

	(void)state;
	assert_string_equal(report, "");
	assert_true(root.flag);
	assert_int_equal(root.port, 80);
	assert_int_equal(root.count, -3);
	assert_int_equal(root.wait_ms, 60000);
	assert_int_equal(root.age_ms, 80000);
	assert_int_equal(root.size, 16 << 20);
	assert_int_equal(root.limit, -1);
	assert_int_equal(root.color, 0);
	assert_string_equal(root.text, "t");
	assert_null(root.empty);
	assert_false(root.section.present);
	free(report);
	config_free(&root_table, &root);
}

/* One line of YAML, and the report, or, where there is none, the line it is printed as. */
static const struct {
	const char *yaml, *expected;
} values[] = {
	{"flag: no", "flag: false"},
	{"flag: OFF", "flag: false"},
	{"flag: On", "flag: true"},
	{"flag: 1", "f:1:7: flag: \"1\" is neither true nor false"},
	{"flag: [true]", "f:1:7: flag takes a single value, not a list"},
	{"flag: {}", "f:1:7: flag takes a single value, not a mapping"},
	{"flag:", "flag: true"},
	{"port: 65535", "port: 65535"},
	{"port: 65536", "f:1:7: port: 65536 is out of bounds: it must be at most 65535"},
	{"port: 0", "f:1:7: port: 0 is out of bounds: it must be at least 1"},
	{"port: 4294967297", "f:1:7: port: 4294967297 is out of bounds: it must be at most 65535"},
	{"port: 080", "f:1:7: port: \"080\" begins with 0: numbers are decimal"},
	{"port: 0x50", "f:1:7: port: \"0x50\" is not a whole number"},
	{"port: 1:20", "f:1:7: port: \"1:20\" is not a whole number"},
	{"port: 8_0", "f:1:7: port: \"8_0\" is not a whole number"},
	{"port: +80", "f:1:7: port: \"+80\" is not a whole number"},
	{"port: 8.0", "f:1:7: port: \"8.0\" is not a whole number"},
	{"port: ''", "f:1:7: port: \"\" is not a whole number"},
	{"count: -9223372036854775808", "count: -9223372036854775808"},
	{"count: 9223372036854775807", "count: 9223372036854775807"},
	{"count: 9223372036854775808",
		"f:1:8: count: \"9223372036854775808\" is too large a number"},
	{"count: -9223372036854775809",
		"f:1:8: count: \"-9223372036854775809\" is too large a number"},
	{"count: -0", "count: 0"},
	{"wait: 90s", "wait: 1m30s"},
	{"wait: 5", "f:1:7: wait: 5 has no unit: write 5s for seconds"},
	{"wait: 0", "f:1:7: wait: 0 is out of bounds: it must be at least 10ms"},
	{"wait: 2h", "f:1:7: wait: 2h is out of bounds: it must be at most 1h"},
	{"age: 0", "age: 0s"},
	{"age: 90", "age: 1m30s"},
	{"age: 2h", "age: 2h"},
	{"age: 010", "f:1:6: age: \"010\" begins with 0: numbers are decimal"},
	{"age: 9223372036854775807", "f:1:6: age: 9223372036854775807 is too long a time"},
	{"size: 0", "size: 0"},
	{"size: 1KB", "size: 1KB"},
	{"size: 1023", "size: 1023B"},
	{"limit: -1", "limit: -1"},
	{"limit: 10GB", "limit: 10GB"},
	{"color: green", "color: green"},
	{"color: gren", "f:1:8: color: \"gren\" is none of red, green, did you mean \"green\"?"},
	{"color: xyzzy", "f:1:8: color: \"xyzzy\" is none of red, green"},
	{"text: yes", "text: \"yes\""},
	{"text: 123456789", "f:1:7: text: is longer than 8 bytes"},
	{"text: bad", "f:1:7: text: is bad"},
	{"text: ''", "f:1:7: text: must not be empty"},
	{"text: $${x", "text: \"$${x\""},
	{"empty: ''", "empty: \"\""},
	{"empty: x", "empty: x"},
	{"list: a", "list:\n- a"},
	{"list: a,b", "list:\n- \"a,b\""},
	{"list: [a, bad, '']", "f:1:11: list: is bad\nf:1:16: list: must not be empty"},
	{"list: {a: b}", "f:1:7: list takes a list, not a mapping"},
	{"list: [[a]]", "f:1:8: list takes a single value, not a list"},
	{"comma: 'a, b ,c'", "comma:\n- a\n- b\n- c"},
	{"comma: 'a,,b'", "f:1:8: comma: must not be empty"},
	{"comma: ['a,b', c]", "comma:\n- \"a,b\"\n- c"},
	{"labels: {b: 1, a: ''}", "labels:\n  a: \"\"\n  b: \"1\""},
	{"labels: {bad: 1}", "f:1:10: labels: is bad"},
	{"labels: {a: [1]}", "f:1:13: labels: the value of \"a\" must be a text"},
	{"labels: [a]", "f:1:9: labels takes a mapping of names to values"},
	{"section: {}", "section:\n  inner: x"},
	{"section: x", "f:1:10: section takes a mapping of keys to values"},
	{"by_name: {a: {url: u}}", "by_name:\n  a:\n    url: u\n    wait: 1m"},
	{"by_name: {a: {}}", "f:1:11: url is missing"},
	{"by_name: {a: {url: }}", "f:1:20: url is missing"},
	{"by_name: {a: b}", "f:1:14: a mapping of keys to values is expected here"},
	{"by_name: [a]", "f:1:10: by_name takes a mapping of names to their settings"},
	{"items: x", "f:1:8: items takes a mapping or a list of them"},
	{"items: {item_name: a, url: u}", "by_name:\n  a:\n    url: u\n    wait: 1m"},
	{"items: [{item_name: a, url: u}]", "by_name:\n  a:\n    url: u\n    wait: 1m"},
	{"items: [{item_name: a, url: 'http://u:p@h$$'}]",
		"by_name:\n  a:\n    url: http://xxxxx@h$$\n    wait: 1m"},
	{"theirs: a$$${PS_TEST_UNSET}", "theirs: \"a$$${PS_TEST_UNSET}\"\n"},
	{"theirs: ${PS_TEST", "f:1:9: theirs: ${ must be followed by"},
	{"prot: 1", "f:1:1: unknown key \"prot\", did you mean \"port\"?"},
	{"item: 1", "f:1:1: unknown key \"item\", did you mean \"items\"?"},
	{"url: 1", "f:1:1: unknown key \"url\" here: it belongs in by_name.<name>"},
	{"inner: 1", "f:1:1: unknown key \"inner\" here: it belongs in section"},
	{"section: {port: 1}", "f:1:11: unknown key \"port\" here: it belongs at the top level"},
	{"quux: 1", "f:1:1: unknown key \"quux\""},
	{"'': 1", "f:1:1: unknown key \"\""},
	{"[]", "f:1:1: a mapping of keys to values is expected here"},
};

static void test_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		struct root root;
		char *got = read_root(values[i].yaml, &root);

		if (got[0] == '\0') {
			free(got);
			got = print_root(&root, true);
		}
		if (strstr(got, values[i].expected) == NULL)
			fail_msg("\"%s\": expected \"%s\" in \"%s\"", values[i].yaml,
				values[i].expected, got);
		free(got);
		config_free(&root_table, &root);
	}
}

static void test_inheritance(void **state)
{
	struct root root;
	char *report =
		read_root("by_name:\n  a: {url: u}\n  b: {url: u, wait: 2s}\nwait: 5s\n", &root);

	(void)state;
	assert_string_equal(report, "");
	assert_int_equal(root.item_count, 2);
	assert_string_equal(root.items[0].name, "a");
	assert_int_equal(root.items[0].wait_ms, 5000);
	assert_int_equal(root.items[0].position.line, 2);
	assert_int_equal(root.items[0].position.column, 3);
	assert_int_equal(root.items[1].wait_ms, 2000);
	free(report);
	config_free(&root_table, &root);
}

static void test_order_and_number_of_problems(void **state)
{
	struct root root;
	struct buf yaml = {0};
	char *report = read_root("list: [bad]\nport: x\nflag: x\n", &root);

	(void)state;
	assert_string_equal(report, "f:1:8: list: is bad\n"
				    "f:2:7: port: \"x\" is not a whole number\n"
				    "f:3:7: flag: \"x\" is neither true nor false\n");
	free(report);
	config_free(&root_table, &root);

	for (int i = 0; i < 20000; i++)
		buf_appendf(&yaml, "key%d: x\n", i);
	report = read_root(buf_cstr(&yaml), &root);
	assert_non_null(strstr(report, "f:1000:1: unknown key \"key999\""));
	assert_null(strstr(report, "f:1001:1: "));
	assert_non_null(strstr(report, "f: and 19000 more errors\n"));
	free(report);
	buf_free(&yaml);
	config_free(&root_table, &root);
}

static void test_expansion(void **state)
{
	static const struct {
		const char *text, *expected; /* NULL: an error */
	} cases[] = {{"a", "a"}, {"", ""}, {"$", "$"}, {"$x", "$x"}, {"$$", "$"}, {"$$$$", "$$"},
		{"$${A}", "${A}"}, {"${PS_TEST_A}", "one"},
		{"x${PS_TEST_A}y${PS_TEST_A}", "xoneyone"}, {"$$${PS_TEST_A}", "$one"},
		{"${PS_TEST_EMPTY}", ""}, {"${PS_TEST_DOLLAR}", "${PS_TEST_A}"},
		{"${PS_TEST_UNSET}", NULL}, {"${", NULL}, {"${}", NULL}, {"${PS_TEST_A", NULL},
		{"${1A}", NULL}, {"${A-b}", NULL}};

	(void)state;
	setenv("PS_TEST_A", "one", 1);
	setenv("PS_TEST_EMPTY", "", 1);
	setenv("PS_TEST_DOLLAR", "${PS_TEST_A}", 1);
	unsetenv("PS_TEST_UNSET");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = {0};
		struct err err;
		bool is_unset;
		int result = config_expand(slice_from(cases[i].text), &out, &is_unset, &err);

		if (result != (cases[i].expected == NULL ? -1 : 0))
			fail_msg("\"%s\" gave %d", cases[i].text, result);
		if (result == 0)
			assert_string_equal(buf_cstr(&out), cases[i].expected);
		buf_free(&out);
	}
}

static void test_expanded_texts_are_checked(void **state)
{
	struct root root;
	char *report;

	(void)state;
	setenv("PS_TEST_LATIN1", "\xe9", 1);
	report = read_root(
		"by_name: {a: {url: \"${PS_TEST_LATIN1}\"}, b: {url: \"${PS_TEST_UNSET}\"}}",
		&root);
	assert_string_equal(report,
		"f:1:20: url: is not valid UTF-8\n"
		"f:1:51: url: the environment variable PS_TEST_UNSET is not set\n");
	free(report);
	config_free(&root_table, &root);
}

static void test_slips(void **state)
{
	static const struct {
		const char *word, *candidate;
		bool near;
	} cases[] = {{"intervall", "interval", true}, {"intervla", "interval", true},
		{"interval", "scrape_interval", true}, {"scrape-interval", "scrape_interval", true},
		{"ulr", "url", true}, {"ab", "url", false}, {"url", "urls", true},
		{"job", "jobs", true}, {"x", "jobs", false}, {"", "jobs", false},
		{"jobs", "urls", false}, {"abcdef", "uvwxyz", false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t distance;

		if (config_is_near(slice_from(cases[i].word), slice_from(cases[i].candidate),
			    &distance) != cases[i].near)
			fail_msg("%s, %s", cases[i].word, cases[i].candidate);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_inheritance),
		cmocka_unit_test(test_order_and_number_of_problems),
		cmocka_unit_test(test_expansion),
		cmocka_unit_test(test_expanded_texts_are_checked),
		cmocka_unit_test(test_slips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
