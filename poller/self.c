/* SPDX-License-Identifier: Apache-2.0 */
/* It goes through the monitor port like anybody, so that what it publishes is what is served. */
#include "poller/self.h"

#include "common/loop/webtls.h"

/* An address to listen on is not always one to connect to. */
static const char *host_to_reach(const char *monitor_address)
{
	static const struct {
		const char *listen, *reach;
	} wildcards[] = {
		{"0.0.0.0", "127.0.0.1"},
		{"::", "::1"},
	};

	for (size_t i = 0; i < ARRAY_LEN(wildcards); i++)
		if (strcmp(monitor_address, wildcards[i].listen) == 0)
			return wildcards[i].reach;
	return monitor_address;
}

static char *metrics_url(const char *monitor_address, const struct self_access *access)
{
	const char *host = host_to_reach(monitor_address);
	bool is_ipv6 = strchr(host, ':') != NULL;

	return xasprintf("%s://%s%s%s:%d/metrics", access->is_tls ? "https" : "http",
		is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", access->port);
}

/* It is this very process: there is nobody to be verified. */
static void secure(struct self *self, const struct self_access *access)
{
	struct http_client_settings *http = &self->job.http;

	http->tls.present = access->is_tls;
	http->tls.insecure_skip_verify = access->is_tls;
	if (access->is_tls && access->own != NULL) {
		http->tls.cert.value = self->cert =
			xstrndup(access->own->cert.ptr, access->own->cert.len);
		http->tls.key.value = self->key =
			xstrndup(access->own->key.ptr, access->own->key.len);
	}
	if (access->header == NULL)
		return;
	self->secret = xstrdup(access->header);
	self->header = (struct http_header_settings){
		.name = (char *)"Authorization", .secrets = {&self->secret, 1}};
	http->headers = &self->header;
	http->header_count = 1;
}

static int64_t at_most(int64_t value, int64_t bound)
{
	return value < bound ? value : bound;
}

void self_init(struct self *self, const struct settings *settings, const struct self_access *access)
{
	*self = (struct self){.secret = NULL};
	self->target = (struct target_settings){
		.url = metrics_url(settings->monitor_address, access),
		.instance = xstrdup(settings->identity),
	};
	self->job = (struct job_settings){
		.name = xstrdup(SELF_JOB_NAME),
		.scrape_interval_ms = settings->scrape_interval_ms,
		.scrape_timeout_ms =
			at_most(settings->scrape_timeout_ms, settings->scrape_interval_ms),
		.targets = &self->target,
		.target_count = 1,
	};
	secure(self, access);
}

void self_fini(struct self *self)
{
	if (self->key != NULL)
		explicit_bzero(self->key, strlen(self->key));
	free(self->cert);
	free(self->key);
	free(self->secret);
	free(self->job.name);
	free(self->target.url);
	free(self->target.instance);
}
