/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The poller: targets -> scraper -> outbox -> NATS. Everything is opened at once and in any order
 * comes to work by itself; scrapes wait in the outbox until NATS is there.
 */
#include "common/core/log.h"
#include "common/loop/daemon.h"
#include "poller/metrics.h"
#include "poller/outbox.h"
#include "poller/roster.h"
#include "poller/scraper.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

/* What closing NATS may take: everything was acknowledged or given up before. */
#define LINK_CLOSE_TIMEOUT_MS 1000

#define KEPT_FREE_BYTES   (4 << 20) /* of each heap, at its end */
#define MAPPED_FROM_BYTES (1 << 20)

struct poller {
	struct daemon *daemon;
	struct roster *roster;
	struct codec *codec;
	char *publish_subject;
	struct nats_link *link;
	struct outbox *outbox;
	struct scraper *scraper;
	uv_timer_t settle; /* looks whether all is drained, outside of the modules' callbacks */
	bool is_draining;
	int to_close;
};

static struct self_access access_of(struct daemon *daemon)
{
	return (struct self_access){
		.port = daemon_monitor_port(daemon),
		.is_tls = daemon_monitor_is_tls(daemon),
		.header = daemon_monitor_header(daemon),
		.own = daemon_monitor_own(daemon),
	};
}

static void open_link(struct poller *poller, const struct settings *settings, const char *token)
{
	const char *client_id = settings->poller_stream.client_id;
	char *name = client_id != NULL
			     ? xstrdup(client_id)
			     : xasprintf("prometheus-streams-poller %s", settings->identity);
	char *inbox = xasprintf("_INBOX_poller_%s", token);
	struct nats_tls tls;
	const struct nats_link_options options = {
		.urls = &settings->poller_stream.urls,
		.tls = &tls,
		.auth = &settings->poller_stream.auth,
		.client_name = name,
		.inbox_prefix = inbox,
	};

	settings_nats_tls(settings, &settings->poller_stream, &tls);
	poller->link = nats_link_open(daemon_loop(poller->daemon), &options);
	settings_nats_tls_fini(&tls);
	free(inbox);
	free(name);
}

static void on_settled(uv_timer_t *timer)
{
	struct poller *poller = timer->data;

	if (scraper_is_idle(poller->scraper) && outbox_is_idle(poller->outbox))
		daemon_drained(poller->daemon);
}

static void check_drained(struct poller *poller)
{
	if (poller->is_draining)
		uv_timer_start(&poller->settle, on_settled, 0, 0);
}

static void on_idle(void *arg)
{
	check_drained(arg);
}

static void on_scrape(void *arg, struct scrape *scrape)
{
	struct poller *poller = arg;

	outbox_push(poller->outbox, &scrape);
}

static void open_outbox(struct poller *poller, const struct settings *settings, const char *token)
{
	struct outbox_options options = {
		.loop = daemon_loop(poller->daemon),
		.link = poller->link,
		.settings = settings,
		.metrics = daemon_metrics(poller->daemon),
		.codec = poller->codec,
		.on_idle = on_idle,
		.arg = poller,
	};

	poller->publish_subject = xasprintf("%s.*.%s.>", settings->poller_stream.topic, token);
	options.publish_subject = poller->publish_subject;
	poller->outbox = outbox_open(&options);
}

static void open_scraper(struct poller *poller)
{
	const struct scraper_options options = {
		.loop = daemon_loop(poller->daemon),
		.targets = &poller->roster->targets,
		.metrics = daemon_metrics(poller->daemon),
		.codec = poller->codec,
		.on_scrape = on_scrape,
		.on_idle = on_idle,
		.arg = poller,
	};

	poller->scraper = scraper_open(&options);
}

static int start(
	struct daemon *daemon, const struct settings *settings, void **state, struct err *err)
{
	struct poller *poller = xcalloc(1, sizeof(*poller));
	struct self_access access = access_of(daemon);
	struct buf token = {0};

	poller->daemon = daemon;
	if (wire_escape(slice_from(settings->identity), &token) < 0) {
		err_setf(err, "identity does not fit a subject");
		goto fail;
	}
	poller->roster = roster_new(settings, &access, daemon_metrics(daemon), err);
	if (poller->roster == NULL)
		goto fail;
	poller->codec = codec_new();
	uv_timer_init(daemon_loop(daemon), &poller->settle);
	poller->settle.data = poller;
	open_link(poller, settings, buf_cstr(&token));
	open_outbox(poller, settings, buf_cstr(&token));
	open_scraper(poller);
	buf_free(&token);
	series_set(metrics_series(daemon_metrics(daemon), PM_BUILD_INFO, VERSION), 1);
	log_info("scraping", LOG_I("jobs", poller->roster->targets.job_count),
		LOG_I("targets", poller->roster->targets.target_count));
	*state = poller;
	return 0;
fail:
	buf_free(&token);
	free(poller);
	return -1;
}

static int reload(void *state, struct settings *settings, struct buf *answer, struct err *err)
{
	struct poller *poller = state;
	struct roster *former = poller->roster;
	struct self_access access = access_of(poller->daemon);
	struct roster *fresh = roster_new(settings, &access, NULL, err);

	if (fresh == NULL)
		return -1;
	poller->roster = fresh;
	outbox_set_settings(poller->outbox, settings);
	roster_put_in_place(fresh, former, poller->scraper, daemon_metrics(poller->daemon), answer);
	roster_unref(former);
	return 0;
}

static void drain(void *state)
{
	struct poller *poller = state;

	poller->is_draining = true;
	scraper_drain(poller->scraper);
	outbox_drain(poller->outbox);
	check_drained(poller);
}

static void on_link_closed(void *arg)
{
	struct poller *poller = arg;
	struct daemon *daemon = poller->daemon;

	roster_unref(poller->roster);
	codec_free(poller->codec);
	free(poller->publish_subject);
	free(poller);
	daemon_closed(daemon);
}

/* The link goes last: the outbox's publisher uses it to the end. */
static void on_part_closed(void *arg)
{
	struct poller *poller = arg;

	if (--poller->to_close == 0)
		nats_link_close(poller->link, LINK_CLOSE_TIMEOUT_MS, on_link_closed, poller);
}

static void on_settle_closed(uv_handle_t *handle)
{
	on_part_closed(handle->data);
}

static void close_all(void *state)
{
	struct poller *poller = state;

	poller->is_draining = false;
	poller->to_close = 3;
	scraper_close(poller->scraper, on_part_closed, poller);
	outbox_close(poller->outbox, on_part_closed, poller);
	uv_close((uv_handle_t *)&poller->settle, on_settle_closed);
}

static bool is_ready(void *state, struct buf *why)
{
	struct poller *poller = state;

	return outbox_is_ready(poller->outbox, why);
}

static void collect(void *state)
{
	struct poller *poller = state;
	struct metrics *metrics = daemon_metrics(poller->daemon);

	outbox_collect(poller->outbox);
	series_set(metrics_plain(metrics, PM_NATS_UP), nats_link_is_up(poller->link));
	series_set(
		metrics_plain(metrics, PM_NATS_CONNECTS), (double)nats_link_connects(poller->link));
	series_set(metrics_plain(metrics, PM_NATS_VIOLATIONS),
		(double)nats_link_violations(poller->link));
	for (enum nats_failure i = 0; i < NATS_FAILURE_COUNT; i++)
		series_set(metrics_series(metrics, PM_NATS_FAILURES, nats_failure_name(i)),
			(double)nats_link_failures(poller->link, i));
}

/*
 * Bodies come and go in groups: what one group frees, the next one takes, unless the heap is given
 * back to the system in between and has to be paged in anew. Setting one of these ends glibc's own
 * choice of the other, hence both.
 */
static void keep_freed_memory(void)
{
#ifdef __GLIBC__
	(void)mallopt(M_TRIM_THRESHOLD, KEPT_FREE_BYTES);
	(void)mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
#endif
}

int main(int argc, char **argv)
{
	const struct daemon_program program = {
		.name = "prometheus-streams-poller",
		.summary = "Scrapes Prometheus targets and publishes every scrape to a NATS "
			   "JetStream stream.",
		.metrics = poller_metric_defs,
		.metric_count = PM_COUNT,
		.metric_reload_successful = PM_CONFIG_RELOAD_SUCCESSFUL,
		.metric_reload_time = PM_CONFIG_RELOAD_TIME,
		.role = SETTINGS_FOR_POLLER,
		.start = start,
		.reload = reload,
		.drain = drain,
		.close = close_all,
		.is_ready = is_ready,
		.collect = collect,
	};

	keep_freed_memory();
	return daemon_main(&program, argc, argv);
}
