/* SPDX-License-Identifier: Apache-2.0 */
/* What we add to groups. */
#include "receiver/sink/push_report.h"

#include <stdio.h>

const struct push_own_text push_own_families[PUSH_OWN_COUNT] = {
	[PUSH_OWN_UP] = {"up", "# TYPE up gauge\n"},
	[PUSH_OWN_DURATION] = {"scrape_duration_seconds", "# TYPE scrape_duration_seconds gauge\n"},
	[PUSH_OWN_SAMPLES] = {"scrape_samples_scraped", "# TYPE scrape_samples_scraped gauge\n"},
	[PUSH_OWN_MARK] = {PUSH_MARK,
		"# HELP " PUSH_MARK " When the scrape began that this group shows.\n"
		"# TYPE " PUSH_MARK " gauge\n"},
};

const struct push_late_family push_late_families[PUSH_LATE_COUNT] = {
	{"pushgateway_http_requests_total", EXPO_COUNTER,
		"# HELP pushgateway_http_requests_total Total HTTP requests processed by the "
		"Pushgateway, excluding scrapes."},
	{"pushgateway_http_push_duration_seconds", EXPO_SUMMARY,
		"# HELP pushgateway_http_push_duration_seconds HTTP request duration for pushes to "
		"the Pushgateway."},
	{"pushgateway_http_push_size_bytes", EXPO_SUMMARY,
		"# HELP pushgateway_http_push_size_bytes HTTP request size for pushes to the "
		"Pushgateway."},
};

static void append_own(struct buf *out, size_t family, const char *value)
{
	buf_append_str(out, push_own_families[family].metadata);
	buf_appendf(out, "%s %s\n", push_own_families[family].name, value);
}

void push_append_mark(struct buf *out, const struct push_target *target)
{
	char value[40];

	snprintf(value, sizeof(value), "%.3f", (double)target->time_ms / 1e3);
	append_own(out, PUSH_OWN_MARK, value);
}

void push_append_report(
	struct buf *out, const struct push_target *target, bool up, uint64_t samples)
{
	char value[40];

	append_own(out, PUSH_OWN_UP, up ? "1" : "0");
	snprintf(value, sizeof(value), "%.9g", target->duration_s);
	append_own(out, PUSH_OWN_DURATION, value);
	snprintf(value, sizeof(value), "%llu", (unsigned long long)samples);
	append_own(out, PUSH_OWN_SAMPLES, value);
	push_append_mark(out, target);
}
