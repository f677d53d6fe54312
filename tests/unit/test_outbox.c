/* SPDX-License-Identifier: Apache-2.0 */
/* The queue before NATS and the frames that leave it. */
#include "tests/unit/outbox_fixture.h"

/* -- the tests ------------------------------------------------------------------------------- */

static void test_sent_at_once(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	publisher->room = 1;
	push_text(&scene, TIME_MS);
	assert_int_equal(publisher->sent_count, 1);
	assert_true(slice_is(buf_slice(&publisher->sent[0]->body), BODY));
	assert_true(slice_is(
		buf_slice(&publisher->sent[0]->subject), "prometheus.scrape.dc1.node.web1.0"));
	assert_header(0, "Ps-Time: 1700000000000\n");
	assert_header(0, "Ps-Interval: 15000\n");
	assert_header(0, "Nats-Msg-Id: ");
	assert_no_header(0, "Content-Encoding");
	assert_no_header(0, "Ps-Up");
	assert_false(outbox_is_idle(scene.outbox));
	assert_true(plain(&scene, PM_UNACKED) == 1);
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	assert_true(outbox_is_idle(scene.outbox));
	assert_true(scene.idle > 0);
	assert_true(plain(&scene, PM_PUBLISHED) == 1);
	assert_true(plain(&scene, PM_PUBLISHED_BYTES) ==
		    (double)nats_outgoing_bytes(publisher->sent[0]));
	assert_true(plain(&scene, PM_PUBLISH_SECONDS) == 1);
	scene_close(&scene);
}

static void test_labels_and_failures_reach_the_headers(void **state)
{
	struct scene scene;
	struct scrape *scrape;

	(void)state;
	scene_open(&scene, COMPRESSION_ZSTD);
	labels_set(&scene.target_settings.labels, SLICE("env"), SLICE("prod"));
	publisher->room = 1;
	scrape = scrape_new(&scene.target, TIME_MS);
	scrape_fail(scrape, "HTTP %d", 503);
	outbox_push(scene.outbox, &scrape);
	assert_header(0, "Ps-Up: 0\n");
	assert_header(0, "Ps-Error: HTTP 503\n");
	assert_header(0, "Ps-Labels: {\"env\":\"prod\"}\n");
	assert_no_header(0, "Content-Encoding");
	assert_int_equal(publisher->sent[0]->body.len, 0);
	scene_close(&scene);
	labels_free(&scene.target_settings.labels);
}

static void test_waits_for_room_in_order(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	for (int i = 0; i < 100; i++)
		push_text(&scene, TIME_MS + i);
	assert_int_equal(publisher->sent_count, 0);
	assert_true(plain(&scene, PM_QUEUE_SCRAPES) == 100);
	assert_true(plain(&scene, PM_QUEUE_BYTES) > 100 * sizeof(BODY));
	assert_true(plain(&scene, PM_STREAM_READY) == 0);
	give_room(&scene, 90);
	assert_int_equal(publisher->sent_count, 90);
	give_room(&scene, 90);
	assert_int_equal(publisher->sent_count, 100);
	for (int i = 0; i < 100; i++) {
		char line[64];

		snprintf(line, sizeof(line), "Ps-Time: %lld\n", (long long)TIME_MS + i);
		assert_header(i, line);
	}
	assert_true(plain(&scene, PM_QUEUE_SCRAPES) == 0);
	assert_true(plain(&scene, PM_QUEUE_BYTES) == 0);
	assert_true(plain(&scene, PM_STREAM_READY) == 1);
	scene_close(&scene);
}

static void test_oldest_is_dropped(void **state)
{
	struct scene scene;
	struct buf body = {0};

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	append_noise(&body, 1000);
	scene.settings.queue_bytes = 3 * (sizeof(struct scrape) + 1000 + 64);
	for (int i = 0; i < 10; i++)
		push(&scene, TIME_MS + i, ENCODING_IDENTITY, buf_slice(&body));
	assert_true(plain(&scene, PM_QUEUE_SCRAPES) == 3);
	assert_true(plain(&scene, PM_QUEUE_BYTES) <= (double)scene.settings.queue_bytes);
	assert_true(dropped(&scene, "queue_full") == 7);
	scene.settings.queue_bytes = 1 << 20;
	give_room(&scene, 10);
	assert_int_equal(publisher->sent_count, 3);
	assert_header(0, "Ps-Time: 1700000000007\n");
	assert_header(2, "Ps-Time: 1700000000009\n");
	buf_free(&body);
	scene_close(&scene);
}

/* A failure has no body, but a text, and a million of them are not for free. */
static void test_failures_fill_the_queue_too(void **state)
{
	struct scene scene;
	char reason[501];

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	memset(reason, 'x', sizeof(reason) - 1);
	reason[sizeof(reason) - 1] = '\0';
	for (int i = 0; i < 4000; i++) {
		struct scrape *scrape = scrape_new(&scene.target, TIME_MS + i);

		scrape_fail(scrape, "%s", reason);
		outbox_push(scene.outbox, &scrape);
	}
	assert_in_range(plain(&scene, PM_QUEUE_SCRAPES), 1, (1 << 20) / (sizeof(reason)));
	assert_true(dropped(&scene, "queue_full") == 4000 - plain(&scene, PM_QUEUE_SCRAPES));
	scene_close(&scene);
}

static void test_too_large_to_wait_costs_no_other(void **state)
{
	struct scene scene;
	struct buf large = {0};

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	append_noise(&large, 2 << 20);
	push_text(&scene, TIME_MS);
	push(&scene, TIME_MS + 1, ENCODING_IDENTITY, buf_slice(&large));
	push_text(&scene, TIME_MS + 2);
	assert_true(plain(&scene, PM_QUEUE_SCRAPES) == 3);
	assert_true(dropped(&scene, "queue_full") == 1);
	give_room(&scene, 3);
	assert_int_equal(publisher->sent_count, 3);
	assert_no_header(0, "Ps-Up");
	assert_header(
		1, "Ps-Error: scrape of 2MB is too large to wait for NATS (queue_bytes: 1MB)\n");
	assert_no_header(2, "Ps-Up");
	scene_close(&scene);
	buf_free(&large);
}

/* A server that is silent keeps what was sent to it in our memory. */
static void test_unacked_bytes_are_bounded(void **state)
{
	struct scene scene;
	struct buf body = {0};
	int sent;

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	append_noise(&body, 100 << 10);
	publisher->room = 100;
	for (int i = 0; i < 20; i++)
		push(&scene, TIME_MS + i, ENCODING_IDENTITY, buf_slice(&body));
	sent = publisher->sent_count;
	assert_in_range(sent, 4, 6);
	assert_in_range(plain(&scene, PM_QUEUE_SCRAPES), 3, 11 - sent);
	for (int i = 0; i < sent; i++)
		answer(&scene, i, PUBLISH_ACKED, NULL);
	assert_int_equal(publisher->sent_count, sent + (int)plain(&scene, PM_UNACKED));
	for (int i = sent; i < publisher->sent_count; i++)
		answer(&scene, i, PUBLISH_ACKED, NULL);
	assert_true(outbox_is_idle(scene.outbox));
	scene_close(&scene);
	buf_free(&body);
}

static void test_compression(void **state)
{
	static const struct {
		const char *name;
		enum settings_compression compression;
		enum encoding from, want;
		bool is_recoded;
	} cases[] = {
		{"as it came", COMPRESSION_PASSTHROUGH, ENCODING_GZIP, ENCODING_GZIP, false},
		{"gzip of text", COMPRESSION_GZIP, ENCODING_IDENTITY, ENCODING_GZIP, true},
		{"gzip of gzip", COMPRESSION_GZIP, ENCODING_GZIP, ENCODING_GZIP, false},
		{"zstd of text", COMPRESSION_ZSTD, ENCODING_IDENTITY, ENCODING_ZSTD, true},
		{"zstd of gzip", COMPRESSION_ZSTD, ENCODING_GZIP, ENCODING_ZSTD, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scene scene;
		struct buf body = {0}, decoded = {0};
		char line[64];

		scene_open(&scene, cases[i].compression);
		assert_int_equal(
			codec_encode(scene.codec, cases[i].from, 6, SLICE(BODY), &body, NULL), 0);
		push(&scene, TIME_MS, cases[i].from, buf_slice(&body));
		assert_true(plain(&scene, PM_COMPRESS_SECONDS) == 0);
		give_room(&scene, 1);
		snprintf(
			line, sizeof(line), "Content-Encoding: %s\n", encoding_name(cases[i].want));
		assert_header(0, line);
		assert_int_equal(codec_decode(scene.codec, cases[i].want,
					 buf_slice(&publisher->sent[0]->body), 1 << 20, &decoded),
			CODEC_OK);
		if (!slice_is(buf_slice(&decoded), BODY))
			fail_msg("%s: body is \"%s\"", cases[i].name, buf_cstr(&decoded));
		if (plain(&scene, PM_COMPRESS_SECONDS) != cases[i].is_recoded)
			fail_msg("%s: encoded %g times", cases[i].name,
				plain(&scene, PM_COMPRESS_SECONDS));
		buf_free(&body);
		buf_free(&decoded);
		scene_close(&scene);
	}
}

/* The receiver is the one that says what is wrong with it. */
static void test_corrupt_gzip_goes_as_it_came(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, COMPRESSION_ZSTD);
	publisher->room = 1;
	push(&scene, TIME_MS, ENCODING_GZIP, SLICE("no gzip at all"));
	assert_header(0, "Content-Encoding: gzip\n");
	assert_true(slice_is(buf_slice(&publisher->sent[0]->body), "no gzip at all"));
	scene_close(&scene);
}

static void test_large_text_is_compressed_anyway(void **state)
{
	struct scene scene;
	struct buf body = {0};

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	publisher->room = 1;
	publisher->max_message_bytes = 4000;
	for (int i = 0; i < 1000; i++)
		buf_append_str(&body, BODY);
	push(&scene, TIME_MS, ENCODING_IDENTITY, buf_slice(&body));
	assert_header(0, "Content-Encoding: zstd\n");
	assert_no_header(0, "Ps-Up");
	assert_true(dropped(&scene, "too_large") == 0);
	buf_free(&body);
	scene_close(&scene);
}

static void test_too_large_becomes_down(void **state)
{
	struct scene scene;
	struct buf body = {0};

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	publisher->room = 1;
	publisher->max_message_bytes = (1 << 20) - (16 << 10);
	append_noise(&body, 2411725);
	push(&scene, TIME_MS, ENCODING_IDENTITY, buf_slice(&body));
	assert_header(0, "Ps-Up: 0\n");
	assert_header(0, "Ps-Error: scrape of 2.3MB exceeds the server's 1MB message limit\n");
	assert_no_header(0, "Content-Encoding");
	assert_int_equal(publisher->sent[0]->body.len, 0);
	assert_true(dropped(&scene, "too_large") == 1);
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	assert_true(outbox_is_idle(scene.outbox));
	buf_free(&body);
	scene_close(&scene);
}

static void test_too_large_by_a_little(void **state)
{
	struct scene scene;
	struct buf body = {0};

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	publisher->room = 1;
	append_noise(&body, (1 << 20) + 1);
	push(&scene, TIME_MS, ENCODING_IDENTITY, buf_slice(&body));
	assert_header(0, "Ps-Error: scrape of 1048577 bytes exceeds the server's 1048576 bytes "
			 "message limit\n");
	buf_free(&body);
	scene_close(&scene);
}

/* Every size around the bound: what is sent never passes it (publisher_send above asserts). */
static void test_bound_is_exact(void **state)
{
	struct scene scene;
	struct buf body = {0};
	int whole = 0;

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	publisher->max_message_bytes = 400;
	append_noise(&body, 1);
	for (int i = 0; body.len < 400; i++) {
		publisher->room = 1;
		push(&scene, TIME_MS + i, ENCODING_GZIP, buf_slice(&body));
		if (publisher->sent[i]->body.len > 0)
			whole = i;
		append_noise(&body, 2);
	}
	assert_true(nats_outgoing_bytes(publisher->sent[whole]) >= 399);
	assert_header(whole + 1, "Ps-Up: 0\n");
	buf_free(&body);
	scene_close(&scene);
}

static void test_no_room_for_headers(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	publisher->room = 1;
	publisher->max_message_bytes = 20;
	push_text(&scene, TIME_MS);
	assert_int_equal(publisher->sent_count, 0);
	assert_true(dropped(&scene, "impossible") == 1);
	assert_true(outbox_is_idle(scene.outbox));
	scene_close(&scene);
}

static void test_refused_is_said_once(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	publisher->room = 3;
	push_text(&scene, TIME_MS);
	answer(&scene, 0, PUBLISH_REFUSED, "message size exceeds maximum allowed");
	assert_int_equal(publisher->sent_count, 2);
	assert_header(1, "Ps-Time: 1700000000000\n");
	assert_header(1, "Ps-Up: 0\n");
	assert_header(1, "Ps-Error: message size exceeds maximum allowed\n");
	assert_int_equal(publisher->sent[1]->body.len, 0);
	assert_int_equal(scene.idle, 0);
	answer(&scene, 1, PUBLISH_REFUSED, "no again");
	assert_int_equal(publisher->sent_count, 2);
	assert_true(outbox_is_idle(scene.outbox));
	assert_int_equal(scene.idle, 1);
	assert_true(dropped(&scene, "refused") == 2);
	scene_close(&scene);
}

static void test_duplicate_is_counted(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	publisher->room = 1;
	push_text(&scene, TIME_MS);
	answer(&scene, 0, PUBLISH_DUPLICATE, NULL);
	assert_true(plain(&scene, PM_DUPLICATES) == 1);
	assert_true(plain(&scene, PM_PUBLISHED) == 0);
	assert_true(outbox_is_idle(scene.outbox));
	scene_close(&scene);
}

static void test_counters_follow_the_publisher(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	publisher->counts = (struct publisher_counts){.retries = 3, .errors = 4};
	assert_true(plain(&scene, PM_PUBLISH_RETRIES) == 3);
	assert_true(plain(&scene, PM_PUBLISH_ERRORS) == 4);
	scene_close(&scene);
}

static void test_close_drops_what_is_left(void **state)
{
	struct scene scene;
	struct series *lost;

	(void)state;
	scene_open(&scene, COMPRESSION_PASSTHROUGH);
	lost = metrics_series(scene.metrics, PM_DROPPED, "shutdown");
	publisher->room = 1;
	push_text(&scene, TIME_MS);
	push_text(&scene, TIME_MS + 1);
	outbox_close(scene.outbox, on_closed, &scene);
	assert_true(series_value(lost) == 2);
	uv_run(&scene.loop, UV_RUN_DEFAULT);
	assert_int_equal(scene.closed, 1);
	assert_int_equal(uv_loop_close(&scene.loop), 0);
	buf_free(&scene.target.subject);
	codec_free(scene.codec);
	metrics_free(scene.metrics);
}

static void test_sizes_for_people(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} cases[] = {
		{0, "0B"},
		{900, "900B"},
		{1024, "1KB"},
		{1536, "1.5KB"},
		{(1 << 20) - (16 << 10), "1MB"},
		{512 << 10, "512KB"},
		{2411725, "2.3MB"},
		{UINT64_C(3) << 30, "3GB"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf text = {0};

		frame_format_size(cases[i].bytes, &text);
		assert_string_equal(buf_cstr(&text), cases[i].want);
		buf_free(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sent_at_once),
		cmocka_unit_test(test_labels_and_failures_reach_the_headers),
		cmocka_unit_test(test_waits_for_room_in_order),
		cmocka_unit_test(test_oldest_is_dropped),
		cmocka_unit_test(test_failures_fill_the_queue_too),
		cmocka_unit_test(test_too_large_to_wait_costs_no_other),
		cmocka_unit_test(test_unacked_bytes_are_bounded),
		cmocka_unit_test(test_compression),
		cmocka_unit_test(test_corrupt_gzip_goes_as_it_came),
		cmocka_unit_test(test_large_text_is_compressed_anyway),
		cmocka_unit_test(test_too_large_becomes_down),
		cmocka_unit_test(test_too_large_by_a_little),
		cmocka_unit_test(test_bound_is_exact),
		cmocka_unit_test(test_no_room_for_headers),
		cmocka_unit_test(test_refused_is_said_once),
		cmocka_unit_test(test_duplicate_is_counted),
		cmocka_unit_test(test_counters_follow_the_publisher),
		cmocka_unit_test(test_close_drops_what_is_left),
		cmocka_unit_test(test_sizes_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
