/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_FETCH_DIRECT_H
#define PS_COMMON_LOOP_FETCH_DIRECT_H
/*
 * The short way for the request that is made again and again: a GET by plain HTTP of a site that
 * has answered libcurl well. It knows one address of the site, keeps its connections, and takes
 * ordinary answers. Whatever else happens (no connection, a connection lost, an answer that is
 * unusual) is no failure here: the transfer is given back, and libcurl makes it from the start.
 * Part of fetch, included by nobody else. Loop thread.
 */
#include "common/loop/fetch_internal.h"
#include "common/loop/fetch_site.h"

TAILQ_HEAD(fetch_direct_waiting, fetch_transfer);

struct fetch_direct {
	uv_timer_t timer; /* closed by fetch, after fetch_direct_stop */
	int epoll_fd;     /* fetch's; keys of ours are odd */
	size_t max_idle;
	const char *user_agent;
	/* The transfer has ended: its result is complete. */
	void (*on_ended)(struct fetch_transfer *transfer);
	/* It is not ours any more, and its result is as it was at the start. */
	void (*on_given_back)(struct fetch_transfer *transfer);

	struct fetch_sites sites;
	struct fetch_direct_peers idle; /* the longest first */
	struct fetch_direct_waiting by_deadline;
	struct fetch_direct_peers closed; /* events of the batch may still name them */
	size_t idle_count;
	struct buf request;
	char *received;
};

/* The members above `sites` are set by the caller. */
void fetch_direct_start(struct fetch_direct *direct, uv_loop_t *loop);
/* Transfers are cancelled before. Closes what is idle. */
void fetch_direct_stop(struct fetch_direct *direct);
/* After the last event. */
void fetch_direct_fini(struct fetch_direct *direct);

/* Whether it took the transfer, which does not end before this returns. */
bool fetch_direct_take(struct fetch_direct *direct, struct fetch_transfer *transfer) MUST_CHECK;
void fetch_direct_cancel(struct fetch_direct *direct, struct fetch_transfer *transfer);

/* Whether libcurl may drop the connection of this transfer, as the next request will be ours. */
bool fetch_direct_hopes_for(
	const struct fetch_direct *direct, const struct fetch_transfer *transfer);
/* libcurl has completed the transfer. */
void fetch_direct_learn(struct fetch_direct *direct, struct fetch_transfer *transfer);

/* An event of a key that is ours; then, at the end of the batch of events, `sweep`. */
bool fetch_direct_owns(uint64_t key);
void fetch_direct_on_event(struct fetch_direct *direct, uint64_t key, uint32_t events);
void fetch_direct_sweep(struct fetch_direct *direct);

#endif
