/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock covers the list and the wake-up: a sender whose last item makes the loop close the
 * hand-off must be out of uv_async_send before the handle is closed. Only the post that finds the
 * list empty wakes the loop, as whoever takes the list takes all of it. The batch in dispatch is
 * part of the struct, so that closing from inside a dispatch still finds what is left of it.
 */
#include "common/loop/handoff.h"

#include "common/core/mem.h"

#include <stdbool.h>

struct handoff {
	uv_async_t async;
	uv_mutex_t lock;
	struct handoff_item *posted; /* under the lock, oldest first */
	struct handoff_item **tail;
	struct handoff_item *batch; /* loop thread: taken, not yet dispatched */
	handoff_dispatch dispatch;
	void *dispatch_arg;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

static struct handoff_item *take_posted(struct handoff *handoff)
{
	struct handoff_item *taken;

	uv_mutex_lock(&handoff->lock);
	taken = handoff->posted;
	handoff->posted = NULL;
	handoff->tail = &handoff->posted;
	uv_mutex_unlock(&handoff->lock);
	return taken;
}

static void dispatch_batch(struct handoff *handoff)
{
	while (handoff->batch != NULL) {
		struct handoff_item *item = handoff->batch;

		handoff->batch = item->next;
		item->next = NULL;
		handoff->dispatch(handoff->dispatch_arg, item);
	}
}

static void on_async(uv_async_t *async)
{
	struct handoff *handoff = container_of(async, struct handoff, async);

	handoff->batch = take_posted(handoff);
	dispatch_batch(handoff);
}

static void on_async_closed(uv_handle_t *handle)
{
	struct handoff *handoff = container_of((uv_async_t *)handle, struct handoff, async);
	void (*on_closed)(void *) = handoff->on_closed;
	void *arg = handoff->closed_arg;

	uv_mutex_destroy(&handoff->lock);
	free(handoff);
	if (on_closed != NULL)
		on_closed(arg);
}

struct handoff *handoff_open(uv_loop_t *loop, handoff_dispatch dispatch, void *arg)
{
	struct handoff *handoff = xcalloc(1, sizeof(*handoff));

	handoff->tail = &handoff->posted;
	handoff->dispatch = dispatch;
	handoff->dispatch_arg = arg;
	/* Neither fails but for want of memory or descriptors at start-up. */
	if (uv_mutex_init(&handoff->lock) != 0 ||
		uv_async_init(loop, &handoff->async, on_async) != 0)
		abort();
	return handoff;
}

void handoff_post(struct handoff *handoff, struct handoff_item *item)
{
	bool was_empty;

	item->next = NULL;
	uv_mutex_lock(&handoff->lock);
	was_empty = handoff->posted == NULL;
	*handoff->tail = item;
	handoff->tail = &item->next;
	if (was_empty)
		uv_async_send(&handoff->async);
	uv_mutex_unlock(&handoff->lock);
}

void handoff_close(struct handoff *handoff, void (*on_closed)(void *arg), void *arg)
{
	handoff->on_closed = on_closed;
	handoff->closed_arg = arg;
	dispatch_batch(handoff);
	handoff->batch = take_posted(handoff);
	while (handoff->batch != NULL) {
		dispatch_batch(handoff);
		handoff->batch = take_posted(handoff);
	}
	uv_close((uv_handle_t *)&handoff->async, on_async_closed);
}
