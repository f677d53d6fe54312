/* SPDX-License-Identifier: Apache-2.0 */
/* Searches over bytes, in words of eight at a time where text is likely to be long. */
#include "common/exposition/chars.h"

#define EACH_BYTE(value) (0x0101010101010101ULL * (value))

static uint64_t load_word(const char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

/* Not zero if a byte of the word is `value`; zero if none is. */
static uint64_t has_byte(uint64_t word, uint8_t value)
{
	word ^= EACH_BYTE(value);
	return (word - EACH_BYTE(0x01)) & ~word & EACH_BYTE(0x80);
}

const char *expo_find_quote(const char *at, const char *end, const char **broken)
{
	const char *escape;

	for (;;) {
		while (end - at >= 8 &&
			!(has_byte(load_word(at), '"') | has_byte(load_word(at), '\\')))
			at += 8;
		while (at < end && *at != '"' && *at != '\\')
			at++;
		if (at < end && *at == '"')
			return at;
		escape = at;
		/* Prometheus' lexer does not see a NUL in a label value: it escapes nothing. */
		for (at++; at < end && *at == '\0';)
			at++;
		if (at >= end || *at == '\n')
			break;
		at++;
	}
	*broken = at < end ? escape : end;
	return NULL;
}

/* The length of the valid sequence of several bytes at `at`, or 0. */
static size_t sequence_len(const uint8_t *at, size_t left)
{
	/* What the second byte may be depends on the first: no overlong forms, surrogates, or above
	 * 10FFFF. */
	static const struct {
		uint8_t from, to, second_from, second_to, len;
	} forms[] = {
		{0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3},
		{0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	size_t i = 0;

	while (i < ARRAY_LEN(forms) && at[0] > forms[i].to)
		i++;
	if (i == ARRAY_LEN(forms) || at[0] < forms[i].from || left < forms[i].len)
		return 0;
	if (at[1] < forms[i].second_from || at[1] > forms[i].second_to)
		return 0;
	for (size_t next = 2; next < forms[i].len; next++)
		if ((at[next] & 0xc0) != 0x80)
			return 0;
	return forms[i].len;
}

const char *expo_invalid_utf8(struct slice text)
{
	const char *at = text.ptr, *end = text.ptr + text.len;

	while (at < end) {
		size_t len = 1;

		if (end - at >= 8 && (load_word(at) & EACH_BYTE(0x80)) == 0)
			len = 8;
		else if (*at & 0x80)
			len = sequence_len((const uint8_t *)at, (size_t)(end - at));
		if (len == 0)
			return at;
		at += len;
	}
	return NULL;
}
