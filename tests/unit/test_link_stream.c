/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JetStream's requests and answers over a link, against a real nats-server.
 */
#include "common/nats/jetstream.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/link_fixture.h"

static const char NEXT[] = "$JS.API.CONSUMER.MSG.NEXT.UNIT.unit_sink";

static void api(struct fixture *f, const char *subject, struct buf *body)
{
	request(f, subject, body == NULL ? "" : buf_cstr(body));
	if (f->outcome != NATS_REPLY_OK)
		fail_msg("%s: outcome %d %s", subject, f->outcome, buf_cstr(&f->text));
	if (body != NULL)
		buf_clear(body);
}

static struct stream_settings stream_settings(void)
{
	return (struct stream_settings){.stream = "UNIT",
		.topic = "unit",
		.storage = STORAGE_MEMORY,
		.discard = DISCARD_NEW,
		.stream_max_age_ms = 3600000,
		.max_msgs_per_subject = -1,
		.max_bytes = 4000,
		.duplicate_window_ms = 120000,
		.replicas = 1};
}

static void create_stream(struct fixture *f)
{
	struct stream_settings settings = stream_settings();
	struct buf body = {NULL, 0, 0};
	struct js_stream_info info;
	struct err err;

	js_stream_create_request(&body, &settings);
	api(f, "$JS.API.STREAM.CREATE.UNIT", &body);
	assert_int_equal(js_stream_info_parse(&info, buf_slice(&f->body), &err), 0);
	assert_string_equal(info.error.description, "");
	js_stream_info_fini(&info);
	api(f, "$JS.API.STREAM.INFO.UNIT", NULL);
	assert_int_equal(js_stream_info_parse(&info, buf_slice(&f->body), &err), 0);
	assert_int_equal(info.subjects.count, 2);
	assert_string_equal(info.subjects.items[0], "unit");
	assert_string_equal(info.subjects.items[1], "unit.>");
	assert_int_equal(info.max_age_ms, 3600000);
	assert_int_equal(info.max_msg_size, -1);
	assert_false(info.is_sourced_or_mirror);
	assert_true(info.created[0] != '\0');
	js_stream_info_fini(&info);
	buf_free(&body);
}

static void delete_stream(struct fixture *f)
{
	api(f, "$JS.API.STREAM.DELETE.UNIT", NULL);
}

/* Publishes one message with an id, and reads what comes back. */
static struct js_pub_ack publish(struct fixture *f, const char *id, size_t bytes)
{
	struct wire_headers headers = {.count = 2};
	struct nats_outgoing *message;
	struct buf body = {NULL, 0, 0};
	struct js_pub_ack ack;
	struct err err;
	int before = f->answers;

	headers.items[0] = (struct wire_header){"Nats-Msg-Id", (char *)id};
	headers.items[1] = (struct wire_header){"Ps-Error", "no such host: \xc3\xa9"};
	memset(buf_reserve(&body, bytes), 'b', bytes);
	body.len = bytes;
	message = nats_outgoing_new(SLICE("unit.scrape.a"), &headers, &body);
	assert_true(nats_outgoing_bytes(message) > bytes + 40);
	nats_link_request(f->link, message, 5000, on_reply, f);
	nats_outgoing_unref(message);
	RUN_UNTIL(f, f->answers == before + 1);
	assert_int_equal(f->outcome, NATS_REPLY_OK);
	if (js_pub_ack_parse(&ack, buf_slice(&f->body), &err) != 0)
		fail_msg("%s: %s", buf_cstr(&f->body), err.text);
	return ack;
}

static void test_publish(void **state)
{
	struct fixture f;
	struct js_pub_ack ack;

	(void)state;
	open_all(&f);
	create_stream(&f);
	ack = publish(&f, "one", 10);
	assert_string_equal(ack.stream, "UNIT");
	assert_int_equal(ack.sequence, 1);
	assert_false(ack.duplicate);
	ack = publish(&f, "one", 10);
	assert_int_equal(ack.sequence, 1);
	assert_true(ack.duplicate);
	ack = publish(&f, "two", 5000);
	assert_int_equal(ack.error.code, 503);
	assert_string_equal(ack.error.description, "maximum bytes exceeded");
	delete_stream(&f);
	request(&f, "unit.scrape.a", "x");
	assert_int_equal(f.outcome, NATS_REPLY_NO_RESPONDERS);
	close_link(&f);
}

static void create_consumer(struct fixture *f, int64_t start_time_ms)
{
	struct js_consumer_settings settings = {.stream = "UNIT",
		.durable = "unit_sink",
		.filter_subject = "unit.scrape.>",
		.start_time_ms = start_time_ms,
		.ack_wait_ms = 90000,
		.max_ack_pending = 1000000};
	struct buf body = {NULL, 0, 0};
	struct js_consumer_info info;
	struct err err;

	api(f, "$JS.API.CONSUMER.INFO.UNIT.unit_sink", NULL);
	assert_int_equal(js_consumer_info_parse(&info, buf_slice(&f->body), &err), 0);
	assert_int_equal(info.error.err_code, JS_CONSUMER_NOT_FOUND);
	js_consumer_create_request(&body, &settings);
	api(f, "$JS.API.CONSUMER.DURABLE.CREATE.UNIT.unit_sink", &body);
	assert_int_equal(js_consumer_info_parse(&info, buf_slice(&f->body), &err), 0);
	if (info.error.code != 0)
		fail_msg("%s", info.error.description);
	api(f, "$JS.API.CONSUMER.INFO.UNIT.unit_sink", NULL);
	assert_int_equal(js_consumer_info_parse(&info, buf_slice(&f->body), &err), 0);
	assert_string_equal(info.durable, "unit_sink");
	assert_string_equal(info.filter_subject, "unit.scrape.>");
	assert_string_equal(info.ack_policy, "explicit");
	assert_false(info.is_push);
	assert_int_equal(info.num_pending, 1);
	buf_free(&body);
}

static void pull(struct fixture *f, struct nats_inbox *inbox, const char *subject, size_t expected)
{
	struct buf body = {NULL, 0, 0};
	struct nats_outgoing *ask;

	js_pull_request(&body, 10, 1 << 20, 400, 100);
	ask = message_of(subject, buf_cstr(&body));
	nats_inbox_ask(inbox, ask);
	nats_outgoing_unref(ask);
	buf_free(&body);
	RUN_UNTIL(f, f->received_count >= expected);
}

static void check_delivery(struct nats_incoming *message)
{
	struct js_delivery delivery;
	struct slice value;

	assert_true(slice_is(nats_incoming_subject(message), "unit.scrape.a"));
	assert_int_equal(nats_incoming_body(message).len, 10);
	assert_int_equal(nats_incoming_status(message, &value), 0);
	assert_true(nats_incoming_header(message, "Ps-Error", &value));
	assert_true(slice_is(value, "no such host: \xc3\xa9"));
	assert_true(nats_incoming_header(message, "Nats-Msg-Id", &value));
	assert_true(slice_is(value, "one"));
	assert_false(nats_incoming_header(message, "Ps-Err", &value));
	assert_int_equal(js_delivery_parse(&delivery, nats_incoming_reply(message)), 0);
	assert_int_equal(delivery.delivered, 1);
	assert_int_equal(delivery.stream_seq, 1);
	assert_int_equal(delivery.consumer_seq, 1);
	assert_int_equal(delivery.pending, 0);
	assert_true(llabs(delivery.stored_ms - clock_wall_ms()) < 60000);
}

static void consume(struct fixture *f)
{
	struct nats_inbox *inbox = nats_inbox_open(f->link, on_inbox, on_inbox_denied, f);
	struct nats_outgoing *ack;
	struct js_consumer_info info;
	struct slice description;
	struct err err;

	pull(f, inbox, NEXT, 1);
	check_delivery(f->received[0]);
	ack = nats_outgoing_new(nats_incoming_reply(f->received[0]), NULL, NULL);
	nats_link_publish(f->link, ack);
	nats_outgoing_unref(ack);
	/* Heartbeats, then the end of the pull. */
	RUN_UNTIL(f, f->received_count >= 3);
	assert_int_equal(nats_incoming_status(f->received[1], &description), 100);
	assert_true(slice_is(description, "Idle Heartbeat"));
	free_received(f);
	do {
		free_received(f);
		RUN_UNTIL(f, f->received_count >= 1);
	} while (nats_incoming_status(f->received[f->received_count - 1], &description) == 100);
	assert_int_equal(
		nats_incoming_status(f->received[f->received_count - 1], &description), 408);
	free_received(f);
	api(f, "$JS.API.CONSUMER.INFO.UNIT.unit_sink", NULL);
	assert_int_equal(js_consumer_info_parse(&info, buf_slice(&f->body), &err), 0);
	assert_int_equal(info.num_ack_pending, 0);
	assert_int_equal(info.delivered_consumer_seq, 1);
	delete_stream(f);
	/* JetStream does not answer for what is gone; nobody at all is what gets a 503. */
	pull(f, inbox, "nobody.there", 1);
	assert_int_equal(nats_incoming_status(f->received[0], &description), 503);
	free_received(f);
	nats_inbox_close(inbox);
}

static void test_consume(void **state)
{
	struct fixture f;

	(void)state;
	open_all(&f);
	for (int64_t back_ms = 0; back_ms <= 60000; back_ms += 60000) {
		create_stream(&f);
		publish(&f, "one", 10);
		create_consumer(&f, back_ms == 0 ? 0 : clock_wall_ms() - back_ms);
		consume(&f);
	}
	close_link(&f);
}

static void send_to(struct fixture *f, const char *subject)
{
	struct nats_outgoing *message = message_of(subject, "x");

	nats_link_publish(f->link, message);
	nats_outgoing_unref(message);
}

/* What is acknowledged in one go, with something else sent in between and rubbish refused. */
static void test_acks(void **state)
{
	struct fixture f;
	struct nats_inbox *inbox;
	struct js_consumer_info info;
	struct err err;
	char id[2] = "a";

	(void)state;
	open_all(&f);
	create_stream(&f);
	publish(&f, id, 10);
	create_consumer(&f, 0);
	for (id[0] = 'b'; id[0] <= 'h'; id[0]++)
		publish(&f, id, 10);
	inbox = nats_inbox_open(f.link, on_inbox, on_inbox_denied, &f);
	pull(&f, inbox, NEXT, 8);
	for (size_t i = 0; i < 8; i++) {
		if (i == 4)
			send_to(&f, "unit.scrape.a");
		assert_true(nats_link_ack(f.link, nats_incoming_reply(f.received[i])));
		assert_false(nats_link_ack(f.link, SLICE("not a subject")));
	}
	/* The server takes acks in its own time. What was sent in between may have come as well. */
	for (int tries = 0; tries < 200; tries++) {
		api(&f, "$JS.API.CONSUMER.INFO.UNIT.unit_sink", NULL);
		assert_int_equal(js_consumer_info_parse(&info, buf_slice(&f.body), &err), 0);
		if (info.num_ack_pending <= 1)
			break;
	}
	assert_true(info.delivered_consumer_seq >= 8);
	assert_in_range(info.num_ack_pending, 0, 1);
	free_received(&f);
	nats_inbox_close(inbox);
	delete_stream(&f);
	close_link(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_publish),
		cmocka_unit_test(test_consume),
		cmocka_unit_test(test_acks),
	};

	return cmocka_run_group_tests(tests, setup_server, teardown_server);
}
