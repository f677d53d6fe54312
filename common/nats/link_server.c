/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cnats before 3.9 takes credentials in a URL as they are written, later ones undo %-escapes; all
 * put them into the JSON of CONNECT unquoted. So escaped ones are taken out of the URL, unescaped,
 * quoted for JSON, and given as options.
 */
#include "common/nats/link_server.h"

#include "common/core/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define PROBE_TIMEOUT_MS 2000

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *link_quote(struct slice text)
{
	struct buf out = {NULL, 0, 0};
	char *copy;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c == '"' || c == '\\')
			buf_appendf(&out, "\\%c", c);
		else if (c < ' ')
			buf_appendf(&out, "\\u%04x", c);
		else
			buf_append_char(&out, (char)c);
	}
	copy = xstrdup(buf_cstr(&out));
	buf_free(&out);
	return copy;
}

/* Undoes %-escapes and quotes for a JSON string. */
static char *credential(struct slice text)
{
	struct buf plain = {NULL, 0, 0};
	char *copy;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c == '%' && i + 2 < text.len && hex_digit(text.ptr[i + 1]) >= 0 &&
			hex_digit(text.ptr[i + 2]) >= 0) {
			c = (unsigned char)(hex_digit(text.ptr[i + 1]) * 16 +
					    hex_digit(text.ptr[i + 2]));
			i += 2;
		}
		buf_append_char(&plain, (char)c);
	}
	copy = link_quote(buf_slice(&plain));
	buf_free(&plain);
	return copy;
}

/* user[:password] of a URL, without the '@'; false if there is none. */
static bool find_userinfo(const char *url, struct slice *userinfo)
{
	const char *scheme_end = strstr(url, "://");
	const char *start = scheme_end == NULL ? url : scheme_end + 3;
	const char *at = strrchr(start, '@');

	*userinfo = (struct slice){start, at == NULL ? 0 : (size_t)(at - start)};
	return at != NULL;
}

static char *adopt_url(struct link_servers *servers, const char *url)
{
	struct slice userinfo;
	const char *colon;

	if (!find_userinfo(url, &userinfo) || memchr(userinfo.ptr, '%', userinfo.len) == NULL)
		return xstrdup(url);
	if (servers->user == NULL) {
		struct slice user = userinfo;

		colon = memchr(userinfo.ptr, ':', userinfo.len);
		if (colon != NULL) {
			user.len = (size_t)(colon - userinfo.ptr);
			servers->password =
				credential((struct slice){colon + 1, userinfo.len - user.len - 1});
		}
		servers->user = credential(user);
	}
	return xasprintf("%.*s%s", (int)(userinfo.ptr - url), url, userinfo.ptr + userinfo.len + 1);
}

void link_servers_init(struct link_servers *servers, const struct string_list *urls)
{
	struct buf shown = {NULL, 0, 0};

	memset(servers, 0, sizeof(*servers));
	servers->urls = xcalloc(urls->count + 1, sizeof(*servers->urls));
	servers->each = xcalloc(urls->count + 1, sizeof(*servers->each));
	for (size_t i = 0; i < urls->count; i++) {
		servers->each[i] = url_redact(urls->items[i]);
		servers->urls[servers->count++] = adopt_url(servers, urls->items[i]);
		buf_appendf(&shown, "%s%s", i > 0 ? ", " : "", servers->each[i]);
	}
	servers->shown = xstrdup(buf_cstr(&shown));
	buf_free(&shown);
}

void link_servers_fini(struct link_servers *servers)
{
	for (size_t i = 0; i < servers->count; i++) {
		free(servers->urls[i]);
		free(servers->each[i]);
	}
	free(servers->urls);
	free(servers->each);
	free(servers->shown);
	free(servers->user);
	free(servers->password);
}

static int connect_error(const struct addrinfo *address)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	int error = errno;
	socklen_t len = sizeof(error);

	if (fd < 0)
		return error;
	error = connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
	if (error == EINPROGRESS) {
		error = ETIMEDOUT;
		if (poll(&ready, 1, PROBE_TIMEOUT_MS) == 1 &&
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
			error = errno;
	}
	close(fd);
	return error;
}

static void append_lower(struct buf *out, const char *text)
{
	buf_append_char(out, (char)tolower((unsigned char)text[0]));
	buf_append_str(out, text[0] == '\0' ? "" : text + 1);
}

static void probe_host(const char *host, int port, struct buf *reason)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char service[16];
	int error;

	snprintf(service, sizeof(service), "%d", port);
	error = getaddrinfo(host, service, &hints, &found);
	if (error != 0) {
		append_lower(reason, gai_strerror(error));
		return;
	}
	error = connect_error(found);
	if (error == 0)
		buf_append_str(reason, "the server did not complete the handshake");
	else
		append_lower(reason, strerrordesc_np(error));
	freeaddrinfo(found);
}

/* As nats_url_parse does: the scheme is optional, the port 4222 if there is none. */
static int parse_server(const char *server, struct url *url)
{
	char *text =
		strstr(server, "://") != NULL ? xstrdup(server) : xasprintf("nats://%s", server);
	int result = url_parse(url, slice_from(text), NULL);

	if (result == 0 && url->port == 0)
		url->port = 4222;
	free(text);
	return result;
}

char *link_servers_host(const struct link_servers *servers, size_t index)
{
	struct url url;
	char *host;

	if (parse_server(servers->urls[index], &url) != 0)
		return NULL;
	host = xstrdup(url.host);
	url_fini(&url);
	return host;
}

void link_servers_probe(const struct link_servers *servers, size_t index, struct buf *reason)
{
	struct url url;

	if (parse_server(servers->urls[index], &url) == 0) {
		probe_host(url.host, url.port, reason);
		url_fini(&url);
	} else {
		buf_append_str(reason, "not a server address");
	}
}

static bool is_server_port(const struct link_servers *servers, int port)
{
	bool found = false;

	for (size_t i = 0; i < servers->count && !found; i++) {
		struct url url;

		if (parse_server(servers->urls[i], &url) != 0)
			continue;
		found = url.port == port;
		url_fini(&url);
	}
	return found;
}

/* The port of a socket's other end; -1 for what is no TCP connection. */
static int peer_port(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);

	if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0)
		return -1;
	if (peer.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&peer)->sin_port);
	if (peer.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&peer)->sin6_port);
	return -1;
}

void link_servers_cut(const struct link_servers *servers)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		int fd = atoi(entry->d_name);
		int port = entry->d_name[0] == '.' ? -1 : peer_port(fd);

		if (port > 0 && is_server_port(servers, port))
			shutdown(fd, SHUT_RDWR);
	}
	closedir(dir);
}
