/* SPDX-License-Identifier: Apache-2.0 */
/* Searches over bytes, in words of eight at a time where text is likely to be long. */
#include "common/exposition/chars.h"

#include "common/core/utf8.h"

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

const char *expo_invalid_utf8(struct slice text)
{
	const char *at = text.ptr, *end = text.ptr + text.len;

	while (at < end) {
		size_t len = 1;

		if (end - at >= 8 && (load_word(at) & EACH_BYTE(0x80)) == 0)
			len = 8;
		else if (*at & 0x80)
			len = utf8_first((struct slice){at, (size_t)(end - at)});
		if (len == 0)
			return at;
		at += len;
	}
	return NULL;
}
