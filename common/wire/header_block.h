/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_WIRE_HEADER_BLOCK_H
#define PS_COMMON_WIRE_HEADER_BLOCK_H
/*
 * The header block of a NATS message as it arrives: a status line, "Name: value" lines. Read in
 * place and in one pass for each question, so that a block costs what it is long, whatever is in
 * it. Slices lie in the block. Pure; any thread.
 */
#include "common/core/buf.h"

/* More than any message of ours has; what is larger is read as having no headers. */
#define HEADER_BLOCK_MAX_BYTES ((size_t)64 << 10)

/* Whether it is a header block, within the bound; the others below take only those, or no bytes. */
bool header_block_is_valid(struct slice block);

/* As wire_header_lookup: how often the header is there, 2 for more, and the first one's value. */
int header_block_find(struct slice block, const char *name, struct slice *value);

/* "404 No Messages" of the status line; empty in a message's. False if there is no block. */
bool header_block_status(struct slice block, struct slice *status);

/* Without spaces and tabs at both ends. */
struct slice header_value_trimmed(struct slice value);

#endif
