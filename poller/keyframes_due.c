/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyframe is of use only while the stream holds it. Acknowledgements show at once when another
 * stream has taken the place of ours, and what the stream says of itself, which is older, what it
 * has removed: it may have been purged, or be limited to less than the interval.
 */
#include "poller/keyframes_internal.h"

#include "common/core/clock.h"
#include "common/core/hash.h"

#define INTERVAL_DEFAULT_MS (15 * 60 * 1000)
#define INTERVAL_SCRAPES    40

/* 0: it has no limit. One that does not tell is taken for such as we make. */
static int64_t max_age_of(const struct keyframes *keys)
{
	return keys->has_told ? keys->max_age_ms : keys->settings->poller_stream.stream_max_age_ms;
}

int64_t keyframes_interval(const struct keyframes *keys, const struct keyframe_target *entry)
{
	int64_t interval_ms = keys->settings->keyframe_interval_ms;
	int64_t max_age_ms = max_age_of(keys);

	if (interval_ms == 0) {
		interval_ms = entry->scrape_interval_ms * INTERVAL_SCRAPES;
		interval_ms = interval_ms < INTERVAL_DEFAULT_MS ? INTERVAL_DEFAULT_MS : interval_ms;
	}
	if (max_age_ms > 0 && interval_ms > max_age_ms / 2)
		interval_ms = max_age_ms / 2;
	return interval_ms;
}

/* All targets get their first keyframe at the same time, and the second spread over the second half
 * of the interval; from then on they stay apart. */
static uint64_t lifetime_of(const struct keyframes *keys, const struct keyframe_target *entry)
{
	uint64_t interval_ms = (uint64_t)keyframes_interval(keys, entry);
	uint64_t hash = hash64(entry->subject, strlen(entry->subject));

	return entry->renewals > 0 ? interval_ms
				   : interval_ms / 2 + interval_ms / 2 * (hash >> 48) / 0xffff;
}

/* Whether what the stream says of itself is about where the keyframe is. */
static bool is_watched(const struct keyframes *keys)
{
	return keys->first_seq > 0 &&
	       strcmp(keys->stream, keys->settings->poller_stream.stream) == 0;
}

static bool is_removed(const struct keyframes *keys, const struct keyframe *keyframe)
{
	return is_watched(keys) && keyframe->sequence < keys->first_seq;
}

/*
 * Whether the stream may remove it long before a delta that would refer to it now; it should have
 * been renewed in half of max_age.
 */
static bool is_expiring(const struct keyframes *keys, const struct keyframe *keyframe)
{
	uint64_t max_age_ms = (uint64_t)max_age_of(keys);

	return max_age_ms > 0 && clock_mono_ms() - keyframe->made_ms >= max_age_ms / 4 * 3;
}

/* Whether the stream is removing messages and the keyframe is in its older half. */
static bool is_aging(const struct keyframes *keys, const struct keyframe *keyframe)
{
	uint64_t last_seq =
		keys->last_ack_seq > keys->last_seq ? keys->last_ack_seq : keys->last_seq;

	return is_watched(keys) && keys->first_seq > keyframe->first_seq &&
	       keys->first_seq > keys->epoch_first_seq && last_seq > keys->first_seq &&
	       keyframe->sequence < keys->first_seq + (last_seq - keys->first_seq) / 2;
}

bool keyframes_is_usable(const struct keyframes *keys, const struct keyframe_target *entry)
{
	const struct keyframe *acked = &entry->acked;

	return acked->body.len > 0 && acked->epoch == keys->epoch && !keys->is_consumed &&
	       !is_removed(keys, acked) && !is_expiring(keys, acked);
}

enum keyframe_reason keyframes_why_due(
	const struct keyframes *keys, const struct keyframe_target *entry)
{
	const struct keyframe *acked = &entry->acked;

	if (acked->body.len == 0)
		return KEYFRAME_REASON_FIRST;
	if (acked->epoch != keys->epoch)
		return KEYFRAME_REASON_STREAM;
	if (is_removed(keys, acked))
		return KEYFRAME_REASON_REMOVED;
	if (is_aging(keys, acked))
		return KEYFRAME_REASON_AGING;
	if (entry->is_outgrown)
		return KEYFRAME_REASON_OUTGROWN;
	if (clock_mono_ms() - acked->made_ms >= lifetime_of(keys, entry))
		return KEYFRAME_REASON_INTERVAL;
	return KEYFRAME_REASON_NONE;
}

static void end_references(struct keyframes *keys, const char *why)
{
	keys->epoch++;
	keys->first_seq = 0;
	keys->last_seq = 0;
	keys->epoch_first_seq = 0;
	log_limited(&keys->stream_limit, LOG_INFO, "keyframes are published anew",
		LOG_S("reason", why), LOG_S("stream", keys->settings->poller_stream.stream));
}

void keyframes_note_ack(struct keyframes *keys, const struct js_pub_ack *ack)
{
	bool is_other =
		strcmp(ack->stream, keys->stream) != 0 || strcmp(ack->domain, keys->domain) != 0;

	/* What was stored before and sent again has the sequence of then. */
	if (!is_other && ack->duplicate)
		return;
	if (keys->last_ack_seq > 0 && is_other)
		end_references(keys, "another stream acknowledges");
	else if (ack->sequence <= keys->last_ack_seq)
		end_references(keys, "the stream counts from the beginning again");
	snprintf(keys->stream, sizeof(keys->stream), "%s", ack->stream);
	snprintf(keys->domain, sizeof(keys->domain), "%s", ack->domain);
	keys->last_ack_seq = ack->sequence;
}

static void note_consumed(struct keyframes *keys, bool is_consumed)
{
	if (is_consumed && !keys->is_consumed)
		log_warn("no keyframes: the stream keeps only what a consumer waits for, which "
			 "none does for keyframes; scrapes are published whole",
			LOG_S("stream", keys->settings->poller_stream.stream));
	keys->is_consumed = is_consumed;
}

void keyframes_note_stream(struct keyframes *keys, const struct js_stream_info *info)
{
	note_consumed(keys, info->is_consumed);
	if (keys->created[0] != '\0' && strcmp(keys->created, info->created) != 0)
		end_references(keys, "the stream was made anew");
	snprintf(keys->created, sizeof(keys->created), "%s", info->created);
	keys->has_told = true;
	keys->max_age_ms = info->max_age_ms;
	keys->first_seq = info->first_seq;
	if (keys->epoch_first_seq == 0)
		keys->epoch_first_seq = info->first_seq;
	keys->last_seq = info->last_seq;
}
