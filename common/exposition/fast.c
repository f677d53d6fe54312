/* SPDX-License-Identifier: Apache-2.0 */
/* Which engines this machine has: decided at run time, since a package is built once for all. */
#include "common/exposition/fast.h"

#ifdef __x86_64__
expo_fast_fn *expo_fast(enum expo_engine engine)
{
	switch (engine) {
	case EXPO_SSSE3:
		return __builtin_cpu_supports("ssse3") ? expo_fast_ssse3 : NULL;
	case EXPO_AVX2:
		if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
			__builtin_cpu_supports("bmi2"))
			return expo_fast_avx2;
		return NULL;
	case EXPO_PORTABLE:
		break;
	}
	return NULL;
}
#else
expo_fast_fn *expo_fast(enum expo_engine engine)
{
	(void)engine;
	return NULL;
}
#endif
