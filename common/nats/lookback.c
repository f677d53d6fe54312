/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IDLE -> CREATING (the consumer; the server removes it once nobody pulls) -> READING: one pull
 * after the other, until as many messages have come as there were subjects, or no more do. Each run
 * has an inbox of its own, so that nothing of an abandoned one gets into the next.
 */
#include "common/nats/lookback.h"

#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/nats/api.h"
#include "common/nats/pull_status.h"

#define INACTIVE_MS     30000
#define PULL_EXPIRES_MS 5000
#define STALL_MS        (PULL_EXPIRES_MS + 2000) /* an expired pull says so before */

enum lookback_state { IDLE, CREATING, READING, CLOSED };

struct lookback {
	struct lookback_options options;
	char *stream, *filter;
	struct nats_link_listener listener;
	struct nats_inbox *inbox; /* NULL unless reading */
	uv_timer_t timer;
	enum lookback_state state;
	uint64_t request;
	char consumer[256];
	uint64_t generation;
	uint64_t to_come; /* of this run */
	uint64_t left;    /* of the outstanding pull */
	uint64_t messages;
	bool was_refused; /* said once: the right is missing */
	struct log_limit failed;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

static void end_run(struct lookback *lookback)
{
	if (lookback->request != 0)
		nats_link_cancel(lookback->options.link, lookback->request);
	lookback->request = 0;
	if (lookback->inbox != NULL)
		nats_inbox_close(lookback->inbox);
	lookback->inbox = NULL;
	uv_timer_stop(&lookback->timer);
	lookback->state = IDLE;
}

static void fail(struct lookback *lookback, const char *why)
{
	end_run(lookback);
	log_limited(&lookback->failed, LOG_WARN,
		"cannot look back at the newest of each target; what a receiver that crashed left "
		"unacknowledged comes only after the durable's ack_wait",
		LOG_S("stream", lookback->stream), LOG_S("error", why));
}

/* That is how it is set up: said once, and tried again at each start of a run. */
static void refuse(struct lookback *lookback, const char *why)
{
	end_run(lookback);
	if (!lookback->was_refused)
		log_info("not looking back at the newest of each target: no permission; what a "
			 "receiver that crashed left unacknowledged comes only after the durable's "
			 "ack_wait",
			LOG_S("stream", lookback->stream), LOG_S("error", why));
	lookback->was_refused = true;
}

static void on_timer(uv_timer_t *timer)
{
	struct lookback *lookback = timer->data;

	fail(lookback, "no messages in time");
}

static void pull(struct lookback *lookback)
{
	uint64_t most =
		(uint64_t)js_unacked_batch((uint64_t)nats_link_max_payload(lookback->options.link));
	struct nats_outgoing *request;
	struct buf body = {0};

	lookback->left = lookback->to_come < most ? lookback->to_come : most;
	js_pull_request(&body, (int64_t)lookback->left, 0, PULL_EXPIRES_MS, 0);
	request = nats_api_message(
		&body, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", lookback->stream, lookback->consumer);
	nats_inbox_ask(lookback->inbox, request);
	nats_outgoing_unref(request);
	uv_timer_start(&lookback->timer, on_timer, STALL_MS, 0);
}

static void on_delivery(struct lookback *lookback, struct nats_incoming *incoming)
{
	struct consumer_message message = {
		.incoming = incoming, .generation = lookback->generation, .is_lookback = true};
	bool is_read = js_delivery_parse(&message.delivery, nats_incoming_reply(incoming)) == 0;
	bool is_last = is_read && message.delivery.pending == 0;

	lookback->to_come--;
	lookback->left -= lookback->left > 0;
	if (is_last || lookback->to_come == 0)
		end_run(lookback);
	else if (lookback->left == 0)
		pull(lookback);
	if (!is_read) {
		nats_incoming_free(incoming);
		return;
	}
	lookback->messages++;
	lookback->options.on_message(lookback->options.arg, &message);
}

static void on_status(struct lookback *lookback, const struct nats_incoming *message)
{
	struct slice words;
	struct err why;

	switch (pull_status_read(message, &words)) {
	case PULL_HEARTBEAT:
		break;
	case PULL_TOO_MANY_BYTES:
		pull(lookback);
		break;
	case PULL_EMPTY:
	case PULL_EXPIRED:
		end_run(lookback); /* some were removed since they were counted */
		break;
	default:
		err_setf(&why, "status %d: %.*s", nats_incoming_status(message, &words),
			SLICE_FMT(words));
		fail(lookback, why.text);
	}
}

static void on_incoming(void *arg, struct nats_incoming *message)
{
	struct lookback *lookback = arg;

	/* Only deliveries carry a reply subject; a stored message may pretend to be a status. */
	if (nats_incoming_reply(message).len > 0) {
		on_delivery(lookback, message);
		return;
	}
	on_status(lookback, message);
	nats_incoming_free(message);
}

static void on_denied(void *arg, const char *text)
{
	refuse(arg, text);
}

static void begin_reading(struct lookback *lookback, const struct js_consumer_info *info)
{
	lookback->to_come = info->num_pending;
	if (lookback->to_come == 0) {
		end_run(lookback);
		return;
	}
	memcpy(lookback->consumer, info->name, sizeof(lookback->consumer));
	lookback->state = READING;
	lookback->inbox = nats_inbox_open(lookback->options.link, on_incoming, on_denied, lookback);
	pull(lookback);
}

static void on_created(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	struct lookback *lookback = arg;
	struct js_consumer_info info;
	struct err err;

	lookback->request = 0;
	if (outcome == NATS_REPLY_DENIED) {
		refuse(lookback, text);
	} else if (outcome != NATS_REPLY_OK) {
		nats_api_outcome(&err, outcome, text);
		fail(lookback, err.text);
	} else if (js_consumer_info_parse(&info, nats_incoming_body(message), &err) != 0) {
		fail(lookback, err.text);
	} else if (info.error.code != 0) {
		nats_api_error(&err, &info.error);
		fail(lookback, err.text);
	} else {
		begin_reading(lookback, &info);
	}
}

static void on_up(void *arg)
{
	(void)arg;
}

static void on_down(void *arg, const char *reason)
{
	(void)reason;
	end_run(arg);
}

struct lookback *lookback_open(uv_loop_t *loop, const struct lookback_options *options)
{
	struct lookback *lookback = xcalloc(1, sizeof(*lookback));

	lookback->options = *options;
	lookback->stream = xstrdup(options->stream);
	lookback->filter = xstrdup(options->filter_subject);
	uv_timer_init(loop, &lookback->timer);
	lookback->timer.data = lookback;
	lookback->listener =
		(struct nats_link_listener){.on_up = on_up, .on_down = on_down, .arg = lookback};
	nats_link_listen(options->link, &lookback->listener);
	return lookback;
}

void lookback_start(struct lookback *lookback, uint64_t generation)
{
	struct buf body = {0};

	end_run(lookback);
	lookback->generation = generation;
	lookback->state = CREATING;
	js_lookback_create_request(&body, lookback->stream, lookback->filter, INACTIVE_MS);
	lookback->request = nats_api_request(lookback->options.link,
		nats_api_message(&body, "$JS.API.CONSUMER.CREATE.%s", lookback->stream), on_created,
		lookback);
}

bool lookback_is_running(const struct lookback *lookback)
{
	return lookback->state == CREATING || lookback->state == READING;
}

uint64_t lookback_messages(const struct lookback *lookback)
{
	return lookback->messages;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct lookback *lookback = handle->data;

	lookback->on_closed(lookback->closed_arg);
	free(lookback->stream);
	free(lookback->filter);
	free(lookback);
}

void lookback_close(struct lookback *lookback, void (*on_closed)(void *arg), void *arg)
{
	end_run(lookback);
	lookback->state = CLOSED;
	lookback->on_closed = on_closed;
	lookback->closed_arg = arg;
	nats_link_unlisten(lookback->options.link, &lookback->listener);
	uv_close((uv_handle_t *)&lookback->timer, on_timer_closed);
}
