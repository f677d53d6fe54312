/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables' hash: SipHash-1-3 under a key drawn at start, so that nobody outside can choose names
 * that collide. Its results never leave the process.
 */
#include "common/core/table.h"

#include "common/core/clock.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

#define FINAL_ROUNDS 3

struct sip {
	uint64_t v0, v1, v2, v3;
};

static uint64_t key0, key1;
static pthread_once_t keyed = PTHREAD_ONCE_INIT;

static void choose_key(void)
{
	key0 = random_u64();
	key1 = random_u64();
}

static inline uint64_t rotate(uint64_t word, int bits)
{
	return word << bits | word >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotate(s->v1, 13) ^ s->v0;
	s->v3 = rotate(s->v3, 16) ^ s->v2;
	s->v0 = rotate(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = rotate(s->v1, 17) ^ s->v2;
	s->v3 = rotate(s->v3, 21) ^ s->v0;
	s->v2 = rotate(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

static inline uint64_t load_word(const unsigned char *bytes, size_t len)
{
	uint64_t word = 0;

	memcpy(&word, bytes, len);
	return le64toh(word);
}

uint32_t table_hash(const void *key, size_t len)
{
	const unsigned char *at = key;
	size_t left = len;
	struct sip s;

	pthread_once(&keyed, choose_key);
	s = (struct sip){
		key0 ^ UINT64_C(0x736f6d6570736575),
		key1 ^ UINT64_C(0x646f72616e646f6d),
		key0 ^ UINT64_C(0x6c7967656e657261),
		key1 ^ UINT64_C(0x7465646279746573),
	};
	for (; left >= 8; at += 8, left -= 8)
		sip_word(&s, load_word(at, 8));
	sip_word(&s, (left > 0 ? load_word(at, left) : 0) | (uint64_t)len << 56);
	s.v2 ^= 0xff;
	for (int i = 0; i < FINAL_ROUNDS; i++)
		sip_round(&s);
	return (uint32_t)(s.v0 ^ s.v1 ^ s.v2 ^ s.v3);
}
