/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was read is replaced as a whole when a file has changed, or not at all; a worker thread
 * looks. A verdict is remembered under a hash, keyed with a secret of this process, of user and
 * password: neither is kept. Users that do not exist take as long as others, by a hash that nothing
 * matches. At most MAX_RUNNING checks run at once, the others wait in line, at most MAX_WAITING.
 */
#include "common/loop/webauth.h"

#include "common/core/base64.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/core/secret.h"
#include "common/loop/webconfig.h"
#include "common/loop/webtls.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <strings.h>
#include <sys/queue.h>

#define MAX_RUNNING      2
#define MAX_WAITING      64
#define REMEMBERED       100
#define DIGEST_BYTES     32
#define MAX_PASSWORD     72 /* of bcrypt */
#define BASIC            "Basic "
#define LOOK_INTERVAL_MS 2000
/* Of a random password; its cost is Prometheus' own for users that do not exist. */
#define NOBODY_HASH "$2b$10$CwTycUXWue0Thq9StjUM0uJ8d4v3U7Xb0Yw1mC7l2Wb8Ck0kQv5vW"

/* --- The checks. */

/* What was found of the latest so many. */
struct memory {
	unsigned char digests[REMEMBERED][DIGEST_BYTES];
	size_t count, next;
};

struct check {
	uv_work_t work;
	struct webauth *auth;
	char *password, *hash;
	bool is_nobody; /* never passes */
	unsigned generation;
	bool pass;
	unsigned char digest[DIGEST_BYTES];
	void (*on_judged)(void *arg, bool pass);
	void *arg;
	STAILQ_ENTRY(check) entry;
};

/* What a file said, and what was made of it. */
struct material {
	struct web_config config;
	struct webtls *tls; /* NULL without */
};

struct webauth {
	uv_loop_t *loop;
	char *path;
	struct webtls_own own;
	struct material *now;
	unsigned generation;    /* of `now`: verdicts of another do not count */
	struct material *fresh; /* by the worker; NULL: nothing has changed, or `why` not */
	struct err why;
	char *complaint; /* what the log has been told; NULL: all is well */
	uv_timer_t timer;
	uv_work_t look;
	bool is_looking, has_timer;
	char *own_header;
	unsigned char salt[DIGEST_BYTES];
	struct memory passed, refused; /* apart: guesses must not push out who is known */
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

static bool is_in(const struct memory *memory, const unsigned char digest[DIGEST_BYTES])
{
	for (size_t i = 0; i < memory->count; i++)
		if (CRYPTO_memcmp(memory->digests[i], digest, DIGEST_BYTES) == 0)
			return true;
	return false;
}

static void remember(struct memory *memory, const unsigned char digest[DIGEST_BYTES])
{
	memcpy(memory->digests[memory->next], digest, DIGEST_BYTES);
	memory->next = (memory->next + 1) % REMEMBERED;
	if (memory->count < REMEMBERED)
		memory->count++;
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
	free(check->hash);
	free(check);
}

static void start_next(struct webauth *auth);

static void free_material(struct material *material)
{
	if (material == NULL)
		return;
	web_config_fini(&material->config);
	webtls_unref(material->tls);
	free(material);
}

static void free_webauth(struct webauth *auth)
{
	void (*on_closed)(void *) = auth->on_closed;
	void *arg = auth->closed_arg;

	free_material(auth->now);
	free_material(auth->fresh);
	webtls_own_fini(&auth->own);
	free(auth->path);
	free(auth->complaint);
	free(auth->own_header);
	explicit_bzero(auth, sizeof(*auth));
	free(auth);
	if (on_closed != NULL)
		on_closed(arg);
}

static void finish_closing(struct webauth *auth)
{
	if (auth->running_count == 0 && !auth->is_looking && !auth->has_timer)
		free_webauth(auth);
}

static void on_worked(uv_work_t *request, int status)
{
	struct check *check = request->data;
	struct webauth *auth = check->auth;

	(void)status;
	auth->running_count--;
	if (!auth->is_closing) {
		if (check->generation == auth->generation)
			remember(check->pass ? &auth->passed : &auth->refused, check->digest);
		check->on_judged(check->arg, check->pass);
		start_next(auth);
	}
	free_check(check);
	if (auth->is_closing)
		finish_closing(auth);
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
	for (size_t i = 0; i < auth->now->config.user_count; i++)
		if (slice_is(user, auth->now->config.users[i].name))
			return auth->now->config.users[i].hash;
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
	struct check *check;
	const char *hash;

	if (colon == NULL || memchr(pair.ptr, '\0', pair.len) != NULL ||
		!digest_of(auth, pair, digest))
		return WEBAUTH_REFUSE;
	if (is_in(&auth->passed, digest))
		return WEBAUTH_PASS;
	if (is_in(&auth->refused, digest) || auth->waiting_count >= MAX_WAITING ||
		pair.len - (size_t)(colon + 1 - pair.ptr) > MAX_PASSWORD)
		return WEBAUTH_REFUSE;
	hash = hash_of(auth, (struct slice){pair.ptr, (size_t)(colon - pair.ptr)});
	check = xcalloc(1, sizeof(*check));
	check->auth = auth;
	check->work.data = check;
	check->password = xstrndup(colon + 1, pair.len - (size_t)(colon + 1 - pair.ptr));
	check->is_nobody = hash == NULL;
	check->hash = xstrdup(hash == NULL ? NOBODY_HASH : hash);
	check->generation = auth->generation;
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

	if (auth->now->config.user_count == 0)
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

/* On any thread. `has_tls`: what the listener was opened with; NULL before. */
static struct material *load(
	const char *path, const struct webtls_own *own, const bool *has_tls, struct err *err)
{
	struct material *material = xcalloc(1, sizeof(*material));
	int result = web_config_load(&material->config, path, err);

	if (result == 0 && has_tls != NULL && material->config.tls.present != *has_tls)
		result = err_setf(err, "tls_server_config comes and goes with a restart only");
	if (result == 0 && material->config.tls.present)
		material->tls = webtls_new(&material->config, own, err);
	if (result == 0 && (material->tls != NULL) == material->config.tls.present)
		return material;
	free_material(material);
	return NULL;
}

/* On a worker thread. What failed may be no fault of a file, but of a pair replaced half. */
static void look(uv_work_t *work)
{
	struct webauth *auth = work->data;
	bool has_tls = auth->now->tls != NULL;

	if (web_config_has_changed(&auth->now->config))
		auth->fresh = load(auth->path, &auth->own, &has_tls, &auth->why);
}

static void complain(struct webauth *auth)
{
	if (auth->complaint != NULL && strcmp(auth->complaint, auth->why.text) == 0)
		return;
	log_error("the web config file cannot be used: what it said before stays in force",
		LOG_S("error", auth->why.text));
	free(auth->complaint);
	auth->complaint = xstrdup(auth->why.text);
}

static void use(struct webauth *auth, struct material *material)
{
	free_material(auth->now);
	auth->now = material;
	auth->generation++;
	auth->passed = (struct memory){.count = 0};
	auth->refused = (struct memory){.count = 0};
}

static void on_looked(uv_work_t *work, int status)
{
	struct webauth *auth = work->data;

	(void)status;
	auth->is_looking = false;
	if (auth->is_closing) {
		finish_closing(auth);
		return;
	}
	if (auth->fresh != NULL) {
		use(auth, auth->fresh);
		auth->fresh = NULL;
		log_info("the web config file has changed, and is in force",
			LOG_S("path", auth->path));
	}
	if (auth->why.text[0] != '\0') {
		complain(auth);
	} else {
		free(auth->complaint);
		auth->complaint = NULL;
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct webauth *auth = timer->data;

	if (auth->is_looking)
		return;
	auth->is_looking = true;
	auth->why.text[0] = '\0';
	auth->look.data = auth;
	uv_queue_work(auth->loop, &auth->look, look, on_looked);
}

struct webauth *webauth_load(uv_loop_t *loop, const char *path, struct err *err)
{
	struct webauth *auth = xcalloc(1, sizeof(*auth));

	auth->loop = loop;
	auth->path = xstrdup(path);
	STAILQ_INIT(&auth->waiting);
	make_secrets(auth);
	if (webtls_own_init(&auth->own, err) == 0)
		auth->now = load(path, &auth->own, NULL, err);
	if (auth->now == NULL) {
		free_webauth(auth);
		return NULL;
	}
	auth->has_timer = true;
	auth->timer.data = auth;
	uv_timer_init(loop, &auth->timer);
	uv_timer_start(&auth->timer, on_timer, LOOK_INTERVAL_MS, LOOK_INTERVAL_MS);
	return auth;
}

const char *webauth_cert(const struct webauth *auth)
{
	return auth->now->tls == NULL ? NULL : buf_cstr(&auth->now->config.cert);
}

const char *webauth_key(const struct webauth *auth)
{
	return auth->now->tls == NULL ? NULL : buf_cstr(&auth->now->config.key);
}

struct webtls *webauth_tls(const struct webauth *auth)
{
	return auth->now->tls == NULL ? NULL : webtls_ref(auth->now->tls);
}

const struct webtls_own *webauth_own(const struct webauth *auth)
{
	return &auth->own;
}

const char *webauth_own_header(const struct webauth *auth)
{
	return auth->own_header;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct webauth *auth = handle->data;

	auth->has_timer = false;
	finish_closing(auth);
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
	uv_close((uv_handle_t *)&auth->timer, on_timer_closed);
}
