/* SPDX-License-Identifier: Apache-2.0 */
/* Ordinary lines with SSSE3: 16 bytes are classified at a time by two table look-ups. */
#include "common/exposition/fast.h"
#include "common/exposition/fast_classes.h"

#ifdef __x86_64__
#include <immintrin.h>

#define TARGET __attribute__((target("ssse3")))
#define LANES  16

struct masks {
	uint64_t word;
	uint64_t digit;
	uint64_t stop;
};

static inline TARGET uint64_t mask_of(__m128i classes, int wanted)
{
	__m128i none = _mm_cmpeq_epi8(
		_mm_and_si128(classes, _mm_set1_epi8((char)wanted)), _mm_setzero_si128());

	return ~(uint32_t)_mm_movemask_epi8(none) & 0xffffu;
}

static inline TARGET void classify(const char *at, struct masks *is)
{
	const __m128i low_half = _mm_setr_epi8(CLASSES_BY_LOW_HALF);
	const __m128i high_half = _mm_setr_epi8(CLASSES_BY_HIGH_HALF);

	*is = (struct masks){0};
	for (unsigned i = 0; i < 64; i += LANES) {
		__m128i bytes = _mm_loadu_si128((const __m128i *)(at + i));
		__m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(0x0f));
		__m128i classes = _mm_and_si128(
			_mm_shuffle_epi8(low_half, bytes), _mm_shuffle_epi8(high_half, high));

		is->word |= mask_of(classes, CLASS_WORD) << i;
		is->digit |= mask_of(classes, CLASS_DIGIT) << i;
		is->stop |= (mask_of(classes, CLASS_STOP) | (uint32_t)_mm_movemask_epi8(bytes))
			    << i;
	}
}

static inline TARGET const char *line_end(const char *at, const char *end)
{
	for (; end - at >= LANES; at += LANES) {
		__m128i bytes = _mm_loadu_si128((const __m128i *)at);
		__m128i newlines = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'));
		uint32_t found = (uint32_t)_mm_movemask_epi8(_mm_or_si128(newlines, bytes));

		if (found != 0)
			return at + __builtin_ctz(found);
	}
	return NULL;
}

#include "common/exposition/fast_lines.inc"

TARGET enum expo_kind expo_fast_ssse3(const char *at, const char *end, struct expo_line *line)
{
	return read_ordinary_line(at, end, line);
}
#endif
