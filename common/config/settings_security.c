/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What secures connections: the tables of tls sections and secrets, and what of them goes together.
 * Files are not looked at here: they may come later, and change.
 */
#include "common/config/settings_security.h"

#include <ctype.h>

#define PUPPET_SSL_DIR "/etc/puppetlabs/puppet/ssl"

static const char *const tls_schemes[] = {"manual", "file", "puppet", NULL};

static const struct config_key nats_tls_keys[] = {
	{.name = "scheme",
		.type = CONFIG_ENUM,
		CONFIG_AT(struct nats_tls_settings, scheme),
		.fallback = "manual",
		.choices = tls_schemes,
		.help = "Where the files are: as `ca`, `cert` and `key` say (manual, or file), or "
			"as Puppet lays them out: `<ssl_dir>/certs/ca.pem`, "
			"`<ssl_dir>/certs/<identity>.pem` and "
			"`<ssl_dir>/private_keys/<identity>.pem`."},
	{.name = "identity",
		.type = CONFIG_STRING,
		CONFIG_AT(struct nats_tls_settings, identity),
		.flags = CONFIG_EXPAND,
		.check = check_path,
		.fallback_note = "the top level's `identity`",
		.help = "With `scheme: puppet`: the name of the certificate."},
	{.name = "ssl_dir",
		.type = CONFIG_STRING,
		CONFIG_AT(struct nats_tls_settings, ssl_dir),
		.flags = CONFIG_EXPAND,
		.check = check_path,
		.fallback_note = "`" PUPPET_SSL_DIR "`",
		.help = "With `scheme: puppet`: the folder with Puppet's files."},
	FILE_KEY("ca", struct nats_tls_settings, ca, 0,
		"With `scheme: manual`: the file with the certificates that the server's must be "
		"signed by; without it, the system's are trusted."),
	FILE_KEY("cert", struct nats_tls_settings, cert, 0,
		"With `scheme: manual`: the file with our certificate and its chain."),
	{.name = "key",
		.type = CONFIG_STRING,
		CONFIG_AT(struct nats_tls_settings, key),
		.flags = CONFIG_EXPAND | CONFIG_HIDDEN,
		.help = "With `scheme: manual`: the file with its private key, or the key itself "
			"in PEM."},
	{.name = "ca_file",
		.type = CONFIG_STRING,
		CONFIG_AT(struct nats_tls_settings, ca),
		.flags = CONFIG_EXPAND | CONFIG_ALIAS,
		.check = check_path,
		.help = "Prometheus' spelling of `ca`."},
	{.name = "cert_file",
		.type = CONFIG_STRING,
		CONFIG_AT(struct nats_tls_settings, cert),
		.flags = CONFIG_EXPAND | CONFIG_ALIAS,
		.check = check_path,
		.help = "Prometheus' spelling of `cert`."},
	{.name = "key_file",
		.type = CONFIG_STRING,
		CONFIG_AT(struct nats_tls_settings, key),
		.flags = CONFIG_EXPAND | CONFIG_ALIAS,
		.check = check_path,
		.help = "Prometheus' spelling of `key`, a file."},
	{.name = "server_name",
		.type = CONFIG_STRING,
		CONFIG_AT(struct nats_tls_settings, server_name),
		.flags = CONFIG_EXPAND,
		.check = check_path,
		.fallback_note = "the host of the URL",
		.help = "The name that the server's certificate must be for."},
	{.name = "insecure_skip_verify",
		.type = CONFIG_BOOL,
		CONFIG_AT(struct nats_tls_settings, insecure_skip_verify),
		.fallback = "false",
		.help = "Whether to connect whoever the server is: not for production."},
};

int check_secret(const char *text, struct err *err)
{
	for (const char *at = text; *at != '\0'; at++)
		if (iscntrl((unsigned char)*at) && *at != '\n' && *at != '\r' && *at != '\t')
			return err_setf(err, "holds a control character");
	return 0;
}

bool check_one_of(struct config_object *object, const char *a, const char *b)
{
	if (config_state(object, a) == CONFIG_ABSENT || config_state(object, b) == CONFIG_ABSENT)
		return true;
	config_error_at(object->config, config_position(object, b),
		"%s and %s say the same: give only one", a, b);
	return false;
}

static bool is_given(const struct config_object *object, const char *key)
{
	return config_state(object, key) != CONFIG_ABSENT;
}

/* Those of the other scheme do nothing. */
static void warn_of_scheme(
	struct config_object *object, const char *const *keys, const char *scheme)
{
	for (; *keys != NULL; keys++)
		if (is_given(object, *keys))
			config_warn_at(object->config, config_position(object, *keys),
				"%s has no effect with scheme: %s", *keys, scheme);
}

static void check_nats_tls(struct config_object *object)
{
	static const char *const of_puppet[] = {"identity", "ssl_dir", NULL};
	static const char *const of_manual[] = {
		"ca", "cert", "key", "ca_file", "cert_file", "key_file", NULL};
	const struct nats_tls_settings *tls = object->value;

	check_one_of(object, "ca", "ca_file");
	check_one_of(object, "cert", "cert_file");
	check_one_of(object, "key", "key_file");
	if (tls->scheme == TLS_SCHEME_PUPPET)
		warn_of_scheme(object, of_manual, "puppet");
	else
		warn_of_scheme(object, of_puppet, tls_schemes[tls->scheme]);
	if (tls->scheme != TLS_SCHEME_PUPPET && (tls->cert == NULL) != (tls->key == NULL))
		config_error_at(object->config, object->position,
			"cert and key go together: %s is missing",
			tls->cert == NULL ? "cert" : "key");
	if (tls->insecure_skip_verify && (tls->ca != NULL || tls->server_name != NULL))
		config_warn_at(object->config, config_position(object, "insecure_skip_verify"),
			"with insecure_skip_verify, neither ca nor server_name is looked at");
}

const struct config_table nats_tls_table = {
	.title = "TLS to NATS",
	KEYS(nats_tls_keys),
	.size = sizeof(struct nats_tls_settings),
	POSITION(struct nats_tls_settings),
	PRESENT(struct nats_tls_settings),
	NO_NAME,
	.check = check_nats_tls,
};

void check_nats_auth(struct config_object *object)
{
	static const char *const ways[][2] = {{"user", "user"}, {"token", "token_file"},
		{"nkey_seed", "nkey_seed_file"}, {"credentials", "credentials_file"}};
	const struct stream_settings *stream = object->value;
	bool has_password = is_given(object, "password") || is_given(object, "password_file");
	const char *first = NULL;

	check_one_of(object, "password", "password_file");
	if (is_given(object, "user") != has_password)
		config_error_at(object->config, object->position,
			"user and password (or password_file) go together");
	for (size_t i = 0; i < stream->urls.count && first == NULL; i++)
		if (strchr(stream->urls.items[i], '@') != NULL)
			first = "urls";
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		const char *way = is_given(object, ways[i][0]) ? ways[i][0] : ways[i][1];

		if (!is_given(object, way))
			continue;
		if (i > 0)
			check_one_of(object, ways[i][0], ways[i][1]);
		if (first != NULL)
			config_error_at(object->config, config_position(object, way),
				"%s and %s both say who we are: give only one", first, way);
		first = way;
	}
}

static char *copy(const char *text)
{
	return text == NULL ? NULL : xstrdup(text);
}

static void lay_out_puppet(
	const struct nats_tls_settings *written, const char *identity, struct nats_tls *tls)
{
	const char *dir = written->ssl_dir == NULL ? PUPPET_SSL_DIR : written->ssl_dir;
	const char *name = written->identity == NULL ? identity : written->identity;

	tls->ca = xasprintf("%s/certs/ca.pem", dir);
	tls->cert = xasprintf("%s/certs/%s.pem", dir, name);
	tls->key = xasprintf("%s/private_keys/%s.pem", dir, name);
}

void settings_nats_tls(
	const struct settings *settings, const struct stream_settings *stream, struct nats_tls *tls)
{
	const struct nats_tls_settings *written =
		stream->tls.present ? &stream->tls : &settings->tls;

	*tls = (struct nats_tls){.wanted = written->present};
	if (!written->present)
		return;
	tls->server_name = copy(written->server_name);
	tls->is_unverified = written->insecure_skip_verify;
	if (written->scheme == TLS_SCHEME_PUPPET) {
		lay_out_puppet(written, settings->identity, tls);
		return;
	}
	tls->ca = copy(written->ca);
	tls->cert = copy(written->cert);
	tls->key = copy(written->key);
}

void settings_nats_tls_fini(struct nats_tls *tls)
{
	free(tls->ca);
	free(tls->cert);
	free(tls->key);
	free(tls->server_name);
}
