/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyframe is held as it was published, compressed, so that it costs a sixth of its text.
 *
 *	none -> pending -> acked, the previous one serving meanwhile
 *	           '-----> failed: not due again for long
 */
#include "poller/keyframes_internal.h"

#include "common/core/clock.h"
#include "poller/metrics.h"
#include "poller/target.h"

#define LEVEL              5   /* zstd's, of a keyframe that came as text: rare, and sent whole */
#define LEAST_BYTES        512 /* of a body: below, headers would eat what a delta saves */
#define DENIED_RETRY_MS    (60 * 60 * 1000)
#define POOR_MAX           6
#define SCRATCH_KEEP_BYTES ((size_t)1 << 20)
#define TEXT_MAX_BYTES     ((size_t)256 << 20)

static const char *const reasons[KEYFRAME_REASON_COUNT] = {
	[KEYFRAME_REASON_FIRST] = "first",
	[KEYFRAME_REASON_INTERVAL] = "interval",
	[KEYFRAME_REASON_OUTGROWN] = "large_delta",
	[KEYFRAME_REASON_STREAM] = "stream_changed",
	[KEYFRAME_REASON_REMOVED] = "removed",
	[KEYFRAME_REASON_AGING] = "soon_removed",
};

static const char *const failures[KEYFRAME_FAILURE_COUNT] = {
	[KEYFRAME_FAILURE_REFUSED] = "refused",
	[KEYFRAME_FAILURE_DENIED] = "denied",
	[KEYFRAME_FAILURE_DUPLICATE] = "duplicate",
	[KEYFRAME_FAILURE_TOO_LARGE] = "too_large",
	[KEYFRAME_FAILURE_NO_MEMORY] = "no_memory",
};

static bool may_make(const struct keyframes *keys, const struct keyframe_target *entry)
{
	uint64_t now_ms = clock_mono_ms();

	return !keys->has_ended && !keys->is_consumed && now_ms >= entry->retry_ms &&
	       now_ms >= keys->denied_until_ms;
}

static void count_failure(
	struct keyframes *keys, const struct scrape *scrape, enum keyframe_failure failure)
{
	series_inc(keys->failed[failure]);
	log_limited(&keys->failed_limit, LOG_WARN,
		"no keyframe: the target's scrapes are published whole",
		LOG_S("job", scrape->target->job->settings->name),
		LOG_S("instance", scrape->target->settings->instance),
		LOG_S("reason", failures[failure]));
}

enum keyframes_advice keyframes_advise(struct keyframes *keys, const struct scrape *scrape)
{
	struct keyframe_target *entry = keyframes_find(keys, scrape);
	/* A substitute is older than those that wait. */
	bool may_wait = !keys->has_ended && !scrape->has_waited && !scrape->is_substitute;
	bool is_worth_one = scrape->body.len >= LEAST_BYTES;

	if (scrape->body.len == 0)
		return may_wait && entry != NULL && !STAILQ_EMPTY(&entry->waiting)
			       ? KEYFRAMES_WAIT
			       : KEYFRAMES_WHOLE;
	if (entry == NULL && (!is_worth_one || keys->has_ended))
		return KEYFRAMES_WHOLE;
	if (entry == NULL && (entry = keyframes_add(keys, scrape)) == NULL) {
		series_inc(keys->failed[KEYFRAME_FAILURE_NO_MEMORY]);
		return KEYFRAMES_WHOLE;
	}
	keyframes_note_use(keys, entry, scrape);
	if (!STAILQ_EMPTY(&entry->waiting))
		return KEYFRAMES_WAIT;
	if (entry->pending.body.len > 0) {
		if (may_wait && clock_mono_ms() - entry->pending.made_ms < KEYFRAMES_PATIENCE_MS)
			return KEYFRAMES_WAIT;
	} else if (may_wait && is_worth_one &&
		   keyframes_why_due(keys, entry) != KEYFRAME_REASON_NONE &&
		   may_make(keys, entry)) {
		return KEYFRAMES_MAKE;
	}
	return keyframes_is_usable(keys, entry) ? KEYFRAMES_REFER : KEYFRAMES_WHOLE;
}

/* -- a keyframe's life ----------------------------------------------------------------------- */

static void fail(struct keyframes *keys, struct keyframe_target *entry, const struct scrape *scrape,
	enum keyframe_failure failure)
{
	uint64_t now_ms = clock_mono_ms();

	count_failure(keys, scrape, failure);
	keyframes_drop_one(keys, entry, &entry->pending);
	entry->retry_ms = now_ms + (uint64_t)keyframes_interval(keys, entry);
	entry->is_outgrown = false;
	/* Who may not publish one may publish none. */
	if (failure == KEYFRAME_FAILURE_DENIED)
		keys->denied_until_ms = now_ms + DENIED_RETRY_MS;
}

/* As it came if that is compressed. */
static bool pack(struct keyframes *keys, const struct scrape *scrape, struct slice text,
	struct keyframe *keyframe)
{
	struct err err;

	*keyframe = (struct keyframe){
		.time_ms = scrape->wire.time_ms,
		.encoding = scrape->wire.encoding,
		.text_bytes = text.len,
		.made_ms = clock_mono_ms(),
	};
	if (keyframe->encoding != ENCODING_IDENTITY) {
		buf_append_slice(&keyframe->body, buf_slice(&scrape->body));
	} else {
		keyframe->encoding = ENCODING_ZSTD;
		if (codec_encode(keys->codec, ENCODING_ZSTD, LEVEL, text, &keyframe->body, &err) <
			0)
			return false;
	}
	buf_trim(&keyframe->body);
	return true;
}

static struct nats_outgoing *build_message(
	const struct keyframes *keys, const struct scrape *scrape, const struct keyframe *keyframe)
{
	const struct wire_scrape wire = {
		.time_ms = keyframe->time_ms,
		.up = true,
		.encoding = keyframe->encoding,
	};
	struct nats_outgoing *message = NULL;
	struct buf subject = {0}, body = {0};
	struct wire_headers headers;
	struct err err;

	wire_key_subject(&subject, slice_from(keys->settings->poller_stream.topic),
		buf_slice(&scrape->target->subject), keyframe->time_ms);
	if (wire_headers_build(&headers, buf_slice(&subject), &wire, &err) == 0) {
		buf_append_slice(&body, buf_slice(&keyframe->body));
		message = nats_outgoing_new(buf_slice(&subject), &headers, &body);
		wire_headers_fini(&headers);
	}
	buf_free(&subject);
	return message;
}

/* What stands for it among the messages sent. */
static struct scrape *stand_in(const struct scrape *scrape, const struct nats_outgoing *message)
{
	struct scrape *keyframe = scrape_new(scrape->target, scrape->wire.time_ms);

	keyframe->is_keyframe = true;
	keyframe->frame_bytes = nats_outgoing_bytes(message);
	return keyframe;
}

struct scrape *keyframes_make(struct keyframes *keys, const struct scrape *scrape,
	struct slice text, size_t max_bytes, struct nats_outgoing **message)
{
	struct keyframe_target *entry = keyframes_find(keys, scrape);
	enum keyframe_reason reason = keyframes_why_due(keys, entry);
	struct keyframe keyframe;
	enum keyframe_failure failure = KEYFRAME_FAILURE_NO_MEMORY;

	*message = NULL;
	if (!pack(keys, scrape, text, &keyframe) ||
		!keyframes_make_space(keys, keyframe_bytes(&keyframe)))
		goto fail;
	*message = build_message(keys, scrape, &keyframe);
	failure = KEYFRAME_FAILURE_TOO_LARGE;
	if (*message == NULL || (max_bytes > 0 && nats_outgoing_bytes(*message) > max_bytes))
		goto fail;
	keys->memory_bytes += keyframe_bytes(&keyframe);
	entry->pending = keyframe;
	entry->poor = reason != KEYFRAME_REASON_OUTGROWN ? 0
		      : entry->poor < POOR_MAX           ? entry->poor + 1
							 : POOR_MAX;
	/* All targets begin anew together after the stream did. */
	entry->renewals = reason == KEYFRAME_REASON_FIRST || reason == KEYFRAME_REASON_STREAM
				  ? 0
				  : entry->renewals + 1;
	series_inc(keys->made[reason]);
	return stand_in(scrape, *message);
fail:
	buf_free(&keyframe.body);
	nats_outgoing_unref(*message);
	*message = NULL;
	fail(keys, entry, scrape, failure);
	return NULL;
}

void keyframes_done(struct keyframes *keys, const struct scrape *keyframe,
	enum publish_outcome outcome, const struct js_pub_ack *ack)
{
	static const enum keyframe_failure failures_of[] = {
		[PUBLISH_DUPLICATE] = KEYFRAME_FAILURE_DUPLICATE,
		[PUBLISH_REFUSED] = KEYFRAME_FAILURE_REFUSED,
		[PUBLISH_DENIED] = KEYFRAME_FAILURE_DENIED,
	};
	struct keyframe_target *entry = keyframes_find(keys, keyframe);

	if (entry == NULL || entry->pending.body.len == 0 ||
		entry->pending.time_ms != keyframe->wire.time_ms)
		return;
	if (outcome != PUBLISH_ACKED) {
		fail(keys, entry, keyframe, failures_of[outcome]);
		return;
	}
	series_add(keys->bytes, (double)keyframe->frame_bytes);
	keyframes_drop_one(keys, entry, &entry->acked);
	entry->acked = entry->pending;
	entry->pending = (struct keyframe){0};
	entry->acked.epoch = keys->epoch;
	entry->acked.sequence = ack->sequence;
	entry->acked.first_seq = keys->first_seq;
	entry->deltas = 0;
	entry->is_outgrown = false;
}

static bool decode(struct keyframes *keys, const struct keyframe *acked, struct buf *out)
{
	return codec_decode(keys->codec, acked->encoding, buf_slice(&acked->body), TEXT_MAX_BYTES,
		       out) == CODEC_OK;
}

bool keyframes_text(
	struct keyframes *keys, const struct scrape *scrape, struct slice *text, int64_t *time_ms)
{
	struct keyframe_target *entry = keyframes_find(keys, scrape);
	struct keyframe *acked = &entry->acked;

	*time_ms = acked->time_ms;
	if (acked->text.len > 0) {
		*text = buf_slice(&acked->text);
		return true;
	}
	if (keys->scratch.capacity > SCRATCH_KEEP_BYTES)
		buf_free(&keys->scratch);
	buf_clear(&keys->scratch);
	if (!decode(keys, acked, &keys->scratch))
		return false;
	*text = buf_slice(&keys->scratch);
	if (keys->scratch.len > 0 && keyframes_has_space_for_text(keys, keys->scratch.len)) {
		buf_append_slice(&acked->text, *text);
		buf_trim(&acked->text);
		keys->memory_bytes += acked->text.capacity;
		TAILQ_INSERT_TAIL(&keys->with_text, entry, with_text);
	}
	return true;
}

/*
 * A keyframe after which deltas are large again at once did not help; after several of them in a
 * row the next comes after twice as many scrapes.
 */
void keyframes_note_delta(
	struct keyframes *keys, const struct scrape *scrape, size_t delta_bytes, size_t text_bytes)
{
	struct keyframe_target *entry = keyframes_find(keys, scrape);
	const struct keyframe *acked = &entry->acked;
	double whole_bytes;

	if (scrape->wire.time_ms == acked->time_ms)
		return;
	whole_bytes =
		(double)acked->body.len * (double)text_bytes / (double)(acked->text_bytes + 1);
	entry->deltas++;
	if ((double)delta_bytes <= whole_bytes / 2)
		entry->poor = 0;
	else if (entry->deltas >= 1U << entry->poor)
		entry->is_outgrown = true;
}

/* -- those that wait ------------------------------------------------------------------------- */

void keyframes_hold(struct keyframes *keys, struct scrape *scrape)
{
	struct keyframe_target *entry = keyframes_find(keys, scrape);

	if (STAILQ_EMPTY(&entry->waiting)) {
		entry->deadline_ms = clock_mono_ms() + KEYFRAMES_PATIENCE_MS;
		TAILQ_INSERT_TAIL(&keys->by_deadline, entry, by_deadline);
	}
	STAILQ_INSERT_TAIL(&entry->waiting, scrape, next);
}

static void release(struct keyframes *keys, struct keyframe_target *entry, struct scrape_queue *out)
{
	struct scrape *scrape;

	if (STAILQ_EMPTY(&entry->waiting))
		return;
	STAILQ_FOREACH (scrape, &entry->waiting, next)
		scrape->has_waited = true;
	STAILQ_CONCAT(out, &entry->waiting);
	TAILQ_REMOVE(&keys->by_deadline, entry, by_deadline);
}

void keyframes_release(
	struct keyframes *keys, const struct scrape *scrape, struct scrape_queue *out)
{
	struct keyframe_target *entry = keyframes_find(keys, scrape);

	if (entry != NULL)
		release(keys, entry, out);
}

void keyframes_release_late(struct keyframes *keys, struct scrape_queue *out)
{
	while (keyframes_next_ms(keys) <= clock_mono_ms())
		release(keys, TAILQ_FIRST(&keys->by_deadline), out);
}

/* The first to wait is the first whose time is up: all have the same patience. */
uint64_t keyframes_next_ms(const struct keyframes *keys)
{
	const struct keyframe_target *first = TAILQ_FIRST(&keys->by_deadline);

	return first == NULL ? UINT64_MAX : first->deadline_ms;
}

static void release_all(struct keyframes *keys, struct scrape_queue *out)
{
	while (!TAILQ_EMPTY(&keys->by_deadline))
		release(keys, TAILQ_FIRST(&keys->by_deadline), out);
}

void keyframes_end(struct keyframes *keys, struct scrape_queue *out)
{
	keys->has_ended = true;
	release_all(keys, out);
}

void keyframes_clear(struct keyframes *keys, struct scrape_queue *out)
{
	release_all(keys, out);
	while (!TAILQ_EMPTY(&keys->by_use))
		keyframes_drop_target(keys, TAILQ_FIRST(&keys->by_use));
}

void keyframes_forget(struct keyframes *keys, const struct scrape *scrape)
{
	struct keyframe_target *entry = keyframes_find(keys, scrape);

	if (entry != NULL && entry->pending.body.len == 0 && STAILQ_EMPTY(&entry->waiting))
		keyframes_drop_target(keys, entry);
}

/* -- the whole ------------------------------------------------------------------------------- */

struct keyframes *keyframes_new(
	const struct settings *settings, struct metrics *metrics, struct codec *codec)
{
	struct keyframes *keys = xcalloc(1, sizeof(*keys));

	keys->settings = settings;
	keys->metrics = metrics;
	keys->codec = codec;
	TAILQ_INIT(&keys->by_use);
	TAILQ_INIT(&keys->with_text);
	TAILQ_INIT(&keys->by_deadline);
	for (size_t i = KEYFRAME_REASON_NONE + 1; i < KEYFRAME_REASON_COUNT; i++)
		keys->made[i] = metrics_series(metrics, PM_KEYFRAMES, reasons[i]);
	for (size_t i = 0; i < KEYFRAME_FAILURE_COUNT; i++)
		keys->failed[i] = metrics_series(metrics, PM_KEYFRAME_FAILURES, failures[i]);
	keys->bytes = metrics_plain(metrics, PM_KEYFRAME_BYTES);
	return keys;
}

void keyframes_set_settings(struct keyframes *keys, const struct settings *settings)
{
	keys->settings = settings;
}

void keyframes_free(struct keyframes *keys)
{
	if (keys == NULL)
		return;
	while (!TAILQ_EMPTY(&keys->by_use))
		keyframes_drop_target(keys, TAILQ_FIRST(&keys->by_use));
	buf_free(&keys->scratch);
	free(keys);
}

void keyframes_collect(struct keyframes *keys)
{
	struct keyframe_target *entry;
	size_t usable = 0;

	TAILQ_FOREACH (entry, &keys->by_use, by_use)
		usable += keyframes_is_usable(keys, entry);
	series_set(metrics_plain(keys->metrics, PM_KEYFRAME_TARGETS), (double)usable);
	series_set(metrics_plain(keys->metrics, PM_KEYFRAME_MEMORY), (double)keys->memory_bytes);
}
