/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FEDERATE_FAMILIES_H
#define PS_RECEIVER_SINK_FEDERATE_FAMILIES_H
/*
 * The families of all targets together. Each has a slot, a small number by which the targets'
 * blocks name it, and in whose order answers are written. While targets say different types of a
 * family it is untyped; who says none contradicts nobody. HELP is that of the first target that has
 * one, as long as it has. Pure; loop thread.
 */
#include "common/core/table.h"
#include "common/exposition/exposition.h"

struct family {
	uint32_t slot;
	size_t refs;                    /* blocks, also those that only an answer still holds */
	size_t typed[EXPO_SUMMARY + 1]; /* targets that say so now; never of EXPO_UNTYPED */
	struct buf help;                /* as it stands in an exposition */
	const void *help_owner;         /* whose it is; NULL: free to be replaced */
	const void *owner;              /* who is charged with it; NULL: the next to say it */
	bool is_contradicted;
	UT_hash_handle by_name;
	size_t name_len;
	char name[]; /* without quotes and escapes */
};

/* Zero-initialise. */
struct families {
	struct family *by_name;
	struct family **by_slot; /* NULL: free */
	uint32_t *free_slots;
	size_t slots, free_count, capacity;
	size_t contradicted; /* families untyped since targets differ */
};

/*
 * Whether a sample of this name may be part of a histogram or summary: what that is called, and
 * whether a summary has such parts.
 */
bool family_stem(struct slice name, struct slice *stem, bool *of_summary);

/* The family of this name, made if there is none; to be given back with families_unref. */
struct family *families_ref(struct families *families, struct slice name);
void families_unref(struct families *families, uint32_t slot);

/* A target says this type (EXPO_UNTYPED: none) and HELP (empty: none) of a family it refers to. */
void families_declare(struct families *families, struct family *family, enum expo_type type,
	struct slice help, const void *target);

/* What the target that has just said it is to be charged with, its block apart. */
size_t family_bytes_of(const struct family *family, const void *target);

/* And no more. */
void families_retract(
	struct families *families, uint32_t slot, enum expo_type type, const void *target);

enum expo_type family_type(const struct family *family);

/*
 * Appends HELP and TYPE, a name that needs quotes in quotes or, without `utf8_names`, as push_name
 * writes it; nothing for a family whose samples a strict reader takes for a part of the
 * histogram or summary that another family is.
 */
void families_write_metadata(const struct families *families, const struct family *family,
	bool utf8_names, struct buf *out);

/* All must have been given back. */
void families_fini(struct families *families);

#endif
