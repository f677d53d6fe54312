/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_BASE64_H
#define PS_COMMON_CORE_BASE64_H
/*
 * Standard base64 (RFC 4648 section 4) with padding, as Go writes []byte into JSON. It refuses
 * every other form. Pure; any thread.
 */
#include "common/core/buf.h"

/* Appends what `text` stands for; -1 if it is empty or not base64, `out` may then have grown. */
int base64_decode(struct slice text, struct buf *out) MUST_CHECK;

#endif
