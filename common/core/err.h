/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_ERR_H
#define PS_COMMON_CORE_ERR_H
/*
 * What went wrong, worded where it happened and wrapped with context on the way up. Functions that
 * take a `struct err *` return -1 after setting it; whoever decides what happens next logs it.
 * Pure; any thread.
 */
#include "common/core/mem.h"

struct err {
	char text[512]; /* truncated, never overflown; no newline */
};

/* Set the text; NULL `err` is allowed and ignored. Always returns -1, for `return err_setf(…)`. */
int err_setf(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Puts "<context>: " before the text. Always returns -1. */
int err_wrapf(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
