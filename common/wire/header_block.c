/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines end with a line feed, before which a carriage return is no part of them; a name ends at the
 * first colon and is compared exactly. What is no such line is passed over.
 */
#include "common/wire/header_block.h"

static const struct slice STATUS_LINE = {"NATS/1.0", 8};

bool header_block_is_valid(struct slice block)
{
	return block.len >= STATUS_LINE.len && block.len <= HEADER_BLOCK_MAX_BYTES &&
	       memcmp(block.ptr, STATUS_LINE.ptr, STATUS_LINE.len) == 0;
}

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

struct slice header_value_trimmed(struct slice value)
{
	while (value.len > 0 && (*value.ptr == ' ' || *value.ptr == '\t')) {
		value.ptr++;
		value.len--;
	}
	while (value.len > 0 &&
		(value.ptr[value.len - 1] == ' ' || value.ptr[value.len - 1] == '\t'))
		value.len--;
	return value;
}

int header_block_find(struct slice block, const char *name, struct slice *value)
{
	struct slice line;
	size_t len = strlen(name);
	int times = 0;

	if (!next_line(&block, &line)) /* the status line */
		return 0;
	while (times < 2 && next_line(&block, &line)) {
		if (line.len <= len || line.ptr[len] != ':' || memcmp(line.ptr, name, len) != 0)
			continue;
		if (++times == 1)
			*value = header_value_trimmed(
				(struct slice){line.ptr + len + 1, line.len - len - 1});
	}
	return times;
}

bool header_block_status(struct slice block, struct slice *status)
{
	struct slice line;

	if (!next_line(&block, &line))
		return false;
	*status = header_value_trimmed(
		(struct slice){line.ptr + STATUS_LINE.len, line.len - STATUS_LINE.len});
	return true;
}
