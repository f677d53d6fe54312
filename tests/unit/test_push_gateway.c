/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sink against a stub that fails in every way, with the real newest.c before it; against the
 * gateway itself in test_push_gateway_real.c.
 */
#include "receiver/sink/push_gateway.h"

#include "common/core/clock.h"
#include "common/core/log.h"
#include "receiver/metrics.h"
#include "receiver/sink/push_body.h"
#include "tests/unit/push_fixture.h"
#include "tests/unit/stub_gateway.h"

#include <unistd.h>

#define HOUR_MS INT64_C(3600000)

/* A fixture whose gateway is a stub. */
struct with_stub {
	struct push_fixture f;
	struct stub_gateway stub;
};

static struct with_stub *open_stub(void)
{
	struct with_stub *t = xcalloc(1, sizeof(*t));

	push_fixture_init(&t->f);
	stub_open(&t->stub, &t->f.loop, 0);
	push_fixture_open(&t->f, t->stub.port, "/prefix/");
	/* Its first survey. */
	while (!t->f.sink->ops->is_ready(t->f.sink, NULL))
		push_fixture_turn(&t->f);
	return t;
}

static void close_stub(struct with_stub *t)
{
	stub_close(&t->stub);
	push_fixture_close(&t->f);
	stub_free_requests(&t->stub);
	free(t);
}

static const struct stub_request *request(struct with_stub *t, size_t i)
{
	if (i >= t->stub.count)
		fail_msg("request %zu was not made, only %zu were", i, t->stub.count);
	return &t->stub.requests[i];
}

static void expect_request(
	struct with_stub *t, size_t i, const char *method, const char *path, const char *content)
{
	const struct stub_request *r = request(t, i);

	if (strcmp(r->method, method) != 0 || strcmp(r->path, path) != 0 ||
		strstr(r->body, content) == NULL)
		fail_msg("request %zu: got %s %s\n%s\nexpected %s %s with %s", i, r->method,
			r->path, r->body, method, path, content);
}

static void expect_fates(struct with_stub *t, const char *fates)
{
	if (strcmp(buf_cstr(&t->f.fates), fates) != 0)
		fail_msg("fates: got %s, expected %s", buf_cstr(&t->f.fates), fates);
}

#define WAIT(condition)                                                                            \
	do {                                                                                       \
		uint64_t until_ms = clock_mono_ms() + 20000;                                       \
		while (!(condition)) {                                                             \
			if (clock_mono_ms() > until_ms)                                            \
				fail_msg("waited in vain: %s (line %d); %zu requests, fates %s",   \
					#condition, __LINE__, t->stub.count,                       \
					buf_cstr(&t->f.fates));                                    \
			push_fixture_turn(&t->f);                                                  \
		}                                                                                  \
	} while (0)

/* Gives whatever would wrongly happen the time to. */
static void let_time_pass(struct with_stub *t, uint64_t ms)
{
	uint64_t until_ms = clock_mono_ms() + ms;

	while (clock_mono_ms() < until_ms)
		push_fixture_turn(&t->f);
}

#define A "/prefix/metrics/job/app/instance/a"
#define B "/prefix/metrics/job/app/instance/b"

static void test_delivers(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1 5\n"});
	WAIT(t->f.ended == 1);
	expect_request(t, 0, "PUT", A, "up 1\n");
	expect_request(t, 0, "PUT", A, "\nx 1\n");
	expect_request(t, 0, "PUT", A, PUSH_MARK " ");
	expect_fates(t, "1:delivered ");
	assert_string_equal(buf_cstr(&t->f.acks), "1 ");
	assert_int_equal(push_count(&t->f, RM_PUSHES, "sink", "PUT"), 1);
	assert_int_equal(push_count(&t->f, RM_GROUPS, "sink", NULL), 1);
	assert_int_equal(push_count(&t->f, RM_PUBLISH_SECONDS, "sink", NULL), 1);
	assert_true(t->f.sink->ops->is_ready(t->f.sink, NULL));
	close_stub(t);
}

static void test_every_2xx_is_success(void **state)
{
	static const int statuses[] = {200, 201, 202, 299};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		struct with_stub *t = open_stub();

		t->stub.status = statuses[i];
		push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
		WAIT(t->f.ended == 1);
		expect_fates(t, "1:delivered ");
		close_stub(t);
	}
}

static void test_publisher_label(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	t->f.gateway.publisher_label = true;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n", .label = "env"});
	WAIT(t->f.ended == 1);
	expect_request(t, 0, "PUT", A "/publisher/dc1/env/v", "x 1\n");
	close_stub(t);
}

/* What arrives as `up 0`, and why. */
static void test_down(void **state)
{
	static const struct {
		const char *name;
		struct push_frame frame;
		enum receiver_metric counter;
		const char *counter_a, *counter_b;
	} cases[] = {
		{"down", {.instance = "a", .body = "", .is_down = true}, RM_PUSHES, "sink", "PUT"},
		{"malformed", {.instance = "a", .body = "x 1\ny {\n"}, RM_PARSE_ERRORS, "sink",
			NULL},
		{"corrupt", {.instance = "a", .body = "no gzip", .encoding = ENCODING_GZIP},
			RM_PUBLISHER_DISCARDS, "dc1", "corrupt"},
		{"unknown encoding", {.instance = "a", .body = "x", .encoding = ENCODING_UNKNOWN},
			RM_PUBLISHER_DISCARDS, "dc1", "unsupported_encoding"},
		{"loop", {.instance = "a", .body = PUSH_MARK " 1\nx 1\n"}, RM_PUBLISHER_DISCARDS,
			"dc1", "loop"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct with_stub *t = open_stub();

		push_offer(&t->f, cases[i].frame);
		WAIT(t->f.ended == 1);
		expect_request(t, 0, "PUT", A, "up 0\n");
		if (strstr(t->stub.requests[0].body, "\nx 1") != NULL)
			fail_msg("%s: its samples were pushed", cases[i].name);
		expect_fates(t, "1:delivered ");
		if (push_count(&t->f, cases[i].counter, cases[i].counter_a, cases[i].counter_b) !=
			1)
			fail_msg("%s: not counted", cases[i].name);
		close_stub(t);
	}
}

static void test_too_large(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	t->f.settings.max_scrape_bytes = 3;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "xy 1\n"});
	WAIT(t->f.ended == 1);
	expect_request(t, 0, "PUT", A, "up 0\n");
	assert_int_equal(push_count(&t->f, RM_PUBLISHER_DISCARDS, "dc1", "too_large"), 1);
	close_stub(t);
}

static int refuse_x(struct stub_gateway *stub, const struct stub_request *r)
{
	(void)stub;
	return strstr(r->body, "\nx 1") != NULL ? 400 : 200;
}

static void test_refused(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	t->stub.decide = refuse_x;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	push_offer(&t->f, (struct push_frame){.instance = "b", .body = "y 1\n"});
	WAIT(t->f.ended == 2 && t->stub.count == 3);
	assert_true(push_has_fate(&t->f, "1:refused "));
	assert_true(push_has_fate(&t->f, "2:delivered "));
	expect_request(t, 2, "PUT", A, "up 0\n");
	assert_null(strstr(t->stub.requests[2].body, "\nx 1"));
	assert_true(t->f.sink->ops->is_ready(t->f.sink, NULL));
	assert_int_equal(push_count(&t->f, RM_PUBLISH_ERRORS, "sink", "http_400"), 1);
	close_stub(t);
}

static int refuse_all(struct stub_gateway *stub, const struct stub_request *r)
{
	(void)stub;
	(void)r;
	return 413;
}

/* Neither the scrape nor what is left of it: it ends nevertheless. */
static void test_refused_altogether(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	t->stub.decide = refuse_all;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(t->f.ended == 1);
	assert_int_equal(t->stub.count, 2);
	expect_fates(t, "1:refused ");
	close_stub(t);
}

/* The statuses after which it is the gateway that has to recover. */
static void test_waits_for_the_gateway(void **state)
{
	static const struct {
		int status;
		const char *why;
	} cases[] = {
		{500, "HTTP 500: stub: no"},
		{503, "HTTP 503"},
		{429, "HTTP 429"},
		{408, "HTTP 408"},
		{301, "HTTP 301, redirected; check the url"},
		{401, "HTTP 401, check the credentials"},
		{404, "HTTP 404, check the url"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct with_stub *t = open_stub();
		struct buf why = {0};

		t->stub.status = cases[i].status;
		t->stub.headers = "Location: /elsewhere\r\n";
		push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
		WAIT(!t->f.sink->ops->is_ready(t->f.sink, NULL));
		assert_false(t->f.sink->ops->is_ready(t->f.sink, &why));
		if (strstr(buf_cstr(&why), cases[i].why) == NULL ||
			strstr(buf_cstr(&why), "@127.0.0.1:") == NULL ||
			strstr(buf_cstr(&why), "secret") != NULL)
			fail_msg("why: got %s, expected %s", buf_cstr(&why), cases[i].why);
		expect_fates(t, "");
		/* What came meanwhile is what goes. */
		push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 2\n"});
		t->stub.status = 200;
		WAIT(push_has_fate(&t->f, "2:delivered "));
		assert_true(push_has_fate(&t->f, "1:superseded "));
		expect_request(t, t->stub.count - 1, "PUT", A, "\nx 2\n");
		assert_true(t->f.sink->ops->is_ready(t->f.sink, NULL));
		buf_free(&why);
		close_stub(t);
	}
}

static int fail_every_other(struct stub_gateway *stub, const struct stub_request *r)
{
	(void)r;
	return stub->count % 2 == 0 ? 500 : 200;
}

/* A gateway that fails now and then is said to be away and back once in a while only. */
static void test_a_flapping_gateway_does_not_flood_the_log(void **state)
{
	struct with_stub *t = open_stub();
	char path[64];
	int lines;

	(void)state;
	log_to_file(path);
	t->stub.decide = fail_every_other;
	for (int i = 0; i < 1000 && t->stub.count < 10; i++) {
		push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
		let_time_pass(t, 10);
	}
	lines = lines_with(path, "the Push Gateway ");
	assert_true(push_count(&t->f, RM_PUBLISH_ERRORS, "sink", "http_500") >= 5);
	assert_int_equal(lines, 2);
	close_stub(t);
}

static void test_thousands_of_malformed_targets_do_not_flood_the_log(void **state)
{
	struct with_stub *t = open_stub();
	char path[64];
	int lines;

	(void)state;
	log_to_file(path);
	for (int i = 0; i < 500; i++) {
		char instance[32];

		snprintf(instance, sizeof(instance), "i%d", i);
		push_offer(&t->f, (struct push_frame){.instance = instance, .body = "}\n"});
	}
	WAIT(t->f.ended == 500);
	assert_int_equal(push_count(&t->f, RM_PARSE_ERRORS, "sink", NULL), 500);
	lines = lines_with(path, "malformed");
	assert_in_range(lines, 10, 100);
	close_stub(t);
}

static void test_retry_after(void **state)
{
	struct with_stub *t = open_stub();
	uint64_t begin_ms = clock_mono_ms();

	(void)state;
	t->stub.status = 503;
	t->stub.headers = "Retry-After: 1\r\n";
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(t->stub.count == 1);
	t->stub.status = 200;
	WAIT(t->f.ended == 1);
	assert_true(clock_mono_ms() - begin_ms >= 990);
	assert_int_equal(t->stub.count, 2);
	close_stub(t);
}

/* A scrape that is brought again is judged again, but was wrong only once. */
static void test_a_retry_counts_nothing_twice(void **state)
{
	static const struct {
		const char *name;
		struct push_frame frame;
		enum receiver_metric counter;
		const char *counter_a, *counter_b;
	} cases[] = {
		{"malformed", {.instance = "a", .body = "x 1\ny {\n"}, RM_PARSE_ERRORS, "sink",
			NULL},
		{"corrupt", {.instance = "a", .body = "no gzip", .encoding = ENCODING_GZIP},
			RM_PUBLISHER_DISCARDS, "dc1", "corrupt"},
		{"loop", {.instance = "a", .body = PUSH_MARK " 1\nx 1\n"}, RM_PUBLISHER_DISCARDS,
			"dc1", "loop"},
		{"conflict",
			{.instance = "a",
				.body = "x{instance=\"b\"} 1\n",
				.flags = WIRE_HONOR_LABELS},
			RM_PUBLISHER_DISCARDS, "dc1", "path_conflict"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct with_stub *t = open_stub();
		int count;

		push_offer(&t->f, (struct push_frame){.instance = "b", .body = "x 1\n"});
		WAIT(t->f.ended == 1);
		t->stub.status = 500;
		push_offer(&t->f, cases[i].frame);
		WAIT(t->stub.count >= 3);
		t->stub.status = 200;
		WAIT(t->f.ended == 2);
		count = push_count(&t->f, cases[i].counter, cases[i].counter_a, cases[i].counter_b);
		if (count != 1)
			fail_msg("%s: counted %d times", cases[i].name, count);
		close_stub(t);
	}
}

/* While it is away one request probes it, not one per target. */
static void test_probes_with_one_request(void **state)
{
	struct with_stub *t = open_stub();
	static const char *const instances[] = {"a", "b", "c", "d", "e", "f", "g", "h"};

	(void)state;
	t->stub.status = 500;
	t->f.gateway.concurrency = 4;
	for (size_t i = 0; i < ARRAY_LEN(instances); i++)
		push_offer(&t->f, (struct push_frame){.instance = instances[i], .body = "x 1\n"});
	WAIT(t->stub.count >= 4 && t->f.sink->ops->running(t->f.sink) == 0);
	assert_int_equal(t->stub.count, 4);
	t->stub.status = STUB_HOLD;
	t->stub.held_most = 0;
	WAIT(t->stub.held == 1);
	let_time_pass(t, 50);
	assert_int_equal(t->stub.held_most, 1);
	t->stub.status = 200;
	stub_release(&t->stub, 200);
	WAIT(t->f.ended == 8);
	assert_int_equal(push_count(&t->f, RM_PUSHES, "sink", "PUT"), 4 + 8);
	close_stub(t);
}

static void test_connection_refused(void **state)
{
	struct with_stub *t = open_stub();
	struct buf why = {0};
	int port = t->stub.port;

	(void)state;
	stub_close(&t->stub);
	let_time_pass(t, 10);
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(!t->f.sink->ops->is_ready(t->f.sink, NULL));
	t->f.sink->ops->is_ready(t->f.sink, &why);
	assert_non_null(strstr(buf_cstr(&why), "refused"));
	assert_int_equal(push_count(&t->f, RM_PUBLISH_ERRORS, "sink", "connection"), 1);
	stub_open(&t->stub, &t->f.loop, port);
	WAIT(t->f.ended == 1);
	expect_fates(t, "1:delivered ");
	buf_free(&why);
	close_stub(t);
}

static void test_time_out(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	t->f.gateway.timeout_ms = 100;
	t->stub.decide = NULL;
	t->stub.status = STUB_HOLD;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(!t->f.sink->ops->is_ready(t->f.sink, NULL));
	assert_int_equal(push_count(&t->f, RM_PUBLISH_ERRORS, "sink", "timeout"), 1);
	t->stub.status = 200;
	WAIT(t->f.ended == 1);
	close_stub(t);
}

static void test_newest_wins_and_one_request_per_group(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	t->stub.status = STUB_HOLD;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(t->stub.held == 1);
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 2\n"});
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 3\n"});
	let_time_pass(t, 30);
	assert_int_equal(t->stub.held_most, 1);
	t->stub.status = 200;
	stub_release(&t->stub, 200);
	WAIT(t->f.ended == 3);
	assert_int_equal(t->stub.count, 2);
	expect_request(t, 1, "PUT", A, "\nx 3\n");
	assert_true(push_has_fate(&t->f, "2:superseded "));
	assert_string_equal(buf_cstr(&t->f.acks), "1 2 3 ");
	close_stub(t);
}

static void test_concurrency(void **state)
{
	struct with_stub *t = open_stub();
	static const char *const instances[] = {"a", "b", "c", "d", "e", "f"};

	(void)state;
	t->stub.status = STUB_HOLD;
	t->f.gateway.concurrency = 3;
	for (size_t i = 0; i < ARRAY_LEN(instances); i++)
		push_offer(&t->f, (struct push_frame){.instance = instances[i], .body = "x 1\n"});
	WAIT(t->stub.held == 3);
	let_time_pass(t, 30);
	assert_int_equal(t->stub.held_most, 3);
	assert_int_equal(t->f.sink->ops->running(t->f.sink), 3);
	t->stub.status = 200;
	stub_release(&t->stub, 200);
	WAIT(t->f.ended == 6);
	close_stub(t);
}

static void test_path_conflict(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(t->f.ended == 1);
	push_offer(
		&t->f, (struct push_frame){.instance = "a", .body = "x 2\n", .publisher = "dc2"});
	WAIT(t->f.ended == 2);
	expect_fates(t, "1:delivered 2:refused ");
	assert_int_equal(t->stub.count, 1);
	assert_int_equal(push_count(&t->f, RM_PUBLISHER_DISCARDS, "dc2", "path_conflict"), 1);
	/* Once the holder is gone, the path is free. */
	push_sweep(&t->f, 2 * HOUR_MS);
	WAIT(newest_target_count(t->f.newest) == 0);
	push_offer(
		&t->f, (struct push_frame){.instance = "a", .body = "x 3\n", .publisher = "dc2"});
	WAIT(t->f.ended == 3);
	assert_true(push_has_fate(&t->f, "3:delivered "));
	close_stub(t);
}

#define SUB(job, instance) "/prefix/metrics/job/" job "/instance/" instance

static void test_honored_groups(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	t->f.gateway.concurrency = 1;
	push_offer(&t->f, (struct push_frame){.instance = "a",
				  .body = "x{job=\"j\",instance=\"1\"} 1\n"
					  "x{job=\"j\",instance=\"2\"} 2\ny 1\n",
				  .flags = WIRE_HONOR_LABELS});
	WAIT(t->f.ended == 1);
	assert_int_equal(t->stub.count, 3);
	expect_request(t, 0, "PUT", A, "\ny 1\n");
	expect_request(t, 1, "PUT", SUB("j", "1"), "x{job=\"j\",instance=\"1\"} 1\n");
	expect_request(t, 2, "PUT", SUB("j", "2"), PUSH_MARK " ");
	assert_null(strstr(t->stub.requests[2].body, "\nup "));
	assert_int_equal(push_count(&t->f, RM_GROUPS, "sink", NULL), 3);
	/* One vanishes. */
	push_offer(&t->f, (struct push_frame){.instance = "a",
				  .body = "x{job=\"j\",instance=\"2\"} 3\n",
				  .flags = WIRE_HONOR_LABELS});
	WAIT(t->f.ended == 2);
	assert_int_equal(t->stub.count, 6);
	expect_request(t, 5, "DELETE", SUB("j", "1"), "");
	assert_int_equal(push_count(&t->f, RM_GROUPS_DELETED, "sink", "vanished"), 1);
	/* Another target exposes what is taken. */
	push_offer(&t->f, (struct push_frame){.instance = "b",
				  .body = "x{job=\"j\",instance=\"2\"} 4\nz 1\n",
				  .flags = WIRE_HONOR_LABELS});
	WAIT(t->f.ended == 3);
	assert_int_equal(t->stub.count, 7);
	expect_request(t, 6, "PUT", B, "z 1\n");
	assert_int_equal(push_count(&t->f, RM_PUBLISHER_DISCARDS, "dc1", "path_conflict"), 1);
	/* A failed scrape leaves nothing of the others. */
	push_offer(&t->f,
		(struct push_frame){
			.instance = "a", .body = "", .is_down = true, .flags = WIRE_HONOR_LABELS});
	WAIT(t->f.ended == 4);
	expect_request(t, 7, "PUT", A, "up 0\n");
	expect_request(t, 8, "DELETE", SUB("j", "2"), "");
	assert_int_equal(push_count(&t->f, RM_GROUPS, "sink", NULL), 2);
	close_stub(t);
}

static int refuse_sub(struct stub_gateway *stub, const struct stub_request *r)
{
	(void)stub;
	return strstr(r->body, "\nx{") != NULL ? 400 : 200;
}

static void test_honored_group_refused(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	t->stub.decide = refuse_sub;
	t->f.gateway.concurrency = 1;
	push_offer(&t->f, (struct push_frame){.instance = "a",
				  .body = "x{job=\"j\"} 1\ny 1\n",
				  .flags = WIRE_HONOR_LABELS});
	WAIT(t->f.ended == 1);
	expect_fates(t, "1:refused ");
	assert_int_equal(t->stub.count, 3);
	expect_request(t, 2, "PUT", SUB("j", "a"), PUSH_MARK);
	assert_null(strstr(t->stub.requests[2].body, "\nup "));
	assert_null(strstr(t->stub.requests[2].body, "\nx{"));
	close_stub(t);
}

static void test_silent(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	push_offer(&t->f,
		(struct push_frame){
			.instance = "a", .body = "x{job=\"j\"} 1\n", .flags = WIRE_HONOR_LABELS});
	WAIT(t->f.ended == 1);
	t->stub.status = 202;
	push_sweep(&t->f, 2 * HOUR_MS);
	WAIT(newest_target_count(t->f.newest) == 0);
	assert_int_equal(t->stub.count, 4);
	assert_string_equal(request(t, 2)->method, "DELETE");
	assert_string_equal(request(t, 3)->method, "DELETE");
	assert_int_equal(push_count(&t->f, RM_GROUPS_DELETED, "sink", "silent"), 2);
	assert_int_equal(push_count(&t->f, RM_GROUPS, "sink", NULL), 0);
	close_stub(t);
}

/* A last message: what comes before it, and what it leads to. */
static void test_removed(void **state)
{
	static const struct {
		const char *name;
		struct push_frame before, last;
		bool keeps_stale;
		size_t deleted, groups; /* afterwards */
		const char *put;        /* in the last PUT; NULL: the last request is a DELETE */
		const char *reason;     /* of what was deleted */
	} cases[] = {
		{.name = "its group",
			.before = {.instance = "a", .body = "x 1\n"},
			.last = {.instance = "a",
				.body = "",
				.is_down = true,
				.flags = WIRE_REMOVED},
			.deleted = 1,
			.reason = "removed"},
		{.name = "all it holds",
			.before = {.instance = "a",
				.body = "x{job=\"j\"} 1\ny{job=\"k\"} 1\n",
				.flags = WIRE_HONOR_LABELS},
			.last = {.instance = "a",
				.body = "",
				.is_down = true,
				.flags = WIRE_REMOVED | WIRE_HONOR_LABELS},
			.deleted = 3,
			.reason = "removed"},
		{.name = "not another's",
			.before = {.instance = "b", .body = "x 1\n"},
			.last = {.instance = "a",
				.body = "",
				.is_down = true,
				.flags = WIRE_REMOVED},
			.deleted = 1,
			.groups = 1,
			.reason = "removed"},
		{.name = "another publisher's path",
			.before = {.instance = "a", .body = "x 1\n", .publisher = "dc2"},
			.last = {.instance = "a",
				.body = "",
				.is_down = true,
				.flags = WIRE_REMOVED},
			.groups = 1,
			.put = "x 1\n",
			.reason = "removed"},
		{.name = "of no meaning where up",
			.before = {.instance = "a", .body = "x 1\n"},
			.last = {.instance = "a", .body = "x 2\n", .flags = WIRE_REMOVED},
			.groups = 1,
			.put = "x 2\n",
			.reason = "removed"},
		{.name = "groups outlive targets",
			.before = {.instance = "a", .body = "x 1\n"},
			.last = {.instance = "a",
				.body = "",
				.is_down = true,
				.flags = WIRE_REMOVED},
			.keeps_stale = true,
			.groups = 1,
			.put = "\nup 0\n",
			.reason = "removed"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct with_stub *t = open_stub();
		const struct stub_request *last;
		int deleted, groups;

		t->f.gateway.delete_stale = !cases[i].keeps_stale;
		push_offer(&t->f, cases[i].before);
		WAIT(t->f.ended == 1);
		push_offer(&t->f, cases[i].last);
		WAIT(t->f.ended == 2);
		deleted = push_count(&t->f, RM_GROUPS_DELETED, "sink", cases[i].reason);
		groups = push_count(&t->f, RM_GROUPS, "sink", NULL);
		last = request(t, t->stub.count - 1);
		if (deleted != (int)cases[i].deleted || groups != (int)cases[i].groups ||
			strcmp(last->method, cases[i].put == NULL ? "DELETE" : "PUT") != 0 ||
			(cases[i].put != NULL && strstr(last->body, cases[i].put) == NULL))
			fail_msg(
				"%s: %d deleted, %d groups are left, the last request is %s %s\n%s",
				cases[i].name, deleted, groups, last->method, last->path,
				last->body);
		assert_string_equal(buf_cstr(&t->f.acks), "1 2 ");
		close_stub(t);
	}
}

static void test_removed_and_back(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(t->f.ended == 1);
	push_offer(&t->f,
		(struct push_frame){
			.instance = "a", .body = "", .is_down = true, .flags = WIRE_REMOVED});
	WAIT(t->f.ended == 2);
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 3\n"});
	WAIT(t->f.ended == 3);
	expect_request(t, 2, "PUT", A, "x 3\n");
	push_offer(&t->f,
		(struct push_frame){
			.instance = "a", .body = "", .is_down = true, .flags = WIRE_REMOVED});
	WAIT(t->f.ended == 4);
	assert_int_equal(newest_target_count(t->f.newest), 1);
	push_sweep(&t->f, 2 * HOUR_MS);
	WAIT(newest_target_count(t->f.newest) == 0);
	assert_int_equal(t->stub.count, 4);
	close_stub(t);
}

/* Once the stream is not heard as before, what is left of a deletion waits for another silence. */
static void test_doubted_silence(void **state)
{
	struct with_stub *t = open_stub();
	int64_t now_ms = clock_wall_ms();

	(void)state;
	t->f.gateway.concurrency = 1;
	push_offer(&t->f,
		(struct push_frame){
			.instance = "a", .body = "x{job=\"j\"} 1\n", .flags = WIRE_HONOR_LABELS});
	WAIT(t->f.ended == 1);
	t->f.sink->ops->sweep(t->f.sink, now_ms, 1);
	t->stub.status = STUB_HOLD;
	push_sweep(&t->f, 2 * HOUR_MS);
	WAIT(t->stub.held == 1);
	t->f.sink->ops->sweep(t->f.sink, now_ms, 0);
	t->stub.status = 202;
	stub_release(&t->stub, 202);
	let_time_pass(t, 50);
	assert_int_equal(push_count(&t->f, RM_GROUPS_DELETED, "sink", "silent"), 1);
	assert_int_equal(newest_target_count(t->f.newest), 1);
	t->f.sink->ops->sweep(t->f.sink, now_ms, 1);
	let_time_pass(t, 50);
	assert_int_equal(push_count(&t->f, RM_GROUPS_DELETED, "sink", "silent"), 1);
	push_sweep(&t->f, 2 * HOUR_MS);
	WAIT(newest_target_count(t->f.newest) == 0);
	assert_int_equal(push_count(&t->f, RM_GROUPS_DELETED, "sink", "silent"), 2);
	close_stub(t);
}

/* /metrics is read again and again beside pushes; that it times out then loses nothing. */
static void test_surveys_come_round(void **state)
{
	struct with_stub *t = open_stub();
	size_t surveys;

	(void)state;
	t->f.gateway.survey_interval_ms = 1;
	t->f.gateway.timeout_ms = 200;
	t->f.sink->ops->sweep(t->f.sink, clock_wall_ms(), 0);
	WAIT(t->stub.surveys == 1);
	let_time_pass(t, 200);
	t->stub.survey_status = -1;
	surveys = t->stub.surveys;
	t->f.sink->ops->sweep(t->f.sink, clock_wall_ms(), 0);
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(t->stub.surveys == surveys + 1);
	assert_true(t->f.sink->ops->is_ready(t->f.sink, NULL));
	WAIT(t->f.ended == 1);
	expect_fates(t, "1:delivered ");
	assert_true(t->f.sink->ops->is_ready(t->f.sink, NULL));
	/* It took 200 ms: the next one is 20 s away. */
	t->f.sink->ops->sweep(t->f.sink, clock_wall_ms(), 0);
	let_time_pass(t, 50);
	assert_int_equal(t->stub.surveys, surveys + 1);
	close_stub(t);
}

static void test_silent_without_delete_stale(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	t->f.gateway.delete_stale = false;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(t->f.ended == 1);
	push_sweep(&t->f, 2 * HOUR_MS);
	assert_int_equal(newest_target_count(t->f.newest), 0);
	let_time_pass(t, 30);
	assert_int_equal(t->stub.count, 1);
	assert_int_equal(push_count(&t->f, RM_GROUPS, "sink", NULL), 0);
	close_stub(t);
}

static void test_silent_delete_is_retried(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(t->f.ended == 1);
	t->stub.status = 500;
	push_sweep(&t->f, 2 * HOUR_MS);
	WAIT(t->stub.count >= 3);
	assert_int_equal(newest_target_count(t->f.newest), 1);
	t->stub.status = 202;
	WAIT(newest_target_count(t->f.newest) == 0);
	assert_int_equal(push_count(&t->f, RM_GROUPS_DELETED, "sink", "silent"), 1);
	close_stub(t);
}

/* It is heard again while its group is being deleted: that ends first, then the newest goes. */
static void test_speaks_while_deleted(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(t->f.ended == 1);
	t->stub.status = STUB_HOLD;
	push_sweep(&t->f, 2 * HOUR_MS);
	WAIT(t->stub.held == 1);
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 2\n"});
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 3\n"});
	let_time_pass(t, 30);
	assert_int_equal(t->stub.count, 2);
	t->stub.status = 200;
	stub_release(&t->stub, 202);
	WAIT(push_has_fate(&t->f, "3:delivered "));
	assert_int_equal(t->stub.count, 3);
	expect_request(t, 1, "DELETE", A, "");
	expect_request(t, 2, "PUT", A, "\nx 3\n");
	assert_int_equal(newest_target_count(t->f.newest), 1);
	assert_int_equal(push_count(&t->f, RM_GROUPS, "sink", NULL), 1);
	close_stub(t);
}

/*
 * It is heard again before the deletion got through to a gateway that is away: the deletion is
 * dropped, and the target holds no frame back from newer ones however long that takes.
 */
static void test_speaks_before_deleted(void **state)
{
	struct with_stub *t = open_stub();
	size_t acks = 0;

	(void)state;
	t->f.gateway.concurrency = 1;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	push_offer(&t->f, (struct push_frame){.instance = "b", .body = "x 1\n"});
	WAIT(t->f.ended == 2);
	t->stub.status = 500;
	push_sweep(&t->f, 2 * HOUR_MS);
	for (int i = 0; i < 200 && t->stub.count < 8; i++) {
		push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 2\n"});
		push_offer(&t->f, (struct push_frame){.instance = "b", .body = "x 2\n"});
		let_time_pass(t, 20);
	}
	/* All are done with but those that wait and those on their way. */
	for (size_t i = 0; i < t->f.acks.len; i++)
		acks += t->f.acks.ptr[i] == ' ';
	if (acks + 4 < t->f.seq)
		fail_msg("%zu acks for %d scrapes", acks, (int)t->f.seq);
	t->stub.status = 200;
	WAIT(t->f.ended == t->f.seq);
	assert_int_equal(push_count(&t->f, RM_GROUPS, "sink", NULL), 2);
	close_stub(t);
}

/* A gateway busy with deletions still takes pushes, every other turn. */
static void test_deletions_do_not_hold_up_pushes(void **state)
{
	struct with_stub *t = open_stub();
	size_t before = 0;

	(void)state;
	t->f.gateway.concurrency = 1;
	for (int i = 0; i < 20; i++) {
		char instance[32];

		snprintf(instance, sizeof(instance), "s%d", i);
		push_offer(&t->f, (struct push_frame){.instance = instance, .body = "x 1\n"});
	}
	WAIT(t->f.ended == 20);
	t->stub.status = STUB_HOLD;
	push_sweep(&t->f, 2 * HOUR_MS);
	WAIT(t->stub.held == 1);
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	t->stub.status = 200;
	stub_release(&t->stub, 200);
	WAIT(t->f.ended == 21 && newest_target_count(t->f.newest) == 1);
	for (size_t i = 20; i < t->stub.count && strcmp(t->stub.requests[i].method, "PUT") != 0;
		i++)
		before++;
	assert_in_range(before, 1, 2);
	close_stub(t);
}

/* Nor do targets with groups without end: others push beside them. */
static void test_long_jobs_do_not_hold_up_others(void **state)
{
	struct with_stub *t = open_stub();
	struct buf body = {0};
	size_t before = 0;

	(void)state;
	for (int i = 0; i < 200; i++)
		buf_appendf(&body, "x{instance=\"i%d\"} 1\n", i);
	t->stub.status = STUB_HOLD;
	for (int i = 0; i < 2; i++)
		push_offer(&t->f, (struct push_frame){.job = i == 0 ? "l0" : "l1",
					  .instance = "long",
					  .body = buf_cstr(&body),
					  .flags = WIRE_HONOR_LABELS});
	WAIT(t->stub.held == 2);
	for (int i = 0; i < 10; i++) {
		char instance[32];

		snprintf(instance, sizeof(instance), "s%d", i);
		push_offer(
			&t->f, (struct push_frame){
				       .publisher = "dc2", .instance = instance, .body = "x 1\n"});
	}
	t->stub.status = 200;
	stub_release(&t->stub, 200);
	WAIT(t->f.ended == 10);
	for (size_t i = 0; i < t->stub.count; i++)
		before += strstr(t->stub.requests[i].path, "/instance/s") == NULL;
	assert_in_range(before, 8, 16); /* and those have their part */
	WAIT(t->f.ended == 12);
	assert_int_equal(t->stub.count, 412);
	buf_free(&body);
	close_stub(t);
}

static void test_stop(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	t->f.gateway.concurrency = 1;
	t->stub.status = STUB_HOLD;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	push_offer(&t->f, (struct push_frame){.instance = "b", .body = "x 1\n"});
	WAIT(t->stub.held == 1);
	t->f.sink->ops->stop(t->f.sink);
	t->stub.status = 200;
	stub_release(&t->stub, 200);
	WAIT(t->f.sink->ops->running(t->f.sink) == 0);
	let_time_pass(t, 30);
	assert_int_equal(t->stub.count, 1);
	expect_fates(t, "1:delivered ");
	close_stub(t);
}

/* Requests in flight, waits and removals: all end when the sink is closed. */
static void test_close_in_the_middle(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	push_offer(&t->f, (struct push_frame){.instance = "gone", .body = "x 1\n"});
	WAIT(t->f.ended == 1);
	t->stub.status = STUB_HOLD;
	t->f.gateway.concurrency = 2;
	push_sweep(&t->f, 2 * HOUR_MS);
	push_offer(&t->f, (struct push_frame){.instance = "gone", .body = "x 2\n"});
	push_offer(&t->f,
		(struct push_frame){
			.instance = "a", .body = "x{job=\"j\"} 1\n", .flags = WIRE_HONOR_LABELS});
	WAIT(t->stub.held == 2);
	close_stub(t);
}

static void test_close_while_waiting(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	t->stub.status = 500;
	push_offer(&t->f, (struct push_frame){.instance = "a", .body = "x 1\n"});
	WAIT(!t->f.sink->ops->is_ready(t->f.sink, NULL));
	close_stub(t);
}

static void test_too_many_labels(void **state)
{
	struct with_stub *t = open_stub();

	(void)state;
	push_offer(
		&t->f, (struct push_frame){.instance = "a", .body = "x 1\n", .extra_labels = 65});
	WAIT(t->f.ended == 1);
	expect_fates(t, "1:refused ");
	assert_int_equal(t->stub.count, 0);
	assert_int_equal(push_count(&t->f, RM_PUBLISHER_DISCARDS, "dc1", "too_many_labels"), 1);
	close_stub(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delivers),
		cmocka_unit_test(test_every_2xx_is_success),
		cmocka_unit_test(test_publisher_label),
		cmocka_unit_test(test_down),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_altogether),
		cmocka_unit_test(test_waits_for_the_gateway),
		cmocka_unit_test(test_a_flapping_gateway_does_not_flood_the_log),
		cmocka_unit_test(test_thousands_of_malformed_targets_do_not_flood_the_log),
		cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_a_retry_counts_nothing_twice),
		cmocka_unit_test(test_probes_with_one_request),
		cmocka_unit_test(test_connection_refused),
		cmocka_unit_test(test_time_out),
		cmocka_unit_test(test_newest_wins_and_one_request_per_group),
		cmocka_unit_test(test_concurrency),
		cmocka_unit_test(test_path_conflict),
		cmocka_unit_test(test_honored_groups),
		cmocka_unit_test(test_honored_group_refused),
		cmocka_unit_test(test_removed),
		cmocka_unit_test(test_removed_and_back),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_doubted_silence),
		cmocka_unit_test(test_surveys_come_round),
		cmocka_unit_test(test_silent_without_delete_stale),
		cmocka_unit_test(test_silent_delete_is_retried),
		cmocka_unit_test(test_speaks_while_deleted),
		cmocka_unit_test(test_speaks_before_deleted),
		cmocka_unit_test(test_deletions_do_not_hold_up_pushes),
		cmocka_unit_test(test_long_jobs_do_not_hold_up_others),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_close_in_the_middle),
		cmocka_unit_test(test_close_while_waiting),
		cmocka_unit_test(test_too_many_labels),
	};

	if (getenv("PUSH_GATEWAY_TEST_LOG") == NULL) {
		struct err err;

		if (log_open("test", LOG_TEXT, LOG_ERROR, NULL, &err) < 0)
			return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
