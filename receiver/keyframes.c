/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	           await            pump              an answer
 *	(unknown) ───────> QUEUED ────────> ASKED ──────────────────> SETTLED: here, or lacking
 *	                     ^                │ no answer, or down       │ │
 *	                     ├────────────────┘                          │ └─evicted─> (unknown)
 *	                     └───────────────────────────────────────────┘
 *	                       await, once what is lacking may be asked for again
 *
 * What is settled is in its publisher's list, the one used last at the end. While there is room,
 * keyframes are held decoded too. Over the budget, the publisher that takes most gives up first
 *what is decoded, then what it used longest ago: one that invents keyframes loses its own. What is
 *queued or asked for is not in the budget: the frames that wait for it are charged to their
 *publisher. Answers under way are bounded by their number and the server's max_payload.
 */
#include "receiver/keyframes.h"

#include "common/core/clock.h"
#include "common/core/table.h"
#include "common/nats/lookup.h"
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
/* Publishers with lists of their own; those beyond have one in common. */
#define MAX_OWNERS 1000
/* Of malloc and the table, for each entry. */
#define ENTRY_OVERHEAD_BYTES 64

enum entry_state { QUEUED, ASKED, SETTLED };

TAILQ_HEAD(entry_list, keyframe_entry);

struct owner {
	size_t entries, bytes;
	struct entry_list queued, settled;
	TAILQ_HEAD(, keyframe_entry) expanded; /* of those settled */
	TAILQ_ENTRY(owner) in_turn;            /* while something is queued */
	UT_hash_handle by_name;
	char name[];
};

struct keyframe_entry {
	struct keyframes *keyframes;
	struct owner *owner;
	enum entry_state state;
	enum keyframe_verdict verdict; /* of what is settled */
	struct keyframe *keyframe;     /* of KEYFRAME_HERE */
	uint64_t asked_again_ms;       /* what is lacking may be asked for from then on */
	unsigned misses, tries;
	struct lookup_get *get;
	size_t bytes; /* charged to the owner */
	TAILQ_HEAD(, keyframe_wait) waits;
	TAILQ_ENTRY(keyframe_entry) in_list; /* the owner's; not while it is asked for */
	TAILQ_ENTRY(keyframe_entry) in_expanded;
	bool is_expanded;
	UT_hash_handle by_subject;
	size_t subject_len;
	char subject[];
};

struct keyframes {
	struct keyframes_options options;
	struct lookup *lookup;
	struct keyframe_entry *entries;
	struct owner *owners;
	TAILQ_HEAD(, owner) turns;
	size_t bytes;
	size_t asked, settled, here; /* entries; `here` are some of those settled */
	struct series *hits, *evicted, *outcomes[KEYFRAME_FAILED + 1];
};

/* Owners. */

static struct owner *get_owner(struct keyframes *keyframes, struct slice publisher)
{
	struct owner *owner;

	HASH_FIND(by_name, keyframes->owners, publisher.ptr, publisher.len, owner);
	if (owner == NULL && HASH_CNT(by_name, keyframes->owners) >= MAX_OWNERS) {
		publisher = (struct slice){"", 1}; /* nobody's name */
		HASH_FIND(by_name, keyframes->owners, publisher.ptr, publisher.len, owner);
	}
	if (owner != NULL)
		return owner;
	owner = xcalloc(1, sizeof(*owner) + publisher.len + 1);
	memcpy(owner->name, publisher.ptr, publisher.len);
	TAILQ_INIT(&owner->queued);
	TAILQ_INIT(&owner->settled);
	TAILQ_INIT(&owner->expanded);
	HASH_ADD(by_name, keyframes->owners, name, publisher.len, owner);
	return owner;
}

static void queue(struct keyframe_entry *entry)
{
	struct owner *owner = entry->owner;

	if (TAILQ_EMPTY(&owner->queued))
		TAILQ_INSERT_TAIL(&entry->keyframes->turns, owner, in_turn);
	TAILQ_INSERT_TAIL(&owner->queued, entry, in_list);
	entry->state = QUEUED;
}

static void unqueue(struct keyframe_entry *entry)
{
	struct owner *owner = entry->owner;

	TAILQ_REMOVE(&owner->queued, entry, in_list);
	if (TAILQ_EMPTY(&owner->queued))
		TAILQ_REMOVE(&entry->keyframes->turns, owner, in_turn);
}

/* What has its turn, NULL if nothing is queued; its publisher goes behind the others. */
static struct keyframe_entry *next_queued(struct keyframes *keyframes)
{
	struct owner *owner = TAILQ_FIRST(&keyframes->turns);

	if (owner == NULL)
		return NULL;
	TAILQ_REMOVE(&keyframes->turns, owner, in_turn);
	TAILQ_INSERT_TAIL(&keyframes->turns, owner, in_turn);
	return TAILQ_FIRST(&owner->queued);
}

/* Entries. */

static struct keyframe_entry *find(struct keyframes *keyframes, struct slice subject)
{
	struct keyframe_entry *entry;

	HASH_FIND(by_subject, keyframes->entries, subject.ptr, subject.len, entry);
	return entry;
}

static struct keyframe_entry *add(
	struct keyframes *keyframes, struct slice subject, struct slice publisher)
{
	struct keyframe_entry *entry = xcalloc(1, sizeof(*entry) + subject.len + 1);

	entry->keyframes = keyframes;
	entry->owner = get_owner(keyframes, publisher);
	entry->owner->entries++;
	TAILQ_INIT(&entry->waits);
	memcpy(entry->subject, subject.ptr, subject.len);
	entry->subject_len = subject.len;
	HASH_ADD(by_subject, keyframes->entries, subject, subject.len, entry);
	return entry;
}

static void charge(struct keyframe_entry *entry, size_t bytes)
{
	entry->bytes += bytes;
	entry->owner->bytes += bytes;
	entry->keyframes->bytes += bytes;
}

static void discharge(struct keyframe_entry *entry, size_t bytes)
{
	entry->bytes -= bytes;
	entry->owner->bytes -= bytes;
	entry->keyframes->bytes -= bytes;
}

/* Where there is room: nothing gives way for it. */
static void expand(struct keyframe_entry *entry)
{
	struct keyframes *keyframes = entry->keyframes;
	size_t bytes = keyframe_expanded_bytes(entry->keyframe);

	if (entry->is_expanded || bytes == 0)
		return;
	if (keyframes->bytes + bytes > keyframes->options.memory_bytes) {
		keyframe_shrink(entry->keyframe);
		return;
	}
	keyframe_expand(entry->keyframe, keyframes->options.codec);
	charge(entry, bytes);
	entry->is_expanded = true;
	TAILQ_INSERT_TAIL(&entry->owner->expanded, entry, in_expanded);
}

static void shrink(struct keyframe_entry *entry)
{
	if (!entry->is_expanded)
		return;
	entry->is_expanded = false;
	TAILQ_REMOVE(&entry->owner->expanded, entry, in_expanded);
	discharge(entry, keyframe_expanded_bytes(entry->keyframe));
	keyframe_shrink(entry->keyframe);
}

static void put_settled(struct keyframe_entry *entry)
{
	TAILQ_INSERT_TAIL(&entry->owner->settled, entry, in_list);
	entry->keyframes->settled++;
	entry->keyframes->here += entry->keyframe != NULL;
	charge(entry, sizeof(*entry) + entry->subject_len + ENTRY_OVERHEAD_BYTES +
			      (entry->keyframe == NULL ? 0 : keyframe_bytes(entry->keyframe)));
	if (entry->keyframe != NULL)
		expand(entry);
}

/* Takes what is settled out of its lists, and out of the budget. */
static void unsettle(struct keyframe_entry *entry)
{
	shrink(entry);
	TAILQ_REMOVE(&entry->owner->settled, entry, in_list);
	entry->keyframes->settled--;
	entry->keyframes->here -= entry->keyframe != NULL;
	discharge(entry, entry->bytes);
	keyframe_unref(entry->keyframe);
	entry->keyframe = NULL;
}

/* From here on it is not found. */
static void hide(struct keyframe_entry *entry)
{
	HASH_DELETE(by_subject, entry->keyframes->entries, entry);
}

/* Frees one that is hidden and in no list. */
static void free_hidden(struct keyframe_entry *entry)
{
	struct owner *owner = entry->owner;

	if (--owner->entries == 0) {
		HASH_DELETE(by_name, entry->keyframes->owners, owner);
		free(owner);
	}
	free(entry);
}

static void drop(struct keyframe_entry *entry)
{
	hide(entry);
	free_hidden(entry);
}

/* The one that takes most, of those that have something expanded if there is any. */
static struct owner *largest(const struct keyframes *keyframes)
{
	struct owner *most = keyframes->owners;

	for (struct owner *owner = most; owner != NULL; owner = owner->by_name.next) {
		bool has_expanded = !TAILQ_EMPTY(&owner->expanded);
		bool had_expanded = !TAILQ_EMPTY(&most->expanded);

		if (has_expanded != had_expanded ? has_expanded : owner->bytes > most->bytes)
			most = owner;
	}
	return most;
}

static void evict(struct keyframes *keyframes)
{
	while (keyframes->bytes > keyframes->options.memory_bytes) {
		struct owner *owner = largest(keyframes);
		struct keyframe_entry *entry = TAILQ_FIRST(&owner->expanded);

		if (entry != NULL) {
			shrink(entry);
			continue;
		}
		entry = TAILQ_FIRST(&owner->settled);
		series_inc(keyframes->evicted);
		unsettle(entry);
		drop(entry);
	}
}

static void touch(struct keyframe_entry *entry)
{
	TAILQ_REMOVE(&entry->owner->settled, entry, in_list);
	TAILQ_INSERT_TAIL(&entry->owner->settled, entry, in_list);
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
	put_settled(entry);
	series_inc(entry->keyframes->outcomes[verdict]);
	tell(entry);
	evict(entry->keyframes);
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
	series_inc(entry->keyframes->outcomes[KEYFRAME_DENIED]);
	hide(entry);
	tell(entry);
	free_hidden(entry);
}

static void deny_queued(struct keyframes *keyframes)
{
	struct keyframe_entry *entry;

	while ((entry = next_queued(keyframes)) != NULL) {
		unqueue(entry);
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
	const struct keyframes_options *options = &entry->keyframes->options;
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

static size_t max_asked(const struct keyframes *keyframes)
{
	size_t max_payload = nats_link_max_payload(keyframes->options.link);
	size_t count = max_payload == 0 ? MIN_ASKED : MAX_ASKED_BYTES / max_payload;

	return count > MAX_ASKED ? MAX_ASKED : count < MIN_ASKED ? MIN_ASKED : count;
}

static void on_result(void *arg, const struct lookup_result *result);

static void pump(struct keyframes *keyframes)
{
	struct keyframe_entry *entry;

	while (nats_link_is_up(keyframes->options.link) &&
		keyframes->asked < max_asked(keyframes) &&
		lookup_takes(keyframes->lookup, keyframes->asked) &&
		(entry = next_queued(keyframes)) != NULL) {
		unqueue(entry);
		entry->state = ASKED;
		keyframes->asked++;
		entry->get = lookup_get(keyframes->lookup,
			(struct slice){entry->subject, entry->subject_len}, on_result, entry);
	}
}

/* Whether nothing can be asked for now, nor will be soon. */
static bool is_barred(const struct keyframes *keyframes)
{
	return nats_link_is_up(keyframes->options.link) && !lookup_takes(keyframes->lookup, 0);
}

static void on_result(void *arg, const struct lookup_result *result)
{
	struct keyframe_entry *entry = arg;
	struct keyframes *keyframes = entry->keyframes;

	entry->get = NULL;
	keyframes->asked--;
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
			queue(entry);
		else
			settle_missing(entry, KEYFRAME_FAILED);
		break;
	case LOOKUP_DOWN:
		queue(entry);
		break;
	}
	if (is_barred(keyframes))
		deny_queued(keyframes);
	pump(keyframes);
}

/* Connected again, or barred, or not any more. */
static void on_change(void *arg)
{
	pump(arg);
}

/* For everybody. */

enum keyframe_verdict keyframes_find(
	struct keyframes *keyframes, struct slice subject, struct keyframe **keyframe)
{
	struct keyframe_entry *entry = find(keyframes, subject);

	if (entry != NULL && entry->state != SETTLED)
		return KEYFRAME_AWAITED;
	if (entry != NULL && entry->verdict == KEYFRAME_HERE) {
		touch(entry);
		expand(entry);
		series_inc(keyframes->hits);
		*keyframe = keyframe_ref(entry->keyframe);
		return KEYFRAME_HERE;
	}
	if (entry != NULL && clock_mono_ms() < entry->asked_again_ms) {
		touch(entry);
		return entry->verdict;
	}
	return is_barred(keyframes) ? KEYFRAME_DENIED : KEYFRAME_AWAITED;
}

void keyframes_await(struct keyframes *keyframes, struct slice subject, struct slice publisher,
	struct keyframe_wait *wait)
{
	struct keyframe_entry *entry = find(keyframes, subject);

	if (entry == NULL) {
		entry = add(keyframes, subject, publisher);
		queue(entry);
	} else if (entry->state == SETTLED) {
		unsettle(entry);
		queue(entry);
	}
	wait->entry = entry;
	TAILQ_INSERT_TAIL(&entry->waits, wait, next);
	pump(keyframes);
}

/* One that nobody waits for any more is looked up all the same, unless it has not begun. */
void keyframes_cancel(struct keyframe_wait *wait)
{
	struct keyframe_entry *entry = wait->entry;

	if (entry == NULL)
		return;
	wait->entry = NULL;
	TAILQ_REMOVE(&entry->waits, wait, next);
	if (!TAILQ_EMPTY(&entry->waits) || entry->state != QUEUED)
		return;
	unqueue(entry);
	drop(entry);
}

bool keyframes_are_reachable(const struct keyframes *keyframes, struct buf *why)
{
	return lookup_is_possible(keyframes->lookup, why);
}

void keyframes_collect(struct keyframes *keyframes)
{
	const struct {
		enum receiver_metric id;
		double value;
	} numbers[] = {
		{RM_KEYFRAMES, (double)keyframes->here},
		{RM_KEYFRAME_BYTES, (double)keyframes->bytes},
		{RM_KEYFRAME_LOOKUPS_PENDING,
			(double)(HASH_CNT(by_subject, keyframes->entries) - keyframes->settled)},
		{RM_KEYFRAMES_REACHABLE, lookup_is_possible(keyframes->lookup, NULL)},
	};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		series_set(
			metrics_plain(keyframes->options.metrics, numbers[i].id), numbers[i].value);
}

static void resolve_series(struct keyframes *keyframes)
{
	static const char *const names[] = {
		[KEYFRAME_HERE] = "found",
		[KEYFRAME_MISSING] = "missing",
		[KEYFRAME_DENIED] = "denied",
		[KEYFRAME_CORRUPT] = "corrupt",
		[KEYFRAME_TOO_LARGE] = "too_large",
		[KEYFRAME_FAILED] = "failed",
	};
	struct metrics *metrics = keyframes->options.metrics;

	keyframes->hits = metrics_plain(metrics, RM_KEYFRAME_HITS);
	keyframes->evicted = metrics_plain(metrics, RM_KEYFRAMES_EVICTED);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (names[i] != NULL)
			keyframes->outcomes[i] =
				metrics_series(metrics, RM_KEYFRAME_LOOKUPS, names[i]);
}

struct keyframes *keyframes_open(const struct keyframes_options *options)
{
	struct keyframes *keyframes = xcalloc(1, sizeof(*keyframes));
	const struct lookup_options lookup = {
		.link = options->link,
		.stream = options->stream,
		.on_change = on_change,
		.arg = keyframes,
	};

	keyframes->options = *options;
	TAILQ_INIT(&keyframes->turns);
	keyframes->lookup = lookup_open(&lookup);
	resolve_series(keyframes);
	return keyframes;
}

void keyframes_close(struct keyframes *keyframes)
{
	struct keyframe_entry *entry, *next;

	HASH_ITER (by_subject, keyframes->entries, entry, next) {
		if (entry->state == ASKED)
			lookup_cancel(entry->get);
		else if (entry->state == QUEUED)
			unqueue(entry);
		else
			unsettle(entry);
		drop(entry);
	}
	lookup_close(keyframes->lookup);
	free(keyframes);
}
