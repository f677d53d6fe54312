/* SPDX-License-Identifier: Apache-2.0 */
/* Ordinary lines with AVX2: 32 bytes are classified at a time by two table look-ups. */
#include "common/exposition/fast.h"
#include "common/exposition/fast_classes.h"

#ifdef __x86_64__
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,bmi,bmi2")))
#define LANES  32

struct masks {
	uint64_t word;
	uint64_t digit;
	uint64_t stop;
};

static inline TARGET uint64_t mask_of(__m256i classes, int wanted)
{
	__m256i none = _mm256_cmpeq_epi8(
		_mm256_and_si256(classes, _mm256_set1_epi8((char)wanted)), _mm256_setzero_si256());

	return ~(uint32_t)_mm256_movemask_epi8(none) & 0xffffffffu;
}

static inline TARGET void classify(const char *at, struct masks *is)
{
	const __m256i low_table = _mm256_broadcastsi128_si256(_mm_setr_epi8(CLASSES_BY_LOW_HALF));
	const __m256i high_table = _mm256_broadcastsi128_si256(_mm_setr_epi8(CLASSES_BY_HIGH_HALF));

	*is = (struct masks){0};
	for (unsigned i = 0; i < 64; i += LANES) {
		__m256i bytes = _mm256_loadu_si256((const __m256i *)(at + i));
		__m256i high =
			_mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0f));
		__m256i classes = _mm256_and_si256(_mm256_shuffle_epi8(low_table, bytes),
			_mm256_shuffle_epi8(high_table, high));

		is->word |= mask_of(classes, CLASS_WORD) << i;
		is->digit |= mask_of(classes, CLASS_DIGIT) << i;
		is->stop |= (mask_of(classes, CLASS_STOP) | (uint32_t)_mm256_movemask_epi8(bytes))
			    << i;
	}
}

static inline TARGET const char *line_end(const char *at, const char *end)
{
	for (; end - at >= LANES; at += LANES) {
		__m256i bytes = _mm256_loadu_si256((const __m256i *)at);
		__m256i newlines = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\n'));
		uint32_t found = (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(newlines, bytes));

		if (found != 0)
			return at + __builtin_ctz(found);
	}
	return NULL;
}

#include "common/exposition/fast_lines.inc"

TARGET enum expo_kind expo_fast_avx2(const char *at, const char *end, struct expo_line *line)
{
	return read_ordinary_line(at, end, line);
}
#endif
