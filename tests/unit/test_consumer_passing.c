/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passing consumers against a real nats-server: the newest of each subject and all that follow,
 * however large they are together, made anew when lost. Other consumers are in test_consumer.c.
 */
#include "common/nats/consumer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/link_fixture.h"

#define SUBJECTS   300
#define BODY_BYTES 60000 /* more than a durable asks for at once, all together */

struct following {
	struct consumer *consumer;
	int messages;
	uint64_t sum; /* of the sequences */
	uint64_t generation;
	char name[128]; /* of the consumer, as the last delivery says it */
	bool is_closed;
};

static void note_name(struct following *following, struct slice reply)
{
	/* $JS.ACK.<stream>.<consumer>.… */
	const char *at = reply.ptr;

	for (int dots = 0; dots < 3; at++)
		dots += *at == '.';
	snprintf(following->name, sizeof(following->name), "%.*s", (int)strcspn(at, "."), at);
}

static void on_message(void *arg, struct consumer_message *message)
{
	struct following *following = arg;
	struct slice reply = nats_incoming_reply(message->incoming);

	assert_true(message->is_unacked);
	assert_false(message->is_lookback);
	following->messages++;
	following->sum += message->delivery.stream_seq;
	following->generation = message->generation;
	note_name(following, reply);
	nats_incoming_free(message->incoming);
}

static void on_state(void *arg)
{
	(void)arg;
}

static void on_consumer_closed(void *arg)
{
	*(bool *)arg = true;
}

static void open_consumer(struct fixture *f, struct following *following, const char *stream)
{
	const struct consumer_options options = {
		.link = f->link,
		.settings = {.stream = stream, .filter_subject = "pass.scrape.>"},
		.on_message = on_message,
		.on_state = on_state,
		.arg = following,
	};

	*following = (struct following){.consumer = consumer_open(&f->loop, &options)};
	assert_false(consumer_is_caught_up(following->consumer));
}

static void finish(struct fixture *f, struct following *following)
{
	consumer_close(following->consumer, on_consumer_closed, &following->is_closed);
	RUN_UNTIL(f, following->is_closed);
	close_link(f);
}

static void publish(struct fixture *f, int number)
{
	static char body[BODY_BYTES + 1];
	char subject[64];
	struct nats_outgoing *message;

	memset(body, 'x', BODY_BYTES);
	snprintf(subject, sizeof(subject), "pass.scrape.a.b.c%d.0", number);
	message = message_of(subject, body);
	nats_link_publish(f->link, message);
	nats_outgoing_unref(message);
}

static void make_stream(struct fixture *f)
{
	request(f, "$JS.API.STREAM.CREATE.PASS",
		"{\"name\":\"PASS\",\"subjects\":[\"pass.>\"],\"storage\":\"memory\","
		"\"num_replicas\":1}");
}

static void delete_stream(struct fixture *f)
{
	request(f, "$JS.API.STREAM.DELETE.PASS", "");
}

/* Two of each subject. */
static void fill(struct fixture *f)
{
	make_stream(f);
	for (int i = 0; i < 2 * SUBJECTS; i++)
		publish(f, i % SUBJECTS);
	request(f, "pass.other", "x");
}

static void test_the_newest_and_what_follows(void **state)
{
	const uint64_t n = SUBJECTS;
	struct following following;
	struct fixture f;

	(void)state;
	open_all(&f);
	fill(&f);
	open_consumer(&f, &following, "PASS");
	RUN_UNTIL(&f, consumer_is_caught_up(following.consumer));
	assert_int_equal(following.messages, n);
	assert_int_equal(following.sum, n * n + n * (n + 1) / 2);
	assert_true(consumer_is_ready(following.consumer, NULL));
	publish(&f, 3);
	publish(&f, 3);
	RUN_UNTIL(&f, following.messages == SUBJECTS + 2);
	assert_int_equal(consumer_counts(following.consumer)->acks, 0);
	consumer_ack(following.consumer, (struct slice){NULL, 0});
	assert_int_equal(consumer_counts(following.consumer)->acks, 0);
	delete_stream(&f);
	finish(&f, &following);
}

static void test_nothing_there_is_caught_up(void **state)
{
	struct following following;
	struct fixture f;

	(void)state;
	open_all(&f);
	make_stream(&f);
	open_consumer(&f, &following, "PASS");
	RUN_UNTIL(&f, consumer_is_caught_up(following.consumer));
	assert_int_equal(following.messages, 0);
	publish(&f, 1);
	RUN_UNTIL(&f, following.messages == 1);
	delete_stream(&f);
	finish(&f, &following);
}

/* It begins again with the newest, and says that it is another. */
static void test_made_anew(void **state)
{
	struct following following;
	struct fixture f;
	uint64_t generation;
	char subject[256];

	(void)state;
	open_all(&f);
	make_stream(&f);
	publish(&f, 1);
	open_consumer(&f, &following, "PASS");
	RUN_UNTIL(&f, following.messages == 1);
	generation = following.generation;
	snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DELETE.PASS.%s", following.name);
	request(&f, subject, "");
	RUN_UNTIL(&f, following.messages == 2);
	assert_true(following.generation > generation);
	publish(&f, 1);
	RUN_UNTIL(&f, following.messages == 3);
	assert_true(consumer_is_caught_up(following.consumer));
	delete_stream(&f);
	finish(&f, &following);
}

static const struct {
	const char *name, *credentials, *prefix, *reason;
} failures[] = {
	{"no such stream", "all:p%40ss%25word", "_INBOX_all",
		"cannot create a passing consumer of stream \"NONE\""},
	{"no right to create a consumer", "few:few", "_INBOX_few", "$JS.API.CONSUMER.CREATE.NONE"},
};

static bool says(const struct consumer *consumer, const char *reason)
{
	struct buf why = {0};
	bool result = !consumer_is_ready(consumer, &why) && strstr(buf_cstr(&why), reason) != NULL;

	buf_free(&why);
	return result;
}

static void test_failures_have_a_reason(void **state)
{
	struct following following;
	struct fixture f;

	(void)state;
	need_server();
	for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
		print_message("%s\n", failures[i].name);
		open_link(&f, failures[i].credentials, failures[i].prefix, server.port);
		RUN_UNTIL(&f, nats_link_is_up(f.link));
		open_consumer(&f, &following, "NONE");
		RUN_UNTIL(&f, says(following.consumer, failures[i].reason));
		assert_false(consumer_is_caught_up(following.consumer));
		finish(&f, &following);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_newest_and_what_follows),
		cmocka_unit_test(test_nothing_there_is_caught_up),
		cmocka_unit_test(test_made_anew),
		cmocka_unit_test(test_failures_have_a_reason),
	};

	return cmocka_run_group_tests(tests, setup_server, teardown_server);
}
