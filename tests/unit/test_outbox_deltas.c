/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyframes and what refers to them, as they leave the outbox: which message goes when, what it
 * refers to, and what ends a reference. Every body sent is decoded and compared.
 */
#include "tests/unit/fake_time.h"

#include "tests/unit/outbox_fixture.h"

#include <inttypes.h>

#define SECOND_MS 1000
#define MINUTE_MS (60 * SECOND_MS)

/* Large enough to be worth a keyframe, another one each round. */
static struct buf make_text(unsigned round)
{
	struct buf text = {0};

	for (unsigned i = 0; i < 300; i++)
		buf_appendf(&text, "metric_%u{cpu=\"%u\"} %u\n", i / 7, i % 7,
			(i + (i % 10 == 0 ? round : 0)) * 2654435761u);
	return text;
}

static void open_deltas(struct scene *scene)
{
	scene_open(scene, COMPRESSION_DELTA);
	publisher->room = 1000;
}

static void push_round(struct scene *scene, unsigned round)
{
	struct buf text = make_text(round);

	push(scene, TIME_MS + round, ENCODING_IDENTITY, buf_slice(&text));
	buf_free(&text);
	turn_loop(scene);
}

static bool is_keyframe(int at)
{
	return strstr(buf_cstr(&publisher->sent[at]->subject), ".key.") != NULL;
}

/* -1 if it has none. */
static int64_t number_of(int at, const char *name)
{
	char *line = xasprintf("%s: ", name);
	const char *found = strstr(buf_cstr(&publisher->sent[at]->headers), line);
	int64_t value = found == NULL ? -1 : strtoll(found + strlen(line), NULL, 10);

	free(line);
	return value;
}

/* The body of any message, its keyframe found among those sent before it. */
static struct buf decoded(struct scene *scene, int at)
{
	static const struct {
		const char *header;
		enum encoding encoding;
	} whole[] = {
		{"Content-Encoding: gzip\n", ENCODING_GZIP},
		{"Content-Encoding: zstd\n", ENCODING_ZSTD},
	};
	struct slice body = buf_slice(&publisher->sent[at]->body);
	const char *headers = buf_cstr(&publisher->sent[at]->headers);
	struct buf out = {0};

	for (size_t i = 0; i < ARRAY_LEN(whole); i++)
		if (strstr(headers, whole[i].header) != NULL) {
			assert_int_equal(
				codec_decode(scene->codec, whole[i].encoding, body, 1 << 20, &out),
				CODEC_OK);
			return out;
		}
	for (int i = 0; i < at; i++)
		if (is_keyframe(i) && number_of(i, "Ps-Time") == number_of(at, "Ps-Key")) {
			struct buf key = decoded(scene, i);

			assert_int_equal(codec_decode_delta(scene->codec, buf_slice(&key), body,
						 1 << 20, &out),
				CODEC_OK);
			buf_free(&key);
			return out;
		}
	fail_msg("message %d refers to no keyframe sent before:\n%s", at, headers);
	return out;
}

/* Message `at` is the scrape of that round, as a delta to the keyframe of `key`, or whole (-1). */
static void check_frame(struct scene *scene, int at, unsigned round, int key)
{
	struct buf got, want = make_text(round);

	if (at >= publisher->sent_count)
		fail_msg("message %d was not sent", at);
	assert_false(is_keyframe(at));
	if (number_of(at, "Ps-Time") != TIME_MS + round)
		fail_msg("message %d is of time %" PRId64 ", not of round %u", at,
			number_of(at, "Ps-Time"), round);
	if (number_of(at, "Ps-Key") != (key < 0 ? -1 : TIME_MS + key))
		fail_msg("message %d refers to %" PRId64 ", not to round %d", at,
			number_of(at, "Ps-Key"), key);
	got = decoded(scene, at);
	assert_true(slice_eq(buf_slice(&got), buf_slice(&want)));
	buf_free(&got);
	buf_free(&want);
}

static void check_keyframe(struct scene *scene, int at, unsigned round)
{
	struct buf got, want = make_text(round);
	char *subject =
		xasprintf("prometheus.key.dc1.node.web1.0.%" PRId64, TIME_MS + (int64_t)round);
	char id[17];

	if (at >= publisher->sent_count)
		fail_msg("message %d was not sent", at);
	assert_string_equal(buf_cstr(&publisher->sent[at]->subject), subject);
	wire_msg_id(id, slice_from(subject), TIME_MS + round);
	assert_header(at, id);
	got = decoded(scene, at);
	assert_true(slice_eq(buf_slice(&got), buf_slice(&want)));
	buf_free(&got);
	buf_free(&want);
	free(subject);
}

/* Keyframe 0 sent and acked, and the scrape of round 0 that waited for it. */
static void begin(struct scene *scene)
{
	open_deltas(scene);
	push_round(scene, 0);
	answer(scene, 0, PUBLISH_ACKED, NULL);
	answer(scene, 1, PUBLISH_ACKED, NULL);
	assert_int_equal(publisher->sent_count, 2);
	assert_true(outbox_is_idle(scene->outbox));
}

static double made(struct scene *scene, const char *reason)
{
	return series_value(metrics_series(scene->metrics, PM_KEYFRAMES, reason));
}

static double failed(struct scene *scene, const char *reason)
{
	return series_value(metrics_series(scene->metrics, PM_KEYFRAME_FAILURES, reason));
}

static void end(struct scene *scene)
{
	outbox_close(scene->outbox, on_closed, scene);
	for (int i = 0; i < 3; i++)
		fake_advance(0);
	assert_int_equal(scene->closed, 1);
	assert_int_equal(uv_loop_close(&scene->loop), 0);
	buf_free(&scene->target.subject);
	codec_free(scene->codec);
	metrics_free(scene->metrics);
	fake_time_reset();
}

static void test_first(void **state)
{
	struct scene scene;

	(void)state;
	open_deltas(&scene);
	push_round(&scene, 0);
	assert_int_equal(publisher->sent_count, 1);
	check_keyframe(&scene, 0, 0);
	assert_false(outbox_is_idle(scene.outbox));
	assert_true(plain(&scene, PM_QUEUE_SCRAPES) == 1);
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	check_frame(&scene, 1, 0, 0);
	assert_in_range(publisher->sent[1]->body.len, 1, 64);
	push_round(&scene, 1);
	check_frame(&scene, 2, 1, 0);
	assert_true(publisher->sent[2]->body.len < publisher->sent[0]->body.len / 2);
	assert_true(made(&scene, "first") == 1);
	assert_true(plain(&scene, PM_KEYFRAME_TARGETS) == 1);
	assert_true(plain(&scene, PM_KEYFRAME_BYTES) ==
		    (double)nats_outgoing_bytes(publisher->sent[0]));
	assert_true(plain(&scene, PM_PUBLISHED) == 0); /* a keyframe is no scrape */
	end(&scene);
}

static void test_what_a_target_compressed_is_its_keyframe(void **state)
{
	struct scene scene;
	struct buf text = make_text(0), gzip = {0};

	(void)state;
	open_deltas(&scene);
	assert_int_equal(
		codec_encode(scene.codec, ENCODING_GZIP, 6, buf_slice(&text), &gzip, NULL), 0);
	push(&scene, TIME_MS, ENCODING_GZIP, buf_slice(&gzip));
	check_keyframe(&scene, 0, 0);
	assert_true(slice_eq(buf_slice(&publisher->sent[0]->body), buf_slice(&gzip)));
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	check_frame(&scene, 1, 0, 0);
	buf_free(&text);
	buf_free(&gzip);
	end(&scene);
}

/* Later scrapes of the target wait behind the first, failed ones too. */
static void test_order_is_kept(void **state)
{
	struct scene scene;
	struct scrape *down;

	(void)state;
	open_deltas(&scene);
	for (unsigned round = 0; round < 3; round++)
		push_round(&scene, round);
	down = scrape_new(&scene.target, TIME_MS + 3);
	scrape_fail(down, "HTTP 503");
	outbox_push(scene.outbox, &down);
	assert_int_equal(publisher->sent_count, 1);
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	for (unsigned round = 0; round < 3; round++)
		check_frame(&scene, 1 + (int)round, round, 0);
	assert_int_equal(publisher->sent_count, 5);
	assert_header(4, "Ps-Up: 0\n");
	assert_no_header(4, "Content-Encoding");
	assert_true(made(&scene, "first") == 1);
	end(&scene);
}

static void push_last(struct scene *scene, int64_t time_ms)
{
	struct scrape *last = scrape_new_last(&scene->target, time_ms);

	outbox_push(scene->outbox, &last);
	turn_loop(scene);
}

/* It leaves behind what waits, and once the stream has it the keyframe is of no use. */
static void test_last_message(void **state)
{
	struct scene scene;

	(void)state;
	open_deltas(&scene);
	push_round(&scene, 0);
	push_last(&scene, TIME_MS + 1);
	assert_int_equal(publisher->sent_count, 1);
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	assert_int_equal(publisher->sent_count, 3);
	assert_header(2, "Ps-Flags: removed\n");
	assert_header(2, "Ps-Up: 0\n");
	assert_int_equal(publisher->sent[2]->body.len, 0);
	assert_true(plain(&scene, PM_KEYFRAME_TARGETS) == 1);
	answer(&scene, 1, PUBLISH_ACKED, NULL);
	answer(&scene, 2, PUBLISH_ACKED, NULL);
	assert_true(plain(&scene, PM_KEYFRAME_TARGETS) == 0);
	assert_true(plain(&scene, PM_KEYFRAME_MEMORY) == 0);
	/* The target is back. */
	push_round(&scene, 2);
	assert_true(is_keyframe(3));
	answer(&scene, 3, PUBLISH_ACKED, NULL);
	check_frame(&scene, 4, 2, 2);
	end(&scene);
}

/* Away from deltas and back, with a keyframe on its way and one acknowledged. */
static void test_other_settings(void **state)
{
	struct settings other;
	struct scene scene;

	(void)state;
	open_deltas(&scene);
	other = scene.settings;
	other.compression = COMPRESSION_ZSTD;
	push_round(&scene, 0);
	assert_int_equal(publisher->sent_count, 1);
	outbox_set_settings(scene.outbox, &other);
	turn_loop(&scene);
	check_frame(&scene, 1, 0, -1);
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	push_round(&scene, 1);
	check_frame(&scene, 2, 1, -1);
	assert_true(plain(&scene, PM_KEYFRAME_MEMORY) == 0);
	other.max_unacked = 3;
	outbox_set_settings(scene.outbox, &scene.settings);
	push_round(&scene, 2);
	assert_true(is_keyframe(3));
	answer(&scene, 3, PUBLISH_ACKED, NULL);
	check_frame(&scene, 4, 2, 2);
	push_round(&scene, 3);
	check_frame(&scene, 5, 3, 2);
	outbox_set_settings(scene.outbox, &other);
	assert_int_equal(publisher->options.max_unacked, 3);
	push_round(&scene, 4);
	check_frame(&scene, 6, 4, -1);
	end(&scene);
}

static void test_patience_ends(void **state)
{
	struct scene scene;

	(void)state;
	open_deltas(&scene);
	push_round(&scene, 0);
	push_round(&scene, 1);
	fake_advance(1400);
	turn_loop(&scene);
	assert_int_equal(publisher->sent_count, 1);
	fake_advance(200);
	turn_loop(&scene);
	check_frame(&scene, 1, 0, -1);
	check_frame(&scene, 2, 1, -1);
	/* The keyframe is still on its way: nothing waits any more, and none is made beside it. */
	push_round(&scene, 2);
	check_frame(&scene, 3, 2, -1);
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	push_round(&scene, 4);
	check_frame(&scene, 4, 4, 0);
	end(&scene);
}

static void test_renewal(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	scene.settings.keyframe_interval_ms = MINUTE_MS;
	fake_advance(29 * SECOND_MS);
	push_round(&scene, 1);
	check_frame(&scene, 2, 1, 0);
	fake_advance(31 * SECOND_MS);
	push_round(&scene, 2);
	check_keyframe(&scene, 3, 2);
	assert_int_equal(publisher->sent_count, 4);
	/* Without an ack the frame refers to the keyframe before. */
	fake_advance(1600);
	turn_loop(&scene);
	check_frame(&scene, 4, 2, 0);
	answer(&scene, 3, PUBLISH_ACKED, NULL);
	push_round(&scene, 3);
	check_frame(&scene, 5, 3, 2);
	assert_true(made(&scene, "interval") == 1);
	/* From the second on, a whole interval. */
	fake_advance(57 * SECOND_MS);
	push_round(&scene, 4);
	check_frame(&scene, 6, 4, 2);
	fake_advance(2 * SECOND_MS);
	push_round(&scene, 5);
	check_keyframe(&scene, 7, 5);
	end(&scene);
}

static void test_interval_by_default(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	fake_advance(7 * MINUTE_MS);
	push_round(&scene, 1);
	check_frame(&scene, 2, 1, 0);
	fake_advance(8 * MINUTE_MS);
	push_round(&scene, 2);
	check_keyframe(&scene, 3, 2);
	end(&scene);
	begin(&scene);
	scene.job_settings.scrape_interval_ms = 5 * MINUTE_MS;
	fake_advance(90 * MINUTE_MS);
	push_round(&scene, 1);
	check_frame(&scene, 2, 1, 0);
	fake_advance(110 * MINUTE_MS);
	push_round(&scene, 2);
	check_keyframe(&scene, 3, 2);
	end(&scene);
}

static void tell_stream(struct js_stream_info info)
{
	if (info.created[0] == '\0')
		snprintf(info.created, sizeof(info.created), "2026-01-01T00:00:00Z");
	watch->options.on_info(watch->options.arg, &info);
}

static void test_max_age_bounds_the_interval(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	tell_stream((struct js_stream_info){.max_age_ms = 2 * MINUTE_MS, .first_seq = 1});
	fake_advance(61 * SECOND_MS);
	push_round(&scene, 1);
	check_keyframe(&scene, 2, 1);
	end(&scene);
}

/* Where it is not allowed to ask, the stream may well be like those that we make. */
static void test_a_stream_that_tells_nothing(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	scene.settings.poller_stream.stream_max_age_ms = 4 * MINUTE_MS;
	fake_advance(2 * MINUTE_MS + 1);
	push_round(&scene, 1);
	check_keyframe(&scene, 2, 1);
	answer(&scene, 2, PUBLISH_ACKED, NULL);
	turn_loop(&scene);
	/* It has no limit. */
	tell_stream((struct js_stream_info){.first_seq = 1});
	fake_advance(2 * MINUTE_MS + 1);
	push_round(&scene, 2);
	check_frame(&scene, 4, 2, 1);
	end(&scene);
}

/* Where it cannot be renewed, a delta would outlive what it refers to. */
static void test_a_keyframe_that_ages_is_not_referred_to(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	tell_stream((struct js_stream_info){.max_age_ms = 4 * MINUTE_MS, .first_seq = 1});
	fake_advance(2 * MINUTE_MS + 1);
	push_round(&scene, 1);
	check_keyframe(&scene, 2, 1);
	answer(&scene, 2, PUBLISH_REFUSED, "no space");
	turn_loop(&scene);
	check_frame(&scene, 3, 1, 0);
	fake_advance(MINUTE_MS);
	push_round(&scene, 2);
	check_frame(&scene, 4, 2, -1);
	end(&scene);
}

/* It would acknowledge keyframes and forget them: there is nobody who consumes them. */
static void test_a_stream_that_keeps_no_keyframes(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	tell_stream((struct js_stream_info){.first_seq = 1, .is_consumed = true});
	push_round(&scene, 1);
	check_frame(&scene, 2, 1, -1);
	assert_int_equal(publisher->sent_count, 3);
	tell_stream((struct js_stream_info){.first_seq = 1});
	push_round(&scene, 2);
	check_frame(&scene, 3, 2, 0);
	end(&scene);
}

/* What stands for a refused scrape is older than those of its target that wait. */
static void test_a_substitute_does_not_wait(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	push_round(&scene, 1);
	check_frame(&scene, 2, 1, 0);
	fake_advance(15 * MINUTE_MS);
	push_round(&scene, 2);
	check_keyframe(&scene, 3, 2);
	answer(&scene, 2, PUBLISH_REFUSED, "why not");
	turn_loop(&scene);
	assert_int_equal(publisher->sent_count, 5);
	assert_int_equal(number_of(4, "Ps-Time"), TIME_MS + 1);
	assert_int_equal(number_of(4, "Ps-Up"), 0);
	answer(&scene, 3, PUBLISH_ACKED, NULL);
	turn_loop(&scene);
	check_frame(&scene, 5, 2, 2);
	end(&scene);
}

static void test_another_stream_ends_references(void **state)
{
	static const struct {
		const char *name;
		struct js_pub_ack ack;
		bool ends;
	} cases[] = {
		{"next", {.stream = "PROM", .sequence = 100}, false},
		{"stream", {.stream = "OTHER", .sequence = 100}, true},
		{"domain", {.stream = "PROM", .domain = "hub", .sequence = 100}, true},
		{"lower sequence", {.stream = "PROM", .sequence = 0}, true},
		{"stored before", {.stream = "PROM", .sequence = 0, .duplicate = true}, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scene scene;

		begin(&scene);
		push_round(&scene, 1);
		check_frame(&scene, 2, 1, 0);
		publisher->ack = cases[i].ack;
		answer(&scene, 2, PUBLISH_ACKED, NULL);
		push_round(&scene, 2);
		if (cases[i].ends)
			check_keyframe(&scene, 3, 2);
		else
			check_frame(&scene, 3, 2, 0);
		if (made(&scene, "stream_changed") != cases[i].ends)
			fail_msg("%s: %g", cases[i].name, made(&scene, "stream_changed"));
		end(&scene);
	}
}

static void test_what_the_stream_lost(void **state)
{
	static const struct {
		const char *name;
		struct js_stream_info info;
		const char *reason; /* NULL: the keyframe of sequence 1 serves on */
	} cases[] = {
		{"all there", {.first_seq = 1, .last_seq = 1000}, NULL},
		{"empty", {.first_seq = 1, .last_seq = 0}, NULL},
		{"removed", {.first_seq = 2, .last_seq = 1000}, "removed"},
		{"purged", {.first_seq = 1001, .last_seq = 1000}, "removed"},
		{"made anew", {.first_seq = 1, .last_seq = 1000, .created = "later"},
			"stream_changed"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scene scene;

		begin(&scene);
		tell_stream((struct js_stream_info){.first_seq = 1, .last_seq = 1});
		tell_stream(cases[i].info);
		push_round(&scene, 1);
		if (cases[i].reason == NULL)
			check_frame(&scene, 2, 1, 0);
		else
			check_keyframe(&scene, 2, 1);
		if (cases[i].reason != NULL && made(&scene, cases[i].reason) != 1)
			fail_msg("%s: not for \"%s\"", cases[i].name, cases[i].reason);
		end(&scene);
	}
}

/* The stream drops its oldest messages: a keyframe in its older half is renewed in time. */
static void test_renewed_before_it_is_removed(void **state)
{
	struct scene scene;

	(void)state;
	open_deltas(&scene);
	publisher->ack.sequence = 99;
	push_round(&scene, 0);
	answer(&scene, 0, PUBLISH_ACKED, NULL); /* sequence 100 */
	tell_stream((struct js_stream_info){.first_seq = 1, .last_seq = 400});
	push_round(&scene, 1);
	check_frame(&scene, 2, 1, 0);
	tell_stream((struct js_stream_info){.first_seq = 20, .last_seq = 150});
	push_round(&scene, 2);
	check_frame(&scene, 3, 2, 0);
	tell_stream((struct js_stream_info){.first_seq = 50, .last_seq = 450});
	push_round(&scene, 3);
	check_keyframe(&scene, 4, 3);
	assert_true(made(&scene, "soon_removed") == 1);
	end(&scene);
}

static void test_watch_begins_when_ready(void **state)
{
	struct scene scene;

	(void)state;
	open_deltas(&scene);
	assert_int_equal(watch->asked, 0);
	give_room(&scene, 10);
	give_room(&scene, 10);
	assert_int_equal(watch->asked, 1);
	give_room(&scene, 0);
	give_room(&scene, 10);
	assert_int_equal(watch->asked, 2);
	end(&scene);
}

static void push_other(struct scene *scene, unsigned round, unsigned seed)
{
	struct buf text = {0};

	for (unsigned i = 0; i < 300; i++)
		buf_appendf(
			&text, "other_%u %u\n", (i + seed) * 2246822519u, i * 3266489917u * seed);
	push(scene, TIME_MS + round, ENCODING_IDENTITY, buf_slice(&text));
	buf_free(&text);
	turn_loop(scene);
}

/* Texts that have nothing in common: a keyframe does not help, and comes ever more seldom. */
static void test_outgrown(void **state)
{
	struct scene scene;
	int keyframes = 0;

	(void)state;
	begin(&scene);
	scene.settings.queue_bytes = 64 << 20;
	push_other(&scene, 1, 1);
	assert_true(number_of(2, "Ps-Key") == TIME_MS);
	push_other(&scene, 2, 2);
	assert_true(is_keyframe(3));
	for (unsigned round = 3; round < 100; round++) {
		for (int at = 0; at < publisher->sent_count; at++)
			if (publisher->cookies[at] != NULL && is_keyframe(at)) {
				struct scrape *keyframe = publisher->cookies[at];

				if (at < 3)
					continue;
				publisher->cookies[at] = NULL;
				publisher->options.on_done(
					publisher->options.arg, keyframe, PUBLISH_ACKED, NULL, 0);
				publisher->ack.sequence++;
				turn_loop(&scene);
			}
		push_other(&scene, round, round);
	}
	for (int at = 3; at < publisher->sent_count; at++)
		keyframes += is_keyframe(at);
	assert_in_range(keyframes, 4, 9);
	assert_true(made(&scene, "large_delta") == keyframes);
	end(&scene);
}

static void test_failures(void **state)
{
	static const struct {
		enum publish_outcome outcome;
		const char *reason;
	} cases[] = {
		{PUBLISH_REFUSED, "refused"},
		{PUBLISH_DENIED, "denied"},
		{PUBLISH_DUPLICATE, "duplicate"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct scene scene;

		open_deltas(&scene);
		push_round(&scene, 0);
		answer(&scene, 0, cases[i].outcome, "no");
		check_frame(&scene, 1, 0, -1);
		assert_int_equal(fake_log_count("no keyframe: "), 1);
		if (failed(&scene, cases[i].reason) != 1)
			fail_msg("%s is not counted", cases[i].reason);
		push_round(&scene, 1);
		check_frame(&scene, 2, 1, -1);
		fake_advance(14 * MINUTE_MS);
		push_round(&scene, 2);
		check_frame(&scene, 3, 2, -1);
		fake_advance(61 * MINUTE_MS);
		push_round(&scene, 3);
		check_keyframe(&scene, 4, 3);
		assert_true(dropped(&scene, "refused") == 0);
		end(&scene);
	}
}

static void test_too_large(void **state)
{
	struct scene scene;

	(void)state;
	open_deltas(&scene);
	push_round(&scene, 0);
	publisher->max_message_bytes = nats_outgoing_bytes(publisher->sent[0]);
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	check_frame(&scene, 1, 0, 0);
	end(&scene);
	open_deltas(&scene);
	publisher->max_message_bytes = 900;
	push_round(&scene, 0);
	assert_true(failed(&scene, "too_large") == 1);
	assert_int_equal(publisher->sent_count, 1);
	assert_header(0, "Ps-Up: 0\n");
	end(&scene);
}

static void test_small_bodies_go_whole(void **state)
{
	struct scene scene;

	(void)state;
	open_deltas(&scene);
	push_text(&scene, TIME_MS);
	assert_int_equal(publisher->sent_count, 1);
	assert_false(is_keyframe(0));
	assert_header(0, "Content-Encoding: zstd\n");
	end(&scene);
}

static void test_corrupt_bodies_go_as_they_came(void **state)
{
	struct scene scene;
	struct buf noise = {0};

	(void)state;
	open_deltas(&scene);
	append_noise(&noise, 2000);
	push(&scene, TIME_MS, ENCODING_GZIP, buf_slice(&noise));
	assert_int_equal(publisher->sent_count, 1);
	assert_header(0, "Content-Encoding: gzip\n");
	assert_true(slice_eq(buf_slice(&publisher->sent[0]->body), buf_slice(&noise)));
	buf_free(&noise);
	end(&scene);
}

static void test_memory(void **state)
{
	struct scene scene;
	double with_text;

	(void)state;
	begin(&scene);
	push_round(&scene, 1);
	assert_true(plain(&scene, PM_KEYFRAME_MEMORY) > 6000); /* with its text */
	end(&scene);
	/* The keyframe fits, its text does not. */
	open_deltas(&scene);
	scene.settings.keyframe_memory_bytes = 4000;
	push_round(&scene, 0);
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	check_frame(&scene, 1, 0, 0);
	push_round(&scene, 1);
	check_frame(&scene, 2, 1, 0);
	assert_in_range(plain(&scene, PM_KEYFRAME_MEMORY), 1000, 4000);
	end(&scene);
	/* A text that is there gives way to another target's keyframe, in time. */
	begin(&scene);
	with_text = plain(&scene, PM_KEYFRAME_MEMORY);
	scene.settings.keyframe_memory_bytes = (uint64_t)with_text * 4 / 3;
	buf_clear(&scene.target.subject);
	buf_append_str(&scene.target.subject, "prometheus.scrape.dc1.node.web2.0");
	push_round(&scene, 1);
	assert_true(is_keyframe(2));
	assert_true(plain(&scene, PM_KEYFRAME_MEMORY) < with_text);
	end(&scene);
	open_deltas(&scene);
	scene.settings.keyframe_memory_bytes = 1000;
	push_round(&scene, 0);
	check_frame(&scene, 0, 0, -1);
	assert_true(failed(&scene, "no_memory") == 1);
	assert_true(plain(&scene, PM_KEYFRAME_MEMORY) <= 1000);
	end(&scene);
}

/* Targets that are not scraped any more make room for others. */
static void test_memory_of_targets_that_are_gone(void **state)
{
	struct scene scene;
	struct target other;

	(void)state;
	begin(&scene);
	other = scene.target;
	scene.target.subject = (struct buf){0};
	buf_append_str(&scene.target.subject, "prometheus.scrape.dc1.node.web2.0");
	scene.settings.keyframe_memory_bytes = 4000;
	push_round(&scene, 1);
	check_frame(&scene, 2, 1, -1);
	fake_advance(46 * SECOND_MS);
	push_round(&scene, 2);
	check_frame(&scene, 3, 2, -1); /* retried much later */
	fake_advance(15 * MINUTE_MS);
	push_round(&scene, 3);
	assert_true(is_keyframe(4));
	assert_true(plain(&scene, PM_KEYFRAME_TARGETS) == 0);
	buf_free(&other.subject);
	end(&scene);
}

/* Scrapes wait in at most a quarter of queue_bytes. */
static void test_waiting_is_bounded(void **state)
{
	struct scene scene;
	unsigned rounds = 0;

	(void)state;
	open_deltas(&scene);
	scene.settings.queue_bytes = 256 << 10;
	while (publisher->sent_count <= 1 && rounds < 100)
		push_round(&scene, rounds++);
	assert_in_range(rounds, 3, 8); /* 64 kB */
	for (unsigned round = 0; round < rounds; round++)
		check_frame(&scene, 1 + (int)round, round, -1);
	end(&scene);
}

static void test_drain(void **state)
{
	struct scene scene;

	(void)state;
	open_deltas(&scene);
	push_round(&scene, 0);
	outbox_drain(scene.outbox);
	turn_loop(&scene);
	check_frame(&scene, 1, 0, -1);
	push_round(&scene, 1);
	check_frame(&scene, 2, 1, -1);
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	push_round(&scene, 2);
	check_frame(&scene, 3, 2, 0);
	end(&scene);
}

static void test_close_with_all_under_way(void **state)
{
	struct scene scene;
	struct series *lost;

	(void)state;
	open_deltas(&scene);
	lost = metrics_series(scene.metrics, PM_DROPPED, "shutdown");
	push_round(&scene, 0);
	push_round(&scene, 1);
	outbox_close(scene.outbox, on_closed, &scene);
	assert_true(series_value(lost) == 2); /* the keyframe is none */
	for (int i = 0; i < 3; i++)
		fake_advance(0);
	assert_int_equal(scene.closed, 1);
	assert_int_equal(uv_loop_close(&scene.loop), 0);
	buf_free(&scene.target.subject);
	codec_free(scene.codec);
	metrics_free(scene.metrics);
}

/* What waits for long is compressed, though deltas are made of text. */
static void test_a_backlog_is_compressed(void **state)
{
	struct scene scene;
	struct buf text;

	(void)state;
	open_deltas(&scene);
	publisher->room = 0;
	scene.settings.queue_bytes = 4 << 20;
	for (unsigned round = 0; round < 200; round++)
		push_round(&scene, round);
	assert_true(dropped(&scene, "queue_full") == 0);
	text = make_text(0);
	assert_in_range(plain(&scene, PM_QUEUE_BYTES), 1, 200 * text.len * 2 / 3);
	buf_free(&text);
	give_room(&scene, 250);
	check_keyframe(&scene, 0, 0);
	answer(&scene, 0, PUBLISH_ACKED, NULL);
	for (unsigned round = 0; round < 200; round++)
		check_frame(&scene, 1 + (int)round, round, 0);
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first),
		cmocka_unit_test(test_what_a_target_compressed_is_its_keyframe),
		cmocka_unit_test(test_order_is_kept),
		cmocka_unit_test(test_last_message),
		cmocka_unit_test(test_other_settings),
		cmocka_unit_test(test_patience_ends),
		cmocka_unit_test(test_renewal),
		cmocka_unit_test(test_interval_by_default),
		cmocka_unit_test(test_max_age_bounds_the_interval),
		cmocka_unit_test(test_a_stream_that_tells_nothing),
		cmocka_unit_test(test_a_keyframe_that_ages_is_not_referred_to),
		cmocka_unit_test(test_a_stream_that_keeps_no_keyframes),
		cmocka_unit_test(test_a_substitute_does_not_wait),
		cmocka_unit_test(test_another_stream_ends_references),
		cmocka_unit_test(test_what_the_stream_lost),
		cmocka_unit_test(test_renewed_before_it_is_removed),
		cmocka_unit_test(test_watch_begins_when_ready),
		cmocka_unit_test(test_outgrown),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_small_bodies_go_whole),
		cmocka_unit_test(test_corrupt_bodies_go_as_they_came),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_memory_of_targets_that_are_gone),
		cmocka_unit_test(test_waiting_is_bounded),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_close_with_all_under_way),
		cmocka_unit_test(test_a_backlog_is_compressed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
