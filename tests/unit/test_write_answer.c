/* SPDX-License-Identifier: Apache-2.0 */
/* What answers to remote write mean. */
#include "receiver/sink/write_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct answer_case {
	const char *name;
	struct fetch_result result;
	enum write_version version;
	bool retries_429;
	const char *body;
	enum write_meaning meaning;
	const char *reason, *words;
	int64_t retry_after_ms;
} cases[] = {
	{.name = "204",
		.result = {.status = 204},
		.meaning = WRITE_TAKEN,
		.reason = "",
		.words = ""},
	{.name = "200 of an endpoint that knows 2.0",
		.result = {.status = 200, .answer_header = "0"},
		.version = WRITE_V2,
		.meaning = WRITE_TAKEN,
		.reason = "",
		.words = ""},
	{.name = "204 of one that does not",
		.result = {.status = 204},
		.version = WRITE_V2,
		.meaning = WRITE_FALL_BACK,
		.reason = "http_204",
		.words = "HTTP 204"},
	{.name = "415 to 2.0",
		.result = {.status = 415},
		.version = WRITE_V2,
		.body = "what is that?\n",
		.meaning = WRITE_FALL_BACK,
		.reason = "http_415",
		.words = "HTTP 415: what is that?"},
	{.name = "415 to 1.0",
		.result = {.status = 415},
		.meaning = WRITE_DROPPED,
		.reason = "http_415",
		.words = "HTTP 415"},
	{.name = "400, in words that are to be cleaned",
		.result = {.status = 400},
		.body = "  out of\n\torder \x1b[31m\xff\r\n",
		.meaning = WRITE_DROPPED,
		.reason = "http_400",
		.words = "HTTP 400: out of order [31m?"},
	{.name = "401",
		.result = {.status = 401},
		.meaning = WRITE_DROPPED,
		.reason = "http_401",
		.words = "HTTP 401, check the credentials"},
	{.name = "404",
		.result = {.status = 404},
		.meaning = WRITE_DROPPED,
		.reason = "http_404",
		.words = "HTTP 404, check the url"},
	{.name = "429",
		.result = {.status = 429, .retry_after_ms = 1000},
		.meaning = WRITE_DROPPED,
		.reason = "http_429",
		.words = "HTTP 429",
		.retry_after_ms = 1000},
	{.name = "429 to be retried",
		.result = {.status = 429, .retry_after_ms = 1000},
		.retries_429 = true,
		.meaning = WRITE_RETRY,
		.reason = "http_429",
		.words = "HTTP 429",
		.retry_after_ms = 1000},
	{.name = "503 for a day",
		.result = {.status = 503, .retry_after_ms = 86400000},
		.meaning = WRITE_RETRY,
		.reason = "http_503",
		.words = "HTTP 503",
		.retry_after_ms = 300000},
	{.name = "a redirect",
		.result = {.status = 301, .retry_after_ms = -1},
		.meaning = WRITE_RETRY,
		.reason = "http_301",
		.words = "HTTP 301, redirected; check the url"},
	{.name = "no answer",
		.result = {.outcome = FETCH_FAILED, .error = "connection refused"},
		.meaning = WRITE_RETRY,
		.reason = "connection",
		.words = "connection refused"},
	{.name = "none in time",
		.result = {.outcome = FETCH_TIMED_OUT, .error = "timed out after 30s"},
		.meaning = WRITE_RETRY,
		.reason = "timeout",
		.words = "timed out after 30s"},
};

static void test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct answer_case *c = &cases[i];
		struct fetch_result result = c->result;
		struct write_answer answer;

		if (c->body != NULL)
			buf_append_str(&result.body, c->body);
		write_answer_read(&answer, &result, c->version, c->retries_429);
		if (answer.meaning != c->meaning || strcmp(answer.reason, c->reason) != 0 ||
			strcmp(answer.words, c->words) != 0 ||
			answer.retry_after_ms != c->retry_after_ms)
			fail_msg("%s: %d %s \"%s\" %lld instead of %d %s \"%s\" %lld", c->name,
				answer.meaning, answer.reason, answer.words,
				(long long)answer.retry_after_ms, c->meaning, c->reason, c->words,
				(long long)c->retry_after_ms);
		buf_free(&result.body);
	}
}

/* However much is said. */
static void test_long_words(void **state)
{
	struct fetch_result result = {.status = 400};
	struct write_answer answer;

	(void)state;
	for (int i = 0; i < 5000; i++)
		buf_append_str(&result.body, "long ");
	write_answer_read(&answer, &result, WRITE_V1, false);
	assert_in_range(strlen(answer.words), 100, WRITE_WORDS_BYTES - 1);
	buf_free(&result.body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_long_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
