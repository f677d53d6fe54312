/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What secures HTTP requests, with Prometheus' keys and rules. Files are not looked at here: they
 * may come later, and change.
 */
#include "common/config/settings_security.h"
#include "common/core/url.h"

#include <ctype.h>
#include <strings.h>

static const struct config_key tls_config_keys[] = {
	{.name = "ca",
		.type = CONFIG_STRING,
		CONFIG_AT(struct tls_config_settings, ca.value),
		.flags = CONFIG_EXPAND,
		.check = check_secret,
		.help = "The certificates that the server's must be signed by, in PEM."},
	FILE_KEY("ca_file", struct tls_config_settings, ca.file, 0,
		"A file that holds them; with neither, the system's are trusted."),
	{.name = "cert",
		.type = CONFIG_STRING,
		CONFIG_AT(struct tls_config_settings, cert.value),
		.flags = CONFIG_EXPAND,
		.check = check_secret,
		.help = "Our certificate, in PEM."},
	FILE_KEY("cert_file", struct tls_config_settings, cert.file, 0,
		"A file that holds our certificate and its chain."),
	SECRET_KEY("key", struct tls_config_settings, key.value, 0, "Its private key, in PEM."),
	FILE_KEY("key_file", struct tls_config_settings, key.file, 0, "A file that holds the key."),
	{.name = "server_name",
		.type = CONFIG_STRING,
		CONFIG_AT(struct tls_config_settings, server_name),
		.flags = CONFIG_EXPAND,
		.check = check_address,
		.fallback_note = "the host of the URL",
		.help = "The name asked for, and that the server's certificate must be for."},
	{.name = "insecure_skip_verify",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct tls_config_settings, insecure_skip_verify),
		.fallback = "false",
		.help = "Whether to talk to whoever answers: not for production."},
};

static void check_tls_config(struct config_object *object)
{
	const struct tls_config_settings *tls = object->value;
	bool has_cert = tls->cert.value != NULL || tls->cert.file != NULL;
	bool has_key = tls->key.value != NULL || tls->key.file != NULL;

	check_one_of(object, "ca", "ca_file");
	check_one_of(object, "cert", "cert_file");
	check_one_of(object, "key", "key_file");
	if (has_cert != has_key)
		config_error_at(object->config, object->position,
			"a certificate and its key go together: %s is missing",
			has_cert ? "key_file" : "cert_file");
}

const struct config_table tls_config_table = {
	.title = "TLS of HTTP requests",
	KEYS(tls_config_keys),
	.size = sizeof(struct tls_config_settings),
	POSITION(struct tls_config_settings),
	PRESENT(struct tls_config_settings),
	NO_NAME,
	.check = check_tls_config,
};

static const struct config_key basic_auth_keys[] = {
	{.name = "username",
		.type = CONFIG_STRING,
		CONFIG_AT(struct basic_auth_settings, username),
		.flags = CONFIG_REQUIRED | CONFIG_EXPAND,
		.check = check_secret,
		.help = "The user."},
	SECRET_KEY("password", struct basic_auth_settings, password.value, 0, "The password."),
	FILE_KEY("password_file", struct basic_auth_settings, password.file, 0,
		"A file that holds the password."),
};

static void check_basic_auth(struct config_object *object)
{
	const struct basic_auth_settings *auth = object->value;

	check_one_of(object, "password", "password_file");
	if (auth->username != NULL && strchr(auth->username, ':') != NULL)
		config_error_at(object->config, config_position(object, "username"),
			"username: a user of basic_auth has no colon");
}

const struct config_table basic_auth_table = {
	.title = "User and password of HTTP requests",
	KEYS(basic_auth_keys),
	.size = sizeof(struct basic_auth_settings),
	POSITION(struct basic_auth_settings),
	PRESENT(struct basic_auth_settings),
	NO_NAME,
	.check = check_basic_auth,
};

static int check_auth_type(const char *type, struct err *err)
{
	if (strcasecmp(type, "basic") == 0)
		return err_setf(err, "for \"%.20s\" there is basic_auth", type);
	for (const char *at = type; *at != '\0'; at++)
		if (!isgraph((unsigned char)*at))
			return err_setf(err, "must be one word");
	return 0;
}

static const struct config_key authorization_keys[] = {
	{.name = "type",
		.type = CONFIG_STRING,
		CONFIG_AT(struct authorization_settings, type),
		.fallback = "Bearer",
		.check = check_auth_type,
		.help = "What the credentials are."},
	SECRET_KEY("credentials", struct authorization_settings, credentials.value, 0,
		"The credentials."),
	FILE_KEY("credentials_file", struct authorization_settings, credentials.file, 0,
		"A file that holds the credentials."),
};

static void check_authorization(struct config_object *object)
{
	check_one_of(object, "credentials", "credentials_file");
	if (config_state(object, "credentials") == CONFIG_ABSENT &&
		config_state(object, "credentials_file") == CONFIG_ABSENT)
		config_error_at(object->config, object->position,
			"authorization needs credentials or credentials_file");
}

const struct config_table authorization_table = {
	.title = "Token of HTTP requests",
	KEYS(authorization_keys),
	.size = sizeof(struct authorization_settings),
	POSITION(struct authorization_settings),
	PRESENT(struct authorization_settings),
	NO_NAME,
	.check = check_authorization,
};

static int check_header_value(const char *value, struct err *err)
{
	for (const char *at = value; *at != '\0'; at++)
		if (iscntrl((unsigned char)*at) && *at != '\t')
			return err_setf(err, "holds a control character");
	return 0;
}

static const struct config_key http_header_keys[] = {
	{.name = "values",
		.type = CONFIG_STRINGS,
		CONFIG_AT(struct http_header_settings, values),
		.flags = CONFIG_EXPAND,
		.check = check_header_value,
		.help = "Values of the header."},
	{.name = "secrets",
		.type = CONFIG_STRINGS,
		CONFIG_AT(struct http_header_settings, secrets),
		.flags = CONFIG_EXPAND | CONFIG_HIDDEN,
		.check = check_header_value,
		.help = "Values that are not shown."},
	{.name = "files",
		.type = CONFIG_STRINGS,
		CONFIG_AT(struct http_header_settings, files),
		.flags = CONFIG_EXPAND,
		.check = check_path,
		.help = "Files that hold a value each."},
};

/* Those that are made by other keys, or by the protocol. */
static const char *const reserved_headers[] = {"Accept-Encoding", "Authorization", "Connection",
	"Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host", "Keep-Alive",
	"Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding",
	"Upgrade", "User-Agent", "Www-Authenticate", "X-Prometheus-Scrape-Timeout-Seconds"};

static void check_http_header(struct config_object *object)
{
	const struct http_header_settings *header = object->value;
	const char *name = header->name == NULL ? "" : header->name;

	if (name[0] == '\0')
		config_error_at(object->config, object->position, "a header has a name");
	for (const char *at = name; *at != '\0'; at++) {
		if (isalnum((unsigned char)*at) || strchr("!#$%&'*+-.^_`|~", *at) != NULL)
			continue;
		config_error_at(
			object->config, object->position, "\"%.80s\" is no name of a header", name);
		break;
	}
	for (size_t i = 0; i < ARRAY_LEN(reserved_headers); i++)
		if (strcasecmp(name, reserved_headers[i]) == 0)
			config_error_at(object->config, object->position,
				"the header %s is not for http_headers", reserved_headers[i]);
}

const struct config_table http_header_table = {
	.title = "Headers of HTTP requests",
	KEYS(http_header_keys),
	.size = sizeof(struct http_header_settings),
	POSITION(struct http_header_settings),
	.name_offset = offsetof(struct http_header_settings, name),
	NO_PRESENT,
	.check = check_http_header,
};

struct secured {
	struct http_client_settings http;
};

static const struct config_key secured_keys[] = {HTTP_CLIENT_KEYS(struct secured, 0)};

/* Never read: to compare by. */
static const struct config_table secured_table = {
	KEYS(secured_keys),
	.size = sizeof(struct secured),
	NO_POSITION,
	NO_NAME,
	NO_PRESENT,
};

bool settings_http_is_equal(
	const struct http_client_settings *a, const struct http_client_settings *b)
{
	return config_is_equal(&secured_table, a, b);
}

int check_proxy_url(const char *text, struct err *err)
{
	static const char *const schemes[] = {"http", "https", "socks5", "socks5h"};
	struct url url;
	int result = -1;

	if (url_parse(&url, slice_from(text), err) != 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (strcmp(url.scheme, schemes[i]) == 0)
			result = 0;
	if (result != 0)
		err_setf(err, "a proxy speaks http, https, socks5 or socks5h");
	url_fini(&url);
	return result;
}

void check_http_client(struct config_object *object)
{
	if (config_state(object, "basic_auth") != CONFIG_ABSENT &&
		config_state(object, "authorization") != CONFIG_ABSENT)
		config_error_at(object->config, config_position(object, "authorization"),
			"basic_auth and authorization both say who we are: give only one");
}
