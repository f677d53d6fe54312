/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CONFIG_SETTINGS_SECURITY_H
#define PS_COMMON_CONFIG_SETTINGS_SECURITY_H
/*
 * Rows that several tables share: what secures a connection. With the shorthand that all tables of
 * the settings are written in. For settings*.c only.
 */
#include "common/config/settings_internal.h"

#define COUNTED(s, m) .count_offset = offsetof(s, m)
#define KEYS(rows)    .keys = (rows), .key_count = ARRAY_LEN(rows)
#define NO_NAME       .name_offset = CONFIG_NOWHERE
#define NO_POSITION   .position_offset = CONFIG_NOWHERE
#define NO_PRESENT    .present_offset = CONFIG_NOWHERE
#define POSITION(s)   .position_offset = offsetof(s, position)
#define PRESENT(s)    .present_offset = offsetof(s, present)

/* A text that is a secret as a whole. */
#define SECRET_KEY(key_name, type_, member, more_flags, what)                                      \
	{                                                                                          \
		.name = (key_name), .type = CONFIG_STRING, CONFIG_AT(type_, member),               \
		.flags = CONFIG_EXPAND | CONFIG_HIDDEN | (more_flags), .check = check_secret,      \
		.help = (what)                                                                     \
	}

/* A path of a file that is read again where it has changed. */
#define FILE_KEY(key_name, type_, member, more_flags, what)                                        \
	{                                                                                          \
		.name = (key_name), .type = CONFIG_STRING, CONFIG_AT(type_, member),               \
		.flags = CONFIG_EXPAND | (more_flags), .check = check_path, .help = (what)         \
	}

/* Of poller_stream and receiver_stream. */
#define NATS_SECURITY_KEYS                                                                         \
	{.name = "tls",                                                                            \
		.type = CONFIG_SECTION,                                                            \
		CONFIG_AT(struct stream_settings, tls),                                            \
		.flags = CONFIG_RESTART,                                                           \
		.fallback_note = "the top level's",                                                \
		.table = &nats_tls_table,                                                          \
		.help = "TLS of this connection."},                                                \
		{.name = "user",                                                                   \
			.type = CONFIG_STRING,                                                     \
			CONFIG_AT(struct stream_settings, auth.user),                              \
			.flags = CONFIG_EXPAND | CONFIG_RESTART,                                   \
			.check = check_secret,                                                     \
			.help = "The user, with `password` or `password_file`."},                  \
		SECRET_KEY("password", struct stream_settings, auth.password.value,                \
			CONFIG_RESTART, "The user's password."),                                   \
		FILE_KEY("password_file", struct stream_settings, auth.password.file,              \
			CONFIG_RESTART,                                                            \
			"A file that holds the password; read at each connection."),               \
		SECRET_KEY("token", struct stream_settings, auth.token.value, CONFIG_RESTART,      \
			"A token instead of user and password."),                                  \
		FILE_KEY("token_file", struct stream_settings, auth.token.file, CONFIG_RESTART,    \
			"A file that holds the token; read at each connection."),                  \
		SECRET_KEY("nkey_seed", struct stream_settings, auth.nkey_seed.value,              \
			CONFIG_RESTART, "The seed (SU…) of the user's nkey."),                     \
		FILE_KEY("nkey_seed_file", struct stream_settings, auth.nkey_seed.file,            \
			CONFIG_RESTART, "A file that holds the seed; read at each connection."),   \
		SECRET_KEY("credentials", struct stream_settings, auth.credentials.value,          \
			CONFIG_RESTART,                                                            \
			"What a .creds file holds: the user's JWT and nkey seed."),                \
		FILE_KEY("credentials_file", struct stream_settings, auth.credentials.file,        \
			CONFIG_RESTART, "A .creds file; read at each connection.")

/* Of a job and of a sink, whose struct has a member `http`. `more_flags`: of each row. */
#define HTTP_CLIENT_KEYS(type_, more_flags)                                                        \
	{.name = "tls_config",                                                                     \
		.type = CONFIG_SECTION,                                                            \
		CONFIG_AT(type_, http.tls),                                                        \
		.flags = (more_flags),                                                             \
		.table = &tls_config_table,                                                        \
		.help = "TLS of https requests."},                                                 \
		{.name = "basic_auth",                                                             \
			.type = CONFIG_SECTION,                                                    \
			CONFIG_AT(type_, http.basic_auth),                                         \
			.flags = (more_flags),                                                     \
			.table = &basic_auth_table,                                                \
			.help = "A user and password sent with each request."},                    \
		{.name = "authorization",                                                          \
			.type = CONFIG_SECTION,                                                    \
			CONFIG_AT(type_, http.authorization),                                      \
			.flags = (more_flags),                                                     \
			.table = &authorization_table,                                             \
			.help = "A token sent with each request."},                                \
		{.name = "http_headers",                                                           \
			.type = CONFIG_MAP,                                                        \
			CONFIG_AT(type_, http.headers),                                            \
			COUNTED(type_, http.header_count),                                         \
			.flags = (more_flags),                                                     \
			.table = &http_header_table,                                               \
			.help = "Further headers of each request, by name."},                      \
	{                                                                                          \
		.name = "proxy_url", .type = CONFIG_STRING, CONFIG_AT(type_, http.proxy_url),      \
		.flags = CONFIG_EXPAND | CONFIG_SECRET | (more_flags), .check = check_proxy_url,   \
		.help = "The proxy that requests go through: http://, https://, socks5:// or "     \
			"socks5h://. Proxies of the environment are not used."                     \
	}

int check_secret(const char *text, struct err *err);

/* A secret given twice, or in two ways, is an error. `a`, `b` are keys of the object. */
bool check_one_of(struct config_object *object, const char *a, const char *b);

#endif
