/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link and the JetStream requests against a real nats-server, found in PATH or /usr/sbin and
 * started on free ports in a temporary folder; without one every test is skipped and says so.
 */
#include "common/core/clock.h"
#include "common/nats/jetstream.h"
#include "common/nats/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#define DEADLINE_MS 20000

static const char NEXT[] = "$JS.API.CONSUMER.MSG.NEXT.UNIT.unit_sink";

static const char SERVER_CONFIG[] =
	"server_name: unit\n"
	"jetstream { store_dir: \"%s/data\" }\n"
	"authorization { users: [\n"
	"  { user: all, password: \"p@ss%%word\" }\n"
	"  { user: few, password: few, permissions: {\n"
	"      publish: [\"allowed.>\"], subscribe: [\"_INBOX_few.>\", \"allowed.>\"] } }\n"
	"  { user: deaf, password: deaf, permissions: { subscribe: [\"other.>\"] } }\n"
	"] }\n";

struct server {
	const char *path;
	char dir[64];
	pid_t pid;
	int port;
};
static struct server server;

/* --- The server. */

static const char *find_server(void)
{
	static char path[512];
	const char *dirs = getenv("PATH");
	char *list = xasprintf("%s:/usr/sbin:/sbin:/usr/local/bin", dirs == NULL ? "" : dirs);
	const char *found = NULL;

	for (char *save = NULL, *dir = strtok_r(list, ":", &save); dir != NULL && found == NULL;
		dir = strtok_r(NULL, ":", &save)) {
		snprintf(path, sizeof(path), "%s/nats-server", dir);
		if (access(path, X_OK) == 0)
			found = path;
	}
	free(list);
	return found;
}

static void write_config(void)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/server.conf", server.dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, SERVER_CONFIG, server.dir);
	assert_int_equal(fclose(file), 0);
}

/* The port in the file that the server writes once it listens; 0 before. */
static int read_port(void)
{
	char pattern[128];
	glob_t found;
	json_t *root = NULL;
	const char *url;
	int port = 0;

	snprintf(pattern, sizeof(pattern), "%s/*_%d.ports", server.dir, (int)server.pid);
	if (glob(pattern, 0, NULL, &found) == 0)
		root = json_load_file(found.gl_pathv[0], 0, NULL);
	globfree(&found);
	url = json_string_value(json_array_get(json_object_get(root, "nats"), 0));
	if (url != NULL)
		port = atoi(strrchr(url, ':') + 1);
	json_decref(root);
	return port;
}

static void start_server(int port)
{
	char config[128], number[16], log[128];
	uint64_t until = clock_mono_ms() + DEADLINE_MS;

	snprintf(config, sizeof(config), "%s/server.conf", server.dir);
	snprintf(log, sizeof(log), "%s/log", server.dir);
	snprintf(number, sizeof(number), "%d", port);
	server.pid = fork();
	assert_true(server.pid >= 0);
	if (server.pid == 0) {
		execl(server.path, server.path, "-c", config, "-a", "127.0.0.1", "-p", number, "-l",
			log, "--ports_file_dir", server.dir, (char *)NULL);
		_exit(127);
	}
	while ((server.port = read_port()) == 0 && clock_mono_ms() < until)
		usleep(20000);
	assert_true(server.port > 0);
}

static void freeze_server(void)
{
	int status;

	kill(server.pid, SIGSTOP);
	assert_int_equal(waitpid(server.pid, &status, WUNTRACED), server.pid);
	assert_true(WIFSTOPPED(status));
}

static void stop_server(void)
{
	if (server.pid > 0) {
		kill(server.pid, SIGCONT);
		kill(server.pid, SIGTERM);
		waitpid(server.pid, NULL, 0);
	}
	server.pid = 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int setup(void **state)
{
	(void)state;
	server.path = find_server();
	if (server.path == NULL)
		return 0;
	snprintf(server.dir, sizeof(server.dir), "/tmp/test_link.XXXXXX");
	if (mkdtemp(server.dir) == NULL)
		return -1;
	write_config();
	start_server(-1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stop_server();
	if (server.dir[0] != '\0')
		nftw(server.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

static void need_server(void)
{
	if (server.path == NULL) {
		print_message("no nats-server found in PATH or /usr/sbin: ");
		skip();
	}
}

/* --- A loop with one link. */

struct fixture {
	uv_loop_t loop;
	uv_timer_t tick; /* UV_RUN_ONCE waits for something to happen after it ran the timers */
	struct nats_link *link;
	struct nats_link_listener listener;
	struct string_list urls;
	char *url;
	int ups, downs;
	bool closed;
	/* Of the last answer. */
	int answers;
	enum nats_reply outcome;
	struct buf text;
	struct buf body;
	/* Of the inbox. */
	struct nats_incoming *received[64];
	size_t received_count;
	char denied[256];
};

static void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

static void on_up(void *arg)
{
	((struct fixture *)arg)->ups++;
}

static void on_down(void *arg, const char *reason)
{
	assert_true(reason[0] != '\0');
	((struct fixture *)arg)->downs++;
}

static void on_closed(void *arg)
{
	((struct fixture *)arg)->closed = true;
}

static void on_reply(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	struct fixture *f = arg;

	f->answers++;
	f->outcome = outcome;
	buf_clear(&f->text);
	buf_append_str(&f->text, text);
	buf_clear(&f->body);
	if (message != NULL)
		buf_append_slice(&f->body, nats_incoming_body(message));
}

static void on_inbox(void *arg, struct nats_incoming *message)
{
	struct fixture *f = arg;

	assert_true(f->received_count < ARRAY_LEN(f->received));
	f->received[f->received_count++] = message;
}

static void on_inbox_denied(void *arg, const char *text)
{
	snprintf(((struct fixture *)arg)->denied, 256, "%s", text);
}

#define RUN_UNTIL(f, condition)                                                                    \
	do {                                                                                       \
		uint64_t until = clock_mono_ms() + DEADLINE_MS;                                    \
		while (!(condition) && clock_mono_ms() < until)                                    \
			uv_run(&(f)->loop, UV_RUN_ONCE);                                           \
		if (!(condition))                                                                  \
			fail_msg("timed out waiting for %s", #condition);                          \
	} while (0)

static void open_link(struct fixture *f, const char *credentials, const char *prefix, int port)
{
	struct nats_link_options options = {
		.urls = &f->urls, .client_name = "unit", .inbox_prefix = prefix};

	memset(f, 0, sizeof(*f));
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->tick);
	uv_timer_start(&f->tick, on_tick, 0, 10);
	f->url = xasprintf("nats://%s@127.0.0.1:%d", credentials, port);
	f->urls = (struct string_list){&f->url, 1};
	f->link = nats_link_open(&f->loop, &options);
	f->listener = (struct nats_link_listener){.on_up = on_up, .on_down = on_down, .arg = f};
	nats_link_listen(f->link, &f->listener);
}

static void open_all(struct fixture *f)
{
	need_server();
	open_link(f, "all:p%40ss%25word", "_INBOX_all", server.port);
	RUN_UNTIL(f, nats_link_is_up(f->link));
}

static void close_link(struct fixture *f)
{
	nats_link_close(f->link, 1000, on_closed, f);
	RUN_UNTIL(f, f->closed);
	uv_close((uv_handle_t *)&f->tick, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	free(f->url);
	buf_free(&f->text);
	buf_free(&f->body);
}

static struct nats_outgoing *message_of(const char *subject, const char *body)
{
	struct buf content = {NULL, 0, 0};

	buf_append_str(&content, body);
	return nats_outgoing_new(slice_from(subject), NULL, &content);
}

static void request(struct fixture *f, const char *subject, const char *body)
{
	struct nats_outgoing *message = message_of(subject, body);
	int before = f->answers;

	assert_true(nats_link_request(f->link, message, 5000, on_reply, f) != 0);
	assert_int_equal(f->answers, before);
	nats_outgoing_unref(message);
	RUN_UNTIL(f, f->answers == before + 1);
}

/* --- Tests. */

static void test_up(void **state)
{
	struct fixture f;
	char shown[64];

	(void)state;
	open_all(&f);
	snprintf(shown, sizeof(shown), "127.0.0.1:%d", server.port);
	assert_non_null(strstr(nats_link_server(f.link), shown));
	assert_null(strstr(nats_link_server(f.link), "word"));
	assert_string_equal(nats_link_reason(f.link), "");
	assert_int_equal(nats_link_max_payload(f.link), 1 << 20);
	assert_int_equal(nats_link_connects(f.link), 1);
	close_link(&f);
}

static void test_no_responders(void **state)
{
	struct fixture f;

	(void)state;
	open_all(&f);
	request(&f, "nobody.there", "x");
	assert_int_equal(f.outcome, NATS_REPLY_NO_RESPONDERS);
	close_link(&f);
}

static const struct test_case {
	const char *name;
	const char *subject;
	size_t bytes;
	enum nats_reply outcome;
} UNSENDABLE[] = {
	{"a space", "a b", 1, NATS_REPLY_DENIED},
	{"a line break", "a\r\nPUB b 0", 1, NATS_REPLY_DENIED},
	{"nothing", "", 1, NATS_REPLY_DENIED},
	{"too large", "a", (1 << 20) + 1, NATS_REPLY_DENIED},
	{"just fits", "a", 1 << 20, NATS_REPLY_NO_RESPONDERS},
};

static void test_unsendable(void **state)
{
	struct fixture f;

	(void)state;
	open_all(&f);
	for (size_t i = 0; i < ARRAY_LEN(UNSENDABLE); i++) {
		char *body = xcalloc(1, UNSENDABLE[i].bytes + 1);

		memset(body, 'x', UNSENDABLE[i].bytes);
		request(&f, UNSENDABLE[i].subject, body);
		free(body);
		if (f.outcome != UNSENDABLE[i].outcome)
			fail_msg("%s: outcome %d, expected %d", UNSENDABLE[i].name, f.outcome,
				UNSENDABLE[i].outcome);
	}
	assert_int_equal(nats_link_connects(f.link), 1);
	close_link(&f);
}

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

static void free_received(struct fixture *f)
{
	while (f->received_count > 0)
		nats_incoming_free(f->received[--f->received_count]);
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

/* A message may be held beyond the link it came by. */
static void test_message_outlives_link(void **state)
{
	struct fixture f;
	struct nats_inbox *inbox;

	(void)state;
	open_all(&f);
	inbox = nats_inbox_open(f.link, on_inbox, on_inbox_denied, &f);
	pull(&f, inbox, "nobody.there", 1);
	nats_inbox_close(inbox);
	close_link(&f);
	assert_true(nats_incoming_body(f.received[0]).len == 0);
	free_received(&f);
}

static void test_denied(void **state)
{
	struct fixture f;
	struct nats_inbox *inbox;
	struct nats_outgoing *ask = message_of("refused.ask", "x");
	char subject[512];

	(void)state;
	need_server();
	open_link(&f, "few:few", "_INBOX_few", server.port);
	RUN_UNTIL(&f, nats_link_is_up(f.link));
	request(&f, "allowed.nobody", "x");
	assert_int_equal(f.outcome, NATS_REPLY_NO_RESPONDERS);
	request(&f, "refused.request", "x");
	assert_int_equal(f.outcome, NATS_REPLY_DENIED);
	assert_string_equal(
		buf_cstr(&f.text), "permission to publish to refused.request is missing");
	/* cnats cuts the report. */
	memset(subject, 'r', sizeof(subject));
	subject[sizeof(subject) - 1] = '\0';
	request(&f, subject, "x");
	assert_int_equal(f.outcome, NATS_REPLY_DENIED);
	inbox = nats_inbox_open(f.link, on_inbox, on_inbox_denied, &f);
	nats_inbox_ask(inbox, ask);
	nats_outgoing_unref(ask);
	RUN_UNTIL(&f, f.denied[0] != '\0');
	assert_string_equal(f.denied, "permission to publish to refused.ask is missing");
	assert_int_equal(nats_link_violations(f.link), 3);
	assert_int_equal(nats_link_connects(f.link), 1);
	nats_inbox_close(inbox);
	close_link(&f);
}

static const struct {
	const char *credentials;
	int port;
	const char *reason;
} REASONS[] = {
	{"all:wrong", 0, "authorization violation"},
	{"deaf:deaf", 0, "permission to subscribe to _INBOX_x.> is missing"},
	{"all:secret", 1, "cannot connect to nats://xxxxx@127.0.0.1:1: connection refused"},
};

static void test_reasons(void **state)
{
	(void)state;
	need_server();
	for (size_t i = 0; i < ARRAY_LEN(REASONS); i++) {
		int port = REASONS[i].port == 0 ? server.port : REASONS[i].port;
		uint64_t start = clock_mono_ms();
		struct fixture f;

		open_link(&f, REASONS[i].credentials, "_INBOX_x", port);
		RUN_UNTIL(&f, f.downs > 0);
		if (strstr(nats_link_reason(f.link), REASONS[i].reason) == NULL)
			fail_msg("\"%s\" is not in \"%s\"", REASONS[i].reason,
				nats_link_reason(f.link));
		request(&f, "any", "x");
		assert_int_equal(f.outcome, NATS_REPLY_DOWN);
		/* The reason stays the same over many attempts, and is told once. */
		RUN_UNTIL(&f, clock_mono_ms() > start + 800);
		assert_int_equal(f.downs, 1);
		assert_int_equal(f.ups, 0);
		close_link(&f);
	}
}

static void test_restart(void **state)
{
	struct fixture f;
	struct nats_outgoing *message = message_of("unit.waits", "x");
	int port;

	(void)state;
	open_all(&f);
	/* Subscribed to by ourselves through the inbox of nobody: an answer never comes. */
	port = server.port;
	freeze_server();
	nats_link_request(f.link, message, 60000, on_reply, &f);
	kill(server.pid, SIGKILL);
	stop_server();
	RUN_UNTIL(&f, f.downs == 1 && f.answers == 1);
	assert_int_equal(f.outcome, NATS_REPLY_DOWN);
	assert_false(nats_link_is_up(f.link));
	start_server(port);
	RUN_UNTIL(&f, f.ups == 2);
	request(&f, "nobody.there", "x");
	assert_int_equal(f.outcome, NATS_REPLY_NO_RESPONDERS);
	assert_int_equal(nats_link_connects(f.link), 2);
	nats_outgoing_unref(message);
	close_link(&f);
}

static void test_timeout_and_cancel(void **state)
{
	struct fixture f;
	struct nats_outgoing *message = message_of("unit.x", "x");
	uint64_t cancelled;
	uint64_t start;

	(void)state;
	open_all(&f);
	/* Frozen, it answers nothing; the requests end in the order of their time-outs. */
	freeze_server();
	start = clock_mono_ms();
	nats_link_request(f.link, message, 400, on_reply, &f);
	nats_link_request(f.link, message, 100, on_reply, &f);
	cancelled = nats_link_request(f.link, message, 50, on_reply, &f);
	nats_link_cancel(f.link, cancelled);
	RUN_UNTIL(&f, f.answers == 1);
	assert_int_equal(f.outcome, NATS_REPLY_TIMEOUT);
	assert_true(clock_mono_ms() - start >= 95);
	RUN_UNTIL(&f, f.answers == 2);
	assert_true(clock_mono_ms() - start >= 395);
	kill(server.pid, SIGCONT);
	nats_link_cancel(f.link, cancelled);
	nats_outgoing_unref(message);
	close_link(&f);
}

static void test_many(void **state)
{
	enum { MANY = 20000 };
	struct fixture f;
	struct nats_outgoing *message = message_of("nobody.there", "x");

	(void)state;
	open_all(&f);
	for (int i = 0; i < MANY; i++)
		nats_link_request(f.link, message, 15000 + i % 3, on_reply, &f);
	RUN_UNTIL(&f, f.answers == MANY);
	assert_int_equal(f.outcome, NATS_REPLY_NO_RESPONDERS);
	nats_outgoing_unref(message);
	close_link(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_up),
		cmocka_unit_test(test_no_responders),
		cmocka_unit_test(test_unsendable),
		cmocka_unit_test(test_publish),
		cmocka_unit_test(test_consume),
		cmocka_unit_test(test_message_outlives_link),
		cmocka_unit_test(test_denied),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_timeout_and_cancel),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
