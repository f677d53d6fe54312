/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request told to an easy handle, and its answer taken in: bounded while it arrives, headers
 * picked, the body kept as it came over the wire.
 */
#include "common/loop/fetch_internal.h"

#include <ctype.h>
#include <strings.h>

#define MAX_REDIRECTS           10
#define MAX_FIRST_RESERVE_BYTES ((size_t)1 << 20)
#define MAX_RETRY_AFTER_S       86400
#define PROTOCOLS               "http,https"

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
	struct fetch_transfer *transfer = arg;
	struct buf *body = &transfer->result.body;
	size_t len = size * count;
	curl_off_t announced = -1;

	if (transfer->request.cuts_body && len > transfer->limit_bytes - body->len) {
		buf_append(body, bytes, transfer->limit_bytes - body->len);
		return len;
	}
	if (len > transfer->limit_bytes - body->len) {
		transfer->overflow = BODY_OVERFLOW;
		return 0;
	}
	if (body->len == 0) {
		curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
		if (announced > 0 && (size_t)announced <= MAX_FIRST_RESERVE_BYTES &&
			(size_t)announced <= transfer->limit_bytes)
			buf_reserve(body, (size_t)announced);
	}
	buf_append(body, bytes, len);
	return len;
}

void fetch_forget_headers(struct fetch_result *result)
{
	result->content_type[0] = '\0';
	result->content_encoding[0] = '\0';
	result->answer_header[0] = '\0';
	result->retry_after_ms = -1;
}

/* The first of a name counts, as trailers pass here too. What is not ASCII text becomes '?'. */
static void keep_text(char *kept, size_t size, struct slice value)
{
	size_t len = value.len < size ? value.len : size - 1;

	if (kept[0] != '\0')
		return;
	for (size_t i = 0; i < len; i++)
		kept[i] = isprint((unsigned char)value.ptr[i]) ? value.ptr[i] : '?';
	kept[len] = '\0';
}

/* Lines of a list are one list, of which more than one coding must not look like one. */
static void keep_list(char *kept, size_t size, struct slice value)
{
	size_t len = strlen(kept);

	if (len > 0 && value.len > 0 && len + 2 < size) {
		kept[len++] = ',';
		kept[len] = '\0';
	}
	keep_text(kept + len, size - len, value);
}

static int64_t parse_seconds(struct slice text)
{
	int64_t seconds = 0;

	if (text.len == 0)
		return -1;
	for (size_t i = 0; i < text.len; i++) {
		if (!isdigit((unsigned char)text.ptr[i]))
			return -1;
		seconds = seconds * 10 + (text.ptr[i] - '0');
		if (seconds > MAX_RETRY_AFTER_S)
			seconds = MAX_RETRY_AFTER_S;
	}
	return seconds;
}

/* From now to the date, not below 0; -1 where it is none. */
static int64_t parse_date(struct slice text)
{
	char date[64];
	time_t at, now = time(NULL);

	if (text.len == 0 || text.len >= sizeof(date))
		return -1;
	memcpy(date, text.ptr, text.len);
	date[text.len] = '\0';
	at = curl_getdate(date, NULL);
	if (at < 0)
		return -1;
	if (at <= now)
		return 0;
	return at - now < MAX_RETRY_AFTER_S ? at - now : MAX_RETRY_AFTER_S;
}

static int64_t parse_retry_after_ms(struct slice text)
{
	int64_t seconds = parse_seconds(text);

	if (seconds < 0)
		seconds = parse_date(text);
	return seconds < 0 ? -1 : seconds * 1000;
}

void fetch_keep_header(struct fetch_result *result, struct slice name, struct slice value)
{
	if (name.len == 12 && strncasecmp(name.ptr, "Content-Type", 12) == 0)
		keep_text(result->content_type, sizeof(result->content_type), value);
	else if (name.len == 16 && strncasecmp(name.ptr, "Content-Encoding", 16) == 0)
		keep_list(result->content_encoding, sizeof(result->content_encoding), value);
	else if (name.len == 11 && strncasecmp(name.ptr, "Retry-After", 11) == 0 &&
		 result->retry_after_ms < 0)
		result->retry_after_ms = parse_retry_after_ms(value);
}

static struct slice trim(struct slice s)
{
	while (s.len > 0 && isspace((unsigned char)s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 && isspace((unsigned char)s.ptr[s.len - 1]))
		s.len--;
	return s;
}

static bool is_asked_for(const struct fetch_transfer *transfer, struct slice name)
{
	const char *wanted = transfer->request.answer_header;

	return wanted != NULL && name.len == strlen(wanted) &&
	       strncasecmp(name.ptr, wanted, name.len) == 0;
}

static char *part_of(CURLU *url, CURLUPart part)
{
	char *text = NULL;

	(void)curl_url_get(url, part, &text, part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0);
	return text;
}

/* What cannot be read, libcurl will not follow either. */
static bool leads_elsewhere(const char *from, const char *location)
{
	static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
	CURLU *here = curl_url(), *there = curl_url();
	bool differs = curl_url_set(here, CURLUPART_URL, from, 0) != CURLUE_OK ||
		       curl_url_set(there, CURLUPART_URL, from, 0) != CURLUE_OK ||
		       curl_url_set(there, CURLUPART_URL, location, 0) != CURLUE_OK;

	for (size_t i = 0; i < ARRAY_LEN(parts) && !differs; i++) {
		char *a = part_of(here, parts[i]), *b = part_of(there, parts[i]);

		differs = a == NULL || b == NULL || strcasecmp(a, b) != 0;
		curl_free(a);
		curl_free(b);
	}
	curl_url_cleanup(here);
	curl_url_cleanup(there);
	return differs;
}

/* libcurl leaves out Authorization elsewhere, but no other header. */
static bool gives_secrets_away(
	const struct fetch_transfer *transfer, struct slice name, struct slice value)
{
	char *location, *from = NULL;
	long status = 0;
	bool result;

	if (transfer->material == NULL || !transfer->material->is_for_one_host ||
		!transfer->request.follow_redirects || name.len != 8 ||
		strncasecmp(name.ptr, "Location", 8) != 0)
		return false;
	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status / 100 != 3)
		return false;
	curl_easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &from);
	location = xstrndup(value.ptr, value.len);
	result = from == NULL || leads_elsewhere(from, location);
	free(location);
	return result;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *arg)
{
	struct fetch_transfer *transfer = arg;
	size_t len = size * count;
	const char *colon = memchr(bytes, ':', len);
	struct slice name, value;

	transfer->header_bytes += len;
	if (transfer->header_bytes > FETCH_MAX_HEADER_BYTES) {
		transfer->overflow = HEADER_OVERFLOW;
		return 0;
	}
	/* A status line: what came before belonged to a redirect or an interim answer. */
	if (len >= 5 && memcmp(bytes, "HTTP/", 5) == 0) {
		fetch_forget_headers(&transfer->result);
	} else if (colon != NULL) {
		name = (struct slice){bytes, (size_t)(colon - bytes)};
		value = trim((struct slice){colon + 1, len - (size_t)(colon + 1 - bytes)});
		fetch_keep_header(&transfer->result, name, value);
		if (is_asked_for(transfer, name))
			keep_text(transfer->result.answer_header,
				sizeof(transfer->result.answer_header), value);
		if (gives_secrets_away(transfer, name, value)) {
			transfer->overflow = SECRETS_OVERFLOW;
			return 0;
		}
	}
	return len;
}

/* What is the same for every request. */
void fetch_easy_set_up(struct fetch_transfer *transfer, const char *user_agent)
{
	CURL *easy = transfer->easy;

	curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
	/* A kept connection needs no name. The cache would be walked after every transfer. */
	curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, user_agent);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, PROTOCOLS);
	curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, PROTOCOLS);
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
	curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* Else the end of a transfer waits for its resolver thread, and the loop with it. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

static bool has_control(const char *text)
{
	for (; *text != '\0'; text++)
		if (iscntrl((unsigned char)*text) && *text != '\t')
			return true;
	return false;
}

void fetch_add_header(struct fetch_transfer *transfer, const char *header)
{
	struct curl_slist *longer = curl_slist_append(transfer->headers, header);

	if (longer == NULL)
		abort(); /* out of memory, as in mem.h */
	transfer->headers = longer;
}

static int set_headers(
	struct fetch_transfer *transfer, const struct fetch_request *request, bool has_body)
{
	bool has_type = false;

	for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL; i++) {
		if (has_control(request->headers[i])) {
			fetch_say(&transfer->result, "", "control character in a request header");
			return -1;
		}
		has_type |= strncasecmp(request->headers[i], "Content-Type:", 13) == 0;
		fetch_add_header(transfer, request->headers[i]);
	}
	/* Without a value: leave out what curl would send by itself. */
	if (has_body)
		fetch_add_header(transfer, "Expect:");
	if (has_body && !has_type)
		fetch_add_header(transfer, "Content-Type:");
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
	return 0;
}

static void set_method(CURL *easy, const struct fetch_request *request, bool has_body)
{
	if (has_body) {
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
		curl_easy_setopt(
			easy, CURLOPT_POSTFIELDS, request->body.len > 0 ? request->body.ptr : "");
	} else {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST,
		strcmp(request->method, "GET") == 0 ? NULL : request->method);
}

static bool sends_body(const struct fetch_request *request)
{
	return request->body.len > 0 || strcmp(request->method, "PUT") == 0 ||
	       strcmp(request->method, "POST") == 0;
}

/* -1: the result says why not. */
int fetch_easy_set_request(struct fetch_transfer *transfer, int64_t timeout_ms)
{
	const struct fetch_request *request = &transfer->request;
	CURL *easy = transfer->easy;
	bool has_body = sends_body(request);
	CURLcode code = curl_easy_setopt(easy, CURLOPT_URL, request->url);

	if (code != CURLE_OK) {
		fetch_word_failure(transfer, code);
		return -1;
	}
	if (transfer->material != NULL && fetch_client_apply(transfer, request->url) != 0)
		return -1;
	set_method(easy, request, has_body);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, request->follow_redirects ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)timeout_ms);
	return set_headers(transfer, request, has_body);
}
