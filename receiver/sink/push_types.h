/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_PUSH_TYPES_H
#define PS_RECEIVER_SINK_PUSH_TYPES_H
/*
 * The types of all families that a gateway shows. A gateway that finds one family under two types
 * refuses the push or, its check off, fails every scrape; a histogram or summary `x` also takes the
 * names of its parts (x_sum, x_count, x_bucket). So the first to hold a family decides its type
 * until the last that holds it has gone. Loop thread; knows no gateway.
 *
 * A holder is one group. While a body for it is made, it claims the families anew; what it held
 * before is kept beside that until push_types_settle, as the gateway may hold either.
 */
#include "common/core/buf.h"
#include "common/exposition/exposition.h"

struct push_types;
struct push_type;

/* Embedded in what owns a group; zero-initialise. */
struct push_type_holder {
	struct push_types *types;
	struct push_type **held; /* those of before first, then those claimed for the next body */
	size_t count, capacity;
	size_t before;
};

struct push_types *push_types_new(void);

/* Every holder must have been released. */
void push_types_free(struct push_types *types);

/* Begins the claims for a new body of the group. */
void push_types_begin(struct push_types *types, struct push_type_holder *holder);

/*
 * Claims a family for the body. False where others hold that name, or one that would collide, with
 * another type: then the group must not have this family.
 */
bool push_types_claim(
	struct push_type_holder *holder, struct slice family, enum expo_type type) MUST_CHECK;

/*
 * After a claim that was refused: the name of the family that stands in its way, its own or that of
 * a histogram or summary of which one is a part. Until the next call.
 */
struct slice push_types_rival(
	const struct push_type_holder *holder, struct slice family, enum expo_type type);

/* Whether the holder has the family of this name, of before or claimed. */
bool push_types_holds(const struct push_type_holder *holder, struct slice family);

/* The gateway has taken the body: what was held before and not claimed again goes. */
void push_types_settle(struct push_type_holder *holder);

/* The group has gone. */
void push_types_release(struct push_type_holder *holder);

/* The group stays in the gateway with nobody to care for it: its families become foreign. */
void push_types_abandon(struct push_type_holder *holder);

/* The type that others than the holder that began last give to this family; false if none does. */
bool push_types_get(const struct push_types *types, struct slice family, enum expo_type *type);

/*
 * What a survey of the gateway finds beside our groups: set_foreign for each family between
 * begin_survey and end_survey, which forgets the foreign ones of before that were not named.
 * Groups that hold a foreign family with another type leave it out when they are pushed next.
 */
void push_types_begin_survey(struct push_types *types);
void push_types_set_foreign(struct push_types *types, struct slice family, enum expo_type type);
void push_types_end_survey(struct push_types *types);

/* Families known. */
size_t push_types_count(const struct push_types *types);

#endif
