/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway that is away is told from one that will not show what it holds: the former has to be
 * waited for, the latter is done without, and so is one that times out again and again.
 */
#include "receiver/sink/push_surveyor.h"

#include "common/core/clock.h"
#include "receiver/metrics.h"
#include "receiver/sink/push_report.h"

/* Of the gateway's /metrics: half a million samples take 64 MB. */
#define LIMIT_BYTES ((size_t)256 << 20)
/* As often a survey may time out in a row before its user goes on without. */
#define MAX_TIMEOUTS 3
/* Of the time, at most one part in so many goes into readings that nothing waits for. */
#define SHARE       100
#define MIN_REST_MS 1000

static void take(struct push_surveyor *surveyor, const struct push_survey *survey)
{
	const struct push_maker *maker = surveyor->maker;

	push_types_begin_survey(maker->types);
	for (size_t i = 0; i < PUSH_LATE_COUNT; i++)
		push_types_set_foreign(maker->types, slice_from(push_late_families[i].name),
			push_late_families[i].type);
	for (size_t i = 0; i < survey->family_count; i++) {
		const struct push_survey_family *family = &survey->families[i];

		if (family->is_foreign)
			push_types_set_foreign(
				maker->types, slice_from(family->name), family->type);
	}
	push_types_end_survey(maker->types);
	push_marks_survey(maker->marks, survey, maker->settings->publisher_label, maker->claims);
}

void push_surveyor_take_nothing(struct push_surveyor *surveyor)
{
	take(surveyor, &(struct push_survey){.groups = NULL});
}

/* False with the reason where the answer says nothing of the gateway's content. */
static bool read_answer(
	struct push_surveyor *surveyor, const struct fetch_result *result, struct err *err)
{
	struct push_survey survey;
	bool ok;

	if (result->outcome != FETCH_DONE)
		err_setf(err, "%s", result->error);
	else if (result->status < 200 || result->status > 299)
		err_setf(err, "HTTP status %d", result->status);
	if (result->outcome != FETCH_DONE || result->status < 200 || result->status > 299)
		return false;
	ok = push_survey_parse(&survey, buf_slice(&result->body), err) == 0;
	if (ok)
		take(surveyor, &survey);
	push_survey_fini(&survey);
	return ok;
}

static bool is_away(struct push_surveyor *surveyor, const struct fetch_result *result)
{
	if (result->outcome == FETCH_TIMED_OUT && surveyor->is_optional)
		return false;
	if (result->outcome == FETCH_TIMED_OUT)
		return ++surveyor->timeouts < MAX_TIMEOUTS;
	return result->outcome == FETCH_FAILED ||
	       (result->outcome == FETCH_DONE &&
		       (result->status == 429 || (result->status > 500 && result->status < 505)));
}

static void on_answer(void *arg, struct fetch_result *result)
{
	struct push_surveyor *surveyor = arg;
	const struct push_maker *maker = surveyor->maker;
	struct err err = {""};
	bool was_read;

	surveyor->transfer = NULL;
	if (is_away(surveyor, result)) {
		struct push_answer answer;

		push_answer_read(&answer, result);
		series_inc(metrics_series(
			maker->context->metrics, RM_PUBLISH_ERRORS, maker->sink, answer.reason));
		surveyor->on_end(surveyor->arg, false, &answer, result->retry_after_ms);
		return;
	}
	surveyor->timeouts = 0;
	was_read = read_answer(surveyor, result, &err);
	surveyor->ended_ms = clock_mono_ms();
	if (!was_read)
		log_limited(&surveyor->unread, LOG_WARN,
			"the Push Gateway's /metrics cannot be read; types of what others push "
			"there are not known",
			LOG_S("sink", maker->sink), LOG_S("url", surveyor->shown_url),
			LOG_S("error", err.text));
	surveyor->on_end(surveyor->arg, was_read, NULL, 0);
}

/* Since a survey has ended, so long and in proportion to what it took. */
static bool has_passed(const struct push_surveyor *surveyor, uint64_t ms)
{
	uint64_t least_ms = SHARE * (surveyor->ended_ms - surveyor->began_ms);

	return surveyor->transfer == NULL && surveyor->ended_ms != 0 &&
	       clock_mono_ms() - surveyor->ended_ms >= (ms > least_ms ? ms : least_ms);
}

bool push_surveyor_is_due(const struct push_surveyor *surveyor)
{
	uint64_t interval_ms = (uint64_t)surveyor->maker->settings->survey_interval_ms;

	return interval_ms > 0 && has_passed(surveyor, interval_ms);
}

bool push_surveyor_has_rested(const struct push_surveyor *surveyor)
{
	return has_passed(surveyor, MIN_REST_MS);
}

void push_surveyor_start(struct push_surveyor *surveyor, bool is_optional)
{
	char *url = xasprintf("%s/metrics", surveyor->base_url);
	const struct fetch_request request = {
		.method = "GET",
		.url = url,
		.timeout_ms = surveyor->maker->settings->timeout_ms,
		.body_limit_bytes = LIMIT_BYTES,
		.follow_redirects = false,
		.client = surveyor->client,
	};

	surveyor->is_optional = is_optional;
	surveyor->began_ms = clock_mono_ms();
	surveyor->transfer = fetch_start(surveyor->fetch, &request, on_answer, surveyor);
	free(url);
}

bool push_surveyor_cancel(struct push_surveyor *surveyor)
{
	if (surveyor->transfer == NULL)
		return false;
	fetch_cancel(surveyor->transfer);
	surveyor->transfer = NULL;
	return true;
}
