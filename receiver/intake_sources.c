/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An intake's consumers: one durable for all publishers, or one for each that `filter` names, and
 * one more for envelopes. A consumer that is held off, or whose publisher makes us hold as much as
 * it may, is not pulled from.
 */
#include "receiver/intake_internal.h"

#include "common/core/clock.h"

static void on_bound(void *arg, bool is_made, int64_t unacked)
{
	struct source *source = arg;

	source->intake->kind->intake->on_bound(source, is_made, unacked);
}

uint64_t intake_source_generation(struct source *source, uint64_t generation)
{
	if (source->has_generation && generation != source->generation)
		source->intake->generation++;
	source->has_generation = true;
	source->generation = generation;
	return source->intake->generation;
}

void intake_source_resume(struct source *source)
{
	consumer_pause(source->consumer,
		source->intake->is_draining || source->is_full || source->held_off_until_ms != 0);
}

static void add_lookback(struct source *source, const char *filter_subject)
{
	const struct intake_options *options = &source->intake->options;
	const struct lookback_options lookback = {
		.link = options->link,
		.stream = options->settings->receiver_stream.stream,
		.filter_subject = filter_subject,
		.on_message = intake_on_message,
		.arg = source,
	};

	if (source->intake->kind->intake->looks_back)
		source->lookback = lookback_open(options->loop, &lookback);
}

static struct source *add_consumer(
	struct intake *intake, const char *filter_subject, const char *suffix)
{
	const struct stream_settings *stream = &intake->options.settings->receiver_stream;
	struct source *source = &intake->sources[intake->source_count++];
	char *durable = settings_durable_name(stream, intake->sink->name, suffix);
	struct consumer_options options = {
		.link = intake->options.link,
		.settings =
			{
				.stream = stream->stream,
				.durable = durable,
				.filter_subject = filter_subject,
			},
		.on_message = intake_on_message,
		.on_state = intake_on_source_state,
		.on_bound = on_bound,
		.arg = source,
	};

	source->intake = intake;
	intake->kind->intake->shape(intake, &options);
	source->consumer = consumer_open(intake->options.loop, &options);
	free(durable);
	return source;
}

static void add_publisher_consumer(struct intake *intake, const char *publisher)
{
	struct buf token = {0}, subject = {0};
	struct source *source;

	/* settings_load has made sure that the name can be escaped. */
	if (wire_escape(slice_from(publisher), &token) < 0)
		abort();
	buf_appendf(&subject, "%s.scrape.%s.>", intake->options.settings->receiver_stream.topic,
		buf_cstr(&token));
	source = add_consumer(intake, buf_cstr(&subject), buf_cstr(&token));
	source->publisher = xstrdup(publisher);
	add_lookback(source, buf_cstr(&subject));
	buf_free(&token);
	buf_free(&subject);
}

void intake_open_sources(struct intake *intake)
{
	const struct stream_settings *stream = &intake->options.settings->receiver_stream;
	struct buf subject = {0};

	intake->sources = xcalloc(stream->filter.count + 2, sizeof(struct source));
	for (size_t i = 0; i < stream->filter.count; i++)
		add_publisher_consumer(intake, stream->filter.items[i]);
	buf_appendf(&subject, "%s.scrape.>", stream->topic);
	if (stream->filter.count == 0)
		add_lookback(add_consumer(intake, buf_cstr(&subject), NULL), buf_cstr(&subject));
	/* Envelopes share one subject: the newest of it says nothing. */
	if (stream->legacy)
		(void)add_consumer(intake, stream->topic, "legacy");
	buf_free(&subject);
}

bool intake_sources_are_ready(const struct intake *intake, struct buf *why)
{
	for (size_t i = 0; i < intake->source_count; i++)
		if (!consumer_is_ready(intake->sources[i].consumer, why))
			return false;
	return true;
}

bool intake_sources_have_caught_up(const struct intake *intake)
{
	for (size_t i = 0; i < intake->source_count; i++)
		if (!consumer_is_caught_up(intake->sources[i].consumer))
			return false;
	return true;
}

void intake_pause_sources(struct intake *intake)
{
	intake->is_draining = true;
	for (size_t i = 0; i < intake->source_count; i++)
		intake_source_resume(&intake->sources[i]);
}

size_t intake_close_sources(struct intake *intake, void (*on_closed)(void *arg), void *arg)
{
	size_t parts = intake->source_count;

	for (size_t i = 0; i < intake->source_count; i++) {
		struct source *source = &intake->sources[i];

		consumer_close(source->consumer, on_closed, arg);
		if (source->lookback == NULL)
			continue;
		parts++;
		lookback_close(source->lookback, on_closed, arg);
	}
	return parts;
}

void intake_free_sources(struct intake *intake)
{
	for (size_t i = 0; i < intake->source_count; i++)
		free(intake->sources[i].publisher);
	free(intake->sources);
}
