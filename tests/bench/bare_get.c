/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of a scrape: a libcurl loop that GETs with kept-alive connections and throws the body
 *away.
 *
 *	bare_get PORT ADDRESSES ROUNDS
 *
 * visits ADDRESSES addresses from 127.1.0.1 upwards ROUNDS times, asking for gzip, and prints
 *requests and CPU seconds of the rounds after the first (which connects) as JSON.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static size_t swallow(char *bytes, size_t size, size_t count, void *arg)
{
	(void)bytes;
	*(unsigned long long *)arg += size * count;
	return size * count;
}

static double cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void visit(CURL *curl, int port, int number)
{
	char url[64];
	unsigned address = 0x7f010001u + (unsigned)number;

	snprintf(url, sizeof(url), "http://%u.%u.%u.%u:%d/metrics", address >> 24,
		address >> 16 & 255, address >> 8 & 255, address & 255, port);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	if (curl_easy_perform(curl) != CURLE_OK) {
		fprintf(stderr, "bare_get: %s failed\n", url);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	CURL *curl = curl_easy_init();
	struct curl_slist *headers = curl_slist_append(NULL, "Accept-Encoding: gzip");
	unsigned long long bytes = 0;
	double begin;

	if (argc != 4) {
		fprintf(stderr, "usage: bare_get PORT ADDRESSES ROUNDS\n");
		return 2;
	}
	int port = atoi(argv[1]), addresses = atoi(argv[2]), rounds = atoi(argv[3]);

	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &bytes);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_MAXCONNECTS, (long)addresses + 1);
	for (int i = 0; i < addresses; i++)
		visit(curl, port, i);
	begin = cpu_s();
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < addresses; i++)
			visit(curl, port, i);
	printf("{\"requests\": %d, \"cpu_seconds\": %f}\n", rounds * addresses, cpu_s() - begin);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return 0;
}
