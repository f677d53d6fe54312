/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_MEM_H
#define PS_COMMON_CORE_MEM_H
/*
 * Allocation and the compiler's attributes. The x-functions abort when memory is exhausted: they
 * are for small, bounded things. What the network sizes is capped before it is allocated.
 * Any thread.
 */
#include <stddef.h>
#include <stdlib.h>

#define MUST_CHECK           __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, va) __attribute__((format(printf, fmt, va)))

#define ARRAY_LEN(array)                (sizeof(array) / sizeof((array)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* As malloc, calloc, realloc (of count elements), strdup and strndup, but never NULL. Free with
 * free(). */
void *xmalloc(size_t size) MUST_CHECK;
void *xcalloc(size_t count, size_t size) MUST_CHECK;
void *xreallocarray(void *old, size_t count, size_t size) MUST_CHECK;
char *xstrdup(const char *text) MUST_CHECK;
char *xstrndup(const char *text, size_t len) MUST_CHECK;

/* A new formatted string, to be freed by the caller. */
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2) MUST_CHECK;

#endif
