/* SPDX-License-Identifier: Apache-2.0 */
/* A flag and the reason for it. The reason is formatted aside first: it may quote the old one. */
#include "common/core/readiness.h"

#include <stdarg.h>
#include <stdio.h>

bool readiness_gain(struct readiness *readiness)
{
	bool changed = !readiness->is_ready;

	readiness->is_ready = true;
	readiness->why[0] = '\0';
	return changed;
}

bool readiness_lose(struct readiness *readiness, const char *fmt, ...)
{
	char why[sizeof(readiness->why)];
	bool changed;
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	changed = readiness->is_ready || strcmp(why, readiness->why) != 0;
	readiness->is_ready = false;
	memcpy(readiness->why, why, sizeof(why));
	return changed;
}

bool readiness_get(const struct readiness *readiness, struct buf *why)
{
	if (!readiness->is_ready && why != NULL)
		buf_append_str(why, readiness->why);
	return readiness->is_ready;
}
