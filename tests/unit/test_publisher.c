/* SPDX-License-Identifier: Apache-2.0 */
/* The publisher's states, step by step, on a link and a clock that do what the test says. */
#include "common/nats/publisher.h"

#include "tests/unit/fake_link.h"
#include "tests/unit/fake_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define INFO        "$JS.API.STREAM.INFO.S"
#define CREATE      "$JS.API.STREAM.CREATE.S"
#define GOOD_CONFIG "\"config\":{\"name\":\"S\",\"subjects\":[\"p\",\"p.>\"],\"max_msg_size\":-1}"
#define GOOD_INFO   "{\"created\":\"2026-01-01T00:00:00Z\"," GOOD_CONFIG "}"
#define ERROR(code, err_code, words)                                                               \
	"{\"error\":{\"code\":" #code ",\"err_code\":" #err_code ",\"description\":\"" words "\"}" \
	"}"
#define NOT_FOUND   ERROR(404, 10059, "stream not found")
#define FULL        ERROR(503, 10077, "maximum messages exceeded")
#define TOO_LARGE   ERROR(400, 10054, "message size exceeds maximum allowed")
#define ACK         "{\"stream\":\"S\",\"seq\":1}"
#define MAX_BACKOFF 5000
#define MAX_UNACKED 4

struct done {
	intptr_t cookie;
	enum publish_outcome outcome;
	char reason[128];
	double ack_seconds;
	uint64_t sequence; /* of the PubAck; 0: none */
	char domain[16];
};

static struct test {
	struct stream_settings settings;
	struct publisher *publisher;
	struct done done[32];
	size_t done_count;
	int rooms;
	bool closes_when_done, closes_in_room, is_closed;
	intptr_t sends_when_done; /* cookie of one more message to send; 0: none */
} test;

static void on_closed(void *arg)
{
	*(bool *)arg = true;
}

static void close_publisher(void)
{
	publisher_close(test.publisher, on_closed, &test.is_closed);
	test.publisher = NULL;
}

/* Message n goes to subject p.n: the test tells them apart by it. */
static void send_sized(intptr_t n, size_t bytes)
{
	struct buf body = {0};
	char subject[32];
	struct nats_outgoing *message;

	snprintf(subject, sizeof(subject), "p.%d", (int)n);
	buf_append_str(&body, "x");
	message = nats_outgoing_new(slice_from(subject), NULL, &body);
	message->bytes = bytes;
	publisher_send(test.publisher, message, (void *)n);
	nats_outgoing_unref(message);
}

static void send_from(intptr_t first, intptr_t last)
{
	for (intptr_t n = first; n <= last; n++)
		send_sized(n, 1);
}

static void on_done(void *arg, void *cookie, enum publish_outcome outcome, const char *reason,
	double ack_seconds)
{
	struct done *done = &test.done[test.done_count++];
	intptr_t more = test.sends_when_done;

	assert_ptr_equal(arg, &test);
	*done = (struct done){
		.cookie = (intptr_t)cookie, .outcome = outcome, .ack_seconds = ack_seconds};
	snprintf(done->reason, sizeof(done->reason), "%s", reason != NULL ? reason : "");
	if (publisher_ack(test.publisher) != NULL) {
		done->sequence = publisher_ack(test.publisher)->sequence;
		snprintf(done->domain, sizeof(done->domain), "%.15s",
			publisher_ack(test.publisher)->domain);
	}
	test.sends_when_done = 0;
	if (more != 0)
		send_sized(more, 1);
	if (test.closes_when_done)
		close_publisher();
}

static void on_room(void *arg)
{
	assert_ptr_equal(arg, &test);
	test.rooms++;
	if (test.closes_in_room)
		close_publisher();
}

static void open_publisher(bool create, uint64_t max_message_bytes)
{
	const struct publisher_options options = {
		.link = &fake_link,
		.stream = &test.settings,
		.publish_subject = "p.scrape.>",
		.max_unacked = MAX_UNACKED,
		.max_message_bytes = max_message_bytes,
		.on_done = on_done,
		.on_room = on_room,
		.arg = &test,
	};

	test.settings.create = create;
	test.publisher = publisher_open(NULL, &options);
}

static void open_ready(void)
{
	fake_link.is_up = true;
	open_publisher(false, 0);
	assert_true(fake_answer(INFO, GOOD_INFO));
	assert_true(publisher_is_ready(test.publisher, NULL));
}

static int setup(void **state)
{
	(void)state;
	memset(&test, 0, sizeof(test));
	test.settings.stream = xstrdup("S");
	test.settings.topic = xstrdup("p");
	test.settings.max_bytes = test.settings.max_msgs_per_subject = -1;
	test.settings.replicas = 1;
	fake_link_reset();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (test.publisher != NULL)
		close_publisher();
	fake_time_reset();
	assert_true(test.is_closed);
	assert_null(fake_link.listeners);
	assert_int_equal(fake_outstanding(NULL), 0);
	assert_int_equal(fake_link.live_outgoing, 0);
	free(test.settings.stream);
	free(test.settings.topic);
	fake_link_reset();
	return 0;
}

static void assert_why(const char *part)
{
	struct buf why = {0};

	assert_false(publisher_is_ready(test.publisher, &why));
	assert_false(publisher_has_room(test.publisher));
	if (strstr(buf_cstr(&why), part) == NULL)
		fail_msg("expected \"%s\" in \"%s\"", part, buf_cstr(&why));
	buf_free(&why);
}

static void assert_done(size_t i, intptr_t cookie, enum publish_outcome outcome)
{
	assert_true(i < test.done_count);
	assert_int_equal(test.done[i].cookie, cookie);
	assert_int_equal(test.done[i].outcome, outcome);
}

/* What is outstanding are exactly the messages first … last, in this order. */
static void assert_sent(intptr_t first, intptr_t last)
{
	struct fake_request *request;
	char subject[32];

	TAILQ_FOREACH (request, &fake_link.requests, entry) {
		snprintf(subject, sizeof(subject), "p.%d", (int)first++);
		assert_string_equal(request->message->subject, subject);
	}
	assert_int_equal(first - 1, last);
}

/* -- the stream ------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	bool create;
	enum nats_reply outcome;
	const char *info;
	const char *create_answer; /* NULL: no create is asked */
	const char *why;           /* NULL: ready */
} checks[] = {
	{"takes ours", false, NATS_REPLY_OK, GOOD_INFO, NULL, NULL},
	{"takes ours, create has nothing to do", true, NATS_REPLY_OK, GOOD_INFO, NULL, NULL},
	{"missing", false, NATS_REPLY_OK, NOT_FOUND, NULL,
		"stream \"S\" not found (create: true would make it)"},
	{"missing and made", true, NATS_REPLY_OK, NOT_FOUND, GOOD_INFO, NULL},
	{"missing and refused", true, NATS_REPLY_OK, NOT_FOUND,
		ERROR(400, 10065, "subjects overlap with an existing stream"),
		"cannot create stream \"S\": subjects overlap with an existing stream"},
	{"missing and nonsense", true, NATS_REPLY_OK, NOT_FOUND, "[]",
		"cannot create stream \"S\""},
	{"other subjects", true, NATS_REPLY_OK,
		"{\"config\":{\"name\":\"S\",\"subjects\":[\"a.>\",\"b\"]}}", NULL,
		"stream \"S\" takes \"a.>\", \"b\" and not our \"p.scrape.>\""},
	{"other subjects, sourced", false, NATS_REPLY_OK,
		"{\"config\":{\"name\":\"S\",\"sources\":[{\"name\":\"D\"}]}}", NULL, NULL},
	{"no subjects", false, NATS_REPLY_OK, "{\"config\":{\"name\":\"S\"}}", NULL,
		"takes no subjects"},
	{"not enabled", true, NATS_REPLY_OK, ERROR(503, 10039, "jetstream not enabled for account"),
		NULL, "jetstream not enabled for account"},
	{"no words", false, NATS_REPLY_OK, "{\"error\":{\"code\":500,\"err_code\":1}}", NULL,
		"error 500 (1)"},
	{"nonsense", false, NATS_REPLY_OK, "nonsense", NULL, "cannot check stream \"S\""},
	{"may not ask", true, NATS_REPLY_DENIED, "permission missing", NULL, NULL},
	{"no JetStream", true, NATS_REPLY_NO_RESPONDERS, "", NULL, "JetStream is not enabled"},
	{"no answer", false, NATS_REPLY_TIMEOUT, "", NULL, "no answer in time"},
};

static void test_checks(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		print_message("%s\n", checks[i].name);
		setup(state);
		fake_link.is_up = true;
		open_publisher(checks[i].create, 0);
		assert_why("being checked");
		assert_true(fake_end(INFO, checks[i].outcome, checks[i].info));
		assert_int_equal(fake_outstanding(CREATE), checks[i].create_answer != NULL);
		if (checks[i].create_answer != NULL)
			assert_true(fake_answer(CREATE, checks[i].create_answer));
		assert_int_equal(test.rooms, 1);
		if (checks[i].why == NULL) {
			assert_true(publisher_has_room(test.publisher));
			fake_advance(60000);
			assert_int_equal(fake_outstanding(NULL), 0);
		} else {
			assert_why(checks[i].why);
			fake_advance(MAX_BACKOFF);
			assert_int_equal(fake_outstanding(INFO), 1);
			assert_true(fake_answer(INFO, GOOD_INFO));
			assert_true(publisher_is_ready(test.publisher, NULL));
		}
		teardown(state);
	}
}

static void test_reason_is_said_once(void **state)
{
	(void)state;
	fake_link.is_up = true;
	open_publisher(false, 0);
	for (int i = 0; i < 20; i++) {
		assert_true(fake_answer(INFO, NOT_FOUND));
		fake_advance(MAX_BACKOFF);
	}
	assert_int_equal(fake_log_count("warn cannot publish"), 1);
	assert_int_equal(test.rooms, 1);
	assert_true(fake_end(INFO, NATS_REPLY_DENIED, "not permitted"));
	assert_int_equal(fake_log_count("info publishing stream=S"), 1);
	fake_down("bye");
	fake_up();
	assert_true(fake_end(INFO, NATS_REPLY_DENIED, "not permitted"));
	assert_int_equal(fake_log_count("stream not checked"), 1);
	assert_int_equal(publisher_counts(test.publisher)->stream_checks, 22);
}

static void test_link_absent_at_start(void **state)
{
	(void)state;
	open_publisher(false, 0);
	assert_why("connection refused");
	fake_advance(60000);
	assert_int_equal(fake_outstanding(NULL), 0);
	assert_int_equal(test.rooms, 0);
	fake_up();
	assert_true(fake_answer(INFO, GOOD_INFO));
	assert_true(publisher_has_room(test.publisher));
	assert_int_equal(fake_log_count("cannot publish"), 0);
}

static void test_link_lost_while_checking(void **state)
{
	(void)state;
	fake_link.is_up = true;
	open_publisher(true, 0);
	assert_true(fake_answer(INFO, NOT_FOUND));
	fake_down("connection closed");
	assert_int_equal(fake_link.cancelled, 1); /* or a late end would meet the next check */
	assert_why("connection closed");
	fake_advance(60000);
	assert_int_equal(fake_outstanding(NULL), 0);
	fake_up();
	assert_int_equal(fake_outstanding(INFO), 1);
}

/* -- messages -------------------------------------------------------------------------------- */

static void test_acked(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 2);
	fake_advance(20);
	assert_true(fake_answer("p.2", ACK));
	assert_true(fake_answer("p.1", ACK));
	assert_done(0, 2, PUBLISH_ACKED);
	assert_done(1, 1, PUBLISH_ACKED);
	assert_true(test.done[1].ack_seconds > 0.019 && test.done[1].ack_seconds < 0.021);
	assert_int_equal(publisher_unacked(test.publisher), 0);
	assert_int_equal(publisher_counts(test.publisher)->retries, 0);
	assert_int_equal(publisher_counts(test.publisher)->errors, 0);
}

static void test_room(void **state)
{
	(void)state;
	open_ready();
	test.rooms = 0;
	send_from(1, MAX_UNACKED);
	assert_false(publisher_has_room(test.publisher));
	assert_true(publisher_is_ready(test.publisher, NULL));
	assert_true(fake_answer("p.1", ACK));
	assert_int_equal(test.rooms, 1);
	assert_true(fake_answer("p.2", ACK));
	assert_int_equal(test.rooms, 1);
	assert_int_equal(publisher_unacked(test.publisher), MAX_UNACKED - 2);
}

static void test_duplicates(void **state)
{
	const char *duplicate = "{\"stream\":\"S\",\"seq\":1,\"duplicate\":true}";

	(void)state;
	open_ready();
	send_from(1, 1);
	assert_true(fake_answer("p.1", duplicate));
	assert_done(0, 1, PUBLISH_DUPLICATE);
	send_from(2, 2);
	fake_down("bye");
	fake_up();
	assert_true(fake_answer(INFO, GOOD_INFO));
	assert_true(fake_answer("p.2", duplicate));
	assert_done(1, 2, PUBLISH_ACKED);
}

static void test_sent_again_in_order_after_reconnect(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 3);
	fake_down("bye");
	assert_why("bye");
	assert_int_equal(fake_outstanding(NULL), 0);
	fake_up();
	assert_true(fake_answer(INFO, GOOD_INFO));
	assert_sent(1, 3);
	assert_int_equal(publisher_counts(test.publisher)->retries, 3);
	assert_int_equal(publisher_counts(test.publisher)->errors, 0);
	assert_int_equal(test.done_count, 0);
	assert_int_equal(publisher_unacked(test.publisher), 3);
}

static void test_down_heard_late(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 2);
	assert_true(fake_end("p.1", NATS_REPLY_DOWN, ""));
	fake_advance(1000);
	assert_int_equal(fake_outstanding("p.1"), 1);
	assert_int_equal(fake_outstanding("p.2"), 1);
}

static void test_stream_full(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 4);
	for (int n = 1; n <= 4; n++)
		assert_true(fake_end(
			(const char *[]){"p.1", "p.2", "p.3", "p.4"}[n - 1], NATS_REPLY_OK, FULL));
	assert_why("stream \"S\" refuses messages: maximum messages exceeded");
	for (int i = 0; i < 10; i++) {
		fake_advance(MAX_BACKOFF);
		assert_sent(1, 1);
		assert_true(fake_answer("p.1", FULL));
		assert_int_equal(fake_outstanding(NULL), 0);
	}
	assert_int_equal(fake_log_count("cannot publish"), 1);
	fake_advance(MAX_BACKOFF);
	assert_true(fake_answer("p.1", ACK));
	assert_sent(2, 3);
	assert_why("maximum messages exceeded");
	assert_true(fake_answer("p.2", ACK));
	assert_true(fake_answer("p.3", ACK));
	assert_sent(4, 4);
	assert_true(fake_answer("p.4", ACK));
	assert_true(publisher_is_ready(test.publisher, NULL));
	for (size_t i = 0; i < 4; i++)
		assert_done(i, (intptr_t)i + 1, PUBLISH_ACKED);
	assert_int_equal(publisher_counts(test.publisher)->errors, 14);
}

static void test_full_again_while_resuming(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 4);
	assert_true(fake_answer("p.1", FULL));
	assert_true(fake_answer("p.2", FULL));
	assert_true(fake_answer("p.3", FULL));
	assert_true(fake_answer("p.4", FULL));
	fake_advance(MAX_BACKOFF);
	assert_true(fake_answer("p.1", ACK));
	assert_sent(2, 3);
	assert_true(fake_answer("p.2", FULL));
	assert_true(fake_answer("p.3", FULL));
	assert_int_equal(fake_outstanding(NULL), 0);
	fake_advance(MAX_BACKOFF);
	assert_sent(2, 2);
	assert_int_equal(fake_log_count("cannot publish"), 1);
	assert_int_equal(fake_log_count("info publishing"), 1);
}

static void test_full_over_a_reconnect_is_probed(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 3);
	assert_true(fake_answer("p.1", FULL));
	fake_down("bye");
	fake_up();
	assert_true(fake_answer(INFO, GOOD_INFO));
	assert_sent(1, 1);
	assert_false(publisher_has_room(test.publisher));
	assert_true(fake_answer("p.1", ACK));
	assert_sent(2, 3);
}

static void test_stream_deleted_and_made_again(void **state)
{
	(void)state;
	fake_link.is_up = true;
	open_publisher(true, 0);
	assert_true(fake_answer(INFO, GOOD_INFO));
	send_from(1, 3);
	assert_true(fake_end("p.1", NATS_REPLY_NO_RESPONDERS, ""));
	assert_true(fake_end("p.2", NATS_REPLY_NO_RESPONDERS, ""));
	assert_true(fake_end("p.3", NATS_REPLY_NO_RESPONDERS, ""));
	assert_why("stream \"S\" is gone");
	fake_advance(MAX_BACKOFF);
	assert_int_equal(fake_outstanding(NULL), 1);
	assert_true(fake_answer(INFO, NOT_FOUND));
	assert_true(fake_answer(CREATE, GOOD_INFO));
	assert_sent(1, 1);
	assert_true(fake_answer("p.1", ACK));
	assert_sent(2, 3);
	assert_int_equal(fake_log_count("cannot publish"), 1);
}

static void test_one_ack_lost(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 2);
	fake_advance(10);
	assert_true(fake_answer("p.2", ACK));
	assert_true(fake_end("p.1", NATS_REPLY_TIMEOUT, ""));
	assert_true(publisher_is_ready(test.publisher, NULL));
	assert_sent(1, 1);
	assert_int_equal(publisher_counts(test.publisher)->retries, 1);
	assert_int_equal(publisher_counts(test.publisher)->errors, 1);
}

static void test_silence(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 3);
	fake_advance(5000);
	assert_true(fake_end("p.1", NATS_REPLY_TIMEOUT, ""));
	assert_true(fake_end("p.2", NATS_REPLY_TIMEOUT, ""));
	assert_true(fake_end("p.3", NATS_REPLY_TIMEOUT, ""));
	assert_why("stream \"S\" does not acknowledge within 5s");
	fake_advance(MAX_BACKOFF);
	assert_sent(1, 1);
	assert_true(fake_answer("p.1", ACK));
	assert_true(fake_answer("p.2", ACK));
	assert_true(fake_answer("p.3", ACK));
	assert_true(publisher_has_room(test.publisher));
}

static void test_permission_missing(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 2);
	assert_true(fake_end("p.1", NATS_REPLY_DENIED, "permission to publish to p.1 is missing"));
	assert_true(publisher_is_ready(test.publisher, NULL)); /* p.2 will tell more */
	assert_true(fake_end("p.2", NATS_REPLY_DENIED, "permission to publish to p.2 is missing"));
	assert_why("permission to publish to p.2 is missing");
	assert_int_equal(publisher_unacked(test.publisher), 2);
	fake_advance(2 * MAX_BACKOFF); /* none is left that was not denied: one more is asked for */
	assert_true(publisher_has_room(test.publisher));
	assert_sent(1, 1);
	assert_true(fake_answer("p.1", ACK));
	assert_true(fake_answer("p.2", ACK));
	assert_true(publisher_is_ready(test.publisher, NULL));
}

#define DENY(subject)                                                                              \
	assert_true(fake_end(subject, NATS_REPLY_DENIED, "permission to publish is missing"))

/* What may not be published does not hold back what may. */
static void test_permission_missing_for_one(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 3);
	DENY("p.1");
	assert_true(fake_answer("p.2", ACK));
	fake_advance(100);
	assert_int_equal(fake_outstanding("p.1"), 1);
	DENY("p.1");
	assert_int_equal(test.done_count, 2);
	assert_int_equal(test.done[1].cookie, 1);
	assert_int_equal(test.done[1].outcome, PUBLISH_DENIED);
	assert_true(fake_answer("p.3", ACK));
	assert_true(publisher_is_ready(test.publisher, NULL));
	assert_int_equal(fake_log_count("cannot publish"), 0);
}

/* Alone under way, it stops us until another one has been tried. */
static void test_permission_missing_for_the_only_one(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 1);
	DENY("p.1");
	assert_why("permission to publish is missing");
	assert_false(publisher_has_room(test.publisher));
	for (int i = 0; i < 1000 && !publisher_has_room(test.publisher); i++)
		fake_advance(1);
	assert_false(publisher_is_ready(test.publisher, NULL));
	send_from(2, 2);
	assert_false(publisher_has_room(test.publisher));
	assert_int_equal(fake_outstanding("p.2"), 1);
	assert_true(fake_answer("p.2", ACK));
	assert_int_equal(fake_outstanding("p.1"), 1);
	DENY("p.1");
	assert_int_equal(test.done[1].outcome, PUBLISH_DENIED);
	assert_true(publisher_is_ready(test.publisher, NULL));
	assert_true(publisher_has_room(test.publisher));
}

/* Taken away for all, nothing is given up, however long that lasts. */
static void test_permission_missing_for_all(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 2);
	DENY("p.1");
	DENY("p.2");
	for (int i = 0; i < 50; i++) {
		fake_advance(MAX_BACKOFF);
		if (publisher_has_room(test.publisher) && publisher_unacked(test.publisher) == 2)
			send_from(3, 3);
		for (const char **at = (const char *[]){"p.1", "p.2", "p.3", NULL}; *at != NULL;
			at++)
			if (fake_outstanding(*at) > 0)
				DENY(*at);
	}
	assert_int_equal(test.done_count, 0);
	assert_int_equal(publisher_unacked(test.publisher), 3);
	for (int i = 0; i < 3 && test.done_count < 3; i++) {
		fake_advance(MAX_BACKOFF);
		for (const char **at = (const char *[]){"p.1", "p.2", "p.3", NULL}; *at != NULL;
			at++)
			if (fake_outstanding(*at) > 0)
				assert_true(fake_answer(*at, ACK));
	}
	assert_int_equal(test.done_count, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(test.done[i].cookie, i + 1);
		assert_int_equal(test.done[i].outcome, PUBLISH_ACKED);
	}
	assert_true(publisher_is_ready(test.publisher, NULL));
}

static const struct {
	const char *name, *answer;
	bool is_refused; /* for good; else the stream is waited for */
} errors[] = {
	{"larger than the stream takes", TOO_LARGE, true},
	{"headers too large", ERROR(400, 10097, "header size exceeds maximum"), true},
	{"not acceptable", ERROR(400, 10003, "bad request"), true},
	{"subject full", ERROR(503, 10077, "maximum messages per subject exceeded"), true},
	{"sealed", ERROR(400, 10109, "invalid operation on sealed stream"), false},
	{"out of storage", ERROR(503, 10047, "insufficient storage resources available"), false},
	{"out of resources", ERROR(503, 10023, "insufficient resources"), false},
	{"gone in between", NOT_FOUND, false},
	{"not an acknowledgement", "pong", false},
	{"empty", "", false},
};

static void test_errors(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		print_message("%s\n", errors[i].name);
		setup(state);
		open_ready();
		send_from(1, 2);
		assert_true(fake_answer("p.1", errors[i].answer));
		assert_int_equal(publisher_counts(test.publisher)->errors, 1);
		assert_int_equal(test.done_count, errors[i].is_refused);
		assert_int_equal(publisher_is_ready(test.publisher, NULL), errors[i].is_refused);
		if (errors[i].is_refused)
			assert_done(0, 1, PUBLISH_REFUSED);
		teardown(state);
	}
}

static void test_refused_probe_does_not_bar_the_others(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 2);
	assert_true(fake_answer("p.1", FULL));
	assert_true(fake_answer("p.2", FULL));
	fake_advance(MAX_BACKOFF);
	assert_true(fake_answer("p.1", TOO_LARGE));
	assert_done(0, 1, PUBLISH_REFUSED);
	assert_string_equal(test.done[0].reason, "message size exceeds maximum allowed");
	assert_sent(2, 2);
	assert_true(fake_answer("p.2", TOO_LARGE));
	assert_true(publisher_is_ready(test.publisher, NULL));
}

static void test_larger_than_max_payload(void **state)
{
	(void)state;
	open_ready();
	send_sized(1, (1 << 20) + 1);
	send_sized(2, 1 << 20);
	assert_int_equal(test.done_count, 0);
	assert_sent(2, 2);
	fake_advance(1);
	assert_done(0, 1, PUBLISH_REFUSED);
	fake_down("bye");
	fake_link.max_payload = 1000;
	fake_up();
	assert_true(fake_answer(INFO, GOOD_INFO));
	assert_done(1, 2, PUBLISH_REFUSED);
	assert_int_equal(fake_outstanding(NULL), 0);
	assert_true(publisher_has_room(test.publisher));
}

static void test_stored_by_another_stream(void **state)
{
	(void)state;
	open_ready();
	for (int i = 0; i < 3; i++) {
		send_from(1, 1);
		assert_true(fake_answer("p.1", "{\"stream\":\"H\",\"domain\":\"hub\",\"seq\":9}"));
		assert_done((size_t)i, 1, PUBLISH_ACKED);
		assert_true(test.done[i].sequence == 9);
		assert_string_equal(test.done[i].domain, "hub");
	}
	assert_null(publisher_ack(test.publisher));
	assert_int_equal(fake_log_count("configured=S stream=H domain=hub"), 1);
}

static void test_sends_and_closes_from_inside_on_done(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 2);
	test.sends_when_done = 3;
	assert_true(fake_answer("p.1", ACK));
	assert_sent(2, 3);
	test.closes_when_done = true;
	assert_true(fake_answer("p.2", ACK));
	assert_int_equal(fake_outstanding(NULL), 0);
	assert_int_equal(test.done_count, 2);
}

static void test_closes_while_refusing_oversized(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 3);
	fake_down("bye");
	fake_link.max_payload = 0;
	test.closes_when_done = true;
	fake_up();
	assert_true(fake_answer(INFO, GOOD_INFO));
	assert_int_equal(test.done_count, 1);
	assert_true(test.publisher == NULL);
}

static void test_closes_from_inside_on_room(void **state)
{
	(void)state;
	open_ready();
	send_from(1, 2);
	test.closes_in_room = true;
	assert_true(fake_answer("p.1", FULL));
	assert_true(test.publisher == NULL);
}

static const struct {
	const char *name;
	size_t max_payload;
	uint64_t configured;
	const char *max_msg_size;
	size_t expected;
} limits[] = {
	{"the server's less a margin", 1 << 20, 0, "-1", (1 << 20) - 16384},
	{"not known yet", 0, 0, "-1", (1 << 20) - 16384},
	{"a tiny server", 1000, 0, "-1", 500},
	{"configured", 1 << 20, 5000, "-1", 5000},
	{"configured above the server's", 4096, 5000, "-1", 4096},
	{"the stream's", 1 << 20, 5000, "3000", 3000},
	{"the stream's is no limit", 1 << 20, 0, "0", (1 << 20) - 16384},
	{"the stream's is larger", 1 << 20, 0, "9000000", (1 << 20) - 16384},
};

static void test_max_message_bytes(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		char info[256];

		print_message("%s\n", limits[i].name);
		setup(state);
		fake_link.is_up = true;
		fake_link.max_payload = limits[i].max_payload;
		open_publisher(false, limits[i].configured);
		snprintf(info, sizeof(info),
			"{\"config\":{\"name\":\"S\",\"subjects\":[\"p.>\"],\"max_msg_size\":%s}}",
			limits[i].max_msg_size);
		assert_true(fake_answer(INFO, info));
		assert_int_equal(publisher_max_message_bytes(test.publisher), limits[i].expected);
		teardown(state);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checks),
		TEST(test_reason_is_said_once),
		TEST(test_link_absent_at_start),
		TEST(test_link_lost_while_checking),
		TEST(test_acked),
		TEST(test_room),
		TEST(test_duplicates),
		TEST(test_sent_again_in_order_after_reconnect),
		TEST(test_down_heard_late),
		TEST(test_stream_full),
		TEST(test_full_again_while_resuming),
		TEST(test_full_over_a_reconnect_is_probed),
		TEST(test_stream_deleted_and_made_again),
		TEST(test_one_ack_lost),
		TEST(test_silence),
		TEST(test_permission_missing),
		TEST(test_permission_missing_for_one),
		TEST(test_permission_missing_for_the_only_one),
		TEST(test_permission_missing_for_all),
		cmocka_unit_test(test_errors),
		TEST(test_refused_probe_does_not_bar_the_others),
		TEST(test_larger_than_max_payload),
		TEST(test_stored_by_another_stream),
		TEST(test_sends_and_closes_from_inside_on_done),
		TEST(test_closes_while_refusing_oversized),
		TEST(test_closes_from_inside_on_room),
		cmocka_unit_test(test_max_message_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
