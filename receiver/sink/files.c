/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of one target are written one after the other, those of several side by side. What is
 * written waits for a sync of the file system, one for many files, before it counts as taken:
 *
 *	pending (per target) ──job──> written ──sync──> taken
 *	   ^──────── failed, in a while ────┘───┘
 *
 * A target whose file could not be written, for a reason that may pass, waits a while; its frames
 * stay in order. A job borrows its target's state, which therefore outlives the job.
 */
#include "receiver/sink/files_internal.h"

#include "common/core/clock.h"
#include "receiver/metrics.h"

#include <signal.h>

#define RETRY_MS 250 /* how often those that wait are looked at */
/* Nobody who is alive has been silent for so long: its latest file may go as others do. */
#define FORGOTTEN_MS INT64_C(600000)

static struct files *from_sink(const struct sink *sink)
{
	return container_of((struct sink *)sink, struct files, base);
}

void files_end(struct files *files, struct item *item, enum ordered_outcome outcome)
{
	ordered_end(files->context.ordered, item->frame, outcome);
	free(item);
}

void files_count_failure(struct files *files, const struct files_error *error)
{
	series_inc(metrics_series(files->context.metrics, RM_PUBLISH_ERRORS, files->base.name,
		files_failure_name(error->failure)));
}

void files_lose(struct files *files, const struct files_error *error, const char *path)
{
	bool is_news = readiness_lose(&files->readiness, "cannot %s in %s/%s: %s", error->what,
		files->top, path, strerror(error->error_number));

	if (is_news)
		log_limited(&files->failed, LOG_WARN,
			"a scrape cannot be written; it is tried again",
			LOG_S("sink", files->base.name), LOG_S("dir", files->top),
			LOG_S("folder", path), LOG_S("step", error->what),
			LOG_S("error", strerror(error->error_number)));
}

void files_gain(struct files *files)
{
	if (TAILQ_EMPTY(&files->waiting) && readiness_gain(&files->readiness))
		log_info("scrapes are written", LOG_S("sink", files->base.name),
			LOG_S("dir", files->top));
}

void files_part_closed(struct files *files)
{
	if (--files->closing_parts > 0)
		return;
	for (size_t i = 0; i < FILES_MAX_JOBS; i++)
		files_job_fini(&files->slots[i].job);
	free(files->top);
	files->on_closed(files->closed_arg);
	free(files);
}

static bool is_alive(void *arg, const char *folder)
{
	const struct files *files = arg;
	const struct files_state *state;

	HASH_FIND(by_path, files->by_path, folder, strlen(folder), state);
	return state != NULL || files->trusted_since_ms == 0 ||
	       clock_wall_ms() - files->trusted_since_ms < FORGOTTEN_MS;
}

static void on_retry_timer(uv_timer_t *timer)
{
	files_end_waits(timer->data);
	files_pump(timer->data);
}

/* The sink's functions. */

static void wake(struct sink *sink)
{
	files_pump(from_sink(sink));
}

static void log_silent(struct sink *sink, struct ordered_target *target)
{
	ordered_forget(from_sink(sink)->context.ordered, target);
}

static void log_forget(struct sink *sink, struct ordered_target *target)
{
	struct files *files = from_sink(sink);
	struct files_state *state = target->sink_state;

	if (state == NULL)
		return;
	files_leave_queue(files, state);
	HASH_DELETE(by_path, files->by_path, state);
	state->target = NULL;
	target->sink_state = NULL;
	if (!state->is_busy)
		files_free_state(state);
}

static void sweep(struct sink *sink, int64_t now_ms, int64_t trusted_since_ms)
{
	struct files *files = from_sink(sink);

	(void)now_ms;
	files->trusted_since_ms = trusted_since_ms;
	series_set(metrics_series(files->context.metrics, RM_FILES_BYTES, files->base.name),
		(double)files_retention_held_bytes(files->retention));
}

static void set_settings(struct sink *sink, const struct settings *settings, const void *own)
{
	struct files *files = from_sink(sink);

	files->context.settings = settings;
	files->settings = own;
	files_retention_set_limits(files->retention, files->settings->retention_age_ms,
		files->settings->retention_bytes);
}

static size_t running(const struct sink *sink)
{
	return from_sink(sink)->job_count + from_sink(sink)->unsynced_count;
}

static void stop(struct sink *sink)
{
	struct files *files = from_sink(sink);

	files->is_stopping = true;
	files_start_sync(files);
}

static bool is_ready(const struct sink *sink, struct buf *why)
{
	return readiness_get(&from_sink(sink)->readiness, why);
}

static void on_handle_closed(uv_handle_t *handle)
{
	files_part_closed(handle->data);
}

static void on_retention_closed(void *arg)
{
	files_part_closed(arg);
}

static void close_sink(struct sink *sink, void (*on_closed)(void *arg), void *arg)
{
	struct files *files = from_sink(sink);

	files->is_stopping = files->is_closing = true;
	files->on_closed = on_closed;
	files->closed_arg = arg;
	/* The two timers, the retention, and what other threads have. */
	files->closing_parts = 3 + files->job_count + files->is_syncing;
	files_free_items(&files->written);
	files_free_items(&files->syncing);
	uv_close((uv_handle_t *)&files->sync_timer, on_handle_closed);
	uv_close((uv_handle_t *)&files->retry_timer, on_handle_closed);
	files_retention_close(files->retention, on_retention_closed, files);
}

static const struct sink_ops files_ops = {
	.wake = wake,
	.log_silent = log_silent,
	.log_forget = log_forget,
	.sweep = sweep,
	.set_settings = set_settings,
	.running = running,
	.stop = stop,
	.is_ready = is_ready,
	.close = close_sink,
};

static void on_deleted(void *arg, const char *reason, uint64_t count)
{
	struct files *files = arg;

	series_add(
		metrics_series(files->context.metrics, RM_FILES_DELETED, files->base.name, reason),
		(double)count);
}

static void resolve_series(struct files *files)
{
	const struct {
		struct series **series;
		enum receiver_metric id;
	} wanted[] = {
		{&files->files_written, RM_FILES_WRITTEN},
		{&files->bytes_written, RM_FILES_WRITTEN_BYTES},
		{&files->seconds, RM_PUBLISH_SECONDS},
		{&files->parse_errors, RM_PARSE_ERRORS},
	};

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		*wanted[i].series =
			metrics_series(files->context.metrics, wanted[i].id, files->base.name);
}

static void open_parts(struct files *files)
{
	const struct files_retention_options retention = {
		.loop = files->context.loop,
		.top = files->top,
		.age_ms = files->settings->retention_age_ms,
		.bytes = files->settings->retention_bytes,
		.is_alive = is_alive,
		.on_deleted = on_deleted,
		.arg = files,
	};

	for (size_t i = 0; i < FILES_MAX_JOBS; i++) {
		files_job_init(&files->slots[i].job);
		files->slots[i].job.owner = files;
	}
	uv_timer_init(files->context.loop, &files->sync_timer);
	uv_timer_init(files->context.loop, &files->retry_timer);
	files->sync_timer.data = files->retry_timer.data = files;
	uv_timer_start(&files->retry_timer, on_retry_timer, RETRY_MS, RETRY_MS);
	files->retention = files_retention_open(&retention);
}

struct sink *files_open(const struct sink_context *context, const struct files_settings *settings)
{
	struct files *files = xcalloc(1, sizeof(*files));

	/* A limit on the size of files is to be an error as others are. */
	signal(SIGXFSZ, SIG_IGN);
	files->base = (struct sink){.ops = &files_ops, .name = settings->name};
	files->context = *context;
	files->settings = settings;
	files->top = xstrdup(settings->dir);
	TAILQ_INIT(&files->ready);
	TAILQ_INIT(&files->waiting);
	TAILQ_INIT(&files->written);
	TAILQ_INIT(&files->syncing);
	readiness_gain(&files->readiness);
	resolve_series(files);
	open_parts(files);
	return &files->base;
}
