/* SPDX-License-Identifier: Apache-2.0 */
/* Every scrape in order: what comes in, what goes out, and when acknowledgements leave. */
#include "receiver/ordered.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW_MS      INT64_C(1700000000000)
#define INTERVAL_MS 15000
#define MAX_AGE_MS  INT64_C(80000)

struct record {
	struct ordered *ordered;
	struct buf acks;  /* replies in order, each followed by a space */
	struct buf fates; /* "seq:fate " */
	int ready, silent, forgotten, resets;
	bool keeps_silent; /* on_silent forgets nothing */
};

static void on_ready(void *arg)
{
	((struct record *)arg)->ready++;
}

static void on_silent(void *arg, struct ordered_target *target)
{
	struct record *record = arg;

	record->silent++;
	if (!record->keeps_silent)
		ordered_forget(record->ordered, target);
}

static void on_forget(void *arg, struct ordered_target *target)
{
	(void)target;
	((struct record *)arg)->forgotten++;
}

static void on_ack(void *arg, struct slice reply, uint64_t arrived_us)
{
	assert_true(reply.len > 0);
	assert_true(arrived_us > 0);
	buf_appendf(&((struct record *)arg)->acks, "%.*s ", SLICE_FMT(reply));
}

static void on_fate(void *arg, const struct frame *frame, enum frame_fate fate)
{
	buf_appendf(&((struct record *)arg)->fates, "%d:%s ", (int)frame->stream_seq,
		frame_fate_name(fate));
}

static void on_clock_reset(void *arg, const struct frame *frame, int64_t step_back_ms)
{
	(void)frame;
	assert_true(step_back_ms > 0);
	((struct record *)arg)->resets++;
}

static const struct ordered_limits no_limits = {
	.max_targets_per_publisher = 1000,
	.max_publisher_bytes = UINT64_MAX,
};

static void open_record(struct record *record, struct ordered_limits limits)
{
	const struct ordered_options options = {
		.limits = limits,
		.on_ready = on_ready,
		.on_silent = on_silent,
		.on_forget = on_forget,
		.on_ack = on_ack,
		.on_fate = on_fate,
		.on_clock_reset = on_clock_reset,
		.arg = record,
	};

	*record = (struct record){.ordered = ordered_new(&options)};
}

static void close_record(struct record *record)
{
	ordered_free(record->ordered);
	buf_free(&record->acks);
	buf_free(&record->fates);
}

struct spec {
	uint64_t seq;
	const char *instance; /* NULL: "a" */
	int64_t time_ms;      /* relative to NOW_MS */
	uint64_t generation;
	int64_t stored_ms;     /* relative to NOW_MS */
	const char *reply;     /* NULL: the sequence */
	const char *publisher; /* NULL: dc1 */
	size_t body_bytes;
};

static struct frame *make_frame(struct spec spec)
{
	struct frame *frame = xcalloc(1, sizeof(*frame));

	frame->publisher = slice_from(spec.publisher != NULL ? spec.publisher : "dc1");
	frame->instance = slice_from(spec.instance != NULL ? spec.instance : "a");
	frame->job = SLICE("node");
	buf_appendf(&frame->own_subject, "p.scrape.%.*s.node.%.*s.0", SLICE_FMT(frame->publisher),
		SLICE_FMT(frame->instance));
	frame->subject = buf_slice(&frame->own_subject);
	frame->body.len = spec.body_bytes; /* nobody reads it */
	frame->scrape.time_ms = NOW_MS + spec.time_ms;
	frame->scrape.interval_ms = INTERVAL_MS;
	frame->scrape.up = true;
	frame->age_from_ms = frame->scrape.time_ms;
	frame->generation = spec.generation;
	frame->arrived_us = spec.seq;
	frame->stream_seq = spec.seq;
	frame->stored_ms = NOW_MS + (spec.stored_ms != 0 ? spec.stored_ms : (int64_t)spec.seq);
	if (spec.reply != NULL)
		buf_append_str(&frame->reply, spec.reply);
	else
		buf_appendf(&frame->reply, "%d", (int)spec.seq);
	return frame;
}

static void offer(struct record *record, struct spec spec)
{
	ordered_offer(record->ordered, make_frame(spec), NOW_MS);
}

#define OFFER(record, ...) offer((record), (struct spec){__VA_ARGS__})

/* The next frame is that one. */
static struct frame *next(struct record *record, uint64_t seq)
{
	struct frame *frame = ordered_next(record->ordered, NOW_MS);

	if (seq == 0) {
		assert_null(frame);
		return NULL;
	}
	assert_non_null(frame);
	assert_int_equal(frame->stream_seq, seq);
	assert_non_null(frame->target);
	return frame;
}

static void take(struct record *record, struct frame *frame)
{
	ordered_end(record->ordered, frame, ORDERED_TAKEN);
}

static void expect(struct record *record, const char *fates, const char *acks)
{
	assert_string_equal(buf_cstr(&record->fates), fates);
	assert_string_equal(buf_cstr(&record->acks), acks);
	buf_clear(&record->fates);
	buf_clear(&record->acks);
}

static void test_every_scrape_comes_in_order(void **state)
{
	struct record record;

	(void)state;
	open_record(&record, no_limits);
	for (uint64_t seq = 1; seq <= 3; seq++)
		OFFER(&record, .seq = seq, .time_ms = (int64_t)seq);
	assert_int_equal(record.ready, 3);
	assert_int_equal(ordered_waiting_count(record.ordered), 3);
	for (uint64_t seq = 1; seq <= 3; seq++)
		take(&record, next(&record, seq));
	next(&record, 0);
	expect(&record, "1:delivered 2:delivered 3:delivered ", "1 2 3 ");
	assert_int_equal(ordered_waiting_count(record.ordered), 0);
	assert_int_equal(ordered_waiting_bytes(record.ordered), 0);
	close_record(&record);
}

static void test_acks_leave_in_order_whatever_ends_first(void **state)
{
	struct record record;
	struct frame *frames[3];

	(void)state;
	open_record(&record, no_limits);
	for (uint64_t seq = 1; seq <= 4; seq++)
		OFFER(&record, .seq = seq, .time_ms = (int64_t)seq);
	for (uint64_t seq = 1; seq <= 3; seq++)
		frames[seq - 1] = next(&record, seq);
	take(&record, frames[2]);
	expect(&record, "3:delivered ", "");
	ordered_end(record.ordered, frames[0], ORDERED_REFUSED);
	expect(&record, "1:refused ", "1 ");
	take(&record, frames[1]);
	expect(&record, "2:delivered ", "2 3 ");
	take(&record, next(&record, 4));
	expect(&record, "4:delivered ", "4 ");
	close_record(&record);
}

static void test_a_redelivery_lends_its_reply(void **state)
{
	static const struct {
		const char *name;
		bool is_begun, is_ended; /* of the second */
		uint64_t generation;     /* of the redelivery */
	} cases[] = {
		{"while it waits", false, false, 0},
		{"while it is in flight", true, false, 0},
		{"while its ack is held back", true, true, 0},
		{"while it waits, by a durable made anew", false, false, 1},
		{"while it is in flight, by a durable made anew", true, false, 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct record record;
		struct frame *first, *second = NULL;

		print_message("%s\n", cases[i].name);
		open_record(&record, no_limits);
		OFFER(&record, .seq = 1, .time_ms = 1);
		OFFER(&record, .seq = 2, .time_ms = 2);
		first = next(&record, 1);
		if (cases[i].is_begun)
			second = next(&record, 2);
		if (cases[i].is_ended)
			take(&record, second);
		buf_clear(&record.fates);
		OFFER(&record, .seq = 2, .time_ms = 2, .generation = cases[i].generation,
			.reply = "again");
		expect(&record, "2:redelivered ", "");
		take(&record, first);
		if (!cases[i].is_begun)
			second = next(&record, 2);
		if (!cases[i].is_ended)
			take(&record, second);
		assert_string_equal(buf_cstr(&record.acks), "1 again ");
		next(&record, 0);
		close_record(&record);
	}
}

static void test_what_was_taken_before(void **state)
{
	struct record record;

	(void)state;
	open_record(&record, no_limits);
	for (uint64_t seq = 10; seq <= 110; seq += 2) {
		OFFER(&record, .seq = seq, .time_ms = (int64_t)seq);
		take(&record, next(&record, seq));
	}
	buf_clear(&record.fates);
	buf_clear(&record.acks);
	/* One of the last, one before them, and one by a durable made anew. */
	OFFER(&record, .seq = 104, .time_ms = 104);
	OFFER(&record, .seq = 11, .time_ms = 11);
	OFFER(&record, .seq = 110, .time_ms = 110, .generation = 1);
	expect(&record, "104:redelivered 11:redelivered 110:redelivered ", "104 11 110 ");
	next(&record, 0);
	close_record(&record);
}

static void test_what_was_lost_on_its_way_is_taken_late(void **state)
{
	struct record record;
	struct frame *last;

	(void)state;
	open_record(&record, no_limits);
	OFFER(&record, .seq = 10, .time_ms = 10);
	take(&record, next(&record, 10));
	OFFER(&record, .seq = 13, .time_ms = 13);
	OFFER(&record, .seq = 14, .time_ms = 14);
	last = next(&record, 13);
	/* In its place before what still waits; its ack goes before those of later ones. */
	OFFER(&record, .seq = 12, .time_ms = 12);
	buf_clear(&record.fates);
	buf_clear(&record.acks);
	take(&record, last);
	expect(&record, "13:delivered ", "");
	take(&record, next(&record, 12));
	take(&record, next(&record, 14));
	expect(&record, "12:delivered 14:delivered ", "12 13 14 ");
	OFFER(&record, .seq = 12, .time_ms = 12);
	expect(&record, "12:redelivered ", "12 ");
	assert_int_equal(record.resets, 0);
	close_record(&record);
}

/* It comes again after ack_wait, when a target that is scraped each second has had many since. */
static void test_what_was_lost_long_ago_is_taken_late(void **state)
{
	struct record record;

	(void)state;
	open_record(&record, no_limits);
	for (uint64_t seq = 1; seq <= 40; seq++) {
		if (seq == 20)
			continue;
		OFFER(&record, .seq = seq, .time_ms = (int64_t)seq);
		take(&record, next(&record, seq));
	}
	buf_clear(&record.fates);
	buf_clear(&record.acks);
	OFFER(&record, .seq = 20, .time_ms = 20);
	expect(&record, "", "");
	take(&record, next(&record, 20));
	expect(&record, "20:delivered ", "20 ");
	close_record(&record);
}

static void test_late_and_reset_are_told_apart(void **state)
{
	struct record record;

	(void)state;
	open_record(&record, no_limits);
	OFFER(&record, .seq = 1, .time_ms = 0);
	OFFER(&record, .seq = 2, .time_ms = -2 * INTERVAL_MS);
	expect(&record, "2:out_of_order ", "");
	assert_int_equal(record.resets, 0);
	OFFER(&record, .seq = 3, .time_ms = -2 * INTERVAL_MS - 1);
	assert_int_equal(record.resets, 1);
	take(&record, next(&record, 1));
	take(&record, next(&record, 3));
	expect(&record, "1:delivered 3:delivered ", "1 2 3 ");
	close_record(&record);
}

static void test_age_is_the_sinks(void **state)
{
	struct record record;
	struct ordered_limits limits = no_limits;

	(void)state;
	open_record(&record, limits);
	OFFER(&record, .seq = 1, .time_ms = -1000 * MAX_AGE_MS);
	limits.max_age_ms = MAX_AGE_MS;
	ordered_set_limits(record.ordered, &limits);
	next(&record, 0);
	OFFER(&record, .seq = 2, .time_ms = -MAX_AGE_MS);
	OFFER(&record, .seq = 3, .time_ms = 0);
	OFFER(&record, .seq = 4, .instance = "b", .time_ms = -MAX_AGE_MS - 1);
	assert_int_equal(ordered_target_count(record.ordered), 1);
	expect(&record, "1:stale 4:stale ", "1 4 ");
	ordered_sweep(record.ordered, NOW_MS + 1, 0);
	expect(&record, "2:stale ", "2 ");
	take(&record, next(&record, 3));
	expect(&record, "3:delivered ", "3 ");
	close_record(&record);
}

static void test_what_lacks_its_keyframe_is_taken_as_down(void **state)
{
	struct record record;
	struct frame *frame;

	(void)state;
	open_record(&record, no_limits);
	OFFER(&record, .seq = 1, .time_ms = 1);
	ordered_drop(record.ordered, make_frame((struct spec){.seq = 2, .time_ms = 2}),
		FATE_KEYFRAME_MISSING, NOW_MS);
	OFFER(&record, .seq = 3, .time_ms = 3);
	take(&record, next(&record, 1));
	frame = next(&record, 2);
	assert_false(frame->scrape.up);
	assert_string_equal(frame->scrape.error, "the stream lacks the scrape's keyframe");
	take(&record, frame);
	take(&record, next(&record, 3));
	expect(&record, "1:delivered 2:keyframe_missing 3:delivered ", "1 2 3 ");
	close_record(&record);
}

static void test_targets_are_limited(void **state)
{
	struct record record;
	struct ordered_limits limits = no_limits;

	(void)state;
	limits.max_targets_per_publisher = 1;
	open_record(&record, limits);
	OFFER(&record, .seq = 1, .instance = "a");
	OFFER(&record, .seq = 2, .instance = "b");
	OFFER(&record, .seq = 3, .instance = "b", .publisher = "dc2");
	expect(&record, "2:over_limit ", "2 ");
	assert_int_equal(ordered_target_count(record.ordered), 2);
	close_record(&record);
}

static bool is_wanted(struct record *record, struct spec spec)
{
	struct frame *frame = make_frame(spec);
	bool result = ordered_wants(record->ordered, frame, NOW_MS);

	frame_free(frame);
	return result;
}

#define WANTS(record, ...) is_wanted((record), (struct spec){__VA_ARGS__})

static void test_what_is_wanted(void **state)
{
	struct record record;
	struct ordered_limits limits = no_limits;

	(void)state;
	limits.max_targets_per_publisher = 1;
	limits.max_age_ms = MAX_AGE_MS;
	open_record(&record, limits);
	assert_true(WANTS(&record, .seq = 1));
	assert_false(WANTS(&record, .seq = 1, .time_ms = -MAX_AGE_MS - 1));
	OFFER(&record, .seq = 1);
	assert_false(WANTS(&record, .seq = 1));
	assert_true(WANTS(&record, .seq = 2, .time_ms = 1));
	assert_false(WANTS(&record, .seq = 2, .time_ms = -1));
	assert_false(WANTS(&record, .seq = 2, .instance = "b"));
	assert_true(WANTS(&record, .seq = 2, .publisher = "dc2"));
	close_record(&record);
}

static void test_nothing_is_dropped_for_lack_of_room(void **state)
{
	struct record record;
	struct ordered_limits limits = no_limits;

	(void)state;
	limits.max_publisher_bytes = 10000;
	open_record(&record, limits);
	assert_false(ordered_is_full(record.ordered));
	for (uint64_t seq = 1; seq <= 3; seq++)
		OFFER(&record, .seq = seq, .time_ms = (int64_t)seq, .body_bytes = 6000);
	OFFER(&record, .seq = 4, .publisher = "dc2", .body_bytes = 6000);
	assert_true(ordered_is_full(record.ordered));
	assert_true(ordered_is_full_for(record.ordered, SLICE("dc1")));
	assert_false(ordered_is_full_for(record.ordered, SLICE("dc2")));
	assert_false(ordered_is_full_for(record.ordered, SLICE("dc3")));
	take(&record, next(&record, 1));
	take(&record, next(&record, 4));
	assert_true(ordered_is_full(record.ordered));
	take(&record, next(&record, 2));
	assert_false(ordered_is_full(record.ordered));
	/* What the sink holds may be more than there is room for: waiting would not help. */
	ordered_hold(record.ordered, next(&record, 3)->target, 20000);
	assert_true(ordered_is_full(record.ordered));
	close_record(&record);
}

static void test_the_sinks_own_bytes_alone_stop_nothing(void **state)
{
	struct record record;
	struct ordered_limits limits = no_limits;
	struct frame *frame;

	(void)state;
	limits.max_publisher_bytes = 10000;
	open_record(&record, limits);
	OFFER(&record, .seq = 1);
	frame = next(&record, 1);
	ordered_hold(record.ordered, frame->target, 20000);
	assert_true(ordered_is_full(record.ordered));
	take(&record, frame);
	assert_false(ordered_is_full(record.ordered));
	assert_true(ordered_held_bytes(record.ordered) > 20000);
	limits.max_publisher_bytes = 100000;
	OFFER(&record, .seq = 2, .time_ms = 1);
	assert_true(ordered_is_full(record.ordered));
	ordered_set_limits(record.ordered, &limits);
	assert_false(ordered_is_full(record.ordered));
	close_record(&record);
}

static void test_publishers_and_their_targets_take_turns(void **state)
{
	static const uint64_t expected[] = {1, 7, 3, 8, 2, 4, 5, 6};
	struct record record;

	(void)state;
	open_record(&record, no_limits);
	OFFER(&record, .seq = 1, .instance = "a", .time_ms = 1);
	OFFER(&record, .seq = 2, .instance = "a", .time_ms = 2);
	OFFER(&record, .seq = 3, .instance = "b", .time_ms = 3);
	OFFER(&record, .seq = 4, .instance = "b", .time_ms = 4);
	OFFER(&record, .seq = 5, .instance = "a", .time_ms = 5);
	OFFER(&record, .seq = 6, .instance = "a", .time_ms = 6);
	OFFER(&record, .seq = 7, .publisher = "dc2", .time_ms = 7);
	OFFER(&record, .seq = 8, .publisher = "dc2", .time_ms = 8);
	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		take(&record, next(&record, expected[i]));
	next(&record, 0);
	close_record(&record);
}

static void test_a_publisher_has_so_many_in_flight(void **state)
{
	struct record record;
	struct ordered_limits limits = no_limits;
	struct frame *first;

	(void)state;
	limits.max_publisher_in_flight = 2;
	open_record(&record, limits);
	for (uint64_t seq = 1; seq <= 3; seq++)
		OFFER(&record, .seq = seq, .time_ms = (int64_t)seq);
	OFFER(&record, .seq = 4, .publisher = "dc2");
	first = next(&record, 1);
	next(&record, 4);
	next(&record, 2);
	next(&record, 0);
	take(&record, first);
	next(&record, 3);
	close_record(&record);
}

static void test_silence(void **state)
{
	const int64_t bound_ms = INTERVAL_MS * 21 / 10, late_ms = NOW_MS + bound_ms + 1;
	static const struct ordered_limits limits = {.max_age_ms = 1000,
		.max_targets_per_publisher = 10,
		.max_publisher_bytes = UINT64_MAX};
	struct record record;
	struct frame *frame;

	(void)state;
	open_record(&record, limits);
	record.keeps_silent = true;
	OFFER(&record, .seq = 1);
	frame = next(&record, 1);
	ordered_sweep(record.ordered, late_ms, 1);
	assert_int_equal(record.silent, 0); /* it is in flight */
	take(&record, frame);
	ordered_sweep(record.ordered, late_ms, 0);
	ordered_sweep(record.ordered, late_ms, NOW_MS + 1);
	ordered_sweep(record.ordered, NOW_MS + bound_ms, 1);
	assert_int_equal(record.silent, 0);
	ordered_sweep(record.ordered, late_ms, 1);
	ordered_sweep(record.ordered, late_ms + 1, 1);
	assert_int_equal(record.silent, 1);
	OFFER(&record, .seq = 2, .time_ms = 1);
	take(&record, next(&record, 2));
	record.keeps_silent = false;
	ordered_sweep(record.ordered, late_ms + 1, 1);
	assert_int_equal(record.silent, 2);
	assert_int_equal(record.forgotten, 1);
	assert_int_equal(ordered_target_count(record.ordered), 0);
	assert_int_equal(ordered_held_bytes(record.ordered), 0);
	close_record(&record);
}

static void test_a_target_with_frames_is_not_forgotten(void **state)
{
	struct record record;
	struct frame *frame;
	struct ordered_target *target;

	(void)state;
	open_record(&record, no_limits);
	OFFER(&record, .seq = 1);
	frame = next(&record, 1);
	target = frame->target;
	ordered_forget(record.ordered, target);
	assert_int_equal(record.forgotten, 0);
	take(&record, frame);
	ordered_forget(record.ordered, target);
	assert_int_equal(record.forgotten, 1);
	close_record(&record);
}

static void visit(void *arg, struct slice reply)
{
	buf_appendf(arg, "%.*s ", SLICE_FMT(reply));
}

static void test_what_is_given_back_and_what_is_kept_alive(void **state)
{
	struct record record;
	struct buf seen = {0};

	(void)state;
	open_record(&record, no_limits);
	for (uint64_t seq = 1; seq <= 4; seq++)
		OFFER(&record, .seq = seq, .time_ms = (int64_t)seq);
	next(&record, 1);
	take(&record, next(&record, 2));
	next(&record, 3);
	ordered_each_unacked(record.ordered, visit, &seen);
	assert_string_equal(buf_cstr(&seen), "1 3 4 ");
	buf_clear(&seen);
	ordered_each_held(record.ordered, UINT64_MAX, visit, &seen);
	assert_string_equal(buf_cstr(&seen), "1 3 4 2 ");
	buf_clear(&seen);
	ordered_each_held(record.ordered, 3, visit, &seen);
	assert_string_equal(buf_cstr(&seen), "1 2 ");
	buf_free(&seen);
	close_record(&record);
}

/*
 * Whatever the interleaving of deliveries, redeliveries, losses on the way and ends: every message
 * is taken once, those of one target in order unless they were lost on their way, and acks leave in
 * stream order for each target.
 */

#define PROPERTY_MESSAGES 200
#define PROPERTY_TARGETS  3

struct world {
	struct record record;
	uint64_t random;
	struct frame *in_flight[PROPERTY_MESSAGES];
	size_t in_flight_count;
	int taken[PROPERTY_MESSAGES + 1];
	bool is_delivered[PROPERTY_MESSAGES + 1];
	uint64_t next_seq;
};

static uint64_t roll(struct world *world, uint64_t sides)
{
	world->random = world->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (world->random >> 33) % sides;
}

static void bring(struct world *world, uint64_t seq)
{
	static const char *const instances[PROPERTY_TARGETS] = {"a", "b", "c"};

	offer(&world->record, (struct spec){.seq = seq,
				      .instance = instances[seq % PROPERTY_TARGETS],
				      .time_ms = (int64_t)seq});
	world->is_delivered[seq] = true;
}

static void begin_one(struct world *world, uint64_t *last)
{
	struct frame *frame = ordered_next(world->record.ordered, NOW_MS);

	if (frame == NULL)
		return;
	assert_true(frame->stream_seq > last[frame->stream_seq % PROPERTY_TARGETS]);
	last[frame->stream_seq % PROPERTY_TARGETS] = frame->stream_seq;
	world->in_flight[world->in_flight_count++] = frame;
}

static void end_one(struct world *world)
{
	size_t i;

	if (world->in_flight_count == 0)
		return;
	i = roll(world, world->in_flight_count);
	world->taken[world->in_flight[i]->stream_seq]++;
	take(&world->record, world->in_flight[i]);
	world->in_flight[i] = world->in_flight[--world->in_flight_count];
}

static void check_acks(struct world *world)
{
	const char *text = buf_cstr(&world->record.acks);
	uint64_t last[PROPERTY_TARGETS] = {0}, seq;
	int len;

	bool is_acked[PROPERTY_MESSAGES + 1] = {false};

	for (; sscanf(text, "%" SCNu64 " %n", &seq, &len) == 1; text += len) {
		/* That of one delivered again follows later ones. */
		assert_true(is_acked[seq] || seq > last[seq % PROPERTY_TARGETS]);
		if (!is_acked[seq])
			last[seq % PROPERTY_TARGETS] = seq;
		is_acked[seq] = true;
	}
	for (seq = 1; seq <= PROPERTY_MESSAGES; seq++)
		assert_true(is_acked[seq]);
}

static void run_world(uint64_t seed)
{
	struct world world = {.random = seed, .next_seq = 1};
	uint64_t last[PROPERTY_TARGETS] = {0};

	open_record(&world.record, no_limits);
	while (world.next_seq <= PROPERTY_MESSAGES || world.in_flight_count > 0 ||
		ordered_waiting_count(world.record.ordered) > 0) {
		uint64_t what = roll(&world, 8);

		if (what < 2 && world.next_seq <= PROPERTY_MESSAGES)
			bring(&world, world.next_seq++);
		else if (what == 2 && world.next_seq > 1)
			bring(&world, 1 + roll(&world, world.next_seq - 1));
		else if (what < 6)
			begin_one(&world, last);
		else
			end_one(&world);
	}
	for (uint64_t seq = 1; seq <= PROPERTY_MESSAGES; seq++)
		assert_int_equal(world.taken[seq], 1);
	check_acks(&world);
	for (size_t i = 0; i < PROPERTY_TARGETS; i++)
		assert_in_range(last[i], PROPERTY_MESSAGES - 2, PROPERTY_MESSAGES);
	close_record(&world.record);
}

static void test_property(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 300; seed++)
		run_world(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_scrape_comes_in_order),
		cmocka_unit_test(test_acks_leave_in_order_whatever_ends_first),
		cmocka_unit_test(test_a_redelivery_lends_its_reply),
		cmocka_unit_test(test_what_was_taken_before),
		cmocka_unit_test(test_what_was_lost_on_its_way_is_taken_late),
		cmocka_unit_test(test_what_was_lost_long_ago_is_taken_late),
		cmocka_unit_test(test_late_and_reset_are_told_apart),
		cmocka_unit_test(test_age_is_the_sinks),
		cmocka_unit_test(test_what_lacks_its_keyframe_is_taken_as_down),
		cmocka_unit_test(test_targets_are_limited),
		cmocka_unit_test(test_what_is_wanted),
		cmocka_unit_test(test_nothing_is_dropped_for_lack_of_room),
		cmocka_unit_test(test_the_sinks_own_bytes_alone_stop_nothing),
		cmocka_unit_test(test_publishers_and_their_targets_take_turns),
		cmocka_unit_test(test_a_publisher_has_so_many_in_flight),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_a_target_with_frames_is_not_forgotten),
		cmocka_unit_test(test_what_is_given_back_and_what_is_kept_alive),
		cmocka_unit_test(test_property),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
