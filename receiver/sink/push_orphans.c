/* SPDX-License-Identifier: Apache-2.0 */
/* While one is going, its mark makes what is to be pushed there wait. */
#include "receiver/sink/push_orphans.h"

#include "common/core/clock.h"
#include "receiver/metrics.h"

#define ANSWER_LIMIT_BYTES ((size_t)64 << 10)
/* Where max_age is off, as newest.c's for silence. */
#define DEFAULT_AGE_MS (5 * 60 * 1000)
/* Anybody can say to be scraped once a year. */
#define MAX_INTERVAL_MS (60 * 60 * 1000)

/* A mark does not tell its target's interval: as if it were the longest of all. */
static int64_t bound_ms(const struct push_orphans *orphans)
{
	const struct sink_context *context = orphans->maker->context;
	int64_t max_age_ms = context->settings->max_age_ms;
	int64_t interval_ms = newest_longest_interval_ms(context->newest);

	if (max_age_ms <= 0)
		max_age_ms = DEFAULT_AGE_MS;
	if (interval_ms > MAX_INTERVAL_MS)
		interval_ms = MAX_INTERVAL_MS;
	return interval_ms * 21 / 10 > max_age_ms ? interval_ms * 21 / 10 : max_age_ms;
}

static struct push_mark *next_orphan(const struct push_orphans *orphans, int64_t older_than_ms)
{
	return push_marks_orphan(orphans->maker->marks, orphans->maker->claims, older_than_ms);
}

bool push_orphans_sweep(struct push_orphans *orphans, int64_t now_ms, int64_t trusted_since_ms)
{
	orphans->are_due = orphans->maker->settings->delete_stale && trusted_since_ms != 0 &&
			   now_ms - trusted_since_ms > bound_ms(orphans);
	if (!orphans->are_due || orphans->is_second_survey ||
		next_orphan(orphans, now_ms - bound_ms(orphans)) == NULL)
		return false;
	orphans->is_second_survey = true;
	return true;
}

void push_orphans_on_survey(struct push_orphans *orphans)
{
	orphans->are_none = false;
	if (orphans->is_second_survey && orphans->before_ms == 0)
		orphans->before_ms = clock_wall_ms() - bound_ms(orphans);
}

static void on_answer(void *arg, struct fetch_result *result)
{
	struct push_orphans *orphans = arg;
	const struct push_maker *maker = orphans->maker;
	struct push_mark *orphan = orphans->current;
	struct push_answer answer;

	orphans->current = NULL;
	orphans->transfer = NULL;
	orphan->is_going = false;
	push_answer_read(&answer, result);
	if (answer.meaning == PUSH_REFUSED) {
		orphan->is_refused = true;
	} else if (answer.meaning == PUSH_TAKEN) {
		push_marks_gone(maker->marks, orphan);
		series_inc(metrics_series(
			maker->context->metrics, RM_GROUPS_DELETED, maker->sink, "orphan"));
	}
	orphans->on_end(orphans->arg, answer.meaning == PUSH_RETRY ? &answer : NULL,
		result->retry_after_ms);
}

bool push_orphans_delete(struct push_orphans *orphans)
{
	struct fetch_request request = {
		.method = "DELETE",
		.timeout_ms = orphans->maker->settings->timeout_ms,
		.body_limit_bytes = ANSWER_LIMIT_BYTES,
		.cuts_body = true,
		.client = orphans->client,
	};
	char *url;

	if (orphans->current != NULL || !orphans->are_due || orphans->are_none)
		return false;
	orphans->current = next_orphan(orphans, orphans->before_ms);
	orphans->are_none = orphans->current == NULL;
	if (orphans->are_none)
		return false;
	orphans->current->is_going = true;
	request.url = url = xasprintf("%s%s", orphans->base_url, orphans->current->path);
	series_inc(orphans->deletes);
	orphans->transfer = fetch_start(orphans->fetch, &request, on_answer, orphans);
	free(url);
	return true;
}

bool push_orphans_cancel(struct push_orphans *orphans)
{
	if (orphans->transfer == NULL)
		return false;
	fetch_cancel(orphans->transfer);
	orphans->transfer = NULL;
	return true;
}
