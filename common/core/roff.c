/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Escaping for man(7). What roff would take for its own: backslashes, a dot or a quote at the start
 * of a line, and hyphens, which it would break lines at and make no ASCII of.
 */
#include "common/core/roff.h"

static void append_char(struct buf *out, char c)
{
	bool at_start = out->len == 0 || out->ptr[out->len - 1] == '\n';

	if (at_start && (c == '.' || c == '\''))
		buf_append_str(out, "\\&");
	if (c == '\\')
		buf_append_str(out, "\\e");
	else if (c == '-')
		buf_append_str(out, "\\-");
	else
		buf_append_char(out, c);
}

void roff_append(struct buf *out, const char *text)
{
	bool is_bold = false;

	for (; *text != '\0'; text++) {
		if (*text != '`') {
			append_char(out, *text);
			continue;
		}
		is_bold = !is_bold;
		buf_append_str(out, is_bold ? "\\fB" : "\\fR");
	}
}

void roff_append_in(struct buf *out, char font, const char *text)
{
	buf_appendf(out, "\\f%c", font);
	for (; *text != '\0'; text++)
		append_char(out, *text);
	buf_append_str(out, "\\fR");
}
