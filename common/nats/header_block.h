/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_HEADER_BLOCK_H
#define PS_COMMON_NATS_HEADER_BLOCK_H
/*
 * A message's headers as NATS carries them: "NATS/1.0[ <status>[ <words>]]", then "name: value"
 * lines. They are anybody's; nothing is copied, and a look costs one pass. Pure; any thread.
 */
#include "common/core/buf.h"

/* By exact name, the first value without the blanks around it. */
bool header_block_find(struct slice block, const char *name, struct slice *value);

/* The status in the first line, 0 if there is none; `words` is what follows it. */
int header_block_status(struct slice block, struct slice *words);

/* The status that a text ("404 No Messages") begins with, 0 if it does not. */
int header_status_read(struct slice text);

/* Without blanks at either end. */
struct slice header_trimmed(struct slice text);

#endif
