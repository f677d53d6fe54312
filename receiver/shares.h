/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SHARES_H
#define PS_RECEIVER_SHARES_H
/*
 * What each publisher makes a sink hold, whether it may hold more, and whose turn it is: one that
 * sends more than it should takes neither the memory nor the time of the others. It knows bytes and
 * places, not what they are. Loop thread.
 */
#include "common/core/buf.h"
#include "common/core/table.h"

#include <sys/queue.h>

/* One publisher's; there while it has targets, or anything is charged to it. */
struct share {
	size_t targets; /* its user's to count */
	size_t bytes;
	size_t acks; /* held back; its user's to count */
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
	size_t max_bytes; /* of one */
	size_t held_bytes;
};

void shares_init(struct shares *shares, uint64_t max_publisher_bytes);

/*
 * The publisher's share, made if it has none. `is_claim`: anybody could have named that publisher;
 * all such have one share in common. To be given back with shares_put.
 */
struct share *shares_get(struct shares *shares, struct slice publisher, bool is_claim);

/* Frees a share without targets and charges; others are kept. */
void shares_put(struct shares *shares, struct share *share);

void shares_charge(struct shares *shares, struct share *share, size_t bytes);
void shares_discharge(struct shares *shares, struct share *share, size_t bytes);

/* Whether so many bytes more may be charged to it. */
bool shares_have_room(const struct shares *shares, const struct share *share, size_t bytes);

/* Queues it behind the others of its share, or takes it off. */
void shares_set_ready(struct shares *shares, struct share_turn *turn, bool is_ready);

/* What has its turn, NULL if nothing is ready; its publisher goes behind the others. */
struct share_turn *shares_next(struct shares *shares);

#endif
