/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_WIRE_H
#define PS_RECEIVER_SINK_WRITE_WIRE_H
/*
 * Protocol buffers, as much of them as remote write takes: numbers and lengths in base 128, and the
 * bytes that name a field. Pure.
 */
#include "common/core/buf.h"

/* What stands before a field: its number and how its value is written. */
#define WRITE_VARINT(field)  ((char)((field) << 3 | 0))
#define WRITE_FIXED64(field) ((char)((field) << 3 | 1))
#define WRITE_BYTES(field)   ((char)((field) << 3 | 2))

#define WRITE_VARINT_MAX_BYTES 10

/* Writes the number at `at`, where WRITE_VARINT_MAX_BYTES are free; returns where it ends. */
static inline char *write_varint(char *at, uint64_t number)
{
	while (number >= 0x80) {
		*at++ = (char)(number | 0x80);
		number >>= 7;
	}
	*at++ = (char)number;
	return at;
}

static inline size_t write_varint_len(uint64_t number)
{
	return number < 0x80 ? 1 : (size_t)(63 - __builtin_clzll(number)) / 7 + 1;
}

/* Copies to `at`; returns where the copy ends. */
static inline char *write_copy(char *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

/* Appends a field of bytes or text; nothing where it is empty, as readers then take it to be. */
static inline void write_append_text(struct buf *out, int field, struct slice text)
{
	char *at;

	if (text.len == 0)
		return;
	at = buf_reserve(out, 1 + WRITE_VARINT_MAX_BYTES + text.len);
	*at++ = WRITE_BYTES(field);
	at = write_copy(write_varint(at, text.len), text.ptr, text.len);
	out->len = (size_t)(at - out->ptr);
}

/* Appends a number; nothing for 0. */
static inline void write_append_number(struct buf *out, int field, uint64_t number)
{
	char *at;

	if (number == 0)
		return;
	at = buf_reserve(out, 1 + WRITE_VARINT_MAX_BYTES);
	*at++ = WRITE_VARINT(field);
	out->len = (size_t)(write_varint(at, number) - out->ptr);
}

#endif
