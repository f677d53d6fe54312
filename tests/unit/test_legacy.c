/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The original's envelope: what is read of it, which parts may be absent, every way in which it can
 * be malformed, and the bounds.
 */
#include "common/wire/legacy.h"

#include "common/wire/wire.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MEMBERS(publisher)                                                                         \
	"\"job\":\"j\",\"instance\":\"i\",\"time\":1,\"publisher\":" publisher                     \
	",\"Scrape\":\"QQ==\""

static void check_text(const char *what, const struct buf *got, struct slice want)
{
	if (!slice_eq(buf_slice(got), want))
		fail_msg("%s: got \"%.*s\", want \"%.*s\"", what, SLICE_FMT(*got), SLICE_FMT(want));
}

static const struct {
	const char *name, *json;
	const char *job, *instance, *publisher;
	int64_t time_ms;
	const char *body;
} good[] = {
	{"as the original",
		"{\"job\":\"node\",\"instance\":\"web1:9100\",\"time\":1790000000,"
		"\"publisher\":\"dc1\",\"Scrape\":\"H4sI\"}",
		"node", "web1:9100", "dc1", 1790000000000, "\x1f\x8b\x08"},
	{"no publisher", "{\"job\":\"j\",\"instance\":\"i\",\"time\":1,\"Scrape\":\"QQ==\"}", "j",
		"i", "", 1000, "A"},
	{"empty publisher", "{" MEMBERS("\"\"") "}", "j", "i", "", 1000, "A"},
	{"null publisher", "{" MEMBERS("null") "}", "j", "i", "", 1000, "A"},
	{"escapes",
		"{\"\\u006aob\":\"k\\u00f6ln\",\"instance\":\"\\\"\\\\\\n{[,\",\"time\":0,"
		"\"Scrape\":\"QUI=\"}",
		"k\xc3\xb6ln", "\"\\\n{[,", "", 0, "AB"},
	{"UTF-8",
		"{\"job\":\"k\xc3\xb6ln\",\"instance\":\"\xf0\x9f\x98\x80\",\"time\":1,"
		"\"Scrape\":\"QUJD\"}",
		"k\xc3\xb6ln", "\xf0\x9f\x98\x80", "", 1000, "ABC"},
	{"spaces", " {\n\t" MEMBERS("\"p\"") " \r} \n", "j", "i", "p", 1000, "A"},
	{"other members", "{\"x\":1.5e3,\"y\":true,\"z\":null,\"job2\":\"\"," MEMBERS("\"p\"") "}",
		"j", "i", "p", 1000, "A"},
	{"another case is another member", "{\"Job\":1,\"scrape\":2," MEMBERS("\"p\"") "}", "j",
		"i", "p", 1000, "A"},
	{"every digit of base64",
		"{\"job\":\"j\",\"instance\":\"i\",\"time\":7258118400,\"Scrape\":"
		"\"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/\"}",
		"j", "i", "", WIRE_TIME_MAX_MS, NULL},
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct legacy_scrape got;
		struct err err = {""};

		if (legacy_parse(&got, slice_from(good[i].json), &err) < 0)
			fail_msg("%s: %s", good[i].name, err.text);
		check_text(good[i].name, &got.job, slice_from(good[i].job));
		check_text(good[i].name, &got.instance, slice_from(good[i].instance));
		check_text(good[i].name, &got.publisher, slice_from(good[i].publisher));
		if (got.time_ms != good[i].time_ms)
			fail_msg("%s: got %" PRId64 ", want %" PRId64, good[i].name, got.time_ms,
				good[i].time_ms);
		if (good[i].body != NULL)
			check_text(good[i].name, &got.body, slice_from(good[i].body));
		else
			check_text(good[i].name, &got.body,
				SLICE("\x00\x10\x83\x10\x51\x87\x20\x92\x8b\x30\xd3\x8f\x41\x14\x93"
				      "\x51\x55\x97\x61\x96\x9b\x71\xd7\x9f\x82\x18\xa3\x92\x59\xa7"
				      "\xa2\x9a\xab\xb2\xdb\xaf\xc3\x1c\xb3\xd3\x5d\xb7\xe3\x9e\xbb"
				      "\xf3\xdf\xbf"));
		legacy_fini(&got);
	}
}

/* A body of any length, of bytes of all values. */
static void test_base64_lengths(void **state)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char bytes[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 167 + 255);
	for (size_t len = 1; len <= sizeof(bytes); len++) {
		struct buf json = {0};
		struct legacy_scrape got;

		buf_append_str(&json, "{\"job\":\"j\",\"instance\":\"i\",\"time\":1,\"Scrape\":\"");
		for (size_t bit = 0; bit < len * 8; bit += 6) {
			unsigned two = (unsigned)bytes[bit / 8] << 8;

			two |= bit / 8 + 1 < len ? bytes[bit / 8 + 1] : 0u;
			buf_append_char(&json, digits[two >> (10 - bit % 8) & 63]);
		}
		buf_append_str(&json, len % 3 == 1 ? "==" : len % 3 == 2 ? "=" : "");
		buf_append_str(&json, "\"}");
		assert_int_equal(legacy_parse(&got, buf_slice(&json), NULL), 0);
		check_text("base64", &got.body, (struct slice){(const char *)bytes, len});
		legacy_fini(&got);
		buf_free(&json);
	}
}

#define NAMES "\"job\":\"j\",\"instance\":\"i\""
#define FLAT  "envelope is not one flat JSON object"
#define JSON  "envelope is not JSON: "

static const struct {
	const char *json, *error;
} malformed[] = {
	{"", JSON},
	{"null", JSON},
	{"\"text\"", JSON},
	{"1", JSON},
	{"{", JSON},
	{"{}", "envelope: \"job\" is missing"},
	{"{" MEMBERS("\"p\""), JSON},
	{"{" MEMBERS("\"p\"") ",}", JSON},
	{"{" MEMBERS("\"p\"") "}x", JSON},
	{"{" MEMBERS("\"p\"") "}{}", FLAT},
	{"[]", FLAT},
	{"[{" MEMBERS("\"p\"") "}]", FLAT},
	{"{\"x\":{}," MEMBERS("\"p\"") "}", FLAT},
	{"{" MEMBERS("\"p\"") ",\"x\":[]}", FLAT},
	{"{\"x\":\"\\\"\",\"y\":[]," MEMBERS("\"p\"") "}", FLAT},
	{"{\"x\":\"secret", JSON},
	{"{\"x\":secret}", JSON},
	{"{\"secret\":1,\"secret\":1}", JSON "duplicate object key"},
	{"{\"x\":\"\\", JSON},
	{"{\"x\":\"\\\"", JSON},
	{"{" MEMBERS("\"p\"") ",\"job\":\"j\"}", JSON "duplicate object key"},
	{"{" MEMBERS("\"p\"") ",\"x\":1,\"\\u0078\":1}", JSON "duplicate object key"},
	{"{" MEMBERS("\"\xff\"") "}", JSON},
	{"{" MEMBERS("\"a\\u0000b\"") "}", JSON},
	{"{" MEMBERS("\"\\ud800\"") "}", JSON},
	{"{" MEMBERS("1") "}", "envelope: \"publisher\" is missing or not a string"},
	{"{" MEMBERS("false") "}", "envelope: \"publisher\" is missing or not a string"},
	{"{\"instance\":\"i\",\"time\":1,\"Scrape\":\"QQ==\"}",
		"envelope: \"job\" is missing or not a string"},
	{"{\"job\":\"\",\"instance\":\"i\",\"time\":1,\"Scrape\":\"QQ==\"}",
		"envelope: \"job\" is missing or not a string"},
	{"{\"job\":null,\"instance\":\"i\",\"time\":1,\"Scrape\":\"QQ==\"}",
		"envelope: \"job\" is missing or not a string"},
	{"{\"job\":\"j\",\"time\":1,\"Scrape\":\"QQ==\"}",
		"envelope: \"instance\" is missing or not a string"},
	{"{\"job\":\"j\",\"instance\":7,\"time\":1,\"Scrape\":\"QQ==\"}",
		"envelope: \"instance\" is missing or not a string"},
	{"{" NAMES ",\"Scrape\":\"QQ==\"}", "envelope: \"time\" is missing or not a whole number"},
	{"{" NAMES ",\"time\":\"1\",\"Scrape\":\"QQ==\"}",
		"envelope: \"time\" is missing or not a whole number"},
	{"{" NAMES ",\"time\":1.0,\"Scrape\":\"QQ==\"}",
		"envelope: \"time\" is missing or not a whole number"},
	{"{" NAMES ",\"time\":1e3,\"Scrape\":\"QQ==\"}",
		"envelope: \"time\" is missing or not a whole number"},
	{"{" NAMES ",\"time\":-1,\"Scrape\":\"QQ==\"}", "envelope: \"time\" is out of range"},
	{"{" NAMES ",\"time\":7258118401,\"Scrape\":\"QQ==\"}",
		"envelope: \"time\" is out of range"},
	{"{" NAMES ",\"time\":9223372036854775807,\"Scrape\":\"QQ==\"}",
		"envelope: \"time\" is out of range"},
	{"{" NAMES ",\"time\":9223372036854775808,\"Scrape\":\"QQ==\"}", JSON},
	{"{" NAMES ",\"time\":1}", "envelope: \"Scrape\" is missing or not a string"},
	{"{" NAMES ",\"time\":1,\"Scrape\":null}",
		"envelope: \"Scrape\" is missing or not a string"},
	{"{" NAMES ",\"time\":1,\"Scrape\":7}", "envelope: \"Scrape\" is missing or not a string"},
};

static void check_malformed(const char *what, struct slice json, const char *error)
{
	struct legacy_scrape got;
	struct err err = {""};

	if (legacy_parse(&got, json, &err) == 0)
		fail_msg("%s: accepted", what);
	if (strncmp(err.text, error, strlen(error)) != 0)
		fail_msg("%s: got \"%s\", want \"%s\"", what, err.text, error);
	if (strstr(err.text, "secret") != NULL)
		fail_msg("%s: \"%s\" quotes what the envelope says", what, err.text);
}

static void test_malformed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(malformed); i++)
		check_malformed(
			malformed[i].json, slice_from(malformed[i].json), malformed[i].error);
	check_malformed("nothing", (struct slice){NULL, 0}, JSON);
	check_malformed("NUL", SLICE("{" MEMBERS("\"p\"") "}\0"), JSON);
}

static void test_malformed_base64(void **state)
{
	static const char *const texts[] = {"", "Q", "QQ", "QQ=", "QQQ", "=",
		"==", "====", "Q===", "A=AA", "AA=A", "AA==AA==", "QQ= ", " QQ=", "QQ\\n==", "QQ-_",
		"QQ.A", "QQ==QQ", "QUJDQ===", "Q\xc3\xb6Q", "QQ@A", "QQ[A", "QQ`A", "QQ:A"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		char *json = xasprintf("{" NAMES ",\"time\":1,\"Scrape\":\"%s\"}", texts[i]);

		check_malformed(texts[i], slice_from(json), "envelope: \"Scrape\" is not base64");
		free(json);
	}
}

/* Names of `len` bytes, told apart by the member that has them. */
static char *with_name(const char *member, size_t len)
{
	const char *all[] = {"job", "instance", "publisher"};
	struct buf json = {0};

	buf_append_str(&json, "{\"time\":1,\"Scrape\":\"QQ==\"");
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		buf_appendf(&json, ",\"%s\":\"%0*d\"", all[i],
			strcmp(all[i], member) == 0 ? (int)len : 1, 0);
	buf_append_char(&json, '}');
	buf_cstr(&json);
	return json.ptr;
}

static void test_name_lengths(void **state)
{
	static const char *const members[] = {"job", "instance", "publisher"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		char *longest = with_name(members[i], 255), *longer = with_name(members[i], 256);
		char *error = xasprintf("envelope: \"%s\" is longer than 255 bytes", members[i]);
		struct legacy_scrape got;

		assert_int_equal(legacy_parse(&got, slice_from(longest), NULL), 0);
		legacy_fini(&got);
		check_malformed(members[i], slice_from(longer), error);
		free(longest);
		free(longer);
		free(error);
	}
}

static void test_member_count(void **state)
{
	(void)state;
	for (int count = 31; count <= 34; count++) {
		struct buf json = {0};
		struct legacy_scrape got;

		buf_append_str(&json, "{" MEMBERS("\",,,,\""));
		for (int i = 5; i < count; i++)
			buf_appendf(&json, ",\"x%d\":\",,\"", i);
		buf_append_char(&json, '}');
		if (count > 32) {
			check_malformed("many", buf_slice(&json), FLAT);
		} else {
			assert_int_equal(legacy_parse(&got, buf_slice(&json), NULL), 0);
			legacy_fini(&got);
		}
		buf_free(&json);
	}
}

/* An envelope of exactly `len` bytes: the body takes what the rest leaves, spaces what it cannot.
 */
static struct buf envelope_of(size_t len)
{
	struct buf json = {0};

	buf_append_str(&json, "{" NAMES ",\"time\":1,\"Scrape\":\"");
	while (json.len + 6 <= len)
		buf_append_str(&json, "AAAA");
	buf_append_str(&json, "\"}");
	while (json.len < len)
		buf_append_char(&json, ' ');
	return json;
}

static void test_longest(void **state)
{
	struct buf longest = envelope_of(LEGACY_MAX_BYTES);
	struct legacy_scrape got;

	(void)state;
	assert_int_equal(legacy_parse(&got, buf_slice(&longest), NULL), 0);
	assert_true(got.body.len > LEGACY_MAX_BYTES / 4 * 3 - 100);
	legacy_fini(&got);
	buf_append_char(&longest, ' ');
	check_malformed("too long", buf_slice(&longest), "envelope is longer than 67108864 bytes");
	buf_free(&longest);
}

/* What would take a library far more memory than the text: refused before it is asked. */
static void test_expensive(void **state)
{
	static const char *const units[] = {"[", "[],", "{\"\":", "{},", "\"\":0,", ","};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		struct buf json = {0};

		buf_append_char(&json, '{');
		while (json.len < 1 << 20)
			buf_append_str(&json, units[i]);
		check_malformed(units[i], buf_slice(&json), FLAT);
		buf_free(&json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_base64_lengths),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_malformed_base64),
		cmocka_unit_test(test_name_lengths),
		cmocka_unit_test(test_member_count),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_expensive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
