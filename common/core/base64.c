/* SPDX-License-Identifier: Apache-2.0 */
/* Digits are read by comparing: what it reads is short or rare. */
#include "common/core/base64.h"

/* The value of a base64 digit, -1 if it is none. */
static int digit(char c, const char *last_two)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == last_two[0] ? 62 : c == last_two[1] ? 63 : -1;
}

/* Four digits make three bytes; only the last four may be padded. */
int base64_decode(struct slice text, struct buf *out)
{
	size_t padding = 0;

	if (text.len == 0 || text.len % 4 != 0)
		return -1;
	while (padding < 2 && text.ptr[text.len - 1 - padding] == '=')
		padding++;
	buf_reserve(out, text.len / 4 * 3);
	for (size_t at = 0; at < text.len; at += 4) {
		uint32_t bits = 0;

		for (size_t i = 0; i < 4; i++) {
			bool padded = at + i >= text.len - padding;
			int value = padded ? 0 : digit(text.ptr[at + i], "+/");

			if (value < 0)
				return -1;
			bits = bits << 6 | (uint32_t)value;
		}
		buf_append(out, (char[]){(char)(bits >> 16), (char)(bits >> 8), (char)bits}, 3);
	}
	out->len -= padding;
	return 0;
}

int base64_decode_digits(struct slice digits, const char *last_two, struct buf *out)
{
	unsigned bits = 0, held = 0;

	for (size_t i = 0; i < digits.len; i++) {
		int value = digit(digits.ptr[i], last_two);

		if (value < 0)
			return -1;
		held = (held << 6 | (unsigned)value) & 0xffff;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			buf_append_char(out, (char)(held >> bits & 0xff));
		}
	}
	return 0;
}
