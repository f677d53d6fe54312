/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_EXPOSITION_CHARS_H
#define PS_COMMON_EXPOSITION_CHARS_H
/*
 * What the bytes of the exposition format are, whatever the locale; for the parser's own files.
 * Pure; any thread.
 */
#include "common/core/buf.h"

enum {
	CHAR_LABEL_START = 1, /* [a-zA-Z_] */
	CHAR_LABEL = 2,       /* [a-zA-Z0-9_] */
	CHAR_NAME_START = 4,  /* [a-zA-Z_:] */
	CHAR_NAME = 8,        /* [a-zA-Z0-9_:] */
	CHAR_BLANK = 16,      /* space and tab */
	CHAR_DIGIT = 32,
};

#define EXPO_LETTER (CHAR_LABEL_START | CHAR_LABEL | CHAR_NAME_START | CHAR_NAME)

static const uint8_t expo_chars[256] = {
	['a' ... 'z'] = EXPO_LETTER,
	['A' ... 'Z'] = EXPO_LETTER,
	['_'] = EXPO_LETTER,
	[':'] = CHAR_NAME_START | CHAR_NAME,
	['0' ... '9'] = CHAR_LABEL | CHAR_NAME | CHAR_DIGIT,
	[' '] = CHAR_BLANK,
	['\t'] = CHAR_BLANK,
};

static inline bool char_is(char c, int class)
{
	return (expo_chars[(uint8_t)c] & class) != 0;
}

/* The first byte from `at` on that is not of the class, or `end`. */
static inline const char *skip_class(const char *at, const char *end, int class)
{
	while (at < end && char_is(*at, class))
		at++;
	return at;
}

/*
 * The quote that closes the string whose text begins at `at`. NULL if there is none: *broken is
 * then `end`, or the backslash that stands before a newline, which escapes nothing.
 */
const char *expo_find_quote(const char *at, const char *end, const char **broken);

/* The first byte that is not part of valid UTF-8, or NULL. */
const char *expo_invalid_utf8(struct slice text);

#endif
