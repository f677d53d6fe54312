/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures in words that a person understands. They end up in logs and, as a scrape's error, on the
 * bus: nothing of a URL but its host may be in them, since it may hold a password.
 */
#include "common/loop/fetch_internal.h"

#include "common/core/units.h"

#include <ctype.h>
#include <stdio.h>

void fetch_say(struct fetch_result *result, const char *prefix, const char *text)
{
	char *error = result->error;

	snprintf(error, sizeof(result->error), "%s%s", prefix, text);
	if (prefix[0] == '\0' && error[0] != '\0' && !isupper((unsigned char)error[1]))
		error[0] = (char)tolower((unsigned char)error[0]);
	for (char *at = error; *at != '\0'; at++)
		if (iscntrl((unsigned char)*at))
			*at = '?';
}

static void say_errno(struct fetch_transfer *transfer, CURLcode code)
{
	long os_errno = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &os_errno);
	fetch_say(&transfer->result, "",
		os_errno != 0 ? strerror((int)os_errno) : curl_easy_strerror(code));
}

/* The host of the last URL asked, redirects included, and nothing else of it. */
static void say_no_such_host(struct fetch_transfer *transfer, CURLcode code)
{
	CURLU *parts = curl_url();
	char *url = NULL, *host = NULL;

	(void)code;
	curl_easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &url);
	if (url != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK)
		(void)curl_url_get(parts, CURLUPART_HOST, &host, 0);
	fetch_say(&transfer->result, "no such host: ", host != NULL ? host : "?");
	curl_free(host);
	curl_url_cleanup(parts);
}

static void say_timed_out(struct fetch_transfer *transfer, CURLcode code)
{
	struct buf after = {0};

	(void)code;
	transfer->result.outcome = FETCH_TIMED_OUT;
	units_format_duration(transfer->timeout_ms, &after);
	fetch_say(&transfer->result, "timed out after ", buf_cstr(&after));
	buf_free(&after);
}

static void say_overflow(struct fetch_transfer *transfer, CURLcode code)
{
	struct buf text = {0};

	switch (transfer->overflow) {
	case NO_OVERFLOW:
		buf_append_str(&text, curl_easy_strerror(code));
		break;
	case BODY_OVERFLOW:
		transfer->result.outcome = FETCH_TOO_LARGE;
		buf_append_str(&text, "body exceeds ");
		units_format_size(transfer->limit_bytes, &text);
		break;
	case HEADER_OVERFLOW:
		buf_append_str(&text, "headers exceed ");
		units_format_size(FETCH_MAX_HEADER_BYTES, &text);
		break;
	case SECRETS_OVERFLOW:
		buf_append_str(&text, "redirected to another host, which is not for the secrets "
				      "of http_headers");
		break;
	}
	fetch_say(&transfer->result, "", buf_cstr(&text));
	buf_free(&text);
}

/* curl has one code for a URL's (or redirect's) scheme and for an answer without a status line. */
static void say_unsupported(struct fetch_transfer *transfer, CURLcode code)
{
	(void)code;
	fetch_say(&transfer->result, "",
		strstr(transfer->curl_error, "HTTP/0.9") != NULL ? "answer is not HTTP"
								 : "neither http nor https");
}

/* curl's longer text, which names a certificate's fault or a host, but never a URL. */
static void say_tls(struct fetch_transfer *transfer, CURLcode code)
{
	const char *text = transfer->curl_error;

	fetch_say(&transfer->result, "TLS: ", text[0] != '\0' ? text : curl_easy_strerror(code));
}

static const struct wording {
	CURLcode code;
	const char *text; /* or */
	void (*say)(struct fetch_transfer *transfer, CURLcode code);
} wordings[] = {
	{CURLE_OPERATION_TIMEDOUT, NULL, say_timed_out},
	{CURLE_COULDNT_CONNECT, NULL, say_errno},
	{CURLE_SEND_ERROR, NULL, say_errno},
	{CURLE_RECV_ERROR, NULL, say_errno},
	{CURLE_COULDNT_RESOLVE_HOST, NULL, say_no_such_host},
	{CURLE_WRITE_ERROR, NULL, say_overflow},
	{CURLE_GOT_NOTHING, "empty reply", NULL},
	{CURLE_PARTIAL_FILE, "connection closed before the end of the body", NULL},
	{CURLE_TOO_MANY_REDIRECTS, "too many redirects", NULL},
	{CURLE_URL_MALFORMAT, "malformed URL", NULL},
	{CURLE_UNSUPPORTED_PROTOCOL, NULL, say_unsupported},
	{CURLE_WEIRD_SERVER_REPLY, "answer is not HTTP", NULL},
	{CURLE_SSL_CONNECT_ERROR, NULL, say_tls},
	{CURLE_SSL_CERTPROBLEM, NULL, say_tls},
	{CURLE_SSL_CIPHER, NULL, say_tls},
	{CURLE_SSL_CACERT_BADFILE, NULL, say_tls},
	{CURLE_SSL_ISSUER_ERROR, NULL, say_tls},
	{CURLE_PEER_FAILED_VERIFICATION, NULL, say_tls},
};

/* Texts not in the table are curl's fixed ones: its longer ones may quote the URL. */
void fetch_word_failure(struct fetch_transfer *transfer, CURLcode code)
{
	transfer->result.outcome = FETCH_FAILED;
	for (size_t i = 0; i < ARRAY_LEN(wordings); i++) {
		if (wordings[i].code != code)
			continue;
		if (wordings[i].say != NULL)
			wordings[i].say(transfer, code);
		else
			fetch_say(&transfer->result, "", wordings[i].text);
		return;
	}
	fetch_say(&transfer->result, "", curl_easy_strerror(code));
}
