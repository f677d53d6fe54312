/* SPDX-License-Identifier: Apache-2.0 */
/* The table of well-formed sequences (Unicode, table 3-7): what the first byte allows the second.
 */
#include "common/core/utf8.h"

struct lead {
	unsigned char first, last; /* lead bytes */
	unsigned char len;
	unsigned char second_min, second_max;
};

static const struct lead leads[] = {
	{0xc2, 0xdf, 2, 0x80, 0xbf},
	{0xe0, 0xe0, 3, 0xa0, 0xbf},
	{0xe1, 0xec, 3, 0x80, 0xbf},
	{0xed, 0xed, 3, 0x80, 0x9f},
	{0xee, 0xef, 3, 0x80, 0xbf},
	{0xf0, 0xf0, 4, 0x90, 0xbf},
	{0xf1, 0xf3, 4, 0x80, 0xbf},
	{0xf4, 0xf4, 4, 0x80, 0x8f},
};

static bool is_continuation(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

static const struct lead *find_lead(unsigned char byte)
{
	for (size_t i = 0; i < ARRAY_LEN(leads); i++)
		if (byte >= leads[i].first && byte <= leads[i].last)
			return &leads[i];
	return NULL;
}

size_t utf8_first(struct slice text)
{
	const unsigned char *at = (const unsigned char *)text.ptr;
	const struct lead *lead;

	if (text.len == 0)
		return 0;
	if (at[0] < 0x80)
		return 1;
	lead = find_lead(at[0]);
	if (lead == NULL || text.len < lead->len)
		return 0;
	if (at[1] < lead->second_min || at[1] > lead->second_max)
		return 0;
	for (size_t i = 2; i < lead->len; i++)
		if (!is_continuation(at[i]))
			return 0;
	return lead->len;
}

struct slice utf8_cut(struct slice text, size_t max_bytes)
{
	size_t len = max_bytes;

	if (text.len <= max_bytes)
		return text;
	while (len > 0 && max_bytes - len < 3 && is_continuation((unsigned char)text.ptr[len]))
		len--;
	/* Bytes that are no UTF-8 anyway are cut where asked. */
	if (is_continuation((unsigned char)text.ptr[len]))
		len = max_bytes;
	return (struct slice){text.ptr, len};
}
