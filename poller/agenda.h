/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_POLLER_AGENDA_H
#define PS_POLLER_AGENDA_H
/*
 * What is due next among many: a binary heap of (time, item) from which nothing is ever taken, as a
 * target that was served is due again later; only all at once. Pure; any thread.
 */
#include <stddef.h>
#include <stdint.h>

struct agenda_entry {
	uint64_t due;
	void *item;
};

/* Zero-initialise. */
struct agenda {
	struct agenda_entry *entries;
	size_t count, capacity;
};

void agenda_add(struct agenda *agenda, uint64_t due, void *item);

/* The entry that is due first, NULL if there is none; valid until the next change. */
const struct agenda_entry *agenda_first(const struct agenda *agenda);

/* Gives the first entry another time. */
void agenda_postpone_first(struct agenda *agenda, uint64_t due);

/* Takes all entries off. */
void agenda_clear(struct agenda *agenda);

void agenda_fini(struct agenda *agenda);

#endif
