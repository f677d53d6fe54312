/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_ROFF_H
#define PS_COMMON_CORE_ROFF_H
/*
 * Text for manual pages: what the tables say in words, in the markup of man(7). Pure; any thread.
 */
#include "common/core/buf.h"

/* Appends `text` so that it is read as it stands, with `words` in backquotes set bold. */
void roff_append(struct buf *out, const char *text);

/* The same in the font 'B' (bold) or 'I' (italic); backquotes are characters here. */
void roff_append_in(struct buf *out, char font, const char *text);

#endif
