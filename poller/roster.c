/* SPDX-License-Identifier: Apache-2.0 */
/* The list of targets, which scrapes refer to, is the part that is counted. */
#include "poller/roster.h"

#include "common/core/log.h"

/* Of a reload's changes, so many are logged one by one; the others are counted. */
#define LINES_MAX 20

struct telling {
	size_t lines;
};

static void release(struct target_list *list)
{
	struct roster *roster = container_of(list, struct roster, targets);

	target_list_fini(&roster->targets);
	if (roster->has_self)
		self_fini(&roster->self);
	settings_free(roster->settings);
	free(roster);
}

struct roster *roster_new(const struct settings *settings, const struct self_access *access,
	struct metrics *metrics, struct err *err)
{
	struct roster *roster = xcalloc(1, sizeof(*roster));

	roster->has_self = access->port != 0;
	if (roster->has_self)
		self_init(&roster->self, settings, access);
	if (target_list_init(&roster->targets, settings,
		    roster->has_self ? &roster->self.job : NULL, metrics, err) < 0) {
		if (roster->has_self)
			self_fini(&roster->self);
		free(roster);
		return NULL;
	}
	/* Settings never change; only who holds them does. */
	roster->settings = settings_ref((struct settings *)settings);
	roster->targets.release = release;
	return roster;
}

void roster_unref(struct roster *roster)
{
	if (roster != NULL)
		target_list_unref(&roster->targets);
}

static const char *const changes_in_words[] = {
	[SCRAPER_ADDED] = "target added",
	[SCRAPER_REMOVED] = "target removed",
	[SCRAPER_CHANGED] = "target changed",
};

static void on_change(void *arg, enum scraper_change change, const struct target *target)
{
	struct telling *telling = arg;

	if (telling->lines++ < LINES_MAX)
		log_info(changes_in_words[change], LOG_S("job", target->job->settings->name),
			LOG_S("instance", target->settings->instance));
}

static bool has_job(const struct target_list *list, const char *name)
{
	for (size_t i = 0; i < list->job_count; i++)
		if (strcmp(list->jobs[i].settings->name, name) == 0)
			return true;
	return false;
}

/* Tells the jobs of `list` that `other` lacks. */
static size_t tell_jobs(const struct target_list *list, const struct target_list *other,
	const char *what, struct telling *telling)
{
	size_t count = 0;

	for (size_t i = 0; i < list->job_count; i++) {
		const char *name = list->jobs[i].settings->name;

		if (has_job(other, name))
			continue;
		count++;
		if (telling->lines++ < LINES_MAX)
			log_info(what, LOG_S("job", name));
	}
	return count;
}

void roster_put_in_place(struct roster *roster, const struct roster *former,
	struct scraper *scraper, struct metrics *metrics, struct buf *answer)
{
	struct telling telling = {0};
	struct scraper_changes changes = {.on_change = on_change, .arg = &telling};
	size_t jobs_added = tell_jobs(&roster->targets, &former->targets, "job added", &telling);
	size_t jobs_removed =
		tell_jobs(&former->targets, &roster->targets, "job removed", &telling);

	scraper_set_targets(scraper, &roster->targets, &changes);
	target_list_show(&roster->targets, &former->targets, metrics);
	log_info("jobs and targets are in place", LOG_I("jobs_added", jobs_added),
		LOG_I("jobs_removed", jobs_removed),
		LOG_I("targets_added", changes.count[SCRAPER_ADDED]),
		LOG_I("targets_removed", changes.count[SCRAPER_REMOVED]),
		LOG_I("targets_changed", changes.count[SCRAPER_CHANGED]),
		LOG_I("targets_unchanged", changes.unchanged));
	buf_appendf(answer,
		"jobs: %zu added, %zu removed\n"
		"targets: %zu added, %zu removed, %zu changed, %zu unchanged\n",
		jobs_added, jobs_removed, changes.count[SCRAPER_ADDED],
		changes.count[SCRAPER_REMOVED], changes.count[SCRAPER_CHANGED], changes.unchanged);
}
