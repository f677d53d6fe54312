/* SPDX-License-Identifier: Apache-2.0 */
/* Keyframes: their form, how they are found, looked up, remembered as lacking, and given up. */
#include "tests/unit/keyframe_store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define KEY(instance) "p.key.dc1.app." instance ".0.7"

struct waiter {
	struct keyframe_wait wait;
	int verdicts;
	enum keyframe_verdict verdict;
	struct keyframe *keyframe;
	struct keyframe_store *asks_again; /* looks for this from inside */
	enum keyframe_verdict found;
};

static void on_verdict(
	struct keyframe_wait *wait, enum keyframe_verdict verdict, struct keyframe *keyframe)
{
	struct waiter *waiter = container_of(wait, struct waiter, wait);

	waiter->verdicts++;
	waiter->verdict = verdict;
	assert_int_equal(keyframe != NULL, verdict == KEYFRAME_HERE);
	if (keyframe != NULL)
		waiter->keyframe = keyframe_ref(keyframe);
	if (waiter->asks_again != NULL) {
		struct keyframe *again = NULL;

		waiter->found =
			keyframe_store_find(waiter->asks_again, slice_from(KEY("a")), &again);
		keyframe_unref(again);
	}
}

static enum keyframe_verdict find(struct store *store, const char *subject)
{
	struct keyframe *keyframe = NULL;
	enum keyframe_verdict verdict =
		keyframe_store_find(store->keyframes, slice_from(subject), &keyframe);

	assert_int_equal(keyframe != NULL, verdict == KEYFRAME_HERE);
	keyframe_unref(keyframe);
	return verdict;
}

static void await_for(
	struct store *store, const char *publisher, const char *subject, struct waiter *waiter)
{
	*waiter = (struct waiter){.wait.on_verdict = on_verdict};
	assert_int_equal(find(store, subject), KEYFRAME_AWAITED);
	keyframe_store_await(
		store->keyframes, slice_from(subject), slice_from(publisher), &waiter->wait);
	assert_int_equal(waiter->verdicts, 0);
}

static void await(struct store *store, const char *subject, struct waiter *waiter)
{
	await_for(store, "dc1", subject, waiter);
}

/* Ends the wait; the keyframe's reference is given back. */
static void expect(struct waiter *waiter, enum keyframe_verdict verdict)
{
	assert_int_equal(waiter->verdicts, 1);
	assert_int_equal(waiter->verdict, verdict);
	keyframe_unref(waiter->keyframe);
}

static double metric(struct store *store, enum receiver_metric id)
{
	keyframe_store_collect(store->keyframes);
	return series_value(metrics_plain(store->metrics, id));
}

static double outcomes(struct store *store, const char *outcome)
{
	return series_value(metrics_series(store->metrics, RM_KEYFRAME_LOOKUPS, outcome));
}

/* The way has proven itself, so that many may be asked for at once. */
static void prove(struct store *store)
{
	struct waiter waiter;

	await(store, KEY("proof"), &waiter);
	assert_true(store_answer(KEY("proof"), "proof\n"));
	expect(&waiter, KEYFRAME_HERE);
}

static void test_found(void **state)
{
	struct waiter one, two;
	struct store store;
	struct buf body = {0};
	struct slice exposition;

	(void)state;
	store_open(&store, 1 << 20);
	await(&store, KEY("a"), &one);
	await(&store, KEY("a"), &two);
	assert_int_equal(fake_outstanding(NULL), 1);
	assert_true(metric(&store, RM_KEYFRAME_LOOKUPS_PENDING) == 1);
	assert_true(store_answer(KEY("a"), "body\n"));
	assert_int_equal(keyframe_read(one.keyframe, store.codec, &body, &exposition), CODEC_OK);
	assert_true(slice_is(exposition, "body\n"));
	assert_ptr_equal(one.keyframe, two.keyframe);
	expect(&one, KEYFRAME_HERE);
	expect(&two, KEYFRAME_HERE);
	assert_int_equal(find(&store, KEY("a")), KEYFRAME_HERE);
	assert_true(metric(&store, RM_KEYFRAMES) == 1);
	assert_true(metric(&store, RM_KEYFRAME_LOOKUPS_PENDING) == 0);
	assert_true(metric(&store, RM_KEYFRAME_HITS) == 1);
	assert_true(outcomes(&store, "found") == 1);
	buf_free(&body);
	store_close(&store);
}

static void test_missing_is_remembered_ever_longer(void **state)
{
	uint64_t waits_ms[] = {2000, 4000, 8000, 16000, 32000, 60000, 60000};
	struct waiter waiter;
	struct store store;

	(void)state;
	store_open(&store, 1 << 20);
	for (size_t i = 0; i < ARRAY_LEN(waits_ms); i++) {
		await(&store, KEY("a"), &waiter);
		waiter.asks_again = store.keyframes;
		assert_true(store_miss(KEY("a")));
		expect(&waiter, KEYFRAME_MISSING);
		assert_int_equal(waiter.found, KEYFRAME_MISSING);
		fake_advance(waits_ms[i] - 1);
		assert_int_equal(find(&store, KEY("a")), KEYFRAME_MISSING);
		fake_advance(1);
	}
	await(&store, KEY("a"), &waiter);
	assert_true(store_answer(KEY("a"), "body\n"));
	expect(&waiter, KEYFRAME_HERE);
	store_close(&store);
}

static const struct {
	const char *name, *body, *encoding;
	enum keyframe_verdict verdict;
} useless[] = {
	{"not gzip", "body", "gzip", KEYFRAME_CORRUPT},
	{"empty zstd", "", "zstd", KEYFRAME_CORRUPT},
	{"unknown", "body", "br", KEYFRAME_CORRUPT},
	{"malformed headers", "body", "", KEYFRAME_CORRUPT},
};

static void test_useless_ones(void **state)
{
	struct waiter waiter;
	struct store store;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(useless); i++) {
		print_message("%s\n", useless[i].name);
		store_open(&store, 1 << 20);
		await(&store, KEY("a"), &waiter);
		assert_true(store_answer_in(
			KEY("a"), slice_from(useless[i].body), useless[i].encoding));
		expect(&waiter, useless[i].verdict);
		fake_advance(59999);
		assert_int_equal(find(&store, KEY("a")), useless[i].verdict);
		fake_advance(1);
		assert_int_equal(find(&store, KEY("a")), KEYFRAME_AWAITED);
		store_close(&store);
	}
}

static void test_of_another_time(void **state)
{
	const struct fake_header headers[] = {
		{"Nats-Stream", "S"}, {"Ps-Time", "77"}, {NULL, NULL}};
	struct nats_incoming answer = {.body = SLICE("body"), .headers = headers};
	struct waiter waiter;
	struct store store;

	(void)state;
	store_open(&store, 1 << 20);
	await(&store, KEY("a"), &waiter);
	assert_true(fake_reply(WAY KEY("a"), NATS_REPLY_OK, &answer, ""));
	expect(&waiter, KEYFRAME_CORRUPT);
	store_close(&store);
}

static void test_too_large(void **state)
{
	struct buf body = {0}, encoded = {0};
	struct waiter waiter;
	struct store store;
	struct err err;

	(void)state;
	store_open(&store, 1 << 20);
	memset(buf_reserve(&body, 100001), 'x', 100001);
	body.len = 100001;
	assert_int_equal(
		codec_encode(store.codec, ENCODING_ZSTD, 3, buf_slice(&body), &encoded, &err), 0);
	await(&store, KEY("a"), &waiter);
	assert_true(store_answer_in(KEY("a"), buf_slice(&encoded), "zstd"));
	expect(&waiter, KEYFRAME_TOO_LARGE);
	await(&store, KEY("b"), &waiter);
	assert_true(store_answer_in(KEY("b"), (struct slice){body.ptr, 100000}, "identity"));
	assert_true(keyframe_encoded_bytes(waiter.keyframe) < 1000);
	expect(&waiter, KEYFRAME_HERE);
	buf_free(&body);
	buf_free(&encoded);
	store_close(&store);
}

static void test_denied(void **state)
{
	struct waiter waiters[3];
	struct store store;
	struct buf why = {0};

	(void)state;
	store_open(&store, 1 << 20);
	await(&store, KEY("a"), &waiters[0]);
	await(&store, KEY("b"), &waiters[1]);
	await(&store, KEY("c"), &waiters[2]);
	assert_int_equal(fake_outstanding(NULL), 1);
	waiters[1].asks_again = store.keyframes;
	assert_true(store_end(KEY("a"), NATS_REPLY_DENIED));
	assert_true(fake_end("$JS.API.STREAM.MSG.GET.S", NATS_REPLY_DENIED, ""));
	for (size_t i = 0; i < ARRAY_LEN(waiters); i++)
		expect(&waiters[i], KEYFRAME_DENIED);
	assert_int_equal(waiters[1].found, KEYFRAME_DENIED);
	assert_int_equal(find(&store, KEY("d")), KEYFRAME_DENIED);
	assert_int_equal(fake_outstanding(NULL), 0);
	assert_false(keyframe_store_is_reachable(store.keyframes, &why));
	assert_non_null(strstr(buf_cstr(&why), "cannot be looked up"));
	assert_true(metric(&store, RM_KEYFRAMES_REACHABLE) == 0);
	assert_true(metric(&store, RM_KEYFRAME_LOOKUPS_PENDING) == 0);
	fake_advance(61000);
	await(&store, KEY("d"), &waiters[0]);
	assert_true(store_answer(KEY("d"), "body\n"));
	expect(&waiters[0], KEYFRAME_HERE);
	assert_true(keyframe_store_is_reachable(store.keyframes, NULL));
	buf_free(&why);
	store_close(&store);
}

static void test_a_lost_connection_is_waited_for(void **state)
{
	struct waiter one, two;
	struct store store;

	(void)state;
	store_open(&store, 1 << 20);
	await(&store, KEY("a"), &one);
	fake_down("gone");
	await(&store, KEY("b"), &two);
	assert_int_equal(fake_outstanding(NULL), 0);
	fake_up();
	assert_int_equal(fake_outstanding(NULL), 1);
	while (one.verdicts + two.verdicts < 2)
		assert_true(store_answer(KEY("a"), "a\n") || store_answer(KEY("b"), "b\n"));
	expect(&one, KEYFRAME_HERE);
	expect(&two, KEYFRAME_HERE);
	store_close(&store);
}

static void test_no_answer_is_asked_again_three_times(void **state)
{
	struct waiter waiter;
	struct store store;

	(void)state;
	store_open(&store, 1 << 20);
	prove(&store);
	await(&store, KEY("a"), &waiter);
	/* The second time it is found out whether the first way still works. */
	assert_true(store_end(KEY("a"), NATS_REPLY_TIMEOUT));
	assert_true(store_end(KEY("a"), NATS_REPLY_TIMEOUT));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(waiter.verdicts, 0);
		assert_true(fake_end("$JS.API.STREAM.MSG.GET.S", NATS_REPLY_TIMEOUT, ""));
	}
	expect(&waiter, KEYFRAME_FAILED);
	assert_int_equal(find(&store, KEY("a")), KEYFRAME_FAILED);
	fake_advance(2000);
	assert_int_equal(find(&store, KEY("a")), KEYFRAME_AWAITED);
	store_close(&store);
}

/* One by one until it works, then many, publishers in turn. */
static void test_how_many_at_once(void **state)
{
	struct waiter waiters[300], other;
	struct store store;
	char subject[64];

	(void)state;
	store_open(&store, 1 << 20);
	for (int i = 0; i < 300; i++) {
		snprintf(subject, sizeof(subject), KEY("t%d"), i);
		await(&store, subject, &waiters[i]);
	}
	await_for(&store, "dc2", "p.key.dc2.app.a.0.7", &other);
	assert_int_equal(fake_outstanding(NULL), 1);
	assert_true(store_answer(KEY("t0"), "body\n"));
	assert_int_equal(fake_outstanding(NULL), 128); /* of up to 1 MB each */
	assert_true(store_answer("p.key.dc2.app.a.0.7", "body\n"));
	expect(&other, KEYFRAME_HERE);
	for (int i = 1; i < 300; i++) {
		snprintf(subject, sizeof(subject), KEY("t%d"), i);
		assert_true(store_answer(subject, "body\n"));
	}
	for (int i = 0; i < 300; i++)
		expect(&waiters[i], KEYFRAME_HERE);
	store_close(&store);
}

static void test_cancelled(void **state)
{
	struct waiter one, two, three;
	struct store store;

	(void)state;
	store_open(&store, 1 << 20);
	await(&store, KEY("a"), &one);
	await(&store, KEY("b"), &two);
	await(&store, KEY("b"), &three);
	keyframe_store_cancel(&one.wait);
	keyframe_store_cancel(&one.wait);
	keyframe_store_cancel(&two.wait);
	assert_true(store_answer(KEY("a"), "a\n"));
	assert_int_equal(one.verdicts, 0);
	assert_int_equal(find(&store, KEY("a")), KEYFRAME_HERE);
	assert_true(store_answer(KEY("b"), "b\n"));
	assert_int_equal(two.verdicts, 0);
	expect(&three, KEYFRAME_HERE);
	/* With some queued and asked for. */
	fake_down("gone");
	await(&store, KEY("c"), &one);
	fake_up();
	await(&store, KEY("d"), &two);
	keyframe_store_cancel(&two.wait);
	assert_int_equal(find(&store, KEY("d")), KEYFRAME_AWAITED);
	keyframe_store_cancel(&one.wait);
	store_close(&store);
}

/* Noise, so that it takes its size. */
static void answer_large(const char *subject)
{
	char noise[8000];

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char)random_u64();
	assert_true(store_answer_in(subject, (struct slice){noise, sizeof(noise)}, "identity"));
}

static void test_eviction(void **state)
{
	struct waiter waiter, kept;
	struct store store;
	char subject[64];

	(void)state;
	store_open(&store, 50000);
	await_for(&store, "dc2", "p.key.dc2.app.a.0.7", &kept);
	answer_large("p.key.dc2.app.a.0.7");
	for (int i = 0; i < 50; i++) {
		snprintf(subject, sizeof(subject), KEY("t%d"), i);
		await(&store, subject, &waiter);
		answer_large(subject);
		expect(&waiter, KEYFRAME_HERE);
		assert_true(metric(&store, RM_KEYFRAME_MEMORY) <= 50000);
		/* In use, it stays. */
		assert_int_equal(find(&store, KEY("t0")), KEYFRAME_HERE);
	}
	/* The other publisher's is older than all of them. */
	assert_int_equal(find(&store, "p.key.dc2.app.a.0.7"), KEYFRAME_HERE);
	assert_int_equal(find(&store, KEY("t49")), KEYFRAME_HERE);
	assert_int_equal(find(&store, KEY("t20")), KEYFRAME_AWAITED);
	assert_true(metric(&store, RM_KEYFRAMES_EVICTED) + metric(&store, RM_KEYFRAMES) == 51);
	expect(&kept, KEYFRAME_HERE);
	store_close(&store);
}

static void answer_compressible(const char *subject)
{
	char body[8000];

	memset(body, 'x', sizeof(body));
	assert_true(store_answer_in(subject, (struct slice){body, sizeof(body)}, "identity"));
}

/* Decoded ones fill the room, and give way before any keyframe does. */
static void test_expanded_while_there_is_room(void **state)
{
	struct waiter waiter;
	struct store store;
	char subject[64];

	(void)state;
	store_open(&store, 50000);
	for (int i = 0; i < 100; i++) {
		snprintf(subject, sizeof(subject), KEY("t%d"), i);
		await(&store, subject, &waiter);
		answer_compressible(subject);
		expect(&waiter, KEYFRAME_HERE);
		assert_true(metric(&store, RM_KEYFRAME_MEMORY) <= 50000);
		if (i == 4)
			assert_true(metric(&store, RM_KEYFRAME_MEMORY) > 40000);
	}
	assert_true(metric(&store, RM_KEYFRAMES) == 100);
	assert_true(metric(&store, RM_KEYFRAMES_EVICTED) == 0);
	/* Found is not displaced by what is decoded, either. */
	for (int i = 0; i < 100; i++) {
		snprintf(subject, sizeof(subject), KEY("t%d"), i);
		assert_int_equal(find(&store, subject), KEYFRAME_HERE);
	}
	assert_true(metric(&store, RM_KEYFRAMES) == 100);
	assert_true(metric(&store, RM_KEYFRAME_MEMORY) <= 50000);
	store_close(&store);
}

/* Lacking ones count, too. */
static void test_what_is_lacking_is_bounded(void **state)
{
	struct waiter waiter;
	struct store store;
	char subject[64];

	(void)state;
	store_open(&store, 50000);
	for (int i = 0; i < 1000; i++) {
		snprintf(subject, sizeof(subject), KEY("t%d"), i);
		await(&store, subject, &waiter);
		assert_true(store_miss(subject));
		expect(&waiter, KEYFRAME_MISSING);
	}
	assert_true(metric(&store, RM_KEYFRAME_MEMORY) <= 50000);
	store_close(&store);
}

/* One that is larger than the budget serves those who wait for it, and goes. */
static void test_larger_than_the_budget(void **state)
{
	struct waiter waiter;
	struct store store;
	struct buf body = {0};
	struct slice exposition;

	(void)state;
	store_open(&store, 4000);
	await(&store, KEY("a"), &waiter);
	answer_large(KEY("a"));
	assert_int_equal(find(&store, KEY("a")), KEYFRAME_AWAITED);
	assert_int_equal(keyframe_read(waiter.keyframe, store.codec, &body, &exposition), CODEC_OK);
	assert_int_equal(exposition.len, 8000);
	expect(&waiter, KEYFRAME_HERE);
	buf_free(&body);
	store_close(&store);
}

/* Names beyond those that may have lists of their own. */
static void test_invented_publishers(void **state)
{
	struct waiter waiter;
	struct store store;
	char subject[64], publisher[32];

	(void)state;
	store_open(&store, 1 << 20);
	for (int i = 0; i < 1200; i++) {
		snprintf(publisher, sizeof(publisher), "dc%d", i);
		snprintf(subject, sizeof(subject), "p.key.%s.app.a.0.7", publisher);
		await_for(&store, publisher, subject, &waiter);
		assert_true(store_answer(subject, "body\n"));
		expect(&waiter, KEYFRAME_HERE);
	}
	assert_true(metric(&store, RM_KEYFRAMES) == 1200);
	store_close(&store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_missing_is_remembered_ever_longer),
		cmocka_unit_test(test_useless_ones),
		cmocka_unit_test(test_of_another_time),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_denied),
		cmocka_unit_test(test_a_lost_connection_is_waited_for),
		cmocka_unit_test(test_no_answer_is_asked_again_three_times),
		cmocka_unit_test(test_how_many_at_once),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_eviction),
		cmocka_unit_test(test_expanded_while_there_is_room),
		cmocka_unit_test(test_what_is_lacking_is_bounded),
		cmocka_unit_test(test_larger_than_the_budget),
		cmocka_unit_test(test_invented_publishers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
