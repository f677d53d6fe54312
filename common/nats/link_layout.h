/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_LINK_LAYOUT_H
#define PS_COMMON_NATS_LINK_LAYOUT_H
/*
 * Where the header block of a received message lies, which cnats has no function for. It is found
 * out by trying, once per process, and never assumed: link_message.c reads the block in place only
 * where that was proven. Any thread.
 */
#include "common/core/buf.h"

#include <nats/nats.h>

enum link_layout {
	LINK_LAYOUT_UNTRIED, /* not tried yet, or it could not be */
	/* One piece: subject NUL [reply NUL] [headers NUL] body NUL. */
	LINK_LAYOUT_PROVEN,
	LINK_LAYOUT_OTHER,
};

/*
 * Tries it the first time it is called, in milliseconds, and logs if it is not proven. Blocks, for
 * seconds at worst: the link's own thread only.
 */
void link_layout_prove(void);
enum link_layout link_layout(void);

/* For tests: as if that had been found, after link_layout_prove. */
void link_layout_set(enum link_layout layout);

/*
 * The bytes between the end of subject or reply and the body. An address range: nothing is read
 * there, and in another layout than the proven one it says nothing. False if the body is before.
 */
bool link_layout_gap(const natsMsg *message, struct slice *gap);

#endif
