/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header blocks that no client library would send: written to a real nats-server by hand, as the
 * answer to a request of the link.
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

/* --- A client by hand. */

static int hand_connect(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)server.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void hand_send(int fd, struct slice bytes)
{
	while (bytes.len > 0) {
		ssize_t sent = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

		assert_true(sent > 0);
		bytes.ptr += sent;
		bytes.len -= (size_t)sent;
	}
}

/* Reads on until a line begins with `start`. */
static void hand_expect(int fd, const char *start, char *line, size_t size)
{
	size_t len = 0;

	do {
		char c = 0;

		if (len > 0 && line[len - 1] == '\n')
			len = 0;
		if (recv(fd, &c, 1, 0) != 1)
			fail_msg("the server closed the connection before %s", start);
		assert_true(len + 2 < size);
		line[len++] = c;
		line[len] = '\0';
	} while (line[len - 1] != '\n' || strncmp(line, start, strlen(start)) != 0);
}

static int hand_open(void)
{
	int fd = hand_connect();
	char line[8192];

	hand_send(fd, SLICE("CONNECT {\"verbose\":false,\"headers\":true,\"user\":\"all\","
			    "\"pass\":\"p@ss%word\"}\r\nSUB hand 1\r\nPING\r\n"));
	hand_expect(fd, "PONG", line, sizeof(line));
	return fd;
}

/* Answers the next message with this header block and body. */
static void hand_answer(int fd, struct slice block, const char *body)
{
	char line[8192], reply[1024];
	struct buf out = {NULL, 0, 0};

	hand_expect(fd, "MSG hand 1 ", line, sizeof(line));
	assert_int_equal(sscanf(line, "MSG hand 1 %1023s", reply), 1);
	buf_appendf(&out, "HPUB %s %zu %zu\r\n", reply, block.len, block.len + strlen(body));
	buf_append_slice(&out, block);
	buf_append_str(&out, body);
	buf_append_str(&out, "\r\n");
	hand_send(fd, buf_slice(&out));
	buf_free(&out);
}

/* --- Tests. */

static const struct {
	const char *name;
	struct slice block;
	int status;
	const char *description;
	const char *header; /* to be looked up */
	struct slice value; /* NULL: absent */
} BLOCKS[] = {
	{"ordinary", SLICE("NATS/1.0\r\nA: 1\r\nB: 2\r\n\r\n"), 0, "", "B", SLICE("2")},
	{"first of two", SLICE("NATS/1.0\r\nA: 1\r\nA: 2\r\n\r\n"), 0, "", "A", SLICE("1")},
	{"no space", SLICE("NATS/1.0\r\nA:1\r\n\r\n"), 0, "", "A", SLICE("1")},
	{"spaces around", SLICE("NATS/1.0\r\nA: \t 1 \t\r\n\r\n"), 0, "", "A", SLICE("1")},
	{"empty value", SLICE("NATS/1.0\r\nA:\r\nB: 2\r\n\r\n"), 0, "", "A", SLICE("")},
	{"after an empty value", SLICE("NATS/1.0\r\nA: \r\nB: 2\r\n\r\n"), 0, "", "B", SLICE("2")},
	{"another case", SLICE("NATS/1.0\r\nA: 1\r\n\r\n"), 0, "", "a", {NULL, 0}},
	{"prefix of a name", SLICE("NATS/1.0\r\nAB: 1\r\n\r\n"), 0, "", "A", {NULL, 0}},
	{"space before colon", SLICE("NATS/1.0\r\nA : 1\r\n\r\n"), 0, "", "A", {NULL, 0}},
	{"no colon", SLICE("NATS/1.0\r\nA\r\nB: 2\r\n\r\n"), 0, "", "B", SLICE("2")},
	{"no colon at all", SLICE("NATS/1.0\r\nA 1\r\n\r\n"), 0, "", "A", {NULL, 0}},
	{"only colons", SLICE("NATS/1.0\r\n:\r\n::\r\nA: 1\r\n\r\n"), 0, "", "A", SLICE("1")},
	{"NUL in a value", SLICE("NATS/1.0\r\nA: 1\0002\r\n\r\n"), 0, "", "A", SLICE("1\0002")},
	{"NUL in a name", SLICE("NATS/1.0\r\nA\0: 1\r\n\r\n"), 0, "", "A", {NULL, 0}},
	{"NUL in the status", SLICE("NATS/1.0\0\r\nA: 1\r\n\r\n"), 0, "", "A", SLICE("1")},
	{"folded", SLICE("NATS/1.0\r\nA: 1\r\n A: 2\r\n\r\n"), 0, "", "A", SLICE("1")},
	{"bare line feeds", SLICE("NATS/1.0\nA: 1\n\n"), 0, "", "A", SLICE("1")},
	{"no end", SLICE("NATS/1.0\r\nA: 1"), 0, "", "A", SLICE("1")},
	{"no line end", SLICE("NATS/1.0"), 0, "", "A", {NULL, 0}},
	{"short", SLICE("NATS"), 0, "", "A", {NULL, 0}},
	{"not NATS", SLICE("HTTP/1.1\r\nA: 1\r\n\r\n"), 0, "", "A", {NULL, 0}},
	{"status", SLICE("NATS/1.0 404 No Messages\r\n\r\n"), 404, "No Messages", "A", {NULL, 0}},
	{"bare status", SLICE("NATS/1.0 408\r\n\r\n"), 408, "", "A", {NULL, 0}},
	{"status and header", SLICE("NATS/1.0 100 Idle\r\nA: 1\r\n\r\n"), 100, "Idle", "A",
		SLICE("1")},
	{"short status", SLICE("NATS/1.0 40\r\n\r\n"), 0, "", "A", {NULL, 0}},
	{"status no number", SLICE("NATS/1.0 4x4 \xff\r\n\r\n"), 0, "", "A", {NULL, 0}},
};

struct check {
	size_t at;
	bool done;
};

static void on_answer(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	struct check *check = arg;
	const char *name = BLOCKS[check->at].name;
	struct slice expected = BLOCKS[check->at].value;
	struct slice value = {NULL, 0}, description;
	bool found;

	if (outcome != NATS_REPLY_OK)
		fail_msg("%s: outcome %d, %s", name, outcome, text);
	if (nats_incoming_status(message, &description) != BLOCKS[check->at].status ||
		!slice_is(description, BLOCKS[check->at].description))
		fail_msg("%s: status %d \"%.*s\"", name,
			nats_incoming_status(message, &description), SLICE_FMT(description));
	found = nats_incoming_header(message, BLOCKS[check->at].header, &value);
	if (found != (expected.ptr != NULL) || (found && !slice_eq(value, expected)))
		fail_msg("%s: found %d \"%.*s\", expected \"%.*s\"", name, found, SLICE_FMT(value),
			SLICE_FMT(expected));
	assert_true(slice_is(nats_incoming_body(message), "body"));
	check->done = true;
}

static void test_blocks(void **state)
{
	struct fixture f;
	struct nats_outgoing *message = message_of("hand", "x");
	int fd;

	(void)state;
	open_all(&f);
	fd = hand_open();
	for (size_t i = 0; i < ARRAY_LEN(BLOCKS); i++) {
		struct check check = {i, false};

		nats_link_request(f.link, message, 5000, on_answer, &check);
		hand_answer(fd, BLOCKS[i].block, "body");
		RUN_UNTIL(&f, check.done);
	}
	nats_outgoing_unref(message);
	close(fd);
	close_link(&f);
}

static void on_large(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	struct slice value;

	(void)text;
	assert_int_equal(outcome, NATS_REPLY_OK);
	*(int *)arg = nats_incoming_header(message, "Last", &value) ? 1 : 0;
}

/* Within 64 kB the last of very many is found; beyond, there are no headers. At once either way. */
static void test_large(void **state)
{
	static const size_t SIZES[] = {60000, 1000000};
	struct fixture f;
	struct nats_outgoing *message = message_of("hand", "x");
	int fd;

	(void)state;
	open_all(&f);
	fd = hand_open();
	for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
		struct buf block = {NULL, 0, 0};
		uint64_t start;
		int found = -1;

		buf_append_str(&block, "NATS/1.0\r\n");
		while (block.len < SIZES[i])
			buf_append_str(&block, "a:b\r\n");
		buf_append_str(&block, "Last: 1\r\n\r\n");
		start = clock_mono_ms();
		nats_link_request(f.link, message, 5000, on_large, &found);
		hand_answer(fd, buf_slice(&block), "body");
		RUN_UNTIL(&f, found >= 0);
		assert_int_equal(found, i == 0);
		assert_true(clock_mono_ms() - start < 3000);
		buf_free(&block);
	}
	nats_outgoing_unref(message);
	close(fd);
	close_link(&f);
}

/* What the server says when nobody listens, said by somebody. */
static void test_forged_no_responders(void **state)
{
	struct fixture f;
	struct nats_outgoing *message = message_of("hand", "x");
	int fd;

	(void)state;
	open_all(&f);
	fd = hand_open();
	nats_link_request(f.link, message, 5000, on_reply, &f);
	hand_answer(fd, SLICE("NATS/1.0 503\r\n\r\n"), "");
	RUN_UNTIL(&f, f.answers == 1);
	assert_int_equal(f.outcome, NATS_REPLY_NO_RESPONDERS);
	nats_link_request(f.link, message, 5000, on_reply, &f);
	hand_answer(fd, SLICE("NATS/1.0 503\r\n\r\n"), "a body");
	RUN_UNTIL(&f, f.answers == 2);
	assert_int_equal(f.outcome, NATS_REPLY_OK);
	nats_outgoing_unref(message);
	close(fd);
	close_link(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_forged_no_responders),
	};

	return cmocka_run_group_tests(tests, setup_server, teardown_server);
}
