/* SPDX-License-Identifier: Apache-2.0 */
/* When a stream is asked what it is like, and what of the answers is passed on. */
#include "tests/unit/fake_time.h"

#include "common/nats/stream_watch.h"
#include "tests/unit/fake_link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define SUBJECT "$JS.API.STREAM.INFO.PROM"
#define INFO    "{\"config\":{\"max_age\":5000000000},\"state\":{\"first_seq\":3,\"last_seq\":9}}"

static struct {
	int told, closed;
	struct js_stream_info info; /* without what is owned */
} seen;

static void on_info(void *arg, const struct js_stream_info *info)
{
	(void)arg;
	seen.told++;
	seen.info = *info;
}

static void on_closed(void *arg)
{
	(void)arg;
	seen.closed++;
}

static struct stream_watch *open_watch(void)
{
	const struct stream_watch_options options = {
		.link = &fake_link,
		.stream = "PROM",
		.interval_ms = 20000,
		.on_info = on_info,
	};

	memset(&seen, 0, sizeof(seen));
	fake_link_reset();
	return stream_watch_open(NULL, &options);
}

static void close_watch(struct stream_watch *watch)
{
	stream_watch_close(watch, on_closed, NULL);
	fake_advance(0);
	assert_int_equal(seen.closed, 1);
	assert_int_equal(fake_outstanding(NULL), 0);
	assert_int_equal(fake_link.live_outgoing, 0);
	assert_int_equal(fake_log_count("error"), 0);
	fake_time_reset();
	fake_link_reset();
}

static void test_asks_when_told_and_then_by_itself(void **state)
{
	struct stream_watch *watch = open_watch();

	(void)state;
	fake_advance(60000);
	assert_int_equal(fake_outstanding(NULL), 0);
	stream_watch_now(watch);
	stream_watch_now(watch);
	assert_int_equal(fake_outstanding(SUBJECT), 1);
	assert_true(fake_answer(SUBJECT, INFO));
	assert_int_equal(seen.told, 1);
	assert_true(seen.info.max_age_ms == 5000);
	assert_true(seen.info.first_seq == 3 && seen.info.last_seq == 9);
	fake_advance(19999);
	assert_int_equal(fake_outstanding(SUBJECT), 0);
	fake_advance(1);
	assert_int_equal(fake_outstanding(SUBJECT), 1);
	assert_true(fake_answer(SUBJECT, INFO));
	assert_int_equal(seen.told, 2);
	/* Asked in between: the next time is counted from there. */
	fake_advance(10000);
	stream_watch_now(watch);
	assert_true(fake_answer(SUBJECT, INFO));
	fake_advance(15000);
	assert_int_equal(fake_outstanding(SUBJECT), 0);
	close_watch(watch);
}

static void test_no_answer_is_no_matter(void **state)
{
	static const struct {
		enum nats_reply outcome;
		const char *text;
		bool asks_again;
	} cases[] = {
		{NATS_REPLY_OK, "{\"error\":{\"code\":404,\"err_code\":10059}}", true},
		{NATS_REPLY_OK, "rubbish", true},
		{NATS_REPLY_TIMEOUT, "", true},
		{NATS_REPLY_DOWN, "", true},
		{NATS_REPLY_NO_RESPONDERS, "", true},
		{NATS_REPLY_DENIED, "publish to " SUBJECT, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct stream_watch *watch = open_watch();

		stream_watch_now(watch);
		assert_true(fake_end(SUBJECT, cases[i].outcome, cases[i].text));
		assert_int_equal(seen.told, 0);
		fake_advance(20000);
		if (fake_outstanding(SUBJECT) != cases[i].asks_again)
			fail_msg("case %zu: %d asked", i, fake_outstanding(SUBJECT));
		stream_watch_now(watch);
		assert_int_equal(fake_outstanding(SUBJECT), 1);
		close_watch(watch);
		assert_int_equal(seen.told, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_asks_when_told_and_then_by_itself),
		cmocka_unit_test(test_no_answer_is_no_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
