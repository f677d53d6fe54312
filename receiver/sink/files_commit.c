/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written has to come to the disk before its message is acknowledged: otherwise a failure
 * of power would lose what the stream has given up. A sync of the whole file system serves all that
 * was written before it; one for each file would be slower by far.
 */
#include "receiver/sink/files_internal.h"

#include "common/core/clock.h"

#define SYNC_MIN_MS 500
/* Syncing takes no more than one part in so many of the time. */
#define SYNC_PART 4

static void do_sync(uv_work_t *work)
{
	struct files *files = work->data;

	files_sync(files->top, &files->sync_result);
}

static void end_synced(struct files *files)
{
	struct item *item;

	while ((item = TAILQ_FIRST(&files->syncing)) != NULL) {
		TAILQ_REMOVE(&files->syncing, item, next);
		files->unsynced_count--;
		files_end(files, item, ORDERED_TAKEN);
	}
}

/* What the system could not put on the disk is lost there: everything is written once more. */
static void write_again(struct files *files, struct items *items)
{
	struct item *item;

	while ((item = TAILQ_LAST(items, items)) != NULL) {
		TAILQ_REMOVE(items, item, next);
		files->unsynced_count--;
		files_give_back(files, item);
		if (item->state->not_before_ms == 0)
			files_wait_a_while(files, item->state);
	}
}

static void on_synced(uv_work_t *work, int status)
{
	struct files *files = work->data;
	uint64_t now_ms = clock_mono_ms();

	(void)status;
	files->is_syncing = false;
	files->sync_not_before_ms = now_ms + SYNC_PART * (now_ms - files->sync_begun_ms);
	if (files->is_closing) {
		files_part_closed(files);
		return;
	}
	if (files->sync_result.failure == FILES_OK) {
		end_synced(files);
	} else {
		files_count_failure(files, &files->sync_result);
		files_lose(files, &files->sync_result, "");
		write_again(files, &files->written);
		write_again(files, &files->syncing);
	}
	files_start_sync(files);
	files_pump(files);
}

static void begin_sync(struct files *files)
{
	if (files->is_syncing || files->is_closing || TAILQ_EMPTY(&files->written))
		return;
	TAILQ_CONCAT(&files->syncing, &files->written, next);
	files->is_syncing = true;
	files->sync_begun_ms = clock_mono_ms();
	files->sync.data = files;
	uv_queue_work(files->context.loop, &files->sync, do_sync, on_synced);
}

static void on_sync_timer(uv_timer_t *timer)
{
	begin_sync(timer->data);
}

void files_start_sync(struct files *files)
{
	uint64_t now_ms = clock_mono_ms(), wait_ms = SYNC_MIN_MS;

	if (files->is_syncing || TAILQ_EMPTY(&files->written))
		return;
	if (files->sync_not_before_ms > now_ms + wait_ms)
		wait_ms = files->sync_not_before_ms - now_ms;
	if (files->is_stopping)
		begin_sync(files);
	else if (!uv_is_active((uv_handle_t *)&files->sync_timer))
		uv_timer_start(&files->sync_timer, on_sync_timer, wait_ms, 0);
}
