/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cnats' own loading of seeds and .creds files is not used: it wants the public key beside a seed,
 * and cannot take either from memory.
 */
#include "common/nats/link_security.h"

#include "common/core/clock.h"
#include "common/core/secret.h"
#include "common/nats/link_server.h"
#include "common/nats/nkey.h"

#include <openssl/pem.h>
#include <openssl/x509.h>

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define PEM_BEGIN  "-----BEGIN"
#define PATH_BYTES 64

static char *copy(const char *text)
{
	return text == NULL ? NULL : xstrdup(text);
}

static struct secret_settings copy_secret(const struct secret_settings *from)
{
	return (struct secret_settings){copy(from->value), copy(from->file)};
}

static void free_text(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
}

static void free_secret(struct secret_settings *secret)
{
	free_text(secret->value);
	free(secret->file);
}

/*
 * cnats always trusts OpenSSL's default authorities, and a given one besides. Nothing else in the
 * process asks for the defaults: curl and the web server have authorities of their own.
 */
static void trust_none_by_default(void)
{
	setenv("SSL_CERT_FILE", "/dev/null", 1);
	setenv("SSL_CERT_DIR", "/dev/null", 1);
}

void link_security_init(struct link_security *security, const struct nats_tls *tls,
	const struct nats_auth_settings *auth)
{
	*security = (struct link_security){0};
	if (tls != NULL && tls->ca != NULL)
		trust_none_by_default();
	if (tls != NULL)
		security->tls = (struct nats_tls){tls->wanted, copy(tls->ca), copy(tls->cert),
			copy(tls->key), copy(tls->server_name), tls->is_unverified};
	if (auth != NULL)
		security->auth = (struct nats_auth_settings){copy(auth->user),
			copy_secret(&auth->password), copy_secret(&auth->token),
			copy_secret(&auth->nkey_seed), copy_secret(&auth->credentials)};
}

void link_security_fini(struct link_security *security)
{
	settings_nats_tls_fini(&security->tls);
	free(security->auth.user);
	free_secret(&security->auth.password);
	free_secret(&security->auth.token);
	free_secret(&security->auth.nkey_seed);
	free_secret(&security->auth.credentials);
}

void link_identity_fini(struct link_identity *identity)
{
	secret_free(&identity->seed);
	secret_free(&identity->jwt);
}

static int nats_failed(natsStatus status, const char *what, struct err *err)
{
	const char *text = nats_GetLastError(NULL);

	return err_setf(err, "%s: %s", what,
		text != NULL && text[0] != '\0' ? text : natsStatus_GetText(status));
}

/* --- TLS. */

static int check_readable(const char *path, struct err *err)
{
	struct buf content = {0};
	int result = secret_read_file(path, &content, err);

	secret_free(&content);
	return result;
}

/* The key itself as a file in memory, since cnats takes a chain of certificates from files only. */
static int open_key(const char *pem, char path[PATH_BYTES], struct err *err)
{
	size_t len = strlen(pem);
	int fd = memfd_create("key", MFD_CLOEXEC);

	if (fd < 0 || write(fd, pem, len) != (ssize_t)len) {
		err_setf(err, "cannot pass the key on: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	snprintf(path, PATH_BYTES, "/proc/self/fd/%d", fd);
	return fd;
}

static int load_certificate(const struct nats_tls *tls, natsOptions *options, struct err *err)
{
	/* Whatever stands before it: as a path, it would be named in an error. */
	bool is_inline = strstr(tls->key, PEM_BEGIN) != NULL || strchr(tls->key, '\n') != NULL;
	char path[PATH_BYTES];
	int fd = -1;
	natsStatus s;

	if (check_readable(tls->cert, err) != 0)
		return -1;
	if (is_inline)
		fd = open_key(tls->key, path, err);
	if (is_inline ? fd < 0 : check_readable(tls->key, err) != 0)
		return -1;
	s = natsOptions_LoadCertificatesChain(options, tls->cert, is_inline ? path : tls->key);
	if (fd >= 0)
		close(fd);
	return s == NATS_OK ? 0 : nats_failed(s, "cannot use the certificate and its key", err);
}

static int load_ca(const char *path, natsOptions *options, struct err *err)
{
	natsStatus s;

	if (check_readable(path, err) != 0)
		return -1;
	s = natsOptions_LoadCATrustedCertificates(options, path);
	return s == NATS_OK ? 0 : nats_failed(s, "cannot use the ca", err);
}

/* The name is set whether TLS is wanted or not: a server may ask for it. */
static int apply_tls(
	const struct nats_tls *tls, const char *host, natsOptions *options, struct err *err)
{
	const char *name = tls->server_name != NULL ? tls->server_name : host;
	natsStatus s = NATS_OK;

	if (tls->wanted)
		s = natsOptions_SetSecure(options, true);
	if (s == NATS_OK && tls->is_unverified)
		s = natsOptions_SkipServerVerification(options, true);
	else if (s == NATS_OK && name != NULL)
		s = natsOptions_SetExpectedHostname(options, name);
	if (s != NATS_OK)
		return nats_failed(s, "cannot set TLS up", err);
	if (tls->ca != NULL && !tls->is_unverified && load_ca(tls->ca, options, err) != 0)
		return -1;
	return tls->cert == NULL ? 0 : load_certificate(tls, options, err);
}

/* --- Who we are. */

/* cnats frees what these return, also a text of what went wrong, of which there is none. */

static natsStatus on_jwt(char **jwt, char **error, void *closure)
{
	struct link_identity *identity = closure;

	*error = NULL;
	*jwt = strdup(buf_cstr(&identity->jwt));
	return *jwt == NULL ? NATS_NO_MEMORY : NATS_OK;
}

static natsStatus on_sign(
	char **error, unsigned char **signature, int *len, const char *nonce, void *closure)
{
	struct link_identity *identity = closure;

	*error = NULL;
	return nats_Sign(buf_cstr(&identity->seed), nonce, signature, len);
}

static const char *name_of(const struct secret_settings *secret, const char *key)
{
	return secret->file != NULL ? secret->file : key;
}

static int apply_nkey(const struct secret_settings *secret, natsOptions *options,
	struct link_identity *identity, struct err *err)
{
	const char *name = name_of(secret, "nkey_seed");
	char public_key[NKEY_PUBLIC_BYTES];
	struct buf text = {0};
	struct slice seed;
	natsStatus s = NATS_OK;
	int result = secret_read(secret->value, secret->file, &text, err);

	if (result == 0 && !nkey_find_seed(buf_slice(&text), &seed))
		result = err_setf(err, "%s holds no nkey seed", name);
	if (result == 0 && nkey_public(seed, public_key, err) != 0)
		result = err_wrapf(err, "%s", name);
	if (result == 0) {
		buf_append_slice(&identity->seed, seed);
		s = natsOptions_SetNKey(options, public_key, on_sign, identity);
	}
	secret_free(&text);
	return s == NATS_OK ? result : nats_failed(s, "cannot use the nkey", err);
}

static int apply_credentials(const struct secret_settings *secret, natsOptions *options,
	struct link_identity *identity, struct err *err)
{
	const char *name = name_of(secret, "credentials");
	char public_key[NKEY_PUBLIC_BYTES];
	struct buf text = {0};
	struct slice seed, jwt;
	natsStatus s = NATS_OK;
	int result = secret_read(secret->value, secret->file, &text, err);

	if (result == 0 && !nkey_find_jwt(buf_slice(&text), &jwt))
		result = err_setf(err, "%s holds no user JWT", name);
	if (result == 0 && !nkey_find_seed(buf_slice(&text), &seed))
		result = err_setf(err, "%s holds no nkey seed", name);
	if (result == 0 && nkey_public(seed, public_key, err) != 0)
		result = err_wrapf(err, "%s", name);
	if (result == 0) {
		buf_append_slice(&identity->jwt, jwt);
		buf_append_slice(&identity->seed, seed);
		s = natsOptions_SetUserCredentialsCallbacks(
			options, on_jwt, identity, on_sign, identity);
	}
	secret_free(&text);
	return s == NATS_OK ? result : nats_failed(s, "cannot use the credentials", err);
}

/* With a user: its password; without one: a token. */
static int apply_text(const char *user, const struct secret_settings *secret, natsOptions *options,
	struct err *err)
{
	struct buf text = {0};
	char *quoted, *quoted_user;
	natsStatus s;

	if (secret_read(secret->value, secret->file, &text, err) != 0) {
		secret_free(&text);
		return -1;
	}
	quoted = link_quote(buf_slice(&text));
	quoted_user = user == NULL ? NULL : link_quote(slice_from(user));
	s = user == NULL ? natsOptions_SetToken(options, quoted)
			 : natsOptions_SetUserInfo(options, quoted_user, quoted);
	free_text(quoted);
	free(quoted_user);
	secret_free(&text);
	return s == NATS_OK ? 0 : nats_failed(s, "cannot use the password or token", err);
}

static bool is_given(const struct secret_settings *secret)
{
	return secret->value != NULL || secret->file != NULL;
}

static int apply_auth(const struct nats_auth_settings *auth, natsOptions *options,
	struct link_identity *identity, struct err *err)
{
	if (is_given(&auth->credentials))
		return apply_credentials(&auth->credentials, options, identity, err);
	if (is_given(&auth->nkey_seed))
		return apply_nkey(&auth->nkey_seed, options, identity, err);
	if (is_given(&auth->token))
		return apply_text(NULL, &auth->token, options, err);
	if (auth->user != NULL)
		return apply_text(auth->user, &auth->password, options, err);
	return 0;
}

int link_security_apply(const struct link_security *security, const char *host,
	natsOptions *options, struct link_identity *identity, struct err *err)
{
	if (apply_tls(&security->tls, host, options, err) != 0)
		return -1;
	return apply_auth(&security->auth, options, identity, err);
}

/* --- A second look. */

static void suspect_credentials(const struct secret_settings *secret, struct buf *out)
{
	struct buf text = {0};
	struct slice jwt;
	struct err err;
	int64_t expires_s;

	if (secret_read(secret->value, secret->file, &text, &err) == 0 &&
		nkey_find_jwt(buf_slice(&text), &jwt) && nkey_jwt_expiry(jwt, &expires_s) &&
		expires_s < clock_wall_ms() / 1000)
		buf_appendf(out, "; the credentials in %s have expired",
			name_of(secret, "credentials"));
	secret_free(&text);
}

static X509 *read_certificate(const char *path)
{
	struct buf text = {0};
	struct err err;
	BIO *bio;
	X509 *certificate = NULL;

	if (secret_read_file(path, &text, &err) == 0 &&
		(bio = BIO_new_mem_buf(text.ptr, (int)text.len)) != NULL) {
		certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		BIO_free(bio);
	}
	buf_free(&text);
	return certificate;
}

void link_security_suspect(const struct link_security *security, struct buf *out)
{
	const char *path = security->tls.cert;
	X509 *certificate = path == NULL ? NULL : read_certificate(path);

	if (is_given(&security->auth.credentials))
		suspect_credentials(&security->auth.credentials, out);
	if (certificate == NULL)
		return;
	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		buf_appendf(out, "; our certificate %s has expired", path);
	else if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
		buf_appendf(out, "; our certificate %s is not valid yet", path);
	X509_free(certificate);
}
