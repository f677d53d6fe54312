/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WAIT_LINK -> CHECKING -> READY, with two ways to stand still: WAITING for the next check of the
 * stream, and PROBING a stream that refuses or stays silent. A probe sends one message, each ack
 * doubles how many may be under way, and READY comes back once all are acked.
 *
 * Not being allowed to publish is a matter of one subject or of all, and nothing tells which but
 * that others are acked meanwhile: what was denied before and after such an ack is given up. Until
 * then every other probe is of messages that were not denied yet; where none is left, our user may
 * send one more.
 *
 * Invariants: `pending` holds what is unacked in the order of publisher_send; a message is under
 * way exactly while its request is not 0; nothing leaves the list but by on_done or closing.
 */
#include "common/nats/publisher.h"

#include "common/core/backoff.h"
#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/core/readiness.h"
#include "common/nats/api.h"
#include "common/nats/stream_check.h"

#include <assert.h>
#include <sys/queue.h>

#define ACK_TIMEOUT_MS            5000
#define BACKOFF_MIN_MS            250
#define BACKOFF_MAX_MS            5000
#define LATE_DOWN_MS              100
#define DENIED_MS                 1000 /* how long others under way may prove that it is one subject */
#define OTHERS_MAX                32 /* sent in one probe beside what was denied */
#define MAX_PAYLOAD_DEFAULT_BYTES ((size_t)1024 * 1024)
#define MESSAGE_MARGIN_BYTES      ((size_t)16 * 1024)
#define JS_SEALED                 10109
#define JS_HEADER_TOO_LARGE       10097

enum publisher_state {
	PUBLISHER_WAIT_LINK,
	PUBLISHER_CHECKING,
	PUBLISHER_WAITING,
	PUBLISHER_PROBING,
	PUBLISHER_READY,
	PUBLISHER_CLOSED,
};

struct pending {
	TAILQ_ENTRY(pending) entry;
	struct publisher *publisher;
	struct nats_outgoing *message;
	void *cookie;
	uint64_t request; /* 0 while not under way */
	unsigned sends;
	uint64_t sent_us;
	bool was_denied;
	uint64_t acks_when_denied; /* the last time */
};
TAILQ_HEAD(pending_list, pending);

struct publisher {
	struct publisher_options options;
	char *publish_subject;
	struct nats_link_listener listener;
	struct stream_check check;
	uv_timer_t timer; /* the next check, probe, or look at what is not under way */

	enum publisher_state state;
	struct readiness readiness;
	struct backoff backoff;
	bool is_troubled; /* refused or silent when last tried: probe before sending all */
	uint64_t ready_since_ms;
	uint64_t last_ack_us;
	uint64_t acks;
	uint64_t denied_us;        /* the first denial since the last ack ... */
	uint64_t acks_when_denied; /* ... which was this one */
	bool tries_others;         /* in the next probe */
	bool takes_one;            /* has room for one message although it is not ready */

	struct pending_list pending;
	size_t unacked;
	size_t under_way;
	size_t window;                /* how many may be under way while probing */
	const struct js_pub_ack *ack; /* of the message being finished */
	struct publisher_counts counts;
	struct log_limit other_stream_limit;

	void (*on_closed)(void *arg);
	void *closed_arg;
};

static void on_timer(uv_timer_t *timer);

static void lose(struct publisher *publisher, const char *why)
{
	if (!readiness_lose(&publisher->readiness, "%s", why))
		return;
	/* That the connection is down is the link's to say. */
	if (publisher->state != PUBLISHER_WAIT_LINK)
		log_warn("cannot publish", LOG_S("stream", publisher->options.stream->stream),
			LOG_S("reason", why), LOG_I("unacked", publisher->unacked));
	publisher->options.on_room(publisher->options.arg);
}

static void try_later(struct publisher *publisher)
{
	if (!uv_is_active((uv_handle_t *)&publisher->timer))
		uv_timer_start(
			&publisher->timer, on_timer, backoff_next_ms(&publisher->backoff), 0);
}

/* -- messages -------------------------------------------------------------------------------- */

/* Ends one message; the publisher may be closed when this returns. */
static void finish(struct pending *pending, enum publish_outcome outcome, const char *reason)
{
	struct publisher *publisher = pending->publisher;
	bool had_room = publisher_has_room(publisher);
	double seconds = (double)(clock_mono_us() - pending->sent_us) / 1e6;

	TAILQ_REMOVE(&publisher->pending, pending, entry);
	publisher->unacked--;
	publisher->options.on_done(
		publisher->options.arg, pending->cookie, outcome, reason, seconds);
	nats_outgoing_unref(pending->message);
	free(pending);
	if (!had_room && publisher_has_room(publisher))
		publisher->options.on_room(publisher->options.arg);
}

static bool fits(const struct publisher *publisher, const struct pending *pending)
{
	return nats_outgoing_bytes(pending->message) <=
	       nats_link_max_payload(publisher->options.link);
}

static void on_reply(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text);

static void transmit(struct pending *pending)
{
	struct publisher *publisher = pending->publisher;

	assert(pending->request == 0);
	publisher->counts.retries += pending->sends > 0;
	publisher->under_way++;
	pending->sends++;
	pending->sent_us = clock_mono_us();
	pending->request = nats_link_request(
		publisher->options.link, pending->message, ACK_TIMEOUT_MS, on_reply, pending);
}

/*
 * Sends what is not under way, oldest first, up to `limit` under way. A message above the server's
 * max_payload would close the connection: it ends here.
 */
static void send_idle(struct publisher *publisher, size_t limit)
{
	enum publisher_state state = publisher->state;
	struct pending *pending, *next;

	for (pending = TAILQ_FIRST(&publisher->pending); pending != NULL; pending = next) {
		if (publisher->under_way >= limit)
			return;
		next = TAILQ_NEXT(pending, entry);
		if (pending->request != 0)
			continue;
		if (fits(publisher, pending)) {
			transmit(pending);
			continue;
		}
		finish(pending, PUBLISH_REFUSED, "larger than the server's max_payload");
		if (publisher->state != state)
			return;
	}
}

static void become_ready(struct publisher *publisher)
{
	publisher->state = PUBLISHER_READY;
	publisher->is_troubled = false;
	publisher->takes_one = false;
	publisher->ready_since_ms = clock_mono_ms();
	uv_timer_stop(&publisher->timer);
	send_idle(publisher, SIZE_MAX);
	if (publisher->state != PUBLISHER_READY || !readiness_gain(&publisher->readiness))
		return;
	log_info("publishing", LOG_S("stream", publisher->options.stream->stream),
		LOG_S("server", nats_link_server(publisher->options.link)));
	publisher->options.on_room(publisher->options.arg);
}

/* Sends what was not denied yet, or asks for something. */
static void send_others(struct publisher *publisher)
{
	struct pending *pending, *next;
	int sent = 0;

	for (pending = TAILQ_FIRST(&publisher->pending); pending != NULL; pending = next) {
		next = TAILQ_NEXT(pending, entry);
		if (pending->was_denied || !fits(publisher, pending))
			continue;
		transmit(pending);
		if (++sent == OTHERS_MAX)
			return;
	}
	if (sent > 0 || publisher->unacked >= (size_t)publisher->options.max_unacked)
		return;
	publisher->takes_one = true;
	try_later(publisher);
	publisher->options.on_room(publisher->options.arg);
}

/* Whether this probe is to find out if it is one subject only that is denied. */
static bool is_for_others(struct publisher *publisher)
{
	const struct pending *first = TAILQ_FIRST(&publisher->pending);

	if (first == NULL || !first->was_denied || publisher->under_way > 0 ||
		publisher->acks > first->acks_when_denied)
		return false;
	publisher->tries_others = !publisher->tries_others;
	return publisher->tries_others;
}

static void probe(struct publisher *publisher)
{
	if (is_for_others(publisher)) {
		send_others(publisher);
		return;
	}
	if (publisher->unacked > 0)
		send_idle(publisher, publisher->window);
	if (publisher->state == PUBLISHER_PROBING && publisher->unacked == 0)
		become_ready(publisher);
}

static void trouble(struct publisher *publisher)
{
	publisher->is_troubled = true;
	publisher->window = 1;
	if (publisher->state == PUBLISHER_READY &&
		clock_mono_ms() - publisher->ready_since_ms >= BACKOFF_MAX_MS)
		backoff_reset(&publisher->backoff);
}

static bool is_sending(const struct publisher *publisher)
{
	return publisher->state == PUBLISHER_READY || publisher->state == PUBLISHER_PROBING;
}

/* The stream, not the message, is the matter: keep everything and try one after a while. */
static void suspend(struct publisher *publisher, const char *why)
{
	if (!is_sending(publisher))
		return;
	trouble(publisher);
	publisher->state = PUBLISHER_PROBING;
	try_later(publisher);
	lose(publisher, why);
}

/* Nobody listens on our subjects: whether the stream is there must be asked anew. */
static void on_no_responders(struct publisher *publisher)
{
	struct err why;

	if (!is_sending(publisher))
		return;
	err_setf(&why, "nobody stores \"%s\": stream \"%s\" is gone, or JetStream is off",
		publisher->publish_subject, publisher->options.stream->stream);
	trouble(publisher);
	publisher->state = PUBLISHER_WAITING;
	uv_timer_stop(&publisher->timer);
	try_later(publisher);
	lose(publisher, why.text);
}

static void on_ack_timeout(struct pending *pending)
{
	struct publisher *publisher = pending->publisher;
	struct err why;

	/* Others were acked since: this one, or its ack, was lost on the way. */
	if (publisher->state == PUBLISHER_READY && publisher->last_ack_us > pending->sent_us) {
		send_idle(publisher, SIZE_MAX);
		return;
	}
	err_setf(&why, "stream \"%s\" does not acknowledge within %ds",
		publisher->options.stream->stream, ACK_TIMEOUT_MS / 1000);
	suspend(publisher, why.text);
}

static void on_acked(struct pending *pending, const struct js_pub_ack *ack)
{
	struct publisher *publisher = pending->publisher;
	const char *stream = publisher->options.stream->stream;

	publisher->last_ack_us = clock_mono_us();
	publisher->acks++;
	/* A leaf node may rightly answer with the hub's stream: the message is stored. */
	if (strcmp(ack->stream, stream) != 0)
		log_limited(&publisher->other_stream_limit, LOG_WARN,
			"messages are stored by another stream", LOG_S("configured", stream),
			LOG_S("stream", ack->stream), LOG_S("domain", ack->domain));
	publisher->ack = ack;
	finish(pending, ack->duplicate && pending->sends == 1 ? PUBLISH_DUPLICATE : PUBLISH_ACKED,
		NULL);
	publisher->ack = NULL;
	if (publisher->state != PUBLISHER_PROBING)
		return;
	if (publisher->window < publisher->unacked)
		publisher->window *= 2;
	probe(publisher);
}

/*
 * Whether the error is about this message rather than about the stream. The server's code 400 says
 * so, except for a sealed stream; that only its subject is full (discard_new_per_subject) has the
 * code of a full stream, and words of its own.
 */
static bool is_message_fault(const struct js_error *error)
{
	return error->err_code == JS_MESSAGE_TOO_LARGE || error->err_code == JS_HEADER_TOO_LARGE ||
	       strstr(error->description, "messages per subject") != NULL ||
	       (error->code == 400 && error->err_code != JS_SEALED);
}

static void on_pub_error(struct pending *pending, const struct js_error *error)
{
	struct publisher *publisher = pending->publisher;
	struct err words, why;

	publisher->counts.errors++;
	nats_api_error(&words, error);
	if (!is_message_fault(error)) {
		err_setf(&why, "stream \"%s\" refuses messages: %s",
			publisher->options.stream->stream, words.text);
		suspend(publisher, why.text);
		return;
	}
	finish(pending, PUBLISH_REFUSED, words.text);
	if (publisher->state == PUBLISHER_PROBING)
		probe(publisher);
}

static void on_denied(struct pending *pending, const char *text)
{
	struct publisher *publisher = pending->publisher;
	uint64_t now_us = clock_mono_us();
	struct err why;

	nats_api_outcome(&why, NATS_REPLY_DENIED, text);
	if (pending->was_denied && publisher->acks > pending->acks_when_denied) {
		finish(pending, PUBLISH_DENIED, why.text);
		if (publisher->state == PUBLISHER_PROBING)
			probe(publisher);
		return;
	}
	if (publisher->denied_us == 0 || publisher->acks > publisher->acks_when_denied) {
		publisher->denied_us = now_us;
		publisher->acks_when_denied = publisher->acks;
	}
	pending->was_denied = true;
	pending->acks_when_denied = publisher->acks;
	if (publisher->state == PUBLISHER_READY && publisher->under_way > 0 &&
		now_us - publisher->denied_us < DENIED_MS * 1000)
		uv_timer_start(&publisher->timer, on_timer, LATE_DOWN_MS, 0);
	else
		suspend(publisher, why.text);
}

static void on_answer(struct pending *pending, struct nats_incoming *message)
{
	struct publisher *publisher = pending->publisher;
	struct js_pub_ack ack;
	struct err err;

	if (js_pub_ack_parse(&ack, nats_incoming_body(message), &err) != 0) {
		publisher->counts.errors++;
		err_wrapf(&err, "unreadable acknowledgement");
		suspend(publisher, err.text);
	} else if (ack.error.code != 0) {
		on_pub_error(pending, &ack.error);
	} else {
		on_acked(pending, &ack);
	}
}

static void on_reply(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	struct pending *pending = arg;
	struct publisher *publisher = pending->publisher;

	pending->request = 0;
	publisher->under_way--;
	publisher->counts.errors += outcome != NATS_REPLY_OK && outcome != NATS_REPLY_DOWN;
	switch (outcome) {
	case NATS_REPLY_OK:
		on_answer(pending, message);
		break;
	case NATS_REPLY_TIMEOUT:
		on_ack_timeout(pending);
		break;
	case NATS_REPLY_DENIED:
		on_denied(pending, text);
		break;
	case NATS_REPLY_NO_RESPONDERS:
		on_no_responders(publisher);
		break;
	case NATS_REPLY_DOWN:
		/* Sent again once the link is up; it is already if this one was overtaken. */
		if (is_sending(publisher))
			uv_timer_start(&publisher->timer, on_timer, LATE_DOWN_MS, 0);
		break;
	}
}

/* -- states ---------------------------------------------------------------------------------- */

static void check_stream(struct publisher *publisher)
{
	publisher->state = PUBLISHER_CHECKING;
	publisher->counts.stream_checks++;
	stream_check_start(&publisher->check);
}

static void on_verdict(void *arg, const char *why)
{
	struct publisher *publisher = arg;

	if (why != NULL && !nats_link_is_up(publisher->options.link)) {
		publisher->state = PUBLISHER_WAIT_LINK; /* on_down gives the reason */
	} else if (why != NULL) {
		publisher->state = PUBLISHER_WAITING;
		try_later(publisher);
		lose(publisher, why);
	} else if (publisher->is_troubled) {
		publisher->state = PUBLISHER_PROBING;
		probe(publisher);
	} else {
		become_ready(publisher);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct publisher *publisher = timer->data;

	if (publisher->state == PUBLISHER_WAITING)
		check_stream(publisher);
	else if (publisher->state == PUBLISHER_PROBING)
		probe(publisher);
	else if (publisher->state == PUBLISHER_READY)
		send_idle(publisher, SIZE_MAX);
}

static void on_up(void *arg)
{
	struct publisher *publisher = arg;

	backoff_reset(&publisher->backoff);
	publisher->window = 1;
	check_stream(publisher);
}

static void on_down(void *arg, const char *reason)
{
	struct publisher *publisher = arg;

	stream_check_cancel(&publisher->check);
	uv_timer_stop(&publisher->timer);
	publisher->state = PUBLISHER_WAIT_LINK;
	lose(publisher, reason);
}

/* -- the interface --------------------------------------------------------------------------- */

struct publisher *publisher_open(uv_loop_t *loop, const struct publisher_options *options)
{
	struct publisher *publisher = xcalloc(1, sizeof(*publisher));

	publisher->options = *options;
	publisher->publish_subject = xstrdup(options->publish_subject);
	publisher->options.publish_subject = publisher->publish_subject;
	publisher->backoff = (struct backoff){.min_ms = BACKOFF_MIN_MS, .max_ms = BACKOFF_MAX_MS};
	publisher->window = 1;
	publisher->check = (struct stream_check){
		.link = options->link,
		.stream = options->stream,
		.publish_subject = publisher->publish_subject,
		.on_verdict = on_verdict,
		.arg = publisher,
		.max_message_bytes = -1,
	};
	TAILQ_INIT(&publisher->pending);
	uv_timer_init(loop, &publisher->timer);
	publisher->timer.data = publisher;
	publisher->listener =
		(struct nats_link_listener){.on_up = on_up, .on_down = on_down, .arg = publisher};
	nats_link_listen(options->link, &publisher->listener);
	/* Said without on_room: our user does not know us yet. */
	readiness_lose(&publisher->readiness, "%s",
		nats_link_is_up(options->link) ? "the stream is being checked"
					       : nats_link_reason(options->link));
	if (nats_link_is_up(options->link))
		check_stream(publisher);
	return publisher;
}

bool publisher_has_room(const struct publisher *publisher)
{
	bool is_open = publisher->state == PUBLISHER_READY ||
		       (publisher->state == PUBLISHER_PROBING && publisher->takes_one);

	return is_open && publisher->unacked < (size_t)publisher->options.max_unacked;
}

bool publisher_is_ready(const struct publisher *publisher, struct buf *why)
{
	return readiness_get(&publisher->readiness, why);
}

void publisher_set_limits(
	struct publisher *publisher, int64_t max_unacked, uint64_t max_message_bytes)
{
	publisher->options.max_unacked = max_unacked;
	publisher->options.max_message_bytes = max_message_bytes;
}

size_t publisher_max_message_bytes(const struct publisher *publisher)
{
	size_t known = nats_link_max_payload(publisher->options.link);
	size_t payload = known != 0 ? known : MAX_PAYLOAD_DEFAULT_BYTES;
	size_t margin = MESSAGE_MARGIN_BYTES < payload / 2 ? MESSAGE_MARGIN_BYTES : payload / 2;
	uint64_t configured = publisher->options.max_message_bytes;
	int64_t stream_limit = publisher->check.max_message_bytes;
	size_t limit = payload - margin;

	if (configured != 0)
		limit = configured < payload ? (size_t)configured : payload;
	if (stream_limit > 0 && (uint64_t)stream_limit < limit)
		limit = (size_t)stream_limit;
	return limit;
}

void publisher_send(struct publisher *publisher, struct nats_outgoing *message, void *cookie)
{
	struct pending *pending = xcalloc(1, sizeof(*pending));

	assert(publisher_has_room(publisher));
	publisher->takes_one = false;
	pending->publisher = publisher;
	pending->message = nats_outgoing_ref(message);
	pending->cookie = cookie;
	pending->sent_us = clock_mono_us();
	TAILQ_INSERT_TAIL(&publisher->pending, pending, entry);
	publisher->unacked++;
	if (fits(publisher, pending))
		transmit(pending);
	else /* its fate is told from the loop, not from inside this call */
		uv_timer_start(&publisher->timer, on_timer, 0, 0);
}

size_t publisher_unacked(const struct publisher *publisher)
{
	return publisher->unacked;
}

const struct js_pub_ack *publisher_ack(const struct publisher *publisher)
{
	return publisher->ack;
}

const struct publisher_counts *publisher_counts(const struct publisher *publisher)
{
	return &publisher->counts;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct publisher *publisher = handle->data;

	if (publisher->on_closed != NULL)
		publisher->on_closed(publisher->closed_arg);
	free(publisher->publish_subject);
	free(publisher);
}

void publisher_close(struct publisher *publisher, void (*on_closed)(void *arg), void *arg)
{
	struct pending *pending;

	assert(publisher->state != PUBLISHER_CLOSED);
	publisher->state = PUBLISHER_CLOSED;
	publisher->on_closed = on_closed;
	publisher->closed_arg = arg;
	nats_link_unlisten(publisher->options.link, &publisher->listener);
	stream_check_cancel(&publisher->check);
	while ((pending = TAILQ_FIRST(&publisher->pending)) != NULL) {
		TAILQ_REMOVE(&publisher->pending, pending, entry);
		if (pending->request != 0)
			nats_link_cancel(publisher->options.link, pending->request);
		nats_outgoing_unref(pending->message);
		free(pending);
	}
	publisher->unacked = 0;
	uv_close((uv_handle_t *)&publisher->timer, on_timer_closed);
}
