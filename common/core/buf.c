/* SPDX-License-Identifier: Apache-2.0 */
/* Growable bytes; capacity doubles, so that appending is linear over all. */
#include "common/core/buf.h"

#include <stdarg.h>
#include <stdio.h>

#define FIRST_CAPACITY_BYTES 64

int slice_cmp(struct slice a, struct slice b)
{
	size_t shorter = a.len < b.len ? a.len : b.len;
	int order = shorter == 0 ? 0 : memcmp(a.ptr, b.ptr, shorter);

	if (order != 0)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

char *slice_dup(struct slice s)
{
	char *copy = xmalloc(s.len + 1);

	if (s.len > 0)
		memcpy(copy, s.ptr, s.len);
	copy[s.len] = '\0';
	return copy;
}

char *buf_reserve(struct buf *buf, size_t extra)
{
	size_t capacity = buf->capacity ? buf->capacity : FIRST_CAPACITY_BYTES;

	if (extra <= buf->capacity - buf->len && buf->ptr != NULL)
		return buf->ptr + buf->len;
	while (capacity - buf->len < extra)
		capacity *= 2;
	buf->ptr = xreallocarray(buf->ptr, capacity, 1);
	buf->capacity = capacity;
	return buf->ptr + buf->len;
}

void buf_append(struct buf *buf, const void *bytes, size_t len)
{
	if (len == 0)
		return;
	memcpy(buf_reserve(buf, len), bytes, len);
	buf->len += len;
}

void buf_append_slice(struct buf *buf, struct slice s)
{
	buf_append(buf, s.ptr, s.len);
}

void buf_append_str(struct buf *buf, const char *text)
{
	buf_append(buf, text, strlen(text));
}

void buf_append_char(struct buf *buf, char c)
{
	*buf_reserve(buf, 1) = c;
	buf->len++;
}

void buf_appendf(struct buf *buf, const char *fmt, ...)
{
	va_list args, again;
	int need;

	va_start(args, fmt);
	va_copy(again, args);
	need = vsnprintf(NULL, 0, fmt, args);
	if (need > 0) {
		vsnprintf(buf_reserve(buf, (size_t)need + 1), (size_t)need + 1, fmt, again);
		buf->len += (size_t)need;
	}
	va_end(again);
	va_end(args);
}

const char *buf_cstr(struct buf *buf)
{
	*buf_reserve(buf, 1) = '\0';
	return buf->ptr;
}

void buf_clear(struct buf *buf)
{
	buf->len = 0;
}

void buf_free(struct buf *buf)
{
	free(buf->ptr);
	*buf = (struct buf){0};
}

void buf_trim(struct buf *buf)
{
	if (buf->capacity == buf->len)
		return;
	if (buf->len == 0) {
		buf_free(buf);
		return;
	}
	buf->ptr = xreallocarray(buf->ptr, buf->len, 1);
	buf->capacity = buf->len;
}

struct buf buf_take(struct buf *buf)
{
	struct buf taken = *buf;

	*buf = (struct buf){0};
	return taken;
}
