/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One share per publisher, up to a number of them; those beyond have one in common. A share that
 * has something ready is in the circle of turns, the others are not.
 */
#include "receiver/shares.h"

#include <assert.h>

/* Publishers with a share of their own; those beyond have one in common. */
#define MAX_PUBLISHERS 10000
/* What all publishers together may hold, as a multiple of what one may. */
#define TOTAL_SHARES 8

void shares_init(struct shares *shares, uint64_t max_publisher_bytes)
{
	*shares = (struct shares){.max_bytes = max_publisher_bytes};
	TAILQ_INIT(&shares->turns);
}

/*
 * All envelopes have one in common, as anybody who may send them can name any publisher; no name is
 * empty or has a NUL.
 */
static struct slice share_name(const struct shares *shares, struct slice publisher, bool is_claim)
{
	static const struct slice others = {"", 1};
	struct share *share;

	if (is_claim)
		return SLICE("");
	HASH_FIND(by_name, shares->by_name, publisher.ptr, publisher.len, share);
	return share == NULL && HASH_CNT(by_name, shares->by_name) >= MAX_PUBLISHERS ? others
										     : publisher;
}

struct share *shares_get(struct shares *shares, struct slice publisher, bool is_claim)
{
	struct slice name = share_name(shares, publisher, is_claim);
	struct share *share;

	HASH_FIND(by_name, shares->by_name, name.ptr, name.len, share);
	if (share == NULL) {
		share = xcalloc(1, sizeof(*share) + name.len + 1);
		memcpy(share->name, name.ptr, name.len);
		TAILQ_INIT(&share->ready);
		HASH_ADD(by_name, shares->by_name, name, name.len, share);
	}
	return share;
}

void shares_put(struct shares *shares, struct share *share)
{
	if (share->targets > 0 || share->bytes > 0)
		return;
	HASH_DELETE(by_name, shares->by_name, share);
	free(share);
}

void shares_charge(struct shares *shares, struct share *share, size_t bytes)
{
	share->bytes += bytes;
	shares->held_bytes += bytes;
}

void shares_discharge(struct shares *shares, struct share *share, size_t bytes)
{
	assert(share->bytes >= bytes);
	share->bytes -= bytes;
	shares->held_bytes -= bytes;
}

/* Once all of them hold more than the whole may, each has an equal part of it. */
bool shares_have_room(const struct shares *shares, const struct share *share, size_t bytes)
{
	size_t one = shares->max_bytes;
	size_t all = one > SIZE_MAX / TOTAL_SHARES ? SIZE_MAX : one * TOTAL_SHARES;

	if (share->bytes + bytes > one)
		return false;
	return shares->held_bytes + bytes <= all ||
	       share->bytes + bytes <= all / HASH_CNT(by_name, shares->by_name);
}

void shares_set_ready(struct shares *shares, struct share_turn *turn, bool is_ready)
{
	struct share *share = turn->share;

	if (turn->is_ready == is_ready)
		return;
	turn->is_ready = is_ready;
	if (is_ready) {
		if (TAILQ_EMPTY(&share->ready))
			TAILQ_INSERT_TAIL(&shares->turns, share, in_turn);
		TAILQ_INSERT_TAIL(&share->ready, turn, in_share);
	} else {
		TAILQ_REMOVE(&share->ready, turn, in_share);
		if (TAILQ_EMPTY(&share->ready))
			TAILQ_REMOVE(&shares->turns, share, in_turn);
	}
}

struct share_turn *shares_next(struct shares *shares)
{
	struct share *share = TAILQ_FIRST(&shares->turns);

	if (share == NULL)
		return NULL;
	TAILQ_REMOVE(&shares->turns, share, in_turn);
	TAILQ_INSERT_TAIL(&shares->turns, share, in_turn);
	return TAILQ_FIRST(&share->ready);
}
