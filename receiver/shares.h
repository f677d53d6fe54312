/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SHARES_H
#define PS_RECEIVER_SHARES_H
/*
 * What each publisher makes a sink hold, whether it may hold more, and whose turn it is: one that
 * sends more than it should takes neither the memory nor the time of the others. It knows bytes and
 * places, not what they are. Loop thread.
 */
#include "common/core/buf.h"
#include "common/core/log.h"
#include "common/core/table.h"

#include <sys/queue.h>

/*
 * Publishers with a share of their own. That so many names are there at once means that somebody
 * invents them: publishers whose names NATS permissions bind cannot, and those that
 * receiver_stream.filter names are not crowded out, since no others are received.
 */
#define SHARES_MAX_PUBLISHERS 10000

/* One publisher's; there while it has targets, or anything is charged to it. */
struct share {
	size_t targets; /* its user's to count */
	size_t bytes;
	size_t acks;      /* held back; its user's to count */
	size_t in_flight; /* of what has turns; its user's to count */
	size_t passing;   /* things that will go by themselves, see shares_pass */
	TAILQ_HEAD(, share_turn) ready;
	TAILQ_ENTRY(share) in_turn; /* while something of it is ready */
	UT_hash_handle by_name;
	char name[];
};

/* What takes turns, embedded in its owner; zero-initialise and set `share`. */
struct share_turn {
	struct share *share;
	TAILQ_ENTRY(share_turn) in_share;
	bool is_ready;
};

struct shares {
	struct share *by_name;
	TAILQ_HEAD(, share) turns;
	size_t max_bytes;             /* of one */
	size_t max_in_flight;         /* of one; 0: any number */
	size_t held_bytes, held_acks; /* of all */
	size_t passing;               /* of all */
	size_t over;                  /* shares that are full */
	struct log_limit crowded;
};

void shares_init(struct shares *shares, uint64_t max_publisher_bytes, size_t max_in_flight);

/* Others; what is held beyond them stays. */
void shares_set_limits(struct shares *shares, uint64_t max_publisher_bytes, size_t max_in_flight);

/*
 * The publisher's share, made if it has none. `is_claim`: anybody could have named that publisher;
 * all such have one share in common, and so have those that come after SHARES_MAX_PUBLISHERS. To be
 * given back with shares_put.
 */
struct share *shares_get(struct shares *shares, struct slice publisher, bool is_claim);

/* Frees a share without targets and charges; others are kept. */
void shares_put(struct shares *shares, struct share *share);

void shares_charge(struct shares *shares, struct share *share, size_t bytes);
void shares_discharge(struct shares *shares, struct share *share, size_t bytes);

/* Whether so many bytes more may be charged to it. */
bool shares_have_room(const struct shares *shares, const struct share *share, size_t bytes);

/*
 * Where nothing is refused, what arrives has to be stopped instead. A share is full while it holds
 * more than it may and some of it is passing: without that, waiting would not help. One thing more
 * is passing (1), or one less (-1).
 */
void shares_pass(struct shares *shares, struct share *share, int change);
bool shares_is_full(const struct shares *shares, const struct share *share);
bool shares_are_full(const struct shares *shares); /* any of them, or all taken together */

/* The publisher's share, NULL if it has none. */
const struct share *shares_find(const struct shares *shares, struct slice publisher);

/* Queues it behind the others of its share, or takes it off. */
void shares_set_ready(struct shares *shares, struct share_turn *turn, bool is_ready);

/* Shares there are: publishers that have targets, what has one in common as one. */
size_t shares_count(const struct shares *shares);

/*
 * What has its turn, its publisher going behind the others; NULL if nothing is ready but of those
 * with as many in flight as they may have.
 */
struct share_turn *shares_next(struct shares *shares);

#endif
