/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_TRUST_H
#define PS_RECEIVER_TRUST_H
/*
 * Since when silence may be believed: since the stream is heard without a break, was heard to its
 * end once, and the wall clock, by which scrapes are dated, has not been set. Pure; the caller
 * brings both clocks.
 */
#include <stdbool.h>
#include <stdint.h>

/* Zero-initialise. */
struct trust {
	int64_t since_ms; /* wall clock; 0: silence means nothing */
	int64_t offset_ms;
	bool has_offset;
};

/*
 * To be called about once a second, and when `is_heard` changes: whether everything that is
 * consumed is bound and pulled. `is_caught_up`: nothing more is pending.
 */
void trust_update(
	struct trust *trust, bool is_heard, bool is_caught_up, int64_t wall_ms, uint64_t mono_ms);

#endif
