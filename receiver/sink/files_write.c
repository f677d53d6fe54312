/* SPDX-License-Identifier: Apache-2.0 */
/* Files are made and written on libuv's threads; decoding, which may need a keyframe, is done here.
 */
#include "receiver/sink/files_internal.h"

#include "common/core/clock.h"
#include "receiver/sink/decode.h"

/* Frames taken that wait for a job: enough for all jobs, though many be of one target. */
#define MAX_PENDING 64

static void refuse(struct files *files, struct item *item, const struct files_error *error)
{
	log_limited(&files->refused, LOG_WARN,
		"a scrape cannot be written and is given up; something is in the way, or the file "
		"system does not take it",
		LOG_S("sink", files->base.name), LOG_S("dir", files->top),
		LOG_S("folder", item->state->path), LOG_S("step", error->what),
		LOG_S("error", strerror(error->error_number)));
	files_end(files, item, ORDERED_REFUSED);
}

static void say_malformed(struct files *files, const struct item *item, const char *error)
{
	const struct frame *frame = item->frame;

	series_inc(files->parse_errors);
	log_limited(&files->malformed, LOG_WARN, "a scrape is malformed; it is delivered as up 0",
		LOG_S("sink", files->base.name), LOG_SL("publisher", frame->publisher),
		LOG_SL("job", frame->job), LOG_SL("instance", frame->instance),
		LOG_S("error", error));
}

/* A frame that was written, or failed, before was judged then. */
static void note_judged(struct files *files, const struct slot *slot)
{
	if (slot->job.malformed.text[0] != '\0' && !slot->item->frame->was_judged)
		say_malformed(files, slot->item, slot->job.malformed.text);
	slot->item->frame->was_judged = true;
}

static void on_stored(struct files *files, struct slot *slot, struct item *item)
{
	struct files_state *state = item->state;

	series_inc(files->files_written);
	series_add(files->bytes_written, (double)slot->job.bytes);
	series_observe(files->seconds, (double)(clock_mono_us() - slot->job.begun_us) / 1e6);
	files_retention_note(files->retention, slot->job.bytes);
	backoff_reset(&state->backoff);
	TAILQ_INSERT_TAIL(&files->written, item, next);
	files->unsynced_count++;
	files_enqueue(files, state);
	files_gain(files);
	files_start_sync(files);
}

static void on_not_stored(struct files *files, struct slot *slot, struct item *item)
{
	const struct files_error *error = &slot->job.result;

	files_count_failure(files, error);
	if (files_failure_passes(error->failure)) {
		files_lose(files, error, item->state->path);
		files_give_back(files, item);
		files_wait_a_while(files, item->state);
	} else {
		files_enqueue(files, item->state);
		refuse(files, item, error);
	}
}

/* As we close, frames are not to be touched any more. */
static void drop(struct item *item)
{
	if (item->state->target == NULL)
		files_free_state(item->state);
	free(item);
}

static void on_job_done(uv_work_t *work, int status)
{
	struct slot *slot = container_of(work, struct slot, job.work);
	struct files *files = slot->job.owner;
	struct item *item = slot->item;

	(void)status;
	item->state->is_busy = false;
	files->job_count--;
	if (files->is_closing) {
		slot->item = NULL;
		drop(item);
		files_part_closed(files);
		return;
	}
	note_judged(files, slot);
	slot->item = NULL;
	if (slot->job.result.failure == FILES_OK)
		on_stored(files, slot, item);
	else
		on_not_stored(files, slot, item);
	files_pump(files);
}

static void do_job(uv_work_t *work)
{
	files_job_run(container_of(work, struct files_job, work));
}

/* A body that cannot be decoded makes the scrape a failed one, with the reason. */
static void decode(struct files *files, struct files_job *job, const struct frame *frame)
{
	const char *reason = sink_decode(
		&files->context, files->base.name, frame, &files->undecodable, &job->exposition);

	if (reason == NULL)
		return;
	job->is_up = false;
	job->error = xasprintf("the scrape cannot be decoded: %s", reason);
}

static struct slot *free_slot(struct files *files)
{
	for (size_t i = 0; i < FILES_MAX_JOBS; i++)
		if (files->slots[i].item == NULL)
			return &files->slots[i];
	return NULL;
}

static void begin_job(struct files *files, struct slot *slot, struct item *item)
{
	slot->item = item;
	slot->job.top = files->top;
	slot->job.folder = &item->state->folder;
	slot->job.is_compressed = files->settings->compression == FILES_ZSTD;
	files_job_set(&slot->job, item->frame);
	if (slot->job.is_up)
		decode(files, &slot->job, item->frame);
	files->job_count++;
	uv_queue_work(files->context.loop, &slot->job.work, do_job, on_job_done);
}

/* Takes the next frame over, if there is one. */
static bool take(struct files *files)
{
	struct frame *frame = ordered_next(files->context.ordered, clock_wall_ms());
	struct item *item;

	if (frame == NULL)
		return false;
	item = xcalloc(1, sizeof(*item));
	item->frame = frame;
	item->state = files_state_of(files, frame);
	if (item->state == NULL)
		files_end(files, item, ORDERED_REFUSED);
	else
		files_append(files, item);
	return true;
}

static struct item *next_item(struct files *files)
{
	while (TAILQ_EMPTY(&files->ready) && files->pending_count < MAX_PENDING && take(files))
		;
	return files_take_first(files);
}

void files_pump(struct files *files)
{
	struct slot *slot;
	struct item *item;

	while (!files->is_stopping && (slot = free_slot(files)) != NULL) {
		item = next_item(files);
		if (item == NULL)
			return;
		begin_job(files, slot, item);
	}
}
