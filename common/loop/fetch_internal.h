/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_FETCH_INTERNAL_H
#define PS_COMMON_LOOP_FETCH_INTERNAL_H
/*
 * What fetch's own files share: one transfer, how it is told to curl, and its failure in words.
 * Included by nobody else. Loop thread.
 */
#include "common/config/settings.h"
#include "common/loop/fetch.h"

#include <curl/curl.h>

#include <sys/queue.h>

#define FETCH_MAX_HEADER_BYTES ((size_t)300 << 10) /* of an answer, all redirects together */

/* Why we ended it ourselves; curl then only says "write error". */
enum fetch_overflow { NO_OVERFLOW, BODY_OVERFLOW, HEADER_OVERFLOW, SECRETS_OVERFLOW };

struct fetch_direct_peer;

struct fetch_transfer {
	TAILQ_ENTRY(fetch_transfer) link;
	struct fetch_list *list; /* the one it is in */
	struct fetch *fetch;
	struct fetch_request request; /* its URL is `url` */
	struct buf url;
	struct fetch_direct_peer *peer; /* NULL unless it goes directly, then shard is */
	uint64_t deadline_ms;           /* by the loop's clock, of one that goes directly */
	TAILQ_ENTRY(fetch_transfer) deadline_link;
	struct fetch_shard *shard; /* of its host; in no other multi handle */
	CURL *easy;                /* NULL until it goes by libcurl */
	struct curl_slist *headers;
	struct curl_slist *connect_to;
	struct fetch_material *material; /* a reference; NULL without a client */
	char curl_error[CURL_ERROR_SIZE];
	fetch_callback callback;
	void *arg;
	uint64_t start_us;
	int64_t timeout_ms;
	size_t limit_bytes;
	size_t header_bytes;
	enum fetch_overflow overflow;
	struct fetch_result result;
};

/* Sets what is the same for every request. `user_agent` is copied and may be NULL. */
void fetch_easy_set_up(struct fetch_transfer *transfer, const char *user_agent);

/* Sets its request, for so much time. -1: the result says why it cannot be made. */
int fetch_easy_set_request(struct fetch_transfer *transfer, int64_t timeout_ms) MUST_CHECK;

/* Keeps a header that a result has room for. */
void fetch_keep_header(struct fetch_result *result, struct slice name, struct slice value);

/* Drops what was kept of an answer's headers. */
void fetch_forget_headers(struct fetch_result *result);

/* Sets outcome and error from what curl returned, which is not CURLE_OK. */
void fetch_word_failure(struct fetch_transfer *transfer, CURLcode code);

/* Sets the error: control characters replaced, "Like this" begun in lower case, "SSL" left alone.
 */
void fetch_say(struct fetch_result *result, const char *prefix, const char *text);

/* --- What requests are secured with (fetch_client.c). */

struct fetch_material {
	size_t refs;
	const struct http_client_settings *settings;
	struct buf ca, cert, key; /* PEM */
	struct string_list headers;
	bool is_for_one_host; /* libcurl would send the secret ones wherever it is redirected */
	struct err error;     /* why it cannot be used; "" */
};
void fetch_material_unref(struct fetch_material *material);

struct fetch_clients;
struct fetch_clients *fetch_clients_new(void);
struct fetch_client *fetch_clients_add(struct fetch_clients *clients, uv_loop_t *loop,
	const struct http_client_settings *settings);
void fetch_clients_close(struct fetch_clients *clients, void (*on_closed)(void *arg), void *arg);

/* What it has now; a reference for the caller. */
struct fetch_material *fetch_client_material(struct fetch_client *client);

/* Sets what transfer->material says. -1: the result says why it cannot be used. */
int fetch_client_apply(struct fetch_transfer *transfer, const char *url) MUST_CHECK;

void fetch_add_header(struct fetch_transfer *transfer, const char *header);

#endif
