/* SPDX-License-Identifier: Apache-2.0 */
/* Ordinary answers and those that are not, whole, byte by byte, and cut in two at every place. */
#include "common/loop/fetch_answer.h"

#include "common/loop/fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define LIMIT_BYTES 20
#define OK          "HTTP/1.1 200 OK\r\n"
#define CHUNKED     OK "Transfer-Encoding: chunked\r\n\r\n"

static const struct {
	const char *name, *text;
	enum fetch_answer_step step;
	int status;
	const char *body;
	bool closes;
} cases[] = {
	{"length", OK "Content-Length: 5\r\n\r\nhello", FETCH_ANSWER_DONE, 200, "hello", false},
	{"no body", OK "content-length:0\r\n\r\n", FETCH_ANSWER_DONE, 200, "", false},
	{"no reason", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", FETCH_ANSWER_DONE, 200, "x",
		false},
	{"error", "HTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\nx", FETCH_ANSWER_DONE, 503, "x",
		false},
	{"one chunk", CHUNKED "5\r\nhello\r\n0\r\n\r\n", FETCH_ANSWER_DONE, 200, "hello", false},
	{"chunks", CHUNKED "2\r\nhe\r\n00003\r\nllo\r\n000\r\n\r\n", FETCH_ANSWER_DONE, 200,
		"hello", false},
	{"hexadecimal chunk", CHUNKED "0B\r\nhello world\r\n0\r\n\r\n", FETCH_ANSWER_DONE, 200,
		"hello world", false},
	{"empty chunked", CHUNKED "0\r\n\r\n", FETCH_ANSWER_DONE, 200, "", false},
	{"keep-alive", OK "Connection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", FETCH_ANSWER_DONE,
		200, "", false},
	{"close", OK "Connection: close\r\nContent-Length: 0\r\n\r\n", FETCH_ANSWER_DONE, 200, "",
		true},
	{"close among others", OK "Connection: x, close\r\nContent-Length: 0\r\n\r\n",
		FETCH_ANSWER_DONE, 200, "", true},
	{"exactly the limit", OK "Content-Length: 20\r\n\r\n01234567890123456789",
		FETCH_ANSWER_DONE, 200, "01234567890123456789", false},
	{"chunks of exactly the limit", CHUNKED "a\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
		FETCH_ANSWER_DONE, 200, "01234567890123456789", false},

	{"not whole", OK "Content-Length: 5\r\n\r\nhell", FETCH_ANSWER_MORE, 0, NULL, false},
	{"head not whole", OK "Content-Length: 5\r\n", FETCH_ANSWER_MORE, 0, NULL, false},
	{"last chunk not whole", CHUNKED "1\r\nx\r\n0\r\n\r", FETCH_ANSWER_MORE, 0, NULL, false},
	{"above the limit", OK "Content-Length: 21\r\n\r\n012345678901234567890",
		FETCH_ANSWER_TOO_LARGE, 0, NULL, false},
	{"chunks above the limit", CHUNKED "a\r\n0123456789\r\nb\r\n01234567890",
		FETCH_ANSWER_TOO_LARGE, 0, NULL, false},

	{"beyond the end", OK "Content-Length: 1\r\n\r\nxy", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"beyond the last chunk", CHUNKED "0\r\n\r\nx", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"two lengths", OK "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", FETCH_ANSWER_UNUSUAL,
		0, NULL, false},
	{"length and chunks", OK "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"chunked twice", OK "Transfer-Encoding: chunked\r\n" CHUNKED "0\r\n\r\n",
		FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"other coding", OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"up to the close", OK "A: b\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"signed length", OK "Content-Length: +1\r\n\r\nx", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"empty length", OK "Content-Length:\r\n\r\nx", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"list of lengths", OK "Content-Length: 1, 1\r\n\r\nx", FETCH_ANSWER_UNUSUAL, 0, NULL,
		false},
	{"absurd length", OK "Content-Length: 18446744073709551617\r\n\r\nx", FETCH_ANSWER_UNUSUAL,
		0, NULL, false},
	{"absurd chunk", CHUNKED "100000000\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"negative chunk", CHUNKED "-1\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"chunk without a size", CHUNKED "\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"chunk extension", CHUNKED "1;a=b\r\nx\r\n0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL,
		false},
	{"chunk longer than its size", CHUNKED "1\r\nxy\r\n0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0,
		NULL, false},
	{"chunk size ended by LF", CHUNKED "1\nx\r\n0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL,
		false},
	{"trailer", CHUNKED "0\r\nA: b\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"redirect", "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0,
		NULL, false},
	{"interim", "HTTP/1.1 100 Continue\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"no content", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0,
		NULL, false},
	{"old version", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0,
		NULL, false},
	{"long status", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0,
		NULL, false},
	{"short status", "HTTP/1.1 20\r\nContent-Length: 0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL,
		false},
	{"not HTTP", "lorem ipsum dolor\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"empty lines", "\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"folded", OK "A: b\r\n c\r\nContent-Length: 0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL,
		false},
	{"blank before the colon", OK "Content-Length : 0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL,
		false},
	{"no colon", OK "Content-Length 0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"no name", OK ": 0\r\nContent-Length: 0\r\n\r\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"status line ended by LF",
		"HTTP/1.1 200 OK\nContent-Length: 1\r\nContent-Length: 0\r\n\r\n",
		FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"lines ended by LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", FETCH_ANSWER_UNUSUAL, 0,
		NULL, false},
	{"head ended by LF", OK "Content-Length: 2\r\n\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"LF alone", "\n", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"not HTTP and no end of a line", "HTTP/2", FETCH_ANSWER_UNUSUAL, 0, NULL, false},
	{"bare line feed", OK "A: b\nContent-Length: 1\r\nContent-Length: 0\r\n\r\n",
		FETCH_ANSWER_UNUSUAL, 0, NULL, false},
};

/* Fed in pieces of `first` bytes, then of `rest`. */
static enum fetch_answer_step feed(struct fetch_answer *answer, struct fetch_result *result,
	struct slice text, size_t first, size_t rest)
{
	enum fetch_answer_step step = FETCH_ANSWER_MORE;
	size_t len = first;

	for (size_t at = 0; at < text.len && step == FETCH_ANSWER_MORE; at += len, len = rest) {
		char *piece; /* of its own, for the address sanitizer */

		len = len < text.len - at ? len : text.len - at;
		piece = slice_dup((struct slice){text.ptr + at, len});
		step = fetch_answer_feed(answer, result, (struct slice){piece, len});
		free(piece);
		/* Nothing beyond the end can be known of where it is the end of the piece too. */
		if (step == FETCH_ANSWER_DONE && at + len < text.len)
			step = FETCH_ANSWER_UNUSUAL;
	}
	return step;
}

static void check(size_t i, size_t first, size_t rest)
{
	struct fetch_answer answer = {.limit_bytes = LIMIT_BYTES};
	struct fetch_result result = {.retry_after_ms = -1};
	enum fetch_answer_step step =
		feed(&answer, &result, slice_from(cases[i].text), first, rest);

	if (step != cases[i].step)
		fail_msg("%s, cut after %zu, then every %zu: got step %d, want %d", cases[i].name,
			first, rest, step, cases[i].step);
	if (step == FETCH_ANSWER_DONE) {
		assert_int_equal(result.status, cases[i].status);
		assert_string_equal(buf_cstr(&result.body), cases[i].body);
		assert_int_equal(answer.closes, cases[i].closes);
	}
	fetch_answer_fini(&answer);
	buf_free(&result.body);
}

static void test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len = strlen(cases[i].text);

		check(i, 1, 1);
		for (size_t first = 1; first <= len; first++)
			check(i, first, len);
	}
}

static void test_nul_in_a_head(void **state)
{
	static const struct slice texts[] = {
		SLICE(OK "A: b\0c\r\nContent-Length: 0\r\n\r\n"),
		SLICE("HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct fetch_answer answer = {.limit_bytes = LIMIT_BYTES};
		struct fetch_result result = {.retry_after_ms = -1};

		assert_int_equal(
			fetch_answer_feed(&answer, &result, texts[i]), FETCH_ANSWER_UNUSUAL);
		fetch_answer_fini(&answer);
	}
}

static void test_headers(void **state)
{
	static const char text[] =
		OK "Content-Type: text/plain; version=0.0.4 \r\ncontent-encoding:\tgzip\r\n"
		   "Retry-After: 7\r\nContent-Length: 0\r\nContent-Type: second\r\n\r\n";
	struct fetch_answer answer = {.limit_bytes = LIMIT_BYTES};
	struct fetch_result result = {.retry_after_ms = -1};

	(void)state;
	assert_int_equal(
		feed(&answer, &result, slice_from(text), 30, sizeof(text)), FETCH_ANSWER_DONE);
	assert_string_equal(result.content_type, "text/plain; version=0.0.4");
	assert_string_equal(result.content_encoding, "gzip");
	assert_int_equal(result.retry_after_ms, 7000);
	fetch_answer_fini(&answer);
}

/* A head without an end is not kept for ever. */
static void test_endless_head(void **state)
{
	struct fetch_answer answer = {.limit_bytes = LIMIT_BYTES};
	struct fetch_result result = {.retry_after_ms = -1};
	enum fetch_answer_step step;
	size_t fed = sizeof(OK) - 1;

	(void)state;
	step = fetch_answer_feed(&answer, &result, SLICE(OK));
	while (step == FETCH_ANSWER_MORE && fed < 1 << 20) {
		step = fetch_answer_feed(&answer, &result, SLICE("X-Header: 0123456789abcdef\r\n"));
		fed += 28;
	}
	assert_int_equal(step, FETCH_ANSWER_UNUSUAL);
	assert_in_range(fed, 32 << 10, 33 << 10);
	fetch_answer_fini(&answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_nul_in_a_head),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_endless_head),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
