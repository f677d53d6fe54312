/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publisher and consumer against a real nats-server: streams and durables that are missing, full,
 * foreign, deleted or made anew under them. Without a server every test is skipped and says so.
 */
#include "common/nats/consumer.h"
#include "common/nats/publisher.h"

#include "tests/unit/nats_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define DEADLINE_MS  40000
#define RECEIVED_MAX 20000

static const char SERVER_CONFIG[] =
	"server_name: unit\n"
	"jetstream { store_dir: \"%s/data\" }\n"
	"authorization { users: [\n"
	"  { user: all, password: all }\n"
	"  { user: blind, password: blind, permissions: {\n"
	"      publish: [\"p.>\", \"$JS.API.CONSUMER.MSG.NEXT.S.d\", \"$JS.ACK.S.d.>\"],\n"
	"      subscribe: [\"_INBOX_unit.>\"] } }\n"
	"  { user: mute, password: mute, permissions: {\n"
	"      publish: [\"$JS.API.>\"], subscribe: [\"_INBOX_unit.>\"] } }\n"
	"] }\n";

static struct nats_server server;

struct client {
	struct nats_link *link;
	char *url;
	struct string_list urls;
	bool is_closed;
};

static struct test {
	uv_loop_t loop;
	uv_timer_t deadline;
	bool is_late;
	struct client ours, admin;

	struct stream_settings settings;
	struct publisher *publisher;
	intptr_t acked, refused; /* how many */
	bool publisher_closed;

	struct consumer *consumer;
	int received[RECEIVED_MAX]; /* the numbers in the bodies */
	size_t received_count;
	uint64_t generation;
	bool is_acking;
	bool consumer_closed;

	bool is_answered;
	struct buf answer; /* of the last admin request */
} test;

/* -- the loop -------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *timer)
{
	(void)timer;
	test.is_late = true;
}

#define RUN_UNTIL(condition)                                                                       \
	do {                                                                                       \
		test.is_late = false;                                                              \
		uv_timer_start(&test.deadline, on_deadline, DEADLINE_MS, 0);                       \
		while (!(condition) && !test.is_late)                                              \
			uv_run(&test.loop, UV_RUN_ONCE);                                           \
		if (!(condition))                                                                  \
			fail_msg("timed out waiting for %s", #condition);                          \
	} while (0)

static void run_for(uint64_t ms)
{
	test.is_late = false;
	uv_timer_start(&test.deadline, on_deadline, ms, 0);
	while (!test.is_late)
		uv_run(&test.loop, UV_RUN_ONCE);
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

static void open_client(struct client *client, const char *user, const char *prefix)
{
	struct nats_link_options options = {
		.urls = &client->urls, .client_name = "unit", .inbox_prefix = prefix};

	client->is_closed = false;
	client->url = xasprintf("nats://%s:%s@127.0.0.1:%d", user, user, server.port);
	client->urls = (struct string_list){&client->url, 1};
	client->link = nats_link_open(&test.loop, &options);
	RUN_UNTIL(nats_link_is_up(client->link));
}

static void close_client(struct client *client)
{
	if (client->link == NULL)
		return;
	nats_link_close(client->link, 1000, set_flag, &client->is_closed);
	RUN_UNTIL(client->is_closed);
	client->link = NULL;
	free(client->url);
}

/* -- the administrator ----------------------------------------------------------------------- */

static void on_answer(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	(void)arg;
	(void)text;
	test.is_answered = true;
	buf_clear(&test.answer);
	if (outcome == NATS_REPLY_OK)
		buf_append_slice(&test.answer, nats_incoming_body(message));
}

/* The answer's text, valid until the next call. */
static const char *ask(const char *subject, const char *body)
{
	struct buf content = {0};
	struct nats_outgoing *message;

	buf_append_str(&content, body);
	message = nats_outgoing_new(slice_from(subject), NULL, &content);
	test.is_answered = false;
	nats_link_request(test.admin.link, message, 5000, on_answer, NULL);
	nats_outgoing_unref(message);
	RUN_UNTIL(test.is_answered);
	return buf_cstr(&test.answer);
}

static void order(const char *subject, const char *body)
{
	const char *answer = ask(subject, body);

	if (answer[0] == '\0' || strstr(answer, "\"error\"") != NULL)
		fail_msg("%s: %s", subject, answer);
}

static void make_stream(const char *config)
{
	char body[512];

	snprintf(body, sizeof(body), "{\"name\":\"S\",\"storage\":\"memory\",%s}", config);
	order("$JS.API.STREAM.CREATE.S", body);
}

/* A number in the state that STREAM.INFO or CONSUMER.INFO shows. */
static json_int_t number_in(const char *subject, const char *object, const char *key)
{
	json_t *root = json_loads(ask(subject, ""), 0, NULL);
	json_t *parent = object[0] == '\0' ? root : json_object_get(root, object);
	json_int_t value = json_integer_value(json_object_get(parent, key));

	json_decref(root);
	return value;
}

static json_int_t stored(void)
{
	return number_in("$JS.API.STREAM.INFO.S", "state", "messages");
}

/* -- publisher and consumer ------------------------------------------------------------------ */

static void on_done(void *arg, void *cookie, enum publish_outcome outcome, const char *reason,
	double ack_seconds)
{
	(void)arg;
	(void)cookie;
	(void)reason;
	assert_true(ack_seconds >= 0);
	if (outcome == PUBLISH_ACKED)
		test.acked++;
	else if (outcome == PUBLISH_REFUSED)
		test.refused++;
	else
		fail_msg("outcome %d", outcome);
}

static void on_room(void *arg)
{
	(void)arg;
}

static void open_publisher(bool create)
{
	const struct publisher_options options = {
		.link = test.ours.link,
		.stream = &test.settings,
		.publish_subject = "p.scrape.dc1.>",
		.max_unacked = 1000,
		.on_done = on_done,
		.on_room = on_room,
	};

	test.settings = (struct stream_settings){
		.stream = xstrdup("S"),
		.topic = xstrdup("p"),
		.create = create,
		.stream_max_age_ms = 3600000,
		.max_msgs_per_subject = -1,
		.max_bytes = -1,
		.duplicate_window_ms = 120000,
		.replicas = 1,
	};
	test.publisher = publisher_open(&test.loop, &options);
}

static void send_padded(int number, size_t padding)
{
	struct buf body = {0};
	struct nats_outgoing *message;
	struct wire_headers headers = {.count = 1};
	char id[32];

	snprintf(id, sizeof(id), "id-%d", number);
	headers.items[0] = (struct wire_header){.name = "Nats-Msg-Id", .value = id};
	buf_appendf(&body, "%d %*s", number, (int)padding, "");
	message = nats_outgoing_new(SLICE("p.scrape.dc1.j.i.0"), &headers, &body);
	publisher_send(test.publisher, message, NULL);
	nats_outgoing_unref(message);
}

static void send_from(int first, int last)
{
	for (int number = first; number <= last; number++) {
		RUN_UNTIL(publisher_has_room(test.publisher));
		send_padded(number, 0);
	}
}

static bool publisher_says(const char *part)
{
	struct buf why = {0};
	bool says =
		!publisher_is_ready(test.publisher, &why) && strstr(buf_cstr(&why), part) != NULL;

	buf_free(&why);
	return says;
}

static void on_message(void *arg, struct consumer_message *message)
{
	struct slice body = nats_incoming_body(message->incoming);

	(void)arg;
	assert_true(test.received_count < RECEIVED_MAX && body.len > 0);
	test.received[test.received_count++] = atoi(body.ptr);
	test.generation = message->generation;
	if (test.is_acking)
		consumer_ack(test.consumer, nats_incoming_reply(message->incoming));
	nats_incoming_free(message->incoming);
}

static void open_consumer(void)
{
	const struct consumer_options options = {
		.link = test.ours.link,
		.settings = {.stream = "S",
			.durable = "d",
			.filter_subject = "p.scrape.>",
			.ack_wait_ms = 70000,
			.max_ack_pending = 1000000},
		.start_age_ms = 60000,
		.on_message = on_message,
		.on_state = on_room,
	};

	test.is_acking = true;
	test.consumer = consumer_open(&test.loop, &options);
}

static bool consumer_says(const char *part)
{
	struct buf why = {0};
	bool says = !consumer_is_ready(test.consumer, &why) && strstr(buf_cstr(&why), part) != NULL;

	buf_free(&why);
	return says;
}

/* What was received are the numbers first … last, in order, each once. */
static void assert_received(int first, int last)
{
	assert_int_equal(test.received_count, last - first + 1);
	for (int i = 0; i <= last - first; i++)
		assert_int_equal(test.received[i], first + i);
}

/* -- set-up ---------------------------------------------------------------------------------- */

static int start_server(void **state)
{
	(void)state;
	if (!nats_server_find(&server))
		return 0;
	return nats_server_setup(&server, SERVER_CONFIG) ? 0 : -1;
}

static int stop_server(void **state)
{
	(void)state;
	nats_server_teardown(&server);
	return 0;
}

static void begin_as(const char *user)
{
	if (server.path[0] == '\0') {
		print_message("no nats-server found in PATH or /usr/sbin: ");
		skip();
	}
	memset(&test, 0, sizeof(test));
	uv_loop_init(&test.loop);
	uv_timer_init(&test.loop, &test.deadline);
	open_client(&test.admin, "all", "_INBOX_admin");
	open_client(&test.ours, user, "_INBOX_unit");
}

static void close_ours(void)
{
	test.publisher_closed = test.consumer_closed = false;
	if (test.publisher != NULL) {
		publisher_close(test.publisher, set_flag, &test.publisher_closed);
		RUN_UNTIL(test.publisher_closed);
		free(test.settings.stream);
		free(test.settings.topic);
		test.publisher = NULL;
	}
	if (test.consumer != NULL) {
		consumer_close(test.consumer, set_flag, &test.consumer_closed);
		RUN_UNTIL(test.consumer_closed);
		test.consumer = NULL;
	}
	close_client(&test.ours);
}

static int end(void **state)
{
	(void)state;
	if (test.admin.link == NULL)
		return 0; /* skipped */
	close_ours();
	ask("$JS.API.STREAM.DELETE.S", "");
	close_client(&test.admin);
	uv_close((uv_handle_t *)&test.deadline, NULL);
	uv_run(&test.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&test.loop), 0);
	buf_free(&test.answer);
	return 0;
}

/* -- the stream ------------------------------------------------------------------------------ */

static void test_stream_absent(void **state)
{
	(void)state;
	begin_as("all");
	open_publisher(false);
	RUN_UNTIL(publisher_says("stream \"S\" not found (create: true would make it)"));
	assert_non_null(strstr(ask("$JS.API.STREAM.INFO.S", ""), "stream not found"));
	make_stream("\"subjects\":[\"p\",\"p.>\"]");
	send_from(1, 10);
	RUN_UNTIL(test.acked == 10);
	assert_int_equal(stored(), 10);
}

static void test_stream_absent_and_made(void **state)
{
	const char *info;

	(void)state;
	begin_as("all");
	open_publisher(true);
	send_from(1, 10);
	RUN_UNTIL(test.acked == 10);
	info = ask("$JS.API.STREAM.INFO.S", "");
	assert_non_null(strstr(info, "\"p\""));
	assert_non_null(strstr(info, "\"p.\\u003e\""));
	assert_non_null(strstr(info, "\"max_age\":3600000000000"));
	assert_non_null(strstr(info, "\"messages\":10"));
}

static void test_stream_takes_other_subjects(void **state)
{
	(void)state;
	begin_as("all");
	make_stream("\"subjects\":[\"other.>\"]");
	open_publisher(true);
	RUN_UNTIL(publisher_says("stream \"S\" takes \"other.>\" and not our \"p.scrape.dc1.>\""));
	run_for(1000);
	assert_null(strstr(ask("$JS.API.STREAM.INFO.S", ""), "\"p."));
	order("$JS.API.STREAM.UPDATE.S",
		"{\"name\":\"S\",\"storage\":\"memory\",\"subjects\":[\"other.>\",\"p.>\"]}");
	send_from(1, 1);
	RUN_UNTIL(test.acked == 1);
}

static void test_stream_deleted_and_made_again(void **state)
{
	(void)state;
	begin_as("all");
	open_publisher(true);
	send_from(1, 5);
	RUN_UNTIL(test.acked == 5);
	order("$JS.API.STREAM.DELETE.S", "");
	send_padded(6, 0);
	send_padded(7, 0);
	send_padded(8, 0);
	RUN_UNTIL(publisher_says("stream \"S\" is gone"));
	RUN_UNTIL(test.acked == 8);
	RUN_UNTIL(publisher_is_ready(test.publisher, NULL));
	assert_int_equal(stored(), 3);
}

static void test_stream_full(void **state)
{
	(void)state;
	begin_as("all");
	make_stream("\"subjects\":[\"p.>\"],\"max_msgs\":3,\"discard\":\"new\"");
	open_publisher(false);
	RUN_UNTIL(publisher_has_room(test.publisher));
	for (int number = 1; number <= 6; number++)
		send_padded(number, 0);
	RUN_UNTIL(publisher_says("stream \"S\" refuses messages: maximum messages exceeded"));
	run_for(1500);
	assert_int_equal(test.acked, 3);
	assert_int_equal(publisher_unacked(test.publisher), 3);
	order("$JS.API.STREAM.PURGE.S", "");
	RUN_UNTIL(test.acked == 6);
	RUN_UNTIL(publisher_has_room(test.publisher));
	open_consumer();
	RUN_UNTIL(test.received_count == 3);
	assert_received(4, 6);
}

static void test_message_larger_than_the_stream_takes(void **state)
{
	(void)state;
	begin_as("all");
	make_stream("\"subjects\":[\"p.>\"],\"max_msg_size\":1000");
	open_publisher(false);
	send_from(1, 1);
	assert_int_equal(publisher_max_message_bytes(test.publisher), 1000);
	send_padded(2, 2000);
	send_padded(3, 0);
	RUN_UNTIL(test.acked == 2 && test.refused == 1);
	assert_true(publisher_has_room(test.publisher));
}

static void test_publish_permission_missing(void **state)
{
	(void)state;
	begin_as("mute");
	open_publisher(true);
	RUN_UNTIL(publisher_has_room(test.publisher));
	send_padded(1, 0);
	RUN_UNTIL(publisher_says("p.scrape.dc1.j.i.0"));
	assert_int_equal(publisher_unacked(test.publisher), 1);
}

/* -- the durable ----------------------------------------------------------------------------- */

static void test_consumes_in_order_over_many_batches(void **state)
{
	(void)state;
	begin_as("all");
	open_publisher(true);
	send_from(1, 2300);
	open_consumer();
	RUN_UNTIL(test.received_count == 2300);
	assert_received(1, 2300);
	assert_true(consumer_is_caught_up(test.consumer));
	RUN_UNTIL(number_in("$JS.API.CONSUMER.INFO.S.d", "", "num_ack_pending") == 0);
	assert_int_equal(consumer_counts(test.consumer)->redelivered, 0);
	assert_int_equal(test.generation, 1);
}

static void test_paused(void **state)
{
	size_t before;

	(void)state;
	begin_as("all");
	open_publisher(true);
	send_from(1, 16000);
	RUN_UNTIL(test.acked == 16000);
	open_consumer();
	RUN_UNTIL(test.received_count > 0);
	consumer_pause(test.consumer, true);
	run_for(500);
	before = test.received_count;
	assert_true(before < 16000);
	run_for(500);
	assert_int_equal(test.received_count, before);
	consumer_pause(test.consumer, false);
	RUN_UNTIL(test.received_count == 16000);
}

static void test_durable_contradicts(void **state)
{
	(void)state;
	begin_as("all");
	make_stream("\"subjects\":[\"p.>\",\"q.>\"]");
	order("$JS.API.CONSUMER.DURABLE.CREATE.S.d",
		"{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"d\",\"ack_policy\":"
		"\"explicit\",\"filter_subject\":\"q.>\"}}");
	open_consumer();
	RUN_UNTIL(consumer_says("its filter is \"q.>\", where the configuration says "
				"\"p.scrape.>\""));
	assert_true(consumer_says("nats consumer rm S d"));
	assert_non_null(strstr(ask("$JS.API.CONSUMER.INFO.S.d", ""), "\"q.\\u003e\""));
	assert_int_equal(consumer_counts(test.consumer)->pulls, 0);
}

static void test_durable_keeps_its_position(void **state)
{
	(void)state;
	begin_as("all");
	open_publisher(true);
	open_consumer();
	send_from(1, 20);
	RUN_UNTIL(test.received_count == 20);
	RUN_UNTIL(number_in("$JS.API.CONSUMER.INFO.S.d", "", "num_ack_pending") == 0);
	close_ours();
	open_client(&test.ours, "all", "_INBOX_unit");
	open_publisher(true);
	send_from(21, 30);
	RUN_UNTIL(test.acked == 30);
	test.received_count = 0;
	open_consumer();
	RUN_UNTIL(test.received_count == 10);
	assert_received(21, 30);
}

static void test_durable_deleted(void **state)
{
	(void)state;
	begin_as("all");
	/* In memory: this server may stumble over its own files when it deletes a durable. */
	make_stream("\"subjects\":[\"p.>\"]");
	open_publisher(false);
	send_from(1, 5);
	open_consumer();
	RUN_UNTIL(test.received_count == 5);
	order("$JS.API.CONSUMER.DELETE.S.d", "");
	/* The new one starts a minute back: everything comes again, under a new generation. */
	RUN_UNTIL(test.received_count == 10);
	assert_int_equal(test.generation, 2);
	assert_int_equal(consumer_counts(test.consumer)->redelivered, 0);
}

static void test_stream_deleted_under_the_consumer(void **state)
{
	(void)state;
	begin_as("all");
	open_publisher(true);
	send_from(1, 5);
	open_consumer();
	RUN_UNTIL(test.received_count == 5);
	order("$JS.API.STREAM.DELETE.S", "");
	RUN_UNTIL(consumer_says("stream \"S\" not found"));
	send_from(6, 8);
	RUN_UNTIL(test.received_count == 8);
	assert_received(1, 8);
	assert_int_equal(test.generation, 2);
}

static void test_nothing_but_pulling_permitted(void **state)
{
	(void)state;
	begin_as("blind");
	make_stream("\"subjects\":[\"p\",\"p.>\"]");
	order("$JS.API.CONSUMER.DURABLE.CREATE.S.d",
		"{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"d\",\"ack_policy\":"
		"\"explicit\",\"filter_subject\":\"p.scrape.>\"}}");
	open_publisher(true);
	open_consumer();
	RUN_UNTIL(consumer_says("has not answered a pull"));
	send_from(1, 3);
	RUN_UNTIL(test.received_count == 3);
	RUN_UNTIL(consumer_is_ready(test.consumer, NULL));
	RUN_UNTIL(number_in("$JS.API.CONSUMER.INFO.S.d", "", "num_ack_pending") == 0);
}

static void test_server_restarted(void **state)
{
	(void)state;
	begin_as("all");
	open_publisher(true);
	open_consumer();
	send_from(1, 10);
	RUN_UNTIL(test.received_count == 10);
	nats_server_stop(&server);
	RUN_UNTIL(!publisher_is_ready(test.publisher, NULL));
	RUN_UNTIL(!consumer_is_ready(test.consumer, NULL));
	assert_true(nats_server_start(&server));
	send_from(11, 20);
	RUN_UNTIL(test.received_count == 20);
	assert_received(1, 20);
	assert_int_equal(test.generation, 1);
}

#define TEST(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stream_absent),
		TEST(test_stream_absent_and_made),
		TEST(test_stream_takes_other_subjects),
		TEST(test_stream_deleted_and_made_again),
		TEST(test_stream_full),
		TEST(test_message_larger_than_the_stream_takes),
		TEST(test_publish_permission_missing),
		TEST(test_consumes_in_order_over_many_batches),
		TEST(test_paused),
		TEST(test_durable_contradicts),
		TEST(test_durable_keeps_its_position),
		TEST(test_durable_deleted),
		TEST(test_stream_deleted_under_the_consumer),
		TEST(test_nothing_but_pulling_permitted),
		TEST(test_server_restarted),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
