/* SPDX-License-Identifier: Apache-2.0 */
/* At most one request is under way; the timer runs only while none is. */
#include "common/nats/stream_watch.h"

#include "common/nats/api.h"

struct stream_watch {
	struct stream_watch_options options;
	uv_timer_t timer;
	uint64_t request; /* 0 while nothing is asked */
	void (*on_closed)(void *arg);
	void *closed_arg;
	char *stream;
};

static void on_timer(uv_timer_t *timer);

static void read_answer(struct stream_watch *watch, struct slice json)
{
	struct js_stream_info info;
	struct err err;

	if (js_stream_info_parse(&info, json, &err) != 0)
		return;
	if (info.error.code == 0)
		watch->options.on_info(watch->options.arg, &info);
	js_stream_info_fini(&info);
}

static void on_reply(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	struct stream_watch *watch = arg;

	(void)text;
	watch->request = 0;
	if (outcome == NATS_REPLY_OK)
		read_answer(watch, nats_incoming_body(message));
	if (outcome != NATS_REPLY_DENIED)
		uv_timer_start(&watch->timer, on_timer, (uint64_t)watch->options.interval_ms, 0);
}

void stream_watch_now(struct stream_watch *watch)
{
	if (watch->request != 0)
		return;
	uv_timer_stop(&watch->timer);
	watch->request = nats_api_request(watch->options.link,
		nats_api_message(NULL, "$JS.API.STREAM.INFO.%s", watch->stream), on_reply, watch);
}

static void on_timer(uv_timer_t *timer)
{
	stream_watch_now(timer->data);
}

struct stream_watch *stream_watch_open(uv_loop_t *loop, const struct stream_watch_options *options)
{
	struct stream_watch *watch = xcalloc(1, sizeof(*watch));

	watch->options = *options;
	watch->stream = xstrdup(options->stream);
	uv_timer_init(loop, &watch->timer);
	watch->timer.data = watch;
	return watch;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct stream_watch *watch = handle->data;

	watch->on_closed(watch->closed_arg);
	free(watch->stream);
	free(watch);
}

void stream_watch_close(struct stream_watch *watch, void (*on_closed)(void *arg), void *arg)
{
	watch->on_closed = on_closed;
	watch->closed_arg = arg;
	if (watch->request != 0)
		nats_link_cancel(watch->options.link, watch->request);
	uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}
