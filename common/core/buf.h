/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_BUF_H
#define PS_COMMON_CORE_BUF_H
/*
 * Bytes: `struct slice` borrows them, `struct buf` owns and grows them. Pure; any thread.
 *
 * A pointer into a buf is valid until the next call that may grow it.
 */
#include "common/core/mem.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *ptr;
	size_t len;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})
/* For printf: "%.*s", SLICE_FMT(s) */
#define SLICE_FMT(s) (int)(s).len, (s).ptr

static inline struct slice slice_from(const char *text)
{
	return (struct slice){text, text == NULL ? 0 : strlen(text)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
	return slice_eq(a, slice_from(text));
}

/* Orders as memcmp does, a prefix first. */
int slice_cmp(struct slice a, struct slice b);

/* A new NUL-terminated copy, to be freed by the caller. */
char *slice_dup(struct slice s) MUST_CHECK;

struct buf {
	char *ptr; /* NULL while nothing was ever stored */
	size_t len;
	size_t capacity;
};

static inline struct slice buf_slice(const struct buf *buf)
{
	return (struct slice){buf->ptr, buf->len};
}

/* Makes room for `extra` bytes behind len and returns where they go; len is unchanged. */
char *buf_reserve(struct buf *buf, size_t extra);

void buf_append(struct buf *buf, const void *bytes, size_t len);
void buf_append_slice(struct buf *buf, struct slice s);
void buf_append_str(struct buf *buf, const char *text);
void buf_append_char(struct buf *buf, char c);
void buf_appendf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The content as a C string; the NUL is behind len and not counted. */
const char *buf_cstr(struct buf *buf);

/* Empties it; clear keeps the memory, free returns it. Both leave a usable, empty buf. */
void buf_clear(struct buf *buf);
void buf_free(struct buf *buf);

/* Gives back what is reserved beyond the content. */
void buf_trim(struct buf *buf);

/* Moves the content out: `buf` is empty afterwards, the caller owns what is returned. */
struct buf buf_take(struct buf *buf);

#endif
