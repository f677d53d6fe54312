/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_SHARING_H
#define PS_COMMON_NATS_SHARING_H
/*
 * Whether somebody else pulls from our durable: a consumer numbers its deliveries one by one,
 * redeliveries included, so that a gap in what reaches us reached another. Gaps prove nothing where
 * deliveries may have been lost, which its user says. Pure; times are of the monotonic clock.
 */
#include <stdbool.h>
#include <stdint.h>

/* How long one gap counts. */
#define SHARING_MEMORY_MS 60000

/* Embedded; zero-initialise. */
struct sharing {
	uint64_t next_seq; /* 0: unknown */
	uint64_t judge_from_ms;
	uint64_t last_jump_ms; /* 0: never */
	uint64_t jumps;
};

/* Deliveries may have been lost, and more may be until `judge_from_ms`. */
void sharing_restart(struct sharing *sharing, uint64_t judge_from_ms);

/* One delivery could not be read. */
void sharing_skip(struct sharing *sharing);

/* A delivery came; true if others before it did not, though nothing explains that. */
bool sharing_note(struct sharing *sharing, uint64_t consumer_seq, uint64_t now_ms);

/* There was a jump within SHARING_MEMORY_MS. */
bool sharing_is_seen(const struct sharing *sharing, uint64_t now_ms);

#endif
