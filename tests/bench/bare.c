/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of a scrape or a push: a libcurl loop with kept-alive connections.
 *
 *	bare get|get-gzip|put PORT ADDRESSES ROUNDS [PAUSE_US]
 *
 * "get" visits ADDRESSES addresses from 127.1.0.1 upwards ROUNDS times and throws the bodies away,
 * with "gzip" asking for that; "put" sends the first address' body to one gateway on 127.1.0.1,
 * into as many groups. PAUSE_US between requests makes it as slow as a poller is. Prints requests
 * and CPU seconds of the rounds after the first (which connects) as JSON.
 *
 * The addresses are spread over several handles. libcurl looks through all connections of one
 * handle when it takes one and once a second asks the kernel about each: with 10,000 in one the
 * loop did not come to an end within minutes.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define ADDRESSES_PER_HANDLE 32

struct bytes {
	char *ptr;
	size_t len;
};

struct run {
	bool is_gzip, is_put;
	int port, addresses;
	struct bytes body; /* what "put" sends */
	CURL **handles;
	int handles_count;
};

static size_t swallow(char *bytes, size_t size, size_t count, void *arg)
{
	(void)bytes;
	(void)arg;
	return size * count;
}

static size_t keep(char *bytes, size_t size, size_t count, void *arg)
{
	struct bytes *body = arg;

	body->ptr = realloc(body->ptr, body->len + size * count);
	if (body->ptr == NULL)
		abort();
	memcpy(body->ptr + body->len, bytes, size * count);
	body->len += size * count;
	return size * count;
}

static double cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void perform(CURL *curl, const char *url)
{
	CURLcode code;

	curl_easy_setopt(curl, CURLOPT_URL, url);
	code = curl_easy_perform(curl);
	if (code != CURLE_OK) {
		fprintf(stderr, "bare: %s: %s\n", url, curl_easy_strerror(code));
		exit(1);
	}
}

static void visit(struct run *run, int number)
{
	char address[24], url[128];
	unsigned ip = 0x7f010001u + (unsigned)number;

	snprintf(address, sizeof(address), "%u.%u.%u.%u:%d", ip >> 24, ip >> 16 & 255,
		ip >> 8 & 255, ip & 255, run->port);
	if (run->is_put)
		snprintf(url, sizeof(url), "http://127.1.0.1:%d/metrics/job/node/instance/%s",
			run->port, address);
	else
		snprintf(url, sizeof(url), "http://%s/metrics", address);
	perform(run->handles[number % run->handles_count], url);
}

static CURL *make_handle(const struct run *run, struct curl_slist *headers)
{
	CURL *curl = curl_easy_init();

	if (curl == NULL)
		abort();
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_MAXCONNECTS, (long)ADDRESSES_PER_HANDLE + 1);
	if (run->is_put) {
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PUT");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, run->body.ptr);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)run->body.len);
	}
	return curl;
}

static void fetch_body(struct run *run)
{
	CURL *curl = make_handle(&(struct run){0}, NULL);
	char url[64];

	snprintf(url, sizeof(url), "http://127.1.0.1:%d/metrics", run->port);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &run->body);
	perform(curl, url);
	curl_easy_cleanup(curl);
}

static bool set_kind(struct run *run, const char *kind)
{
	run->is_gzip = strcmp(kind, "get-gzip") == 0;
	run->is_put = strcmp(kind, "put") == 0;
	return run->is_gzip || run->is_put || strcmp(kind, "get") == 0;
}

/* CPU seconds of all visits. */
static double visit_all(struct run *run, int rounds, useconds_t pause_us)
{
	double begin = cpu_s();

	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < run->addresses; i++) {
			visit(run, i);
			if (pause_us > 0)
				usleep(pause_us);
		}
	return cpu_s() - begin;
}

int main(int argc, char **argv)
{
	struct run run = {0};
	struct curl_slist *headers;
	int rounds;

	if (argc < 5 || argc > 6 || !set_kind(&run, argv[1])) {
		fprintf(stderr, "usage: bare get|get-gzip|put PORT ADDRESSES ROUNDS [PAUSE_US]\n");
		return 2;
	}
	run.port = atoi(argv[2]);
	run.addresses = atoi(argv[3]);
	rounds = atoi(argv[4]);
	if (run.is_put)
		fetch_body(&run);
	headers = curl_slist_append(NULL, run.is_gzip ? "Accept-Encoding: gzip" : "Expect:");
	run.handles_count = run.is_put ? 1 : run.addresses / ADDRESSES_PER_HANDLE + 1;
	run.handles = calloc((size_t)run.handles_count, sizeof(*run.handles));
	if (run.handles == NULL)
		abort();
	for (int i = 0; i < run.handles_count; i++)
		run.handles[i] = make_handle(&run, headers);
	visit_all(&run, 1, 0);
	printf("{\"requests\": %d, \"cpu_seconds\": %f}\n", rounds * run.addresses,
		visit_all(&run, rounds, argc > 5 ? (useconds_t)atoi(argv[5]) : 0));
	for (int i = 0; i < run.handles_count; i++)
		curl_easy_cleanup(run.handles[i]);
	free(run.handles);
	free(run.body.ptr);
	curl_slist_free_all(headers);
	return 0;
}
