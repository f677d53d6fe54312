/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that keyframes do not need goes to texts, which give way first. Targets that are gone give
 * way to others, but never one that is scraped to another: all take turns, so that each would be
 * thrown out just before its next.
 */
#include "poller/keyframes_internal.h"

#include "common/core/clock.h"
#include "poller/target.h"

#define GONE_INTERVALS 3   /* a target not scraped for so many of its intervals is gone */
#define TARGET_BYTES   512 /* held for each beside keyframe and text */

size_t keyframe_bytes(const struct keyframe *keyframe)
{
	return keyframe->body.capacity + keyframe->text.capacity;
}

static void drop_text(struct keyframes *keys, struct keyframe_target *entry)
{
	keys->memory_bytes -= entry->acked.text.capacity;
	buf_free(&entry->acked.text);
	TAILQ_REMOVE(&keys->with_text, entry, with_text);
}

void keyframes_drop_one(
	struct keyframes *keys, struct keyframe_target *entry, struct keyframe *keyframe)
{
	if (keyframe == &entry->acked && keyframe->text.capacity > 0)
		drop_text(keys, entry);
	keys->memory_bytes -= keyframe_bytes(keyframe);
	buf_free(&keyframe->body);
	buf_free(&keyframe->text);
	*keyframe = (struct keyframe){0};
}

void keyframes_drop_target(struct keyframes *keys, struct keyframe_target *entry)
{
	keyframes_drop_one(keys, entry, &entry->acked);
	keyframes_drop_one(keys, entry, &entry->pending);
	TAILQ_REMOVE(&keys->by_use, entry, by_use);
	HASH_DEL(keys->entries, entry);
	keys->memory_bytes -= TARGET_BYTES;
	free(entry->subject);
	free(entry);
}

bool keyframes_has_space(const struct keyframes *keys, size_t bytes)
{
	return keys->memory_bytes + bytes <= keys->settings->keyframe_memory_bytes;
}

static bool is_gone(const struct keyframe_target *entry)
{
	uint64_t patience_ms = GONE_INTERVALS * (uint64_t)entry->scrape_interval_ms;

	return clock_mono_ms() - entry->used_ms > patience_ms && STAILQ_EMPTY(&entry->waiting) &&
	       entry->pending.body.len == 0;
}

bool keyframes_make_space(struct keyframes *keys, size_t bytes)
{
	struct keyframe_target *oldest;

	while (!keyframes_has_space(keys, bytes) && !TAILQ_EMPTY(&keys->with_text))
		drop_text(keys, TAILQ_FIRST(&keys->with_text));
	while (!keyframes_has_space(keys, bytes)) {
		oldest = TAILQ_FIRST(&keys->by_use);
		if (oldest == NULL || !is_gone(oldest))
			return false;
		keyframes_drop_target(keys, oldest);
	}
	return true;
}

struct keyframe_target *keyframes_find(const struct keyframes *keys, const struct scrape *scrape)
{
	struct slice subject = buf_slice(&scrape->target->subject);
	struct keyframe_target *entry;

	HASH_FIND(hh, keys->entries, subject.ptr, subject.len, entry);
	return entry;
}

struct keyframe_target *keyframes_add(struct keyframes *keys, const struct scrape *scrape)
{
	struct keyframe_target *entry;

	if (!keyframes_make_space(keys, TARGET_BYTES))
		return NULL;
	entry = xcalloc(1, sizeof(*entry));
	entry->subject = slice_dup(buf_slice(&scrape->target->subject));
	STAILQ_INIT(&entry->waiting);
	HASH_ADD_KEYPTR(hh, keys->entries, entry->subject, strlen(entry->subject), entry);
	TAILQ_INSERT_TAIL(&keys->by_use, entry, by_use);
	keys->memory_bytes += TARGET_BYTES;
	return entry;
}

void keyframes_note_use(
	struct keyframes *keys, struct keyframe_target *entry, const struct scrape *scrape)
{
	entry->used_ms = clock_mono_ms();
	entry->scrape_interval_ms = scrape->wire.interval_ms;
	TAILQ_REMOVE(&keys->by_use, entry, by_use);
	TAILQ_INSERT_TAIL(&keys->by_use, entry, by_use);
}
