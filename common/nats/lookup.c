/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A get is one request, or two where the first way turns out to be barred. A way is barred when its
 * request is refused, and tried again after DENIED_MS, or SILENT_MS where nobody answered, or on a
 * new connection, unless the other one works. That a way works is known once it has been answered,
 * be it with "not found", until one is not answered in time.
 *
 * To DIRECT.GET nobody answers if the stream has not set allow_direct, or the server is older than
 * 2.9: mostly without a word, as all of $JS.API has a listener. It is given less time to prove
 * itself.
 */
#include "common/nats/lookup.h"

#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/nats/api.h"
#include "common/wire/header_block.h"

#define DENIED_MS       60000
#define SILENT_MS       10000
#define PROOF_WITHIN_MS 2000

enum way { DIRECT, STORED, WAYS };

struct way_state {
	bool is_proven;
	uint64_t barred_until_ms; /* 0: it is not */
	struct err why;
};

struct lookup {
	struct lookup_options options;
	char *stream;
	struct nats_link_listener listener;
	struct way_state ways[WAYS];
	bool was_possible; /* as said last */
	struct log_limit barred;
};

struct lookup_get {
	struct lookup *lookup;
	enum way way;
	bool is_probe; /* it was not known whether this way works */
	uint64_t request;
	char *subject;
	lookup_callback callback;
	void *arg;
};

static bool is_barred(const struct way_state *way)
{
	return way->barred_until_ms != 0 && clock_mono_ms() < way->barred_until_ms;
}

/* One that works before one that may; WAYS if there is none. */
static enum way open_way(const struct lookup *lookup)
{
	enum way way = DIRECT;

	for (size_t i = 0; i < WAYS; i++)
		if (lookup->ways[i].is_proven)
			return (enum way)i;
	while (way < WAYS && is_barred(&lookup->ways[way]))
		way++;
	return way;
}

bool lookup_is_possible(const struct lookup *lookup, struct buf *why)
{
	if (lookup->was_possible || why == NULL)
		return lookup->was_possible;
	buf_appendf(why, "messages of stream \"%s\" cannot be looked up: %s; %s", lookup->stream,
		lookup->ways[DIRECT].why.text, lookup->ways[STORED].why.text);
	return false;
}

bool lookup_takes(const struct lookup *lookup, size_t outstanding)
{
	enum way way = open_way(lookup);

	return way < WAYS && (outstanding == 0 || lookup->ways[way].is_proven);
}

static void say_barred(struct lookup *lookup)
{
	struct buf why = {0};

	(void)lookup_is_possible(lookup, &why);
	log_limited(&lookup->barred, LOG_ERROR,
		"messages of the stream cannot be looked up: grant publish to "
		"$JS.API.DIRECT.GET.<stream>.> or $JS.API.STREAM.MSG.GET.<stream>",
		LOG_S("stream", lookup->stream), LOG_SL("reason", buf_slice(&why)));
	buf_free(&why);
}

static void set_possible(struct lookup *lookup, bool is_possible)
{
	if (lookup->was_possible == is_possible)
		return;
	lookup->was_possible = is_possible;
	if (is_possible)
		log_info(
			"messages of the stream can be looked up", LOG_S("stream", lookup->stream));
	else
		say_barred(lookup);
	lookup->options.on_change(lookup->options.arg);
}

static void prove(struct lookup *lookup, enum way way)
{
	lookup->ways[way].is_proven = true;
	lookup->ways[way].barred_until_ms = 0;
	set_possible(lookup, true);
}

static void bar(struct lookup *lookup, enum way way, uint64_t for_ms, const char *why)
{
	struct way_state *state = &lookup->ways[way];

	state->is_proven = false;
	state->barred_until_ms = clock_mono_ms() + for_ms;
	err_setf(&state->why, "%s", why);
	if (open_way(lookup) == WAYS)
		set_possible(lookup, false);
}

/* Asking. */

static void finish(struct lookup_get *get, const struct lookup_result *result)
{
	get->callback(get->arg, result);
	free(get->subject);
	free(get);
}

static void fail(struct lookup_get *get, enum lookup_outcome outcome, const char *text)
{
	finish(get, &(struct lookup_result){.outcome = outcome, .text = text});
}

static int header_of_stored(void *arg, const char *name, struct slice *value)
{
	const struct js_stored *stored = arg;

	return header_block_find(buf_slice(&stored->headers), name, value);
}

/* Only a stored message names its stream: what else its first line says is its publisher's. */
static void take_direct(struct lookup_get *get, struct nats_incoming *message)
{
	struct slice words;
	struct err err;
	int status;

	if (nats_incoming_header(message, "Nats-Stream", &words)) {
		finish(get, &(struct lookup_result){.outcome = LOOKUP_FOUND,
				    .text = "",
				    .body = nats_incoming_body(message),
				    .header = nats_incoming_header,
				    .header_arg = message});
		return;
	}
	status = nats_incoming_status(message, &words);
	err_setf(&err, "status %d: %.*s", status, SLICE_FMT(words));
	fail(get, status == 404 ? LOOKUP_MISSING : LOOKUP_FAILED, err.text);
}

static void take_stored(struct lookup_get *get, struct nats_incoming *message)
{
	struct js_stored stored;
	struct err err;

	if (js_stored_parse(&stored, nats_incoming_body(message), &err) != 0) {
		fail(get, LOOKUP_FAILED, err.text);
		return;
	}
	if (stored.error.code != 0) {
		nats_api_error(&err, &stored.error);
		fail(get,
			stored.error.err_code == JS_MESSAGE_NOT_FOUND ? LOOKUP_MISSING
								      : LOOKUP_FAILED,
			err.text);
		return;
	}
	finish(get, &(struct lookup_result){.outcome = LOOKUP_FOUND,
			    .text = "",
			    .body = buf_slice(&stored.body),
			    .header = header_of_stored,
			    .header_arg = &stored});
	js_stored_fini(&stored);
}

/* The cycle: a refused request is followed by one that goes the other way. */
static void ask(struct lookup_get *get);

static void on_refused(struct lookup_get *get, enum nats_reply outcome, const char *text)
{
	struct lookup *lookup = get->lookup;
	struct err err;

	if (outcome == NATS_REPLY_DENIED)
		nats_api_outcome(&err, outcome, text);
	else
		err_setf(&err, "nobody answers to %s",
			get->way == DIRECT ? "DIRECT.GET (has the stream allow_direct?)"
					   : "STREAM.MSG.GET");
	bar(lookup, get->way, outcome == NATS_REPLY_DENIED ? DENIED_MS : SILENT_MS, err.text);
	if (open_way(lookup) == WAYS)
		fail(get, LOOKUP_BARRED, err.text);
	else
		ask(get);
}

static void on_reply(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	struct lookup_get *get = arg;

	switch (outcome) {
	case NATS_REPLY_OK:
		prove(get->lookup, get->way);
		if (get->way == DIRECT)
			take_direct(get, message);
		else
			take_stored(get, message);
		break;
	case NATS_REPLY_DENIED:
	case NATS_REPLY_NO_RESPONDERS:
		on_refused(get, outcome, text);
		break;
	case NATS_REPLY_TIMEOUT:
		if (get->way == DIRECT && get->is_probe) {
			on_refused(get, outcome, text);
			break;
		}
		/* The server may be slow, or the stream another one, without allow_direct. */
		get->lookup->ways[get->way].is_proven = false;
		fail(get, LOOKUP_FAILED, text);
		break;
	case NATS_REPLY_DOWN:
		fail(get, LOOKUP_DOWN, text);
		break;
	}
}

/* Subjects may be longer than nats_api_message takes. */
static struct nats_outgoing *request_for(const struct lookup_get *get)
{
	struct buf subject = {0}, body = {0};
	struct nats_outgoing *message;

	if (get->way == DIRECT) {
		buf_appendf(
			&subject, "$JS.API.DIRECT.GET.%s.%s", get->lookup->stream, get->subject);
	} else {
		buf_appendf(&subject, "$JS.API.STREAM.MSG.GET.%s", get->lookup->stream);
		js_stored_request(&body, get->subject);
	}
	message = nats_outgoing_new(buf_slice(&subject), NULL, &body);
	buf_free(&subject);
	return message;
}

static void ask(struct lookup_get *get)
{
	struct lookup *lookup = get->lookup;
	struct nats_outgoing *request;

	get->way = open_way(lookup);
	get->is_probe = !lookup->ways[get->way].is_proven;
	request = request_for(get);
	get->request = nats_link_request(lookup->options.link, request,
		get->way == DIRECT && get->is_probe ? PROOF_WITHIN_MS : NATS_API_TIMEOUT_MS,
		on_reply, get);
	nats_outgoing_unref(request);
}

struct lookup_get *lookup_get(
	struct lookup *lookup, struct slice subject, lookup_callback callback, void *arg)
{
	struct lookup_get *get = xcalloc(1, sizeof(*get));

	get->lookup = lookup;
	get->subject = slice_dup(subject);
	get->callback = callback;
	get->arg = arg;
	ask(get);
	return get;
}

void lookup_cancel(struct lookup_get *get)
{
	nats_link_cancel(get->lookup->options.link, get->request);
	free(get->subject);
	free(get);
}

/* Rights may have changed, and the server may be another. */
static void on_up(void *arg)
{
	struct lookup *lookup = arg;

	for (size_t i = 0; i < WAYS; i++) {
		lookup->ways[i].is_proven = false;
		lookup->ways[i].barred_until_ms = 0;
	}
	lookup->was_possible = true; /* until it is found out that it is not */
	lookup->options.on_change(lookup->options.arg);
}

static void on_down(void *arg, const char *reason)
{
	(void)arg;
	(void)reason;
}

struct lookup *lookup_open(const struct lookup_options *options)
{
	struct lookup *lookup = xcalloc(1, sizeof(*lookup));

	lookup->options = *options;
	lookup->stream = xstrdup(options->stream);
	lookup->was_possible = true;
	lookup->listener =
		(struct nats_link_listener){.on_up = on_up, .on_down = on_down, .arg = lookup};
	nats_link_listen(options->link, &lookup->listener);
	return lookup;
}

void lookup_close(struct lookup *lookup)
{
	nats_link_unlisten(lookup->options.link, &lookup->listener);
	free(lookup->stream);
	free(lookup);
}
