/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JetStream's JSON: the requests to the letter, answers as servers write them, and what is no
 * answer.
 */
#include "common/nats/jetstream.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* --- PubAcks. */

static const struct pub_ack_case {
	const char *name;
	const char *json;
	int result;
	struct js_pub_ack ack;
} PUB_ACKS[] = {
	{"plain", "{\"stream\":\"S\",\"seq\":7}", 0, {.stream = "S", .sequence = 7}},
	{"as the server writes it", "{\"stream\":\"S_1-a\", \"seq\":7}", 0,
		{.stream = "S_1-a", .sequence = 7}},
	{"so with a duplicate", "{\"stream\":\"S\", \"seq\":7,\"duplicate\": true}", 0,
		{.stream = "S", .sequence = 7, .duplicate = true}},
	{"so with an escape", "{\"stream\":\"S\\u0061\", \"seq\":7}", 0,
		{.stream = "Sa", .sequence = 7}},
	{"so with all digits", "{\"stream\":\"S\", \"seq\":9223372036854775807}", 0,
		{.stream = "S", .sequence = 9223372036854775807}},
	{"so with a leading zero", "{\"stream\":\"S\", \"seq\":07}", -1, {.sequence = 0}},
	{"so with a fraction", "{\"stream\":\"S\", \"seq\":7.5}", -1, {.sequence = 0}},
	{"so with a sequence of zero", "{\"stream\":\"S\", \"seq\":0}", -1, {.sequence = 0}},
	{"so without a sequence", "{\"stream\":\"S\", \"seq\":}", -1, {.sequence = 0}},
	{"so without a stream", "{\"stream\":\"\", \"seq\":7}", -1, {.sequence = 0}},
	{"so cut", "{\"stream\":\"S\", \"seq\":7", -1, {.sequence = 0}},
	{"so and more", "{\"stream\":\"S\", \"seq\":7}}", -1, {.sequence = 0}},
	{"with domain", "{\"stream\":\"S\",\"domain\":\"hub\",\"seq\":1}", 0,
		{.stream = "S", .domain = "hub", .sequence = 1}},
	{"duplicate", "{\"stream\":\"S\",\"seq\":7,\"duplicate\":true}", 0,
		{.stream = "S", .sequence = 7, .duplicate = true}},
	{"spaced, in another order", " { \"seq\" : 7 , \"stream\" : \"S\" } ", 0,
		{.stream = "S", .sequence = 7}},
	{"unknown members", "{\"stream\":\"S\",\"seq\":7,\"x\":{\"seq\":8}}", 0,
		{.stream = "S", .sequence = 7}},
	{"error",
		"{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"full\"},"
		"\"stream\":\"S\",\"seq\":0}",
		0,
		{.stream = "S", .error = {.code = 503, .err_code = 10077, .description = "full"}}},
	{"error without a code", "{\"error\":{}}", 0, {.error = {.code = 500}}},
	{"error of another type", "{\"error\":\"x\",\"stream\":\"S\",\"seq\":1}", 0,
		{.stream = "S", .sequence = 1}},
	{"no stream", "{\"seq\":7}", -1, {.sequence = 0}},
	{"no sequence", "{\"stream\":\"S\"}", -1, {.sequence = 0}},
	{"sequence is text", "{\"stream\":\"S\",\"seq\":\"7\"}", -1, {.sequence = 0}},
	{"sequence is negative", "{\"stream\":\"S\",\"seq\":-7}", -1, {.sequence = 0}},
	{"sequence is too large", "{\"stream\":\"S\",\"seq\":18446744073709551616}", -1,
		{.sequence = 0}},
	{"+OK", "+OK", -1, {.sequence = 0}},
	{"nothing", "", -1, {.sequence = 0}},
	{"array", "[1]", -1, {.sequence = 0}},
	{"cut", "{\"stream\":\"S\",\"seq\":7", -1, {.sequence = 0}},
	{"two values", "{\"stream\":\"S\",\"seq\":7}{}", -1, {.sequence = 0}},
};

static void test_pub_acks(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(PUB_ACKS); i++) {
		const struct pub_ack_case *c = &PUB_ACKS[i];
		struct js_pub_ack ack;
		struct err err = {""};
		int result = js_pub_ack_parse(&ack, slice_from(c->json), &err);

		if (result != c->result)
			fail_msg("%s: %d instead of %d (%s)", c->name, result, c->result, err.text);
		assert_true((result == 0) == (err.text[0] == '\0'));
		if (result != 0)
			continue;
		if (strcmp(ack.stream, c->ack.stream) != 0 ||
			strcmp(ack.domain, c->ack.domain) != 0 || ack.sequence != c->ack.sequence ||
			ack.duplicate != c->ack.duplicate)
			fail_msg("%s: stream %s domain %s seq %llu duplicate %d", c->name,
				ack.stream, ack.domain, (unsigned long long)ack.sequence,
				ack.duplicate);
		if (ack.error.code != c->ack.error.code ||
			ack.error.err_code != c->ack.error.err_code ||
			strcmp(ack.error.description, c->ack.error.description) != 0)
			fail_msg("%s: error %d %d %s", c->name, ack.error.code, ack.error.err_code,
				ack.error.description);
	}
}

/* A name that does not fit must not become another one; a description is for people and is cut. */
static void test_long_strings(void **state)
{
	struct buf json = {NULL, 0, 0};
	struct js_pub_ack ack;
	struct err err;

	(void)state;
	for (int len = 255; len <= 256; len++) {
		buf_clear(&json);
		buf_appendf(&json, "{\"seq\":1,\"stream\":\"%0*d\"}", len, 1);
		assert_int_equal(
			js_pub_ack_parse(&ack, buf_slice(&json), &err), len == 255 ? 0 : -1);
	}
	buf_clear(&json);
	buf_appendf(&json, "{\"error\":{\"code\":400,\"description\":\"%0*d\"}}", 1000, 1);
	assert_int_equal(js_pub_ack_parse(&ack, buf_slice(&json), &err), 0);
	assert_int_equal(strlen(ack.error.description), sizeof(ack.error.description) - 1);
	buf_clear(&json);
	buf_appendf(&json, "{\"seq\":1,\"stream\":\"S\",\"x\":\"%0*d\"}", 1 << 20, 1);
	assert_int_equal(js_pub_ack_parse(&ack, buf_slice(&json), &err), -1);
	assert_non_null(strstr(err.text, "bytes"));
	buf_free(&json);
}

static void test_deep_nesting(void **state)
{
	struct buf json = {NULL, 0, 0};
	struct js_pub_ack ack;
	struct err err;

	(void)state;
	for (int i = 0; i < 500000; i++)
		buf_append_char(&json, '[');
	assert_int_equal(js_pub_ack_parse(&ack, buf_slice(&json), &err), -1);
	buf_free(&json);
}

/* --- Streams. */

static void test_stream_info(void **state)
{
	struct js_stream_info info;
	struct err err;

	(void)state;
	assert_int_equal(
		js_stream_info_parse(&info,
			SLICE("{\"type\":\"io.nats.jetstream.api.v1.stream_info_response\","
			      "\"config\":"
			      "{\"name\":\"S\",\"subjects\":[\"a\",\"a.>\",7],\"max_age\":"
			      "3600000000000,"
			      "\"max_msg_size\":-1},\"created\":\"2026-01-02T03:04:05.6Z\","
			      "\"state\":{\"first_seq\":7,\"last_seq\":9}}"),
			&err),
		0);
	assert_int_equal(info.error.code, 0);
	assert_int_equal(info.subjects.count, 2);
	assert_string_equal(info.subjects.items[1], "a.>");
	assert_int_equal(info.max_age_ms, 3600000);
	assert_int_equal(info.max_msg_size, -1);
	assert_false(info.is_sourced_or_mirror);
	assert_string_equal(info.created, "2026-01-02T03:04:05.6Z");
	assert_true(info.first_seq == 7 && info.last_seq == 9);
	js_stream_info_fini(&info);
	js_stream_info_fini(&info);
}

static const struct {
	const char *name;
	const char *json;
	int result;
	int code;
	bool is_sourced_or_mirror, is_consumed;
} STREAM_INFOS[] = {
	{"sources", "{\"config\":{\"sources\":[{\"name\":\"X\"}]}}", 0, 0, true, false},
	{"no sources", "{\"config\":{\"sources\":[]}}", 0, 0, false, false},
	{"mirror", "{\"config\":{\"mirror\":{\"name\":\"X\"}}}", 0, 0, true, false},
	{"no mirror", "{\"config\":{\"mirror\":null}}", 0, 0, false, false},
	{"limits", "{\"config\":{\"retention\":\"limits\"}}", 0, 0, false, false},
	{"interest", "{\"config\":{\"retention\":\"interest\"}}", 0, 0, false, true},
	{"work queue", "{\"config\":{\"retention\":\"workqueue\"}}", 0, 0, false, true},
	{"retention of another type", "{\"config\":{\"retention\":7}}", 0, 0, false, false},
	{"not found", "{\"error\":{\"code\":404,\"err_code\":10059}}", 0, 404, false, false},
	{"no configuration", "{\"created\":\"x\"}", -1, 0, false, false},
	{"subjects of another type", "{\"config\":{\"subjects\":{\"a\":1}}}", 0, 0, false, false},
	{"a long time",
		"{\"config\":{},\"created\":\"0000000000000000000000000000000000000000"
		"00000000000000000000000000000000000000000000\"}",
		-1, 0, false, false},
};

static void test_stream_infos(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(STREAM_INFOS); i++) {
		struct js_stream_info info;
		struct err err;
		int result = js_stream_info_parse(&info, slice_from(STREAM_INFOS[i].json), &err);

		if (result != STREAM_INFOS[i].result || info.error.code != STREAM_INFOS[i].code ||
			info.is_sourced_or_mirror != STREAM_INFOS[i].is_sourced_or_mirror ||
			info.is_consumed != STREAM_INFOS[i].is_consumed)
			fail_msg("%s: %d, error %d, sourced %d, consumed %d", STREAM_INFOS[i].name,
				result, info.error.code, info.is_sourced_or_mirror,
				info.is_consumed);
		js_stream_info_fini(&info);
	}
}

static const struct {
	const char *pattern, *subject;
	bool covers;
} COVERS[] = {
	{"a", "a", true},
	{"a", "b", false},
	{"a", "a.b", false},
	{"a.b", "a", false},
	{"*", "a", true},
	{"*", "a.b", false},
	{"*", "*", true},
	{"*", ">", false},
	{">", "a", true},
	{">", "a.b.c", true},
	{">", ">", true},
	{">", "*.>", true},
	{"a.>", "a", false},
	{"a.>", "a.b", true},
	{"a.>", "a.*.c.>", true},
	{"a.>", "*.b", false},
	{"a.>", ">", false},
	{"a.*.c", "a.b.c", true},
	{"a.*.c", "a.*.c", true},
	{"a.*.c", "a.b.d", false},
	{"a.*.c", "a.b.>", false},
	{"a.b", "a.*", false},
	{"a.b.>", "a.>", false},
	{"prometheus.>", "prometheus.*.dc1.>", true},
	{"prometheus.scrape.>", "prometheus.*.dc1.>", false},
	{"prometheus.*.dc1.>", "prometheus.*.dc1.>", true},
	{"prometheus.*.dc2.>", "prometheus.*.dc1.>", false},
	{"prom", "prometheus", false},
	{">", "", false},
	{"", "", false},
	{">", "a..b", true},
	{"a.*.b", "a..b", false},
};

static void test_covers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(COVERS); i++)
		if (js_subject_covers(COVERS[i].pattern, COVERS[i].subject) != COVERS[i].covers)
			fail_msg("\"%s\" and \"%s\": expected %d", COVERS[i].pattern,
				COVERS[i].subject, COVERS[i].covers);
}

static void test_create_requests(void **state)
{
	struct stream_settings stream = {.stream = "S",
		.topic = "a.b",
		.stream_max_age_ms = 3600000,
		.max_msgs_per_subject = -1,
		.max_bytes = -1,
		.duplicate_window_ms = 120000,
		.replicas = 3};
	struct buf out = {NULL, 0, 0};

	(void)state;
	js_stream_create_request(&out, &stream);
	assert_string_equal(buf_cstr(&out),
		"{\"name\":\"S\",\"subjects\":[\"a.b\",\"a.b.>\"],\"retention\":\"limits\","
		"\"storage\":\"file\",\"discard\":\"old\",\"max_consumers\":-1,\"max_msgs\":-1,"
		"\"max_msgs_per_subject\":-1,\"max_bytes\":-1,\"max_age\":3600000000000,"
		"\"max_msg_size\":-1,\"duplicate_window\":120000000000,\"num_replicas\":3,"
		"\"allow_direct\":true}");
	buf_clear(&out);
	stream.storage = STORAGE_MEMORY;
	stream.discard = DISCARD_NEW;
	stream.stream_max_age_ms = 60000;
	js_stream_create_request(&out, &stream);
	assert_non_null(strstr(buf_cstr(&out), "\"storage\":\"memory\",\"discard\":\"new\""));
	/* Not longer than the messages live. */
	assert_non_null(strstr(buf_cstr(&out), "\"duplicate_window\":60000000000,"));
	buf_free(&out);
}

static void test_consumer_requests(void **state)
{
	struct js_consumer_settings consumer = {.stream = "S",
		.durable = "d",
		.filter_subject = "a.scrape.>",
		.ack_wait_ms = 90000,
		.max_ack_pending = 1000000};
	struct buf out = {NULL, 0, 0};

	(void)state;
	js_consumer_create_request(&out, &consumer);
	assert_string_equal(buf_cstr(&out),
		"{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"d\",\"deliver_policy\":"
		"\"all\","
		"\"ack_policy\":\"explicit\",\"ack_wait\":90000000000,\"max_ack_pending\":1000000,"
		"\"max_deliver\":-1,\"filter_subject\":\"a.scrape.>\","
		"\"replay_policy\":\"instant\"}}");
	buf_clear(&out);
	consumer.start_time_ms = 1767323045067;
	js_consumer_create_request(&out, &consumer);
	assert_non_null(strstr(buf_cstr(&out), "\"deliver_policy\":\"by_start_time\","
					       "\"opt_start_time\":\"2026-01-02T03:04:05.067Z\","));
	buf_clear(&out);
	js_pull_request(&out, 256, 0, 30000, 0);
	assert_string_equal(buf_cstr(&out), "{\"batch\":256,\"expires\":30000000000}");
	buf_clear(&out);
	js_pull_request(&out, 1, 1 << 20, 30000, 5000);
	assert_string_equal(buf_cstr(&out), "{\"batch\":1,\"expires\":30000000000,"
					    "\"max_bytes\":1048576,\"idle_heartbeat\":5000000000}");
	buf_free(&out);
}

/* --- Consumers. */

static void test_consumer_info(void **state)
{
	struct js_consumer_info info;
	struct err err;

	(void)state;
	assert_int_equal(
		js_consumer_info_parse(&info,
			SLICE("{\"stream_name\":\"S\",\"name\":\"d\",\"created\":\"2026-01-02T03:"
			      "04:05Z\","
			      "\"config\":{\"durable_name\":\"d\",\"filter_subject\":\"a.>\","
			      "\"ack_policy\":\"explicit\",\"ack_wait\":15000000000},"
			      "\"delivered\":{\"consumer_seq\":9,\"stream_seq\":12},"
			      "\"num_ack_pending\":3,\"num_pending\":400}"),
			&err),
		0);
	assert_string_equal(info.durable, "d");
	assert_string_equal(info.filter_subject, "a.>");
	assert_string_equal(info.ack_policy, "explicit");
	assert_string_equal(info.created, "2026-01-02T03:04:05Z");
	assert_false(info.is_push);
	assert_int_equal(info.num_pending, 400);
	assert_int_equal(info.num_ack_pending, 3);
	assert_int_equal(info.ack_wait_ms, 15000);
	assert_int_equal(info.delivered_consumer_seq, 9);
	assert_int_equal(js_consumer_info_parse(
				 &info, SLICE("{\"config\":{\"deliver_subject\":\"x\"}}"), &err),
		0);
	assert_true(info.is_push);
	assert_string_equal(info.durable, "");
	assert_int_equal(js_consumer_info_parse(&info, SLICE("{}"), &err), -1);
	assert_int_equal(js_consumer_info_parse(&info,
				 SLICE("{\"error\":{\"code\":404,\"err_code\":10014}}"), &err),
		0);
	assert_int_equal(info.error.err_code, JS_CONSUMER_NOT_FOUND);
}

static const struct {
	const char *name;
	const char *reply;
	int result;
	struct js_delivery delivery;
} DELIVERIES[] = {
	{"short form", "$JS.ACK.S.d.1.12.9.1767323045067000000.400", 0,
		{1, 12, 9, 1767323045067, 400}},
	{"long form", "$JS.ACK.hub.ACCOUNT.S.d.2.12.9.1767323045067000000.400.rnd", 0,
		{2, 12, 9, 1767323045067, 400}},
	{"long form without the last", "$JS.ACK._.ACCOUNT.S.d.2.12.9.1767323045067000000.0", 0,
		{2, 12, 9, 1767323045067, 0}},
	{"more to come", "$JS.ACK._.ACCOUNT.S.d.2.12.9.1000000.4.rnd.x.y.z", 0, {2, 12, 9, 1, 4}},
	{"largest", "$JS.ACK.S.d.1.18446744073709551615.9.1.0", 0, {1, UINT64_MAX, 9, 0, 0}},
	{"too large", "$JS.ACK.S.d.1.18446744073709551616.9.1.0", -1, {0}},
	{"ten tokens", "$JS.ACK.S.d.1.12.9.1.4.5", -1, {0}},
	{"eight tokens", "$JS.ACK.S.d.1.12.9.1", -1, {0}},
	{"not an ack", "$JS.NAK.S.d.1.12.9.1.0", -1, {0}},
	{"no number", "$JS.ACK.S.d.1.x.9.1.0", -1, {0}},
	{"empty number", "$JS.ACK.S.d.1..9.1.0", -1, {0}},
	{"signed", "$JS.ACK.S.d.1.+2.9.1.0", -1, {0}},
	{"nothing", "", -1, {0}},
	{"dots", "...........", -1, {0}},
};

static void test_deliveries(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(DELIVERIES); i++) {
		struct js_delivery got = {0};
		int result = js_delivery_parse(&got, slice_from(DELIVERIES[i].reply));

		if (result != DELIVERIES[i].result ||
			(result == 0 && memcmp(&got, &DELIVERIES[i].delivery, sizeof(got)) != 0))
			fail_msg("%s: %d, %llu %llu %llu %lld %llu", DELIVERIES[i].name, result,
				(unsigned long long)got.delivered,
				(unsigned long long)got.stream_seq,
				(unsigned long long)got.consumer_seq, (long long)got.stored_ms,
				(unsigned long long)got.pending);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pub_acks),
		cmocka_unit_test(test_long_strings),
		cmocka_unit_test(test_deep_nesting),
		cmocka_unit_test(test_stream_info),
		cmocka_unit_test(test_stream_infos),
		cmocka_unit_test(test_covers),
		cmocka_unit_test(test_create_requests),
		cmocka_unit_test(test_consumer_requests),
		cmocka_unit_test(test_consumer_info),
		cmocka_unit_test(test_deliveries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
