/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the two ways is asked, what an answer means, and when neither is asked any more. */
#include "common/nats/lookup.h"

#include "tests/unit/fake_link.h"
#include "tests/unit/fake_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define DIRECT "$JS.API.DIRECT.GET.S.p.key.a.1"
#define STORED "$JS.API.STREAM.MSG.GET.S"

static const struct fake_header stored_headers[] = {
	{"Ps-Time", "1"}, {"Nats-Stream", "S"}, {NULL, NULL}};

struct record {
	struct lookup *lookup;
	int changes, results;
	enum lookup_outcome outcome;
	struct buf text, body, time;
};

static void on_change(void *arg)
{
	((struct record *)arg)->changes++;
}

static void on_result(void *arg, const struct lookup_result *result)
{
	struct record *record = arg;
	struct slice value;

	record->results++;
	record->outcome = result->outcome;
	buf_clear(&record->text);
	buf_append_str(&record->text, result->text);
	if (result->outcome != LOOKUP_FOUND)
		return;
	buf_clear(&record->body);
	buf_append_slice(&record->body, result->body);
	buf_clear(&record->time);
	if (result->header(result->header_arg, "Ps-Time", &value))
		buf_append_slice(&record->time, value);
}

static void open_record(struct record *record)
{
	const struct lookup_options options = {
		.link = &fake_link, .stream = "S", .on_change = on_change, .arg = record};

	fake_link_reset();
	*record = (struct record){0};
	record->lookup = lookup_open(&options);
	fake_up();
}

static void finish(struct record *record)
{
	assert_int_equal(fake_outstanding(NULL), 0);
	lookup_close(record->lookup);
	buf_free(&record->text);
	buf_free(&record->body);
	buf_free(&record->time);
	assert_int_equal(fake_link.live_outgoing, 0);
	fake_time_reset();
}

static void get(struct record *record)
{
	int before = record->results;

	(void)lookup_get(record->lookup, SLICE("p.key.a.1"), on_result, record);
	assert_int_equal(record->results, before);
}

static void answer_direct(struct nats_incoming answer)
{
	assert_true(fake_reply(DIRECT, NATS_REPLY_OK, &answer, ""));
}

static void test_found_direct(void **state)
{
	struct record record;

	(void)state;
	open_record(&record);
	assert_true(lookup_takes(record.lookup, 0));
	assert_false(lookup_takes(record.lookup, 1));
	get(&record);
	/* Whatever its publisher made of the first line. */
	answer_direct((struct nats_incoming){
		.body = SLICE("body"), .status = 404, .headers = stored_headers});
	assert_int_equal(record.outcome, LOOKUP_FOUND);
	assert_string_equal(buf_cstr(&record.body), "body");
	assert_string_equal(buf_cstr(&record.time), "1");
	assert_true(lookup_takes(record.lookup, 1000));
	finish(&record);
}

static void test_missing_direct(void **state)
{
	struct record record;

	(void)state;
	open_record(&record);
	get(&record);
	answer_direct((struct nats_incoming){.status = 404, .description = "Message Not Found"});
	assert_int_equal(record.outcome, LOOKUP_MISSING);
	assert_true(lookup_takes(record.lookup, 1000));
	get(&record);
	answer_direct((struct nats_incoming){.status = 408, .description = "Bad Request"});
	assert_int_equal(record.outcome, LOOKUP_FAILED);
	assert_string_equal(buf_cstr(&record.text), "status 408: Bad Request");
	finish(&record);
}

/* The first way is closed this way, and the second is asked at once. */
static const struct {
	const char *name;
	enum nats_reply outcome;
} closed[] = {
	{"nobody answers", NATS_REPLY_NO_RESPONDERS},
	{"no permission", NATS_REPLY_DENIED},
	{"no word", NATS_REPLY_TIMEOUT},
};

static void test_the_other_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(closed); i++) {
		struct record record;

		print_message("%s\n", closed[i].name);
		open_record(&record);
		get(&record);
		assert_true(fake_end(DIRECT, closed[i].outcome, "denied"));
		assert_int_equal(record.results, 0);
		assert_false(lookup_takes(record.lookup, 1));
		assert_true(fake_answer(STORED,
			"{\"message\":{\"subject\":\"p.key.a.1\",\"seq\":1,"
			"\"hdrs\":\"TkFUUy8xLjANClBzLVRpbWU6IDENCg0K\",\"data\":\"Ym9keQ==\"}}"));
		assert_int_equal(record.outcome, LOOKUP_FOUND);
		assert_string_equal(buf_cstr(&record.body), "body");
		assert_string_equal(buf_cstr(&record.time), "1");
		/* It works: the first is not tried again before the connection is another. */
		fake_advance(1000000);
		get(&record);
		assert_true(fake_answer(STORED, "{\"error\":{\"code\":404,\"err_code\":10037}}"));
		assert_int_equal(record.outcome, LOOKUP_MISSING);
		fake_down("gone");
		fake_up();
		get(&record);
		answer_direct((struct nats_incoming){.headers = stored_headers});
		assert_int_equal(record.outcome, LOOKUP_FOUND);
		finish(&record);
	}
}

static const struct {
	const char *json;
	enum lookup_outcome outcome;
} stored[] = {
	{"{\"message\":{\"subject\":\"x\"}}", LOOKUP_FOUND},
	{"{\"message\":{\"data\":\"%\"}}", LOOKUP_FAILED},
	{"{\"message\":{\"data\":\"Ym9keQ==\",\"hdrs\":\"%\"}}", LOOKUP_FAILED},
	{"{\"message\":7}", LOOKUP_FAILED},
	{"{}", LOOKUP_FAILED},
	{"", LOOKUP_FAILED},
	{"{\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"stream not found\"}}",
		LOOKUP_FAILED},
};

static void test_stored_answers(void **state)
{
	struct record record;

	(void)state;
	open_record(&record);
	get(&record);
	assert_true(fake_end(DIRECT, NATS_REPLY_DENIED, ""));
	assert_true(fake_answer(STORED, "{\"message\":{}}"));
	for (size_t i = 0; i < ARRAY_LEN(stored); i++) {
		get(&record);
		assert_true(fake_answer(STORED, stored[i].json));
		print_message("%s: %s\n", stored[i].json, buf_cstr(&record.text));
		assert_int_equal(record.outcome, stored[i].outcome);
	}
	finish(&record);
}

static void test_barred(void **state)
{
	struct record record;
	struct buf why = {0};

	(void)state;
	open_record(&record);
	get(&record);
	assert_true(fake_end(DIRECT, NATS_REPLY_DENIED, "publish to D is missing"));
	assert_true(fake_end(STORED, NATS_REPLY_DENIED, "publish to M is missing"));
	assert_int_equal(record.outcome, LOOKUP_BARRED);
	assert_false(lookup_takes(record.lookup, 0));
	assert_false(lookup_is_possible(record.lookup, &why));
	assert_non_null(strstr(buf_cstr(&why), "publish to D is missing; publish to M is missing"));
	assert_int_equal(fake_log_count("grant publish to $JS.API.DIRECT.GET"), 1);
	/* After a while one is let through; the state stays what it was until it is answered. */
	fake_advance(61000);
	assert_true(lookup_takes(record.lookup, 0));
	assert_false(lookup_takes(record.lookup, 1));
	assert_false(lookup_is_possible(record.lookup, NULL));
	get(&record);
	answer_direct((struct nats_incoming){.status = 404});
	assert_true(lookup_is_possible(record.lookup, NULL));
	assert_int_equal(fake_log_count("can be looked up"), 1);
	buf_free(&why);
	finish(&record);
}

static void test_failures(void **state)
{
	struct record record;

	(void)state;
	open_record(&record);
	get(&record);
	answer_direct((struct nats_incoming){.headers = stored_headers});
	get(&record);
	assert_true(fake_end(DIRECT, NATS_REPLY_TIMEOUT, "no answer in time"));
	assert_int_equal(record.outcome, LOOKUP_FAILED);
	get(&record);
	fake_down("gone");
	assert_int_equal(record.outcome, LOOKUP_DOWN);
	fake_up();
	assert_false(lookup_takes(record.lookup, 1));
	assert_true(lookup_is_possible(record.lookup, NULL));
	assert_true(record.changes > 0);
	finish(&record);
}

/* Its stream was made anew without allow_direct, say: nobody answers any more, without a word. */
static void test_what_worked_stops_to(void **state)
{
	struct record record;

	(void)state;
	open_record(&record);
	get(&record);
	answer_direct((struct nats_incoming){.status = 404});
	for (int i = 0; i < 3; i++)
		get(&record);
	for (int i = 0; i < 3; i++) {
		/* Those asked in good faith prove nothing: the server may be slow. */
		assert_true(fake_end(DIRECT, NATS_REPLY_TIMEOUT, "no answer in time"));
		assert_int_equal(record.outcome, LOOKUP_FAILED);
	}
	assert_true(lookup_takes(record.lookup, 0));
	assert_false(lookup_takes(record.lookup, 1));
	get(&record);
	assert_true(fake_end(DIRECT, NATS_REPLY_TIMEOUT, "no answer in time"));
	assert_true(fake_answer(STORED, "{\"message\":{\"subject\":\"x\"}}"));
	assert_int_equal(record.outcome, LOOKUP_FOUND);
	finish(&record);
}

/* Silence may end any time, unlike a refusal. */
static void test_silence_bars_for_less_long(void **state)
{
	struct record record;

	(void)state;
	open_record(&record);
	get(&record);
	assert_true(fake_end(DIRECT, NATS_REPLY_TIMEOUT, ""));
	assert_true(fake_end(STORED, NATS_REPLY_DENIED, ""));
	assert_int_equal(record.outcome, LOOKUP_BARRED);
	assert_false(lookup_takes(record.lookup, 0));
	fake_advance(11000);
	assert_true(lookup_takes(record.lookup, 0));
	get(&record);
	answer_direct((struct nats_incoming){.status = 404});
	assert_true(lookup_is_possible(record.lookup, NULL));
	finish(&record);
}

static void test_cancelled(void **state)
{
	struct record record;

	(void)state;
	open_record(&record);
	lookup_cancel(lookup_get(record.lookup, SLICE("p.key.a.1"), on_result, &record));
	assert_int_equal(fake_link.cancelled, 1);
	assert_int_equal(record.results, 0);
	finish(&record);
}

/* Longer than any buffer for subjects. */
static void test_long_subjects(void **state)
{
	struct record record;
	struct buf subject = {0};

	(void)state;
	open_record(&record);
	for (size_t i = 0; i < 1500; i++)
		buf_append_char(&subject, 'x');
	(void)lookup_get(record.lookup, buf_slice(&subject), on_result, &record);
	assert_int_equal(strlen(TAILQ_FIRST(&fake_link.requests)->message->subject),
		strlen("$JS.API.DIRECT.GET.S.") + 1500);
	fake_down("gone");
	buf_free(&subject);
	finish(&record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found_direct),
		cmocka_unit_test(test_missing_direct),
		cmocka_unit_test(test_the_other_way),
		cmocka_unit_test(test_stored_answers),
		cmocka_unit_test(test_barred),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_what_worked_stops_to),
		cmocka_unit_test(test_silence_bars_for_less_long),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_long_subjects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
