/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_READINESS_H
#define PS_COMMON_CORE_READINESS_H
/*
 * Whether something works, and if not why, in words for people. It tells a change from a
 * repetition, so that its owner says each thing once. Pure; any thread.
 */
#include "common/core/buf.h"

struct readiness {
	bool is_ready;
	char why[512]; /* "" when ready; truncated, never overflown */
};

/* Both return whether anything changed. */
bool readiness_gain(struct readiness *readiness);
bool readiness_lose(struct readiness *readiness, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* is_ready; else appends the reason to `why`, which may be NULL. */
bool readiness_get(const struct readiness *readiness, struct buf *why);

#endif
