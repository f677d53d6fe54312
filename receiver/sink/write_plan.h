/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_WRITE_PLAN_H
#define PS_RECEIVER_SINK_WRITE_PLAN_H
/*
 * How the labels of a series and those of its target go together, sorted by name. That depends on
 * names only, so that it is worked out once for all series of a shape. Where names collide it is
 * settled as Prometheus does: the target's label wins and the series' one becomes exported_…, or
 * with honor_labels the other way round. Pure.
 */
#include "receiver/sink/write_series.h"

enum write_step_kind {
	WRITE_OF_SERIES, /* pairs of the series, as they are */
	WRITE_OF_TARGET, /* of the target */
	WRITE_RENAMED,   /* one of the series, under another name */
};

struct write_step {
	enum write_step_kind kind;
	uint32_t from, to;          /* pairs */
	uint32_t name_at, name_len; /* WRITE_RENAMED: in the plan's names */
};

struct write_plan {
	const struct write_shape *shape;
	const struct write_labels *labels;
	bool honor_labels;
	bool collides; /* some name is in both */
	struct write_step *steps;
	uint32_t count, room;
	struct buf names;
};

void write_plan_make(struct write_plan *plan, const struct write_shape *shape,
	const struct write_labels *labels, bool honor_labels);
void write_plan_fini(struct write_plan *plan);

/* Bytes that the labels of a series of the plan's shape take, and how to write them. `at` must have
 * room; returns where they end. */
size_t write_plan_len(const struct write_plan *plan, const struct write_series *series);
char *write_plan_put(const struct write_plan *plan, const struct write_series *series, char *at);

/* Plans made lately. Embedded; zero-initialise. */
#define WRITE_PLANS 64
struct write_planner {
	struct write_plan plans[WRITE_PLANS];
};

/* The plan, until the next call. */
const struct write_plan *write_planner_get(struct write_planner *planner,
	const struct write_shape *shape, const struct write_labels *labels, bool honor_labels);

/* Shapes and labels may go from now on. */
void write_planner_forget(struct write_planner *planner);
void write_planner_fini(struct write_planner *planner);

#endif
