/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_HANDOFF_H
#define PS_COMMON_LOOP_HANDOFF_H
/*
 * The one way from another thread to the loop: a list under a mutex and a uv_async_t. The loop
 * takes the whole list, unlocks, and dispatches in order of posting. What is posted is not touched
 * again by its sender. It does not bound itself: the senders' protocol does.
 */
#include <uv.h>

struct handoff_item {
	struct handoff_item *next;
};

struct handoff;

/* Called on the loop thread for each item; owns it. */
typedef void (*handoff_dispatch)(void *arg, struct handoff_item *item);

struct handoff *handoff_open(uv_loop_t *loop, handoff_dispatch dispatch, void *arg);

/* Any thread. The item belongs to the handoff until dispatched. */
void handoff_post(struct handoff *handoff, struct handoff_item *item);

/*
 * Loop thread, once no other thread can post any more: dispatches what is left, then closes and
 * frees. `on_closed` may be NULL.
 */
void handoff_close(struct handoff *handoff, void (*on_closed)(void *arg), void *arg);

#endif
