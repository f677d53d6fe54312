/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CONSUMER.INFO, and CONSUMER.DURABLE.CREATE where there is none: the start of delivery is chosen
 * then and only then. A passing consumer has no name to be asked for: it is made each time. At most
 * one request is under way.
 */
#include "common/nats/durable.h"

#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/nats/api.h"

#include <time.h>

static void fail(struct durable *durable, enum durable_verdict verdict, const char *doing,
	const struct err *err)
{
	struct err why;

	if (durable->settings.durable == NULL)
		err_setf(&why, "%s a passing consumer of stream \"%s\": %s", doing,
			durable->settings.stream, err->text);
	else
		err_setf(&why, "%s durable \"%s\" of stream \"%s\": %s", doing,
			durable->settings.durable, durable->settings.stream, err->text);
	durable->on_verdict(durable->arg, verdict, NULL, why.text);
}

/* Whether the durable is of another kind than ours, and how. */
static bool contradicts(
	const struct durable *durable, const struct js_consumer_info *info, struct err *how)
{
	const char *filter = durable->settings.filter_subject;

	if (info->is_push)
		err_setf(how, "it pushes, where one to pull from is needed");
	else if (strcmp(info->ack_policy, "explicit") != 0)
		err_setf(how, "its ack policy is \"%s\", where \"explicit\" is needed",
			info->ack_policy);
	else if (strcmp(info->filter_subject, filter) != 0)
		err_setf(how, "its filter is \"%s\", where the configuration says \"%s\"",
			info->filter_subject, filter);
	else
		return false;
	return true;
}

static void judge(
	struct durable *durable, enum durable_verdict verdict, const struct js_consumer_info *info)
{
	const struct js_consumer_settings *settings = &durable->settings;
	struct err how, why;

	if (!contradicts(durable, info, &how)) {
		durable->on_verdict(durable->arg, verdict, info, NULL);
		return;
	}
	err_setf(&why,
		"durable \"%s\" of stream \"%s\" is not ours: %s; it is left alone, and if it may "
		"go, this removes it: nats consumer rm %s %s",
		settings->durable, settings->stream, how.text, settings->stream, settings->durable);
	durable->on_verdict(durable->arg, DURABLE_CONTRADICTS, NULL, why.text);
}

/* 0, or -1 after the verdict has been given. */
static int read_answer(struct durable *durable, const char *doing, enum nats_reply outcome,
	struct nats_incoming *message, const char *text, struct js_consumer_info *info)
{
	enum durable_verdict verdict = DURABLE_FAILED;
	struct err err;

	if (outcome != NATS_REPLY_OK) {
		nats_api_outcome(&err, outcome, text);
		if (outcome == NATS_REPLY_TIMEOUT)
			verdict = DURABLE_UNREACHABLE;
	} else if (js_consumer_info_parse(info, nats_incoming_body(message), &err) == 0) {
		return 0;
	}
	fail(durable, verdict, doing, &err);
	return -1;
}

static void on_created(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	struct durable *durable = arg;
	struct js_consumer_info info;
	struct err err;

	durable->request = 0;
	if (read_answer(durable, "cannot create", outcome, message, text, &info) != 0)
		return;
	if (info.error.code != 0) {
		nats_api_error(&err, &info.error);
		fail(durable, DURABLE_FAILED, "cannot create", &err);
		return;
	}
	if (durable->settings.durable == NULL) {
		durable->on_verdict(durable->arg, DURABLE_MADE, &info, NULL);
		return;
	}
	log_info("durable created", LOG_S("stream", durable->settings.stream),
		LOG_S("durable", durable->settings.durable),
		LOG_S("filter", durable->settings.filter_subject));
	judge(durable, DURABLE_MADE, &info);
}

static void create(struct durable *durable)
{
	struct js_consumer_settings settings = durable->settings;
	struct buf body = {0};

	if (durable->start_age_ms > 0)
		settings.start_time_ms = clock_wall_ms() - durable->start_age_ms;
	js_consumer_create_request(&body, &settings);
	durable->request = nats_api_request(durable->link,
		nats_api_message(&body, "$JS.API.CONSUMER.DURABLE.CREATE.%s.%s", settings.stream,
			settings.durable),
		on_created, durable);
}

static void on_refused_info(struct durable *durable, const struct js_error *error)
{
	struct err why;

	if (error->err_code == JS_CONSUMER_NOT_FOUND) {
		create(durable);
	} else if (error->err_code == JS_STREAM_NOT_FOUND) {
		err_setf(&why, "stream \"%s\" not found", durable->settings.stream);
		durable->on_verdict(durable->arg, DURABLE_FAILED, NULL, why.text);
	} else {
		nats_api_error(&why, error);
		fail(durable, DURABLE_FAILED, "cannot check", &why);
	}
}

static void on_info(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	struct durable *durable = arg;
	struct js_consumer_info info;

	durable->request = 0;
	if (outcome == NATS_REPLY_DENIED) {
		if (!durable->was_skipped)
			log_info("durable not checked before pulling: no permission to ask",
				LOG_S("stream", durable->settings.stream),
				LOG_S("durable", durable->settings.durable), LOG_S("error", text));
		durable->was_skipped = true;
		durable->on_verdict(durable->arg, DURABLE_UNCHECKED, NULL, NULL);
		return;
	}
	if (read_answer(durable, "cannot check", outcome, message, text, &info) != 0)
		return;
	durable->was_skipped = false;
	if (info.error.code != 0)
		on_refused_info(durable, &info.error);
	else
		judge(durable, DURABLE_FOUND, &info);
}

/* Gone when nobody has pulled from it for so long. */
#define PASSING_INACTIVE_MS 30000

static void create_passing(struct durable *durable)
{
	struct buf body = {0};

	js_lookback_create_request(&body, durable->settings.stream,
		durable->settings.filter_subject, PASSING_INACTIVE_MS);
	durable->request = nats_api_request(durable->link,
		nats_api_message(&body, "$JS.API.CONSUMER.CREATE.%s", durable->settings.stream),
		on_created, durable);
}

void durable_find(struct durable *durable)
{
	if (durable->settings.durable == NULL) {
		create_passing(durable);
		return;
	}
	durable->request = nats_api_request(durable->link,
		nats_api_message(NULL, "$JS.API.CONSUMER.INFO.%s.%s", durable->settings.stream,
			durable->settings.durable),
		on_info, durable);
}

void durable_cancel(struct durable *durable)
{
	if (durable->request != 0)
		nats_link_cancel(durable->link, durable->request);
	durable->request = 0;
}

/* Seconds since the epoch of "2026-01-02T03:04:05.678Z", as the server writes times; -1 if unread.
 */
static time_t parse_created(const char *created)
{
	struct tm tm = {0};

	return strptime(created, "%Y-%m-%dT%H:%M:%S", &tm) == NULL ? -1 : timegm(&tm);
}

/* After a restart nats-server 2.9 gives a slightly different time for the same (seen: 150 us). */
bool durable_is_same(const char *created_before, const char *created)
{
	time_t before = parse_created(created_before);
	time_t now = parse_created(created);

	if (before == -1 || now == -1)
		return strcmp(created_before, created) == 0;
	return before <= now + 1 && now <= before + 1;
}
