/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_KEYFRAME_SHELF_H
#define PS_RECEIVER_KEYFRAME_SHELF_H
/*
 * Where keyframe_store.c keeps what it knows, by subject and by publisher: what is to be looked up,
 * publishers in turn, and what is settled, within a budget. While there is room, keyframes are held
 * decoded too. Over the budget, the publisher that takes most gives up first what is decoded, then
 * what it used longest ago: one that invents keyframes loses its own. It looks nothing up and tells
 * nobody. Loop thread.
 */
#include "common/core/table.h"
#include "receiver/keyframe_store.h"

/*
 * QUEUED and SETTLED ones are in a list of their owner's. What is not settled is not in the budget:
 * the frames that wait for it are charged to their publisher.
 */
enum entry_state { QUEUED, ASKED, SETTLED };

TAILQ_HEAD(entry_list, keyframe_entry);

/* One publisher's; there while it has entries. */
struct keyframe_owner {
	size_t entries, bytes;
	struct entry_list queued, settled;
	TAILQ_HEAD(, keyframe_entry) expanded; /* of those settled */
	TAILQ_ENTRY(keyframe_owner) in_turn;   /* while something is queued */
	UT_hash_handle by_name;
	char name[];
};

struct keyframe_entry {
	struct keyframe_shelf *shelf;
	struct keyframe_owner *owner;
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

struct keyframe_shelf {
	struct codec *codec;
	size_t memory_bytes;
	struct keyframe_entry *entries;
	struct keyframe_owner *owners;
	TAILQ_HEAD(, keyframe_owner) turns;
	size_t bytes;         /* in the budget */
	size_t settled, here; /* entries; `here` are some of those settled */
	uint64_t evicted;     /* keyframes and what was remembered as lacking, so far */
};

void shelf_init(struct keyframe_shelf *shelf, struct codec *codec, uint64_t memory_bytes);

struct keyframe_entry *shelf_find(const struct keyframe_shelf *shelf, struct slice subject);

/* A new one, in no list. */
struct keyframe_entry *shelf_add(
	struct keyframe_shelf *shelf, struct slice subject, struct slice publisher);

void shelf_queue(struct keyframe_entry *entry);
void shelf_unqueue(struct keyframe_entry *entry);
/* What has its turn, NULL if nothing is queued; its publisher goes behind the others. */
struct keyframe_entry *shelf_next_queued(struct keyframe_shelf *shelf);

/* Among those settled, last to be given up, and in the budget; or out of it, without its keyframe.
 */
void shelf_put(struct keyframe_entry *entry);
void shelf_take(struct keyframe_entry *entry);
/* It is used: last to be given up, and decoded if there is room. */
void shelf_touch(struct keyframe_entry *entry);
/* Gives up what is over the budget. */
void shelf_evict(struct keyframe_shelf *shelf);

/* It is not found any more; then it may be freed, once it is in no list. */
void shelf_hide(struct keyframe_entry *entry);
void shelf_free(struct keyframe_entry *entry);

#endif
