/* SPDX-License-Identifier: Apache-2.0 */
/* The order, age, silence and acknowledgement rules, on frames made by hand. */
#include "receiver/newest.h"

#include "common/core/clock.h"
#include "tests/unit/cpu_bound.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW_MS      INT64_C(1700000000000)
#define INTERVAL_MS 15000
#define MAX_AGE_MS  80000
#define ARRIVED_US  12345
#define MAX_BYTES   UINT64_C(100000)

struct record {
	struct newest *newest;
	struct buf acks;  /* replies in order, each followed by a space */
	struct buf fates; /* "seq:fate " */
	int ready, silent, forgotten, resets, unacked;
};

static void on_ready(void *arg)
{
	((struct record *)arg)->ready++;
}

static void on_silent(void *arg, struct target *target)
{
	struct record *record = arg;

	record->silent++;
	newest_forget(record->newest, target);
}

static void on_silent_keep(void *arg, struct target *target)
{
	(void)target;
	((struct record *)arg)->silent++;
}

static void on_forget(void *arg, struct target *target)
{
	(void)target;
	((struct record *)arg)->forgotten++;
}

static void on_ack(void *arg, struct slice reply, uint64_t arrived_us)
{
	assert_int_equal(arrived_us, ARRIVED_US);
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
	(void)step_back_ms;
	((struct record *)arg)->resets++;
}

static void open_newest(struct record *record, struct newest_options options)
{
	options.on_ready = on_ready;
	options.on_forget = on_forget;
	options.on_ack = on_ack;
	options.on_fate = on_fate;
	options.on_clock_reset = on_clock_reset;
	options.arg = record;
	*record = (struct record){0};
	record->newest = newest_new(&options);
}

static void open_with(struct record *record, int64_t max_age_ms, int64_t max_targets,
	void (*silent)(void *, struct target *))
{
	open_newest(record, (struct newest_options){.limits.max_age_ms = max_age_ms,
				    .limits.max_targets_per_publisher = max_targets,
				    .limits.max_publisher_bytes = UINT64_MAX,
				    .on_silent = silent});
}

static void open_bounded(struct record *record, int64_t max_targets, uint64_t max_bytes)
{
	open_newest(record, (struct newest_options){.limits.max_age_ms = MAX_AGE_MS,
				    .limits.max_targets_per_publisher = max_targets,
				    .limits.max_publisher_bytes = max_bytes,
				    .on_silent = on_silent});
}

static void finish(struct record *record)
{
	newest_free(record->newest);
	buf_free(&record->acks);
	buf_free(&record->fates);
}

struct frame_spec {
	const char *instance;
	uint64_t seq;
	int64_t time_ms; /* relative to NOW_MS */
	uint64_t generation;
	int64_t stored_ms;     /* relative to NOW_MS */
	const char *reply;     /* NULL: the sequence */
	const char *publisher; /* NULL: dc1 */
	bool is_legacy;
	bool is_lookback; /* without a reply */
	size_t body_bytes;
};

static struct frame *make_frame(struct frame_spec spec)
{
	struct frame *frame = xcalloc(1, sizeof(*frame));

	frame->publisher = slice_from(spec.publisher != NULL ? spec.publisher : "dc1");
	buf_appendf(&frame->own_subject, "prometheus.scrape.%.*s.node.%s.0",
		SLICE_FMT(frame->publisher), spec.instance);
	frame->subject = buf_slice(&frame->own_subject);
	frame->is_legacy = spec.is_legacy;
	frame->body.len = spec.body_bytes; /* nobody reads it */
	frame->job = SLICE("node");
	frame->instance = slice_from(spec.instance);
	frame->scrape.time_ms = NOW_MS + spec.time_ms;
	frame->scrape.interval_ms = INTERVAL_MS;
	frame->scrape.up = true;
	frame->age_from_ms = frame->scrape.time_ms;
	frame->generation = spec.generation;
	frame->arrived_us = ARRIVED_US;
	frame->stream_seq = spec.seq;
	frame->stored_ms = NOW_MS + spec.stored_ms;
	frame->is_lookback = spec.is_lookback;
	if (spec.is_lookback)
		return frame;
	if (spec.reply != NULL)
		buf_append_str(&frame->reply, spec.reply);
	else
		buf_appendf(&frame->reply, "%d", (int)spec.seq);
	return frame;
}

/* `at_ms` is relative to NOW_MS. */
static void offer(struct record *record, int64_t at_ms, struct frame_spec spec)
{
	newest_offer(record->newest, make_frame(spec), NOW_MS + at_ms);
}

/* A scrape of "a", made at that time, is dropped as it comes, at `at_ms` or NOW_MS. */
static void drop(struct record *record, int64_t at_ms, uint64_t seq, enum frame_fate fate)
{
	struct frame_spec spec = {.instance = "a", .seq = seq, .time_ms = at_ms};

	newest_drop(record->newest, make_frame(spec), fate, NOW_MS + (at_ms > 0 ? at_ms : 0));
}

#define OFFER(record, ...)           offer((record), 0, (struct frame_spec){__VA_ARGS__})
#define OFFER_AT(record, at_ms, ...) offer((record), (at_ms), (struct frame_spec){__VA_ARGS__})

static void expect(struct record *record, const char *fates, const char *acks)
{
	assert_string_equal(buf_cstr(&record->fates), fates);
	assert_string_equal(buf_cstr(&record->acks), acks);
}

static void test_a_newer_scrape_replaces_one_that_waits(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	OFFER(&record, .instance = "a", .seq = 2, .time_ms = 1000);
	expect(&record, "1:superseded ", "1 ");
	target = newest_begin(record.newest, NOW_MS + 1000);
	assert_non_null(target);
	assert_int_equal(target->in_flight->stream_seq, 2);
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS + 1000);
	expect(&record, "1:superseded 2:delivered ", "1 2 ");
	assert_null(newest_begin(record.newest, NOW_MS + 1000));
	finish(&record);
}

static void test_acks_leave_in_stream_order(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	target = newest_begin(record.newest, NOW_MS);
	OFFER(&record, .instance = "a", .seq = 2, .time_ms = 1000);
	OFFER(&record, .instance = "a", .seq = 3, .time_ms = 2000);
	OFFER(&record, .instance = "a", .seq = 4, .time_ms = 1500);
	expect(&record, "2:superseded 4:out_of_order ", "");
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS);
	expect(&record, "2:superseded 4:out_of_order 1:delivered ", "1 2 ");
	target = newest_begin(record.newest, NOW_MS);
	newest_end(record.newest, target, NEWEST_REFUSED, NOW_MS);
	expect(&record, "2:superseded 4:out_of_order 1:delivered 3:refused ", "1 2 3 4 ");
	finish(&record);
}

static void test_a_retried_scrape_yields_to_a_newer_one(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	target = newest_begin(record.newest, NOW_MS);
	newest_end(record.newest, target, NEWEST_RETRY, NOW_MS);
	target = newest_begin(record.newest, NOW_MS);
	assert_int_equal(target->in_flight->stream_seq, 1);
	OFFER(&record, .instance = "a", .seq = 2, .time_ms = 1000);
	newest_end(record.newest, target, NEWEST_RETRY, NOW_MS);
	expect(&record, "1:superseded ", "1 ");
	target = newest_begin(record.newest, NOW_MS);
	assert_int_equal(target->in_flight->stream_seq, 2);
	newest_end(record.newest, target, NEWEST_RETRY, NOW_MS + MAX_AGE_MS + 1001);
	expect(&record, "1:superseded 2:stale ", "1 2 ");
	finish(&record);
}

static void test_a_redelivery_replaces_only_the_reply(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0, .generation = 0, .reply = "again");
	expect(&record, "1:redelivered ", "");
	target = newest_begin(record.newest, NOW_MS);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0, .generation = 0, .reply = "thrice");
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS);
	expect(&record, "1:redelivered 1:redelivered 1:delivered ", "thrice ");
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	expect(&record, "1:redelivered 1:redelivered 1:delivered 1:redelivered ", "thrice 1 ");
	finish(&record);
}

static void test_stale_scrapes_are_dropped_wherever_they_are(void **state)
{
	struct record record;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = -MAX_AGE_MS - 1);
	assert_int_equal(newest_target_count(record.newest), 0);
	OFFER(&record, .instance = "a", .seq = 2, .time_ms = 0);
	OFFER(&record, .instance = "b", .seq = 3, .time_ms = 0);
	assert_null(newest_begin(record.newest, NOW_MS + MAX_AGE_MS + 1));
	OFFER(&record, .instance = "a", .seq = 4, .time_ms = 1000);
	newest_sweep(record.newest, NOW_MS + 2 * MAX_AGE_MS, 0);
	expect(&record, "1:stale 2:stale 3:stale 4:stale ", "1 2 3 4 ");
	finish(&record);
}

static void test_max_age_off_keeps_everything(void **state)
{
	struct record record;

	(void)state;
	open_with(&record, 0, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = -1000 * MAX_AGE_MS);
	assert_non_null(newest_begin(record.newest, NOW_MS));
	finish(&record);
}

static void test_late_and_reset_are_told_apart(void **state)
{
	struct record record;

	(void)state;
	open_with(&record, 10 * MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	OFFER(&record, .instance = "a", .seq = 2, .time_ms = -2 * INTERVAL_MS);
	expect(&record, "2:out_of_order ", "");
	assert_int_equal(record.resets, 0);
	OFFER(&record, .instance = "a", .seq = 3, .time_ms = -2 * INTERVAL_MS - 1);
	expect(&record, "2:out_of_order 1:superseded ", "1 2 ");
	assert_int_equal(record.resets, 1);
	finish(&record);
}

static void test_a_new_generation_starts_its_sequences_over(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 100, .time_ms = 0, .generation = 1);
	/* The stream was filled again with what it had: not a clock reset, though more than two
	 * intervals back. */
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = -3 * INTERVAL_MS, .generation = 2,
		.stored_ms = 500);
	OFFER(&record, .instance = "a", .seq = 2, .time_ms = 1000, .generation = 2,
		.stored_ms = 1000);
	target = newest_begin(record.newest, NOW_MS + 1000);
	assert_int_equal(target->in_flight->stream_seq, 2);
	assert_int_equal(record.resets, 0);
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS);
	expect(&record, "1:out_of_order 100:superseded 2:delivered ", "100 1 2 ");
	finish(&record);
}

/*
 * A durable made anew, or another one, brings what is known already. Without an age check only the
 * time at which the stream stored it tells.
 */
static void test_a_new_generation_repeats_what_was_seen(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, 0, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 8, .time_ms = -1, .generation = 1, .stored_ms = -1);
	target = newest_begin(record.newest, NOW_MS);
	OFFER(&record, .instance = "a", .seq = 9, .time_ms = 0, .generation = 1, .stored_ms = 0);
	OFFER(&record, .instance = "a", .seq = 2, .time_ms = -40 * INTERVAL_MS, .generation = 2,
		.stored_ms = -40 * INTERVAL_MS);
	OFFER(&record, .instance = "a", .seq = 8, .time_ms = -1, .generation = 2, .stored_ms = -1);
	OFFER(&record, .instance = "a", .seq = 9, .time_ms = 0, .generation = 2, .stored_ms = 0);
	expect(&record, "2:redelivered 8:redelivered 9:redelivered ", "");
	assert_int_equal(record.resets, 0);
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS);
	target = newest_begin(record.newest, NOW_MS);
	assert_int_equal(target->in_flight->stream_seq, 9);
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS);
	expect(&record, "2:redelivered 8:redelivered 9:redelivered 8:delivered 9:delivered ",
		"8 9 2 8 9 ");
	finish(&record);
}

/* Of a frame that is still in flight while the newest has come from another generation. */
static void test_a_redelivery_of_an_older_generation_is_not_acked_early(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 5, .time_ms = 0, .generation = 1);
	target = newest_begin(record.newest, NOW_MS);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 1, .generation = 2, .stored_ms = 1);
	OFFER(&record, .instance = "a", .seq = 5, .time_ms = 0, .generation = 1, .reply = "again");
	expect(&record, "5:redelivered ", "");
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS);
	expect(&record, "5:redelivered 5:delivered ", "again ");
	finish(&record);
}

static void count_unacked(void *arg, struct slice reply)
{
	assert_true(reply.len > 0);
	((struct record *)arg)->unacked++;
}

static void test_a_lookback_is_not_acked(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, MAX_AGE_MS, 1, on_silent);
	OFFER(&record, .instance = "a", .seq = 5, .is_lookback = true);
	OFFER(&record, .instance = "b", .seq = 6, .is_lookback = true);
	expect(&record, "6:over_limit ", "");
	newest_each_unacked(record.newest, count_unacked, &record);
	assert_int_equal(record.unacked, 0);
	OFFER(&record, .instance = "a", .seq = 4);
	expect(&record, "6:over_limit 4:redelivered ", "4 ");
	target = newest_begin(record.newest, NOW_MS);
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS);
	expect(&record, "6:over_limit 4:redelivered 5:delivered ", "4 ");
	OFFER(&record, .instance = "a", .seq = 5);
	expect(&record, "6:over_limit 4:redelivered 5:delivered 5:redelivered ", "4 5 ");
	finish(&record);
}

static void test_the_durable_lends_a_lookback_its_reply(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 5, .is_lookback = true);
	OFFER(&record, .instance = "a", .seq = 5);
	newest_each_unacked(record.newest, count_unacked, &record);
	assert_int_equal(record.unacked, 1);
	OFFER(&record, .instance = "a", .seq = 5, .is_lookback = true);
	target = newest_begin(record.newest, NOW_MS);
	expect(&record, "5:redelivered 5:redelivered ", "");
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS);
	expect(&record, "5:redelivered 5:redelivered 5:delivered ", "5 ");
	finish(&record);
}

static void test_what_the_sink_shows_already(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1);
	target = newest_begin(record.newest, NOW_MS);
	newest_end(record.newest, target, NEWEST_BEHIND, NOW_MS);
	expect(&record, "1:out_of_order ", "1 ");
	OFFER(&record, .instance = "a", .seq = 2, .time_ms = 1000);
	target = newest_begin(record.newest, NOW_MS);
	newest_end(record.newest, target, NEWEST_THERE, NOW_MS);
	expect(&record, "1:out_of_order 2:redelivered ", "1 2 ");
	finish(&record);
}

static void test_waiting_bytes_follow_a_redelivery(void **state)
{
	struct buf reply = {0};
	struct record record;

	(void)state;
	for (int i = 0; i < 1000; i++)
		buf_append_char(&reply, 'r');
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0, .reply = buf_cstr(&reply));
	assert_true(newest_waiting_bytes(record.newest) > reply.len);
	newest_begin(record.newest, NOW_MS);
	assert_int_equal(newest_waiting_bytes(record.newest), 0);
	buf_free(&reply);
	finish(&record);
}

/* Thousands of scrapes may come while one is on its way. */
static size_t ack_count(const struct record *record)
{
	size_t count = 0;

	for (size_t i = 0; i < record->acks.len; i++)
		count += record->acks.ptr[i] == ' ';
	return count;
}

static void test_a_backlog_behind_a_delivery_is_cheap(void **state)
{
	enum { COUNT = 100000 };
	double begin_s = cpu_seconds();
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	target = newest_begin(record.newest, NOW_MS);
	for (int i = 2; i <= COUNT; i++)
		OFFER(&record, .instance = "a", .seq = (uint64_t)i, .time_ms = i);
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS);
	assert_int_equal(ack_count(&record), COUNT - 1);
	assert_true(cpu_seconds() - begin_s < 5.0 * CPU_BOUND_FACTOR);
	finish(&record);
}

/* What is not acknowledged counts against what the stream delivers to all of them. */
static void test_held_acks_are_bounded(void **state)
{
	enum { COUNT = 90000, OF_ALL = 300000 };
	static const char *const publishers[] = {"p1", "p2", "p3", "p4"};
	struct record record;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	for (size_t p = 0; p < ARRAY_LEN(publishers); p++) {
		OFFER(&record, .instance = "a", .seq = 1, .publisher = publishers[p]);
		newest_begin(record.newest, NOW_MS);
		for (int i = 2; i <= COUNT + 2; i++)
			OFFER(&record, .instance = "a", .seq = (uint64_t)i, .time_ms = i,
				.publisher = publishers[p]);
	}
	assert_int_equal(ack_count(&record), ARRAY_LEN(publishers) * COUNT - OF_ALL);
	finish(&record);
}

/* Nobody may occupy a place for years by saying that it scrapes once a year. */
static void test_silence_of_a_year_is_not_waited_for(void **state)
{
	const int64_t day_ms = INT64_C(86400) * 1000;
	struct record record;
	struct frame *frame = make_frame((struct frame_spec){.instance = "a", .seq = 1});

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	frame->scrape.interval_ms = WIRE_INTERVAL_MAX_MS;
	newest_offer(record.newest, frame, NOW_MS);
	newest_end(record.newest, newest_begin(record.newest, NOW_MS), NEWEST_DELIVERED, NOW_MS);
	newest_sweep(record.newest, NOW_MS + 2 * day_ms, NOW_MS);
	assert_int_equal(record.silent, 0);
	newest_sweep(record.newest, NOW_MS + 3 * day_ms, NOW_MS);
	assert_int_equal(record.silent, 1);
	finish(&record);
}

static void test_silence(void **state)
{
	const int64_t bound_ms = MAX_AGE_MS;
	struct record record;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent_keep);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	newest_end(record.newest, newest_begin(record.newest, NOW_MS), NEWEST_DELIVERED, NOW_MS);
	newest_sweep(record.newest, NOW_MS + 10 * bound_ms, 0);
	assert_int_equal(record.silent, 0);
	newest_sweep(record.newest, NOW_MS + 10 * bound_ms, NOW_MS + 9 * bound_ms);
	assert_int_equal(record.silent, 0);
	newest_sweep(record.newest, NOW_MS + 10 * bound_ms + 1, NOW_MS + 9 * bound_ms);
	assert_int_equal(record.silent, 1);
	newest_sweep(record.newest, NOW_MS + 20 * bound_ms, NOW_MS);
	assert_int_equal(record.silent, 1);
	finish(&record);
}

static void test_a_forgotten_target_frees_its_publishers_place(void **state)
{
	struct record record;

	(void)state;
	open_with(&record, MAX_AGE_MS, 1, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	OFFER(&record, .instance = "b", .seq = 2, .time_ms = 0);
	expect(&record, "2:over_limit ", "2 ");
	newest_end(record.newest, newest_begin(record.newest, NOW_MS), NEWEST_DELIVERED, NOW_MS);
	newest_sweep(record.newest, NOW_MS + MAX_AGE_MS + 1, NOW_MS);
	assert_int_equal(record.forgotten, 1);
	OFFER(&record, .instance = "b", .seq = 3, .time_ms = 0);
	expect(&record, "2:over_limit 1:delivered ", "2 1 ");
	assert_int_equal(newest_target_count(record.newest), 1);
	finish(&record);
}

/* Whoever may publish envelopes can put any publisher into them. */
static void test_envelopes_share_one_publishers_places(void **state)
{
	struct record record;

	(void)state;
	open_with(&record, MAX_AGE_MS, 2, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .publisher = "p1", .is_legacy = true);
	OFFER(&record, .instance = "a", .seq = 2, .publisher = "p2", .is_legacy = true);
	OFFER(&record, .instance = "a", .seq = 3, .publisher = "p3", .is_legacy = true);
	expect(&record, "3:over_limit ", "3 ");
	OFFER(&record, .instance = "b", .seq = 4, .publisher = "p1");
	OFFER(&record, .instance = "c", .seq = 5, .publisher = "p1");
	assert_int_equal(newest_target_count(record.newest), 4);
	finish(&record);
}

static void test_targets_take_turns(void **state)
{
	struct record record;
	struct target *a, *b;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	OFFER(&record, .instance = "b", .seq = 2, .time_ms = 0);
	OFFER(&record, .instance = "a", .seq = 3, .time_ms = 1);
	a = newest_begin(record.newest, NOW_MS);
	OFFER(&record, .instance = "a", .seq = 4, .time_ms = 2);
	b = newest_begin(record.newest, NOW_MS);
	assert_string_equal(a->instance, "b");
	assert_string_equal(b->instance, "a");
	finish(&record);
}

/* One that sends much cannot keep another waiting longer than for one of its own. */
static void test_publishers_take_turns(void **state)
{
	static const char *const instances[] = {"a", "b", "c", "d"};
	static const char *const expected[] = {"dc1", "dc2", "dc1", "dc1", "dc1"};
	struct record record;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	for (size_t i = 0; i < ARRAY_LEN(instances); i++)
		OFFER(&record, .instance = instances[i], .seq = i + 1);
	OFFER(&record, .instance = "x", .seq = 9, .publisher = "dc2");
	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		assert_string_equal(newest_begin(record.newest, NOW_MS)->publisher, expected[i]);
	assert_null(newest_begin(record.newest, NOW_MS));
	finish(&record);
}

/* One that has as many in flight as it may does not keep others from theirs. */
static void test_in_flight_is_bounded_by_publisher(void **state)
{
	struct record record;
	struct target *first;

	(void)state;
	open_newest(&record, (struct newest_options){.limits.max_targets_per_publisher = 10,
				     .limits.max_publisher_bytes = UINT64_MAX,
				     .limits.max_publisher_in_flight = 2,
				     .on_silent = on_silent});
	OFFER(&record, .instance = "a", .seq = 1);
	OFFER(&record, .instance = "b", .seq = 2);
	OFFER(&record, .instance = "c", .seq = 3);
	first = newest_begin(record.newest, NOW_MS);
	assert_string_equal(newest_begin(record.newest, NOW_MS)->instance, "b");
	assert_null(newest_begin(record.newest, NOW_MS));
	OFFER(&record, .instance = "x", .seq = 4, .publisher = "dc2");
	assert_string_equal(newest_begin(record.newest, NOW_MS)->instance, "x");
	newest_end(record.newest, first, NEWEST_DELIVERED, NOW_MS);
	assert_string_equal(newest_begin(record.newest, NOW_MS)->instance, "c");
	assert_null(newest_begin(record.newest, NOW_MS));
	finish(&record);
}

static void test_bytes_are_bounded_by_publisher(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_bounded(&record, 10, MAX_BYTES);
	OFFER(&record, .instance = "a", .seq = 1, .body_bytes = 60000);
	OFFER(&record, .instance = "b", .seq = 2, .body_bytes = 60000);
	expect(&record, "2:over_bytes ", "2 ");
	OFFER(&record, .instance = "b", .seq = 3, .publisher = "dc2", .body_bytes = 60000);
	OFFER(&record, .instance = "a", .seq = 4, .time_ms = 1, .body_bytes = 90000);
	expect(&record, "2:over_bytes 1:superseded ", "2 1 ");
	target = newest_begin(record.newest, NOW_MS);
	assert_string_equal(target->publisher, "dc2");
	target = newest_begin(record.newest, NOW_MS);
	OFFER(&record, .instance = "a", .seq = 5, .time_ms = 2, .body_bytes = 20000);
	expect(&record, "2:over_bytes 1:superseded 5:over_bytes ", "2 1 ");
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS);
	expect(&record, "2:over_bytes 1:superseded 5:over_bytes 4:delivered ", "2 1 4 5 ");
	OFFER(&record, .instance = "b", .seq = 6, .body_bytes = 60000);
	assert_int_equal(newest_target_count(record.newest), 3);
	finish(&record);
}

/* It is alive, though there is no room for what it says: nothing of it may be deleted, nor stay as
 * it was for good. */
static void test_a_target_without_room_is_not_silent(void **state)
{
	struct record record;
	struct target *target;
	int64_t at_ms;
	uint64_t seq = 3;

	(void)state;
	open_bounded(&record, 10, MAX_BYTES);
	OFFER(&record, .instance = "a", .seq = 1);
	newest_end(record.newest, newest_begin(record.newest, NOW_MS), NEWEST_DELIVERED, NOW_MS);
	OFFER(&record, .instance = "b", .seq = 2, .body_bytes = 90000);
	newest_begin(record.newest, NOW_MS);
	buf_clear(&record.fates);
	for (at_ms = INTERVAL_MS; at_ms < MAX_AGE_MS; at_ms += INTERVAL_MS)
		OFFER_AT(&record, at_ms, .instance = "a", .seq = seq++, .time_ms = at_ms,
			.body_bytes = 20000);
	assert_string_equal(buf_cstr(&record.fates),
		"3:over_bytes 4:over_bytes 5:over_bytes 6:over_bytes 7:over_bytes ");
	newest_sweep(record.newest, NOW_MS + MAX_AGE_MS + 1, NOW_MS);
	assert_int_equal(record.silent, 0);
	assert_null(newest_begin(record.newest, NOW_MS + MAX_AGE_MS));

	OFFER_AT(
		&record, at_ms, .instance = "a", .seq = seq, .time_ms = at_ms, .body_bytes = 20000);
	target = newest_begin(record.newest, NOW_MS + at_ms);
	assert_non_null(target);
	assert_string_equal(target->instance, "a");
	assert_false(target->in_flight->scrape.up);
	assert_non_null(target->in_flight->scrape.error);
	assert_int_equal(target->in_flight->body.len, 0);
	buf_clear(&record.fates);
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS + at_ms);
	assert_string_equal(buf_cstr(&record.fates), "8:over_bytes ");
	newest_sweep(record.newest, NOW_MS + at_ms + MAX_AGE_MS + 1, NOW_MS);
	assert_int_equal(record.silent, 1);
	finish(&record);
}

/* Nor what it says cannot be read for want of its keyframe. */
static void test_a_target_without_its_keyframe_does_not_freeze(void **state)
{
	struct record record;
	struct target *target;
	int64_t at_ms;
	uint64_t seq = 2;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1);
	newest_end(record.newest, newest_begin(record.newest, NOW_MS), NEWEST_DELIVERED, NOW_MS);
	buf_clear(&record.fates);
	for (at_ms = INTERVAL_MS; at_ms < MAX_AGE_MS; at_ms += INTERVAL_MS)
		drop(&record, at_ms, seq++, FATE_KEYFRAME_MISSING);
	assert_null(newest_begin(record.newest, NOW_MS + at_ms));
	newest_sweep(record.newest, NOW_MS + MAX_AGE_MS + 1, NOW_MS);
	assert_int_equal(record.silent, 0);
	assert_null(strstr(buf_cstr(&record.fates), "delivered"));

	/* Of no use even as a sign of life. */
	drop(&record, -INTERVAL_MS, seq++, FATE_KEYFRAME_MISSING);
	assert_null(newest_begin(record.newest, NOW_MS + at_ms));
	drop(&record, at_ms, seq, FATE_KEYFRAME_MISSING);
	target = newest_begin(record.newest, NOW_MS + at_ms);
	assert_non_null(target);
	assert_int_equal(target->in_flight->stream_seq, seq);
	assert_false(target->in_flight->scrape.up);
	assert_non_null(strstr(target->in_flight->scrape.error, "keyframe"));
	buf_clear(&record.fates);
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS + at_ms);
	assert_string_equal(buf_cstr(&record.fates), "8:keyframe_missing ");
	finish(&record);
}

/* Shown by a receiver before this one, perhaps. */
static void test_an_unknown_target_without_its_keyframe(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_with(&record, MAX_AGE_MS, 1, on_silent);
	drop(&record, -MAX_AGE_MS - 1, 1, FATE_KEYFRAME_DENIED);
	assert_int_equal(newest_target_count(record.newest), 0);
	drop(&record, 0, 2, FATE_KEYFRAME_DENIED);
	drop(&record, INTERVAL_MS, 3, FATE_KEYFRAME_DENIED);
	expect(&record, "1:keyframe_denied 2:keyframe_denied 3:keyframe_denied ", "1 2 3 ");
	assert_int_equal(newest_target_count(record.newest), 1);
	assert_int_equal(newest_longest_interval_ms(record.newest), INTERVAL_MS);
	newest_drop(record.newest, make_frame((struct frame_spec){.instance = "b", .seq = 4}),
		FATE_KEYFRAME_DENIED, NOW_MS);
	assert_int_equal(newest_target_count(record.newest), 1);
	assert_null(newest_begin(record.newest, NOW_MS + INTERVAL_MS));
	drop(&record, MAX_AGE_MS + 1, 5, FATE_KEYFRAME_DENIED);
	target = newest_begin(record.newest, NOW_MS + MAX_AGE_MS + 1);
	assert_non_null(target);
	assert_false(target->in_flight->scrape.up);
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS + MAX_AGE_MS + 1);
	finish(&record);
}

/* Too old to be delivered, yet the newest: it scrapes seldom. */
static void test_a_stale_scrape_breaks_silence(void **state)
{
	struct record record;
	struct frame *frame;

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	for (uint64_t seq = 1; seq <= 2; seq++) {
		frame = make_frame((struct frame_spec){
			.instance = "a", .seq = seq, .time_ms = seq == 1 ? 0 : 300000});
		frame->scrape.interval_ms = 300000;
		newest_offer(
			record.newest, frame, NOW_MS + (seq == 1 ? 0 : 300000 + MAX_AGE_MS + 1));
		if (seq == 1)
			newest_end(record.newest, newest_begin(record.newest, NOW_MS),
				NEWEST_DELIVERED, NOW_MS);
	}
	expect(&record, "1:delivered 2:stale ", "1 2 ");
	newest_sweep(record.newest, NOW_MS + 300000 + 2 * 300000, NOW_MS);
	assert_int_equal(record.silent, 0);
	newest_sweep(record.newest, NOW_MS + 300000 + 630001, NOW_MS);
	assert_int_equal(record.silent, 1);
	finish(&record);
}

static void test_what_the_sink_holds_counts(void **state)
{
	struct record record;
	struct target *target;

	(void)state;
	open_bounded(&record, 10, MAX_BYTES);
	OFFER(&record, .instance = "a", .seq = 1);
	target = newest_begin(record.newest, NOW_MS);
	assert_false(newest_hold(record.newest, target, MAX_BYTES));
	assert_true(newest_hold(record.newest, target, MAX_BYTES - 5000));
	newest_end(record.newest, target, NEWEST_DELIVERED, NOW_MS);
	OFFER(&record, .instance = "b", .seq = 2, .body_bytes = 5000);
	expect(&record, "1:delivered 2:over_bytes ", "1 2 ");
	assert_true(newest_hold(record.newest, target, 100));
	OFFER(&record, .instance = "b", .seq = 3, .body_bytes = 5000);
	assert_int_equal(newest_target_count(record.newest), 2);
	newest_forget(record.newest, target);
	newest_begin(record.newest, NOW_MS);
	finish(&record);
}

/* More publishers than there are places, each as large as it may be. */
static void test_all_publishers_together_are_bounded(void **state)
{
	enum { COUNT = 20000 };
	struct record record;
	char name[16];

	(void)state;
	open_bounded(&record, 10, MAX_BYTES);
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		OFFER(&record, .instance = "a", .seq = (uint64_t)i + 1, .publisher = name,
			.body_bytes = 90000);
	}
	assert_in_range(newest_held_bytes(record.newest), 8 * MAX_BYTES / 2, 16 * MAX_BYTES);
	finish(&record);
}

static void test_publishers_beyond_count_share_their_places(void **state)
{
	enum { COUNT = 10050 };
	struct record record;
	char name[16];

	(void)state;
	open_bounded(&record, 3, UINT64_MAX);
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		OFFER(&record, .instance = "a", .seq = (uint64_t)i + 1, .publisher = name);
	}
	assert_int_equal(newest_target_count(record.newest), 10000 + 3);
	assert_int_equal(newest_publisher_count(record.newest), 10000 + 1);
	finish(&record);
}

static void keep_reply(void *arg, struct slice reply)
{
	buf_appendf(arg, "%.*s ", SLICE_FMT(reply));
}

static void test_what_is_unacked_can_be_given_back(void **state)
{
	struct record record;
	struct buf replies = {0};

	(void)state;
	open_with(&record, MAX_AGE_MS, 10, on_silent);
	OFFER(&record, .instance = "a", .seq = 1, .time_ms = 0);
	newest_begin(record.newest, NOW_MS);
	OFFER(&record, .instance = "a", .seq = 2, .time_ms = 1);
	newest_each_unacked(record.newest, keep_reply, &replies);
	assert_string_equal(buf_cstr(&replies), "1 2 ");
	buf_free(&replies);
	finish(&record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_newer_scrape_replaces_one_that_waits),
		cmocka_unit_test(test_acks_leave_in_stream_order),
		cmocka_unit_test(test_a_retried_scrape_yields_to_a_newer_one),
		cmocka_unit_test(test_a_redelivery_replaces_only_the_reply),
		cmocka_unit_test(test_stale_scrapes_are_dropped_wherever_they_are),
		cmocka_unit_test(test_max_age_off_keeps_everything),
		cmocka_unit_test(test_late_and_reset_are_told_apart),
		cmocka_unit_test(test_a_new_generation_starts_its_sequences_over),
		cmocka_unit_test(test_a_new_generation_repeats_what_was_seen),
		cmocka_unit_test(test_a_redelivery_of_an_older_generation_is_not_acked_early),
		cmocka_unit_test(test_a_lookback_is_not_acked),
		cmocka_unit_test(test_the_durable_lends_a_lookback_its_reply),
		cmocka_unit_test(test_what_the_sink_shows_already),
		cmocka_unit_test(test_waiting_bytes_follow_a_redelivery),
		cmocka_unit_test(test_a_backlog_behind_a_delivery_is_cheap),
		cmocka_unit_test(test_held_acks_are_bounded),
		cmocka_unit_test(test_silence_of_a_year_is_not_waited_for),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_a_forgotten_target_frees_its_publishers_place),
		cmocka_unit_test(test_envelopes_share_one_publishers_places),
		cmocka_unit_test(test_targets_take_turns),
		cmocka_unit_test(test_publishers_take_turns),
		cmocka_unit_test(test_in_flight_is_bounded_by_publisher),
		cmocka_unit_test(test_bytes_are_bounded_by_publisher),
		cmocka_unit_test(test_a_target_without_room_is_not_silent),
		cmocka_unit_test(test_a_target_without_its_keyframe_does_not_freeze),
		cmocka_unit_test(test_an_unknown_target_without_its_keyframe),
		cmocka_unit_test(test_a_stale_scrape_breaks_silence),
		cmocka_unit_test(test_what_the_sink_holds_counts),
		cmocka_unit_test(test_all_publishers_together_are_bounded),
		cmocka_unit_test(test_publishers_beyond_count_share_their_places),
		cmocka_unit_test(test_what_is_unacked_can_be_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
