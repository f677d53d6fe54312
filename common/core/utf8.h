/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_UTF8_H
#define PS_COMMON_CORE_UTF8_H
/*
 * UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF. Pure; any
 * thread.
 */
#include "common/core/buf.h"

#define UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD, what stands for a byte that is not UTF-8 */

/* How many bytes the first character of `text` has, 1 to 4; 0 if it is none or `text` is empty. */
size_t utf8_first(struct slice text);

/* The longest prefix of at most `max_bytes` that does not end inside a character. */
struct slice utf8_cut(struct slice text, size_t max_bytes);

#endif
