/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_BASE64_H
#define PS_COMMON_CORE_BASE64_H
/*
 * Base64 (RFC 4648): the standard form with padding, as Go writes []byte into JSON, and digits
 * without padding, in either alphabet. Pure; any thread.
 */
#include "common/core/buf.h"

/* Section 4, with padding. Appends what `text` stands for; -1 if it is empty or not base64, `out`
 * may then have grown. */
int base64_decode(struct slice text, struct buf *out) MUST_CHECK;

/*
 * Appends what the digits stand for, whole bytes of it. `last_two` are those for 62 and 63: "+/"
 * (section 4) or "-_" (section 5). -1 if one is no digit; `out` may then have grown.
 */
int base64_decode_digits(struct slice digits, const char *last_two, struct buf *out) MUST_CHECK;

#endif
