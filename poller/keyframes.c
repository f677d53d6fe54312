/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyframe is held as it was published, compressed, so that it costs a sixth of its text; memory
 * that is left goes to texts, which saves decoding them for each delta. Texts give way to
 * keyframes, and targets that are gone to others, but never one that is scraped to another: all
 * take turns, so that each would be thrown out just before its next.
 *
 *	none -> pending -> acked, the previous one serving meanwhile
 *	           '-----> failed: not due again for long
 */
#include "poller/keyframes.h"

#include "common/core/clock.h"
#include "common/core/hash.h"
#include "common/core/log.h"
#include "common/core/table.h"
#include "poller/metrics.h"
#include "poller/target.h"

#define LEVEL               5   /* zstd's, of a keyframe that came as text: rare, and sent whole */
#define LEAST_BYTES         512 /* of a body: below, headers would eat what a delta saves */
#define INTERVAL_DEFAULT_MS (15 * 60 * 1000)
#define INTERVAL_SCRAPES    40
#define DENIED_RETRY_MS     (60 * 60 * 1000)
#define GONE_INTERVALS      3   /* a target not scraped for so many of its intervals is gone */
#define TARGET_BYTES        512 /* held for each beside keyframe and text */
#define POOR_MAX            6
#define SCRATCH_KEEP_BYTES  ((size_t)1 << 20)
#define TEXT_MAX_BYTES      ((size_t)256 << 20)

enum reason {
	REASON_NONE,
	REASON_FIRST,
	REASON_INTERVAL,
	REASON_OUTGROWN,
	REASON_STREAM,
	REASON_REMOVED,
	REASON_AGING,
	REASON_COUNT,
};

static const char *const reasons[REASON_COUNT] = {
	[REASON_FIRST] = "first",
	[REASON_INTERVAL] = "interval",
	[REASON_OUTGROWN] = "large_delta",
	[REASON_STREAM] = "stream_changed",
	[REASON_REMOVED] = "removed",
	[REASON_AGING] = "soon_removed",
};

enum failure {
	FAILURE_REFUSED,
	FAILURE_DENIED,
	FAILURE_DUPLICATE,
	FAILURE_TOO_LARGE,
	FAILURE_NO_MEMORY,
	FAILURE_COUNT,
};

static const char *const failures[FAILURE_COUNT] = {
	[FAILURE_REFUSED] = "refused",
	[FAILURE_DENIED] = "denied",
	[FAILURE_DUPLICATE] = "duplicate",
	[FAILURE_TOO_LARGE] = "too_large",
	[FAILURE_NO_MEMORY] = "no_memory",
};

struct keyframe {
	int64_t time_ms;
	enum encoding encoding;
	struct buf body; /* as published; empty: there is no keyframe */
	struct buf text; /* decoded, or empty */
	size_t text_bytes;
	uint64_t made_ms;
	uint64_t epoch, sequence, first_seq; /* of the stream, when it was acked */
};

struct entry {
	UT_hash_handle hh; /* by subject */
	char *subject;
	TAILQ_ENTRY(entry) by_use;
	TAILQ_ENTRY(entry) with_text;   /* only while acked.text is there */
	TAILQ_ENTRY(entry) by_deadline; /* only while something waits */
	uint64_t used_ms, retry_ms;
	int64_t scrape_interval_ms;
	struct keyframe acked, pending;
	struct scrape_queue waiting;
	uint64_t deadline_ms;
	unsigned renewals;
	unsigned deltas; /* since the keyframe */
	unsigned poor;   /* keyframes in a row that did not make deltas small */
	bool is_outgrown;
};
TAILQ_HEAD(entry_list, entry);

struct keyframes {
	const struct settings *settings;
	struct codec *codec;
	struct metrics *metrics;
	struct entry *entries;
	struct entry_list by_use, with_text, by_deadline;
	uint64_t memory_bytes;
	struct buf scratch; /* a text that found no room */
	bool has_ended;
	uint64_t denied_until_ms;

	/* Of the stream: as acks tell it, and as it tells itself (0: not known). */
	uint64_t epoch;
	char stream[256], domain[64];
	uint64_t last_ack_seq;
	char created[64];
	int64_t max_age_ms;
	uint64_t first_seq, last_seq;
	uint64_t epoch_first_seq; /* the first one told in this epoch */

	struct series *made[REASON_COUNT], *failed[FAILURE_COUNT];
	struct series *bytes;
	struct log_limit failed_limit, stream_limit;
};

/* -- memory ---------------------------------------------------------------------------------- */

static size_t held_bytes(const struct keyframe *keyframe)
{
	return keyframe->body.capacity + keyframe->text.capacity;
}

static void drop_text(struct keyframes *keys, struct entry *entry)
{
	keys->memory_bytes -= entry->acked.text.capacity;
	buf_free(&entry->acked.text);
	TAILQ_REMOVE(&keys->with_text, entry, with_text);
}

static void drop_keyframe(struct keyframes *keys, struct entry *entry, struct keyframe *keyframe)
{
	if (keyframe == &entry->acked && keyframe->text.capacity > 0)
		drop_text(keys, entry);
	keys->memory_bytes -= held_bytes(keyframe);
	buf_free(&keyframe->body);
	buf_free(&keyframe->text);
	*keyframe = (struct keyframe){0};
}

static void drop_entry(struct keyframes *keys, struct entry *entry)
{
	drop_keyframe(keys, entry, &entry->acked);
	drop_keyframe(keys, entry, &entry->pending);
	TAILQ_REMOVE(&keys->by_use, entry, by_use);
	HASH_DEL(keys->entries, entry);
	keys->memory_bytes -= TARGET_BYTES;
	free(entry->subject);
	free(entry);
}

static bool has_space(const struct keyframes *keys, size_t bytes)
{
	return keys->memory_bytes + bytes <= keys->settings->keyframe_memory_bytes;
}

static bool is_gone(const struct entry *entry)
{
	uint64_t patience_ms = GONE_INTERVALS * (uint64_t)entry->scrape_interval_ms;

	return clock_mono_ms() - entry->used_ms > patience_ms && STAILQ_EMPTY(&entry->waiting) &&
	       entry->pending.body.len == 0;
}

/* Makes space for a keyframe; false if that would be at the cost of another target. */
static bool make_space(struct keyframes *keys, size_t bytes)
{
	struct entry *oldest;

	while (!has_space(keys, bytes) && !TAILQ_EMPTY(&keys->with_text))
		drop_text(keys, TAILQ_FIRST(&keys->with_text));
	while (!has_space(keys, bytes)) {
		oldest = TAILQ_FIRST(&keys->by_use);
		if (oldest == NULL || !is_gone(oldest))
			return false;
		drop_entry(keys, oldest);
	}
	return true;
}

/* -- targets --------------------------------------------------------------------------------- */

static struct entry *find(const struct keyframes *keys, const struct scrape *scrape)
{
	struct slice subject = buf_slice(&scrape->target->subject);
	struct entry *entry;

	HASH_FIND(hh, keys->entries, subject.ptr, subject.len, entry);
	return entry;
}

static struct entry *add(struct keyframes *keys, const struct scrape *scrape)
{
	struct entry *entry;

	if (!make_space(keys, TARGET_BYTES))
		return NULL;
	entry = xcalloc(1, sizeof(*entry));
	entry->subject = slice_dup(buf_slice(&scrape->target->subject));
	STAILQ_INIT(&entry->waiting);
	HASH_ADD_KEYPTR(hh, keys->entries, entry->subject, strlen(entry->subject), entry);
	TAILQ_INSERT_TAIL(&keys->by_use, entry, by_use);
	keys->memory_bytes += TARGET_BYTES;
	return entry;
}

static void note_use(struct keyframes *keys, struct entry *entry, const struct scrape *scrape)
{
	entry->used_ms = clock_mono_ms();
	entry->scrape_interval_ms = scrape->wire.interval_ms;
	TAILQ_REMOVE(&keys->by_use, entry, by_use);
	TAILQ_INSERT_TAIL(&keys->by_use, entry, by_use);
}

/* -- when a keyframe is due ------------------------------------------------------------------ */

static int64_t interval_of(const struct keyframes *keys, const struct entry *entry)
{
	int64_t interval_ms = keys->settings->keyframe_interval_ms;

	if (interval_ms == 0) {
		interval_ms = entry->scrape_interval_ms * INTERVAL_SCRAPES;
		interval_ms = interval_ms < INTERVAL_DEFAULT_MS ? INTERVAL_DEFAULT_MS : interval_ms;
	}
	if (keys->max_age_ms > 0 && interval_ms > keys->max_age_ms / 2)
		interval_ms = keys->max_age_ms / 2;
	return interval_ms;
}

/* All targets get their first keyframe at the same time, and the second spread over the second half
 * of the interval; from then on they stay apart. */
static uint64_t lifetime_of(const struct keyframes *keys, const struct entry *entry)
{
	uint64_t interval_ms = (uint64_t)interval_of(keys, entry);
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

/* Whether the stream is removing messages and the keyframe is in its older half. */
static bool is_aging(const struct keyframes *keys, const struct keyframe *keyframe)
{
	uint64_t last_seq =
		keys->last_ack_seq > keys->last_seq ? keys->last_ack_seq : keys->last_seq;

	return is_watched(keys) && keys->first_seq > keyframe->first_seq &&
	       keys->first_seq > keys->epoch_first_seq && last_seq > keys->first_seq &&
	       keyframe->sequence < keys->first_seq + (last_seq - keys->first_seq) / 2;
}

static bool is_usable(const struct keyframes *keys, const struct entry *entry)
{
	const struct keyframe *acked = &entry->acked;

	return acked->body.len > 0 && acked->epoch == keys->epoch && !is_removed(keys, acked);
}

static enum reason why_due(const struct keyframes *keys, const struct entry *entry)
{
	const struct keyframe *acked = &entry->acked;

	if (acked->body.len == 0)
		return REASON_FIRST;
	if (acked->epoch != keys->epoch)
		return REASON_STREAM;
	if (is_removed(keys, acked))
		return REASON_REMOVED;
	if (is_aging(keys, acked))
		return REASON_AGING;
	if (entry->is_outgrown)
		return REASON_OUTGROWN;
	if (clock_mono_ms() - acked->made_ms >= lifetime_of(keys, entry))
		return REASON_INTERVAL;
	return REASON_NONE;
}

static bool may_make(const struct keyframes *keys, const struct entry *entry)
{
	uint64_t now_ms = clock_mono_ms();

	return !keys->has_ended && now_ms >= entry->retry_ms && now_ms >= keys->denied_until_ms;
}

static void count_failure(struct keyframes *keys, const struct scrape *scrape, enum failure failure)
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
	struct entry *entry = find(keys, scrape);
	bool may_wait = !keys->has_ended && !scrape->has_waited;

	bool is_worth_one = scrape->body.len >= LEAST_BYTES;

	if (scrape->body.len == 0)
		return entry != NULL && !STAILQ_EMPTY(&entry->waiting) ? KEYFRAMES_WAIT
								       : KEYFRAMES_WHOLE;
	if (entry == NULL && (!is_worth_one || keys->has_ended))
		return KEYFRAMES_WHOLE;
	if (entry == NULL && (entry = add(keys, scrape)) == NULL) {
		series_inc(keys->failed[FAILURE_NO_MEMORY]);
		return KEYFRAMES_WHOLE;
	}
	note_use(keys, entry, scrape);
	if (!STAILQ_EMPTY(&entry->waiting))
		return KEYFRAMES_WAIT;
	if (entry->pending.body.len > 0) {
		if (may_wait && clock_mono_ms() - entry->pending.made_ms < KEYFRAMES_PATIENCE_MS)
			return KEYFRAMES_WAIT;
	} else if (may_wait && is_worth_one && why_due(keys, entry) != REASON_NONE &&
		   may_make(keys, entry)) {
		return KEYFRAMES_MAKE;
	}
	return is_usable(keys, entry) ? KEYFRAMES_REFER : KEYFRAMES_WHOLE;
}

/* -- a keyframe's life ----------------------------------------------------------------------- */

static void fail(struct keyframes *keys, struct entry *entry, const struct scrape *scrape,
	enum failure failure)
{
	uint64_t now_ms = clock_mono_ms();

	count_failure(keys, scrape, failure);
	drop_keyframe(keys, entry, &entry->pending);
	entry->retry_ms = now_ms + (uint64_t)interval_of(keys, entry);
	entry->is_outgrown = false;
	/* Who may not publish one may publish none. */
	if (failure == FAILURE_DENIED)
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
	struct entry *entry = find(keys, scrape);
	enum reason reason = why_due(keys, entry);
	struct keyframe keyframe;
	enum failure failure = FAILURE_NO_MEMORY;

	*message = NULL;
	if (!pack(keys, scrape, text, &keyframe) || !make_space(keys, held_bytes(&keyframe)))
		goto fail;
	*message = build_message(keys, scrape, &keyframe);
	failure = FAILURE_TOO_LARGE;
	if (*message == NULL || (max_bytes > 0 && nats_outgoing_bytes(*message) > max_bytes))
		goto fail;
	keys->memory_bytes += held_bytes(&keyframe);
	entry->pending = keyframe;
	entry->poor = reason != REASON_OUTGROWN ? 0
		      : entry->poor < POOR_MAX  ? entry->poor + 1
						: POOR_MAX;
	/* All targets begin anew together after the stream did. */
	entry->renewals =
		reason == REASON_FIRST || reason == REASON_STREAM ? 0 : entry->renewals + 1;
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
	static const enum failure failures_of[] = {
		[PUBLISH_DUPLICATE] = FAILURE_DUPLICATE,
		[PUBLISH_REFUSED] = FAILURE_REFUSED,
		[PUBLISH_DENIED] = FAILURE_DENIED,
	};
	struct entry *entry = find(keys, keyframe);

	if (entry == NULL || entry->pending.body.len == 0 ||
		entry->pending.time_ms != keyframe->wire.time_ms)
		return;
	if (outcome != PUBLISH_ACKED) {
		fail(keys, entry, keyframe, failures_of[outcome]);
		return;
	}
	series_add(keys->bytes, (double)keyframe->frame_bytes);
	drop_keyframe(keys, entry, &entry->acked);
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
	struct entry *entry = find(keys, scrape);
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
	if (keys->scratch.len > 0 && has_space(keys, keys->scratch.len)) {
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
	struct entry *entry = find(keys, scrape);
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
	struct entry *entry = find(keys, scrape);

	if (STAILQ_EMPTY(&entry->waiting)) {
		entry->deadline_ms = clock_mono_ms() + KEYFRAMES_PATIENCE_MS;
		TAILQ_INSERT_TAIL(&keys->by_deadline, entry, by_deadline);
	}
	STAILQ_INSERT_TAIL(&entry->waiting, scrape, next);
}

static void release(struct keyframes *keys, struct entry *entry, struct scrape_queue *out)
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
	struct entry *entry = find(keys, scrape);

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
	const struct entry *first = TAILQ_FIRST(&keys->by_deadline);

	return first == NULL ? UINT64_MAX : first->deadline_ms;
}

void keyframes_end(struct keyframes *keys, struct scrape_queue *out)
{
	keys->has_ended = true;
	while (!TAILQ_EMPTY(&keys->by_deadline))
		release(keys, TAILQ_FIRST(&keys->by_deadline), out);
}

/* -- the stream ------------------------------------------------------------------------------ */

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

void keyframes_note_stream(struct keyframes *keys, const struct js_stream_info *info)
{
	if (keys->created[0] != '\0' && strcmp(keys->created, info->created) != 0)
		end_references(keys, "the stream was made anew");
	snprintf(keys->created, sizeof(keys->created), "%s", info->created);
	keys->max_age_ms = info->max_age_ms;
	keys->first_seq = info->first_seq;
	if (keys->epoch_first_seq == 0)
		keys->epoch_first_seq = info->first_seq;
	keys->last_seq = info->last_seq;
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
	for (size_t i = REASON_NONE + 1; i < REASON_COUNT; i++)
		keys->made[i] = metrics_series(metrics, PM_KEYFRAMES, reasons[i]);
	for (size_t i = 0; i < FAILURE_COUNT; i++)
		keys->failed[i] = metrics_series(metrics, PM_KEYFRAME_FAILURES, failures[i]);
	keys->bytes = metrics_plain(metrics, PM_KEYFRAME_BYTES);
	return keys;
}

void keyframes_free(struct keyframes *keys)
{
	if (keys == NULL)
		return;
	while (!TAILQ_EMPTY(&keys->by_use))
		drop_entry(keys, TAILQ_FIRST(&keys->by_use));
	buf_free(&keys->scratch);
	free(keys);
}

void keyframes_collect(struct keyframes *keys)
{
	struct entry *entry;
	size_t usable = 0;

	TAILQ_FOREACH (entry, &keys->by_use, by_use)
		usable += is_usable(keys, entry);
	series_set(metrics_plain(keys->metrics, PM_KEYFRAME_TARGETS), (double)usable);
	series_set(metrics_plain(keys->metrics, PM_KEYFRAME_MEMORY), (double)keys->memory_bytes);
}
