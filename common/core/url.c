/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsing is strict, redaction is not: the first decides what we connect to, the second must not
 * show a secret whatever it is given. Redaction works on items, which begin at the start of the
 * text and behind each comma that a scheme follows: a comma alone may be part of a password.
 */
#include "common/core/url.h"

#include <arpa/inet.h>
#include <strings.h>

#define HIDDEN "xxxxx"

static const struct {
	const char *scheme;
	int port;
} default_ports[] = {{"http", 80}, {"https", 443}, {"nats", 4222}, {"tls", 4222}};

/* A query key that contains one of these holds a secret. */
static const char *const secret_words[] = {
	"token", "passw", "pwd", "secret", "key", "sig", "auth", "credential"};

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_host_char(char c)
{
	return is_alpha(c) || is_digit(c) || (unsigned char)c >= 0x80 ||
	       (c != '\0' && strchr("-._~%", c) != NULL);
}

static struct slice skip(struct slice s, size_t count)
{
	/* An empty slice may point nowhere, and nowhere has no offsets. */
	return count == 0 ? s : (struct slice){s.ptr + count, s.len - count};
}

static struct slice first(struct slice s, size_t count)
{
	return (struct slice){s.ptr, count};
}

/* Where the first of `chars` is, or the length. */
static size_t find_any(struct slice s, const char *chars)
{
	size_t at = 0;

	while (at < s.len && (s.ptr[at] == '\0' || strchr(chars, s.ptr[at]) == NULL))
		at++;
	return at;
}

/* The length of the scheme if `s` begins with <scheme>://, else 0. */
static size_t scheme_length(struct slice s)
{
	size_t len = 0;

	while (len < s.len &&
		(is_alpha(s.ptr[len]) ||
			(len > 0 && (is_digit(s.ptr[len]) ||
					    find_any(first(skip(s, len), 1), "+-.") == 0))))
		len++;
	return s.len - len >= 3 && memcmp(s.ptr + len, "://", 3) == 0 ? len : 0;
}

static int check_bytes(struct slice text, struct err *err)
{
	if (text.len == 0)
		return err_setf(err, "URL is empty");
	if (text.len > URL_MAX_BYTES)
		return err_setf(err, "URL is longer than %d bytes", URL_MAX_BYTES);
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == ' ')
			return err_setf(err, "URL contains a space");
		if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
			return err_setf(err, "URL contains a control character");
	}
	return 0;
}

static int parse_port(struct url *url, struct slice text, struct err *err)
{
	int port = 0;

	if (text.len == 0)
		return err_setf(err, "URL has a ':' but no port behind its host");
	for (size_t i = 0; i < text.len; i++) {
		if (!is_digit(text.ptr[i]))
			return err_setf(err, "port in URL is not a number");
		port = port > 65535 ? port : port * 10 + (text.ptr[i] - '0');
	}
	if (port < 1 || port > 65535)
		return err_setf(err, "port in URL is out of range (1 to 65535)");
	url->port = port;
	url->port_given = true;
	return 0;
}

static bool is_ipv6(struct slice text)
{
	char address[INET6_ADDRSTRLEN];
	size_t zone = find_any(text, "%");
	struct in6_addr parsed;

	if (zone >= sizeof(address))
		return false;
	for (size_t i = zone; i < text.len; i++)
		if (!is_host_char(text.ptr[i]))
			return false;
	memcpy(address, text.ptr, zone);
	address[zone] = '\0';
	return strlen(address) == zone && inet_pton(AF_INET6, address, &parsed) == 1;
}

/* [::1] or [::1]:80 */
static int parse_bracketed(struct url *url, struct slice text, struct err *err)
{
	size_t close = find_any(text, "]");
	struct slice rest;

	if (close == text.len)
		return err_setf(err, "URL lacks the ']' behind its IPv6 address");
	if (!is_ipv6(skip(first(text, close), 1)))
		return err_setf(err, "URL has no valid IPv6 address between '[' and ']'");
	rest = skip(text, close + 1);
	if (rest.len > 0 && rest.ptr[0] != ':')
		return err_setf(err, "URL has something other than a port behind its IPv6 address");
	if (rest.len > 0 && parse_port(url, skip(rest, 1), err) < 0)
		return -1;
	url->host = slice_dup(skip(first(text, close), 1));
	return 0;
}

static int parse_host_port(struct url *url, struct slice text, struct err *err)
{
	size_t colon = find_any(text, ":");

	if (text.len > 0 && text.ptr[0] == '[')
		return parse_bracketed(url, text, err);
	if (colon == 0)
		return err_setf(err, "URL has no host");
	for (size_t i = 0; i < colon; i++)
		if (!is_host_char(text.ptr[i]))
			return err_setf(err, "URL has an invalid character in its host");
	if (colon < text.len && find_any(skip(text, colon + 1), ":") < text.len - colon - 1)
		return err_setf(err, "URL has more than one ':' behind its host "
				     "(IPv6 addresses go in brackets)");
	if (colon < text.len && parse_port(url, skip(text, colon + 1), err) < 0)
		return -1;
	url->host = slice_dup(first(text, colon));
	return 0;
}

/* Behind the last '@', as curl and cnats see it. */
static struct slice without_userinfo(struct slice authority)
{
	for (size_t at = authority.len; at > 0; at--)
		if (authority.ptr[at - 1] == '@')
			return skip(authority, at);
	return authority;
}

static int default_port(const char *scheme)
{
	for (size_t i = 0; i < ARRAY_LEN(default_ports); i++)
		if (strcmp(scheme, default_ports[i].scheme) == 0)
			return default_ports[i].port;
	return 0;
}

static char *lower_case(struct slice text)
{
	char *copy = slice_dup(text);

	for (char *c = copy; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	return copy;
}

int url_parse(struct url *url, struct slice text, struct err *err)
{
	size_t scheme, end;
	struct slice rest, host_port;

	*url = (struct url){0};
	if (check_bytes(text, err) < 0)
		return -1;
	scheme = scheme_length(text);
	if (scheme == 0)
		return err_setf(err, "URL does not begin with a scheme, such as http://");
	rest = skip(text, scheme + 3);
	end = find_any(rest, "/?#");
	host_port = without_userinfo(first(rest, end));
	if (parse_host_port(url, host_port, err) < 0)
		return -1;
	url->has_userinfo = host_port.len < end;
	url->scheme = lower_case(first(text, scheme));
	if (!url->port_given)
		url->port = default_port(url->scheme);
	rest = skip(rest, end);
	rest.len = find_any(rest, "#");
	url->path_and_query =
		xasprintf("%s%.*s", rest.len > 0 && rest.ptr[0] == '/' ? "" : "/", SLICE_FMT(rest));
	return 0;
}

void url_fini(struct url *url)
{
	free(url->scheme);
	free(url->host);
	free(url->path_and_query);
	*url = (struct url){0};
}

char *url_host_port(const struct url *url)
{
	bool brackets = strchr(url->host, ':') != NULL;
	struct buf text = {0};

	buf_appendf(&text, brackets ? "[%s]" : "%s", url->host);
	if (url->port_given)
		buf_appendf(&text, ":%d", url->port);
	buf_cstr(&text);
	return text.ptr;
}

static bool sounds_secret(struct slice key)
{
	for (size_t at = 0; at < key.len; at++)
		for (size_t i = 0; i < ARRAY_LEN(secret_words); i++) {
			size_t len = strlen(secret_words[i]);

			if (key.len - at >= len &&
				strncasecmp(key.ptr + at, secret_words[i], len) == 0)
				return true;
		}
	return false;
}

/* Appends an item, the values of its secret parameters hidden. */
static void append_without_secrets(struct buf *out, struct slice item)
{
	size_t at = find_any(item, "?#");

	buf_append_slice(out, first(item, at));
	while (at < item.len) {
		struct slice parameter = skip(item, at + 1); /* behind its separator */
		size_t equals;

		parameter.len = find_any(parameter, "?#&;");
		equals = find_any(parameter, "=");
		buf_append_char(out, item.ptr[at]);
		if (equals < parameter.len && sounds_secret(first(parameter, equals))) {
			buf_append_slice(out, first(parameter, equals + 1));
			buf_append_str(out, HIDDEN);
		} else {
			buf_append_slice(out, parameter);
		}
		at += 1 + parameter.len;
	}
}

/* Whether it is host, host:port or a comma list of them, so that nothing can hide in it. */
static bool is_plain_authority(struct slice authority)
{
	while (authority.len > 0) {
		struct url url = {0};
		size_t comma = find_any(authority, ",");
		bool plain = parse_host_port(&url, first(authority, comma), NULL) == 0;

		url_fini(&url);
		if (!plain)
			return false;
		authority = skip(authority, comma < authority.len ? comma + 1 : comma);
	}
	return true;
}

/* Where the host begins: behind the last '@' that is not Push Gateway's; 0 if there is none. */
static size_t userinfo_length(struct slice s, size_t authority)
{
	for (size_t at = s.len; at > 0; at--) {
		bool base64 =
			at > authority && s.len - at >= 7 && memcmp(s.ptr + at, "base64/", 7) == 0;

		if (s.ptr[at - 1] == '@' && !base64)
			return at;
	}
	return 0;
}

static void append_redacted(struct buf *out, struct slice item)
{
	struct buf shown = {0};
	struct slice rest;
	size_t scheme, authority, userinfo;

	append_without_secrets(&shown, item);
	scheme = scheme_length(buf_slice(&shown));
	rest = skip(buf_slice(&shown), scheme > 0 ? scheme + 3 : 0);
	buf_append_slice(out, first(buf_slice(&shown), scheme > 0 ? scheme + 3 : 0));
	authority = find_any(rest, "/?#");
	userinfo = userinfo_length(rest, authority);
	if (userinfo > 0) {
		buf_append_str(out, HIDDEN "@");
		rest = skip(rest, userinfo);
	} else if (scheme > 0 && !is_plain_authority(first(rest, authority))) {
		buf_append_str(out, HIDDEN);
		rest = skip(rest, authority);
	}
	buf_append_slice(out, rest);
	buf_free(&shown);
}

/* The length of the first item with the comma and spaces behind it; *bare without them. */
static size_t item_length(struct slice text, size_t *bare)
{
	for (size_t at = find_any(text, ","); at < text.len;) {
		size_t next = at + 1;

		while (next < text.len && text.ptr[next] == ' ')
			next++;
		if (scheme_length(skip(text, next)) > 0) {
			*bare = at;
			return next;
		}
		at = next + find_any(skip(text, next), ",");
	}
	*bare = text.len;
	return text.len;
}

char *url_redact(const char *text)
{
	struct slice rest = slice_from(text);
	struct buf out = {0};

	while (rest.len > 0) {
		size_t bare, len = item_length(rest, &bare);

		append_redacted(&out, first(rest, bare));
		buf_append_slice(&out, skip(first(rest, len), bare));
		rest = skip(rest, len);
	}
	buf_cstr(&out);
	return out.ptr;
}
