/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets with frames to be written: ready, waiting after a failure, or busy, when they are in no
 * queue.
 */
#include "receiver/sink/files_internal.h"

#include "common/core/clock.h"

#define BACKOFF_MIN_MS 500
#define BACKOFF_MAX_MS 30000

void files_leave_queue(struct files *files, struct files_state *state)
{
	if (state->queue != NULL)
		TAILQ_REMOVE(state->queue, state, in_queue);
	if (state->queue == &files->waiting)
		files->pending_count += state->pending_count;
	state->queue = NULL;
}

void files_enqueue(struct files *files, struct files_state *state)
{
	struct states *queue = state->not_before_ms > 0 ? &files->waiting : &files->ready;

	if (state->is_busy || TAILQ_EMPTY(&state->pending))
		queue = NULL;
	if (state->queue == queue)
		return;
	files_leave_queue(files, state);
	state->queue = queue;
	if (queue != NULL)
		TAILQ_INSERT_TAIL(queue, state, in_queue);
	if (queue == &files->waiting)
		files->pending_count -= state->pending_count;
}

static void count_pending(struct files *files, struct files_state *state, int change)
{
	state->pending_count += (size_t)change;
	if (state->queue != &files->waiting)
		files->pending_count += (size_t)change;
}

static char *join(const struct files_folder *folder)
{
	struct buf path = {0};

	for (size_t i = 0; i < folder->depth; i++)
		buf_appendf(&path, "%s%s", i == 0 ? "" : "/", folder->names[i]);
	(void)buf_cstr(&path);
	return buf_take(&path).ptr;
}

struct files_state *files_state_of(struct files *files, const struct frame *frame)
{
	struct ordered_target *target = frame->target;
	struct files_state *state = target->sink_state;

	if (state != NULL)
		return state;
	state = xcalloc(1, sizeof(*state));
	if (files_folder_init(&state->folder, frame->publisher, frame->job, frame->instance,
		    labels_hash(&target->labels)) != 0) {
		free(state);
		return NULL;
	}
	state->target = target;
	state->path = join(&state->folder);
	state->backoff = (struct backoff){.min_ms = BACKOFF_MIN_MS, .max_ms = BACKOFF_MAX_MS};
	TAILQ_INIT(&state->pending);
	HASH_ADD_KEYPTR(by_path, files->by_path, state->path, strlen(state->path), state);
	target->sink_state = state;
	ordered_hold(files->context.ordered, target, sizeof(*state) + 2 * strlen(state->path));
	return state;
}

void files_free_items(struct items *items)
{
	struct item *item;

	while ((item = TAILQ_FIRST(items)) != NULL) {
		TAILQ_REMOVE(items, item, next);
		free(item);
	}
}

void files_free_state(struct files_state *state)
{
	files_free_items(&state->pending);
	files_folder_fini(&state->folder);
	free(state->path);
	free(state);
}

void files_append(struct files *files, struct item *item)
{
	TAILQ_INSERT_TAIL(&item->state->pending, item, next);
	count_pending(files, item->state, 1);
	files_enqueue(files, item->state);
}

void files_give_back(struct files *files, struct item *item)
{
	TAILQ_INSERT_HEAD(&item->state->pending, item, next);
	count_pending(files, item->state, 1);
	files_enqueue(files, item->state);
}

void files_wait_a_while(struct files *files, struct files_state *state)
{
	files_leave_queue(files, state);
	state->not_before_ms = clock_mono_ms() + backoff_next_ms(&state->backoff);
	files_enqueue(files, state);
}

struct item *files_take_first(struct files *files)
{
	struct files_state *state = TAILQ_FIRST(&files->ready);
	struct item *item;

	if (state == NULL)
		return NULL;
	item = TAILQ_FIRST(&state->pending);
	TAILQ_REMOVE(&state->pending, item, next);
	count_pending(files, state, -1);
	state->is_busy = true;
	files_enqueue(files, state);
	return item;
}

void files_end_waits(struct files *files)
{
	struct files_state *state, *next;
	uint64_t now_ms = clock_mono_ms();

	for (state = TAILQ_FIRST(&files->waiting); state != NULL; state = next) {
		next = TAILQ_NEXT(state, in_queue);
		if (now_ms < state->not_before_ms)
			continue;
		state->not_before_ms = 0;
		files_enqueue(files, state);
	}
}
