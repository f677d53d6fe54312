/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and what their answers say of the endpoint. One that drops what it gets is there, but is
 * called ready only where it takes things: credentials that do not fit must not go unnoticed.
 */
#include "receiver/sink/write_sender.h"

#include "common/core/url.h"
#include "receiver/metrics.h"

#include <stdio.h>

#define ANSWER_LIMIT_BYTES ((size_t)64 << 10)

static struct series *series_of(const struct write_sender *sender, enum receiver_metric id)
{
	return metrics_series(sender->metrics, id, sender->sink);
}

void write_sender_init(struct write_sender *sender, uv_loop_t *loop)
{
	static const struct fetch_options options = {.user_agent = "prometheus-streams/" VERSION};

	sender->fetch = fetch_open(loop, &options);
	sender->client = fetch_client_new(sender->fetch, &sender->settings->http);
	sender->shown_url = url_redact(sender->settings->url);
	sender->version =
		sender->settings->protobuf_message == REMOTE_WRITE_V2 ? WRITE_V2 : WRITE_V1;
	sender->request = write_request_new(sender->table);
	sender->readiness.is_ready = true;
	sender->samples = series_of(sender, RM_WRITE_SAMPLES);
	sender->markers = series_of(sender, RM_WRITE_MARKERS);
	sender->retried = series_of(sender, RM_WRITE_RETRIED);
	sender->failed = series_of(sender, RM_WRITE_FAILED);
	sender->metadata = series_of(sender, RM_WRITE_METADATA);
	sender->bytes = series_of(sender, RM_WRITE_BYTES);
	sender->highest = series_of(sender, RM_WRITE_HIGHEST);
	sender->seconds = series_of(sender, RM_PUBLISH_SECONDS);
	sender->requests = metrics_series(sender->metrics, RM_PUSHES, sender->sink, "POST");
}

struct fetch_transfer *write_sender_post(struct write_sender *sender, struct slice body,
	unsigned attempt, fetch_callback callback, void *arg)
{
	char retry[40];
	const char *headers[] = {"Content-Encoding: snappy", "Content-Type: application/x-protobuf",
		"X-Prometheus-Remote-Write-Version: 0.1.0", NULL, NULL};
	struct fetch_request request = {
		.method = "POST",
		.url = sender->settings->url,
		.headers = headers,
		.body = body,
		.timeout_ms = sender->settings->remote_timeout_ms,
		.body_limit_bytes = ANSWER_LIMIT_BYTES,
		.cuts_body = true,
		.client = sender->client,
	};

	if (sender->version == WRITE_V2) {
		headers[1] = "Content-Type: application/x-protobuf;"
			     "proto=io.prometheus.write.v2.Request";
		headers[2] = "X-Prometheus-Remote-Write-Version: 2.0.0";
		request.answer_header = WRITE_WRITTEN_HEADER;
	}
	if (attempt > 0) {
		snprintf(retry, sizeof(retry), "Retry-Attempt: %u", attempt);
		headers[3] = retry;
	}
	series_inc(sender->requests);
	series_add(sender->bytes, (double)body.len);
	return fetch_start(sender->fetch, &request, callback, arg);
}

static void say_lost(struct write_sender *sender, const char *words)
{
	if (readiness_lose(&sender->readiness, "%s: %s", sender->shown_url, words))
		sender->is_reason_said = false;
	if (sender->is_reason_said)
		return;
	log_limited(&sender->lost, LOG_WARN,
		"the remote write endpoint does not take what we bring; trying again",
		LOG_S("sink", sender->sink), LOG_S("url", sender->shown_url),
		LOG_S("error", words));
	sender->is_reason_said = sender->lost.suppressed == 0;
	sender->is_loss_said = sender->is_loss_said || sender->is_reason_said;
}

static void say_taken(struct write_sender *sender)
{
	if (!readiness_gain(&sender->readiness) || !sender->is_loss_said)
		return;
	sender->is_loss_said = false;
	log_info("the remote write endpoint takes what we bring again", LOG_S("sink", sender->sink),
		LOG_S("url", sender->shown_url));
}

static void fall_back(struct write_sender *sender, const char *words)
{
	if (sender->version == WRITE_V1)
		return;
	sender->version = WRITE_V1;
	log_warn("the remote write endpoint does not know version 2.0 of the protocol; it gets 1.0 "
		 "from now on",
		LOG_S("sink", sender->sink), LOG_S("url", sender->shown_url),
		LOG_S("answer", words));
}

void write_sender_judge(struct write_sender *sender, const struct fetch_result *result,
	enum write_version version, struct write_answer *answer)
{
	write_answer_read(answer, result, version, sender->settings->queue.retry_on_http_429);
	if (answer->meaning == WRITE_TAKEN) {
		series_observe(sender->seconds, result->duration_s);
		say_taken(sender);
		return;
	}
	series_inc(
		metrics_series(sender->metrics, RM_PUBLISH_ERRORS, sender->sink, answer->reason));
	if (answer->meaning == WRITE_FALL_BACK)
		fall_back(sender, answer->words);
	else if (answer->meaning == WRITE_RETRY)
		say_lost(sender, answer->words);
}

void write_sender_drop(
	struct write_sender *sender, const struct write_answer *answer, uint64_t samples)
{
	series_add(sender->failed, (double)samples);
	if (strcmp(answer->reason, "http_400") != 0)
		(void)readiness_lose(
			&sender->readiness, "%s: %s", sender->shown_url, answer->words);
	log_limited(&sender->dropped, LOG_WARN,
		"the remote write endpoint refuses samples; they are dropped",
		LOG_S("sink", sender->sink), LOG_S("url", sender->shown_url),
		LOG_S("answer", answer->words), LOG_I("samples", samples));
}

void write_sender_close(struct write_sender *sender, void (*on_closed)(void *arg), void *arg)
{
	fetch_close(sender->fetch, on_closed, arg);
}

void write_sender_fini(struct write_sender *sender)
{
	write_request_free(sender->request);
	free(sender->shown_url);
}
