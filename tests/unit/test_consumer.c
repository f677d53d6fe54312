/* SPDX-License-Identifier: Apache-2.0 */
/* The consumer's states, step by step, on a link and a clock that do what the test says. */
#include "common/nats/consumer.h"

#include "tests/unit/fake_link.h"
#include "tests/unit/fake_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <inttypes.h>

#define INFO     "$JS.API.CONSUMER.INFO.S.d"
#define CREATE   "$JS.API.CONSUMER.DURABLE.CREATE.S.d"
#define NEXT     "$JS.API.CONSUMER.MSG.NEXT.S.d"
#define CREATED1 "2026-01-01T00:00:00.1Z"
#define CREATED2 "2026-02-02T00:00:00.2Z"
#define DURABLE(created, pending, config)                                                          \
	"{\"stream_name\":\"S\",\"name\":\"d\",\"created\":\"" created "\",\"config\":{" config    \
	"},\"delivered\":{\"consumer_seq\":0,\"stream_seq\":0},\"num_ack_pending\":0,"             \
	"\"num_pending\":" #pending "}"
#define CONFIG                                                                                     \
	"\"durable_name\":\"d\",\"ack_policy\":\"explicit\",\"filter_subject\":\"p.scrape.>\""
#define GOOD(created, pending) DURABLE(created, pending, CONFIG)
#define ERROR(code, err_code, words)                                                               \
	"{\"error\":{\"code\":" #code ",\"err_code\":" #err_code ",\"description\":\"" words "\"}" \
	"}"
#define NO_DURABLE  ERROR(404, 10014, "consumer not found")
#define NO_STREAM   ERROR(404, 10059, "stream not found")
#define BATCH       5000
#define MAX_BACKOFF 5000
#define SILENCE     9000
#define BEAT        3000

static struct test {
	struct consumer *consumer;
	int states, messages;
	struct js_delivery last;
	uint64_t generation;
	bool closes_on_message, closes_on_state, is_closed;
	int bindings;
	bool is_made;
	int64_t unacked;
	uint64_t sequence; /* of the last message delivered */
} test;

static void on_closed(void *arg)
{
	*(bool *)arg = true;
}

static void close_consumer(void)
{
	consumer_close(test.consumer, on_closed, &test.is_closed);
	test.consumer = NULL;
}

static void on_message(void *arg, struct consumer_message *message)
{
	assert_ptr_equal(arg, &test);
	test.messages++;
	test.last = message->delivery;
	test.generation = message->generation;
	nats_incoming_free(message->incoming);
	if (test.closes_on_message)
		close_consumer();
}

static void on_state(void *arg)
{
	assert_ptr_equal(arg, &test);
	test.states++;
	if (test.closes_on_state)
		close_consumer();
}

static void on_bound(void *arg, bool is_made, int64_t unacked)
{
	assert_ptr_equal(arg, &test);
	test.bindings++;
	test.is_made = is_made;
	test.unacked = unacked;
}

static void open_consumer(int64_t start_age_ms)
{
	const struct consumer_options options = {
		.link = &fake_link,
		.settings = {.stream = "S",
			.durable = "d",
			.filter_subject = "p.scrape.>",
			.ack_wait_ms = 70000,
			.max_ack_pending = 1000000},
		.start_age_ms = start_age_ms,
		.on_message = on_message,
		.on_state = on_state,
		.on_bound = on_bound,
		.arg = &test,
	};

	test.consumer = consumer_open(NULL, &options);
}

static void open_bound(const char *info)
{
	fake_link.is_up = true;
	open_consumer(80000);
	assert_true(fake_answer(INFO, info));
	assert_true(consumer_is_ready(test.consumer, NULL));
	assert_int_equal(fake_link.asked, 1);
}

static int setup(void **state)
{
	(void)state;
	memset(&test, 0, sizeof(test));
	fake_link_reset();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (test.consumer != NULL)
		close_consumer();
	fake_time_reset();
	assert_true(test.is_closed);
	assert_null(fake_link.listeners);
	assert_null(fake_link.inbox);
	assert_int_equal(fake_outstanding(NULL), 0);
	assert_int_equal(fake_link.live_outgoing, 0);
	assert_int_equal(fake_link.live_incoming, 0);
	fake_link_reset();
	return 0;
}

static void deliver(struct nats_incoming message)
{
	struct nats_incoming *copy = xmalloc(sizeof(*copy));

	*copy = message;
	fake_link.live_incoming++;
	fake_link.inbox->on_message(fake_link.inbox->arg, copy);
}

static void status(int code, const char *words)
{
	deliver((struct nats_incoming){.status = code, .description = words});
}

/* The next message of the stream, with `pending` more behind it. */
static void message(uint64_t pending)
{
	char reply[128];

	test.sequence++;
	snprintf(reply, sizeof(reply),
		"$JS.ACK.S.d.1.%" PRIu64 ".%" PRIu64 ".1700000000000000000.%" PRIu64, test.sequence,
		test.sequence, pending);
	deliver((struct nats_incoming){.subject = SLICE("p.scrape.a.b.c.0"),
		.reply = slice_from(reply),
		.body = SLICE("x")});
}

static void assert_why(const char *part)
{
	struct buf why = {0};

	assert_false(consumer_is_ready(test.consumer, &why));
	assert_false(consumer_is_caught_up(test.consumer));
	if (strstr(buf_cstr(&why), part) == NULL)
		fail_msg("expected \"%s\" in \"%s\"", part, buf_cstr(&why));
	buf_free(&why);
}

static void assert_asks(const char *part)
{
	if (strstr(buf_cstr(&fake_link.asks), part) == NULL)
		fail_msg("expected \"%s\" in \"%s\"", part, buf_cstr(&fake_link.asks));
}

/* -- the durable ----------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum nats_reply outcome;
	const char *info;
	const char *create_answer; /* NULL: no create is asked */
	const char *why;           /* NULL: ready */
	uint64_t retry_ms;         /* before which nothing is asked, and at the latest it is */
} lookups[] = {
	{"there", NATS_REPLY_OK, GOOD(CREATED1, 0), NULL, NULL, 0},
	{"missing and made", NATS_REPLY_OK, NO_DURABLE, GOOD(CREATED1, 0), NULL, 0},
	{"missing and refused", NATS_REPLY_OK, NO_DURABLE,
		ERROR(400, 10013, "consumer name already in use"),
		"cannot create durable \"d\" of stream \"S\": consumer name already in use",
		MAX_BACKOFF},
	{"no stream", NATS_REPLY_OK, NO_STREAM, NULL, "stream \"S\" not found", MAX_BACKOFF},
	{"other filter", NATS_REPLY_OK,
		DURABLE(CREATED1, 0, "\"ack_policy\":\"explicit\",\"filter_subject\":\"other.>\""),
		NULL,
		"its filter is \"other.>\", where the configuration says \"p.scrape.>\"; it is "
		"left alone, and if it may go, this removes it: nats consumer rm S d",
		30000},
	{"no filter", NATS_REPLY_OK, DURABLE(CREATED1, 0, "\"ack_policy\":\"explicit\""), NULL,
		"its filter is \"\"", 30000},
	{"acks all", NATS_REPLY_OK,
		DURABLE(CREATED1, 0, "\"ack_policy\":\"all\",\"filter_subject\":\"p.scrape.>\""),
		NULL, "its ack policy is \"all\"", 30000},
	{"pushes", NATS_REPLY_OK, DURABLE(CREATED1, 0, CONFIG ",\"deliver_subject\":\"somewhere\""),
		NULL, "it pushes", 30000},
	{"nonsense", NATS_REPLY_OK, "[1]", NULL, "cannot check durable \"d\"", MAX_BACKOFF},
	{"not enabled", NATS_REPLY_OK, ERROR(503, 10039, "jetstream not enabled for account"), NULL,
		"jetstream not enabled for account", MAX_BACKOFF},
	{"no JetStream", NATS_REPLY_NO_RESPONDERS, "", NULL, "JetStream is not enabled",
		MAX_BACKOFF},
	{"no answer", NATS_REPLY_TIMEOUT, "", NULL, "no answer in time", MAX_BACKOFF},
};

static void test_lookups(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(lookups); i++) {
		print_message("%s\n", lookups[i].name);
		setup(state);
		fake_link.is_up = true;
		open_consumer(80000);
		assert_why("being looked for");
		assert_true(fake_end(INFO, lookups[i].outcome, lookups[i].info));
		assert_int_equal(fake_outstanding(CREATE), lookups[i].create_answer != NULL);
		if (lookups[i].create_answer != NULL)
			assert_true(fake_answer(CREATE, lookups[i].create_answer));
		assert_int_equal(test.states, 1);
		assert_int_equal(fake_link.asked, lookups[i].why == NULL);
		if (lookups[i].why != NULL) {
			assert_why(lookups[i].why);
			fake_advance(
				lookups[i].retry_ms > MAX_BACKOFF ? lookups[i].retry_ms - 1 : 0);
			assert_int_equal(fake_outstanding(NULL), 0);
			fake_advance(lookups[i].retry_ms);
			assert_int_equal(fake_outstanding(INFO), 1);
			assert_true(fake_answer(INFO, GOOD(CREATED1, 0)));
			assert_true(consumer_is_ready(test.consumer, NULL));
		}
		teardown(state);
	}
}

static void test_reason_is_said_once(void **state)
{
	(void)state;
	fake_link.is_up = true;
	open_consumer(0);
	for (int i = 0; i < 20; i++) {
		assert_true(fake_answer(INFO, NO_STREAM));
		fake_advance(MAX_BACKOFF);
	}
	assert_int_equal(fake_log_count("warn cannot consume"), 1);
	assert_int_equal(test.states, 1);
	assert_true(fake_answer(INFO, GOOD(CREATED1, 0)));
	assert_int_equal(fake_log_count("info consuming"), 1);
	assert_int_equal(test.states, 2);
}

static void test_start_is_chosen_at_creation(void **state)
{
	static const struct {
		int64_t start_age_ms;
		const char *policy;
	} cases[] = {{80000, "by_start_time"}, {0, "all"}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *body;

		setup(state);
		fake_link.is_up = true;
		open_consumer(cases[i].start_age_ms);
		assert_true(fake_answer(INFO, NO_DURABLE));
		body = buf_cstr(&fake_find(CREATE)->message->body);
		assert_non_null(strstr(body, cases[i].policy));
		/* FAKE_WALL_MS and the fake clock's 1000 s, less 80 s */
		if (cases[i].start_age_ms != 0)
			assert_non_null(strstr(body, "2023-11-14T22:"));
		assert_true(fake_answer(CREATE, GOOD(CREATED1, 0)));
		teardown(state);
	}
}

static void test_link_absent_at_start(void **state)
{
	(void)state;
	open_consumer(0);
	assert_why("connection refused");
	fake_advance(60000);
	assert_int_equal(fake_outstanding(NULL), 0);
	fake_up();
	assert_true(fake_answer(INFO, GOOD(CREATED1, 0)));
	assert_true(consumer_is_ready(test.consumer, NULL));
	assert_int_equal(fake_log_count("cannot consume"), 0);
}

static void test_reconnect(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 0));
	message(0);
	assert_int_equal(test.generation, 1);
	fake_down("bye");
	assert_why("bye");
	fake_advance(60000);
	assert_int_equal(fake_outstanding(NULL), 0);
	fake_up();
	assert_int_equal(fake_link.asked, 1);
	assert_true(fake_answer(INFO, GOOD(CREATED1, 0)));
	assert_int_equal(fake_link.asked, 2);
	assert_true(consumer_is_ready(test.consumer, NULL));
}

/* -- pulling --------------------------------------------------------------------------------- */

static void test_pull_request(void **state)
{
	(void)state;
	fake_link.max_payload = 8 << 20;
	open_bound(GOOD(CREATED1, 0));
	assert_asks(NEXT);
	assert_asks("\"batch\":5000");
	assert_asks("\"max_bytes\":16777216");
	assert_asks("\"expires\":30000000000");
	assert_asks("\"idle_heartbeat\":3000000000");
}

static void test_next_pull_when_the_batch_is_complete(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 1000));
	for (int i = 1; i < BATCH; i++)
		message(1000);
	assert_int_equal(fake_link.asked, 1);
	message(1000);
	assert_int_equal(fake_link.asked, 2);
	assert_int_equal(test.messages, BATCH);
	assert_int_equal(consumer_counts(test.consumer)->pulls, 2);
	assert_int_equal(consumer_counts(test.consumer)->messages, BATCH);
}

static void beats(int count)
{
	for (int i = 0; i < count; i++) {
		fake_advance(BEAT);
		status(100, "Idle Heartbeat");
	}
}

static void test_expiry(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 0));
	beats(5);
	status(408, "Request Timeout"); /* of a request before ours */
	assert_int_equal(fake_link.asked, 1);
	beats(5);
	status(408, "Request Timeout");
	assert_int_equal(fake_link.asked, 2);
	assert_int_equal(fake_outstanding(NULL), 0);
}

static void test_brief_pulls_are_spaced(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 0));
	for (int i = 0; i < 60; i++) {
		status(404, "No Messages");
		fake_advance(1000);
	}
	/* At once it would be 61; the waits grow to 1 … 5 s. */
	assert_in_range(fake_link.asked, 10, 50);
	assert_true(consumer_is_ready(test.consumer, NULL));
}

static void test_message_larger_than_the_request(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 1));
	assert_asks("\"max_bytes\":8388608");
	status(409, "Message Size Exceeds MaxBytes");
	fake_advance(MAX_BACKOFF);
	assert_asks("\"max_bytes\":16777216");
	for (int i = 0; i < 10; i++) {
		status(409, "Message Size Exceeds MaxBytes");
		fake_advance(MAX_BACKOFF);
	}
	assert_asks("\"max_bytes\":134217728");
	message(1);
	status(409, "Message Size Exceeds MaxBytes"); /* the rest did not fit: go on at once */
	assert_int_equal(fake_link.asked, 13);
}

static void test_pause(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 1000));
	consumer_pause(test.consumer, true);
	for (int i = 0; i < BATCH; i++)
		message(500);
	assert_int_equal(test.messages, BATCH);
	fake_advance(60000);
	assert_int_equal(fake_link.asked, 1);
	assert_true(consumer_is_ready(test.consumer, NULL));
	consumer_pause(test.consumer, false);
	assert_int_equal(fake_link.asked, 2);
	consumer_pause(test.consumer, false);
	assert_int_equal(fake_link.asked, 2);
}

static const struct {
	const char *name, *before, *after;
	uint64_t delivered; /* before the connection was lost */
	bool is_anew;
} rebinds[] = {
	{"the same", GOOD(CREATED1, 0), GOOD(CREATED1, 0), 0, false},
	{"another", GOOD(CREATED1, 0), GOOD(CREATED2, 0), 0, true},
	{"the same, as a restarted server says it", GOOD("2026-01-01T00:00:00.9999Z", 0),
		GOOD("2026-01-01T00:00:01.0001Z", 0), 0, false},
	{"its sequence fell back", GOOD(CREATED1, 0), GOOD(CREATED1, 0), 3, true},
	{"times that cannot be read", GOOD("then", 0), GOOD("now", 0), 0, true},
	{"a time that cannot be read", GOOD("then", 0), GOOD("then", 0), 0, false},
};

static void test_generation_after_reconnect(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rebinds); i++) {
		print_message("%s\n", rebinds[i].name);
		setup(state);
		open_bound(rebinds[i].before);
		for (uint64_t n = 0; n < rebinds[i].delivered; n++)
			message(0);
		fake_down("bye");
		fake_up();
		assert_true(fake_answer(INFO, rebinds[i].after));
		message(0);
		assert_int_equal(test.generation, 1 + rebinds[i].is_anew);
		teardown(state);
	}
}

static void test_durable_deleted(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 0));
	message(0);
	assert_int_equal(test.generation, 1);
	status(409, "Consumer Deleted");
	assert_true(fake_answer(INFO, NO_DURABLE));
	assert_true(fake_answer(CREATE, GOOD(CREATED2, 0)));
	assert_int_equal(fake_link.asked, 2);
	assert_true(consumer_is_ready(test.consumer, NULL));
	test.sequence = 0;
	message(0);
	assert_int_equal(test.generation, 2);
}

static void test_stream_deleted(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 0));
	beats(2);
	fake_advance(SILENCE - 1);
	assert_int_equal(fake_outstanding(INFO), 0);
	fake_advance(1);
	assert_true(fake_answer(INFO, NO_STREAM));
	assert_why("stream \"S\" not found");
	fake_advance(MAX_BACKOFF);
	assert_true(fake_answer(INFO, NO_DURABLE));
	assert_true(fake_answer(CREATE, GOOD(CREATED2, 0)));
	assert_int_equal(fake_link.asked, 2);
	message(0);
	assert_int_equal(test.generation, 2);
}

static void test_request_lost(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 5));
	fake_advance(SILENCE);
	assert_int_equal(fake_link.asked, 1);
	assert_true(fake_answer(INFO, GOOD(CREATED1, 5)));
	assert_int_equal(fake_link.asked, 2);
	assert_true(consumer_is_ready(test.consumer, NULL));
	assert_int_equal(test.states, 1);
}

static void test_heard_again_while_looking(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 5));
	fake_advance(SILENCE);
	message(4);
	assert_true(fake_end(INFO, NATS_REPLY_TIMEOUT, ""));
	assert_true(consumer_is_ready(test.consumer, NULL));
	assert_int_equal(fake_link.asked, 1);
	fake_advance(SILENCE);
	assert_true(fake_end(INFO, NATS_REPLY_TIMEOUT, ""));
	assert_why("no answer in time");
}

static void test_no_answer_after_deletion(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 0));
	status(409, "Consumer Deleted");
	assert_true(fake_end(INFO, NATS_REPLY_TIMEOUT, ""));
	assert_why("no answer in time");
	fake_advance(MAX_BACKOFF);
	assert_int_equal(fake_outstanding(INFO), 1);
}

static void test_pull_refused(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 0));
	for (int i = 0; i < 5; i++) {
		status(409, "Exceeded MaxRequestBatch of 100");
		assert_why("refuses to be pulled from: Exceeded MaxRequestBatch of 100");
		fake_advance(MAX_BACKOFF);
		assert_true(fake_answer(INFO, GOOD(CREATED1, 0)));
		assert_false(consumer_is_ready(test.consumer, NULL));
	}
	assert_int_equal(fake_log_count("cannot consume"), 1);
	status(100, "Idle Heartbeat");
	assert_true(consumer_is_ready(test.consumer, NULL));
}

static void test_pull_denied(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 0));
	fake_link.inbox->on_denied(fake_link.inbox->arg, "permission to publish to x is missing");
	assert_why("permission to publish to x is missing");
	fake_advance(MAX_BACKOFF);
	assert_true(fake_answer(INFO, GOOD(CREATED1, 0)));
	assert_int_equal(fake_link.asked, 2);
	assert_false(consumer_is_ready(test.consumer, NULL));
	message(0);
	assert_true(consumer_is_ready(test.consumer, NULL));
}

static void test_may_not_ask_for_the_durable(void **state)
{
	(void)state;
	fake_link.is_up = true;
	open_consumer(0);
	assert_true(fake_end(INFO, NATS_REPLY_DENIED, "no permission"));
	assert_why("has not answered a pull");
	assert_int_equal(fake_link.asked, 1);
	beats(1);
	assert_true(consumer_is_caught_up(test.consumer));
	fake_advance(SILENCE);
	assert_true(fake_end(INFO, NATS_REPLY_DENIED, "no permission"));
	assert_why("has not answered a pull");
	assert_int_equal(fake_link.asked, 2);
	message(3);
	assert_true(consumer_is_ready(test.consumer, NULL));
	assert_false(consumer_is_caught_up(test.consumer));
	assert_int_equal(test.generation, 0);
	test.sequence = 0; /* the durable was made anew by somebody */
	message(2);
	assert_int_equal(test.generation, 1);
	assert_int_equal(fake_log_count("durable not checked"), 1);
}

static void test_nobody_answers_and_may_not_ask(void **state)
{
	(void)state;
	fake_link.is_up = true;
	open_consumer(0);
	assert_true(fake_end(INFO, NATS_REPLY_DENIED, "no permission"));
	for (int i = 0; i < 30; i++) {
		if (fake_link.asked > 0)
			status(503, "");
		fake_end(INFO, NATS_REPLY_DENIED, "no permission");
		fake_advance(1000);
	}
	assert_in_range(fake_link.asked, 5, 30);
	assert_why("has not answered a pull");
}

/* -- what arrives ---------------------------------------------------------------------------- */

static void test_caught_up(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 3));
	assert_false(consumer_is_caught_up(test.consumer));
	assert_int_equal(consumer_pending(test.consumer), 3);
	message(2);
	message(1);
	assert_false(consumer_is_caught_up(test.consumer));
	message(0);
	assert_true(consumer_is_caught_up(test.consumer));
	message(4);
	assert_false(consumer_is_caught_up(test.consumer));
	/* The four were removed from the stream: nothing comes, the next look tells. */
	beats(1);
	assert_int_equal(fake_outstanding(INFO), 0);
	beats(1);
	assert_true(fake_answer(INFO, GOOD(CREATED1, 0)));
	assert_true(consumer_is_caught_up(test.consumer));
	assert_int_equal(fake_link.asked, 1);
}

static void test_empty_at_start_is_caught_up(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 0));
	assert_true(consumer_is_caught_up(test.consumer));
}

static const struct {
	const char *name;
	struct nats_incoming message;
	int messages, malformed;
} arrivals[] = {
	{"redelivered", {.reply = SLICE("$JS.ACK.S.d.2.7.7.1700000000000000000.0")}, 1, 0},
	{"with domain", {.reply = SLICE("$JS.ACK.hub.ACC.S.d.1.7.7.1700000000000000000.0.x")}, 1,
		0},
	{"a status that somebody stored",
		{.reply = SLICE("$JS.ACK.S.d.1.7.7.1700000000000000000.0"),
			.status = 409,
			.description = "Consumer Deleted"},
		1, 0},
	{"foreign reply", {.reply = SLICE("x")}, 0, 1},
	{"tokens missing", {.reply = SLICE("$JS.ACK.S.d.1.7.7")}, 0, 1},
	{"letters for digits", {.reply = SLICE("$JS.ACK.S.d.1.a.7.1700000000000000000.0")}, 0, 1},
	{"no reply, no status", {.body = SLICE("x")}, 0, 1},
};

static void test_arrivals(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(arrivals); i++) {
		print_message("%s\n", arrivals[i].name);
		setup(state);
		open_bound(GOOD(CREATED1, 0));
		deliver(arrivals[i].message);
		assert_int_equal(test.messages, arrivals[i].messages);
		assert_int_equal(consumer_counts(test.consumer)->messages, arrivals[i].messages);
		assert_int_equal(consumer_counts(test.consumer)->malformed, arrivals[i].malformed);
		assert_int_equal(consumer_counts(test.consumer)->redelivered,
			test.messages > 0 && test.last.delivered > 1);
		assert_int_equal(fake_outstanding(NULL), 0);
		assert_true(consumer_is_ready(test.consumer, NULL));
		teardown(state);
	}
}

static void test_ack(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 0));
	consumer_ack(test.consumer, SLICE("$JS.ACK.S.d.1.7.7.1.0"));
	assert_int_equal(fake_link.published, 1);
	assert_string_equal(buf_cstr(&fake_link.publishes), "$JS.ACK.S.d.1.7.7.1.0 +ACK");
	fake_down("bye");
	consumer_ack(test.consumer, SLICE("$JS.ACK.S.d.1.8.8.1.0"));
	assert_int_equal(fake_link.published, 1);
	assert_int_equal(consumer_counts(test.consumer)->acks, 1);
}

/* -- another receiver on the same durable ---------------------------------------------------- */

#define JUDGED 39000 /* after binding: until then a lost request may have taken some */
#define MEMORY 60000

static void skip_one(void)
{
	test.sequence++;
	message(0);
}

static void reconnect(void)
{
	fake_down("bye");
	fake_up();
	assert_true(fake_answer(INFO, GOOD(CREATED1, 0)));
}

static void hand_over(void)
{
	status(409, "Leadership Change");
	message(0);
}

static void unreadable(void)
{
	deliver((struct nats_incoming){.reply = SLICE("$JS.ACK.S.d.1.a.7.1.0")});
}

static void fall_back(void)
{
	test.sequence = 0;
	message(0);
}

static void nothing(void)
{
}

static const struct {
	const char *name;
	uint64_t wait_ms;
	void (*before)(void);
	bool is_seen;
} gaps[] = {
	{"a gap", JUDGED, nothing, true},
	{"too soon after binding", JUDGED - 1, nothing, false},
	{"over a reconnect", JUDGED, reconnect, false},
	{"another server takes over", JUDGED, hand_over, false},
	{"one that cannot be read", JUDGED, unreadable, false},
	{"numbers that fell back, and a gap", JUDGED, fall_back, true},
};

/* Keeps the request alive: without heartbeats it would count as lost. */
static void pass(uint64_t ms)
{
	for (uint64_t end = fake_time.now_us + ms * 1000; fake_time.now_us < end;) {
		uint64_t left_ms = (end - fake_time.now_us) / 1000;

		fake_advance(left_ms < BEAT ? left_ms : BEAT);
		status(100, "Idle Heartbeat");
	}
}

static void test_gaps(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(gaps); i++) {
		print_message("%s\n", gaps[i].name);
		setup(state);
		open_bound(GOOD(CREATED1, 0));
		message(0);
		pass(gaps[i].wait_ms);
		message(0);
		gaps[i].before();
		skip_one();
		assert_int_equal(consumer_is_shared(test.consumer), gaps[i].is_seen);
		assert_int_equal(consumer_is_ready(test.consumer, NULL), !gaps[i].is_seen);
		assert_int_equal(consumer_counts(test.consumer)->jumps, gaps[i].is_seen);
		assert_int_equal(fake_log_count("error another receiver"), gaps[i].is_seen);
		teardown(state);
	}
}

static void test_sharing_is_forgotten(void **state)
{
	struct buf why = {0};

	(void)state;
	open_bound(GOOD(CREATED1, 0));
	message(0);
	pass(JUDGED);
	skip_one();
	assert_false(consumer_is_ready(test.consumer, &why));
	assert_string_equal(buf_cstr(&why),
		"durable \"d\" of stream \"S\" is pulled from by another receiver too");
	buf_free(&why);
	pass(MEMORY / 2);
	skip_one();
	pass(MEMORY - 1);
	assert_false(consumer_is_ready(test.consumer, NULL));
	pass(1);
	assert_true(consumer_is_ready(test.consumer, NULL));
	assert_int_equal(consumer_counts(test.consumer)->jumps, 2);
	assert_int_equal(test.states, 3);
}

static void test_bindings_are_told(void **state)
{
	(void)state;
	fake_link.is_up = true;
	open_consumer(80000);
	assert_true(fake_answer(INFO, NO_DURABLE));
	assert_int_equal(test.bindings, 0);
	assert_true(fake_answer(CREATE, GOOD(CREATED1, 0)));
	assert_int_equal(test.bindings, 1);
	assert_true(test.is_made);
	fake_down("bye");
	fake_up();
	assert_true(fake_answer(INFO,
		"{\"created\":\"" CREATED1 "\",\"config\":{" CONFIG "},\"num_ack_pending\":7}"));
	assert_int_equal(test.bindings, 2);
	assert_false(test.is_made);
	assert_int_equal(test.unacked, 7);
	fake_down("bye");
	fake_up();
	assert_true(fake_end(INFO, NATS_REPLY_DENIED, "no"));
	assert_int_equal(test.bindings, 3);
	assert_int_equal(test.unacked, -1);
}

static void test_closes_from_inside_on_message(void **state)
{
	(void)state;
	open_bound(GOOD(CREATED1, 0));
	test.closes_on_message = true;
	message(0);
	assert_true(test.consumer == NULL);
}

static const struct {
	const char *name;
	enum nats_reply outcome;
	const char *info;
} closings[] = {
	{"bound", NATS_REPLY_OK, GOOD(CREATED1, 0)},
	{"failed", NATS_REPLY_OK, NO_STREAM},
	{"unchecked", NATS_REPLY_DENIED, "no"},
};

static void test_closes_from_inside_on_state(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(closings); i++) {
		print_message("%s\n", closings[i].name);
		setup(state);
		fake_link.is_up = true;
		open_consumer(0);
		test.closes_on_state = true;
		assert_true(fake_end(INFO, closings[i].outcome, closings[i].info));
		assert_true(test.consumer == NULL);
		assert_int_equal(fake_link.asked, 0);
		teardown(state);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lookups),
		TEST(test_reason_is_said_once),
		cmocka_unit_test(test_start_is_chosen_at_creation),
		TEST(test_link_absent_at_start),
		TEST(test_reconnect),
		TEST(test_pull_request),
		TEST(test_next_pull_when_the_batch_is_complete),
		TEST(test_expiry),
		TEST(test_brief_pulls_are_spaced),
		TEST(test_message_larger_than_the_request),
		TEST(test_pause),
		cmocka_unit_test(test_generation_after_reconnect),
		TEST(test_durable_deleted),
		TEST(test_stream_deleted),
		TEST(test_request_lost),
		TEST(test_heard_again_while_looking),
		TEST(test_no_answer_after_deletion),
		TEST(test_pull_refused),
		TEST(test_pull_denied),
		TEST(test_may_not_ask_for_the_durable),
		TEST(test_nobody_answers_and_may_not_ask),
		TEST(test_caught_up),
		TEST(test_empty_at_start_is_caught_up),
		cmocka_unit_test(test_arrivals),
		TEST(test_ack),
		cmocka_unit_test(test_gaps),
		TEST(test_sharing_is_forgotten),
		TEST(test_bindings_are_told),
		TEST(test_closes_from_inside_on_message),
		cmocka_unit_test(test_closes_from_inside_on_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
