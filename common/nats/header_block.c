/* SPDX-License-Identifier: Apache-2.0 */
/* Lines are cut off one after the other; what is no "name: value" is passed over. */
#include "common/nats/header_block.h"

#define STATUS_LINE "NATS/1.0"

/* Cuts the first line, which it ends before CR LF, off `block`; false when nothing is left. */
static bool next_line(struct slice *block, struct slice *line)
{
	const char *end;

	if (block->len == 0)
		return false;
	end = memchr(block->ptr, '\n', block->len);
	line->ptr = block->ptr;
	line->len = end == NULL ? block->len : (size_t)(end - block->ptr);
	block->len -= line->len + (end != NULL);
	block->ptr += line->len + (end != NULL);
	if (line->len > 0 && line->ptr[line->len - 1] == '\r')
		line->len--;
	return true;
}

struct slice header_trimmed(struct slice s)
{
	while (s.len > 0 && (*s.ptr == ' ' || *s.ptr == '\t')) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

bool header_block_find(struct slice block, const char *name, struct slice *value)
{
	struct slice line;
	size_t len = strlen(name);

	if (!next_line(&block, &line)) /* the status line */
		return false;
	while (next_line(&block, &line)) {
		if (line.len <= len || line.ptr[len] != ':' || memcmp(line.ptr, name, len) != 0)
			continue;
		*value = header_trimmed((struct slice){line.ptr + len + 1, line.len - len - 1});
		return true;
	}
	return false;
}

int header_status_read(struct slice text)
{
	int status = 0;

	if (text.len < 3)
		return 0;
	for (size_t i = 0; i < 3; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return 0;
		status = status * 10 + (text.ptr[i] - '0');
	}
	return status;
}

int header_block_status(struct slice block, struct slice *words)
{
	struct slice line, text;
	int status;

	*words = (struct slice){"", 0};
	if (!next_line(&block, &line) || line.len < strlen(STATUS_LINE))
		return 0;
	text = header_trimmed(
		(struct slice){line.ptr + strlen(STATUS_LINE), line.len - strlen(STATUS_LINE)});
	status = header_status_read(text);
	if (status != 0)
		*words = header_trimmed((struct slice){text.ptr + 3, text.len - 3});
	return status;
}
