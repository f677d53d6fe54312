/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read by the tables that read the configuration. Stamps are taken before each file is read, so
 * that what changes meanwhile is seen the next time.
 */
#include "common/loop/webconfig.h"

#include "common/core/secret.h"

#include <ctype.h>

#define MAX_COST      16 /* of bcrypt */
#define BCRYPT_DIGITS "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* A check of the greatest cost takes seconds: more would hold up a worker thread, and the end. */
static int check_bcrypt(const char *hash, struct err *err)
{
	int cost;

	if (strlen(hash) != 60 || strncmp(hash, "$2", 2) != 0 || strchr("aby", hash[2]) == NULL ||
		hash[3] != '$' || !isdigit((unsigned char)hash[4]) ||
		!isdigit((unsigned char)hash[5]) || hash[6] != '$' ||
		strspn(hash + 7, BCRYPT_DIGITS) != 53)
		return err_setf(err, "is no bcrypt hash: make one with htpasswd -nBC 10 USER");
	cost = (hash[4] - '0') * 10 + hash[5] - '0';
	if (cost < 4 || cost > MAX_COST)
		return err_setf(err, "has a cost of %d: from 4 to %d is possible", cost, MAX_COST);
	return 0;
}

static const struct config_key user_keys[] = {
	{.name = "basic_auth_users",
		.type = CONFIG_STRING,
		CONFIG_AT(struct web_user, hash),
		.flags = CONFIG_REQUIRED | CONFIG_HIDDEN,
		.check = check_bcrypt,
		.help = "The bcrypt hash of the user's password."},
};

static const struct config_table user_table = {
	.keys = user_keys,
	.key_count = ARRAY_LEN(user_keys),
	.size = sizeof(struct web_user),
	.position_offset = CONFIG_NOWHERE,
	.present_offset = CONFIG_NOWHERE,
	.name_offset = offsetof(struct web_user, name),
	.bare = true,
};

static const char *const client_auth_types[] = {"NoClientCert", "RequestClientCert",
	"RequireAnyClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert",
	"RequireClientCert", NULL};

static const struct config_key tls_keys[] = {
	{.name = "cert_file",
		.type = CONFIG_STRING,
		CONFIG_AT(struct web_tls, cert_file),
		.help = "The certificate and its chain."},
	{.name = "key_file",
		.type = CONFIG_STRING,
		CONFIG_AT(struct web_tls, key_file),
		.help = "Its private key."},
	{.name = "cert",
		.type = CONFIG_STRING,
		CONFIG_AT(struct web_tls, cert),
		.help = "The certificate itself, in PEM."},
	{.name = "key",
		.type = CONFIG_STRING,
		CONFIG_AT(struct web_tls, key),
		.flags = CONFIG_HIDDEN,
		.help = "The key itself, in PEM."},
	{.name = "client_ca_file",
		.type = CONFIG_STRING,
		CONFIG_AT(struct web_tls, client_ca_file),
		.help = "The certificates that those of clients must be signed by."},
	{.name = "client_ca",
		.type = CONFIG_STRING,
		CONFIG_AT(struct web_tls, client_ca),
		.help = "Those certificates themselves, in PEM."},
	{.name = "client_auth_type",
		.type = CONFIG_ENUM,
		CONFIG_AT(struct web_tls, client_auth),
		.fallback = "NoClientCert",
		.choices = client_auth_types,
		.help = "Whether clients are asked for a certificate."},
};

static void check_client_auth(struct config_object *object)
{
	const struct web_tls *tls = object->value;
	bool has_ca = tls->client_ca != NULL || tls->client_ca_file != NULL;
	bool verifies = tls->client_auth == WEB_CERT_VERIFIED_IF_GIVEN ||
			tls->client_auth == WEB_CERT_VERIFIED;

	if (config_state(object, "client_auth_type") == CONFIG_WRONG)
		return;
	if (tls->client_ca != NULL && tls->client_ca_file != NULL)
		config_error_at(object->config, object->position,
			"give one of client_ca_file and client_ca");
	if (has_ca && tls->client_auth == WEB_CERT_NONE)
		config_error_at(object->config, object->position,
			"client_ca_file needs a client_auth_type");
	if (verifies && !has_ca)
		config_error_at(object->config, object->position,
			"client_auth_type: %s needs a client_ca_file",
			client_auth_types[tls->client_auth]);
}

static void check_tls(struct config_object *object)
{
	const struct web_tls *tls = object->value;

	if ((tls->cert == NULL) == (tls->cert_file == NULL))
		config_error_at(object->config, object->position, "give one of cert_file and cert");
	if ((tls->key == NULL) == (tls->key_file == NULL))
		config_error_at(object->config, object->position, "give one of key_file and key");
	check_client_auth(object);
}

static const struct config_table tls_table = {
	.keys = tls_keys,
	.key_count = ARRAY_LEN(tls_keys),
	.size = sizeof(struct web_tls),
	.position_offset = CONFIG_NOWHERE,
	.present_offset = offsetof(struct web_tls, present),
	.name_offset = CONFIG_NOWHERE,
	.check = check_tls,
};

static const struct config_key web_keys[] = {
	{.name = "tls_server_config",
		.type = CONFIG_SECTION,
		CONFIG_AT(struct web_config, tls),
		.table = &tls_table,
		.help = "TLS of the listener."},
	{.name = "basic_auth_users",
		.type = CONFIG_MAP,
		CONFIG_AT(struct web_config, users),
		.count_offset = offsetof(struct web_config, user_count),
		.table = &user_table,
		.help = "Who may ask, each with a bcrypt hash."},
};

static const struct config_table web_table = {
	.keys = web_keys,
	.key_count = ARRAY_LEN(web_keys),
	.size = sizeof(struct web_config),
	.position_offset = CONFIG_NOWHERE,
	.present_offset = CONFIG_NOWHERE,
	.name_offset = CONFIG_NOWHERE,
};

static int parse(struct web_config *web, const char *path, struct slice text, struct err *err)
{
	struct config config = {.path = path, .audience = 1, .root_table = &web_table, .root = web};
	struct yaml_position position;
	struct yaml_document *document;
	struct buf report = {0};
	int result = 0;

	if (text.len == 0)
		return 0; /* as Prometheus: nothing is secured */
	document = yaml_parse(text, &position, err);
	if (document == NULL)
		return err_wrapf(err, "%s:%d:%d", path, position.line, position.column);
	config_read(&config, yaml_root(document));
	yaml_document_free(document);
	if (config_report(&config, &report) > 0) {
		size_t len = strcspn(buf_cstr(&report), "\n");

		result = err_setf(err, "%.*s", (int)len, report.ptr);
	}
	buf_free(&report);
	return result;
}

static void note_file(struct web_config *config, const char *path)
{
	size_t count = config->files.count;

	config->stamps = xreallocarray(config->stamps, count + 1, sizeof(*config->stamps));
	config->stamps[count] = file_stamp_of(path);
	string_list_add(&config->files, slice_from(path));
}

/* A relative path is of the folder that the file is in, as in Prometheus. */
static char *path_beside(const char *base, const char *file)
{
	const char *slash = strrchr(base, '/');

	return file[0] == '/' || slash == NULL
		       ? xstrdup(file)
		       : xasprintf("%.*s%s", (int)(slash + 1 - base), base, file);
}

/* Nothing with neither. */
static int read_pem(struct web_config *config, const char *value, const char *file, struct buf *out,
	struct err *err)
{
	char *path = file == NULL ? NULL : path_beside(config->files.items[0], file);
	int result;

	if (path != NULL)
		note_file(config, path);
	result = secret_read(value, path, out, err);
	free(path);
	return result;
}

int web_config_load(struct web_config *config, const char *path, struct err *err)
{
	const struct web_tls *tls = &config->tls;
	struct buf text = {0};
	int result;

	note_file(config, path);
	result = secret_read_file(path, &text, err);
	if (result == 0)
		result = parse(config, path, buf_slice(&text), err);
	if (result == 0 && tls->present &&
		(read_pem(config, tls->cert, tls->cert_file, &config->cert, err) != 0 ||
			read_pem(config, tls->key, tls->key_file, &config->key, err) != 0 ||
			read_pem(config, tls->client_ca, tls->client_ca_file, &config->client_ca,
				err) != 0))
		result = -1;
	secret_free(&text);
	return result;
}

void web_config_fini(struct web_config *config)
{
	config_free(&web_table, config);
	buf_free(&config->cert);
	secret_free(&config->key);
	buf_free(&config->client_ca);
	string_list_free(&config->files);
	free(config->stamps);
}

bool web_config_has_changed(const struct web_config *config)
{
	for (size_t i = 0; i < config->files.count; i++) {
		struct file_stamp now = file_stamp_of(config->files.items[i]);

		if (!file_stamp_is_same(&now, &config->stamps[i]))
			return true;
	}
	return false;
}
