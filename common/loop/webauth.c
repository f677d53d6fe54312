/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A verdict is remembered under a hash, keyed with a secret of this process, of user and password:
 * neither is kept. Users that do not exist take as long as others, by a hash that nothing matches.
 * At most MAX_RUNNING checks run at once, the others wait in line, at most MAX_WAITING.
 */
#include "common/loop/webauth.h"

#include "common/config/config.h"
#include "common/core/base64.h"
#include "common/core/clock.h"
#include "common/core/secret.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <ctype.h>
#include <strings.h>
#include <sys/queue.h>

#define MAX_RUNNING   2
#define MAX_WAITING   64
#define REMEMBERED    100
#define DIGEST_BYTES  32
#define MAX_PASSWORD  72 /* of bcrypt */
#define MAX_COST      16
#define BASIC         "Basic "
#define BCRYPT_DIGITS "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
/* Of a random password; its cost is Prometheus' own for users that do not exist. */
#define NOBODY_HASH "$2b$10$CwTycUXWue0Thq9StjUM0uJ8d4v3U7Xb0Yw1mC7l2Wb8Ck0kQv5vW"

/* --- The file. */

struct web_user {
	char *name, *hash;
};

struct web_tls {
	bool present;
	char *cert_file, *key_file, *cert, *key;
};

struct web_config {
	struct web_tls tls;
	struct web_user *users;
	size_t user_count;
};

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
};

static void check_tls(struct config_object *object)
{
	const struct web_tls *tls = object->value;

	if ((tls->cert == NULL) == (tls->cert_file == NULL))
		config_error_at(object->config, object->position, "give one of cert_file and cert");
	if ((tls->key == NULL) == (tls->key_file == NULL))
		config_error_at(object->config, object->position, "give one of key_file and key");
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

/* --- The checks. */

struct memory {
	unsigned char digest[DIGEST_BYTES];
	bool pass;
};

struct check {
	uv_work_t work;
	struct webauth *auth;
	char *password;
	const char *hash; /* the webauth's */
	bool is_nobody;   /* never passes */
	bool pass;
	unsigned char digest[DIGEST_BYTES];
	void (*on_judged)(void *arg, bool pass);
	void *arg;
	STAILQ_ENTRY(check) entry;
};

struct webauth {
	uv_loop_t *loop;
	struct web_config config;
	struct buf cert, key;
	char *own_header;
	unsigned char salt[DIGEST_BYTES];
	struct memory remembered[REMEMBERED];
	size_t remembered_count, next_forgotten;
	STAILQ_HEAD(, check) waiting;
	size_t waiting_count, running_count;
	bool is_closing;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

static bool digest_of(
	const struct webauth *auth, struct slice pair, unsigned char digest[DIGEST_BYTES])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool done = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
		    EVP_DigestUpdate(context, auth->salt, DIGEST_BYTES) == 1 &&
		    EVP_DigestUpdate(context, pair.ptr, pair.len) == 1 &&
		    EVP_DigestFinal_ex(context, digest, NULL) == 1;

	EVP_MD_CTX_free(context);
	return done;
}

static const struct memory *recall(
	const struct webauth *auth, const unsigned char digest[DIGEST_BYTES])
{
	for (size_t i = 0; i < auth->remembered_count; i++)
		if (CRYPTO_memcmp(auth->remembered[i].digest, digest, DIGEST_BYTES) == 0)
			return &auth->remembered[i];
	return NULL;
}

static void remember(struct webauth *auth, const struct check *check)
{
	struct memory *place = &auth->remembered[auth->next_forgotten];

	auth->next_forgotten = (auth->next_forgotten + 1) % REMEMBERED;
	if (auth->remembered_count < REMEMBERED)
		auth->remembered_count++;
	memcpy(place->digest, check->digest, DIGEST_BYTES);
	place->pass = check->pass;
}

/* On a worker thread. */
static void work(uv_work_t *request)
{
	struct check *check = request->data;
	struct crypt_data *data = xcalloc(1, sizeof(*data));
	const char *hash = crypt_r(check->password, check->hash, data);

	check->pass = !check->is_nobody && hash != NULL && strlen(hash) == strlen(check->hash) &&
		      CRYPTO_memcmp(hash, check->hash, strlen(hash)) == 0;
	explicit_bzero(data, sizeof(*data));
	free(data);
}

static void free_check(struct check *check)
{
	explicit_bzero(check->password, strlen(check->password));
	free(check->password);
	free(check);
}

static void start_next(struct webauth *auth);

static void free_webauth(struct webauth *auth)
{
	void (*on_closed)(void *) = auth->on_closed;
	void *arg = auth->closed_arg;

	config_free(&web_table, &auth->config);
	buf_free(&auth->cert);
	secret_free(&auth->key);
	free(auth->own_header);
	explicit_bzero(auth, sizeof(*auth));
	free(auth);
	if (on_closed != NULL)
		on_closed(arg);
}

static void on_worked(uv_work_t *request, int status)
{
	struct check *check = request->data;
	struct webauth *auth = check->auth;

	(void)status;
	auth->running_count--;
	if (!auth->is_closing) {
		remember(auth, check);
		check->on_judged(check->arg, check->pass);
		start_next(auth);
	}
	free_check(check);
	if (auth->is_closing && auth->running_count == 0)
		free_webauth(auth);
}

static void start_next(struct webauth *auth)
{
	struct check *check;

	while (auth->running_count < MAX_RUNNING &&
		(check = STAILQ_FIRST(&auth->waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&auth->waiting, entry);
		auth->waiting_count--;
		auth->running_count++;
		uv_queue_work(auth->loop, &check->work, work, on_worked);
	}
}

static const char *hash_of(const struct webauth *auth, struct slice user)
{
	for (size_t i = 0; i < auth->config.user_count; i++)
		if (slice_is(user, auth->config.users[i].name))
			return auth->config.users[i].hash;
	return NULL;
}

/* Whatever the padding. */
static bool read_digits(const char *text, struct buf *out)
{
	return base64_decode_digits((struct slice){text, strcspn(text, "=")}, "+/", out) == 0;
}

/* `pair` is user:password. */
static enum webauth_verdict judge_pair(
	struct webauth *auth, struct slice pair, void (*on_judged)(void *arg, bool pass), void *arg)
{
	const char *colon = memchr(pair.ptr, ':', pair.len);
	unsigned char digest[DIGEST_BYTES];
	const struct memory *memory;
	struct check *check;
	const char *hash;

	if (colon == NULL || memchr(pair.ptr, '\0', pair.len) != NULL ||
		!digest_of(auth, pair, digest))
		return WEBAUTH_REFUSE;
	memory = recall(auth, digest);
	if (memory != NULL)
		return memory->pass ? WEBAUTH_PASS : WEBAUTH_REFUSE;
	if (auth->waiting_count >= MAX_WAITING ||
		pair.len - (size_t)(colon + 1 - pair.ptr) > MAX_PASSWORD)
		return WEBAUTH_REFUSE;
	hash = hash_of(auth, (struct slice){pair.ptr, (size_t)(colon - pair.ptr)});
	check = xcalloc(1, sizeof(*check));
	check->auth = auth;
	check->work.data = check;
	check->password = xstrndup(colon + 1, pair.len - (size_t)(colon + 1 - pair.ptr));
	check->is_nobody = hash == NULL;
	check->hash = hash == NULL ? NOBODY_HASH : hash;
	memcpy(check->digest, digest, DIGEST_BYTES);
	check->on_judged = on_judged;
	check->arg = arg;
	STAILQ_INSERT_TAIL(&auth->waiting, check, entry);
	auth->waiting_count++;
	start_next(auth);
	return WEBAUTH_LATER;
}

enum webauth_verdict webauth_judge(struct webauth *auth, const char *header,
	void (*on_judged)(void *arg, bool pass), void *arg)
{
	enum webauth_verdict verdict = WEBAUTH_REFUSE;
	struct buf pair = {0};

	if (auth->config.user_count == 0)
		return WEBAUTH_PASS;
	if (header == NULL)
		return WEBAUTH_REFUSE;
	if (strlen(header) == strlen(auth->own_header) &&
		CRYPTO_memcmp(header, auth->own_header, strlen(header)) == 0)
		return WEBAUTH_PASS;
	if (strncasecmp(header, BASIC, strlen(BASIC)) == 0 &&
		read_digits(header + strlen(BASIC), &pair) && pair.len > 0)
		verdict = judge_pair(auth, buf_slice(&pair), on_judged, arg);
	secret_free(&pair);
	return verdict;
}

/* --- Life. */

static void make_secrets(struct webauth *auth)
{
	unsigned char token[16];
	struct buf header = {0};

	if (RAND_bytes(auth->salt, DIGEST_BYTES) != 1 || RAND_bytes(token, sizeof(token)) != 1)
		abort();
	buf_append_str(&header, "Bearer ");
	for (size_t i = 0; i < sizeof(token); i++)
		buf_appendf(&header, "%02x", token[i]);
	auth->own_header = xstrdup(buf_cstr(&header));
	secret_free(&header);
}

static int parse(struct webauth *auth, const char *path, struct slice text, struct err *err)
{
	struct config config = {
		.path = path, .audience = 1, .root_table = &web_table, .root = &auth->config};
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

/* A relative path is of the folder that the file is in, as in Prometheus. */
static int read_pem(
	const char *value, const char *file, const char *base, struct buf *out, struct err *err)
{
	const char *slash = strrchr(base, '/');
	char *path = file == NULL || file[0] == '/' || slash == NULL
			     ? NULL
			     : xasprintf("%.*s%s", (int)(slash + 1 - base), base, file);
	int result = secret_read(value, path != NULL ? path : file, out, err);

	free(path);
	return result;
}

static int load(struct webauth *auth, const char *path, struct err *err)
{
	const struct web_tls *tls = &auth->config.tls;
	struct buf text = {0};
	int result = secret_read_file(path, &text, err);

	if (result == 0)
		result = parse(auth, path, buf_slice(&text), err);
	if (result == 0 && tls->present)
		result = read_pem(tls->cert, tls->cert_file, path, &auth->cert, err);
	if (result == 0 && tls->present)
		result = read_pem(tls->key, tls->key_file, path, &auth->key, err);
	secret_free(&text);
	return result;
}

struct webauth *webauth_load(uv_loop_t *loop, const char *path, struct err *err)
{
	struct webauth *auth = xcalloc(1, sizeof(*auth));

	auth->loop = loop;
	STAILQ_INIT(&auth->waiting);
	make_secrets(auth);
	if (load(auth, path, err) == 0)
		return auth;
	free_webauth(auth);
	return NULL;
}

const char *webauth_cert(const struct webauth *auth)
{
	return auth->config.tls.present ? buf_cstr((struct buf *)&auth->cert) : NULL;
}

const char *webauth_key(const struct webauth *auth)
{
	return auth->config.tls.present ? buf_cstr((struct buf *)&auth->key) : NULL;
}

const char *webauth_own_header(const struct webauth *auth)
{
	return auth->own_header;
}

void webauth_close(struct webauth *auth, void (*on_closed)(void *arg), void *arg)
{
	struct check *check;

	auth->is_closing = true;
	auth->on_closed = on_closed;
	auth->closed_arg = arg;
	while ((check = STAILQ_FIRST(&auth->waiting)) != NULL) {
		STAILQ_REMOVE_HEAD(&auth->waiting, entry);
		free_check(check);
	}
	if (auth->running_count == 0)
		free_webauth(auth);
}
