/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters and headers of requests to /federate. */
#include "receiver/sink/federate_accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const struct {
	const char *accepted;
	enum encoding encoding;
} headers[] = {
	{NULL, ENCODING_IDENTITY},
	{"", ENCODING_IDENTITY},
	{"identity", ENCODING_IDENTITY},
	{"gzip", ENCODING_GZIP},
	{"GZip", ENCODING_GZIP},
	{"zstd", ENCODING_ZSTD},
	{"gzip,zstd", ENCODING_ZSTD},
	{"deflate, gzip;q=1.0, *;q=0.5", ENCODING_GZIP},
	{"gzip;q=0", ENCODING_IDENTITY},
	{"gzip ; q=0.000, zstd;q=0.1", ENCODING_ZSTD},
	{"gzipped, xgzip", ENCODING_IDENTITY},
	{"zstd;q=0,gzip", ENCODING_GZIP},
	{",, ,gzip", ENCODING_GZIP},
	{"*", ENCODING_IDENTITY},
};

static void test_encodings(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		enum encoding encoding = federate_choose_encoding(headers[i].accepted);

		if (encoding != headers[i].encoding)
			fail_msg("%s: got %s, expected %s", headers[i].accepted,
				encoding_name(encoding), encoding_name(headers[i].encoding));
	}
}

static const struct {
	const char *value;
	int64_t shard, shards; /* -1: refused */
} shards[] = {
	{"0/1", 0, 1},
	{"2/3", 2, 3},
	{"999999/1000000", 999999, 1000000},
	{"0/1000001", -1, -1},
	{"1/1", -1, -1},
	{"0/0", -1, -1},
	{"/1", -1, -1},
	{"0/", -1, -1},
	{"0", -1, -1},
	{"", -1, -1},
	{"-1/2", -1, -1},
	{"+1/2", -1, -1},
	{"1/2 ", -1, -1},
	{"1/2/3", -1, -1},
	{"99999999999999999999/2", -1, -1},
	{"0x1/2", -1, -1},
};

static void test_shards(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
		struct federate_ask ask = {.shards = 1};
		bool is_taken = federate_ask_read(&ask, "shard", shards[i].value);

		if (is_taken != (shards[i].shard >= 0) || is_taken == ask.is_bad)
			fail_msg("%s: %s", shards[i].value, is_taken ? "taken" : "refused");
		if (is_taken) {
			assert_int_equal(ask.shard, shards[i].shard);
			assert_int_equal(ask.shards, shards[i].shards);
		}
	}
}

static void test_parameters(void **state)
{
	struct federate_ask ask = {.shards = 1};

	(void)state;
	assert_true(federate_ask_read(&ask, "match[]", "up"));
	assert_true(federate_ask_read(&ask, "match[]", "{a=\"b\"}"));
	assert_true(federate_ask_read(&ask, "other", "{"));
	assert_false(ask.is_bad);
	assert_int_equal(ask.selectors.count, 2);
	assert_false(federate_ask_read(&ask, "match[]", "{a="));
	assert_true(ask.is_bad);
	assert_string_equal(ask.err.text, "match[] \"{a=\": position 4: expected a text in quotes");
	selectors_fini(&ask.selectors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_encodings),
		cmocka_unit_test(test_shards),
		cmocka_unit_test(test_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
