/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job is what is to be done for one target: PUT its groups and DELETE those that vanished, or
 * DELETE all of them because it is silent. A target has at most one job, a path at most one holder,
 * so that no two requests for one path run at a time. Requests are dealt out in turn over the jobs,
 * deletions of the silent having every other turn. While the gateway is waited for, pushes not yet
 * begun go back to where newer scrapes may replace them.
 */
#include "receiver/sink/push_dealer.h"

#include "common/core/clock.h"
#include "receiver/metrics.h"

#define ANSWER_LIMIT_BYTES ((size_t)64 << 10)
/* Jobs that may push beside those with thousands of groups, beyond `concurrency`. */
#define MORE_JOBS 4

/* How many requests may run. */
static size_t allowed(const struct push_gateway *gateway)
{
	return gateway->is_closing ? 0 : push_health_allows(&gateway->health);
}

void push_dealer_count_groups(struct push_gateway *gateway)
{
	series_set(gateway->groups, (double)push_claims_count(gateway->claims));
}

/* Jobs and their order. */

static struct push_job_list *list_of(struct push_job *job)
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

void push_dealer_end(struct push_job *job)
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
	push_dealer_end(job);
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
	push_dealer_count_groups(gateway);
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

/*
 * Whether another job may begin to push. Bodies take memory, so that as many are made as can be
 * sent; but a few more rather than let all others wait for jobs that have groups without end.
 */
static bool may_begin(const struct push_gateway *gateway)
{
	size_t most = allowed(gateway);

	if (!TAILQ_EMPTY(&gateway->pushes) && gateway->health.state == PUSH_OPEN)
		most += MORE_JOBS;
	return !gateway->is_stopping && !gateway->is_closing && gateway->pushing < most;
}

/* Jobs that have begun and new ones take turns, too. */
static struct push_job *next_push(struct push_gateway *gateway)
{
	bool is_turn_of_begun = gateway->begun_have_turn;

	gateway->begun_have_turn = false;
	if (is_turn_of_begun && !TAILQ_EMPTY(&gateway->pushes))
		return TAILQ_FIRST(&gateway->pushes);
	while (may_begin(gateway)) {
		struct target *target = newest_begin(gateway->context.newest, clock_wall_ms());

		if (target == NULL)
			break;
		if (!begin_push(gateway, target))
			continue;
		gateway->begun_have_turn = true;
		return TAILQ_LAST(&gateway->pushes, push_job_list);
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
		.cuts_body = true,
		.follow_redirects = false,
		.client = gateway->client,
	};

	series_inc(step->is_delete ? gateway->deletes : gateway->puts);
	step->job->outstanding++;
	gateway->running++;
	step->transfer = fetch_start(gateway->fetch, &request, on_answer, step);
	free(url);
}

/* False if there is none to be deleted now. */
static bool delete_orphan(struct push_gateway *gateway)
{
	if (gateway->is_stopping || !push_orphans_delete(&gateway->orphans))
		return false;
	gateway->orphan_had_turn = true;
	gateway->running++;
	return true;
}

static void start_survey(struct push_gateway *gateway)
{
	push_surveyor_start(&gateway->surveyor, !gateway->must_survey);
	gateway->wants_survey = false;
	gateway->running++;
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

void push_dealer_pump(struct push_gateway *gateway)
{
	if ((gateway->must_survey || gateway->wants_survey) && gateway->running == 0 &&
		allowed(gateway) > 0 && !gateway->is_stopping)
		start_survey(gateway);
	if (gateway->must_survey || gateway->wants_survey || gateway->surveyor.transfer != NULL)
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
	push_dealer_end(job);
}

static void finish_removal(struct push_job *job)
{
	struct push_gateway *gateway = job->gateway;
	struct push_state *state = job->state;
	struct newest *newest = gateway->context.newest;

	push_dealer_end(job);
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

static void on_retry(void *arg)
{
	push_dealer_pump(arg);
}

static void lose_gateway(
	struct push_gateway *gateway, const struct push_answer *answer, int64_t retry_after_ms)
{
	struct push_job *job;

	if (!push_health_lose(&gateway->health, answer->words, retry_after_ms))
		return;
	gateway->must_survey = true;
	while ((job = TAILQ_FIRST(&gateway->pushes)) != NULL) {
		give_up(job);
		finish_if_done(job);
	}
}

/* `end`: push_claims_release or push_claims_abandon. */
static void end_claim(
	struct push_step *step, void (*end)(struct push_claims *claims, struct push_claim *claim))
{
	struct push_gateway *gateway = step->job->gateway;

	end(gateway->claims, step->claim);
	step->claim = NULL;
	(void)push_state_charge(&gateway->maker, step->job->state);
	push_dealer_count_groups(gateway);
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
		step->job->is_removal ? "silent"
		: step->job->is_last  ? "removed"
				      : "vanished"));
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

/*
 * Whatever we bring there, the gateway will not have it: the group must not stay as it was. What it
 * contradicts may be there since the gateway was read.
 */
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
	if (!gateway->is_stopping && push_surveyor_has_rested(&gateway->surveyor))
		gateway->wants_survey = true;
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
		push_health_gain(&gateway->health);
		on_taken(step, result);
		break;
	case PUSH_REFUSED:
		push_health_gain(&gateway->health);
		on_refused(step, &answer);
		break;
	case PUSH_RETRY:
		give_up(job);
		lose_gateway(gateway, &answer, result->retry_after_ms);
		break;
	}
	finish_if_done(job);
	push_dealer_pump(gateway);
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

static void on_orphan_end(void *arg, const struct push_answer *away, int64_t retry_after_ms)
{
	struct push_gateway *gateway = arg;

	gateway->running--;
	if (away != NULL)
		lose_gateway(gateway, away, retry_after_ms);
	let_go_held(gateway);
	push_dealer_pump(gateway);
}

/* Surveys. */

static void on_survey_end(
	void *arg, bool was_read, const struct push_answer *away, int64_t retry_after_ms)
{
	struct push_gateway *gateway = arg;

	gateway->running--;
	if (away != NULL) {
		gateway->is_lost_by_survey |= gateway->health.state == PUSH_OPEN;
		lose_gateway(gateway, away, retry_after_ms);
		return;
	}
	gateway->must_survey = false;
	if (gateway->is_lost_by_survey)
		push_health_gain(&gateway->health);
	gateway->is_lost_by_survey = false;
	if (was_read)
		push_orphans_on_survey(&gateway->orphans);
	push_dealer_pump(gateway);
}

void push_dealer_remove(struct push_gateway *gateway, struct push_state *state)
{
	begin_job(gateway, push_job_new_removal(state));
}

void push_dealer_doubt(struct push_gateway *gateway)
{
	struct push_state *state;

	TAILQ_FOREACH (state, &gateway->targets, of_sink) {
		if (state->job == NULL || !state->job->is_removal)
			continue;
		newest_doubt(gateway->context.newest, state->target);
		(void)drop_removal(state->job);
	}
}

void push_dealer_init(struct push_gateway *gateway)
{
	gateway->health = (struct push_health){
		.sink = gateway->base.name,
		.url = gateway->shown_url,
		.settings = gateway->settings,
		.on_retry = on_retry,
		.arg = gateway,
	};
	push_health_init(&gateway->health, gateway->context.loop);
	gateway->surveyor = (struct push_surveyor){
		.maker = &gateway->maker,
		.fetch = gateway->fetch,
		.client = gateway->client,
		.base_url = gateway->base_url,
		.shown_url = gateway->shown_url,
		.on_end = on_survey_end,
		.arg = gateway,
	};
	gateway->orphans = (struct push_orphans){
		.maker = &gateway->maker,
		.fetch = gateway->fetch,
		.client = gateway->client,
		.base_url = gateway->base_url,
		.deletes = gateway->deletes,
		.on_end = on_orphan_end,
		.arg = gateway,
	};
	gateway->must_survey = true;
	TAILQ_INIT(&gateway->pushes);
	TAILQ_INIT(&gateway->removals);
	TAILQ_INIT(&gateway->targets);
}
