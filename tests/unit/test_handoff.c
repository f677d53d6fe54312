/* SPDX-License-Identifier: Apache-2.0 */
/* The hand-off: order per sender, nothing lost, and every way of closing it. */
#include "common/loop/handoff.h"

#include "common/core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { SENDERS = 4, ITEMS = 20000 };

struct item {
	struct handoff_item handoff;
	int sender;
	int number;
};

struct scene {
	uv_loop_t loop;
	struct handoff *handoff;
	int seen[SENDERS]; /* items dispatched, which must be the next one's number */
	int close_after;   /* close from inside the dispatch of this many; 0: never */
	int repost;        /* post as many more from inside a dispatch */
	int reposted;
	int total;
	int closed;
	uv_thread_t loop_thread;
};

struct sender {
	struct scene *scene;
	int id;
};

static void post(struct scene *scene, int sender, int number)
{
	struct item *item = xcalloc(1, sizeof(*item));

	item->sender = sender;
	item->number = number;
	handoff_post(scene->handoff, &item->handoff);
}

static void on_closed(void *arg)
{
	((struct scene *)arg)->closed++;
}

static void on_item(void *arg, struct handoff_item *handoff_item)
{
	struct scene *scene = arg;
	struct item *item = container_of(handoff_item, struct item, handoff);
	uv_thread_t self = uv_thread_self();

	assert_true(uv_thread_equal(&self, &scene->loop_thread));
	assert_int_equal(item->number, scene->seen[item->sender]);
	scene->seen[item->sender]++;
	scene->total++;
	free(item);
	if (scene->repost > 0) {
		scene->repost--;
		post(scene, SENDERS - 1, scene->reposted++);
	}
	if (scene->total == scene->close_after)
		handoff_close(scene->handoff, on_closed, scene);
}

static void scene_open(struct scene *scene)
{
	*scene = (struct scene){.loop_thread = uv_thread_self()};
	assert_int_equal(uv_loop_init(&scene->loop), 0);
	scene->handoff = handoff_open(&scene->loop, on_item, scene);
}

static void scene_finish(struct scene *scene)
{
	assert_int_equal(uv_run(&scene->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(scene->closed, 1);
	assert_int_equal(uv_loop_close(&scene->loop), 0);
}

static void send_all(void *arg)
{
	struct sender *sender = arg;

	for (int i = 0; i < ITEMS; i++)
		post(sender->scene, sender->id, i);
}

/* The last item makes the loop close the hand-off while its sender may still be inside the post. */
static void test_threads_in_order(void **state)
{
	struct scene scene;
	struct sender senders[SENDERS];
	uv_thread_t threads[SENDERS];

	(void)state;
	scene_open(&scene);
	scene.close_after = SENDERS * ITEMS;
	for (int i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){&scene, i};
		assert_int_equal(uv_thread_create(&threads[i], send_all, &senders[i]), 0);
	}
	scene_finish(&scene);
	for (int i = 0; i < SENDERS; i++) {
		uv_thread_join(&threads[i]);
		assert_int_equal(scene.seen[i], ITEMS);
	}
}

static void test_close_dispatches_the_rest(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene);
	for (int i = 0; i < 10; i++)
		post(&scene, 1, i);
	assert_int_equal(scene.total, 0);
	scene.repost = 3;
	handoff_close(scene.handoff, on_closed, &scene);
	assert_int_equal(scene.total, 13);
	scene_finish(&scene);
}

static void test_close_inside_dispatch(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene);
	scene.close_after = 4;
	for (int i = 0; i < 10; i++)
		post(&scene, 2, i);
	scene_finish(&scene);
	assert_int_equal(scene.total, 10);
}

static void test_close_unused_without_callback(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene);
	handoff_close(scene.handoff, NULL, NULL);
	scene.closed = 1;
	scene_finish(&scene);
}

/* A post from a dispatch is taken in a later round, not lost for want of a wake-up. */
static void test_post_inside_dispatch(void **state)
{
	struct scene scene;

	(void)state;
	scene_open(&scene);
	scene.repost = 5;
	scene.close_after = 6;
	post(&scene, 0, 0);
	scene_finish(&scene);
	assert_int_equal(scene.total, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_in_order),
		cmocka_unit_test(test_close_dispatches_the_rest),
		cmocka_unit_test(test_close_inside_dispatch),
		cmocka_unit_test(test_close_unused_without_callback),
		cmocka_unit_test(test_post_inside_dispatch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
