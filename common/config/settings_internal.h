/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CONFIG_SETTINGS_INTERNAL_H
#define PS_COMMON_CONFIG_SETTINGS_INTERNAL_H
/*
 * What the parts of the settings share: the tables of keys, and the checks that they name. For
 * settings*.c and their tests only.
 */
#include "common/config/settings.h"

#define SETTINGS_AUDIENCE(role) (1u << (role))
#define NAME_MAX_LEN            64 /* of what durables are named after: NATS takes 255 bytes in all */

/* The whole file: a struct settings. */
extern const struct config_table settings_table;

/* Of streams (settings_streams.c), and of sinks, each in a file of its own. */
extern const struct config_table poller_stream_table, receiver_stream_table;
extern const struct config_table push_gateway_table, federate_table, remote_write_table,
	victoriametrics_table, files_table;

/* Of single texts (settings_values.c); they quote nothing that may be secret. */
int check_label_name(const char *name, struct err *err);
int check_name(const char *name, struct err *err); /* job, instance, publisher: fits a subject */
int check_durable_part(const char *name, struct err *err); /* client_id, names of sinks */
int check_stream_name(const char *name, struct err *err);
int check_topic(const char *topic, struct err *err);
int check_nats_url(const char *url, struct err *err);
int check_http_url(const char *url, struct err *err);
int check_gateway_url(const char *url, struct err *err);
int check_victoriametrics_url(const char *url, struct err *err);
int check_address(const char *address, struct err *err); /* of static_configs */
int check_scheme(const char *scheme, struct err *err);
int check_metrics_path(const char *path, struct err *err);
int check_ip_address(const char *address, struct err *err);

int check_path(const char *path, struct err *err);

/* Of all kinds of sinks (settings_sinks.c). */
void settings_name_sinks(struct settings *settings); /* those that have no name */
void settings_write_sink_kinds(struct buf *out);     /* "push_gateway, … or files" */
const char *settings_sink_key(enum settings_sink_kind kind);
void settings_describe_sink(const struct settings_sink *sink, struct buf *out); /* a line */

/* Of connections (settings_security.c). */
extern const struct config_table nats_tls_table;
extern const struct config_table tls_config_table, basic_auth_table, authorization_table,
	http_header_table;
int check_proxy_url(const char *url, struct err *err);
void check_http_client(struct config_object *object); /* of what has HTTP_CLIENT_KEYS */
void check_nats_auth(struct config_object *object);   /* of a stream_settings */

/* Of whole structs (settings_check.c, settings_jobs.c). */
void check_settings(struct config_object *object);
void check_global(struct config_object *object);
void check_poller_stream(struct config_object *object);
void check_receiver_stream(struct config_object *object);
void check_job(struct config_object *object);
void job_fini(void *job);

/* The timeout that jobs inherit: the global one, else the default within the interval. */
int64_t global_timeout_ms(const struct settings *settings);

#endif
