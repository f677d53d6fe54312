/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_EXPOSITION_FAST_H
#define PS_COMMON_EXPOSITION_FAST_H
/*
 * Reading ordinary lines with vector instructions; for the parser's own files. Pure; any thread.
 *
 * An engine fills `line` for the line that begins at `at` if that is one it knows, wholly valid and
 * ended by a newline, and returns its kind. EXPO_END means that it does not know: the line may be
 * unusual, malformed, or too near to the end of the input, and `line` may have been written to.
 */
#include "common/exposition/exposition.h"

enum expo_kind expo_fast_ssse3(const char *at, const char *end, struct expo_line *line);
enum expo_kind expo_fast_avx2(const char *at, const char *end, struct expo_line *line);

/* The engine's function; NULL for EXPO_PORTABLE and for engines that this machine has not got. */
expo_fast_fn *expo_fast(enum expo_engine engine);

#endif
