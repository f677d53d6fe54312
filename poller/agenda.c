/* SPDX-License-Identifier: Apache-2.0 */
/* entries[0] is the earliest; the children of entry i are 2i + 1 and 2i + 2, neither earlier. */
#include "poller/agenda.h"

#include "common/core/mem.h"

static void swap(struct agenda *agenda, size_t a, size_t b)
{
	struct agenda_entry held = agenda->entries[a];

	agenda->entries[a] = agenda->entries[b];
	agenda->entries[b] = held;
}

static void sift_up(struct agenda *agenda, size_t at)
{
	while (at > 0 && agenda->entries[at].due < agenda->entries[(at - 1) / 2].due) {
		swap(agenda, at, (at - 1) / 2);
		at = (at - 1) / 2;
	}
}

static size_t earlier_child(const struct agenda *agenda, size_t at)
{
	size_t child = 2 * at + 1;

	if (child + 1 < agenda->count &&
		agenda->entries[child + 1].due < agenda->entries[child].due)
		child++;
	return child;
}

static void sift_down(struct agenda *agenda, size_t at)
{
	size_t child = earlier_child(agenda, at);

	while (child < agenda->count && agenda->entries[child].due < agenda->entries[at].due) {
		swap(agenda, at, child);
		at = child;
		child = earlier_child(agenda, at);
	}
}

void agenda_add(struct agenda *agenda, uint64_t due, void *item)
{
	if (agenda->count == agenda->capacity) {
		agenda->capacity = agenda->capacity == 0 ? 16 : agenda->capacity * 2;
		agenda->entries =
			xreallocarray(agenda->entries, agenda->capacity, sizeof(*agenda->entries));
	}
	agenda->entries[agenda->count++] = (struct agenda_entry){due, item};
	sift_up(agenda, agenda->count - 1);
}

const struct agenda_entry *agenda_first(const struct agenda *agenda)
{
	return agenda->count == 0 ? NULL : &agenda->entries[0];
}

void agenda_postpone_first(struct agenda *agenda, uint64_t due)
{
	agenda->entries[0].due = due;
	sift_down(agenda, 0);
}

void agenda_clear(struct agenda *agenda)
{
	agenda->count = 0;
}

void agenda_fini(struct agenda *agenda)
{
	free(agenda->entries);
	*agenda = (struct agenda){0};
}
