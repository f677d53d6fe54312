/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The web server of /federate. An answer is written as fast as its client takes it, a piece at a
 * time, in turn with everything else that the loop does.
 */
#include "receiver/sink/federate_internal.h"

#include "common/core/clock.h"
#include "common/loop/httpd.h"
#include "common/loop/webauth.h"
#include "common/wire/stream_encoder.h"
#include "receiver/metrics.h"
#include "receiver/sink/federate_accept.h"
#include "receiver/sink/federate_answer.h"

#define CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
/* For those who take names in quotes, and say so. */
#define CONTENT_TYPE_UTF8 "text/plain; version=1.0.0; escaping=allow-utf-8; charset=utf-8"
#define PIECE_BYTES       ((size_t)128 << 10)
/* Far longer than any scrape may take: who reads more slowly keeps old scrapes in memory. */
#define ANSWER_TIMEOUT_MS 120000

struct federate_door {
	struct httpd *httpd;
	struct webauth *auth;
	struct federate *federate; /* NULL until there is one */
	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* One answer under way. */
struct reply {
	struct federate *federate;
	struct answer *answer;
	struct stream_encoder *encoder; /* NULL: identity */
	struct buf plain;               /* for the encoder */
	bool is_begun;
	uint64_t begin_us, deadline_ms;
	uint64_t bytes;
	const char *outcome;
};

static void count_request(struct federate *federate, const char *outcome)
{
	series_inc(metrics_series(
		federate->context.metrics, RM_FEDERATE_REQUESTS, federate->base.name, outcome));
}

static void add_to(struct federate *federate, enum receiver_metric id, uint64_t by)
{
	series_add(metrics_series(federate->context.metrics, id, federate->base.name), (double)by);
}

/* Answers. */

static bool write_piece(struct reply *reply, struct buf *out)
{
	if (!reply->is_begun)
		buf_append_str(out, reply->federate->mark);
	reply->is_begun = true;
	reply->outcome = "aborted"; /* until it has come to its end */
	return answer_write(reply->answer, out, PIECE_BYTES);
}

static enum httpd_piece on_next(void *arg, struct buf *out)
{
	struct reply *reply = arg;
	size_t before = out->len;
	bool is_more;

	if (reply->federate->is_closing || clock_mono_ms() > reply->deadline_ms) {
		reply->outcome = reply->federate->is_closing ? "stopped" : "timeout";
		return HTTPD_BROKEN;
	}
	if (reply->encoder == NULL) {
		is_more = write_piece(reply, out);
	} else {
		buf_clear(&reply->plain);
		is_more = write_piece(reply, &reply->plain);
		stream_encoder_add(reply->encoder, buf_slice(&reply->plain), !is_more, out);
	}
	reply->bytes += out->len - before;
	if (!is_more)
		reply->outcome = "ok";
	return is_more ? HTTPD_MORE : HTTPD_END;
}

static void on_free(void *arg)
{
	struct reply *reply = arg;
	struct federate *federate = reply->federate;

	federate->answers--;
	count_request(federate, reply->outcome);
	add_to(federate, RM_FEDERATE_SAMPLES, answer_samples(reply->answer));
	add_to(federate, RM_FEDERATE_SENT_BYTES, reply->bytes);
	add_to(federate, RM_FEDERATE_PATTERN_LIMITS, answer_limits_hit(reply->answer));
	series_observe(
		metrics_series(federate->context.metrics, RM_FEDERATE_SECONDS, federate->base.name),
		(double)(clock_mono_us() - reply->begin_us) / 1e6);
	answer_free(reply->answer);
	stream_encoder_free(reply->encoder);
	buf_free(&reply->plain);
	free(reply);
}

static void begin_answer(
	struct federate *federate, struct federate_ask *ask, struct httpd_response *response)
{
	enum encoding encoding =
		federate_choose_encoding(httpd_header(response, "Accept-Encoding"));
	bool utf8_names = federate_takes_utf8_names(httpd_header(response, "Accept"));
	struct reply *reply = xcalloc(1, sizeof(*reply));
	const struct httpd_source source = {.next = on_next, .free = on_free, .arg = reply};
	struct federate_state *state;

	reply->federate = federate;
	reply->outcome = "ok"; /* as of HEAD, which asks for no piece */
	reply->begin_us = clock_mono_us();
	reply->deadline_ms = clock_mono_ms() + ANSWER_TIMEOUT_MS;
	reply->answer =
		answer_new(&federate->families, &ask->selectors, federate->state_count, utf8_names);
	TAILQ_FOREACH (state, &federate->states, of_sink)
		if (state->block != NULL && state->shard % ask->shards == ask->shard)
			answer_add(reply->answer, state->block);
	if (encoding != ENCODING_IDENTITY) {
		reply->encoder = stream_encoder_new(encoding);
		response->content_encoding = encoding_name(encoding);
	}
	response->content_type = utf8_names ? CONTENT_TYPE_UTF8 : CONTENT_TYPE;
	federate->answers++;
	httpd_stream(response, &source);
}

static void refuse(struct httpd_response *response, int status, const char *why)
{
	response->status = status;
	response->retry_after = status == 503 ? "1" : NULL;
	buf_appendf(&response->body, "%s\n", why);
}

static bool on_parameter(void *arg, const char *name, const char *value)
{
	struct federate_ask *ask = arg;

	return federate_ask_read(ask, name, value);
}

static void handle_federate(void *arg, struct httpd_response *response)
{
	struct federate_door *door = arg;
	struct federate *federate = door->federate;
	struct federate_ask ask = {.shards = 1};

	if (federate == NULL || !federate->is_warm || federate->is_stopping) {
		if (federate != NULL)
			count_request(federate, "not_ready");
		refuse(response, 503, "not ready: the newest scrape of each target is being read");
		return;
	}
	if (federate->answers >= (size_t)federate->settings->max_concurrent_requests) {
		count_request(federate, "busy");
		refuse(response, 503, "max_concurrent_requests are being answered");
		return;
	}
	httpd_each_parameter(response, on_parameter, &ask);
	if (ask.is_bad) {
		count_request(federate, "bad_request");
		refuse(response, 400, ask.err.text);
	} else {
		begin_answer(federate, &ask, response);
	}
	selectors_fini(&ask.selectors);
}

static const struct httpd_route routes[] = {
	{"GET", "/federate", handle_federate},
	{NULL, NULL, NULL},
};

/* The door. */

struct federate_door *federate_door_open(
	uv_loop_t *loop, const struct federate_settings *settings, struct err *err)
{
	struct federate_door *door = xcalloc(1, sizeof(*door));
	struct settings_listen listen;

	if (settings_split_listen(settings->listen, &listen, err) < 0)
		goto failed;
	if (settings->web_config_file != NULL) {
		door->auth = webauth_load(loop, settings->web_config_file, err);
		if (door->auth == NULL)
			goto failed;
	}
	door->httpd =
		httpd_open_large(loop, listen.address, listen.port, routes, door, door->auth, err);
	if (door->httpd != NULL)
		return door;
	if (door->auth != NULL)
		webauth_close(door->auth, NULL, NULL);
failed:
	free(door);
	err_wrapf(err, "%s", settings->name);
	return NULL;
}

void federate_door_set_sink(struct federate_door *door, struct federate *federate)
{
	door->federate = federate;
}

static void on_httpd_closed(void *arg)
{
	struct federate_door *door = arg;

	if (door->on_closed != NULL)
		door->on_closed(door->closed_arg);
	free(door);
}

void federate_door_close(struct federate_door *door, void (*on_closed)(void *arg), void *arg)
{
	door->on_closed = on_closed;
	door->closed_arg = arg;
	httpd_close(door->httpd, on_httpd_closed, door);
	if (door->auth != NULL)
		webauth_close(door->auth, NULL, NULL);
}
