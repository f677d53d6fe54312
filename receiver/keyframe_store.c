/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	           await            pump              an answer
 *	(unknown) ───────> QUEUED ────────> ASKED ──────────────────> SETTLED: here, or lacking
 *	                     ^                │ no answer, or down       │ │
 *	                     ├────────────────┘                          │ └─evicted─> (unknown)
 *	                     └───────────────────────────────────────────┘
 *	                       await, once what is lacking may be asked for again
 *
 * Answers under way are bounded by their number and the server's max_payload; those who wait, by
 * what waiting.c charges for each.
 */
#include "receiver/keyframe_store.h"

#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/nats/lookup.h"
#include "receiver/keyframe_shelf.h"
#include "receiver/metrics.h"

#include <inttypes.h>
#include <stdio.h>

/* Look-ups under way, and what their answers may take in all. */
#define MAX_ASKED       256
#define MIN_ASKED       8
#define MAX_ASKED_BYTES ((size_t)128 << 20)
#define MAX_TRIES       3
/* A replica may lag behind a moment: what it lacks is asked for again soon, then ever more rarely.
 */
#define MISSING_MIN_MS 2000
#define MISSING_MAX_MS 60000
#define USELESS_MS     60000

struct keyframe_store {
	struct keyframe_store_options options;
	char *stream;
	struct lookup *lookup;
	struct keyframe_shelf shelf;
	size_t asked; /* look-ups under way */
	bool was_reachable;
	struct log_limit unreachable;
	struct series *hits, *outcomes[KEYFRAME_FAILED + 1];
};

static struct keyframe_store *store_of(const struct keyframe_entry *entry)
{
	return container_of(entry->shelf, struct keyframe_store, shelf);
}

/* Verdicts. */

static void tell(struct keyframe_entry *entry)
{
	struct keyframe_wait *wait;

	while ((wait = TAILQ_FIRST(&entry->waits)) != NULL) {
		TAILQ_REMOVE(&entry->waits, wait, next);
		wait->entry = NULL;
		wait->on_verdict(wait, entry->verdict, entry->keyframe);
	}
}

/* Takes the reference. Evicts only at the end: those who are told may look for others. */
static void settle(
	struct keyframe_entry *entry, enum keyframe_verdict verdict, struct keyframe *keyframe)
{
	entry->state = SETTLED;
	entry->verdict = verdict;
	entry->keyframe = keyframe;
	entry->tries = 0;
	shelf_put(entry);
	series_inc(store_of(entry)->outcomes[verdict]);
	tell(entry);
	shelf_evict(entry->shelf);
}

static void settle_lacking(
	struct keyframe_entry *entry, enum keyframe_verdict verdict, uint64_t for_ms)
{
	entry->asked_again_ms = clock_mono_ms() + for_ms;
	settle(entry, verdict, NULL);
}

static void settle_missing(struct keyframe_entry *entry, enum keyframe_verdict verdict)
{
	uint64_t for_ms = MISSING_MIN_MS;

	for (unsigned i = 0; i < entry->misses && for_ms < MISSING_MAX_MS; i++)
		for_ms *= 2;
	entry->misses++;
	settle_lacking(entry, verdict, for_ms < MISSING_MAX_MS ? for_ms : MISSING_MAX_MS);
}

/* Not remembered: the right may be granted any time. */
static void deny(struct keyframe_entry *entry)
{
	entry->state = SETTLED;
	entry->verdict = KEYFRAME_DENIED;
	series_inc(store_of(entry)->outcomes[KEYFRAME_DENIED]);
	shelf_hide(entry);
	tell(entry);
	shelf_free(entry);
}

static void deny_queued(struct keyframe_store *store)
{
	struct keyframe_entry *entry;

	while ((entry = shelf_next_queued(&store->shelf)) != NULL) {
		shelf_unqueue(entry);
		deny(entry);
	}
}

/* A keyframe says in its headers what its subject ends with. */
static bool is_of_time(const struct keyframe_entry *entry, int64_t time_ms)
{
	char suffix[32];
	size_t len = (size_t)snprintf(suffix, sizeof(suffix), ".%" PRId64, time_ms);

	return entry->subject_len > len &&
	       memcmp(entry->subject + entry->subject_len - len, suffix, len) == 0;
}

static bool read_encoding(const struct keyframe_entry *entry, const struct lookup_result *result,
	enum encoding *encoding)
{
	struct wire_scrape headers;
	struct err err;
	bool is_right;

	if (wire_headers_parse(&headers, result->header, result->header_arg, &err) < 0)
		return false;
	is_right = is_of_time(entry, headers.time_ms);
	*encoding = headers.encoding;
	wire_scrape_fini(&headers);
	return is_right;
}

static void take(struct keyframe_entry *entry, const struct lookup_result *result)
{
	const struct keyframe_store_options *options = &store_of(entry)->options;
	enum encoding encoding;
	enum codec_status status;
	struct keyframe *keyframe;

	entry->misses = 0;
	if (!read_encoding(entry, result, &encoding)) {
		settle_lacking(entry, KEYFRAME_CORRUPT, USELESS_MS);
		return;
	}
	keyframe = keyframe_new(
		options->codec, encoding, result->body, (size_t)options->max_scrape_bytes, &status);
	if (keyframe != NULL)
		settle(entry, KEYFRAME_HERE, keyframe);
	else
		settle_lacking(entry,
			status == CODEC_TOO_LARGE ? KEYFRAME_TOO_LARGE : KEYFRAME_CORRUPT,
			USELESS_MS);
}

/* Looking up. */

static size_t max_asked(const struct keyframe_store *store)
{
	size_t max_payload = nats_link_max_payload(store->options.link);
	size_t count = max_payload == 0 ? MIN_ASKED : MAX_ASKED_BYTES / max_payload;

	return count > MAX_ASKED ? MAX_ASKED : count < MIN_ASKED ? MIN_ASKED : count;
}

static void on_result(void *arg, const struct lookup_result *result);

static void pump(struct keyframe_store *store)
{
	struct keyframe_entry *entry;

	while (nats_link_is_up(store->options.link) && store->asked < max_asked(store) &&
		lookup_takes(store->lookup, store->asked) &&
		(entry = shelf_next_queued(&store->shelf)) != NULL) {
		shelf_unqueue(entry);
		entry->state = ASKED;
		store->asked++;
		entry->get = lookup_get(store->lookup,
			(struct slice){entry->subject, entry->subject_len}, on_result, entry);
	}
}

/* Whether nothing can be asked for now, nor will be soon. */
static bool is_barred(const struct keyframe_store *store)
{
	return nats_link_is_up(store->options.link) && !lookup_takes(store->lookup, 0);
}

static void on_result(void *arg, const struct lookup_result *result)
{
	struct keyframe_entry *entry = arg;
	struct keyframe_store *store = store_of(entry);

	entry->get = NULL;
	store->asked--;
	switch (result->outcome) {
	case LOOKUP_FOUND:
		take(entry, result);
		break;
	case LOOKUP_MISSING:
		settle_missing(entry, KEYFRAME_MISSING);
		break;
	case LOOKUP_BARRED:
		deny(entry);
		break;
	case LOOKUP_FAILED:
		if (++entry->tries < MAX_TRIES)
			shelf_queue(entry);
		else
			settle_missing(entry, KEYFRAME_FAILED);
		break;
	case LOOKUP_DOWN:
		shelf_queue(entry);
		break;
	}
	if (is_barred(store))
		deny_queued(store);
	pump(store);
}

/* What it means to us that messages cannot be looked up, which the lookup says. */
static void note_reachable(struct keyframe_store *store)
{
	bool is_reachable = lookup_is_possible(store->lookup, NULL);

	if (is_reachable == store->was_reachable)
		return;
	store->was_reachable = is_reachable;
	if (is_reachable)
		log_info("keyframes are looked up again", LOG_S("stream", store->stream));
	else
		log_limited(&store->unreachable, LOG_ERROR,
			"scrapes that refer to keyframes are dropped, as keyframes cannot be "
			"looked up",
			LOG_S("stream", store->stream));
}

/* Connected again, or barred, or not any more. */
static void on_change(void *arg)
{
	note_reachable(arg);
	pump(arg);
}

/* For everybody. */

enum keyframe_verdict keyframe_store_find(
	struct keyframe_store *store, struct slice subject, struct keyframe **keyframe)
{
	struct keyframe_entry *entry = shelf_find(&store->shelf, subject);

	if (entry != NULL && entry->state != SETTLED)
		return KEYFRAME_AWAITED;
	if (entry != NULL && entry->verdict == KEYFRAME_HERE) {
		shelf_touch(entry);
		series_inc(store->hits);
		*keyframe = keyframe_ref(entry->keyframe);
		return KEYFRAME_HERE;
	}
	if (entry != NULL && clock_mono_ms() < entry->asked_again_ms) {
		shelf_touch(entry);
		return entry->verdict;
	}
	return is_barred(store) ? KEYFRAME_DENIED : KEYFRAME_AWAITED;
}

void keyframe_store_await(struct keyframe_store *store, struct slice subject,
	struct slice publisher, struct keyframe_wait *wait)
{
	struct keyframe_entry *entry = shelf_find(&store->shelf, subject);

	if (entry == NULL) {
		entry = shelf_add(&store->shelf, subject, publisher);
		shelf_queue(entry);
	} else if (entry->state == SETTLED) {
		shelf_take(entry);
		shelf_queue(entry);
	}
	wait->entry = entry;
	TAILQ_INSERT_TAIL(&entry->waits, wait, next);
	pump(store);
}

/* One that nobody waits for any more is looked up all the same, unless it has not begun. */
void keyframe_store_cancel(struct keyframe_wait *wait)
{
	struct keyframe_entry *entry = wait->entry;

	if (entry == NULL)
		return;
	wait->entry = NULL;
	TAILQ_REMOVE(&entry->waits, wait, next);
	if (!TAILQ_EMPTY(&entry->waits) || entry->state != QUEUED)
		return;
	shelf_unqueue(entry);
	shelf_hide(entry);
	shelf_free(entry);
}

bool keyframe_store_is_reachable(const struct keyframe_store *store, struct buf *why)
{
	if (lookup_is_possible(store->lookup, NULL))
		return true;
	if (why != NULL)
		buf_append_str(why, "scrapes that refer to keyframes are dropped: ");
	return lookup_is_possible(store->lookup, why);
}

void keyframe_store_collect(struct keyframe_store *store)
{
	const struct {
		enum receiver_metric id;
		double value;
	} numbers[] = {
		{RM_KEYFRAMES, (double)store->shelf.here},
		{RM_KEYFRAME_MEMORY, (double)store->shelf.bytes},
		{RM_KEYFRAME_LOOKUPS_PENDING, (double)(HASH_CNT(by_subject, store->shelf.entries) -
						       store->shelf.settled)},
		{RM_KEYFRAMES_EVICTED, (double)store->shelf.evicted},
		{RM_KEYFRAMES_REACHABLE, lookup_is_possible(store->lookup, NULL)},
	};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		series_set(metrics_plain(store->options.metrics, numbers[i].id), numbers[i].value);
}

static void resolve_series(struct keyframe_store *store)
{
	static const char *const names[] = {
		[KEYFRAME_HERE] = "found",
		[KEYFRAME_MISSING] = "missing",
		[KEYFRAME_DENIED] = "denied",
		[KEYFRAME_CORRUPT] = "corrupt",
		[KEYFRAME_TOO_LARGE] = "too_large",
		[KEYFRAME_FAILED] = "failed",
	};
	struct metrics *metrics = store->options.metrics;

	store->hits = metrics_plain(metrics, RM_KEYFRAME_HITS);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i] != NULL)
			store->outcomes[i] = metrics_series(metrics, RM_KEYFRAME_LOOKUPS, names[i]);
}

struct keyframe_store *keyframe_store_open(const struct keyframe_store_options *options)
{
	struct keyframe_store *store = xcalloc(1, sizeof(*store));
	const struct lookup_options lookup = {
		.link = options->link,
		.stream = options->stream,
		.on_change = on_change,
		.arg = store,
	};

	store->options = *options;
	store->stream = xstrdup(options->stream);
	store->was_reachable = true;
	shelf_init(&store->shelf, options->codec, options->memory_bytes);
	store->lookup = lookup_open(&lookup);
	resolve_series(store);
	return store;
}

void keyframe_store_set_limits(
	struct keyframe_store *store, uint64_t max_scrape_bytes, uint64_t memory_bytes)
{
	store->options.max_scrape_bytes = max_scrape_bytes;
	store->shelf.memory_bytes = memory_bytes;
	shelf_evict(&store->shelf);
}

void keyframe_store_close(struct keyframe_store *store)
{
	struct keyframe_entry *entry, *next;

	HASH_ITER (by_subject, store->shelf.entries, entry, next) {
		if (entry->state == ASKED)
			lookup_cancel(entry->get);
		else if (entry->state == QUEUED)
			shelf_unqueue(entry);
		else
			shelf_take(entry);
		shelf_hide(entry);
		shelf_free(entry);
	}
	lookup_close(store->lookup);
	free(store->stream);
	free(store);
}
