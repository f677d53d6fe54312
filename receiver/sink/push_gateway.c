/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Push Gateway sink.
 *
 * Before the first push, before the first after each failure (a restart of the gateway looks like
 * one) and every few minutes the gateway's /metrics is read, for what is not ours; nothing else
 * runs meanwhile. A gateway that does not show it is pushed to nevertheless.
 */
#include "receiver/sink/push_gateway.h"

#include "common/core/url.h"
#include "common/loop/fetch_client.h"
#include "receiver/metrics.h"
#include "receiver/sink/push_dealer.h"

static struct push_gateway *from_sink(const struct sink *sink)
{
	return container_of(sink, struct push_gateway, base);
}

static struct series *series_of(struct push_gateway *gateway, enum receiver_metric id)
{
	return metrics_series(gateway->context.metrics, id, gateway->base.name);
}

/* The sink's functions. */

static void wake(struct sink *sink)
{
	push_dealer_pump(from_sink(sink));
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
		push_dealer_remove(gateway, state);
	push_dealer_pump(gateway);
}

static void forget(struct sink *sink, struct target *target)
{
	struct push_gateway *gateway = from_sink(sink);
	struct push_state *state = target->sink_state;

	if (state == NULL)
		return;
	push_dealer_end(state->job);
	push_claims_abandon_all(gateway->claims, &state->holder);
	push_dealer_count_groups(gateway);
	TAILQ_REMOVE(&gateway->targets, state, of_sink);
	free(state);
	target->sink_state = NULL;
}

static void sweep(struct sink *sink, int64_t now_ms, int64_t trusted_since_ms)
{
	struct push_gateway *gateway = from_sink(sink);

	if (gateway->trusted_since_ms != trusted_since_ms)
		push_dealer_doubt(gateway);
	gateway->trusted_since_ms = trusted_since_ms;
	if (push_orphans_sweep(&gateway->orphans, now_ms, trusted_since_ms) ||
		push_surveyor_is_due(&gateway->surveyor))
		gateway->wants_survey = !gateway->is_stopping;
	if (gateway->orphans.are_due || gateway->wants_survey)
		push_dealer_pump(gateway);
}

static void set_settings(struct sink *sink, const struct settings *settings, const void *own)
{
	struct push_gateway *gateway = from_sink(sink);

	gateway->context.settings = settings;
	gateway->settings = own;
	gateway->maker.settings = own;
	gateway->health.settings = own;
	push_dealer_pump(gateway);
}

static size_t running(const struct sink *sink)
{
	return from_sink(sink)->running;
}

static void stop(struct sink *sink)
{
	struct push_gateway *gateway = from_sink(sink);

	gateway->is_stopping = true;
	gateway->wants_survey = false; /* what has begun need not wait for it */
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

static void on_part_closed(void *arg)
{
	struct push_gateway *gateway = arg;

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

static void close_sink(struct sink *sink, void (*on_closed)(void *arg), void *arg)
{
	struct push_gateway *gateway = from_sink(sink);
	struct push_state *state;

	gateway->is_stopping = gateway->is_closing = true;
	gateway->on_closed = on_closed;
	gateway->closed_arg = arg;
	gateway->closing_parts = 2;
	TAILQ_FOREACH (state, &gateway->targets, of_sink)
		push_dealer_end(state->job);
	gateway->running -= push_surveyor_cancel(&gateway->surveyor);
	gateway->running -= push_orphans_cancel(&gateway->orphans);
	fetch_close(gateway->fetch, on_part_closed, gateway);
	push_health_close(&gateway->health, on_part_closed);
}

static const struct sink_ops push_gateway_ops = {
	.wake = wake,
	.silent = silent,
	.forget = forget,
	.set_settings = set_settings,
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
	gateway->marks = push_marks_new(gateway->types);
	gateway->maker = (struct push_maker){
		.sink = settings->name,
		.context = &gateway->context,
		.settings = settings,
		.claims = gateway->claims,
		.types = gateway->types,
		.marks = gateway->marks,
	};
	resolve_series(gateway);
	push_dealer_init(gateway);
	push_surveyor_take_nothing(&gateway->surveyor);
	push_dealer_pump(gateway);
	return &gateway->base;
}
