/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link against a real nats-server: state, answers, refusals, and coming back.
 */
#include "common/nats/link.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "tests/unit/link_fixture.h"

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

/* A message may be held beyond the link it came by. */
static void test_message_outlives_link(void **state)
{
	struct nats_outgoing *ask = message_of("nobody.there", "x");
	struct fixture f;
	struct nats_inbox *inbox;

	(void)state;
	open_all(&f);
	inbox = nats_inbox_open(f.link, on_inbox, on_inbox_denied, &f);
	nats_inbox_ask(inbox, ask);
	nats_outgoing_unref(ask);
	RUN_UNTIL(&f, f.received_count == 1);
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

static void freeze_server(void)
{
	int status;

	kill(server.pid, SIGSTOP);
	assert_int_equal(waitpid(server.pid, &status, WUNTRACED), server.pid);
	assert_true(WIFSTOPPED(status));
}

static void test_restart(void **state)
{
	struct fixture f;
	struct nats_outgoing *message = message_of("nobody.there", "x");

	(void)state;
	open_all(&f);
	freeze_server();
	nats_link_request(f.link, message, 60000, on_reply, &f);
	kill(server.pid, SIGKILL);
	nats_server_stop(&server);
	RUN_UNTIL(&f, f.downs >= 1 && f.answers == 1);
	assert_int_equal(f.outcome, NATS_REPLY_DOWN);
	assert_false(nats_link_is_up(f.link));
	assert_true(nats_server_start(&server));
	RUN_UNTIL(&f, f.ups == 2);
	request(&f, "nobody.there", "x");
	assert_int_equal(f.outcome, NATS_REPLY_NO_RESPONDERS);
	assert_int_equal(nats_link_connects(f.link), 2);
	nats_outgoing_unref(message);
	close_link(&f);
}

/* Replaces the server's configuration and has it read anew. */
static void reconfigure(const char *config_fmt)
{
	assert_true(nats_server_configure(&server, config_fmt));
	kill(server.pid, SIGHUP);
}

static const char REVOKED[] = "server_name: unit\n"
			      "jetstream { store_dir: \"%s/data\" }\n"
			      "authorization { users: [ { user: other, password: other } ] }\n";

/* The second refusal in a row is where cnats itself would give up. */
static void test_revoked_and_restored(void **state)
{
	struct fixture f;
	uint64_t start;

	(void)state;
	open_all(&f);
	reconfigure(REVOKED);
	RUN_UNTIL(&f, strstr(nats_link_reason(f.link), "authorization violation") != NULL);
	start = clock_mono_ms();
	RUN_UNTIL(&f, clock_mono_ms() > start + 1500);
	assert_int_equal(f.ups, 1);
	reconfigure(SERVER_CONFIG);
	RUN_UNTIL(&f, f.ups == 2);
	close_link(&f);
}

/* One that greets and says no more: cnats would wait for it in a busy loop. */
static void test_silent_server(void **state)
{
	static const char INFO[] = "INFO {\"server_id\":\"x\",\"version\":\"2.9.10\","
				   "\"headers\":true,\"max_payload\":1048576,\"proto\":1}\r\n";
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct fixture f;
	int fd;

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	open_link(&f, "all:secret", "_INBOX_x", ntohs(address.sin_port));
	fd = accept(listener, NULL, NULL);
	assert_int_equal(send(fd, INFO, strlen(INFO), MSG_NOSIGNAL), strlen(INFO));
	RUN_UNTIL(&f, f.downs == 1);
	assert_non_null(strstr(nats_link_reason(f.link), "no answer within 5s"));
	close(listener);
	close(fd);
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
	/* Of a loop that is busy, the timer may be early: it counts from when the loop last looked.
	 */
	assert_true(clock_mono_ms() - start >= 50);
	RUN_UNTIL(&f, f.answers == 2);
	assert_true(clock_mono_ms() - start >= 350);
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

/* What cnats has not yet delivered is freed all the same; the sanitizer watches. */
static void test_closed_under_traffic(void **state)
{
	enum { ROUNDS = 10, MANY = 2000 };
	struct nats_outgoing *message = message_of("nobody.there", "x");

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct fixture f;

		open_all(&f);
		for (int i = 0; i < MANY; i++)
			nats_link_request(f.link, message, 15000, on_reply, &f);
		RUN_UNTIL(&f, f.answers > 0);
		close_link(&f);
	}
	nats_outgoing_unref(message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_up),
		cmocka_unit_test(test_no_responders),
		cmocka_unit_test(test_unsendable),
		cmocka_unit_test(test_message_outlives_link),
		cmocka_unit_test(test_denied),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_revoked_and_restored),
		cmocka_unit_test(test_silent_server),
		cmocka_unit_test(test_timeout_and_cancel),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_closed_under_traffic),
	};

	return cmocka_run_group_tests(tests, setup_server, teardown_server);
}
