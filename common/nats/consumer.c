/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WAIT_LINK -> LOOKING (for the durable) -> BOUND, or WAITING to look again. While bound, one pull
 * request is outstanding. The server ends a request without a word when its batch is complete, with
 * status 408 when it expires, with 409 for other causes; a request to a durable that is gone is not
 * answered at all, so that missed heartbeats make us look for the durable again.
 *
 * Invariants: one inbox for all pulls, as what a lost request still delivers is not to be lost;
 * `left` is what the newest request may still deliver, 0 when none is outstanding; while bound, the
 * timer watches the request, or waits to make the next one.
 */
#include "common/nats/consumer_internal.h"

#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/nats/api.h"
#include "common/nats/pull_status.h"

#include <assert.h>
#include <stdio.h>

#define BATCH_MESSAGES         5000
#define BATCH_MIN_BYTES        ((uint64_t)8 << 20)
#define BATCH_MAX_BYTES        ((uint64_t)128 << 20) /* above any message a server takes */
#define PULL_EXPIRES_MS        30000
#define HEARTBEAT_MS           3000
#define SILENCE_MS             (3 * HEARTBEAT_MS)
#define EXPIRY_TOLERANCE_MS    2000
#define PULL_BRIEF_MS          1000 /* a pull that ends sooner with nothing is not repeated at once */
#define BACKOFF_MIN_MS         250
#define BACKOFF_MAX_MS         5000
#define CONTRADICTION_RETRY_MS 30000

static void on_timer(uv_timer_t *timer);

static void arm(struct consumer *consumer, uint64_t wait_ms)
{
	uv_timer_start(&consumer->timer, on_timer, wait_ms, 0);
}

static void lose(struct consumer *consumer, const char *why)
{
	if (!readiness_lose(&consumer->readiness, "%s", why))
		return;
	/* That the connection is down is the link's to say. */
	if (consumer->state != CONSUMER_WAIT_LINK)
		log_warn("cannot consume", LOG_S("stream", consumer->stream),
			LOG_S("durable", consumer->durable_name), LOG_S("reason", why));
	consumer->options.on_state(consumer->options.arg);
}

static void gain(struct consumer *consumer)
{
	consumer->needs_proof = false;
	if (!readiness_gain(&consumer->readiness))
		return;
	log_info("consuming", LOG_S("stream", consumer->stream),
		LOG_S("durable", consumer->durable_name),
		LOG_S("server", nats_link_server(consumer->options.link)));
	consumer->options.on_state(consumer->options.arg);
}

/* Binds no more; looks for the durable again in a while. */
static void unbind(struct consumer *consumer, const char *why, uint64_t retry_ms)
{
	durable_cancel(&consumer->durable);
	consumer->state = CONSUMER_WAITING;
	consumer->left = 0;
	consumer->pending_is_known = false;
	arm(consumer, retry_ms);
	lose(consumer, why);
}

/* While bound, what arrives and what is pulled goes on meanwhile. */
static void look(struct consumer *consumer)
{
	if (consumer->durable.request != 0)
		return;
	if (consumer->state != CONSUMER_BOUND)
		consumer->state = CONSUMER_LOOKING;
	durable_find(&consumer->durable);
}

/* -- pulling --------------------------------------------------------------------------------- */

static void pull(struct consumer *consumer)
{
	struct buf body = {0};
	struct nats_outgoing *request;

	if (consumer->state != CONSUMER_BOUND || consumer->left > 0 || consumer->is_paused)
		return;
	js_pull_request(
		&body, consumer->batch, consumer->batch_bytes, PULL_EXPIRES_MS, HEARTBEAT_MS);
	request = nats_api_message(
		&body, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", consumer->stream, consumer->name);
	nats_inbox_ask(consumer->inbox, request);
	nats_outgoing_unref(request);
	consumer->counts.pulls++;
	consumer->left = consumer->batch;
	consumer->delivered = 0;
	consumer->pulled_ms = consumer->heard_ms = clock_mono_ms();
	arm(consumer, SILENCE_MS);
}

static bool is_silent(const struct consumer *consumer)
{
	return consumer->left > 0 && clock_mono_ms() - consumer->heard_ms >= SILENCE_MS;
}

/* The request is over: the next one goes out, though not in a hot circle. */
static void end_pull(struct consumer *consumer)
{
	bool was_brief = clock_mono_ms() - consumer->pulled_ms < PULL_BRIEF_MS;

	if (consumer->left == 0)
		return;
	consumer->left = 0;
	uv_timer_stop(&consumer->timer);
	if (consumer->delivered == 0 && was_brief) {
		arm(consumer, backoff_next_ms(&consumer->backoff));
		return;
	}
	backoff_reset(&consumer->backoff);
	pull(consumer);
}

static void on_bound_timer(struct consumer *consumer)
{
	uint64_t silent_ms = clock_mono_ms() - consumer->heard_ms;

	if (consumer->left == 0) {
		pull(consumer);
	} else if (silent_ms < SILENCE_MS) {
		arm(consumer, SILENCE_MS - silent_ms);
	} else {
		look(consumer);
		arm(consumer, SILENCE_MS); /* for the case that we go on with this request */
	}
}

/* -- statuses -------------------------------------------------------------------------------- */

static void on_heartbeat(struct consumer *consumer)
{
	/* The request is open and nothing comes: either there is nothing, or unacked ones bar it.
	 */
	if (!consumer->was_delivered && (consumer->durable.was_skipped || consumer->is_passing)) {
		consumer->pending = 0;
		consumer->pending_is_known = true;
	} else if (!consumer->was_delivered && consumer->pending > 0) {
		look(consumer);
	}
	consumer->was_delivered = false;
}

static void on_expired(struct consumer *consumer)
{
	uint64_t age_ms = clock_mono_ms() - consumer->pulled_ms;

	/* Too young to have expired: that was a request given up for lost. */
	if (age_ms + EXPIRY_TOLERANCE_MS >= PULL_EXPIRES_MS)
		end_pull(consumer);
}

static void on_too_many_bytes(struct consumer *consumer)
{
	/* With nothing delivered, a single message is larger than what we asked for. */
	if (consumer->delivered == 0 && consumer->batch_bytes < BATCH_MAX_BYTES)
		consumer->batch_bytes *= 2;
	end_pull(consumer);
}

/* What a request that is lost may still take from the stream: until it expires, at the latest. */
static void expect_losses(struct consumer *consumer)
{
	sharing_restart(&consumer->sharing, clock_mono_ms() + PULL_EXPIRES_MS + SILENCE_MS);
}

/* Another server takes over, whose numbers may be a little behind or ahead. */
static void on_handed_over(struct consumer *consumer)
{
	expect_losses(consumer);
	end_pull(consumer);
}

static void on_gone(struct consumer *consumer)
{
	expect_losses(consumer);
	consumer->left = 0;
	consumer->needs_proof = true;
	uv_timer_stop(&consumer->timer);
	look(consumer);
}

static void on_refused(struct consumer *consumer, struct slice words)
{
	struct err why;

	err_setf(&why, "durable \"%s\" of stream \"%s\" refuses to be pulled from: %.*s",
		consumer->durable_name, consumer->stream, SLICE_FMT(words));
	consumer->needs_proof = true;
	unbind(consumer, why.text, backoff_next_ms(&consumer->backoff));
}

static void on_status(struct consumer *consumer, const struct nats_incoming *message)
{
	static void (*const handlers[])(struct consumer * consumer) = {
		[PULL_HEARTBEAT] = on_heartbeat,
		[PULL_EMPTY] = end_pull,
		[PULL_EXPIRED] = on_expired,
		[PULL_TOO_MANY_BYTES] = on_too_many_bytes,
		[PULL_HANDED_OVER] = on_handed_over,
		[PULL_GONE] = on_gone,
	};
	struct slice words;
	enum pull_status status = pull_status_read(message, &words);

	if (status == PULL_UNREADABLE) {
		consumer->counts.malformed++;
		return;
	}
	if (consumer->state == CONSUMER_BOUND && pull_status_is_proof(status))
		gain(consumer);
	if (consumer->state != CONSUMER_BOUND)
		return;
	if (status == PULL_REFUSED)
		on_refused(consumer, words);
	else
		handlers[status](consumer);
}

/* -- deliveries ------------------------------------------------------------------------------ */

static void note_sequence(struct consumer *consumer, uint64_t consumer_seq)
{
	if (consumer->is_passing ||
		!sharing_note(&consumer->sharing, consumer_seq, clock_mono_ms()))
		return;
	consumer->counts.jumps++;
	log_limited(&consumer->shared, LOG_ERROR,
		"another receiver pulls from this durable: each gets a part of the scrapes; give "
		"every receiver a client_id of its own",
		LOG_S("stream", consumer->stream), LOG_S("durable", consumer->durable_name));
	consumer->options.on_state(consumer->options.arg);
}

static void note_delivery(struct consumer *consumer, const struct js_delivery *delivery)
{
	/* Where we may not ask for the durable, its sequence tells that it was made anew. */
	if (consumer->created[0] == '\0' && delivery->consumer_seq <= consumer->last_consumer_seq)
		consumer->generation++;
	consumer->last_consumer_seq = delivery->consumer_seq;
	consumer->pending = delivery->pending;
	consumer->pending_is_known = true;
	consumer->was_delivered = true;
	consumer->counts.messages++;
	consumer->counts.redelivered += delivery->delivered > 1;
}

static void on_delivery(struct consumer *consumer, struct nats_incoming *incoming)
{
	struct consumer_message message = {
		.incoming = incoming, .is_unacked = consumer->is_passing};
	bool is_read = js_delivery_parse(&message.delivery, nats_incoming_reply(incoming)) == 0;

	consumer->delivered++;
	if (consumer->left > 0)
		consumer->left--;
	if (!is_read) {
		consumer->counts.malformed++;
		sharing_skip(&consumer->sharing);
		nats_incoming_free(incoming);
	} else {
		note_delivery(consumer, &message.delivery);
		message.generation = consumer->generation;
		consumer->options.on_message(consumer->options.arg, &message);
	}
	if (consumer->state != CONSUMER_BOUND)
		return;
	if (consumer->needs_proof)
		gain(consumer);
	pull(consumer);
	if (is_read)
		note_sequence(consumer, message.delivery.consumer_seq);
}

static void on_incoming(void *arg, struct nats_incoming *message)
{
	struct consumer *consumer = arg;

	consumer->heard_ms = clock_mono_ms();
	/* Only deliveries carry a reply subject; a stored message may pretend to be a status. */
	if (nats_incoming_reply(message).len > 0) {
		on_delivery(consumer, message);
		return;
	}
	on_status(consumer, message);
	nats_incoming_free(message);
}

static void on_denied(void *arg, const char *text)
{
	struct consumer *consumer = arg;

	if (consumer->state != CONSUMER_BOUND)
		return;
	consumer->needs_proof = true;
	unbind(consumer, text, backoff_next_ms(&consumer->backoff));
}

/* -- binding --------------------------------------------------------------------------------- */

static void bind_durable(struct consumer *consumer, bool is_made, int64_t unacked)
{
	bool was_bound = consumer->state == CONSUMER_BOUND;

	consumer->state = CONSUMER_BOUND;
	if (!was_bound || is_silent(consumer))
		expect_losses(consumer);
	if (is_silent(consumer))
		consumer->left = 0; /* that request is lost */
	if (!was_bound && consumer->options.on_bound != NULL)
		consumer->options.on_bound(consumer->options.arg, is_made, unacked);
	if (!consumer->needs_proof)
		gain(consumer);
	pull(consumer);
}

/* Whether this durable is another one than we were bound to last. */
static bool is_anew(const struct consumer *consumer, const struct js_consumer_info *info)
{
	return !durable_is_same(consumer->created, info->created) ||
	       (consumer->created[0] != '\0' && consumer->state != CONSUMER_BOUND &&
		       info->delivered_consumer_seq < consumer->last_consumer_seq);
}

static void on_found(struct consumer *consumer, bool is_made, const struct js_consumer_info *info)
{
	if (is_made || is_anew(consumer, info))
		consumer->generation++;
	snprintf(consumer->created, sizeof(consumer->created), "%s", info->created);
	if (is_made)
		consumer->last_consumer_seq = 0;
	if (info->ack_wait_ms > 0)
		consumer->ack_wait_ms = info->ack_wait_ms;
	if (consumer->is_passing) {
		snprintf(consumer->name, sizeof(consumer->name), "%s", info->name);
		consumer->left = 0; /* that was of another */
	}
	consumer->pending = info->num_pending;
	consumer->pending_is_known = true;
	bind_durable(consumer, is_made, info->num_ack_pending);
}

/* We may not ask: only an answered pull shows that the durable is there. */
static void on_unchecked(struct consumer *consumer)
{
	bool was_bound = consumer->state == CONSUMER_BOUND;
	bool was_gone = was_bound && consumer->left == 0 && consumer->needs_proof;
	struct err why;

	if (was_bound && !was_gone && !is_silent(consumer))
		return;
	err_setf(&why, "durable \"%s\" of stream \"%s\" has not answered a pull: it may not exist",
		consumer->durable_name, consumer->stream);
	consumer->needs_proof = true;
	lose(consumer, why.text);
	if (consumer->state == CONSUMER_CLOSED)
		return;
	if (was_gone)
		arm(consumer, backoff_next_ms(&consumer->backoff));
	else
		bind_durable(consumer, false, -1);
}

static void on_verdict(void *arg, enum durable_verdict verdict, const struct js_consumer_info *info,
	const char *why)
{
	struct consumer *consumer = arg;

	if (!nats_link_is_up(consumer->options.link))
		return; /* on_down follows */
	switch (verdict) {
	case DURABLE_FOUND:
	case DURABLE_MADE:
		on_found(consumer, verdict == DURABLE_MADE, info);
		break;
	case DURABLE_UNCHECKED:
		on_unchecked(consumer);
		break;
	case DURABLE_UNREACHABLE:
		/* Deliveries that go on say more than an answer that was slow. */
		if (consumer->state == CONSUMER_BOUND && consumer->left > 0 && !is_silent(consumer))
			break;
		/* fall through */
	case DURABLE_FAILED:
		unbind(consumer, why, backoff_next_ms(&consumer->backoff));
		break;
	case DURABLE_CONTRADICTS:
		unbind(consumer, why, CONTRADICTION_RETRY_MS);
		break;
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct consumer *consumer = timer->data;

	if (consumer->state == CONSUMER_BOUND)
		on_bound_timer(consumer);
	else if (consumer->state == CONSUMER_WAITING)
		look(consumer);
}

static void on_up(void *arg)
{
	struct consumer *consumer = arg;
	uint64_t twice = 2 * (uint64_t)nats_link_max_payload(consumer->options.link);

	consumer->batch = consumer->is_passing ? js_unacked_batch(twice / 2) : BATCH_MESSAGES;
	if (!consumer->is_passing)
		consumer->batch_bytes = twice > BATCH_MIN_BYTES ? twice : BATCH_MIN_BYTES;
	backoff_reset(&consumer->backoff);
	look(consumer);
}

static void on_down(void *arg, const char *reason)
{
	struct consumer *consumer = arg;

	durable_cancel(&consumer->durable);
	uv_timer_stop(&consumer->timer);
	consumer->state = CONSUMER_WAIT_LINK;
	consumer->left = 0;
	consumer->pending_is_known = false;
	lose(consumer, reason);
}

/* -- the interface --------------------------------------------------------------------------- */

static void copy_settings(struct consumer *consumer, const struct consumer_options *options)
{
	consumer->options = *options;
	consumer->stream = xstrdup(options->settings.stream);
	consumer->is_passing = options->settings.durable == NULL;
	consumer->durable_name =
		xstrdup(consumer->is_passing ? "a passing one" : options->settings.durable);
	snprintf(consumer->name, sizeof(consumer->name), "%s", consumer->durable_name);
	consumer->filter = xstrdup(options->settings.filter_subject);
	consumer->ack_wait_ms = options->settings.ack_wait_ms;
	consumer->options.settings.stream = consumer->stream;
	consumer->options.settings.durable = consumer->is_passing ? NULL : consumer->durable_name;
	consumer->options.settings.filter_subject = consumer->filter;
	consumer->durable = (struct durable){
		.link = options->link,
		.settings = consumer->options.settings,
		.start_age_ms = options->start_age_ms,
		.on_verdict = on_verdict,
		.arg = consumer,
	};
}

struct consumer *consumer_open(uv_loop_t *loop, const struct consumer_options *options)
{
	struct consumer *consumer = xcalloc(1, sizeof(*consumer));

	copy_settings(consumer, options);
	consumer->backoff = (struct backoff){.min_ms = BACKOFF_MIN_MS, .max_ms = BACKOFF_MAX_MS};
	uv_timer_init(loop, &consumer->timer);
	consumer->timer.data = consumer;
	consumer->listener =
		(struct nats_link_listener){.on_up = on_up, .on_down = on_down, .arg = consumer};
	nats_link_listen(options->link, &consumer->listener);
	consumer->inbox = nats_inbox_open(options->link, on_incoming, on_denied, consumer);
	/* Said without on_state: our user does not know us yet. */
	readiness_lose(&consumer->readiness, "%s",
		nats_link_is_up(options->link) ? "the durable is being looked for"
					       : nats_link_reason(options->link));
	if (nats_link_is_up(options->link))
		on_up(consumer);
	return consumer;
}

void consumer_pause(struct consumer *consumer, bool paused)
{
	consumer->is_paused = paused;
	pull(consumer);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct consumer *consumer = handle->data;

	if (consumer->on_closed != NULL)
		consumer->on_closed(consumer->closed_arg);
	free(consumer->stream);
	free(consumer->durable_name);
	free(consumer->filter);
	free(consumer);
}

void consumer_close(struct consumer *consumer, void (*on_closed)(void *arg), void *arg)
{
	assert(consumer->state != CONSUMER_CLOSED);
	consumer->state = CONSUMER_CLOSED;
	consumer->on_closed = on_closed;
	consumer->closed_arg = arg;
	nats_link_unlisten(consumer->options.link, &consumer->listener);
	durable_cancel(&consumer->durable);
	nats_inbox_close(consumer->inbox);
	uv_close((uv_handle_t *)&consumer->timer, on_timer_closed);
}
