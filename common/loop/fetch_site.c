/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names may move: the address of one is as good as the connection that libcurl has just had to it,
 * and serves in place of that, once and for as long as libcurl would have kept it. For the next
 * connection libcurl resolves the name again.
 */
#include "common/loop/fetch_site.h"

#include "common/core/clock.h"

#include <arpa/inet.h>

#define MAX_SITES    (1u << 17)
#define MAX_ODD_URLS (1u << 17)
#define MAX_TROUBLES 3
#define TROUBLE_MS   (3600 * 1000)
#define FRESH_MS     118000 /* as libcurl keeps connections */

struct fetch_odd_url {
	char *url;
	struct fetch_trouble trouble;
	UT_hash_handle hh;
};

static void note(struct fetch_trouble *trouble)
{
	trouble->times++;
	trouble->until_ms = clock_mono_ms() + TROUBLE_MS;
}

static bool is_too_much(const struct fetch_trouble *trouble)
{
	return trouble->times >= MAX_TROUBLES && clock_mono_ms() < trouble->until_ms;
}

void fetch_sites_fini(struct fetch_sites *sites)
{
	struct fetch_site *site, *next_site;
	struct fetch_odd_url *odd, *next_odd;

	HASH_ITER (hh, sites->by_name, site, next_site) {
		HASH_DEL(sites->by_name, site);
		free(site->name);
		free(site);
	}
	HASH_ITER (hh, sites->odd, odd, next_odd) {
		HASH_DEL(sites->odd, odd);
		free(odd->url);
		free(odd);
	}
}

struct fetch_site *fetch_sites_find(const struct fetch_sites *sites, struct slice name)
{
	struct fetch_site *site;

	HASH_FIND(hh, sites->by_name, name.ptr, name.len, site);
	return site;
}

struct fetch_site *fetch_sites_add(struct fetch_sites *sites, struct slice name)
{
	struct fetch_site *site;

	if (HASH_COUNT(sites->by_name) >= MAX_SITES)
		return NULL;
	site = xcalloc(1, sizeof(*site));
	site->name = slice_dup(name);
	site->was_ordinary = true;
	TAILQ_INIT(&site->idle);
	HASH_ADD_KEYPTR(hh, sites->by_name, site->name, name.len, site);
	return site;
}

bool fetch_site_is_near(const struct fetch_site *site)
{
	return site->address_len > 0 &&
	       (site->is_numeric || clock_mono_ms() < site->fresh_until_ms);
}

void fetch_site_use(struct fetch_site *site)
{
	site->fresh_until_ms = 0;
}

void fetch_site_forget(struct fetch_site *site)
{
	site->address_len = 0;
}

void fetch_site_disappoint(struct fetch_site *site)
{
	fetch_site_forget(site);
	note(&site->trouble);
}

bool fetch_site_is_hopeless(const struct fetch_site *site)
{
	return is_too_much(&site->trouble);
}

static socklen_t read_address(struct sockaddr_storage *address, const char *ip, long port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

	memset(address, 0, sizeof(*address));
	if (ip == NULL || port <= 0 || port > 65535)
		return 0;
	if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		return sizeof(*v6);
	}
	return 0;
}

static bool is_ip_of(const char *name, const char *ip)
{
	size_t len = strlen(ip);

	return name[0] == '[' ||
	       (strncmp(name, ip, len) == 0 && (name[len] == ':' || name[len] == '\0'));
}

bool fetch_site_learn(struct fetch_site *site, const char *ip, long port)
{
	struct sockaddr_storage before = site->address;

	site->address_len = read_address(&site->address, ip, port);
	site->is_numeric = site->address_len > 0 && is_ip_of(site->name, ip);
	site->fresh_until_ms = clock_mono_ms() + FRESH_MS;
	return memcmp(&before, &site->address, sizeof(before)) != 0;
}

static struct fetch_odd_url *find_odd(const struct fetch_sites *sites, const char *url)
{
	struct fetch_odd_url *odd;

	if (sites->odd == NULL)
		return NULL;
	HASH_FIND(hh, sites->odd, url, strlen(url), odd);
	return odd;
}

void fetch_sites_note_odd(struct fetch_sites *sites, const char *url)
{
	struct fetch_odd_url *odd = find_odd(sites, url);

	if (odd == NULL && HASH_COUNT(sites->odd) < MAX_ODD_URLS) {
		odd = xcalloc(1, sizeof(*odd));
		odd->url = xstrdup(url);
		HASH_ADD_KEYPTR(hh, sites->odd, odd->url, strlen(odd->url), odd);
	}
	if (odd != NULL)
		note(&odd->trouble);
}

void fetch_sites_note_good(struct fetch_sites *sites, const char *url)
{
	struct fetch_odd_url *odd = find_odd(sites, url);

	if (odd == NULL)
		return;
	HASH_DEL(sites->odd, odd);
	free(odd->url);
	free(odd);
}

bool fetch_sites_is_odd(const struct fetch_sites *sites, const char *url)
{
	const struct fetch_odd_url *odd = find_odd(sites, url);

	return odd != NULL && is_too_much(&odd->trouble);
}
