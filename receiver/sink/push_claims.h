/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_CLAIMS_H
#define PS_RECEIVER_SINK_PUSH_CLAIMS_H
/*
 * Which target holds which group of the gateway: first come, first served, until released. It knows
 * no gateway. Loop thread.
 */
#include "common/core/table.h"
#include "receiver/sink/push_types.h"

#include <sys/queue.h>

struct push_holder;

struct push_claim {
	struct push_holder *holder;
	uint64_t round;                /* the holder's, when it last asked for this */
	struct push_type_holder types; /* what the group holds of the families; its user's */
	bool is_pushed;                /* its user's: something was sent there */
	TAILQ_ENTRY(push_claim) of_holder;
	UT_hash_handle by_path;
	char path[];
};

/* Embedded in what holds groups; init with push_holder_init. */
struct push_holder {
	uint64_t round; /* raised by the owner: what was not asked for since has vanished */
	size_t bytes;   /* what its claims cost */
	TAILQ_HEAD(push_claim_list, push_claim) claims;
};

struct push_claims;

struct push_claims *push_claims_new(void);

/* Every claim must have been released. */
void push_claims_free(struct push_claims *claims);

void push_holder_init(struct push_holder *holder);

/*
 * Gives the path to the holder, or confirms it. Another holder keeps it: then the result is that
 * one's claim. `is_repeated`, if not NULL: asked for before in this round.
 */
struct push_claim *push_claims_take(struct push_claims *claims, struct push_holder *holder,
	const char *path, bool *is_repeated);

/* NULL where nobody holds it. */
struct push_claim *push_claims_find(const struct push_claims *claims, const char *path);

void push_claims_release(struct push_claims *claims, struct push_claim *claim);
void push_claims_release_all(struct push_claims *claims, struct push_holder *holder);

/* Releases the claims of groups that stay in the gateway: what they expose is foreign now. */
void push_claims_abandon(struct push_claims *claims, struct push_claim *claim);
void push_claims_abandon_all(struct push_claims *claims, struct push_holder *holder);

/* A group other than that of `except` that holds the family; NULL if none does. */
const struct push_claim *push_claims_find_holder(const struct push_claims *claims,
	struct slice family, const struct push_type_holder *except);

size_t push_claims_count(const struct push_claims *claims);

#endif
