/* SPDX-License-Identifier: Apache-2.0 */
/* Looking back at the newest of each subject, against a real nats-server. */
#include "common/nats/lookback.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/link_fixture.h"

#define SUBJECTS 1203 /* three pulls */

struct reading {
	struct lookback *lookback;
	int messages;
	uint64_t sum; /* of the sequences */
	int closes_at;
	bool is_closed;
};

static void on_lookback_closed(void *arg)
{
	*(bool *)arg = true;
}

static void close_lookback(struct reading *reading)
{
	lookback_close(reading->lookback, on_lookback_closed, &reading->is_closed);
	reading->lookback = NULL;
}

static void on_message(void *arg, struct consumer_message *message)
{
	struct reading *reading = arg;

	assert_true(message->is_lookback);
	assert_int_equal(message->generation, 7);
	reading->messages++;
	reading->sum += message->delivery.stream_seq;
	nats_incoming_free(message->incoming);
	if (reading->messages == reading->closes_at)
		close_lookback(reading);
}

static void open_lookback(struct fixture *f, struct reading *reading, const char *stream)
{
	const struct lookback_options options = {
		.link = f->link,
		.stream = stream,
		.filter_subject = "look.scrape.>",
		.on_message = on_message,
		.arg = reading,
	};

	*reading = (struct reading){.lookback = lookback_open(&f->loop, &options)};
	lookback_start(reading->lookback, 7);
	assert_true(lookback_is_running(reading->lookback));
}

static void finish(struct fixture *f, struct reading *reading)
{
	if (reading->lookback != NULL)
		close_lookback(reading);
	RUN_UNTIL(f, reading->is_closed);
	close_link(f);
}

static void publish(struct fixture *f, const char *kind, int number)
{
	char subject[64];
	struct nats_outgoing *message;

	snprintf(subject, sizeof(subject), "look.%s.a.b.c%d.0", kind, number);
	message = message_of(subject, "x");
	nats_link_publish(f->link, message);
	nats_outgoing_unref(message);
}

/* Two of each subject, the first time 1..n, then n+1..2n; and some that the filter leaves out. */
static void fill(struct fixture *f)
{
	request(f, "$JS.API.STREAM.CREATE.LOOK",
		"{\"name\":\"LOOK\",\"subjects\":[\"look.>\"],\"storage\":\"memory\","
		"\"num_replicas\":1}");
	for (int i = 0; i < 2 * SUBJECTS; i++)
		publish(f, "scrape", i % SUBJECTS);
	for (int i = 0; i < 5; i++)
		publish(f, "key", i);
	request(f, "look.other", "x");
}

static void delete_stream(struct fixture *f)
{
	request(f, "$JS.API.STREAM.DELETE.LOOK", "");
}

static void test_the_newest_of_each(void **state)
{
	const uint64_t n = SUBJECTS;
	struct reading reading;
	struct fixture f;

	(void)state;
	open_all(&f);
	fill(&f);
	open_lookback(&f, &reading, "LOOK");
	RUN_UNTIL(&f, !lookback_is_running(reading.lookback));
	assert_int_equal(reading.messages, n);
	assert_int_equal(reading.sum, n * n + n * (n + 1) / 2);
	assert_int_equal(lookback_messages(reading.lookback), n);
	delete_stream(&f);
	finish(&f, &reading);
}

static void test_started_again(void **state)
{
	struct reading reading;
	struct fixture f;

	(void)state;
	open_all(&f);
	fill(&f);
	open_lookback(&f, &reading, "LOOK");
	RUN_UNTIL(&f, reading.messages >= 100);
	lookback_start(reading.lookback, 7);
	RUN_UNTIL(&f, !lookback_is_running(reading.lookback));
	assert_in_range(reading.messages, SUBJECTS + 100, 2 * SUBJECTS);
	delete_stream(&f);
	finish(&f, &reading);
}

static void test_closed_from_inside(void **state)
{
	struct reading reading;
	struct fixture f;

	(void)state;
	open_all(&f);
	fill(&f);
	open_lookback(&f, &reading, "LOOK");
	reading.closes_at = 3;
	RUN_UNTIL(&f, reading.is_closed);
	assert_int_equal(reading.messages, 3);
	delete_stream(&f);
	finish(&f, &reading);
}

static void test_nothing_there(void **state)
{
	struct reading reading;
	struct fixture f;

	(void)state;
	open_all(&f);
	request(&f, "$JS.API.STREAM.CREATE.LOOK",
		"{\"name\":\"LOOK\",\"subjects\":[\"look.>\"],\"storage\":\"memory\","
		"\"num_replicas\":1}");
	open_lookback(&f, &reading, "LOOK");
	RUN_UNTIL(&f, !lookback_is_running(reading.lookback));
	assert_int_equal(reading.messages, 0);
	delete_stream(&f);
	finish(&f, &reading);
}

static const struct {
	const char *name, *credentials, *prefix;
} failures[] = {
	{"no such stream", "all:p%40ss%25word", "_INBOX_all"},
	{"no right to create a consumer", "few:few", "_INBOX_few"},
};

static void test_failures_end_it(void **state)
{
	struct reading reading;
	struct fixture f;

	(void)state;
	need_server();
	for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
		print_message("%s\n", failures[i].name);
		open_link(&f, failures[i].credentials, failures[i].prefix, server.port);
		RUN_UNTIL(&f, nats_link_is_up(f.link));
		open_lookback(&f, &reading, "NONE");
		RUN_UNTIL(&f, !lookback_is_running(reading.lookback));
		assert_int_equal(reading.messages, 0);
		finish(&f, &reading);
	}
}

static void test_a_lost_connection_ends_it(void **state)
{
	struct reading reading;
	struct fixture f;

	(void)state;
	open_all(&f);
	fill(&f);
	open_lookback(&f, &reading, "LOOK");
	RUN_UNTIL(&f, reading.messages > 0);
	nats_server_stop(&server);
	RUN_UNTIL(&f, f.downs > 0);
	assert_false(lookback_is_running(reading.lookback));
	finish(&f, &reading);
	assert_true(nats_server_start(&server));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_newest_of_each),
		cmocka_unit_test(test_started_again),
		cmocka_unit_test(test_closed_from_inside),
		cmocka_unit_test(test_nothing_there),
		cmocka_unit_test(test_failures_end_it),
		cmocka_unit_test(test_a_lost_connection_ends_it),
	};

	return cmocka_run_group_tests(tests, setup_server, teardown_server);
}
