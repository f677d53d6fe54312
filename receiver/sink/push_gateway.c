/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Push Gateway sink.
 *
 * A job is what is to be done for one target: PUT its groups and DELETE those that vanished, or
 * DELETE all of them because it is silent. A target has at most one job, a path at most one holder,
 * so that no two requests for one path run at a time. Requests are dealt out in turn over the jobs,
 * deletions of the silent having every other turn.
 *
 *	            a request fails             the wait is over
 *	  OPEN ─────────────────────> WAITING ────────────────────> PROBING (one request)
 *	   ^                             ^          it fails            │
 *	   │                             └──────────────────────────────┤
 *	   └────────────────────────────────────────────────────────────┘ it is answered
 *
 * While waiting, pushes not yet begun go back to where newer scrapes may replace them.
 *
 * Before the first push and before the first after each failure (a restart of the gateway looks
 * like one) the gateway's /metrics is read, for the types of what is not ours. A gateway that does
 * not show them is pushed to nevertheless.
 */
#include "receiver/sink/push_gateway.h"

#include "common/core/backoff.h"
#include "common/core/clock.h"
#include "common/core/url.h"
#include "common/loop/fetch_client.h"
#include "receiver/metrics.h"
#include "receiver/sink/push_answer.h"
#include "receiver/sink/push_health.h"
#include "receiver/sink/push_job.h"
#include "receiver/sink/push_marks.h"
#include "receiver/sink/push_report.h"
#include "receiver/sink/push_survey.h"

#define BACKOFF_MIN_MS     500
#define BACKOFF_MAX_MS     10000
#define RETRY_AFTER_MAX_MS 60000
#define ANSWER_LIMIT_BYTES ((size_t)64 << 10)
/* Of the gateway's /metrics: half a million samples take 64 MB. */
#define SURVEY_LIMIT_BYTES ((size_t)256 << 20)
/* Where max_age is off, as newest.c's for silence. */
#define ORPHAN_DEFAULT_MS (5 * 60 * 1000)
/* As often a survey may time out in a row before pushes go on without. */
#define SURVEY_TIMEOUTS 3

enum gateway_state { OPEN, WAITING, PROBING };

TAILQ_HEAD(job_list, push_job);

struct push_gateway {
	struct sink base;
	struct sink_context context;
	const struct push_gateway_settings *settings;
	struct push_maker maker;
	char *base_url; /* without a slash at its end; may hold credentials */
	char *shown_url;
	struct fetch *fetch;
	struct fetch_client *client;
	struct push_claims *claims;
	struct push_types *types;
	struct push_marks *marks;
	/* Groups that nobody claims, see sweep: one DELETE at a time, taking turns with the rest.
	 */
	bool orphans_are_due;
	bool is_second_survey;     /* asked for, to see whose marks are still renewed */
	int64_t orphans_before_ms; /* what it said to be older may go; 0: it has not come */
	struct push_mark *orphan;  /* being deleted */
	struct fetch_transfer *orphan_transfer;
	bool orphan_had_turn;
	size_t held_by_orphan; /* targets whose frame in flight waits for that */
	bool must_survey;
	struct fetch_transfer *survey; /* NULL: not running */
	int survey_timeouts;           /* in a row */
	bool is_lost_by_survey;        /* and not by a push */
	struct log_limit unsurveyed;
	enum gateway_state state;
	struct push_health health;
	struct backoff backoff;
	uv_timer_t timer;
	size_t running;           /* requests */
	size_t pushing;           /* jobs that push, begun and not ended */
	struct job_list pushes;   /* of these, those with steps to begin */
	struct job_list removals; /* likewise */
	bool removal_has_turn;
	bool is_stopping, is_closing;
	size_t closing_parts;
	void (*on_closed)(void *arg);
	void *closed_arg;
	TAILQ_HEAD(, push_state) targets;
	struct series *puts, *deletes, *seconds, *groups;
};

static struct push_gateway *from_sink(const struct sink *sink)
{
	return container_of(sink, struct push_gateway, base);
}

/* How many requests may run. */
static size_t allowed(const struct push_gateway *gateway)
{
	if (gateway->state == WAITING || gateway->is_closing)
		return 0;
	return gateway->state == PROBING ? 1 : (size_t)gateway->settings->concurrency;
}

static struct series *series_of(struct push_gateway *gateway, enum receiver_metric id)
{
	return metrics_series(gateway->context.metrics, id, gateway->base.name);
}

static void count_groups(struct push_gateway *gateway)
{
	series_set(gateway->groups, (double)push_claims_count(gateway->claims));
}

/* Jobs and their order. */

static struct job_list *list_of(struct push_job *job)
{
	return job->is_removal ? &job->gateway->removals : &job->gateway->pushes;
}

/* Behind the others of its kind if it has steps to begin, else in no list. */
static void update_turn(struct push_job *job)
{
	if (job->is_listed)
		TAILQ_REMOVE(list_of(job), job, in_turn);
	job->is_listed = job->next < job->count;
	if (job->is_listed)
		TAILQ_INSERT_TAIL(list_of(job), job, in_turn);
}

static void begin_job(struct push_gateway *gateway, struct push_job *job)
{
	job->gateway = gateway;
	job->state->job = job;
	gateway->pushing += !job->is_removal;
	update_turn(job);
}

/* No further requests for it; what it pushes goes back. */
static void give_up(struct push_job *job)
{
	job->must_retry = true;
	job->next = job->count;
	update_turn(job);
}

/* Ends its requests, too. */
static void end_job(struct push_job *job)
{
	if (job == NULL)
		return;
	give_up(job);
	for (size_t i = 0; i < job->count; i++) {
		if (job->steps[i].transfer == NULL)
			continue;
		fetch_cancel(job->steps[i].transfer);
		job->gateway->running--;
	}
	job->gateway->pushing -= !job->is_removal;
	job->state->job = NULL;
	push_job_free(job);
}

/* Beginning. */

static struct push_state *state_of(struct push_gateway *gateway, struct target *target)
{
	struct push_state *state = target->sink_state;

	if (state != NULL)
		return state;
	state = xcalloc(1, sizeof(*state));
	state->target = target;
	push_holder_init(&state->holder);
	TAILQ_INSERT_TAIL(&gateway->targets, state, of_sink);
	target->sink_state = state;
	return state;
}

/*
 * The target is heard again: what is left to delete is for its next push to judge. False while a
 * DELETE is on its way.
 */
static bool drop_removal(struct push_job *job)
{
	if (job->outstanding > 0) {
		give_up(job);
		return false;
	}
	end_job(job);
	return true;
}

/* False where the target's frame in flight has been ended, or must wait for a DELETE's answer. */
static bool begin_push(struct push_gateway *gateway, struct target *target)
{
	struct push_state *state = state_of(gateway, target);
	enum newest_outcome outcome;
	struct push_job *job;

	if (state->job != NULL && !drop_removal(state->job)) {
		state->is_held = true;
		return false;
	}
	job = push_job_new(&gateway->maker, state, &outcome);
	count_groups(gateway);
	if (job != NULL) {
		begin_job(gateway, job);
	} else if (outcome == NEWEST_RETRY) {
		state->is_held = true;
		gateway->held_by_orphan++;
	} else {
		newest_end(gateway->context.newest, target, outcome, clock_wall_ms());
	}
	return job != NULL;
}

static struct push_job *next_push(struct push_gateway *gateway)
{
	while (!gateway->is_stopping && gateway->pushing < allowed(gateway)) {
		struct target *target = newest_begin(gateway->context.newest, clock_wall_ms());

		if (target == NULL)
			break;
		if (begin_push(gateway, target))
			return TAILQ_LAST(&gateway->pushes, job_list);
	}
	return TAILQ_FIRST(&gateway->pushes);
}

static struct push_job *next_removal(struct push_gateway *gateway)
{
	struct push_job *job;

	while ((job = TAILQ_FIRST(&gateway->removals)) != NULL && !job->state->target->is_silent)
		(void)drop_removal(job);
	return gateway->is_stopping ? NULL : job;
}

/* Pushes and removals take turns, as long as there are both. */
static struct push_job *next_job(struct push_gateway *gateway)
{
	struct push_job *job = gateway->removal_has_turn ? next_removal(gateway) : NULL;

	gateway->removal_has_turn = job == NULL;
	if (job == NULL)
		job = next_push(gateway);
	return job != NULL ? job : next_removal(gateway);
}

static void on_answer(void *arg, struct fetch_result *result);

static void send_step(struct push_step *step)
{
	static const char *const headers[] = {"Content-Type: text/plain; version=0.0.4", NULL};
	struct push_gateway *gateway = step->job->gateway;
	char *url = xasprintf("%s%s", gateway->base_url, step->claim->path);
	const struct fetch_request request = {
		.method = step->is_delete ? "DELETE" : "PUT",
		.url = url,
		.headers = step->is_delete ? NULL : headers,
		.body = buf_slice(&step->body),
		.timeout_ms = gateway->settings->timeout_ms,
		.body_limit_bytes = ANSWER_LIMIT_BYTES,
		.follow_redirects = false,
		.client = gateway->client,
	};

	series_inc(step->is_delete ? gateway->deletes : gateway->puts);
	step->job->outstanding++;
	gateway->running++;
	step->transfer = fetch_start(gateway->fetch, &request, on_answer, step);
	free(url);
}

static void on_survey(void *arg, struct fetch_result *result);

static void send_survey(struct push_gateway *gateway)
{
	char *url = xasprintf("%s/metrics", gateway->base_url);
	const struct fetch_request request = {
		.method = "GET",
		.url = url,
		.timeout_ms = gateway->settings->timeout_ms,
		.body_limit_bytes = SURVEY_LIMIT_BYTES,
		.follow_redirects = false,
		.client = gateway->client,
	};

	gateway->running++;
	gateway->survey = fetch_start(gateway->fetch, &request, on_survey, gateway);
	free(url);
}

static void on_orphan(void *arg, struct fetch_result *result);

/* False if there is none to be deleted now. */
static bool delete_orphan(struct push_gateway *gateway)
{
	struct fetch_request request = {
		.method = "DELETE",
		.timeout_ms = gateway->settings->timeout_ms,
		.body_limit_bytes = ANSWER_LIMIT_BYTES,
		.client = gateway->client,
	};
	char *url;

	if (gateway->orphan != NULL || !gateway->orphans_are_due || gateway->is_stopping)
		return false;
	gateway->orphan =
		push_marks_orphan(gateway->marks, gateway->claims, gateway->orphans_before_ms);
	if (gateway->orphan == NULL)
		return false;
	gateway->orphan->is_going = true;
	gateway->orphan_had_turn = true;
	request.url = url = xasprintf("%s%s", gateway->base_url, gateway->orphan->path);
	series_inc(gateway->deletes);
	gateway->running++;
	gateway->orphan_transfer = fetch_start(gateway->fetch, &request, on_orphan, gateway);
	free(url);
	return true;
}

/* False if there is nothing to do. */
static bool send_next(struct push_gateway *gateway)
{
	struct push_job *job;
	struct push_step *step;

	if (!gateway->orphan_had_turn && delete_orphan(gateway))
		return true;
	gateway->orphan_had_turn = false;
	job = next_job(gateway);
	if (job == NULL)
		return delete_orphan(gateway);
	step = &job->steps[job->next++];
	update_turn(job);
	send_step(step);
	return true;
}

/* Begins what may begin; nothing beside a survey. */
static void pump(struct push_gateway *gateway)
{
	if (gateway->must_survey && gateway->running == 0 && allowed(gateway) > 0 &&
		!gateway->is_stopping)
		send_survey(gateway);
	if (gateway->must_survey)
		return;
	while (gateway->running < allowed(gateway) && send_next(gateway))
		continue;
}

/* Ending. */

static void finish_push(struct push_job *job)
{
	struct target *target = job->state->target;
	enum newest_outcome outcome = job->must_retry    ? NEWEST_RETRY
				      : job->was_refused ? NEWEST_REFUSED
							 : NEWEST_DELIVERED;

	newest_end(job->gateway->context.newest, target, outcome, clock_wall_ms());
	end_job(job);
}

static void finish_removal(struct push_job *job)
{
	struct push_gateway *gateway = job->gateway;
	struct push_state *state = job->state;
	struct newest *newest = gateway->context.newest;

	end_job(job);
	if (state->is_held) {
		/* Not pushed from here: a newer one may have come. */
		state->is_held = false;
		newest_end(newest, state->target, NEWEST_RETRY, clock_wall_ms());
	} else if (!state->target->is_silent) {
		return; /* its newest waits for its turn */
	} else if (!TAILQ_EMPTY(&state->holder.claims)) {
		begin_job(gateway, push_job_new_removal(state));
	} else {
		newest_forget(newest, state->target);
	}
}

static void finish_if_done(struct push_job *job)
{
	if (job->outstanding > 0 || job->next < job->count)
		return;
	if (job->is_removal)
		finish_removal(job);
	else
		finish_push(job);
}

static void on_wait_over(uv_timer_t *timer)
{
	struct push_gateway *gateway = timer->data;

	gateway->state = PROBING;
	pump(gateway);
}

static void lose_gateway(
	struct push_gateway *gateway, const struct push_answer *answer, int64_t retry_after_ms)
{
	uint64_t wait_ms;
	struct push_job *job;

	if (gateway->state == WAITING)
		return;
	wait_ms = backoff_next_ms(&gateway->backoff);
	if (retry_after_ms > RETRY_AFTER_MAX_MS)
		retry_after_ms = RETRY_AFTER_MAX_MS;
	if (retry_after_ms > 0 && (uint64_t)retry_after_ms > wait_ms)
		wait_ms = (uint64_t)retry_after_ms;
	gateway->state = WAITING;
	gateway->must_survey = true;
	uv_timer_start(&gateway->timer, on_wait_over, wait_ms, 0);
	push_health_lose(&gateway->health, answer->words);
	while ((job = TAILQ_FIRST(&gateway->pushes)) != NULL) {
		give_up(job);
		finish_if_done(job);
	}
}

static void regain_gateway(struct push_gateway *gateway)
{
	if (gateway->state == PROBING) {
		gateway->state = OPEN;
		backoff_reset(&gateway->backoff);
	}
	if (gateway->state == OPEN)
		push_health_gain(&gateway->health);
}

/* `end`: push_claims_release or push_claims_abandon. */
static void end_claim(
	struct push_step *step, void (*end)(struct push_claims *claims, struct push_claim *claim))
{
	struct push_gateway *gateway = step->job->gateway;

	end(gateway->claims, step->claim);
	step->claim = NULL;
	(void)push_state_charge(&gateway->maker, step->job->state);
	count_groups(gateway);
}

static void on_taken(struct push_step *step, const struct fetch_result *result)
{
	struct push_gateway *gateway = step->job->gateway;

	buf_free(&step->body);
	if (!step->is_delete) {
		push_types_settle(&step->claim->types);
		series_observe(gateway->seconds, result->duration_s);
		return;
	}
	push_marks_forget(gateway->marks, step->claim->path);
	end_claim(step, push_claims_release);
	series_inc(metrics_series(gateway->context.metrics, RM_GROUPS_DELETED, gateway->base.name,
		step->job->is_removal ? "silent" : "vanished"));
}

static void say_refused(
	struct push_gateway *gateway, const struct push_step *step, const char *words)
{
	struct push_state *state = step->job->state;

	if (!push_may_log(&gateway->maker, &state->refused))
		return;
	log_limited(&state->refused, LOG_WARN,
		step->is_delete ? "the Push Gateway refuses to delete a group; it is left alone"
				: "the Push Gateway refuses a group",
		LOG_S("sink", gateway->base.name), LOG_S("publisher", state->target->publisher),
		LOG_S("path", step->claim->path), LOG_S("answer", words));
}

/* Whatever we bring there, the gateway will not have it: the group must not stay as it was. */
static void on_refused(struct push_step *step, const struct push_answer *answer)
{
	struct push_gateway *gateway = step->job->gateway;

	say_refused(gateway, step, answer->words);
	if (step->is_delete) {
		end_claim(step, push_claims_abandon);
		return;
	}
	step->job->was_refused = true;
	if (step->is_remains)
		return;
	push_step_set_remains(&gateway->maker, step);
	if (allowed(gateway) > 0)
		send_step(step);
	else
		give_up(step->job);
}

static void on_answer(void *arg, struct fetch_result *result)
{
	struct push_step *step = arg;
	struct push_job *job = step->job;
	struct push_gateway *gateway = job->gateway;
	struct push_answer answer;

	step->transfer = NULL;
	job->outstanding--;
	gateway->running--;
	push_answer_read(&answer, result);
	if (answer.meaning != PUSH_TAKEN)
		series_inc(metrics_series(gateway->context.metrics, RM_PUBLISH_ERRORS,
			gateway->base.name, answer.reason));
	switch (answer.meaning) {
	case PUSH_TAKEN:
		regain_gateway(gateway);
		on_taken(step, result);
		break;
	case PUSH_REFUSED:
		regain_gateway(gateway);
		on_refused(step, &answer);
		break;
	case PUSH_RETRY:
		give_up(job);
		lose_gateway(gateway, &answer, result->retry_after_ms);
		break;
	}
	finish_if_done(job);
	pump(gateway);
}

/* Groups that nobody claims. */

static void let_go_held(struct push_gateway *gateway)
{
	struct push_state *state, *next;

	if (gateway->held_by_orphan == 0)
		return;
	gateway->held_by_orphan = 0;
	for (state = TAILQ_FIRST(&gateway->targets); state != NULL; state = next) {
		next = TAILQ_NEXT(state, of_sink);
		if (!state->is_held || state->job != NULL)
			continue;
		state->is_held = false;
		newest_end(gateway->context.newest, state->target, NEWEST_RETRY, clock_wall_ms());
	}
}

static void on_orphan(void *arg, struct fetch_result *result)
{
	struct push_gateway *gateway = arg;
	struct push_mark *orphan = gateway->orphan;
	struct push_answer answer;

	gateway->orphan = NULL;
	gateway->orphan_transfer = NULL;
	gateway->running--;
	orphan->is_going = false;
	push_answer_read(&answer, result);
	if (answer.meaning == PUSH_RETRY) {
		lose_gateway(gateway, &answer, result->retry_after_ms);
	} else if (answer.meaning == PUSH_REFUSED) {
		orphan->is_refused = true;
	} else {
		push_marks_gone(gateway->marks, orphan);
		series_inc(metrics_series(
			gateway->context.metrics, RM_GROUPS_DELETED, gateway->base.name, "orphan"));
	}
	let_go_held(gateway);
	pump(gateway);
}

/* Surveys. */

static int64_t orphan_bound_ms(const struct push_gateway *gateway)
{
	int64_t max_age_ms = gateway->context.settings->max_age_ms;

	return max_age_ms > 0 ? max_age_ms : ORPHAN_DEFAULT_MS;
}

/* `survey` may be empty. */
static void take_survey(struct push_gateway *gateway, const struct push_survey *survey)
{
	push_types_begin_survey(gateway->types);
	for (size_t i = 0; i < PUSH_LATE_COUNT; i++)
		push_types_set_foreign(gateway->types, slice_from(push_late_families[i].name),
			push_late_families[i].type);
	for (size_t i = 0; i < survey->family_count; i++) {
		const struct push_survey_family *family = &survey->families[i];

		if (family->is_foreign)
			push_types_set_foreign(
				gateway->types, slice_from(family->name), family->type);
	}
	push_types_end_survey(gateway->types);
	push_marks_survey(
		gateway->marks, survey, gateway->settings->publisher_label, gateway->claims);
}

/* Why the answer says nothing of the gateway's content; true if it does. */
static bool read_survey(
	struct push_gateway *gateway, const struct fetch_result *result, struct err *err)
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
		take_survey(gateway, &survey);
	if (ok && gateway->is_second_survey && gateway->orphans_before_ms == 0)
		gateway->orphans_before_ms = clock_wall_ms() - orphan_bound_ms(gateway);
	push_survey_fini(&survey);
	return ok;
}

/* Whether the gateway is away, rather than unwilling to show what it holds. */
static bool is_away(struct push_gateway *gateway, const struct fetch_result *result)
{
	if (result->outcome == FETCH_TIMED_OUT)
		return ++gateway->survey_timeouts < SURVEY_TIMEOUTS;
	return result->outcome == FETCH_FAILED ||
	       (result->outcome == FETCH_DONE &&
		       (result->status == 429 || (result->status > 500 && result->status < 505)));
}

static void on_survey(void *arg, struct fetch_result *result)
{
	struct push_gateway *gateway = arg;
	struct push_answer answer;
	struct err err = {""};

	gateway->survey = NULL;
	gateway->running--;
	if (is_away(gateway, result)) {
		push_answer_read(&answer, result);
		series_inc(metrics_series(gateway->context.metrics, RM_PUBLISH_ERRORS,
			gateway->base.name, answer.reason));
		gateway->is_lost_by_survey |= gateway->state == OPEN;
		lose_gateway(gateway, &answer, result->retry_after_ms);
		return;
	}
	gateway->must_survey = false;
	gateway->survey_timeouts = 0;
	if (gateway->is_lost_by_survey)
		regain_gateway(gateway);
	gateway->is_lost_by_survey = false;
	if (!read_survey(gateway, result, &err))
		log_limited(&gateway->unsurveyed, LOG_WARN,
			"the Push Gateway's /metrics cannot be read; types of what others push "
			"there are not known",
			LOG_S("sink", gateway->base.name), LOG_S("url", gateway->shown_url),
			LOG_S("error", err.text));
	pump(gateway);
}

/* The sink's functions. */

static void wake(struct sink *sink)
{
	pump(from_sink(sink));
}

static void silent(struct sink *sink, struct target *target)
{
	struct push_gateway *gateway = from_sink(sink);
	struct push_state *state = target->sink_state;

	if (gateway->is_stopping)
		return;
	if (state == NULL || TAILQ_EMPTY(&state->holder.claims) ||
		!gateway->settings->delete_stale) {
		newest_forget(gateway->context.newest, target);
		return;
	}
	if (state->job == NULL)
		begin_job(gateway, push_job_new_removal(state));
	pump(gateway);
}

static void forget(struct sink *sink, struct target *target)
{
	struct push_gateway *gateway = from_sink(sink);
	struct push_state *state = target->sink_state;

	if (state == NULL)
		return;
	end_job(state->job);
	push_claims_abandon_all(gateway->claims, &state->holder);
	count_groups(gateway);
	TAILQ_REMOVE(&gateway->targets, state, of_sink);
	free(state);
	target->sink_state = NULL;
}

/*
 * Groups that no target of the stream has claimed for so long are of targets that ended while no
 * receiver ran. The gateway is read once more first: another receiver's targets have new marks.
 */
static void sweep(struct sink *sink, int64_t now_ms, int64_t trusted_since_ms)
{
	struct push_gateway *gateway = from_sink(sink);
	int64_t bound_ms = orphan_bound_ms(gateway);

	gateway->orphans_are_due = gateway->settings->delete_stale && trusted_since_ms != 0 &&
				   now_ms - trusted_since_ms > bound_ms;
	if (!gateway->orphans_are_due || gateway->is_stopping)
		return;
	if (!gateway->is_second_survey &&
		push_marks_orphan(gateway->marks, gateway->claims, now_ms - bound_ms) != NULL)
		gateway->is_second_survey = gateway->must_survey = true;
	pump(gateway);
}

static size_t running(const struct sink *sink)
{
	return from_sink(sink)->running;
}

static void stop(struct sink *sink)
{
	from_sink(sink)->is_stopping = true;
}

static bool is_ready(const struct sink *sink, struct buf *why)
{
	const struct push_gateway *gateway = from_sink(sink);

	if (!readiness_get(&gateway->health.readiness, why))
		return false;
	if (gateway->must_survey && why != NULL)
		buf_appendf(why, "%s: its /metrics is being read", gateway->shown_url);
	return !gateway->must_survey;
}

static void on_part_closed(struct push_gateway *gateway)
{
	if (--gateway->closing_parts > 0)
		return;
	while (!TAILQ_EMPTY(&gateway->targets))
		forget(&gateway->base, TAILQ_FIRST(&gateway->targets)->target);
	push_claims_free(gateway->claims);
	push_marks_free(gateway->marks);
	push_types_free(gateway->types);
	free(gateway->base_url);
	free(gateway->shown_url);
	gateway->on_closed(gateway->closed_arg);
	free(gateway);
}

static void on_fetch_closed(void *arg)
{
	on_part_closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_part_closed(handle->data);
}

static void close_sink(struct sink *sink, void (*on_closed)(void *arg), void *arg)
{
	struct push_gateway *gateway = from_sink(sink);
	struct push_state *state;

	gateway->is_stopping = gateway->is_closing = true;
	gateway->on_closed = on_closed;
	gateway->closed_arg = arg;
	gateway->closing_parts = 2;
	TAILQ_FOREACH (state, &gateway->targets, of_sink)
		end_job(state->job);
	if (gateway->survey != NULL) {
		fetch_cancel(gateway->survey);
		gateway->running--;
	}
	if (gateway->orphan_transfer != NULL) {
		fetch_cancel(gateway->orphan_transfer);
		gateway->running--;
	}
	fetch_close(gateway->fetch, on_fetch_closed, gateway);
	uv_close((uv_handle_t *)&gateway->timer, on_timer_closed);
}

static const struct sink_ops push_gateway_ops = {
	.wake = wake,
	.silent = silent,
	.forget = forget,
	.running = running,
	.stop = stop,
	.is_ready = is_ready,
	.sweep = sweep,
	.close = close_sink,
};

/* Paths are put behind it: neither a query nor a slash may be in between. */
static char *base_url(const char *url)
{
	size_t len = strcspn(url, "?#");

	while (len > 0 && url[len - 1] == '/')
		len--;
	return xstrndup(url, len);
}

static void resolve_series(struct push_gateway *gateway)
{
	struct metrics *metrics = gateway->context.metrics;
	const char *name = gateway->base.name;

	gateway->puts = metrics_series(metrics, RM_PUSHES, name, "PUT");
	gateway->deletes = metrics_series(metrics, RM_PUSHES, name, "DELETE");
	gateway->seconds = series_of(gateway, RM_PUBLISH_SECONDS);
	gateway->groups = series_of(gateway, RM_GROUPS);
	gateway->maker.parse_errors = series_of(gateway, RM_PARSE_ERRORS);
	gateway->maker.rewrite_seconds = metrics_plain(metrics, RM_DECOMPRESS_SECONDS);
}

struct sink *push_gateway_open(
	const struct sink_context *context, const struct push_gateway_settings *settings)
{
	static const struct fetch_options options = {.user_agent = "prometheus-streams/" VERSION};
	struct push_gateway *gateway = xcalloc(1, sizeof(*gateway));

	gateway->base = (struct sink){.ops = &push_gateway_ops, .name = settings->name};
	gateway->context = *context;
	gateway->settings = settings;
	gateway->base_url = base_url(settings->url);
	gateway->shown_url = url_redact(gateway->base_url);
	gateway->fetch = fetch_open(context->loop, &options);
	gateway->client = fetch_client_new(gateway->fetch, &settings->http);
	gateway->claims = push_claims_new();
	gateway->types = push_types_new();
	gateway->marks = push_marks_new();
	gateway->must_survey = true;
	gateway->maker = (struct push_maker){
		.sink = settings->name,
		.context = &gateway->context,
		.settings = settings,
		.claims = gateway->claims,
		.types = gateway->types,
		.marks = gateway->marks,
	};
	gateway->backoff = (struct backoff){.min_ms = BACKOFF_MIN_MS, .max_ms = BACKOFF_MAX_MS};
	gateway->health = (struct push_health){
		.sink = settings->name,
		.url = gateway->shown_url,
		.readiness = {.is_ready = true},
	};
	TAILQ_INIT(&gateway->pushes);
	TAILQ_INIT(&gateway->removals);
	TAILQ_INIT(&gateway->targets);
	uv_timer_init(context->loop, &gateway->timer);
	gateway->timer.data = gateway;
	resolve_series(gateway);
	take_survey(gateway, &(struct push_survey){.groups = NULL});
	pump(gateway);
	return &gateway->base;
}
