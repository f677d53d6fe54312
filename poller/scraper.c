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
#include "common/core/table.h"
#include "poller/agenda.h"
#include "poller/metrics.h"
#include "poller/outages.h"

/* A scrape ends so long before the next is due, or a tenth of its interval if that is less. */
#define MARGIN_MS 10

/* A target at work. */
struct slot {
	UT_hash_handle by_subject; /* the target's */
	struct scraper *scraper;
	const struct target *target;
	int64_t tick_ms; /* the wall time it is scheduled for */
	uint64_t due_ms; /* the same on the timer's clock */
	struct schedule_stamp stamp;
	struct scrape *running; /* NULL while no fetch runs; may be of a former list's target */
	struct fetch_transfer *transfer;
	struct series *errors; /* NULL until it fails */
	struct outage outage;
};

struct scraper {
	struct scraper_options options;
	struct fetch *fetch;
	struct fetch_client **clients; /* by index of the job; NULL where none is needed */
	uv_timer_t timer;
	struct agenda agenda; /* of slots, by clock_mono_ms */
	struct slot *slots;   /* by subject */
	int64_t removed_ms;   /* the latest time of the last scrapes */
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
	slot->transfer = fetch_start(scraper->fetch, &request, on_fetched, slot);
}

/* When the target is due next, on the timer's clock. */
static uint64_t plan(struct slot *slot, uint64_t now_mono_ms)
{
	int64_t now_ms = clock_wall_ms();

	slot->tick_ms = schedule_next(&slot->target->schedule, now_ms, slot->tick_ms);
	slot->due_ms = now_mono_ms + (uint64_t)(slot->tick_ms - now_ms);
	return slot->due_ms;
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

/* Slots. */

/* The subject it is found by is the target's: a slot is taken out before that changes. */
static void file_slot(struct scraper *scraper, struct slot *slot, const struct target *target)
{
	slot->target = target;
	HASH_ADD_KEYPTR(by_subject, scraper->slots, target->subject.ptr, target->subject.len, slot);
}

static void add_slot(struct scraper *scraper, const struct target *target)
{
	struct slot *slot = xcalloc(1, sizeof(*slot));

	slot->scraper = scraper;
	slot->tick_ms = SCHEDULE_NONE;
	slot->stamp.last_ms = scraper->removed_ms;
	file_slot(scraper, slot, target);
	plan(slot, clock_mono_ms());
}

/* For the jobs of the list in use, which they refer to. */
static void open_clients(struct scraper *scraper)
{
	const struct target_list *list = scraper->options.targets;

	scraper->clients = xcalloc(list->job_count, sizeof(struct fetch_client *));
	for (size_t i = 0; i < list->job_count; i++)
		scraper->clients[i] =
			fetch_client_new(scraper->fetch, &list->jobs[i].settings->http);
}

static void on_client_freed(void *arg)
{
	target_list_unref(arg);
}

/* The list is needed until a worker has stopped to look at its files. */
static void give_up_clients(struct fetch_client **clients, struct target_list *list)
{
	for (size_t i = 0; i < list->job_count; i++) {
		target_list_ref(list);
		fetch_client_free(clients[i], on_client_freed, list);
	}
	free(clients);
}

static void fill_agenda(struct scraper *scraper)
{
	struct slot *slot, *next;

	agenda_clear(&scraper->agenda);
	HASH_ITER (by_subject, scraper->slots, slot, next)
		agenda_add(&scraper->agenda, slot->due_ms, slot);
}

static void stop_running(struct slot *slot)
{
	if (slot->running == NULL)
		return;
	fetch_cancel(slot->transfer);
	scrape_free(slot->running);
	slot->running = NULL;
	slot->scraper->running--;
}

/* Targets that differ in labels only have their failures counted together. */
static void forget_errors(struct slot *slot)
{
	struct metrics *metrics = slot->scraper->options.metrics;

	if (slot->errors != NULL)
		metrics_forget(metrics,
			metrics_series(metrics, PM_POLL_ERRORS, slot->target->job->settings->name,
				slot->target->settings->instance));
}

static void remove_slot(struct slot *slot)
{
	struct scraper *scraper = slot->scraper;
	struct scrape *last;

	stop_running(slot);
	last = scrape_new_last(slot->target, schedule_stamp(&slot->stamp, clock_wall_ms()));
	if (slot->stamp.last_ms > scraper->removed_ms)
		scraper->removed_ms = slot->stamp.last_ms;
	scraper->outages.down -= slot->outage.is_down;
	forget_errors(slot);
	free(slot);
	scraper->options.on_scrape(scraper->options.arg, last);
}

/* Reloads. */

static void note_change(
	struct scraper_changes *changes, enum scraper_change change, const struct target *target)
{
	changes->count[change]++;
	if (changes->on_change != NULL)
		changes->on_change(changes->arg, change, target);
}

static bool has_same_times(const struct target *a, const struct target *b)
{
	return a->schedule.interval_ms == b->schedule.interval_ms &&
	       a->schedule.offset_ms == b->schedule.offset_ms;
}

static void keep_slot(struct scraper *scraper, struct slot *slot, const struct target *target,
	struct scraper_changes *changes)
{
	const struct target *former = slot->target;

	file_slot(scraper, slot, target);
	slot->errors = NULL; /* may be forgotten with that of another target: found again */
	if (target_is_same(former, target))
		changes->unchanged++;
	else
		note_change(changes, SCRAPER_CHANGED, target);
	if (has_same_times(former, target))
		return;
	slot->tick_ms = SCHEDULE_NONE;
	plan(slot, clock_mono_ms());
}

/* Those of `former` that are still targets move over. */
static void move_slots(struct scraper *scraper, struct slot **former,
	const struct target_list *targets, struct scraper_changes *changes)
{
	for (size_t i = 0; i < targets->target_count; i++) {
		const struct target *target = &targets->targets[i];
		struct slot *slot;

		HASH_FIND(by_subject, *former, target->subject.ptr, target->subject.len, slot);
		if (slot == NULL) {
			add_slot(scraper, target);
			note_change(changes, SCRAPER_ADDED, target);
			continue;
		}
		HASH_DELETE(by_subject, *former, slot);
		keep_slot(scraper, slot, target, changes);
	}
}

void scraper_set_targets(
	struct scraper *scraper, struct target_list *targets, struct scraper_changes *changes)
{
	struct slot *former = scraper->slots, *slot, *next;
	struct fetch_client **former_clients = scraper->clients;
	struct target_list *former_list = scraper->options.targets;

	scraper->slots = NULL;
	scraper->options.targets = targets;
	open_clients(scraper);
	give_up_clients(former_clients, former_list);
	move_slots(scraper, &former, targets, changes);
	HASH_ITER (by_subject, former, slot, next) {
		note_change(changes, SCRAPER_REMOVED, slot->target);
		HASH_DELETE(by_subject, former, slot);
		remove_slot(slot);
	}
	fetch_set_max_idle(scraper->fetch, targets->target_count + 1);
	fill_agenda(scraper);
	uv_timer_stop(&scraper->timer);
	arm(scraper);
}

struct scraper *scraper_open(const struct scraper_options *options)
{
	struct scraper *scraper = xcalloc(1, sizeof(*scraper));
	const struct fetch_options fetch_options = {
		.max_idle_connections = options->targets->target_count,
		.user_agent = "prometheus-streams/" VERSION,
		.goes_directly = true,
	};

	scraper->options = *options;
	scraper->lateness = metrics_plain(options->metrics, PM_LATENESS_SECONDS);
	scraper->skipped = metrics_plain(options->metrics, PM_SKIPPED);
	scraper->fetch = fetch_open(options->loop, &fetch_options);
	open_clients(scraper);
	uv_timer_init(options->loop, &scraper->timer);
	scraper->timer.data = scraper;
	for (size_t i = 0; i < options->targets->target_count; i++)
		add_slot(scraper, &options->targets->targets[i]);
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
static void free_slots(struct scraper *scraper)
{
	struct slot *slot, *next;

	HASH_ITER (by_subject, scraper->slots, slot, next) {
		HASH_DELETE(by_subject, scraper->slots, slot);
		stop_running(slot);
		free(slot);
	}
}

void scraper_close(struct scraper *scraper, void (*on_closed)(void *arg), void *arg)
{
	scraper->on_closed = on_closed;
	scraper->closed_arg = arg;
	scraper->to_close = 2;
	free_slots(scraper);
	fetch_close(scraper->fetch, on_fetch_closed, scraper);
	uv_close((uv_handle_t *)&scraper->timer, on_timer_closed);
}
