/* SPDX-License-Identifier: Apache-2.0 */
/* Names and their tokens are one to one, over all bytes and at the longest; which topics there are.
 */
#include "common/wire/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void check_text(const char *what, struct slice got, struct slice want)
{
	if (!slice_eq(got, want))
		fail_msg("%s: got \"%.*s\", want \"%.*s\"", what, SLICE_FMT(got), SLICE_FMT(want));
}

/* Whether the token names something, and then that something's token is the same. */
static bool is_canonical(struct slice token)
{
	struct buf name = {0}, again = {0};
	bool named;

	buf_append_str(&name, "before");
	named = wire_unescape(token, &name) == 0;
	if (!named)
		check_text("untouched", buf_slice(&name), SLICE("before"));
	else if (wire_escape((struct slice){name.ptr + 6, name.len - 6}, &again) < 0)
		fail_msg("%.*s: its name has no token", SLICE_FMT(token));
	else
		check_text("again", buf_slice(&again), token);
	buf_free(&name);
	buf_free(&again);
	return named;
}

static void test_escape_all_bytes(void **state)
{
	struct buf all = {0}, token = {0}, name = {0};

	(void)state;
	for (int c = 0; c < 256; c++) {
		struct slice byte = {(char[]){(char)c}, 1};
		bool plain = c != 0 && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					      "0123456789_-",
					       c) != NULL;
		char escaped[8];

		snprintf(escaped, sizeof(escaped), "=%02X", (unsigned)c & 0xff);
		buf_clear(&token);
		assert_int_equal(wire_escape(byte, &token), 0);
		check_text("token", buf_slice(&token), plain ? byte : slice_from(escaped));
		buf_clear(&name);
		assert_int_equal(wire_unescape(buf_slice(&token), &name), 0);
		check_text("name", buf_slice(&name), byte);
		buf_append_slice(&all, byte);
	}
	/* In pieces whose tokens still fit. */
	for (size_t at = 0; at < all.len; at += 64) {
		struct slice piece = {all.ptr + at, 64};

		buf_clear(&token);
		buf_clear(&name);
		assert_int_equal(wire_escape(piece, &token), 0);
		assert_int_equal(wire_unescape(buf_slice(&token), &name), 0);
		check_text("piece", buf_slice(&name), piece);
	}
	buf_free(&all);
	buf_free(&token);
	buf_free(&name);
}

/* Every pair of bytes, alone and behind '=': what is accepted is what escaping makes. */
static void test_unescape_is_canonical(void **state)
{
	int raw = 0, escaped = 0;

	(void)state;
	for (int pair = 0; pair < 256 * 256; pair++) {
		char token[] = {'=', (char)(pair >> 8), (char)pair};

		escaped += is_canonical((struct slice){token, 3});
		raw += is_canonical((struct slice){token + 1, 2});
	}
	assert_int_equal(escaped, 256 - 64);
	assert_int_equal(raw, 64 * 64);
	assert_false(is_canonical(SLICE("")));
	assert_false(is_canonical(SLICE("=")));
	assert_false(is_canonical(SLICE("a=3")));
	assert_true(is_canonical(SLICE("a=3A")));
}

static const struct {
	size_t plain, escaped; /* bytes of either sort */
	bool fits;
} lengths[] = {
	{0, 0, false},
	{1, 0, true},
	{255, 0, true},
	{256, 0, false},
	{0, 85, true},
	{0, 86, false},
	{3, 84, true},
	{4, 84, false},
	{100000, 100000, false},
};

static void test_lengths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		struct buf name = {0}, token = {0};
		bool fits;

		memset(buf_reserve(&name, lengths[i].plain + lengths[i].escaped), 'a',
			lengths[i].plain);
		memset(name.ptr + lengths[i].plain, '.', lengths[i].escaped);
		name.len = lengths[i].plain + lengths[i].escaped;
		buf_append_str(&token, "before");
		fits = wire_escape(buf_slice(&name), &token) == 0;
		if (fits != lengths[i].fits)
			fail_msg("%zu + %zu: fits %d", lengths[i].plain, lengths[i].escaped, fits);
		assert_int_equal(
			token.len, 6 + (fits ? lengths[i].plain + 3 * lengths[i].escaped : 0));
		buf_free(&name);
		buf_free(&token);
	}
	for (size_t len = 254; len < 258; len++) {
		char token[300];

		memset(token, 'a', sizeof(token));
		assert_int_equal(is_canonical((struct slice){token, len}), len <= 255);
	}
}

static const struct {
	const char *name;
	struct slice topic;
	bool valid;
} topics[] = {
	{"one token", {"prometheus", 10}, true},
	{"several", {"a.b-c.d_e=", 10}, true},
	{"UTF-8", {"k\xc3\xb6ln", 5}, true},
	{"dollar", {"$x", 2}, true},
	{"empty", {"", 0}, false},
	{"a dot", {".", 1}, false},
	{"dot first", {".a", 2}, false},
	{"dot last", {"a.", 2}, false},
	{"empty token", {"a..b", 4}, false},
	{"star", {"a.*", 3}, false},
	{"star within", {"a*b", 3}, false},
	{"greater", {"a.>", 3}, false},
	{"space", {"a b", 3}, false},
	{"tab", {"a\tb", 3}, false},
	{"NUL", {"a\0b", 3}, false},
	{"DEL", {"a\x7f", 2}, false},
};

static void test_topics(void **state)
{
	char longest[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(topics); i++)
		if (wire_topic_is_valid(topics[i].topic) != topics[i].valid)
			fail_msg("%s: want %d", topics[i].name, topics[i].valid);
	memset(longest, 'a', sizeof(longest));
	assert_true(wire_topic_is_valid((struct slice){longest, 255}));
	assert_false(wire_topic_is_valid((struct slice){longest, 256}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape_all_bytes),
		cmocka_unit_test(test_unescape_is_canonical),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_topics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
