/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be said of one target depends on when it was last said; whether it still gets a line of
 * its own, on how many had one in this window. What gets none is counted as said all the same, so
 * that it is counted once.
 */
#include "poller/outages.h"

#include "common/core/url.h"

void outages_tell(struct outages *outages, uint64_t now_ms)
{
	uint64_t count = outages->went_down + outages->still_down + outages->came_up;

	if (now_ms - outages->window_ms < OUTAGE_WINDOW_MS)
		return;
	if (count > 0)
		log_write(outages->came_up == count ? LOG_INFO : LOG_WARN,
			"too many targets to name each",
			LOG_FIELDS(LOG_I("went_down", outages->went_down),
				LOG_I("still_down", outages->still_down),
				LOG_I("came_up", outages->came_up),
				LOG_I("down_now", outages->down)));
	*outages = (struct outages){.window_ms = now_ms, .down = outages->down};
}

/* Whether a line of its own is due and free. */
static bool may_say(struct outages *outages, uint64_t *said_ms, uint64_t gap_ms, uint64_t *unsaid,
	uint64_t now_ms)
{
	if (*said_ms != 0 && now_ms - *said_ms < gap_ms)
		return false;
	*said_ms = now_ms;
	outages_tell(outages, now_ms);
	if (outages->lines < OUTAGE_LINES) {
		outages->lines++;
		return true;
	}
	++*unsaid;
	return false;
}

static void note_up(struct outages *outages, struct outage *outage, const struct target *target,
	uint64_t now_ms)
{
	if (!outage->is_down)
		return;
	outages->down--;
	if (may_say(outages, &outage->up_said_ms, LOG_REPEAT_INTERVAL_MS, &outages->came_up,
		    now_ms))
		log_info("target is up again", LOG_S("job", target->job->settings->name),
			LOG_S("instance", target->settings->instance),
			LOG_I("failures", outage->failures));
	outage->is_down = false;
	outage->failures = 0;
}

static void note_down(struct outages *outages, struct outage *outage, const struct target *target,
	const char *error, uint64_t now_ms)
{
	bool is_news = !outage->is_down;
	char *url;

	outages->down += is_news;
	outage->is_down = true;
	outage->failures++;
	if (!may_say(outages, &outage->down_said_ms,
		    is_news ? LOG_REPEAT_INTERVAL_MS : OUTAGE_REPEAT_MS,
		    is_news ? &outages->went_down : &outages->still_down, now_ms))
		return;
	url = url_redact(target->settings->url);
	log_warn(is_news ? "scrape failed" : "scrapes still fail",
		LOG_S("job", target->job->settings->name),
		LOG_S("instance", target->settings->instance), LOG_S("url", url),
		LOG_S("error", error), LOG_I("failures", outage->failures));
	free(url);
}

void outages_note(struct outages *outages, struct outage *outage, const struct target *target,
	const char *error, uint64_t now_ms)
{
	if (error == NULL)
		note_up(outages, outage, target, now_ms);
	else
		note_down(outages, outage, target, error, now_ms);
}
