/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subjects and message ids: what a subject says about its target, which subjects are refused; and
 * that the examples of common/wire.md are what the code reads and writes.
 */
#include "common/wire/wire.h"

#include "common/core/hash.h"
#include "common/wire/legacy.h"
#include "tests/unit/header_table.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void check_text(const char *what, struct slice got, struct slice want)
{
	if (!slice_eq(got, want))
		fail_msg("%s: got \"%.*s\", want \"%.*s\"", what, SLICE_FMT(got), SLICE_FMT(want));
}

/* Subjects */

#define T16 "046c442eaab8b26d"

static const struct {
	const char *text;
	enum wire_kind kind;
	const char *publisher, *job, *instance;
	uint64_t hash;
	int64_t time_ms;
} subjects[] = {
	{"a.b.scrape.dc1.node.web1=3A9100.0", WIRE_SCRAPE, "dc1", "node", "web1:9100", 0, 0},
	{"a.b.scrape.dc1.node.web1." T16, WIRE_SCRAPE, "dc1", "node", "web1", 0x046c442eaab8b26d,
		0},
	{"a.b.scrape.d=2E1.=20.k=C3=B6ln.0000000000000001", WIRE_SCRAPE, "d.1", " ", "k\xc3\xb6ln",
		1, 0},
	{"a.b.scrape.p.j.i.ffffffffffffffff", WIRE_SCRAPE, "p", "j", "i", UINT64_MAX, 0},
	{"a.b.scrape.=01.j.=7F.0", WIRE_SCRAPE, "\x01", "j", "\x7f", 0, 0},
	{"a.b.key.p.j.i.0.0", WIRE_KEY, "p", "j", "i", 0, 0},
	{"a.b.key.p.j.i." T16 ".1790000000123", WIRE_KEY, "p", "j", "i", 0x046c442eaab8b26d,
		1790000000123},
	{"a.b.key.p.j.i.0.7258118400000", WIRE_KEY, "p", "j", "i", 0, WIRE_TIME_MAX_MS},
	{"a.b", WIRE_LEGACY, NULL, NULL, NULL, 0, 0},
	{"a.b.scrape2.p.j.i.0", WIRE_UNKNOWN, NULL, NULL, NULL, 0, 0},
	{"a.b.Scrape.p.j.i.0", WIRE_UNKNOWN, NULL, NULL, NULL, 0, 0},
	{"a.b.samples", WIRE_UNKNOWN, NULL, NULL, NULL, 0, 0},
	{"a.b.write.x..y", WIRE_UNKNOWN, NULL, NULL, NULL, 0, 0},
	{"a.b.keys.p.j.i.0.0", WIRE_UNKNOWN, NULL, NULL, NULL, 0, 0},
};

static void check_name(const char *subject, const struct buf *got, const char *want)
{
	check_text(subject, buf_slice(got), slice_from(want));
}

static void test_subjects(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
		const char *text = subjects[i].text;
		struct wire_subject got;

		wire_subject_parse(&got, SLICE("a.b"), slice_from(text));
		if (got.kind != subjects[i].kind)
			fail_msg("%s: got kind %d, want %d", text, got.kind, subjects[i].kind);
		check_name(text, &got.publisher, subjects[i].publisher);
		check_name(text, &got.job, subjects[i].job);
		check_name(text, &got.instance, subjects[i].instance);
		if (got.labels_hash != subjects[i].hash || got.key_time_ms != subjects[i].time_ms)
			fail_msg("%s: got hash %016" PRIx64 ", time %" PRId64, text,
				got.labels_hash, got.key_time_ms);
		wire_subject_fini(&got);
	}
}

/* Dropped as malformed, and nothing of them is kept. */
static const struct {
	const char *name, *text;
} malformed_subjects[] = {
	{"empty", ""},
	{"another topic", "a.c.scrape.p.j.i.0"},
	{"only begins as the topic", "a.bc.scrape.p.j.i.0"},
	{"part of the topic", "a"},
	{"empty kind", "a.b."},
	{"empty kind, more", "a.b..p.j.i.0"},
	{"no tokens", "a.b.scrape"},
	{"no names", "a.b.scrape."},
	{"no instance", "a.b.scrape.p.j"},
	{"no hash", "a.b.scrape.p.j.i"},
	{"empty hash", "a.b.scrape.p.j.i."},
	{"a token too many", "a.b.scrape.p.j.i.0.0"},
	{"a dot too many", "a.b.scrape.p.j.i.0."},
	{"empty publisher", "a.b.scrape..j.i.0"},
	{"empty job", "a.b.scrape.p..i.0"},
	{"empty instance", "a.b.scrape.p.j..0"},
	{"raw colon", "a.b.scrape.p.j.web1:9100.0"},
	{"raw space", "a.b.scrape.p.j.web 1.0"},
	{"raw UTF-8", "a.b.scrape.p.j.k\xc3\xb6ln.0"},
	{"needless escape", "a.b.scrape.p.j.=61.0"},
	{"lower-case escape", "a.b.scrape.p.j.=3a.0"},
	{"escape of one digit", "a.b.scrape.p.j.a=3.0"},
	{"escape without digits", "a.b.scrape.p.j.a=.0"},
	{"escape of no hex", "a.b.scrape.p.j.=G0.0"},
	{"NUL in a name", "a.b.scrape.p.j.=00.0"},
	{"no UTF-8 in a name", "a.b.scrape.p.j.=C3.0"},
	{"a surrogate in a name", "a.b.scrape.=ED=A0=80.j.i.0"},
	{"overlong UTF-8 in a name", "a.b.scrape.p.=C0=80.i.0"},
	{"hash 1", "a.b.scrape.p.j.i.1"},
	{"hash 00", "a.b.scrape.p.j.i.00"},
	{"hash of zeros", "a.b.scrape.p.j.i.0000000000000000"},
	{"upper-case hash", "a.b.scrape.p.j.i.046C442EAAB8B26D"},
	{"short hash", "a.b.scrape.p.j.i.46c442eaab8b26d"},
	{"long hash", "a.b.scrape.p.j.i.0046c442eaab8b26d"},
	{"hash of no hex", "a.b.scrape.p.j.i.g46c442eaab8b26d"},
	{"key without time", "a.b.key.p.j.i.0"},
	{"key with empty time", "a.b.key.p.j.i.0."},
	{"key with leading zero", "a.b.key.p.j.i.0.01"},
	{"key with zeros", "a.b.key.p.j.i.0.00"},
	{"key with sign", "a.b.key.p.j.i.0.-1"},
	{"key with letters", "a.b.key.p.j.i.0.1e3"},
	{"key after the year 2200", "a.b.key.p.j.i.0.7258118400001"},
	{"key of many digits", "a.b.key.p.j.i.0.99999999999999999999"},
	{"key that wraps to 1", "a.b.key.p.j.i.0.18446744073709551617"},
	{"key with more", "a.b.key.p.j.i.0.1.2"},
};

static void test_malformed_subjects(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(malformed_subjects); i++) {
		struct wire_subject got;

		wire_subject_parse(&got, SLICE("a.b"), slice_from(malformed_subjects[i].text));
		if (got.kind != WIRE_FOREIGN)
			fail_msg("%s: kind %d", malformed_subjects[i].name, got.kind);
		if (got.publisher.len + got.job.len + got.instance.len > 0)
			fail_msg("%s: a name was kept", malformed_subjects[i].name);
		wire_subject_fini(&got);
	}
}

static void test_long_subjects(void **state)
{
	struct buf text = {0};
	struct wire_subject subject;

	(void)state;
	for (size_t len = 254; len < 258; len++) {
		buf_clear(&text);
		buf_appendf(&text, "t.scrape.p.%0*d.i.0", (int)len, 1);
		wire_subject_parse(&subject, SLICE("t"), buf_slice(&text));
		assert_int_equal(subject.kind, len <= 255 ? WIRE_SCRAPE : WIRE_FOREIGN);
		wire_subject_fini(&subject);
	}
	buf_appendf(&text, ".%01000000d", 1);
	wire_subject_parse(&subject, SLICE("t"), buf_slice(&text));
	assert_int_equal(subject.kind, WIRE_FOREIGN);
	wire_subject_fini(&subject);
	buf_free(&text);
}

static const struct {
	const char *publisher, *job, *instance;
	const char *error; /* NULL: it has a subject */
} names[] = {
	{"dc1", "node", "web1:9100", NULL},
	{"a.b c", "*>", "\xf0\x9f\x98\x80/%=", NULL},
	{"", "j", "i", "publisher is empty"},
	{"p", "", "i", "job is empty"},
	{"p", "j", "", "instance is empty"},
	{"\xff", "j", "i", "publisher is not UTF-8 text"},
	{"p", "\xc3", "i", "job is not UTF-8 text"},
	{"p", "j", "\xed\xa0\x80", "instance is not UTF-8 text"},
	{"p", "j",
		"..........................................................................."
		"...........",
		"instance is too long"},
};

static void check_built(size_t i, struct slice text, const struct labels *labels)
{
	struct wire_subject subject;

	wire_subject_parse(&subject, SLICE("top.ic"), text);
	assert_int_equal(subject.kind, WIRE_SCRAPE);
	check_name("publisher", &subject.publisher, names[i].publisher);
	check_name("job", &subject.job, names[i].job);
	check_name("instance", &subject.instance, names[i].instance);
	assert_true(subject.labels_hash == labels_hash(labels));
	wire_subject_fini(&subject);
}

static void test_build(void **state)
{
	struct labels none = {0}, labels = {0};
	struct buf out = {0};

	(void)state;
	labels_set(&labels, SLICE("env"), SLICE("prod"));
	for (size_t i = 0; i < 2 * ARRAY_LEN(names); i++) {
		size_t n = i / 2;
		const struct labels *set = i % 2 == 0 ? &none : &labels;
		struct err err = {""};
		int result;

		buf_clear(&out);
		buf_append_str(&out, "before ");
		result = wire_scrape_subject(&out, SLICE("top.ic"), slice_from(names[n].publisher),
			slice_from(names[n].job), slice_from(names[n].instance), set, &err);
		if ((result == 0) != (names[n].error == NULL))
			fail_msg("%zu: got %d, \"%s\"", n, result, err.text);
		if (result == 0)
			check_built(n, (struct slice){out.ptr + 7, out.len - 7}, set);
		else if (strstr(err.text, names[n].error) == NULL)
			fail_msg("%zu: got \"%s\", want \"%s\"", n, err.text, names[n].error);
		else
			check_text("untouched", buf_slice(&out), SLICE("before "));
	}
	assert_int_equal(wire_scrape_subject(&out, SLICE("t"), (struct slice){"a\0b", 3},
				 SLICE("j"), SLICE("i"), &none, NULL),
		-1);
	labels_free(&labels);
	buf_free(&out);
}

static void test_key_subject(void **state)
{
	static const struct {
		const char *topic, *scrape;
		int64_t time_ms;
		const char *key;
	} cases[] = {
		{"t", "t.scrape.p.j.i.0", 0, "t.key.p.j.i.0.0"},
		{"scrape.scrape", "scrape.scrape.scrape.p.scrape.i." T16, 1790000000123,
			"scrape.scrape.key.p.scrape.i." T16 ".1790000000123"},
		{"t", "t.scrape.p.j.i=3A1.0", WIRE_TIME_MAX_MS, "t.key.p.j.i=3A1.0.7258118400000"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct slice topic = slice_from(cases[i].topic);
		struct wire_subject subject;
		struct buf out = {0};

		wire_key_subject(&out, topic, slice_from(cases[i].scrape), cases[i].time_ms);
		check_text("key", buf_slice(&out), slice_from(cases[i].key));
		wire_subject_parse(&subject, topic, buf_slice(&out));
		assert_int_equal(subject.kind, WIRE_KEY);
		assert_true(subject.key_time_ms == cases[i].time_ms);
		wire_subject_fini(&subject);
		buf_free(&out);
	}
}

static void test_labels_match(void **state)
{
	struct wire_subject with, without;
	struct wire_scrape scrape = {0};

	(void)state;
	wire_subject_parse(&without, SLICE("t"), SLICE("t.scrape.p.j.i.0"));
	wire_subject_parse(&with, SLICE("t"), SLICE("t.scrape.p.j.i." T16));
	assert_true(wire_labels_match(&without, &scrape));
	assert_false(wire_labels_match(&with, &scrape));
	labels_set(&scrape.labels, SLICE("rack"), SLICE("b 7"));
	assert_false(wire_labels_match(&with, &scrape));
	labels_set(&scrape.labels, SLICE("env"), SLICE("prod"));
	assert_true(wire_labels_match(&with, &scrape));
	assert_false(wire_labels_match(&without, &scrape));
	wire_scrape_fini(&scrape);
	wire_subject_fini(&with);
	wire_subject_fini(&without);
}

/* From another implementation of common/wire.md. */
static const struct {
	const char *subject;
	int64_t time_ms;
	const char *id;
} ids[] = {
	{"prometheus.scrape.dc1.node.web2=3A9100.0", 1790000015007, "213cb961dc215790"},
	{"t.scrape.p.j.i.0", 0, "6721a852c7f460eb"},
	{"t.scrape.p.j.i.0", 1, "5e008e26477b5296"},
	{"t.scrape.p.j.i.0", WIRE_TIME_MAX_MS, "f08b66dda11ee14d"},
	{"t.scrape.q.j.i.0", 1, "6e4d182b3979f72b"},
};

static void test_msg_id(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		char id[17];

		wire_msg_id(id, slice_from(ids[i].subject), ids[i].time_ms);
		assert_string_equal(id, ids[i].id);
	}
}

/* The examples of the specification */

#define SPECIFICATION "common/wire.md"

struct example {
	struct slice subject, body;
	struct header_table headers;
};

static struct buf specification;

static int read_specification(void **state)
{
	FILE *file = fopen(SPECIFICATION, "r");
	size_t got;

	(void)state;
	if (file == NULL) {
		print_error("%s: cannot be opened; run from the project's folder\n", SPECIFICATION);
		return -1;
	}
	do {
		got = fread(buf_reserve(&specification, 1 << 16), 1, 1 << 16, file);
		specification.len += got;
	} while (got > 0);
	fclose(file);
	buf_cstr(&specification);
	return 0;
}

static int free_specification(void **state)
{
	(void)state;
	buf_free(&specification);
	return 0;
}

/* Up to the next line end, which goes too. */
static struct slice take_line(struct slice *text)
{
	const char *end = text->len == 0 ? NULL : memchr(text->ptr, '\n', text->len);
	struct slice line = {text->ptr, end == NULL ? text->len : (size_t)(end - text->ptr)};

	text->ptr += line.len + (end != NULL);
	text->len -= line.len + (end != NULL);
	return line;
}

/* What is fenced as "```wire <name>". */
static struct example find_example(const char *name)
{
	char *fence = xasprintf("\n```wire %s\n", name);
	const char *at = strstr(specification.ptr, fence);
	const char *end = at == NULL ? NULL : strstr(at + strlen(fence), "\n```\n");
	struct example example = {0};
	struct slice rest, line;

	if (end == NULL)
		fail_msg("no example \"%s\" in %s", name, SPECIFICATION);
	rest = (struct slice){at + strlen(fence), (size_t)(end + 1 - at) - strlen(fence)};
	free(fence);
	example.subject = take_line(&rest);
	while ((line = take_line(&rest)).len > 0) {
		const char *colon = memmem(line.ptr, line.len, ": ", 2);

		assert_non_null(colon);
		header_table_add(&example.headers,
			(struct slice){line.ptr, (size_t)(colon - line.ptr)},
			(struct slice){colon + 2, line.len - (size_t)(colon - line.ptr) - 2});
	}
	example.body = rest;
	return example;
}

static void check_example_subject(struct slice text, const char *instance, uint64_t hash)
{
	struct wire_subject subject;

	wire_subject_parse(&subject, SLICE("prometheus"), text);
	assert_int_equal(subject.kind, WIRE_SCRAPE);
	check_name("publisher", &subject.publisher, "dc1");
	check_name("job", &subject.job, "node");
	check_name("instance", &subject.instance, instance);
	assert_true(subject.labels_hash == hash);
	wire_subject_fini(&subject);
}

/* What was read, written again, is the example: the same subject and headers in the same order. */
static void check_written_again(
	const struct example *example, const struct wire_scrape *scrape, struct slice instance)
{
	struct wire_headers headers;
	struct buf subject = {0};

	assert_int_equal(wire_scrape_subject(&subject, SLICE("prometheus"), SLICE("dc1"),
				 SLICE("node"), instance, &scrape->labels, NULL),
		0);
	check_text("subject", buf_slice(&subject), example->subject);
	assert_int_equal(wire_headers_build(&headers, buf_slice(&subject), scrape, NULL), 0);
	assert_int_equal(headers.count, example->headers.count);
	for (size_t i = 0; i < headers.count; i++) {
		check_text("header", slice_from(headers.items[i].name),
			example->headers.items[i].name);
		check_text(headers.items[i].name, slice_from(headers.items[i].value),
			example->headers.items[i].value);
	}
	wire_headers_fini(&headers);
	buf_free(&subject);
}

static void check_id(struct example *example, const struct wire_scrape *scrape)
{
	struct slice want;
	char id[17];

	assert_true(header_table_lookup(&example->headers, "Nats-Msg-Id", &want));
	wire_msg_id(id, example->subject, scrape->time_ms);
	check_text("Nats-Msg-Id", slice_from(id), want);
}

static void test_example_scrape(void **state)
{
	struct example example = find_example("scrape");
	struct wire_scrape scrape;

	(void)state;
	check_example_subject(example.subject, "web1:9100", UINT64_C(0x046c442eaab8b26d));
	assert_int_equal(
		wire_headers_parse(&scrape, header_table_lookup, &example.headers, NULL), 0);
	assert_true(scrape.time_ms == 1790000000123);
	assert_true(scrape.duration_s == 0.0123);
	assert_true(scrape.interval_ms == 15000);
	assert_true(scrape.up);
	assert_null(scrape.error);
	assert_int_equal(scrape.labels.count, 2);
	assert_string_equal(labels_get(&scrape.labels, "env"), "prod");
	assert_string_equal(labels_get(&scrape.labels, "rack"), "b 7");
	assert_true(labels_hash(&scrape.labels) == UINT64_C(0x046c442eaab8b26d));
	assert_int_equal(scrape.flags, WIRE_HONOR_LABELS | WIRE_STRICT);
	assert_null(scrape.content_type);
	assert_int_equal(scrape.encoding, ENCODING_IDENTITY);
	check_text("body", example.body, SLICE("# TYPE node_load1 gauge\nnode_load1 0.25\n"));
	check_id(&example, &scrape);
	check_written_again(&example, &scrape, SLICE("web1:9100"));
	wire_scrape_fini(&scrape);
}

static void test_example_failed(void **state)
{
	struct example example = find_example("failed");
	struct wire_scrape scrape;

	(void)state;
	check_example_subject(example.subject, "web2:9100", 0);
	assert_int_equal(
		wire_headers_parse(&scrape, header_table_lookup, &example.headers, NULL), 0);
	assert_true(scrape.time_ms == 1790000015007);
	assert_true(scrape.duration_s == 10.000214);
	assert_true(scrape.interval_ms == 15000);
	assert_false(scrape.up);
	assert_string_equal(scrape.error, "timed out after 10s");
	assert_int_equal(scrape.labels.count, 0);
	assert_int_equal(scrape.flags, 0);
	assert_null(scrape.content_type);
	assert_int_equal(scrape.encoding, ENCODING_IDENTITY);
	assert_int_equal(example.body.len, 0);
	check_id(&example, &scrape);
	check_written_again(&example, &scrape, SLICE("web2:9100"));
	wire_scrape_fini(&scrape);
}

static void test_example_legacy(void **state)
{
	struct example example = find_example("legacy"), scrape = find_example("scrape");
	struct codec *codec = codec_new();
	struct legacy_scrape legacy;
	struct wire_subject subject;
	struct buf body = {0};

	(void)state;
	wire_subject_parse(&subject, SLICE("prometheus"), example.subject);
	assert_int_equal(subject.kind, WIRE_LEGACY);
	wire_subject_fini(&subject);
	assert_int_equal(example.headers.count, 0);
	assert_int_equal(legacy_parse(&legacy, example.body, NULL), 0);
	check_name("job", &legacy.job, "node");
	check_name("instance", &legacy.instance, "web1:9100");
	check_name("publisher", &legacy.publisher, "dc1");
	assert_true(legacy.time_ms == 1790000000000);
	assert_int_equal(
		codec_decode(codec, ENCODING_GZIP, buf_slice(&legacy.body), 1000, &body), CODEC_OK);
	check_text("body", buf_slice(&body), scrape.body);
	buf_free(&body);
	legacy_fini(&legacy);
	codec_free(codec);
}

static struct buf unhexed(struct slice hex)
{
	struct buf out = {0};
	unsigned byte;

	for (size_t i = 0; i + 1 < hex.len && sscanf(hex.ptr + i, "%2x", &byte) == 1; i += 2)
		buf_append_char(&out, (char)byte);
	return out;
}

static void check_example_key(const struct example *key, const struct wire_scrape *delta)
{
	struct wire_subject subject;
	struct wire_scrape scrape;
	struct buf want = {0};

	wire_key_subject(
		&want, SLICE("prometheus"), find_example("scrape").subject, delta->key_time_ms);
	check_text("subject", buf_slice(&want), key->subject);
	wire_subject_parse(&subject, SLICE("prometheus"), key->subject);
	assert_int_equal(subject.kind, WIRE_KEY);
	assert_int_equal(wire_headers_parse(&scrape, header_table_lookup,
				 (struct header_table *)&key->headers, NULL),
		0);
	assert_true(scrape.time_ms == delta->key_time_ms);
	assert_true(subject.key_time_ms == delta->key_time_ms);
	wire_subject_fini(&subject);
	wire_scrape_fini(&scrape);
	buf_free(&want);
}

static void test_example_delta(void **state)
{
	struct example key = find_example("key"), delta = find_example("delta");
	struct buf packed = unhexed(delta.body), body = {0};
	struct codec *codec = codec_new();
	struct wire_scrape scrape;

	(void)state;
	assert_int_equal(wire_headers_parse(&scrape, header_table_lookup, &delta.headers, NULL), 0);
	assert_int_equal(scrape.encoding, ENCODING_ZSTD_DELTA);
	check_id(&delta, &scrape);
	check_written_again(&delta, &scrape, SLICE("web1:9100"));
	check_example_key(&key, &scrape);
	assert_int_equal(
		codec_decode_delta(codec, key.body, buf_slice(&packed), 1000, &body), CODEC_OK);
	check_text("body", buf_slice(&body), SLICE("# TYPE node_load1 gauge\nnode_load1 0.26\n"));
	wire_scrape_fini(&scrape);
	buf_free(&packed);
	buf_free(&body);
	codec_free(codec);
}

/* The hashes that section 3 names. */
static void test_example_hashes(void **state)
{
	char *text = xasprintf("The hash of no bytes is `%016" PRIx64
			       "`, of `prometheus` `%016" PRIx64 "`.",
		hash64("", 0), hash64("prometheus", 10));

	(void)state;
	if (strstr(specification.ptr, text) == NULL)
		fail_msg("%s lacks: %s", SPECIFICATION, text);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subjects),
		cmocka_unit_test(test_malformed_subjects),
		cmocka_unit_test(test_long_subjects),
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_key_subject),
		cmocka_unit_test(test_labels_match),
		cmocka_unit_test(test_msg_id),
		cmocka_unit_test(test_example_scrape),
		cmocka_unit_test(test_example_failed),
		cmocka_unit_test(test_example_delta),
		cmocka_unit_test(test_example_legacy),
		cmocka_unit_test(test_example_hashes),
	};

	return cmocka_run_group_tests(tests, read_specification, free_specification);
}
