/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs. A scrape that cannot be decoded or read becomes `up 0`, as a failed one. The paths of its
 * groups are claimed before anything is sent, so that a claim covers whatever may have reached the
 * gateway.
 */
#include "receiver/sink/push_job.h"

#include "common/core/clock.h"
#include "receiver/freshness.h"
#include "receiver/metrics.h"
#include "receiver/sink/decode.h"
#include "receiver/sink/push_body.h"
#include "receiver/sink/push_path.h"

/* Lines about single targets in LOG_REPEAT_INTERVAL_MS. */
#define MAX_TARGET_LINES 30

/* Whether a line was written so lately that none will be. */
static bool was_said(const struct log_limit *limit)
{
	return limit->last_ms != 0 && clock_mono_ms() - limit->last_ms < LOG_REPEAT_INTERVAL_MS;
}

bool push_may_log(struct push_maker *maker, const struct log_limit *limit)
{
	uint64_t now_ms = clock_mono_ms();

	if (was_said(limit))
		return true;
	if (maker->lines_since_ms == 0 ||
		now_ms - maker->lines_since_ms >= LOG_REPEAT_INTERVAL_MS) {
		maker->lines_since_ms = now_ms;
		maker->lines = 0;
	}
	return maker->lines++ < MAX_TARGET_LINES;
}

static struct push_step *add_step(struct push_job *job, struct push_claim *claim)
{
	struct push_step *step = &job->steps[job->count++];

	*step = (struct push_step){.job = job, .claim = claim};
	return step;
}

static struct push_target describe(const struct push_maker *maker, const struct target *target)
{
	const struct frame *frame = target->in_flight;

	return (struct push_target){
		.job = slice_from(target->job),
		.instance = slice_from(target->instance),
		.publisher = slice_from(maker->settings->publisher_label ? target->publisher : ""),
		.labels = &target->labels,
		.time_ms = frame->scrape.time_ms,
		.duration_s = frame->scrape.duration_s,
		.up = frame->scrape.up,
		.honor_labels = (frame->scrape.flags & WIRE_HONOR_LABELS) != 0,
		.allow_loop = (frame->scrape.flags & WIRE_ALLOW_LOOP) != 0,
		.utf8_names = maker->settings->utf8_names,
	};
}

static void discard(struct push_maker *maker, const struct target *target, const char *reason)
{
	if (target->in_flight->was_judged)
		return;
	tally_discard(maker->context->tally, slice_from(target->publisher), reason);
}

/* Claims. */

static enum push_mark_verdict judge_mark(
	const struct push_maker *maker, const struct target *target, const char *path)
{
	return push_marks_judge(maker->marks, path, target->in_flight->scrape.time_ms,
		freshness_reset_bound_ms(
			target->interval_ms, maker->context->settings->max_age_ms));
}

static void say_foreign(struct push_maker *maker, struct push_state *state, const char *path)
{
	discard(maker, state->target, "foreign_group");
	log_limited(&maker->foreign, LOG_WARN,
		"a group of the Push Gateway was pushed by somebody else, without our mark, and is "
		"left alone; delete it there if this target is to have the place",
		LOG_S("sink", maker->sink), LOG_S("path", path),
		LOG_S("publisher", state->target->publisher), LOG_S("job", state->target->job),
		LOG_S("instance", state->target->instance));
}

bool push_state_charge(const struct push_maker *maker, struct push_state *state)
{
	return newest_hold(maker->context->newest, state->target, state->holder.bytes);
}

static void refuse_claim(
	struct push_maker *maker, const struct push_state *state, struct push_claim *claim)
{
	discard(maker, state->target, "over_bytes");
	log_limited(&maker->over_bytes, LOG_WARN,
		"a publisher makes us hold as much as max_publisher_bytes; a group is left out",
		LOG_S("sink", maker->sink), LOG_S("path", claim->path),
		LOG_S("publisher", state->target->publisher), LOG_S("job", state->target->job),
		LOG_S("instance", state->target->instance));
	push_claims_release(maker->claims, claim);
}

/*
 * NULL where another target holds the group, where its publisher holds too much, or where the path
 * came twice in this round.
 */
static struct push_claim *take_path(
	struct push_maker *maker, struct push_state *state, const char *path)
{
	bool is_repeated = false;
	struct push_claim *claim =
		push_claims_take(maker->claims, &state->holder, path, &is_repeated);
	const struct target *holder;

	if (claim->holder == &state->holder && !push_state_charge(maker, state)) {
		refuse_claim(maker, state, claim);
		return NULL;
	}
	if (claim->holder == &state->holder) {
		push_marks_hand_over(maker->marks, claim);
		return is_repeated ? NULL : claim;
	}
	holder = container_of(claim->holder, struct push_state, holder)->target;
	discard(maker, state->target, "path_conflict");
	log_limited(&maker->conflict, LOG_WARN,
		"a group of the Push Gateway belongs to another target and stays with it; if they "
		"are targets of different publishers, set publisher_label: true",
		LOG_S("sink", maker->sink), LOG_S("path", path),
		LOG_S("publisher", state->target->publisher), LOG_S("job", state->target->job),
		LOG_S("instance", state->target->instance),
		LOG_S("holder_publisher", holder->publisher), LOG_S("holder_job", holder->job),
		LOG_S("holder_instance", holder->instance));
	return NULL;
}

/* As take_path, for a group other than the target's own: one that shows newer things waits. */
static struct push_claim *claim_path(
	struct push_maker *maker, struct push_state *state, const char *path)
{
	switch (judge_mark(maker, state->target, path)) {
	case PUSH_MARK_FOREIGN:
		say_foreign(maker, state, path);
		return NULL;
	case PUSH_MARK_LATER:
	case PUSH_MARK_GOING:
		return NULL;
	default:
		return take_path(maker, state, path);
	}
}

/* From a frame to the bodies of its groups. */

/* What the gate needs to know of the target whose body is made. */
struct gate_context {
	struct push_maker *maker;
	struct push_state *state;
	struct push_claim *own;
};

static struct push_type_holder *on_group(void *arg, const char *path, size_t group)
{
	struct gate_context *context = arg;
	struct push_claim *claim =
		group == 0 ? context->own : claim_path(context->maker, context->state, path);

	return claim == NULL ? NULL : &claim->types;
}

static void count(
	struct push_maker *maker, enum receiver_metric id, const char *reason, uint64_t by)
{
	if (by > 0)
		series_add(metrics_series(maker->context->metrics, id, maker->sink, reason),
			(double)by);
}

/* What does not arrive as it was exposed. */
static void count_repairs(struct push_maker *maker, const struct push_body *body)
{
	count(maker, RM_LEFT_OUT, "duplicate", body->samples_repeated);
	count(maker, RM_LEFT_OUT, "displaced", body->samples_displaced);
	count(maker, RM_LEFT_OUT, "of_gateway", body->samples_of_gateway);
	count(maker, RM_LEFT_OUT, "type_conflict", body->samples_conflicting);
	count(maker, RM_CHANGED, "reserved_label", body->labels_dropped);
	count(maker, RM_CHANGED, "exported_label", body->labels_renamed);
	count(maker, RM_CHANGED, "timestamp", body->timestamps_stripped);
	count(maker, RM_CHANGED, "untyped", body->families_untyped);
	count(maker, RM_CHANGED, "retyped", body->families_retyped);
}

/* The path of a group that shows what stands in the way of a family of this body. */
static const char *holder_of_rival(const struct push_maker *maker, const struct push_body *body)
{
	struct slice rival = buf_slice(&body->rival);
	const struct push_claim *claim =
		push_claims_find_holder(maker->claims, rival, body->refused);
	const struct push_mark *mark;

	if (claim != NULL)
		return claim->path;
	mark = push_marks_find_holder(maker->marks, rival, body->refused);
	return mark != NULL ? mark->path : "the gateway itself, or another pusher";
}

static void say_contradiction(
	struct push_maker *maker, struct push_state *state, struct push_body *body)
{
	const struct target *target = state->target;
	const char *holder;

	if (body->samples_conflicting == 0 || !push_may_log(maker, &state->contradiction))
		return;
	/* A look through all groups, for a line that is written. */
	holder = was_said(&state->contradiction) ? "" : holder_of_rival(maker, body);
	log_limited(&state->contradiction, LOG_WARN,
		"a scrape gives a family another type than what the Push Gateway already shows; "
		"the family is left out",
		LOG_S("sink", maker->sink), LOG_S("publisher", target->publisher),
		LOG_S("job", target->job), LOG_S("instance", target->instance),
		LOG_SL("family", buf_slice(&body->conflict)), LOG_S("held_by", holder),
		LOG_I("samples_left_out", body->samples_conflicting));
}

static bool rewrite(struct push_maker *maker, struct gate_context *context,
	const struct push_target *pushed, struct slice exposition, struct push_body *body)
{
	struct push_state *state = context->state;
	struct target *target = state->target;
	const struct push_gate gate = {.types = maker->types, .open = on_group, .arg = context};
	struct err err = {""};
	enum push_verdict verdict = push_body_build(body, exposition, pushed, &gate, &err);

	if (verdict == PUSH_OK) {
		if (!target->in_flight->was_judged)
			count_repairs(maker, body);
		say_contradiction(maker, state, body);
		return true;
	}
	push_body_fini(body);
	if (verdict == PUSH_MALFORMED) {
		if (!target->in_flight->was_judged)
			series_inc(maker->parse_errors);
		if (push_may_log(maker, &state->malformed))
			log_limited(&state->malformed, LOG_WARN,
				"a scrape is malformed; it is delivered as up 0",
				LOG_S("sink", maker->sink), LOG_S("publisher", target->publisher),
				LOG_S("job", target->job), LOG_S("instance", target->instance),
				LOG_S("error", err.text));
		return false;
	}
	discard(maker, target, "loop");
	log_limited(&maker->loop, LOG_WARN,
		"a target exposes what we push (a loop: is it our Push Gateway, or does it scrape "
		"one?); it is delivered as up 0 unless allow_loop is set",
		LOG_S("sink", maker->sink), LOG_S("publisher", target->publisher),
		LOG_S("job", target->job), LOG_S("instance", target->instance));
	return false;
}

static void make_minimal_body(struct push_maker *maker, const struct push_target *pushed,
	struct push_claim *own, struct push_body *body)
{
	push_body_minimal(body, pushed);
	body->groups[0].holder = &own->types;
	push_types_begin(maker->types, &own->types);
}

static void make_body(struct push_maker *maker, struct push_state *state,
	const struct push_target *pushed, struct push_claim *own, struct push_body *body)
{
	const struct frame *frame = state->target->in_flight;
	struct gate_context context = {.maker = maker, .state = state, .own = own};
	uint64_t begin_us = clock_mono_us();
	struct buf decoded = {0};

	if (!frame->scrape.up ||
		sink_decode(maker->context, maker->sink, frame, &maker->undecodable, &decoded) !=
			NULL ||
		!rewrite(maker, &context, pushed, buf_slice(&decoded), body))
		make_minimal_body(maker, pushed, own, body);
	buf_free(&decoded);
	series_observe(maker->rewrite_seconds, (double)(clock_mono_us() - begin_us) / 1e6);
}

/* Jobs. */

static void add_puts(struct push_maker *maker, struct push_job *job, struct push_body *body)
{
	for (size_t i = 0; i < body->count; i++) {
		struct push_group *group = &body->groups[i];
		struct push_step *step;

		if (group->holder == NULL)
			continue;
		step = add_step(job, container_of(group->holder, struct push_claim, types));
		step->claim->is_pushed = true;
		push_marks_forget(maker->marks, step->claim->path);
		step->body = buf_take(&group->body);
		step->is_own = i == 0;
	}
}

/* One DELETE for each group that the target held and has not asked for since `round` began. */
static void add_deletes(struct push_job *job, uint64_t round)
{
	struct push_claim *claim;

	TAILQ_FOREACH (claim, &job->state->holder.claims, of_holder) {
		if (claim->round < round)
			add_step(job, claim)->is_delete = true;
	}
}

static size_t count_claims(const struct push_state *state)
{
	const struct push_claim *claim;
	size_t count = 0;

	TAILQ_FOREACH (claim, &state->holder.claims, of_holder)
		count++;
	return count;
}

static void say_reset(struct push_maker *maker, const struct target *target, const char *path)
{
	tally_clock_reset(maker->context->tally, slice_from(target->publisher));
	log_limited(&maker->clock_reset, LOG_WARN,
		"a group of the Push Gateway shows a time far ahead of the scrape; taken as a "
		"reset "
		"of its poller's clock",
		LOG_S("sink", maker->sink), LOG_S("path", path));
}

/*
 * The claim on the target's own group, or NULL and what becomes of its frame. A group that
 * shows this very scrape or a newer one, of a receiver before us, is the target's all the same.
 */
static struct push_claim *claim_own_path(struct push_maker *maker, struct push_state *state,
	const char *path, enum newest_outcome *outcome)
{
	enum push_mark_verdict verdict = judge_mark(maker, state->target, path);

	*outcome = NEWEST_REFUSED;
	switch (verdict) {
	case PUSH_MARK_FOREIGN:
		say_foreign(maker, state, path);
		return NULL;
	case PUSH_MARK_GOING:
		*outcome = NEWEST_RETRY;
		return NULL;
	case PUSH_MARK_LATER:
		(void)take_path(maker, state, path);
		*outcome = NEWEST_BEHIND;
		return NULL;
	case PUSH_MARK_SAME:
		/* One that is not acked yet may have come in part only: it goes once more. */
		if (state->target->in_flight->reply.len > 0)
			break;
		(void)take_path(maker, state, path);
		*outcome = NEWEST_THERE;
		return NULL;
	case PUSH_MARK_RESET:
		say_reset(maker, state->target, path);
		break;
	default:
		break;
	}
	return take_path(maker, state, path);
}

static struct push_claim *claim_own(struct push_maker *maker, struct push_state *state,
	const struct push_target *pushed, enum newest_outcome *outcome)
{
	struct push_claim *claim;
	struct buf path = {0};

	*outcome = NEWEST_REFUSED;
	if (pushed->labels->count > PUSH_MAX_TARGET_LABELS) {
		discard(maker, state->target, "too_many_labels");
		return NULL;
	}
	push_path(&path, pushed->job, pushed->instance, pushed->publisher, pushed->labels);
	claim = claim_own_path(maker, state, buf_cstr(&path), outcome);
	buf_free(&path);
	return claim;
}

static struct push_job *allocate(struct push_state *state, size_t steps)
{
	struct push_job *job = xcalloc(1, sizeof(*job));

	job->state = state;
	job->steps = xcalloc(steps, sizeof(*job->steps));
	return job;
}

/* Groups that are to outlive their targets say up 0 instead. */
static bool is_last(const struct push_maker *maker, const struct frame *frame)
{
	return frame_is_last(frame) && maker->settings->delete_stale;
}

static struct push_job *new_last(struct push_state *state)
{
	struct push_job *job = allocate(state, count_claims(state));

	job->is_last = true;
	add_deletes(job, UINT64_MAX);
	return job;
}

struct push_job *push_job_new(
	struct push_maker *maker, struct push_state *state, enum newest_outcome *outcome)
{
	struct push_target pushed = describe(maker, state->target);
	struct push_claim *own;
	struct push_body body;
	struct push_job *job;

	state->holder.round++;
	own = claim_own(maker, state, &pushed, outcome);
	if (own == NULL)
		return NULL;
	if (is_last(maker, state->target->in_flight))
		return new_last(state);
	make_body(maker, state, &pushed, own, &body);
	job = allocate(state, body.count + count_claims(state));
	add_puts(maker, job, &body);
	add_deletes(job, state->holder.round);
	push_body_fini(&body);
	state->target->in_flight->was_judged = true;
	return job;
}

struct push_job *push_job_new_removal(struct push_state *state)
{
	struct push_job *job = allocate(state, count_claims(state));

	job->is_removal = true;
	add_deletes(job, UINT64_MAX);
	return job;
}

void push_step_set_remains(const struct push_maker *maker, struct push_step *step)
{
	struct push_target pushed = describe(maker, step->job->state->target);

	step->is_remains = true;
	push_body_remains(&step->body, &pushed, step->is_own);
	push_types_begin(maker->types, &step->claim->types);
}

void push_job_free(struct push_job *job)
{
	if (job == NULL)
		return;
	for (size_t i = 0; i < job->count; i++)
		buf_free(&job->steps[i].body);
	free(job->steps);
	free(job);
}
