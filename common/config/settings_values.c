/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What single values must be, named by the rows of the table. The texts end up in reports behind
 * the position and the key, and quote only what is no secret.
 */
#include "common/config/settings_internal.h"

#include "common/core/url.h"
#include "common/wire/wire.h"

#include <arpa/inet.h>
#include <ctype.h>

#define STREAM_NAME_MAX_BYTES 255

static bool begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

int check_label_name(const char *name, struct err *err)
{
	if (!label_name_is_valid(slice_from(name)))
		return err_setf(err,
			"\"%.80s\" is no label name: letters, digits and _, not beginning with a "
			"digit",
			name);
	if (begins_with(name, "__"))
		return err_setf(err,
			"labels beginning with __ are Prometheus' own and cannot be set: \"%.80s\"",
			name);
	if (strcmp(name, "job") == 0)
		return err_setf(err,
			"the label job is the name of the job and cannot be set: make another job");
	return 0;
}

int check_name(const char *name, struct err *err)
{
	struct buf token = {0};
	int result = wire_escape(slice_from(name), &token);

	buf_free(&token);
	if (name[0] == '\0')
		return err_setf(err, "must not be empty");
	if (result != 0)
		return err_setf(err,
			"\"%.40s...\" is too long: a subject has %d bytes for it, and three for "
			"each "
			"byte outside of A-Z a-z 0-9 _ -",
			name, WIRE_TOKEN_MAX_BYTES);
	return 0;
}

/* What NATS takes in a name, as a file too. */
static int check_nats_name(const char *name, struct err *err)
{
	for (const char *at = name; *at != '\0'; at++)
		if (!isgraph((unsigned char)*at) || strchr(".*>/\\%", *at) != NULL)
			return err_setf(err,
				"\"%.80s\" cannot be used: NATS takes no . * > / \\ %% or space, "
				"and "
				"nothing but ASCII here",
				name);
	return 0;
}

int check_durable_part(const char *name, struct err *err)
{
	return check_nats_name(name, err);
}

int check_stream_name(const char *name, struct err *err)
{
	if (strlen(name) > STREAM_NAME_MAX_BYTES)
		return err_setf(err, "is longer than %d bytes", STREAM_NAME_MAX_BYTES);
	return check_nats_name(name, err);
}

int check_topic(const char *topic, struct err *err)
{
	if (!wire_topic_is_valid(slice_from(topic)))
		return err_setf(err,
			"\"%.80s\" is no subject: tokens separated by dots, without * > or spaces",
			topic);
	if (topic[0] == '$' || begins_with(topic, "_INBOX"))
		return err_setf(err, "\"%.80s\" is reserved by NATS", topic);
	return 0;
}

static int parse(struct url *url, const char *text, struct err *err)
{
	return url_parse(url, slice_from(text), err);
}

int check_nats_url(const char *text, struct err *err)
{
	char *whole = xasprintf("%s%s", strstr(text, "://") == NULL ? "nats://" : "", text);
	struct url url;
	int result = parse(&url, whole, err);

	free(whole);
	if (result != 0)
		return -1;
	if (strcmp(url.scheme, "nats") != 0 && strcmp(url.scheme, "tls") != 0)
		result = err_setf(err,
			"a NATS URL begins with nats:// or tls:// and not with %.20s://",
			url.scheme);
	else if (strcmp(url.path_and_query, "/") != 0)
		result = err_setf(err, "a NATS URL has no path: separate several with commas");
	url_fini(&url);
	return result;
}

/* `url` needs fini on success. */
static int parse_http(struct url *url, const char *text, struct err *err)
{
	if (strstr(text, "://") == NULL)
		return err_setf(err, "must begin with http:// or https://");
	if (parse(url, text, err) != 0)
		return -1;
	if (check_scheme(url->scheme, NULL) == 0)
		return 0;
	err_setf(err, "must begin with http:// or https:// and not with %.20s://", url->scheme);
	url_fini(url);
	return -1;
}

int check_http_url(const char *text, struct err *err)
{
	struct url url;

	if (parse_http(&url, text, err) != 0)
		return -1;
	url_fini(&url);
	return 0;
}

/* Of a URL that a path is added to, which may hold it already by mistake. */
static int check_base_url(const char *text, const char *added, struct err *err)
{
	struct url url;
	struct slice path;
	bool has_query, has_added;

	if (parse_http(&url, text, err) != 0)
		return -1;
	has_query = strchr(url.path_and_query, '?') != NULL || strchr(text, '#') != NULL;
	path = slice_from(url.path_and_query);
	while (path.len > 0 && path.ptr[path.len - 1] == '/')
		path.len--;
	has_added = path.len >= strlen(added) &&
		    memcmp(path.ptr + path.len - strlen(added), added, strlen(added)) == 0;
	url_fini(&url);
	if (has_query)
		return err_setf(err, "must have no query: %s is added to it", added);
	if (has_added)
		return err_setf(err, "must not end with %s, which is added to it", added);
	return 0;
}

int check_gateway_url(const char *text, struct err *err)
{
	return check_base_url(text, "/metrics", err);
}

int check_victoriametrics_url(const char *text, struct err *err)
{
	return check_base_url(text, "/api/v1/import/prometheus", err);
}

int check_address(const char *text, struct err *err)
{
	char *whole;
	struct url url;
	int result;

	if (strstr(text, "://") != NULL)
		return err_setf(err, "static_configs take host:port, not a URL: say scheme and "
				     "metrics_path in the "
				     "job, or use targets: [{url: ...}]");
	if (strchr(text, '@') != NULL)
		return err_setf(err, "is not host:port: there is no user here");
	if (strpbrk(text, "/?#") != NULL)
		return err_setf(err,
			"\"%.80s\" is not host:port: the path belongs in the job's metrics_path",
			text);
	whole = xasprintf("http://%s", text);
	result = parse(&url, whole, err);
	free(whole);
	if (result == 0)
		url_fini(&url);
	return result == 0 ? check_name(text, err) : -1;
}

int check_scheme(const char *scheme, struct err *err)
{
	if (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0)
		return 0;
	return err_setf(err, "\"%.80s\" is neither http nor https", scheme);
}

int check_metrics_path(const char *path, struct err *err)
{
	if (path[0] != '/')
		return err_setf(err, "\"%.80s\" does not begin with /", path);
	if (strpbrk(path, "?#") != NULL)
		return err_setf(err, "\"%.80s\" holds a query: that belongs in params", path);
	for (const char *at = path; *at != '\0'; at++)
		if ((unsigned char)*at <= ' ' || *at == 0x7f)
			return err_setf(
				err, "\"%.80s\" holds a space or a control character", path);
	return 0;
}

int check_ip_address(const char *address, struct err *err)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, address, bytes) == 1 || inet_pton(AF_INET6, address, bytes) == 1)
		return 0;
	return err_setf(err, "\"%.80s\" is no IP address (0.0.0.0 is every one)", address);
}

int check_path(const char *path, struct err *err)
{
	for (const char *at = path; *at != '\0'; at++)
		if (iscntrl((unsigned char)*at))
			return err_setf(err, "a path holds no control characters");
	return 0;
}
