/* SPDX-License-Identifier: Apache-2.0 */
#include "common/core/hash.h"

uint64_t hash64_update(uint64_t state, const void *bytes, size_t len)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < len; i++)
		state = (state ^ at[i]) * UINT64_C(0x100000001b3);
	return state;
}

uint64_t hash64_finish(uint64_t state)
{
	state ^= state >> 33;
	state *= UINT64_C(0xff51afd7ed558ccd);
	state ^= state >> 33;
	state *= UINT64_C(0xc4ceb9fe1a85ec53);
	return state ^ (state >> 33);
}

uint64_t hash64(const void *bytes, size_t len)
{
	return hash64_finish(hash64_update(HASH64_START, bytes, len));
}
