/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_WEBCONFIG_H
#define PS_COMMON_LOOP_WEBCONFIG_H
/*
 * A web.config.file of Prometheus' format, and the files that it names, as they were when read. A
 * key that is not known here is an error that names it. Immutable once loaded. Loading blocks: any
 * thread but the loop's once it runs.
 */
#include "common/config/config.h"
#include "common/core/file_stamp.h"

/* In the order of their names; the last is the older name of WEB_CERT_ANY. */
enum web_client_auth {
	WEB_CERT_NONE,
	WEB_CERT_ASKED,
	WEB_CERT_ANY,
	WEB_CERT_VERIFIED_IF_GIVEN,
	WEB_CERT_VERIFIED,
	WEB_CERT_ANY_TOO,
};

struct web_user {
	char *name, *hash;
};

struct web_tls {
	bool present;
	char *cert_file, *key_file, *cert, *key;
	char *client_ca_file, *client_ca;
	enum web_client_auth client_auth;
};

struct web_config {
	struct web_tls tls;
	struct web_user *users;
	size_t user_count;
	struct buf cert, key, client_ca; /* PEM; empty without */
	struct string_list files;        /* all that were read */
	struct file_stamp *stamps;       /* of them, from before */
};

/* -1 and `err`, which quotes no secret; `config`, zeroed before, is to be freed either way. */
int web_config_load(struct web_config *config, const char *path, struct err *err) MUST_CHECK;
void web_config_fini(struct web_config *config);

/* Whether any of its files is not as it was read. Blocks. */
bool web_config_has_changed(const struct web_config *config);

#endif
