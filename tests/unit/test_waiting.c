/* SPDX-License-Identifier: Apache-2.0 */
/* Frames that wait for their keyframes: order, what asks for one, what is charged, how it ends. */
#include "receiver/waiting.h"

#include "receiver/newest.h"
#include "receiver/ordered.h"

#include "tests/unit/keyframe_store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define MAX_AGE_MS 80000
#define KEY_A      "p.key.dc1.app.a.0.7"
#define KEY_A2     "p.key.dc1.app.a.0.8"
#define KEY_B      "p.key.dc1.app.b.0.7"

struct setup {
	struct store store;
	struct newest *newest;   /* one of them */
	struct ordered *ordered; /* which takes all */
	struct waiting *waiting;
	struct buf acks, fates; /* "seq ", "seq:fate " */
	int ready;
};

static void on_ready(void *arg)
{
	((struct setup *)arg)->ready++;
}

static void on_target(void *arg, struct target *target)
{
	(void)arg;
	(void)target;
}

static void on_ack(void *arg, struct slice reply, uint64_t arrived_us)
{
	(void)arrived_us;
	buf_appendf(&((struct setup *)arg)->acks, "%.*s ", SLICE_FMT(reply));
}

static void on_fate(void *arg, const struct frame *frame, enum frame_fate fate)
{
	buf_appendf(&((struct setup *)arg)->fates, "%d:%s ", (int)frame->stream_seq,
		frame_fate_name(fate));
}

static void on_clock_reset(void *arg, const struct frame *frame, int64_t step_back_ms)
{
	(void)arg;
	(void)frame;
	(void)step_back_ms;
}

static void open_setup(struct setup *setup, uint64_t max_bytes)
{
	const struct newest_options newest = {
		.limits.max_age_ms = MAX_AGE_MS,
		.limits.max_targets_per_publisher = 2,
		.limits.max_publisher_bytes = max_bytes,
		.on_ready = on_ready,
		.on_silent = on_target,
		.on_forget = on_target,
		.on_ack = on_ack,
		.on_fate = on_fate,
		.on_clock_reset = on_clock_reset,
		.arg = setup,
	};
	struct waiting_options options = {.topic = SLICE("p")};

	*setup = (struct setup){0};
	store_open(&setup->store, 1 << 20);
	options.taker = &newest_taker;
	options.taker_self = setup->newest = newest_new(&newest);
	options.keyframes = setup->store.keyframes;
	setup->waiting = waiting_new(&options);
}

static void on_ordered_target(void *arg, struct ordered_target *target)
{
	(void)arg;
	(void)target;
}

/* What comes out is for a sink that takes all. */
static void open_taking_all(struct setup *setup, uint64_t max_bytes)
{
	const struct ordered_options ordered = {
		.limits.max_targets_per_publisher = 2,
		.limits.max_publisher_bytes = max_bytes,
		.on_ready = on_ready,
		.on_silent = on_ordered_target,
		.on_forget = on_ordered_target,
		.on_ack = on_ack,
		.on_fate = on_fate,
		.on_clock_reset = on_clock_reset,
		.arg = setup,
	};
	struct waiting_options options = {.topic = SLICE("p"), .taker = &ordered_taker};

	*setup = (struct setup){0};
	store_open(&setup->store, 1 << 20);
	options.taker_self = setup->ordered = ordered_new(&ordered);
	options.keyframes = setup->store.keyframes;
	setup->waiting = waiting_new(&options);
}

static void finish(struct setup *setup)
{
	waiting_free(setup->waiting);
	newest_free(setup->newest);
	ordered_free(setup->ordered);
	store_close(&setup->store);
	buf_free(&setup->acks);
	buf_free(&setup->fates);
}

struct spec {
	const char *instance;
	uint64_t seq;
	int64_t key_ms; /* 0: whole */
	int64_t age_ms;
	bool is_down;
};

static void offer(struct setup *setup, struct spec spec)
{
	struct frame *frame = xcalloc(1, sizeof(*frame));

	buf_appendf(&frame->own_subject, "p.scrape.dc1.app.%s.0", spec.instance);
	frame->subject = buf_slice(&frame->own_subject);
	frame->publisher = SLICE("dc1");
	frame->job = SLICE("app");
	frame->instance = slice_from(spec.instance);
	frame->scrape.time_ms = clock_wall_ms() - spec.age_ms + (int64_t)spec.seq;
	frame->scrape.interval_ms = 15000;
	frame->scrape.up = !spec.is_down;
	frame->scrape.encoding = spec.key_ms == 0 ? ENCODING_IDENTITY : ENCODING_ZSTD_DELTA;
	frame->scrape.key_time_ms = spec.key_ms;
	frame->age_from_ms = frame->scrape.time_ms;
	frame->generation = 1;
	frame->stream_seq = spec.seq;
	buf_appendf(&frame->reply, "%d", (int)spec.seq);
	waiting_offer(setup->waiting, frame);
}

static void offer_plain(struct setup *setup, const char *instance, uint64_t seq, int64_t key_ms)
{
	offer(setup, (struct spec){.instance = instance, .seq = seq, .key_ms = key_ms});
}

/* The sink takes what is ready; what it got: "seq " or "seq:key " where a keyframe came with it. */
static void deliver(struct setup *setup, struct buf *got)
{
	struct target *target;

	while ((target = newest_begin(setup->newest, clock_wall_ms())) != NULL) {
		buf_appendf(got, "%d%s ", (int)target->in_flight->stream_seq,
			target->in_flight->keyframe != NULL ? ":key" : "");
		newest_end(setup->newest, target, NEWEST_DELIVERED, clock_wall_ms());
	}
}

#define expect_text(buf, expected)                                                                 \
	assert_string_equal((buf)->len > 0 ? buf_cstr(buf) : "", expected)

static void expect_delivered(struct setup *setup, const char *expected)
{
	struct buf got = {0};

	deliver(setup, &got);
	expect_text(&got, expected);
	buf_free(&got);
}

static void test_waits_and_goes_on(void **state)
{
	struct setup setup;

	(void)state;
	open_setup(&setup, UINT64_MAX);
	offer_plain(&setup, "a", 1, 7);
	expect_delivered(&setup, "");
	assert_int_equal(waiting_count(setup.waiting), 1);
	assert_true(newest_held_bytes(setup.newest) > 0);
	assert_true(store_answer(KEY_A, "body\n"));
	assert_int_equal(waiting_count(setup.waiting), 0);
	expect_delivered(&setup, "1:key ");
	/* It is there now. */
	offer_plain(&setup, "a", 2, 7);
	expect_delivered(&setup, "2:key ");
	expect_text(&setup.acks, "1 2 ");
	finish(&setup);
}

/* A later one of the same target does not overtake, even if it needs nothing; others do. */
static void test_order(void **state)
{
	struct setup setup;

	(void)state;
	open_setup(&setup, UINT64_MAX);
	offer_plain(&setup, "a", 1, 7);
	offer_plain(&setup, "a", 2, 8);
	offer_plain(&setup, "a", 3, 7);
	offer_plain(&setup, "a", 4, 0);
	offer_plain(&setup, "b", 5, 0);
	assert_int_equal(fake_outstanding(NULL), 1);
	expect_delivered(&setup, "5 ");
	assert_true(store_answer(KEY_A, "body\n"));
	expect_delivered(&setup, "1:key ");
	assert_int_equal(waiting_count(setup.waiting), 3);
	assert_true(store_miss(KEY_A2));
	expect_delivered(&setup, "4 ");
	expect_text(&setup.fates,
		"5:delivered 1:delivered 2:keyframe_missing 3:superseded 4:delivered ");
	expect_text(&setup.acks, "5 1 2 3 4 ");
	finish(&setup);
}

static void test_what_asks_for_nothing(void **state)
{
	struct setup setup;

	(void)state;
	open_setup(&setup, UINT64_MAX);
	offer(&setup, (struct spec){"a", 1, 7, .age_ms = MAX_AGE_MS + 1000});
	offer(&setup, (struct spec){"a", 2, 7, .is_down = true});
	expect_delivered(&setup, "2 ");
	offer_plain(&setup, "a", 1, 7);
	offer(&setup, (struct spec){"a", 3, 7, .age_ms = 10000});
	offer_plain(&setup, "b", 4, 0);
	offer_plain(&setup, "c", 5, 7);
	assert_int_equal(fake_outstanding(NULL), 0);
	expect_delivered(&setup, "4 ");
	expect_text(&setup.fates, "1:stale 2:delivered 1:redelivered 3:out_of_order 5:over_limit "
				  "4:delivered ");
	expect_text(&setup.acks, "1 2 1 3 5 4 ");
	finish(&setup);
}

static const struct {
	const char *name;
	enum nats_reply outcome;
	int times;
	const char *fate;
} endings[] = {
	{"refused", NATS_REPLY_DENIED, 1, "keyframe_denied"},
	{"no answer", NATS_REPLY_TIMEOUT, 3, "keyframe_failed"},
};

static void test_endings(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		struct setup setup;
		char *expected = xasprintf("1:%s 2:%s ", endings[i].fate, endings[i].fate);

		print_message("%s\n", endings[i].name);
		open_setup(&setup, UINT64_MAX);
		offer_plain(&setup, "a", 1, 7);
		offer_plain(&setup, "a", 2, 7);
		(void)store_end(KEY_A, endings[i].outcome);
		for (int k = 0; k < endings[i].times; k++)
			(void)fake_end("$JS.API.STREAM.MSG.GET.S", endings[i].outcome, "");
		expect_text(&setup.fates, expected);
		expect_text(&setup.acks, "1 2 ");
		assert_int_equal(waiting_count(setup.waiting), 0);
		/* Of two frames, either of which costs more: that there is such a target. */
		assert_int_equal(newest_target_count(setup.newest), 1);
		assert_in_range(newest_held_bytes(setup.newest), 1, 511);
		free(expected);
		finish(&setup);
	}
}

static void test_bounded(void **state)
{
	struct setup setup;
	struct buf fates = {0};

	(void)state;
	open_setup(&setup, 20000);
	for (uint64_t seq = 1; seq <= 100; seq++)
		offer_plain(&setup, "a", seq, 7);
	assert_true(newest_held_bytes(setup.newest) <= 20000);
	assert_in_range(waiting_count(setup.waiting), 5, 50);
	for (uint64_t seq = waiting_count(setup.waiting) + 1; seq <= 100; seq++)
		buf_appendf(&fates, "%d:over_bytes ", (int)seq);
	expect_text(&setup.fates, buf_cstr(&fates));
	assert_true(store_answer(KEY_A, "body\n"));
	assert_int_equal(waiting_count(setup.waiting), 0);
	buf_free(&fates);
	finish(&setup);
}

/* As deliver, of the other. */
static void expect_all(struct setup *setup, const char *expected)
{
	struct buf got = {0};
	struct frame *frame;

	while ((frame = ordered_next(setup->ordered, clock_wall_ms())) != NULL) {
		buf_appendf(&got, "%d%s ", (int)frame->stream_seq,
			frame->keyframe != NULL ? ":key" : "");
		ordered_end(setup->ordered, frame, ORDERED_TAKEN);
	}
	expect_text(&got, expected);
	buf_free(&got);
}

static void test_all_wait_beyond_their_share(void **state)
{
	struct setup setup;

	(void)state;
	open_taking_all(&setup, 20000);
	for (uint64_t seq = 1; seq <= 100; seq++)
		offer_plain(&setup, "a", seq, 7);
	assert_int_equal(waiting_count(setup.waiting), 100);
	assert_true(ordered_is_full(setup.ordered));
	expect_text(&setup.fates, "");
	assert_true(store_answer(KEY_A, "body\n"));
	assert_int_equal(waiting_count(setup.waiting), 0);
	assert_int_equal(ordered_waiting_count(setup.ordered), 100);
	finish(&setup);
}

/* While keyframes cannot be had, frames wait; when that is over, all come in order. */
static void test_all_wait_for_keyframes_that_cannot_be_asked_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		struct setup setup;

		print_message("%s\n", endings[i].name);
		open_taking_all(&setup, UINT64_MAX);
		offer_plain(&setup, "a", 1, 7);
		offer_plain(&setup, "a", 2, 0);
		(void)store_end(KEY_A, endings[i].outcome);
		for (int k = 0; k < endings[i].times; k++)
			(void)fake_end("$JS.API.STREAM.MSG.GET.S", endings[i].outcome, "");
		waiting_sweep(setup.waiting);
		offer_plain(&setup, "a", 3, 7);
		assert_int_equal(waiting_count(setup.waiting), 3);
		expect_all(&setup, "");
		fake_down("gone");
		fake_up();
		fake_advance(3600 * 1000);
		waiting_sweep(setup.waiting);
		assert_true(store_answer(KEY_A, "body\n"));
		assert_int_equal(waiting_count(setup.waiting), 0);
		expect_all(&setup, "1:key 2 3:key ");
		expect_text(&setup.fates, "1:delivered 2:delivered 3:delivered ");
		expect_text(&setup.acks, "1 2 3 ");
		finish(&setup);
	}
}

/* What the stream has not got will not come: the order goes on, without the body. */
static void test_a_keyframe_that_is_missing_is_not_waited_for(void **state)
{
	struct setup setup;

	(void)state;
	open_taking_all(&setup, UINT64_MAX);
	offer_plain(&setup, "a", 1, 7);
	offer_plain(&setup, "a", 2, 0);
	assert_true(store_miss(KEY_A));
	expect_all(&setup, "1 2 ");
	expect_text(&setup.fates, "1:keyframe_missing 2:delivered ");
	finish(&setup);
}

static void count_visit(void *arg, struct slice reply)
{
	buf_appendf(arg, "%.*s ", SLICE_FMT(reply));
}

static void test_given_back(void **state)
{
	struct setup setup;
	struct buf given = {0};

	(void)state;
	open_setup(&setup, UINT64_MAX);
	offer_plain(&setup, "a", 1, 7);
	offer_plain(&setup, "a", 2, 0);
	offer_plain(&setup, "b", 3, 7);
	waiting_each_unacked(setup.waiting, UINT64_MAX, count_visit, &given);
	expect_text(&given, "1 2 3 ");
	waiting_free(setup.waiting);
	setup.waiting = NULL;
	assert_int_equal(newest_held_bytes(setup.newest), 0);
	/* The one asked for comes for nobody. */
	assert_true(store_answer(KEY_A, "body\n"));
	expect_text(&setup.acks, "");
	buf_free(&given);
	finish(&setup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waits_and_goes_on),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_what_asks_for_nothing),
		cmocka_unit_test(test_endings),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_all_wait_beyond_their_share),
		cmocka_unit_test(test_all_wait_for_keyframes_that_cannot_be_asked_for),
		cmocka_unit_test(test_a_keyframe_that_is_missing_is_not_waited_for),
		cmocka_unit_test(test_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
