/* SPDX-License-Identifier: Apache-2.0 */
/* The receiver: one link to NATS, one intake per sink. */
#include "common/core/log.h"
#include "common/loop/daemon.h"
#include "receiver/intake.h"
#include "receiver/metrics.h"
#include "receiver/sink/federate.h"
#include "receiver/sink/files.h"

#include <stdio.h>
#include <stdlib.h>

/* What closing NATS may take: a flush of the last acknowledgements. */
#define LINK_CLOSE_TIMEOUT_MS 2000
#define POOL_THREADS          ((size_t)4) /* as libuv has it */

struct receiver {
	struct daemon *daemon;
	struct nats_link *link;
	struct codec *codec;
	struct tally *tally;
	struct keyframe_store *keyframes;
	struct federate_door **doors; /* by sink; NULL for other kinds */
	struct intake **intakes;
	size_t intake_count;
	size_t to_drain, to_close;
};

static void open_link(struct receiver *receiver, const struct settings *settings)
{
	const struct stream_settings *stream = &settings->receiver_stream;
	char *name = xasprintf("prometheus-streams-receiver %s", stream->client_id);
	char *inbox = xasprintf("_INBOX_%s", stream->client_id);
	struct nats_tls tls;
	const struct nats_link_options options = {
		.urls = &stream->urls,
		.tls = &tls,
		.auth = &stream->auth,
		.client_name = name,
		.inbox_prefix = inbox,
		.gathers_writes = true, /* acks, and pulls, whose heartbeats are watched */
	};

	settings_nats_tls(settings, stream, &tls);
	receiver->link = nats_link_open(daemon_loop(receiver->daemon), &options);
	settings_nats_tls_fini(&tls);
	free(inbox);
	free(name);
}

static void open_keyframes(struct receiver *receiver, const struct settings *settings)
{
	const struct keyframe_store_options options = {
		.link = receiver->link,
		.stream = settings->receiver_stream.stream,
		.codec = receiver->codec,
		.metrics = daemon_metrics(receiver->daemon),
		.max_scrape_bytes = settings->max_scrape_bytes,
		.memory_bytes = settings->keyframe_memory_bytes,
	};

	receiver->keyframes = keyframe_store_open(&options);
}

/*
 * Disks that hang keep threads of libuv's for as long as they do; passwords, certificates and
 * reloads have theirs all the same. Before any is used, and before there are others of ours.
 */
static void size_thread_pool(const struct settings *settings)
{
	char size[24];

	snprintf(size, sizeof(size), "%zu",
		POOL_THREADS + settings->files_count * FILES_MAX_THREADS);
	setenv("UV_THREADPOOL_SIZE", size, 0);
}

/* First of all: it is all that may fail. */
static int open_doors(struct receiver *receiver, const struct settings *settings, struct err *err)
{
	receiver->intake_count = settings_sink_count(settings);
	receiver->doors = xcalloc(receiver->intake_count, sizeof(*receiver->doors));
	for (size_t i = 0; i < receiver->intake_count; i++) {
		struct settings_sink sink = settings_sink_at(settings, i);

		if (sink.kind != SINK_FEDERATE)
			continue;
		receiver->doors[i] =
			federate_door_open(daemon_loop(receiver->daemon), sink.own, err);
		if (receiver->doors[i] != NULL)
			continue;
		while (i-- > 0)
			if (receiver->doors[i] != NULL)
				federate_door_close(receiver->doors[i], NULL, NULL);
		return -1;
	}
	return 0;
}

static void open_intakes(struct receiver *receiver, const struct settings *settings)
{
	receiver->intakes = xcalloc(receiver->intake_count, sizeof(struct intake *));
	for (size_t i = 0; i < receiver->intake_count; i++) {
		const struct intake_options options = {
			.loop = daemon_loop(receiver->daemon),
			.link = receiver->link,
			.settings = settings,
			.metrics = daemon_metrics(receiver->daemon),
			.codec = receiver->codec,
			.tally = receiver->tally,
			.keyframes = receiver->keyframes,
			.sink = settings_sink_at(settings, i),
			.door = receiver->doors[i],
		};
		receiver->intakes[i] = intake_open(&options);
	}
}

static int start(
	struct daemon *daemon, const struct settings *settings, void **state, struct err *err)
{
	struct receiver *receiver = xcalloc(1, sizeof(*receiver));

	receiver->daemon = daemon;
	size_thread_pool(settings);
	if (open_doors(receiver, settings, err) < 0) {
		free(receiver->doors);
		free(receiver);
		return -1;
	}
	receiver->codec = codec_new();
	receiver->tally = tally_new(daemon_metrics(daemon));
	open_link(receiver, settings);
	open_keyframes(receiver, settings);
	open_intakes(receiver, settings);
	series_set(metrics_series(daemon_metrics(daemon), RM_BUILD_INFO, VERSION), 1);
	*state = receiver;
	return 0;
}

static int reload(void *state, struct settings *settings, struct buf *answer, struct err *err)
{
	struct receiver *receiver = state;

	(void)answer;
	(void)err;
	keyframe_store_set_limits(
		receiver->keyframes, settings->max_scrape_bytes, settings->keyframe_memory_bytes);
	for (size_t i = 0; i < receiver->intake_count; i++)
		intake_set_settings(
			receiver->intakes[i], settings, settings_sink_at(settings, i).own);
	return 0;
}

static void on_intake_drained(void *arg)
{
	struct receiver *receiver = arg;

	if (--receiver->to_drain == 0)
		daemon_drained(receiver->daemon);
}

static void drain(void *state)
{
	struct receiver *receiver = state;

	receiver->to_drain = receiver->intake_count;
	for (size_t i = 0; i < receiver->intake_count; i++)
		intake_drain(receiver->intakes[i], on_intake_drained, receiver);
}

static void on_link_closed(void *arg)
{
	struct receiver *receiver = arg;
	struct daemon *daemon = receiver->daemon;

	codec_free(receiver->codec);
	tally_free(receiver->tally);
	free(receiver->doors);
	free(receiver->intakes);
	free(receiver);
	daemon_closed(daemon);
}

/* The link goes last: intakes hold inboxes of it. */
static void on_intake_closed(void *arg)
{
	struct receiver *receiver = arg;

	if (--receiver->to_close > 0)
		return;
	keyframe_store_close(receiver->keyframes);
	nats_link_close(receiver->link, LINK_CLOSE_TIMEOUT_MS, on_link_closed, receiver);
}

static void close_all(void *state)
{
	struct receiver *receiver = state;

	receiver->to_close = receiver->intake_count;
	for (size_t i = 0; i < receiver->intake_count; i++)
		intake_close(receiver->intakes[i], on_intake_closed, receiver);
}

/* One that is down for long must not hide another; of what all say, such as that NATS is away, once
 * is enough. */
static bool gather_reason(bool is_ready, struct buf *reason, struct buf *why)
{
	if (!is_ready && strstr(buf_cstr(why), buf_cstr(reason)) == NULL)
		buf_appendf(why, "%s%s", why->len > 0 ? "; " : "", buf_cstr(reason));
	buf_clear(reason);
	return is_ready;
}

static bool is_ready(void *state, struct buf *why)
{
	struct receiver *receiver = state;
	struct buf reason = {0};
	bool are_all = true, is_one;

	for (size_t i = 0; i < receiver->intake_count; i++) {
		is_one = intake_is_ready(receiver->intakes[i], &reason);
		are_all &= gather_reason(is_one, &reason, why);
	}
	is_one = keyframe_store_is_reachable(receiver->keyframes, &reason);
	are_all &= gather_reason(is_one, &reason, why);
	buf_free(&reason);
	return are_all;
}

static void collect(void *state)
{
	struct receiver *receiver = state;
	struct metrics *metrics = daemon_metrics(receiver->daemon);

	for (size_t i = 0; i < receiver->intake_count; i++)
		intake_collect(receiver->intakes[i]);
	keyframe_store_collect(receiver->keyframes);
	series_set(metrics_plain(metrics, RM_NATS_UP), nats_link_is_up(receiver->link));
	series_set(metrics_plain(metrics, RM_NATS_CONNECTS),
		(double)nats_link_connects(receiver->link));
	series_set(metrics_plain(metrics, RM_NATS_VIOLATIONS),
		(double)nats_link_violations(receiver->link));
	for (enum nats_failure i = 0; i < NATS_FAILURE_COUNT; i++)
		series_set(metrics_series(metrics, RM_NATS_FAILURES, nats_failure_name(i)),
			(double)nats_link_failures(receiver->link, i));
}

int main(int argc, char **argv)
{
	const struct daemon_program program = {
		.name = "prometheus-streams-receiver",
		.summary = "Delivers scrapes from a NATS JetStream stream to its sinks.",
		.metrics = receiver_metric_defs,
		.metric_count = RM_COUNT,
		.metric_reload_successful = RM_CONFIG_RELOAD_SUCCESSFUL,
		.metric_reload_time = RM_CONFIG_RELOAD_TIME,
		.role = SETTINGS_FOR_RECEIVER,
		.start = start,
		.reload = reload,
		.drain = drain,
		.close = close_all,
		.is_ready = is_ready,
		.collect = collect,
	};

	return daemon_main(&program, argc, argv);
}
