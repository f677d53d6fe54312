/* SPDX-License-Identifier: Apache-2.0 */
/* Servers tell statuses of one number apart by words alone; those of 2.9 to 2.11 begin so. */
#include "common/nats/pull_status.h"

/* The first row whose number and beginning of the description fit. */
static const struct {
	int number;
	const char *words;
	enum pull_status status;
} rows[] = {
	{100, "", PULL_HEARTBEAT},
	{404, "", PULL_EMPTY},
	{408, "", PULL_EXPIRED},
	{409, "Message Size Exceeds MaxBytes", PULL_TOO_MANY_BYTES},
	{409, "Consumer Deleted", PULL_GONE},
	{409, "Server Shutdown", PULL_HANDED_OVER},
	{409, "Leadership Change", PULL_HANDED_OVER},
	{503, "", PULL_GONE},
};

static bool begins_with(struct slice text, const char *words)
{
	size_t len = strlen(words);

	return text.len >= len && memcmp(text.ptr, words, len) == 0;
}

enum pull_status pull_status_read(const struct nats_incoming *message, struct slice *words)
{
	int number = nats_incoming_status(message, words);

	if (number == 0)
		return PULL_UNREADABLE;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].number == number && begins_with(*words, rows[i].words))
			return rows[i].status;
	return PULL_REFUSED;
}

bool pull_status_is_proof(enum pull_status status)
{
	return status == PULL_HEARTBEAT || status == PULL_EMPTY || status == PULL_EXPIRED ||
	       status == PULL_TOO_MANY_BYTES;
}
