/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters and headers of a request. */
#include "receiver/sink/federate_accept.h"

#include <stdlib.h>
#include <strings.h>

/* Digits and nothing else, up to FEDERATE_MAX_SHARDS; -1 if not. */
static int64_t take_number(const char **text)
{
	int64_t number = 0;
	const char *at = *text;

	for (; *at >= '0' && *at <= '9' && number <= FEDERATE_MAX_SHARDS; at++)
		number = number * 10 + (*at - '0');
	if (at == *text || number > FEDERATE_MAX_SHARDS)
		return -1;
	*text = at;
	return number;
}

static int read_shard(struct federate_ask *ask, const char *value)
{
	const char *at = value;
	int64_t shard = take_number(&at), shards = -1;

	if (shard >= 0 && *at++ == '/')
		shards = take_number(&at);
	if (shards < 1 || *at != '\0' || shard >= shards)
		return err_setf(&ask->err,
			"shard: \"%.40s\" is not i/n with i from 0 to n - 1 and n up to %d", value,
			FEDERATE_MAX_SHARDS);
	ask->shard = (uint64_t)shard;
	ask->shards = (uint64_t)shards;
	return 0;
}

static int read_match(struct federate_ask *ask, const char *value)
{
	if (selectors_add(&ask->selectors, slice_from(value), &ask->err) == 0)
		return 0;
	return err_wrapf(&ask->err, "match[] \"%.200s\"", value);
}

bool federate_ask_read(struct federate_ask *ask, const char *name, const char *value)
{
	int result = 0;

	if (strcmp(name, "match[]") == 0)
		result = read_match(ask, value);
	else if (strcmp(name, "shard") == 0)
		result = read_shard(ask, value);
	ask->is_bad = ask->is_bad || result < 0;
	return result == 0;
}

/* Whether one element of the list, "gzip;q=0.5" say, accepts the coding. */
static bool accepts(struct slice element, const char *coding)
{
	const char *quality = memmem(element.ptr, element.len, "q=", 2);
	size_t len = 0;

	while (len < element.len && strchr("; \t", element.ptr[len]) == NULL)
		len++;
	if (len != strlen(coding) || strncasecmp(element.ptr, coding, len) != 0)
		return false;
	return quality == NULL || strtod(quality + 2, NULL) > 0;
}

static bool list_accepts(const char *list, const char *coding)
{
	while (*list != '\0') {
		struct slice element;

		list += strspn(list, " \t,");
		element = (struct slice){list, strcspn(list, ",")};
		if (accepts(element, coding))
			return true;
		list += element.len;
	}
	return false;
}

enum encoding federate_choose_encoding(const char *accepted)
{
	static const enum encoding choices[] = {ENCODING_ZSTD, ENCODING_GZIP};

	for (size_t i = 0; accepted != NULL && i < ARRAY_LEN(choices); i++)
		if (list_accepts(accepted, encoding_name(choices[i])))
			return choices[i];
	return ENCODING_IDENTITY;
}

bool federate_takes_utf8_names(const char *accepted)
{
	return accepted != NULL && strstr(accepted, "escaping=allow-utf-8") != NULL;
}
