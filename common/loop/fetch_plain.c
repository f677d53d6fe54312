/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests are compared with what libcurl makes of them byte by byte, and so are kept to where the
 * two cannot differ: everything it escapes, adds, merges or refuses is not plain.
 */
#include "common/loop/fetch_plain.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool is_host_char(char c)
{
	return isalnum((unsigned char)c) || c == '.' || c == '-' || c == '_';
}

/* The length of "[…]" as inet_ntop writes it; 0 if it is spelled in another way. */
static size_t v6_len(const char *text)
{
	char ip[INET6_ADDRSTRLEN + 1], spelled[INET6_ADDRSTRLEN];
	size_t len = strcspn(text, "]");
	struct in6_addr address;

	if (text[len] != ']' || len - 1 >= sizeof(ip))
		return 0;
	memcpy(ip, text + 1, len - 1);
	ip[len - 1] = '\0';
	return inet_pton(AF_INET6, ip, &address) == 1 &&
			       strcmp(inet_ntop(AF_INET6, &address, spelled, sizeof(spelled)),
				       ip) == 0
		       ? len + 1
		       : 0;
}

/* Numbers at the end are an address, which libcurl spells anew: 127.1, 0x7f000001 and the like. */
static bool is_v4_or_name(struct slice host)
{
	const char *last = memrchr(host.ptr, '.', host.len);
	struct in_addr address;
	char ip[INET_ADDRSTRLEN];
	size_t digits;

	last = last == NULL ? host.ptr : last + 1;
	digits = strspn(last, "0123456789");
	if (last == host.ptr + host.len)
		return false;
	if (last + digits < host.ptr + host.len && strncasecmp(last, "0x", 2) != 0)
		return true;
	if (host.len >= sizeof(ip))
		return false;
	memcpy(ip, host.ptr, host.len);
	ip[host.len] = '\0';
	return inet_pton(AF_INET, ip, &address) == 1;
}

static size_t host_len(const char *text)
{
	size_t len = 0;

	if (text[0] == '[')
		return v6_len(text);
	while (is_host_char(text[len]))
		len++;
	return len > 0 && is_v4_or_name((struct slice){text, len}) ? len : 0;
}

/* Of ":" and a number that does not begin with 0, or of nothing. */
static size_t port_len(const char *text)
{
	return text[0] == ':' && text[1] != '0' ? 1 + strspn(text + 1, "0123456789") : 0;
}

/* False for what libcurl reads in ways of its own. */
static bool split_url(const char *url, struct slice *authority, struct slice *target)
{
	static const char scheme[] = "http://";
	size_t len;

	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return false;
	url += sizeof(scheme) - 1;
	len = host_len(url);
	if (len == 0)
		return false;
	len += port_len(url + len);
	*authority = (struct slice){url, len};
	*target = slice_from(url + len);
	for (size_t i = 0; i < target->len; i++)
		if (!isgraph((unsigned char)target->ptr[i]) || target->ptr[i] == '#')
			return false;
	return target->len > 0 && target->ptr[0] == '/' && url[len - 1] != ':';
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

static bool has_accept(const struct fetch_request *request)
{
	for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL; i++)
		if (has_name(request->headers[i], "Accept"))
			return true;
	return false;
}

void fetch_plain_write(struct buf *out, const struct fetch_request *request, const char *user_agent,
	struct slice authority, struct slice target)
{
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
	if (!has_accept(request))
		buf_append_str(out, "\r\nAccept: */*");
	for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL; i++) {
		buf_append_str(out, "\r\n");
		buf_append_str(out, request->headers[i]);
	}
	buf_append_str(out, "\r\n\r\n");
}
