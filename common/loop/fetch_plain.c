/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests are compared with what libcurl makes of them byte by byte, and so are kept to where the
 * two cannot differ: everything it escapes, adds, merges or refuses is not plain.
 */
#include "common/loop/fetch_plain.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool is_authority_char(char c)
{
	return isalnum((unsigned char)c) || (c != '\0' && strchr(".-_:[]", c) != NULL);
}

/* False for what libcurl reads in ways of its own. */
static bool split_url(const char *url, struct slice *authority, struct slice *target)
{
	static const char scheme[] = "http://";
	size_t len = 0;

	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return false;
	url += sizeof(scheme) - 1;
	while (is_authority_char(url[len]))
		len++;
	*authority = (struct slice){url, len};
	*target = slice_from(url + len);
	for (size_t i = 0; i < target->len; i++)
		if (!isgraph((unsigned char)target->ptr[i]) || target->ptr[i] == '#')
			return false;
	return len > 0 && target->len > 0 && target->ptr[0] == '/';
}

static bool has_name(const char *header, const char *name)
{
	size_t len = strlen(name);

	return strncasecmp(header, name, len) == 0 && header[len] == ':';
}

/* False for what libcurl treats in ways of its own. */
static bool is_plain_header(const char *header)
{
	static const char *const special[] = {"Host", "User-Agent", "Connection", "Content-Length",
		"Transfer-Encoding", "Expect", "Upgrade", "Authorization", "Cookie"};
	const char *colon = strchr(header, ':');

	for (size_t i = 0; i < ARRAY_LEN(special); i++)
		if (has_name(header, special[i]))
			return false;
	for (const char *at = header; *at != '\0'; at++)
		if (iscntrl((unsigned char)*at))
			return false;
	return colon != NULL && colon[1] == ' ' && isgraph((unsigned char)colon[2]);
}

bool fetch_plain_read(
	const struct fetch_request *request, struct slice *authority, struct slice *target)
{
	if (strcmp(request->method, "GET") != 0 || request->body.len > 0 ||
		request->client != NULL || !split_url(request->url, authority, target))
		return false;
	for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL; i++)
		if (!is_plain_header(request->headers[i]))
			return false;
	return true;
}

void fetch_plain_write(struct buf *out, const struct fetch_request *request, const char *user_agent,
	struct slice authority, struct slice target)
{
	bool has_accept = false;
	struct slice host = authority;

	if (host.len > 3 && memcmp(host.ptr + host.len - 3, ":80", 3) == 0)
		host.len -= 3;
	buf_append_str(out, "GET ");
	buf_append_slice(out, target);
	buf_append_str(out, " HTTP/1.1\r\nHost: ");
	buf_append_slice(out, host);
	if (user_agent != NULL) {
		buf_append_str(out, "\r\nUser-Agent: ");
		buf_append_str(out, user_agent);
	}
	for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL; i++) {
		has_accept = has_accept || has_name(request->headers[i], "Accept");
		buf_append_str(out, "\r\n");
		buf_append_str(out, request->headers[i]);
	}
	buf_append_str(out, has_accept ? "\r\n\r\n" : "\r\nAccept: */*\r\n\r\n");
}
