/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the settings. What could make a message impossible later is tried here, with the
 * target's own subject and labels, so that it is an error at the start and not a gap in the data.
 */
#include "poller/target.h"

#include "common/core/table.h"
#include "poller/metrics.h"

#include <inttypes.h>

/* To find two targets of one identity. */
struct seen {
	UT_hash_handle hh;
	const struct target *target;
};

void target_format_seconds(int64_t ms, struct buf *out)
{
	int64_t rest_ms = ms % 1000;
	int digits = 3;

	buf_appendf(out, "%" PRId64, ms / 1000);
	if (rest_ms == 0)
		return;
	for (; rest_ms % 10 == 0; digits--)
		rest_ms /= 10;
	buf_appendf(out, ".%0*" PRId64, digits, rest_ms);
}

static char *timeout_header(int64_t timeout_ms)
{
	struct buf text = {0};

	buf_append_str(&text, "X-Prometheus-Scrape-Timeout-Seconds: ");
	target_format_seconds(timeout_ms, &text);
	buf_append_char(&text, '\0');
	return buf_take(&text).ptr;
}

/* What does not fit decoded cannot be needed on the wire. */
static size_t wire_limit(uint64_t decoded_limit_bytes)
{
	if (decoded_limit_bytes == 0)
		return FETCH_DEFAULT_LIMIT_BYTES;
	return decoded_limit_bytes > SIZE_MAX ? SIZE_MAX : (size_t)decoded_limit_bytes;
}

/* gzip only stands in the way of deltas, at the cost of both ends. */
static bool wants_gzip(const struct job_settings *job, const struct settings *settings)
{
	if (job->enable_compression == ASK_AS_COMPRESSION_NEEDS)
		return settings->compression != COMPRESSION_DELTA;
	return job->enable_compression == ASK_FOR_GZIP;
}

static void job_init(
	struct target_job *job, const struct job_settings *settings, const struct settings *all)
{
	job->settings = settings;
	job->timeout_header = timeout_header(settings->scrape_timeout_ms);
	job->headers[0] = "Accept: text/plain;version=0.0.4;q=1,*/*;q=0.1";
	job->headers[1] =
		wants_gzip(settings, all) ? "Accept-Encoding: gzip" : "Accept-Encoding: identity";
	job->headers[2] = job->timeout_header;
	job->headers[3] = NULL;
	job->body_limit_bytes = wire_limit(settings->body_size_limit_bytes);
}

/* Whether the headers that every scrape of the target carries can be built. */
static int try_headers(const struct target *target, struct err *err)
{
	const struct wire_scrape scrape = {
		.time_ms = 1,
		.up = true,
		.labels = target->settings->labels,
		.encoding = ENCODING_IDENTITY,
	};
	struct wire_headers headers;

	if (wire_headers_build(&headers, buf_slice(&target->subject), &scrape, err) < 0)
		return -1;
	wire_headers_fini(&headers);
	return 0;
}

static int target_init(struct target *target, const struct target_job *job,
	const struct target_settings *settings, const struct settings *all, struct err *err)
{
	target->job = job;
	target->settings = settings;
	if (wire_scrape_subject(&target->subject, slice_from(all->poller_stream.topic),
		    slice_from(all->identity), slice_from(job->settings->name),
		    slice_from(settings->instance), &settings->labels, err) < 0)
		return -1;
	schedule_init(&target->schedule, buf_slice(&target->subject), slice_from(settings->url),
		job->settings->scrape_interval_ms);
	return try_headers(target, err);
}

static int add_job(struct target_list *list, const struct job_settings *job_settings,
	const struct settings *settings, struct err *err)
{
	struct target_job *job = &list->jobs[list->job_count++];

	job_init(job, job_settings, settings);
	for (size_t i = 0; i < job_settings->target_count; i++) {
		const struct target_settings *target_settings = &job_settings->targets[i];
		struct target *target = &list->targets[list->target_count++];

		target->list = list;
		if (target_init(target, job, target_settings, settings, err) < 0)
			return err_wrapf(err, "job %s, instance %s", job_settings->name,
				target_settings->instance);
	}
	return 0;
}

static void free_seen(struct seen *table)
{
	struct seen *entry, *next;

	HASH_ITER (hh, table, entry, next) {
		HASH_DEL(table, entry);
		free(entry);
	}
}

/* Equal subjects would make of two targets one, whose scrapes replace each other. */
static int check_identities(const struct target_list *list, struct err *err)
{
	struct seen *table = NULL, *entry;
	int result = 0;

	for (size_t i = 0; i < list->target_count && result == 0; i++) {
		const struct target *target = &list->targets[i];

		HASH_FIND(hh, table, target->subject.ptr, target->subject.len, entry);
		if (entry != NULL) {
			result =
				err_setf(err, "job %s has instance %s twice (with the same labels)",
					target->job->settings->name, target->settings->instance);
			continue;
		}
		entry = xcalloc(1, sizeof(*entry));
		entry->target = target;
		HASH_ADD_KEYPTR(hh, table, target->subject.ptr, target->subject.len, entry);
	}
	free_seen(table);
	return result;
}

static void allocate(
	struct target_list *list, const struct settings *settings, const struct job_settings *own)
{
	size_t target_count = own == NULL ? 0 : own->target_count;

	for (size_t i = 0; i < settings->job_count; i++)
		target_count += settings->jobs[i].target_count;
	list->jobs = xcalloc(settings->job_count + 1, sizeof(*list->jobs));
	list->targets = xcalloc(target_count + 1, sizeof(*list->targets));
	list->job_count = 0;
	list->target_count = 0;
	list->refs = 0;
	list->release = NULL;
}

/* Series. */

static void resolve_series(struct target_job *job, struct metrics *metrics)
{
	const char *name = job->settings->name;

	for (size_t i = 0; i < SCRAPE_OUTCOME_COUNT; i++)
		job->outcomes[i] =
			metrics_series(metrics, PM_SCRAPES, name, scrape_outcome_name(i));
	job->poll_seconds = metrics_series(metrics, PM_POLL_SECONDS, name);
	job->polled_bytes = metrics_series(metrics, PM_POLLED_BYTES, name);
}

static void forget_series(const char *name, struct metrics *metrics)
{
	static const enum poller_metric of_jobs[] = {PM_POLL_SECONDS, PM_POLLED_BYTES, PM_TARGETS};

	for (size_t i = 0; i < SCRAPE_OUTCOME_COUNT; i++)
		metrics_forget(
			metrics, metrics_series(metrics, PM_SCRAPES, name, scrape_outcome_name(i)));
	for (size_t i = 0; i < ARRAY_LEN(of_jobs); i++)
		metrics_forget(metrics, metrics_series(metrics, of_jobs[i], name));
}

static bool has_job(const struct target_list *list, const char *name)
{
	for (size_t i = 0; i < list->job_count; i++)
		if (strcmp(list->jobs[i].settings->name, name) == 0)
			return true;
	return false;
}

void target_list_show(
	struct target_list *list, const struct target_list *previous, struct metrics *metrics)
{
	for (size_t i = 0; previous != NULL && i < previous->job_count; i++)
		if (!has_job(list, previous->jobs[i].settings->name))
			forget_series(previous->jobs[i].settings->name, metrics);
	for (size_t i = 0; i < list->job_count; i++) {
		resolve_series(&list->jobs[i], metrics);
		series_set(metrics_series(metrics, PM_TARGETS, list->jobs[i].settings->name), 0);
	}
	/* Added, as the poller's own job may have the name of another one. */
	for (size_t i = 0; i < list->job_count; i++)
		series_add(metrics_series(metrics, PM_TARGETS, list->jobs[i].settings->name),
			(double)list->jobs[i].settings->target_count);
	series_set(metrics_plain(metrics, PM_JOBS), (double)list->job_count);
}

int target_list_init(struct target_list *list, const struct settings *settings,
	const struct job_settings *own, struct metrics *metrics, struct err *err)
{
	allocate(list, settings, own);
	for (size_t i = 0; i < settings->job_count; i++)
		if (add_job(list, &settings->jobs[i], settings, err) < 0)
			goto fail;
	if (own != NULL && add_job(list, own, settings, err) < 0)
		goto fail;
	if (check_identities(list, err) < 0)
		goto fail;
	if (metrics != NULL)
		target_list_show(list, NULL, metrics);
	return 0;
fail:
	target_list_fini(list);
	return -1;
}

void target_list_fini(struct target_list *list)
{
	for (size_t i = 0; i < list->job_count; i++)
		free(list->jobs[i].timeout_header);
	for (size_t i = 0; i < list->target_count; i++)
		buf_free(&list->targets[i].subject);
	free(list->jobs);
	free(list->targets);
}

void target_list_ref(struct target_list *list)
{
	if (list != NULL)
		list->refs++;
}

void target_list_unref(struct target_list *list)
{
	if (list != NULL && list->refs-- == 0)
		list->release(list);
}

bool target_is_same(const struct target *a, const struct target *b)
{
	const struct job_settings *left = a->job->settings, *right = b->job->settings;

	return strcmp(a->settings->url, b->settings->url) == 0 &&
	       strcmp(a->job->headers[1], b->job->headers[1]) == 0 &&
	       left->scrape_interval_ms == right->scrape_interval_ms &&
	       left->scrape_timeout_ms == right->scrape_timeout_ms &&
	       left->body_size_limit_bytes == right->body_size_limit_bytes &&
	       left->honor_labels == right->honor_labels &&
	       settings_http_is_equal(&left->http, &right->http);
}
