/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_LINK_FIXTURE_H
#define PS_TESTS_UNIT_LINK_FIXTURE_H
/*
 * A loop with one link to the program's real nats-server, and what came back over it. Without a
 * nats-server its tests are skipped. Include once per program, after cmocka.
 */
#include "common/core/clock.h"
#include "common/nats/link.h"
#include "tests/unit/nats_server.h"

#define DEADLINE_MS 20000

static const char SERVER_CONFIG[] =
	"server_name: unit\n"
	"jetstream { store_dir: \"%s/data\" }\n"
	"authorization { users: [\n"
	"  { user: all, password: \"p@ss%word\" }\n"
	"  { user: few, password: few, permissions: {\n"
	"      publish: [\"allowed.>\"], subscribe: [\"_INBOX_few.>\", \"allowed.>\"] } }\n"
	"  { user: deaf, password: deaf, permissions: { subscribe: [\"other.>\"] } }\n"
	"] }\n";

static struct nats_server server;

static int setup_server(void **state)
{
	(void)state;
	if (!nats_server_find(&server))
		return 0;
	return nats_server_setup(&server, SERVER_CONFIG) ? 0 : -1;
}

static int teardown_server(void **state)
{
	(void)state;
	nats_server_teardown(&server);
	return 0;
}

static void need_server(void)
{
	if (server.path[0] == '\0') {
		print_message("skipped: nats-server is absent\n");
		skip();
	}
}

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

static inline void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

static inline void on_up(void *arg)
{
	((struct fixture *)arg)->ups++;
}

static inline void on_down(void *arg, const char *reason)
{
	assert_true(reason[0] != '\0');
	((struct fixture *)arg)->downs++;
}

static inline void on_closed(void *arg)
{
	((struct fixture *)arg)->closed = true;
}

static inline void on_reply(
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

static inline void on_inbox(void *arg, struct nats_incoming *message)
{
	struct fixture *f = arg;

	assert_true(f->received_count < ARRAY_LEN(f->received));
	f->received[f->received_count++] = message;
}

static inline void on_inbox_denied(void *arg, const char *text)
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

static inline void open_link(
	struct fixture *f, const char *credentials, const char *prefix, int port)
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

static inline void open_all(struct fixture *f)
{
	need_server();
	open_link(f, "all:p%40ss%25word", "_INBOX_all", server.port);
	RUN_UNTIL(f, nats_link_is_up(f->link));
}

static inline void close_link(struct fixture *f)
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

static inline struct nats_outgoing *message_of(const char *subject, const char *body)
{
	struct buf content = {NULL, 0, 0};

	buf_append_str(&content, body);
	return nats_outgoing_new(slice_from(subject), NULL, &content);
}

static inline void request(struct fixture *f, const char *subject, const char *body)
{
	struct nats_outgoing *message = message_of(subject, body);
	int before = f->answers;

	assert_true(nats_link_request(f->link, message, 5000, on_reply, f) != 0);
	assert_int_equal(f->answers, before);
	nats_outgoing_unref(message);
	RUN_UNTIL(f, f->answers == before + 1);
}

static inline void free_received(struct fixture *f)
{
	while (f->received_count > 0)
		nats_incoming_free(f->received[--f->received_count]);
}

#endif
