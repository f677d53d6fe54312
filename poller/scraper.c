/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schedule speaks wall time, the timer monotonic time: each target's next moment is worked out
 * anew from both clocks when it is served, so that a step of the wall clock neither starts all
 * targets at once nor stops them. Memory is held for targets in words, for bodies only while their
 * fetch runs.
 */
#include "poller/scraper.h"

#include "common/core/clock.h"
#include "common/loop/fetch_client.h"
#include "poller/agenda.h"
#include "poller/metrics.h"
#include "poller/outages.h"

/* A scrape ends so long before the next is due, or a tenth of its interval if that is less. */
#define MARGIN_MS 10

/* A target at work. */
struct slot {
	struct scraper *scraper;
	const struct target *target;
	int64_t tick_ms; /* the wall time it is scheduled for */
	struct schedule_stamp stamp;
	struct scrape *running; /* NULL while no fetch runs */
	struct series *errors;  /* NULL until it fails */
	struct outage outage;
};

struct scraper {
	struct scraper_options options;
	struct fetch *fetch;
	struct fetch_client **clients; /* by index of the job; NULL where none is needed */
	uv_timer_t timer;
	struct agenda agenda; /* of slots, by clock_mono_ms */
	struct slot *slots;
	struct outages outages;
	size_t running;
	bool is_draining;
	struct series *lateness, *skipped;
	void (*on_closed)(void *arg);
	void *closed_arg;
	int to_close;
};

static void count(struct slot *slot, enum scrape_outcome outcome, size_t bytes, double seconds)
{
	const struct target_job *job = slot->target->job;

	series_inc(job->outcomes[outcome]);
	series_observe(job->poll_seconds, seconds);
	series_add(job->polled_bytes, (double)bytes);
	if (outcome == SCRAPE_SUCCESS)
		return;
	if (slot->errors == NULL)
		slot->errors = metrics_series(slot->scraper->options.metrics, PM_POLL_ERRORS,
			job->settings->name, slot->target->settings->instance);
	series_inc(slot->errors);
}

static void on_fetched(void *arg, struct fetch_result *result)
{
	struct slot *slot = arg;
	struct scraper *scraper = slot->scraper;
	struct scrape *scrape = slot->running;
	size_t bytes = result->body.len;

	slot->running = NULL;
	scraper->running--;
	count(slot, scrape_judge(scrape, result, scraper->options.codec), bytes,
		result->duration_s);
	outages_note(&scraper->outages, &slot->outage, slot->target, scrape->wire.error,
		clock_mono_ms());
	scraper->options.on_scrape(scraper->options.arg, scrape);
	if (scraper->is_draining && scraper->running == 0)
		scraper->options.on_idle(scraper->options.arg);
}

/*
 * A timeout as long as the interval would let a target that hangs run into its next turn, which
 * would then be left out, each second time. A scrape that begins late keeps its timeout, though.
 */
static int64_t timeout_of(const struct job_settings *job, int64_t until_next_ms)
{
	int64_t tenth_ms = job->scrape_interval_ms / 10;
	int64_t most_ms = until_next_ms - (tenth_ms < MARGIN_MS ? tenth_ms : MARGIN_MS);
	bool is_late = most_ms < job->scrape_timeout_ms / 4 * 3;

	return most_ms < job->scrape_timeout_ms && !is_late ? most_ms : job->scrape_timeout_ms;
}

static void scrape_target(struct slot *slot, int64_t until_next_ms)
{
	struct scraper *scraper = slot->scraper;
	const struct target *target = slot->target;
	const struct target_job *job = target->job;
	const struct fetch_request request = {
		.method = "GET",
		.url = target->settings->url,
		.headers = job->headers,
		.timeout_ms = timeout_of(job->settings, until_next_ms),
		.body_limit_bytes = job->body_limit_bytes,
		.follow_redirects = true,
		.client = scraper->clients[job - scraper->options.targets->jobs],
	};

	if (slot->running != NULL) {
		series_inc(scraper->skipped);
		return;
	}
	slot->running = scrape_new(target, schedule_stamp(&slot->stamp, clock_wall_ms()));
	scraper->running++;
	fetch_start(scraper->fetch, &request, on_fetched, slot);
}

/* When the target is due next, on the timer's clock. */
static uint64_t plan(struct slot *slot, uint64_t now_mono_ms)
{
	int64_t now_ms = clock_wall_ms();

	slot->tick_ms = schedule_next(&slot->target->schedule, now_ms, slot->tick_ms);
	return now_mono_ms + (uint64_t)(slot->tick_ms - now_ms);
}

static void on_timer(uv_timer_t *timer);

static void arm(struct scraper *scraper)
{
	const struct agenda_entry *first = agenda_first(&scraper->agenda);
	uint64_t now_ms = clock_mono_ms();

	if (first == NULL)
		return;
	uv_update_time(scraper->options.loop);
	uv_timer_start(
		&scraper->timer, on_timer, first->due <= now_ms ? 0 : first->due - now_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct scraper *scraper = timer->data;
	const struct agenda_entry *first = agenda_first(&scraper->agenda);
	uint64_t now_ms = clock_mono_ms();

	while (first->due <= now_ms) {
		struct slot *slot = first->item;
		uint64_t next = plan(slot, now_ms);

		series_observe(scraper->lateness, (double)(now_ms - first->due) / 1e3);
		scrape_target(slot, (int64_t)(next - now_ms));
		agenda_postpone_first(&scraper->agenda, next);
		first = agenda_first(&scraper->agenda);
	}
	outages_tell(&scraper->outages, now_ms);
	arm(scraper);
}

static void fill_agenda(struct scraper *scraper)
{
	const struct target_list *targets = scraper->options.targets;
	uint64_t now_ms = clock_mono_ms();

	scraper->slots = xcalloc(targets->target_count + 1, sizeof(*scraper->slots));
	for (size_t i = 0; i < targets->target_count; i++) {
		struct slot *slot = &scraper->slots[i];

		slot->scraper = scraper;
		slot->target = &targets->targets[i];
		slot->tick_ms = SCHEDULE_NONE;
		agenda_add(&scraper->agenda, plan(slot, now_ms), slot);
	}
}

struct scraper *scraper_open(const struct scraper_options *options)
{
	struct scraper *scraper = xcalloc(1, sizeof(*scraper));
	const struct fetch_options fetch_options = {
		.max_idle_connections = options->targets->target_count,
		.user_agent = "prometheus-streams/" VERSION,
	};

	scraper->options = *options;
	scraper->lateness = metrics_plain(options->metrics, PM_LATENESS_SECONDS);
	scraper->skipped = metrics_plain(options->metrics, PM_SKIPPED);
	scraper->fetch = fetch_open(options->loop, &fetch_options);
	scraper->clients = xcalloc(options->targets->job_count, sizeof(struct fetch_client *));
	for (size_t i = 0; i < options->targets->job_count; i++)
		scraper->clients[i] =
			fetch_client_new(scraper->fetch, &options->targets->jobs[i].settings->http);
	uv_timer_init(options->loop, &scraper->timer);
	scraper->timer.data = scraper;
	fill_agenda(scraper);
	arm(scraper);
	return scraper;
}

void scraper_drain(struct scraper *scraper)
{
	scraper->is_draining = true;
	uv_timer_stop(&scraper->timer);
}

bool scraper_is_idle(const struct scraper *scraper)
{
	return scraper->running == 0;
}

static void on_part_closed(struct scraper *scraper)
{
	void (*on_closed)(void *arg) = scraper->on_closed;
	void *arg = scraper->closed_arg;

	if (--scraper->to_close > 0)
		return;
	agenda_fini(&scraper->agenda);
	free(scraper->slots);
	free(scraper->clients);
	free(scraper);
	on_closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_part_closed(handle->data);
}

static void on_fetch_closed(void *arg)
{
	on_part_closed(arg);
}

/* What still runs ends without a callback. */
static void forget_running(struct scraper *scraper)
{
	for (size_t i = 0; i < scraper->options.targets->target_count; i++)
		scrape_free(scraper->slots[i].running);
}

void scraper_close(struct scraper *scraper, void (*on_closed)(void *arg), void *arg)
{
	scraper->on_closed = on_closed;
	scraper->closed_arg = arg;
	scraper->to_close = 2;
	forget_running(scraper);
	fetch_close(scraper->fetch, on_fetch_closed, scraper);
	uv_close((uv_handle_t *)&scraper->timer, on_timer_closed);
}
