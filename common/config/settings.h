/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CONFIG_SETTINGS_H
#define PS_COMMON_CONFIG_SETTINGS_H
/*
 * The configuration as both daemons read it: one immutable value, made by settings_load from the
 * tables of keys (settings_tables.c and its like), with every error found on the way. It knows the
 * format, not what the daemons do with it. Pure but for reading the file; loop thread.
 */
#include "common/config/config.h"
#include "common/core/buf.h"
#include "common/core/err.h"
#include "common/core/labels.h"

#include <stdio.h>

enum settings_compression {
	COMPRESSION_PASSTHROUGH,
	COMPRESSION_GZIP,
	COMPRESSION_ZSTD,
	COMPRESSION_DELTA,
};
/* Whether targets are asked for gzip. */
enum settings_asking { ASK_AS_COMPRESSION_NEEDS, ASK_FOR_GZIP, ASK_FOR_IDENTITY };
enum settings_storage { STORAGE_FILE, STORAGE_MEMORY };
enum settings_discard { DISCARD_OLD, DISCARD_NEW };

/* A secret, given as it is or by a file that holds it; neither: none. */
struct secret_settings {
	char *value, *file;
};

enum settings_tls_scheme { TLS_SCHEME_MANUAL, TLS_SCHEME_FILE, TLS_SCHEME_PUPPET };

/* `tls`, of a stream or of both: as written. What it comes to is told by settings_nats_tls. */
struct nats_tls_settings {
	bool present;
	struct yaml_position position;
	enum settings_tls_scheme scheme; /* file is the original's other word for manual */
	char *identity, *ssl_dir;        /* puppet: what the paths are made of */
	char *ca, *cert, *key;           /* paths; of the key also the key itself */
	char *server_name;
	bool insecure_skip_verify;
};

/* How a stream's connection says who it is; at most one way, besides a certificate. */
struct nats_auth_settings {
	char *user;
	struct secret_settings password, token, nkey_seed, credentials;
};

/* How HTTP requests are secured, in Prometheus' words; of a job and of a sink. */
struct tls_config_settings {
	bool present;
	struct yaml_position position;
	struct secret_settings ca, cert, key; /* PEM */
	char *server_name;
	bool insecure_skip_verify;
};

struct basic_auth_settings {
	bool present;
	struct yaml_position position;
	char *username;
	struct secret_settings password;
};

struct authorization_settings {
	bool present;
	struct yaml_position position;
	char *type;
	struct secret_settings credentials;
};

struct http_header_settings {
	char *name;
	struct yaml_position position;
	struct string_list values, secrets, files;
};

struct http_client_settings {
	struct tls_config_settings tls;
	struct basic_auth_settings basic_auth;
	struct authorization_settings authorization;
	struct http_header_settings *headers;
	size_t header_count;
	char *proxy_url; /* may hold credentials */
};

/* poller_stream and receiver_stream. */
struct stream_settings {
	bool present;
	struct yaml_position position;
	struct string_list urls; /* may hold credentials: log through url_redact */
	char *stream;            /* or cluster_id */
	char *client_id;         /* receiver: names the durables; poller: its connection, or NULL */
	char *topic;             /* default "prometheus" */
	struct string_list filter; /* receiver: publishers; empty is all */
	bool legacy; /* receiver: also consume <topic>; default: `cluster_id` was used */
	bool create; /* poller: create a missing stream, with the settings below */
	enum settings_storage storage;
	enum settings_discard discard;
	int64_t stream_max_age_ms;    /* 0: no limit */
	int64_t max_msgs_per_subject; /* -1: no limit */
	int64_t max_bytes;            /* -1: no limit */
	int64_t duplicate_window_ms;
	int64_t replicas;
	struct nats_tls_settings tls;
	struct nats_auth_settings auth;
};

struct push_gateway_settings {
	struct yaml_position position;
	char *name; /* names the sink and its durable: default push_gateway, push_gateway_2, … */
	char *url;  /* may hold credentials */
	bool publisher_label;
	bool delete_stale;
	int64_t concurrency;
	int64_t timeout_ms;
	int64_t survey_interval_ms; /* 0: only at the start and after failures */
	bool utf8_names;
	struct http_client_settings http;
};

struct federate_settings {
	struct yaml_position position;
	char *name;
	char *listen; /* for settings_split_listen */
	bool publisher_label;
	char *web_config_file; /* NULL: open to anybody */
	int64_t max_concurrent_requests;
};

enum remote_write_message { REMOTE_WRITE_V1, REMOTE_WRITE_V2 };

struct remote_write_queue_settings {
	int64_t capacity; /* samples of a shard */
	int64_t min_shards, max_shards;
	int64_t max_samples_per_send;
	int64_t batch_send_deadline_ms;
	int64_t min_backoff_ms, max_backoff_ms;
	bool retry_on_http_429;
	int64_t sample_age_limit_ms; /* 0: none */
};

struct remote_write_metadata_settings {
	bool send;
	int64_t send_interval_ms;
	int64_t max_samples_per_send;
};

struct remote_write_settings {
	struct yaml_position position;
	char *name; /* names the sink and its durable: default remote_write, remote_write_2, … */
	char *url;  /* may hold credentials */
	enum remote_write_message protobuf_message;
	int64_t remote_timeout_ms;
	int64_t max_age_ms; /* 0: off */
	bool publisher_label;
	struct remote_write_queue_settings queue;
	struct remote_write_metadata_settings metadata;
	struct http_client_settings http;
};

struct victoriametrics_settings {
	struct yaml_position position;
	char *name;
	char *url; /* may hold credentials */
	bool publisher_label;
	int64_t max_samples_per_send;
	int64_t batch_send_deadline_ms;
	int64_t concurrency;
	int64_t timeout_ms;
	int64_t min_backoff_ms, max_backoff_ms;
	int64_t max_age_ms; /* 0: off */
	struct http_client_settings http;
};

enum files_compression { FILES_PLAIN, FILES_ZSTD };

struct files_settings {
	struct yaml_position position;
	char *name;
	char *dir;
	enum files_compression compression;
	int64_t retention_age_ms; /* 0: no limit */
	uint64_t retention_bytes; /* 0: no limit */
	int64_t max_age_ms;       /* 0: off */
};

/* Each with a list in struct settings and a row in settings_sinks.c. */
enum settings_sink_kind {
	SINK_PUSH_GATEWAY,
	SINK_FEDERATE,
	SINK_REMOTE_WRITE,
	SINK_VICTORIAMETRICS,
	SINK_FILES,
	SINK_KIND_COUNT,
};

/* A query parameter: one name, its values in order. */
struct param_settings {
	char *name;
	struct string_list values;
};

struct target_settings {
	struct yaml_position position;
	char *url; /* whole, with path and params, ready to be fetched */
	char *instance;
	struct labels labels; /* other than job and instance */
};

/* An element of `targets`, as written (a `url` may lack its path). */
struct written_target {
	struct yaml_position position;
	char *name, *url;
	struct labels labels;
};

/* One host:port of static_configs, as written. */
struct written_address {
	struct yaml_position position;
	char *address;
};

/* An element of `static_configs`, as written. */
struct written_group {
	struct written_address *addresses;
	size_t address_count;
	struct labels labels;
};

struct job_settings {
	struct yaml_position position;
	char *name;
	int64_t scrape_interval_ms;
	int64_t scrape_timeout_ms;
	char *metrics_path;
	char *scheme;
	struct param_settings *params;
	size_t param_count;
	uint64_t body_size_limit_bytes; /* decoded; 0: no limit */
	bool honor_labels;
	enum settings_asking enable_compression;
	struct http_client_settings http;
	struct target_settings *targets; /* of both spellings below, in that order */
	size_t target_count;
	struct written_target *written_targets;
	size_t written_target_count;
	struct written_group *written_groups;
	size_t written_group_count;
};

enum settings_role { SETTINGS_FOR_POLLER, SETTINGS_FOR_RECEIVER };

/* The other daemon's parts are read too, but their ${VAR}s stay as they are: not for use. */
struct settings {
	size_t refs; /* beyond the first */
	char *path;  /* the file it came from */
	enum settings_role role;
	bool verbose, debug;
	char *logfile;  /* NULL: stderr */
	char *identity; /* the publisher */
	int64_t scrape_interval_ms, scrape_timeout_ms;
	uint64_t body_size_limit_bytes;
	char *metrics_path, *scheme; /* what jobs inherit, like the three above */
	struct param_settings *params;
	size_t param_count;
	bool honor_labels;
	enum settings_asking enable_compression;
	int64_t max_age_ms; /* 0: off */
	enum settings_compression compression;
	int64_t keyframe_interval_ms; /* 0: by the scrape interval */
	uint64_t keyframe_memory_bytes;
	char *monitor_address;
	int monitor_port;      /* 0: none */
	char *web_config_file; /* of the monitor port; NULL: open to anybody */
	int64_t shutdown_timeout_ms;
	uint64_t queue_bytes;       /* poller: scrapes waiting for NATS */
	int64_t max_unacked;        /* poller: publishes without a PubAck */
	uint64_t max_message_bytes; /* 0: what the server takes */
	uint64_t max_scrape_bytes;  /* receiver: a decoded body */
	int64_t max_targets_per_publisher;
	uint64_t max_publisher_bytes;
	struct stream_settings poller_stream, receiver_stream;
	struct nats_tls_settings tls; /* of the stream that has none of its own */
	struct push_gateway_settings *push_gateways;
	size_t push_gateway_count;
	struct federate_settings *federates;
	size_t federate_count;
	struct remote_write_settings *remote_writes;
	size_t remote_write_count;
	struct victoriametrics_settings *victoriametrics;
	size_t victoriametrics_count;
	struct files_settings *files;
	size_t files_count;
	struct job_settings *jobs;
	size_t job_count;
};

/*
 * Reads and judges the file for one daemon. NULL if anything is wrong: `report` then holds every
 * error, one "file:line:column: …" line each, in the order of the file. Warnings are "… warning: …"
 * lines, present also on success. Free with settings_free. It keeps nothing from one call to the
 * next: another thread than the loop's may call it.
 */
struct settings *settings_load(
	const char *path, enum settings_role role, struct buf *report) MUST_CHECK;

/* The same over bytes; `path` only names them. For tests and fuzzing. */
struct settings *settings_parse(const char *path, struct slice yaml, enum settings_role role,
	struct buf *report) MUST_CHECK;
/* One more reference; settings_free gives one up. Loop thread. */
struct settings *settings_ref(struct settings *settings);
void settings_free(struct settings *settings);

/*
 * What `fresh` changes of what is in use, key by key (jobs as a whole), for `on_change`. Keys that
 * need a restart are set back in `fresh` to what they are.
 */
void settings_reconcile(const struct settings *current, struct settings *fresh,
	void (*on_change)(void *arg, const char *key, bool needs_restart), void *arg);

/* --check-config: what was understood, for people. */
void settings_describe(const struct settings *settings, enum settings_role role, struct buf *out);

/* --print-config: YAML that loads to the same settings, every key with its effective value, secrets
 * as url_redact shows them. */
void settings_print(const struct settings *settings, struct buf *out);

/* Whether requests are secured alike. */
bool settings_http_is_equal(
	const struct http_client_settings *a, const struct http_client_settings *b);

/* The files and rules of a stream's TLS, worked out; freed by settings_nats_tls_fini. */
struct nats_tls {
	bool wanted;       /* false: TLS only where the URL or the server asks for it */
	char *ca;          /* a path; NULL: the system's */
	char *cert, *key;  /* paths, or both NULL; a key may be the key itself */
	char *server_name; /* expected in the certificate; NULL: the host connected to */
	bool is_unverified;
};
void settings_nats_tls(const struct settings *settings, const struct stream_settings *stream,
	struct nats_tls *tls);
void settings_nats_tls_fini(struct nats_tls *tls);

/* All sinks of the receiver, kind by kind. What is borrowed is so from the settings. */
struct settings_sink {
	enum settings_sink_kind kind;
	const char *name;
	struct yaml_position position;
	const void *own; /* a struct <kind>_settings */
};
size_t settings_sink_count(const struct settings *settings);
struct settings_sink settings_sink_at(const struct settings *settings, size_t index);

/* An IP address, without brackets, and a port out of "address:port". -1 and `err` if it is none. */
struct settings_listen {
	char address[64];
	int port;
};
int settings_split_listen(
	const char *listen, struct settings_listen *parts, struct err *err) MUST_CHECK;

/* The durable's name of a sink: <client_id>_<sink>, or <client_id>_<sink>_<suffix>, where the
 * suffix is "legacy" or the token (wire_escape) of a publisher. To be freed by the caller. */
char *settings_durable_name(const struct stream_settings *stream, const char *sink,
	const char *suffix_or_null) MUST_CHECK;

/* Adds the durables of all sinks that have any: one for each publisher of `filter`, or one for all,
 * and one more for the original's format where that is on. */
void settings_durables(const struct settings *settings, struct string_list *out);

/* A page for people: every key with its type, default and help, from the table. */
void settings_write_keys(struct buf *out);

/* The same in the markup of man(7). */
void settings_write_manual(struct buf *out);

#endif
