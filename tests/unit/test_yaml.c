/* SPDX-License-Identifier: Apache-2.0 */
/* Trees from YAML, what is refused and where, and that what is written reads back the same. */
#include "common/config/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* {key: value} and [item]; nothing is written ~, what contains odd characters is escaped. */
static void dump(const struct yaml_node *node, struct buf *out)
{
	if (node->kind == YAML_SCALAR) {
		buf_append_str(out, node->is_null ? "~" : "");
		for (size_t i = 0; i < node->text.len && !node->is_null; i++)
			buf_appendf(out, (unsigned char)node->text.ptr[i] < ' ' ? "\\x%02x" : "%c",
				(unsigned char)node->text.ptr[i]);
		return;
	}
	buf_append_char(out, node->kind == YAML_MAPPING ? '{' : '[');
	for (const struct yaml_entry *entry = node->entries; entry != NULL; entry = entry->next) {
		if (entry != node->entries)
			buf_append_str(out, ", ");
		if (entry->key != NULL) {
			dump(entry->key, out);
			buf_append_str(out, ": ");
		}
		dump(entry->value, out);
	}
	buf_append_char(out, node->kind == YAML_MAPPING ? '}' : ']');
}

/* The tree, or "line:column: error". To be freed. */
static char *read_as_text(struct slice yaml)
{
	struct yaml_position position;
	struct err err;
	struct yaml_document *document = yaml_parse(yaml, &position, &err);
	struct buf out = {0};
	char *text;

	if (document == NULL)
		buf_appendf(&out, "%d:%d: %s", position.line, position.column, err.text);
	else
		dump(yaml_root(document), &out);
	yaml_document_free(document);
	text = slice_dup(buf_slice(&out));
	buf_free(&out);
	return text;
}

static const struct {
	const char *name, *yaml, *expected;
} cases[] = {
	{"mapping", "a: 1\nb: two words\n", "{a: 1, b: two words}"},
	{"document start", "---\na: 1\n", "{a: 1}"},
	{"directive and end", "%YAML 1.1\n---\na: 1\n...\n", "{a: 1}"},
	{"byte order mark",
		"\xef\xbb\xbf"
		"a: 1",
		"{a: 1}"},
	{"nesting", "a: [1, {b: c}]\nd:\n- e\n- f: g\n", "{a: [1, {b: c}], d: [e, {f: g}]}"},
	{"nulls", "a:\nb: ~\nc: null\nd: \"\"\ne: 'null'\n", "{a: ~, b: ~, c: ~, d: , e: null}"},
	{"tag of a text", "a: !!str ~\nb: !!int 5\n", "{a: ~, b: 5}"},
	{"tabs in a block text", "a: |\n  x\n  \ty\n", "{a: x\\x0a\\x09y\\x0a}"},
	{"folded text", "a: >\n  x\n  y\n", "{a: x y\\x0a}"},
	{"escapes", "a: \"\\u00e9\\n\"\n", "{a: \xc3\xa9\\x0a}"},
	{"empty containers", "a: {}\nb: []\n", "{a: {}, b: []}"},
	{"alias", "a: &x [1, 2]\nb: *x\n", "{a: [1, 2], b: [1, 2]}"},
	{"alias as key", "&k a: 1\nb: {*k : 2}\n", "{a: 1, b: {a: 2}}"},
	{"anchor defined again", "a: &x 1\nb: *x\nc: &x 2\nd: *x\n", "{a: 1, b: 1, c: 2, d: 2}"},
	{"merge", "a: &x {p: 1, q: 2}\nb:\n  q: 3\n  <<: *x\n  r: 4\n",
		"{a: {p: 1, q: 2}, b: {q: 3, r: 4, p: 1}}"},
	{"merge of a list, first wins", "b:\n  <<: [{p: 1}, {p: 2, q: 3}]\n", "{b: {p: 1, q: 3}}"},
	{"merge of a merge", "a: &a {p: 1}\nb: &b {<<: *a, q: 2}\nc: {<<: *b}\n",
		"{a: {p: 1}, b: {q: 2, p: 1}, c: {q: 2, p: 1}}"},
	{"quoted <<", "a: {\"<<\": {p: 1}}\n", "{a: {<<: {p: 1}}}"},
	{"tab behind a colon", "a:\t1\n", "{a: 1}"},

	{"empty", "", "1:1: the file is empty"},
	{"only a comment", "# x\n", "1:1: the file is empty"},
	{"only a document start", "---\n", "1:1: the file is empty"},
	{"two documents", "a: 1\n---\nb: 1\n",
		"2:1: a second document begins here: a file holds only one"},
	{"tab", "a:\n\tb: 1\n", "2:1: tabs are not allowed as indentation: use spaces"},
	{"tab behind spaces", "a:\n  \tb: 1\n",
		"2:3: tabs are not allowed as indentation: use spaces"},
	{"tab behind wide characters", "\xc3\xa9: 1\nx:\n  b: 1\n\tc: 1\n",
		"4:1: tabs are not allowed as indentation: use spaces"},
	{"key twice", "a: 1\nb: 2\n  \na: 3\n",
		"4:1: \"a\" is given twice: the first is in line 1, column 1"},
	{"key twice in different spellings", "{a: 1, \"a\": 2}\n",
		"1:8: \"a\" is given twice: the first is in line 1, column 2"},
	{"<< twice", "{<<: {a: 1}, <<: {b: 1}}\n",
		"1:14: \"<<\" is given twice: the first is in line 1, column 2"},
	{"merge of a text", "<<: x\n", "1:1: << takes a mapping or a list of mappings"},
	{"merge of a list of texts", "<<: [x]\n", "1:1: << takes a mapping or a list of mappings"},
	{"list as key", "? [a]\n: b\n",
		"1:3: a key must be a plain value, not a list or a mapping"},
	{"unknown alias", "a: *x\n", "1:4: alias *x has no anchor &x before it"},
	{"alias before its anchor", "a: *x\nb: &x 1\n", "1:4: alias *x has no anchor &x before it"},
	{"alias in itself", "a: &x\n  b: [*x]\n", "2:7: alias *x is inside of what it refers to"},
	{"foreign tag", "a: !ruby/object x\n", "1:4: the tag !ruby/object is not supported"},
	{"NUL", "a: \"x\\0\"\n", "1:4: a NUL character is not allowed"},
	{"bare NUL", "a: \1\n", "1:4: not UTF-8 text: control characters are not allowed"},
	{"latin-1", "ab: 1\n\xe9: 2\n", "2:2: not UTF-8 text: "},
	{"syntax", "a: [1\nb: 2\n", "2:2: "},
	{"unterminated text", "a: \"x\n", "2:1: while scanning a quoted scalar: "},
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *got = read_as_text(slice_from(cases[i].yaml));
		size_t len = strlen(cases[i].expected);

		/* An expectation that ends in a space is the beginning: the rest is libyaml's. */
		if (cases[i].expected[0] != '\0' && cases[i].expected[len - 1] == ' ')
			got[strlen(got) < len ? strlen(got) : len] = '\0';
		if (strcmp(got, cases[i].expected) != 0)
			print_error("case \"%s\"\n", cases[i].name);
		assert_string_equal(got, cases[i].expected);
		free(got);
	}
}

static void test_positions(void **state)
{
	struct yaml_position position;
	struct err err;
	struct yaml_document *document =
		yaml_parse(SLICE("a:\n  \xc3\xa9\xc3\xa9: x\n"), &position, &err);
	const struct yaml_entry *inner;

	(void)state;
	assert_non_null(document);
	inner = yaml_root(document)->entries->value->entries;
	assert_int_equal(inner->key->position.line, 2);
	assert_int_equal(inner->key->position.column, 3);
	assert_int_equal(inner->value->position.line, 2);
	assert_int_equal(inner->value->position.column, 7);
	yaml_document_free(document);
}

static void expect_error(struct slice yaml, const char *part)
{
	char *got = read_as_text(yaml);

	if (strstr(got, part) == NULL)
		fail_msg("expected \"%s\" in \"%.200s\"", part, got);
	free(got);
}

static void test_expansion_is_bounded(void **state)
{
	struct buf yaml = {0};

	(void)state;
	buf_append_str(&yaml, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 30; i++) {
		buf_appendf(&yaml, "a%d: &a%d [", i, i);
		for (int k = 0; k < 10; k++)
			buf_appendf(&yaml, "%s*a%d", k == 0 ? "" : ", ", i - 1);
		buf_append_str(&yaml, "]\n");
	}
	expect_error(buf_slice(&yaml), "too large once its aliases are followed");
	buf_clear(&yaml);

	/* The same with merge keys, and with few nodes of long texts. */
	buf_append_str(&yaml, "a: &a \"");
	for (int i = 0; i < 1 << 20; i++)
		buf_append_char(&yaml, 'x');
	buf_append_str(&yaml, "\"\nb: [");
	for (int i = 0; i < 300; i++)
		buf_append_str(&yaml, "*a, ");
	buf_append_str(&yaml, "]\n");
	expect_error(buf_slice(&yaml), "too large once its aliases are followed");
	buf_free(&yaml);
}

static void test_merge_is_bounded(void **state)
{
	struct buf yaml = {0};

	(void)state;
	buf_append_str(&yaml, "base: &base\n");
	for (int i = 0; i < 5000; i++)
		buf_appendf(&yaml, "  key%d: x\n", i);
	buf_append_str(&yaml, "list:\n");
	for (int i = 0; i < 5000; i++)
		buf_append_str(&yaml, "- <<: *base\n");
	expect_error(buf_slice(&yaml), "too large once its aliases are followed");
	buf_free(&yaml);
}

static void test_depth_is_bounded(void **state)
{
	struct buf yaml = {0};

	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_append_char(&yaml, '[');
	expect_error(buf_slice(&yaml), "nested more than 64 deep");
	buf_clear(&yaml);

	/* Each step is shallow, the chain of aliases is not. */
	buf_append_str(&yaml, "a0: &a0 x\n");
	for (int i = 1; i < 100; i++)
		buf_appendf(&yaml, "a%d: &a%d [*a%d]\n", i, i, i - 1);
	expect_error(buf_slice(&yaml), "nested more than 64 deep");
	buf_free(&yaml);
}

static void test_size_is_bounded(void **state)
{
	struct slice huge = {"a: 1", (size_t)YAML_MAX_FILE_BYTES + 1};

	(void)state;
	expect_error(huge, "the file is larger than 64 MB");
}

static void test_files(void **state)
{
	struct buf content = {0};
	struct err err;

	(void)state;
	assert_int_equal(yaml_read_file("/nonexistent/x.yaml", &content, &err), -1);
	assert_string_equal(err.text, "/nonexistent/x.yaml: No such file or directory");
	assert_int_equal(yaml_read_file("/", &content, &err), -1);
	assert_string_equal(err.text, "/: Is a directory");
	assert_int_equal(yaml_read_file("/dev/zero", &content, &err), -1);
	assert_string_equal(err.text, "/dev/zero: larger than 64 MB");
	buf_clear(&content);
	assert_int_equal(yaml_read_file("/dev/null", &content, &err), 0);
	assert_int_equal(content.len, 0);
	buf_free(&content);
}

static void test_texts_survive_writing(void **state)
{
	static const char *const texts[] = {"", "plain", "two words", " lead", "trail ", "~",
		"null", "yes", "No", "true", "0", "010", "0x1f", "1e3", "12:30:45", "-", "- a",
		"a: b", "a:", ":", "#c", "a #b", "*a", "&a", "!a", "%a", "@a", "`a", "'", "\"",
		"\\", "a\nb", "a\n", "\t", "\x01\x1f", "\xc3\xa9", "\xe2\x80\xa8", "{a}", "[a]",
		"a,b", "?", "|", ">", "---", "...", "<<", "nats://u:p@h:4222", "/var/log/x.log",
		"$a", "=", "x=%41"};
	struct buf yaml = {0};
	struct yaml_writer *writer = yaml_writer_new(&yaml);
	struct yaml_position position;
	struct err err;
	struct yaml_document *document;
	const struct yaml_entry *entry;
	size_t i = 0;

	(void)state;
	yaml_write_open(writer, YAML_SEQUENCE);
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		yaml_write_text(writer, texts[i]);
	yaml_write_close(writer, YAML_SEQUENCE);
	yaml_writer_free(writer);
	document = yaml_parse(buf_slice(&yaml), &position, &err);
	assert_non_null(document);
	entry = yaml_root(document)->entries;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++, entry = entry->next) {
		assert_non_null(entry);
		assert_string_equal(entry->value->text.ptr, texts[i]);
		assert_false(entry->value->is_null);
	}
	assert_null(entry);
	yaml_document_free(document);
	buf_free(&yaml);
}

static void test_writing(void **state)
{
	struct buf yaml = {0};
	struct yaml_writer *writer = yaml_writer_new(&yaml);

	(void)state;
	yaml_write_open(writer, YAML_MAPPING);
	yaml_write_text(writer, "a");
	yaml_write_plain(writer, "5");
	yaml_write_text(writer, "b");
	yaml_write_open(writer, YAML_SEQUENCE);
	yaml_write_text(writer, "5");
	yaml_write_close(writer, YAML_SEQUENCE);
	yaml_write_text(writer, "c");
	yaml_write_open(writer, YAML_MAPPING);
	yaml_write_close(writer, YAML_MAPPING);
	yaml_write_close(writer, YAML_MAPPING);
	yaml_writer_free(writer);
	assert_string_equal(buf_cstr(&yaml), "---\na: 5\nb:\n- \"5\"\nc: {}\n");
	buf_free(&yaml);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_positions),
		cmocka_unit_test(test_expansion_is_bounded),
		cmocka_unit_test(test_merge_is_bounded),
		cmocka_unit_test(test_depth_is_bounded),
		cmocka_unit_test(test_size_is_bounded),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_texts_survive_writing),
		cmocka_unit_test(test_writing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
