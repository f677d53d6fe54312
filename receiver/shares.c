/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One share per publisher, up to a number of them; those beyond have one in common. A share that
 * has something ready is in the circle of turns, the others are not.
 */
#include "receiver/shares.h"

#include <assert.h>

/* What all publishers together may hold, as a multiple of what one may. */
#define TOTAL_SHARES 8

void shares_init(struct shares *shares, uint64_t max_publisher_bytes, size_t max_in_flight)
{
	*shares = (struct shares){.max_bytes = max_publisher_bytes, .max_in_flight = max_in_flight};
	TAILQ_INIT(&shares->turns);
}

static bool is_over(const struct shares *shares, const struct share *share)
{
	return share->passing > 0 && share->bytes > shares->max_bytes;
}

void shares_set_limits(struct shares *shares, uint64_t max_publisher_bytes, size_t max_in_flight)
{
	shares->max_bytes = max_publisher_bytes;
	shares->max_in_flight = max_in_flight;
	shares->over = 0;
	for (struct share *share = shares->by_name; share != NULL; share = share->by_name.next)
		shares->over += is_over(shares, share);
}

/*
 * All envelopes have one in common, as anybody who may send them can name any publisher; no name is
 * empty or has a NUL.
 */
static struct slice share_name(struct shares *shares, struct slice publisher, bool is_claim)
{
	static const struct slice others = {"", 1};
	struct share *share;

	if (is_claim)
		return SLICE("");
	HASH_FIND(by_name, shares->by_name, publisher.ptr, publisher.len, share);
	if (share != NULL || shares_count(shares) < SHARES_MAX_PUBLISHERS)
		return publisher;
	log_limited(&shares->crowded, LOG_WARN,
		"too many publishers: further ones have one place in common; let NATS permissions "
		"bind each data centre to its name, or name the true ones in filter",
		LOG_SL("publisher", publisher), LOG_I("publishers", SHARES_MAX_PUBLISHERS));
	return others;
}

size_t shares_count(const struct shares *shares)
{
	return HASH_CNT(by_name, shares->by_name);
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
	shares->over -= is_over(shares, share);
	share->bytes += bytes;
	shares->held_bytes += bytes;
	shares->over += is_over(shares, share);
}

void shares_discharge(struct shares *shares, struct share *share, size_t bytes)
{
	assert(share->bytes >= bytes);
	shares->over -= is_over(shares, share);
	share->bytes -= bytes;
	shares->held_bytes -= bytes;
	shares->over += is_over(shares, share);
}

void shares_pass(struct shares *shares, struct share *share, int change)
{
	shares->over -= is_over(shares, share);
	share->passing += (size_t)change;
	shares->passing += (size_t)change;
	shares->over += is_over(shares, share);
}

static size_t max_of_all(const struct shares *shares)
{
	return shares->max_bytes > SIZE_MAX / TOTAL_SHARES ? SIZE_MAX
							   : shares->max_bytes * TOTAL_SHARES;
}

bool shares_is_full(const struct shares *shares, const struct share *share)
{
	return share->passing > 0 && !shares_have_room(shares, share, 0);
}

bool shares_are_full(const struct shares *shares)
{
	return shares->over > 0 || (shares->passing > 0 && shares->held_bytes > max_of_all(shares));
}

const struct share *shares_find(const struct shares *shares, struct slice publisher)
{
	const struct share *share;

	HASH_FIND(by_name, shares->by_name, publisher.ptr, publisher.len, share);
	return share;
}

/* Once all of them hold more than the whole may, each has an equal part of it. */
bool shares_have_room(const struct shares *shares, const struct share *share, size_t bytes)
{
	size_t all = max_of_all(shares);

	if (share->bytes + bytes > shares->max_bytes)
		return false;
	return shares->held_bytes + bytes <= all ||
	       share->bytes + bytes <= all / shares_count(shares);
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

/* NULL if none has a turn. */
static struct share *next_share(const struct shares *shares)
{
	struct share *share;

	TAILQ_FOREACH (share, &shares->turns, in_turn)
		if (shares->max_in_flight == 0 || share->in_flight < shares->max_in_flight)
			return share;
	return NULL;
}

struct share_turn *shares_next(struct shares *shares)
{
	struct share *share = next_share(shares);

	if (share == NULL)
		return NULL;
	TAILQ_REMOVE(&shares->turns, share, in_turn);
	TAILQ_INSERT_TAIL(&shares->turns, share, in_turn);
	return TAILQ_FIRST(&share->ready);
}
