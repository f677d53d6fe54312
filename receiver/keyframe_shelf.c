/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each owner's settled entries are in the order of their last use. Of those expanded the order is
 * that of becoming so: to give up any of them costs the same.
 */
#include "receiver/keyframe_shelf.h"

/* Publishers with lists of their own; those beyond have one in common. */
#define MAX_OWNERS 1000
/* Of malloc and the table, for each entry. */
#define ENTRY_OVERHEAD_BYTES 64

void shelf_init(struct keyframe_shelf *shelf, struct codec *codec, uint64_t memory_bytes)
{
	*shelf = (struct keyframe_shelf){.codec = codec, .memory_bytes = memory_bytes};
	TAILQ_INIT(&shelf->turns);
}

/* Owners. */

static struct keyframe_owner *get_owner(struct keyframe_shelf *shelf, struct slice publisher)
{
	struct keyframe_owner *owner;

	HASH_FIND(by_name, shelf->owners, publisher.ptr, publisher.len, owner);
	if (owner == NULL && HASH_CNT(by_name, shelf->owners) >= MAX_OWNERS) {
		publisher = (struct slice){"", 1}; /* nobody's name */
		HASH_FIND(by_name, shelf->owners, publisher.ptr, publisher.len, owner);
	}
	if (owner != NULL)
		return owner;
	owner = xcalloc(1, sizeof(*owner) + publisher.len + 1);
	memcpy(owner->name, publisher.ptr, publisher.len);
	TAILQ_INIT(&owner->queued);
	TAILQ_INIT(&owner->settled);
	TAILQ_INIT(&owner->expanded);
	HASH_ADD(by_name, shelf->owners, name, publisher.len, owner);
	return owner;
}

void shelf_queue(struct keyframe_entry *entry)
{
	struct keyframe_owner *owner = entry->owner;

	if (TAILQ_EMPTY(&owner->queued))
		TAILQ_INSERT_TAIL(&entry->shelf->turns, owner, in_turn);
	TAILQ_INSERT_TAIL(&owner->queued, entry, in_list);
	entry->state = QUEUED;
}

void shelf_unqueue(struct keyframe_entry *entry)
{
	struct keyframe_owner *owner = entry->owner;

	TAILQ_REMOVE(&owner->queued, entry, in_list);
	if (TAILQ_EMPTY(&owner->queued))
		TAILQ_REMOVE(&entry->shelf->turns, owner, in_turn);
}

struct keyframe_entry *shelf_next_queued(struct keyframe_shelf *shelf)
{
	struct keyframe_owner *owner = TAILQ_FIRST(&shelf->turns);

	if (owner == NULL)
		return NULL;
	TAILQ_REMOVE(&shelf->turns, owner, in_turn);
	TAILQ_INSERT_TAIL(&shelf->turns, owner, in_turn);
	return TAILQ_FIRST(&owner->queued);
}

/* Entries. */

struct keyframe_entry *shelf_find(const struct keyframe_shelf *shelf, struct slice subject)
{
	struct keyframe_entry *entry;

	HASH_FIND(by_subject, shelf->entries, subject.ptr, subject.len, entry);
	return entry;
}

struct keyframe_entry *shelf_add(
	struct keyframe_shelf *shelf, struct slice subject, struct slice publisher)
{
	struct keyframe_entry *entry = xcalloc(1, sizeof(*entry) + subject.len + 1);

	entry->shelf = shelf;
	entry->owner = get_owner(shelf, publisher);
	entry->owner->entries++;
	TAILQ_INIT(&entry->waits);
	memcpy(entry->subject, subject.ptr, subject.len);
	entry->subject_len = subject.len;
	HASH_ADD(by_subject, shelf->entries, subject, subject.len, entry);
	return entry;
}

static void charge(struct keyframe_entry *entry, size_t bytes)
{
	entry->bytes += bytes;
	entry->owner->bytes += bytes;
	entry->shelf->bytes += bytes;
}

static void discharge(struct keyframe_entry *entry, size_t bytes)
{
	entry->bytes -= bytes;
	entry->owner->bytes -= bytes;
	entry->shelf->bytes -= bytes;
}

/* Where there is room: nothing gives way for it. */
static void expand(struct keyframe_entry *entry)
{
	struct keyframe_shelf *shelf = entry->shelf;
	size_t bytes = keyframe_expanded_bytes(entry->keyframe);

	if (entry->is_expanded || bytes == 0)
		return;
	if (shelf->bytes + bytes > shelf->memory_bytes) {
		keyframe_shrink(entry->keyframe);
		return;
	}
	keyframe_expand(entry->keyframe, shelf->codec);
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

void shelf_put(struct keyframe_entry *entry)
{
	TAILQ_INSERT_TAIL(&entry->owner->settled, entry, in_list);
	entry->shelf->settled++;
	entry->shelf->here += entry->keyframe != NULL;
	charge(entry,
		sizeof(*entry) + entry->subject_len + ENTRY_OVERHEAD_BYTES +
			(entry->keyframe == NULL ? 0 : keyframe_encoded_bytes(entry->keyframe)));
	if (entry->keyframe != NULL)
		expand(entry);
}

void shelf_take(struct keyframe_entry *entry)
{
	shrink(entry);
	TAILQ_REMOVE(&entry->owner->settled, entry, in_list);
	entry->shelf->settled--;
	entry->shelf->here -= entry->keyframe != NULL;
	discharge(entry, entry->bytes);
	keyframe_unref(entry->keyframe);
	entry->keyframe = NULL;
}

void shelf_hide(struct keyframe_entry *entry)
{
	HASH_DELETE(by_subject, entry->shelf->entries, entry);
}

void shelf_free(struct keyframe_entry *entry)
{
	struct keyframe_owner *owner = entry->owner;

	if (--owner->entries == 0) {
		HASH_DELETE(by_name, entry->shelf->owners, owner);
		free(owner);
	}
	free(entry);
}

/* The one that takes most, of those that have something expanded if there is any. */
static struct keyframe_owner *largest(const struct keyframe_shelf *shelf)
{
	struct keyframe_owner *most = shelf->owners;

	for (struct keyframe_owner *owner = most; owner != NULL; owner = owner->by_name.next) {
		bool has_expanded = !TAILQ_EMPTY(&owner->expanded);
		bool had_expanded = !TAILQ_EMPTY(&most->expanded);

		if (has_expanded != had_expanded ? has_expanded : owner->bytes > most->bytes)
			most = owner;
	}
	return most;
}

void shelf_evict(struct keyframe_shelf *shelf)
{
	while (shelf->bytes > shelf->memory_bytes) {
		struct keyframe_owner *owner = largest(shelf);
		struct keyframe_entry *entry = TAILQ_FIRST(&owner->expanded);

		if (entry != NULL) {
			shrink(entry);
			continue;
		}
		entry = TAILQ_FIRST(&owner->settled);
		shelf->evicted++;
		shelf_take(entry);
		shelf_hide(entry);
		shelf_free(entry);
	}
}

void shelf_touch(struct keyframe_entry *entry)
{
	TAILQ_REMOVE(&entry->owner->settled, entry, in_list);
	TAILQ_INSERT_TAIL(&entry->owner->settled, entry, in_list);
	if (entry->keyframe != NULL)
		expand(entry);
}
