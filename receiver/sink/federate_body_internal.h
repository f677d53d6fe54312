/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FEDERATE_BODY_INTERNAL_H
#define PS_RECEIVER_SINK_FEDERATE_BODY_INTERNAL_H
/*
 * What reading a body (federate_body.c) hands over to the writing of its block
 * (federate_body_finish.c). Pure; loop thread.
 */
#include "receiver/sink/federate_body.h"

/* The series that we add; their families come first. */
enum own {
	OWN_UP,
	OWN_DURATION,
	OWN_SCRAPED,
	OWN_REMAINING,
	OWN_ADDED,
	OWN_COUNT,
};

struct federate_family {
	size_t name_at, name_len; /* in `names` */
	enum expo_type type;
	bool has_type;
	struct slice help;
	uint32_t first, last; /* its items, + 1 */
};

/* What samples begin with; in `opens`. */
struct federate_open {
	size_t at, len;
};

struct federate_item {
	uint32_t next; /* of its family, + 1 */
	uint32_t at, len, flags;
	uint32_t open;
	uint32_t sample;
};

/* One body under way. */
struct build {
	struct federate_builder *b;
	const struct federate_target *target;
	struct federate_repairs *repairs;
	uint64_t samples;
	struct slice last_name; /* without quotes */
	uint32_t last_family, last_open;
};

/* Where the samples of an item begin. */
static inline struct slice federate_open_of(const struct federate_builder *b, uint32_t number)
{
	return (struct slice){b->opens.ptr + b->openings[number].at, b->openings[number].len};
}

/* Makes the block of what was read, and lets the target say what it says of its families. */
struct block *federate_body_finish(struct build *build, struct families *families);

#endif
