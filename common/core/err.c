/* SPDX-License-Identifier: Apache-2.0 */
/* Error texts. Control bytes are replaced, since texts quote hostile input and end up in logs. */
#include "common/core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void make_printable(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

int err_setf(struct err *err, const char *fmt, ...)
{
	va_list args;

	if (err == NULL)
		return -1;
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	make_printable(err->text);
	return -1;
}

int err_wrapf(struct err *err, const char *fmt, ...)
{
	struct err inner;
	va_list args;
	size_t used, room;

	if (err == NULL)
		return -1;
	inner = *err;
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	strncat(err->text, ": ", sizeof(err->text) - strlen(err->text) - 1);
	used = strlen(err->text);
	room = sizeof(err->text) - used - 1;
	memcpy(err->text + used, inner.text, strnlen(inner.text, room));
	err->text[used + strnlen(inner.text, room)] = '\0';
	make_printable(err->text);
	return -1;
}
