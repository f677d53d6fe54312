/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd takes one certificate for its life, and verifies nobody: so each session is given
 * credentials of ours before its handshake, in which GnuTLS then asks and judges.
 */
#include "common/loop/webtls.h"

#include "common/core/secret.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#define OWN_SECONDS (100L * 365 * 24 * 3600)

struct webtls {
	size_t refs;
	gnutls_certificate_credentials_t credentials;
	gnutls_certificate_request_t request;
};

/* --- Our own certificate. */

static bool set_names(X509 *cert)
{
	unsigned char serial[8];
	X509_NAME *name = X509_get_subject_name(cert);
	BIGNUM *number;
	bool done;

	if (RAND_bytes(serial, sizeof(serial)) != 1 ||
		(number = BN_bin2bn(serial, sizeof(serial), NULL)) == NULL)
		return false;
	done = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
		       (const unsigned char *)"prometheus-streams itself", -1, -1, 0) == 1 &&
	       X509_set_issuer_name(cert, name) == 1;
	BN_free(number);
	return done;
}

static bool set_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
	bool done = extension != NULL && X509_add_ext(cert, extension, -1) == 1;

	X509_EXTENSION_free(extension);
	return done;
}

/* Clocks may be set while it is in use. */
static bool fill(X509 *cert, EVP_PKEY *key)
{
	return X509_set_version(cert, 2) == 1 && set_names(cert) &&
	       X509_gmtime_adj(X509_getm_notBefore(cert), -OWN_SECONDS / 10) != NULL &&
	       X509_gmtime_adj(X509_getm_notAfter(cert), OWN_SECONDS) != NULL &&
	       X509_set_pubkey(cert, key) == 1 &&
	       set_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       set_extension(cert, NID_ext_key_usage, "clientAuth") &&
	       X509_sign(cert, key, EVP_sha256()) > 0;
}

static void take(BIO *bio, struct buf *out)
{
	char *text;
	long len = BIO_get_mem_data(bio, &text);

	buf_append(out, text, (size_t)len);
	OPENSSL_cleanse(text, (size_t)len);
}

static bool write_pem(struct webtls_own *own, X509 *cert, EVP_PKEY *key)
{
	BIO *cert_bio = BIO_new(BIO_s_mem()), *key_bio = BIO_new(BIO_s_mem());
	bool done = cert_bio != NULL && key_bio != NULL &&
		    PEM_write_bio_X509(cert_bio, cert) == 1 &&
		    PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) == 1;

	if (done) {
		take(cert_bio, &own->cert);
		take(key_bio, &own->key);
	}
	BIO_free(cert_bio);
	BIO_free(key_bio);
	return done;
}

int webtls_own_init(struct webtls_own *own, struct err *err)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	int result = 0;

	*own = (struct webtls_own){.cert = {0}};
	if (key == NULL || cert == NULL || !fill(cert, key) || !write_pem(own, cert, key))
		result = err_setf(err, "cannot make a certificate of our own");
	X509_free(cert);
	EVP_PKEY_free(key);
	return result;
}

void webtls_own_fini(struct webtls_own *own)
{
	buf_free(&own->cert);
	secret_free(&own->key);
}

/* --- Credentials. */

static gnutls_datum_t datum(const struct buf *bytes)
{
	return (gnutls_datum_t){(unsigned char *)bytes->ptr, (unsigned)bytes->len};
}

/* Whether there must be one was judged before. */
static int verify_client(gnutls_session_t session)
{
	gnutls_typed_vdata_st purpose = {
		GNUTLS_DT_KEY_PURPOSE_OID, (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT, 0};
	unsigned count = 0, status = 0;

	if (gnutls_certificate_get_peers(session, &count) == NULL || count == 0)
		return 0;
	if (gnutls_certificate_verify_peers(session, &purpose, 1, &status) != 0 || status != 0)
		return GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
	return 0;
}

static int ask_clients(struct webtls *tls, const struct web_config *config,
	const struct webtls_own *own, struct err *err)
{
	static const gnutls_certificate_request_t requests[] = {
		[WEB_CERT_NONE] = GNUTLS_CERT_IGNORE,
		[WEB_CERT_ASKED] = GNUTLS_CERT_REQUEST,
		[WEB_CERT_ANY] = GNUTLS_CERT_REQUIRE,
		[WEB_CERT_VERIFIED_IF_GIVEN] = GNUTLS_CERT_REQUEST,
		[WEB_CERT_VERIFIED] = GNUTLS_CERT_REQUIRE,
		[WEB_CERT_ANY_TOO] = GNUTLS_CERT_REQUIRE,
	};
	enum web_client_auth auth = config->tls.client_auth;
	gnutls_datum_t ca = datum(&config->client_ca), ours = datum(&own->cert);

	tls->request = requests[auth];
	if (auth != WEB_CERT_VERIFIED && auth != WEB_CERT_VERIFIED_IF_GIVEN)
		return 0;
	if (gnutls_certificate_set_x509_trust_mem(tls->credentials, &ca, GNUTLS_X509_FMT_PEM) <= 0)
		return err_setf(err, "cannot use the client_ca_file: it holds no certificate");
	if (gnutls_certificate_set_x509_trust_mem(tls->credentials, &ours, GNUTLS_X509_FMT_PEM) <=
		0)
		return err_setf(err, "cannot trust ourselves");
	gnutls_certificate_set_verify_function(tls->credentials, verify_client);
	return 0;
}

struct webtls *webtls_new(
	const struct web_config *config, const struct webtls_own *own, struct err *err)
{
	struct webtls *tls = xcalloc(1, sizeof(*tls));
	gnutls_datum_t cert = datum(&config->cert), key = datum(&config->key);
	int status;

	tls->refs = 1;
	if (gnutls_certificate_allocate_credentials(&tls->credentials) != 0)
		abort(); /* out of memory, as in mem.h */
	status = gnutls_certificate_set_x509_key_mem(
		tls->credentials, &cert, &key, GNUTLS_X509_FMT_PEM);
	if (status >= 0 && ask_clients(tls, config, own, err) == 0)
		return tls;
	if (status < 0)
		err_setf(
			err, "cannot use the certificate and its key: %s", gnutls_strerror(status));
	webtls_unref(tls);
	return NULL;
}

struct webtls *webtls_ref(struct webtls *tls)
{
	tls->refs++;
	return tls;
}

void webtls_unref(struct webtls *tls)
{
	if (tls == NULL || --tls->refs > 0)
		return;
	gnutls_certificate_free_credentials(tls->credentials);
	free(tls);
}

void webtls_apply(struct webtls *tls, struct gnutls_session_int *session)
{
	gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->credentials);
	gnutls_certificate_server_set_request(session, tls->request);
}
