/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A site is a host and port as URLs spell them; a peer is one connection to it. Peers stay in
 * fetch's epoll set from their connect to their close, watched for reading: a request on a kept one
 * costs a send and a receive, and one that the server closes is gone before it could be used.
 *
 * What goes wrong is left to libcurl from the start, and so is for an hour what goes wrong again
 * and again. An address that does not answer is forgotten, until libcurl's next success brings one
 * back.
 */
#include "common/loop/fetch_direct.h"

#include "common/core/clock.h"
#include "common/loop/fetch_answer.h"
#include "common/loop/fetch_plain.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#define RECEIVE_BYTES     ((size_t)64 << 10)
#define RECEIVES_AT_ONCE  8
#define MAX_IDLE_MS       118000 /* libcurl's; what is between may have forgotten it */
#define MAX_IDLE_DEFAULT  16
#define MAX_REQUEST_BYTES 8192

enum peer_state { PEER_CONNECTING, PEER_SENDING, PEER_RECEIVING, PEER_IDLE, PEER_CLOSED };

struct fetch_direct_peer {
	struct fetch_site *site;
	int fd;
	enum peer_state state;
	bool was_kept;                   /* had an answer before this one */
	struct fetch_transfer *transfer; /* NULL: idle or closed */
	struct buf unsent;
	struct fetch_answer answer;
	uint64_t idle_since_ms;
	TAILQ_ENTRY(fetch_direct_peer) link; /* of the site's idle ones, or of those closed */
	TAILQ_ENTRY(fetch_direct_peer) idle_link;
};

/* --- Peers. */

static void leave_idle(struct fetch_direct *direct, struct fetch_direct_peer *peer)
{
	peer->state = PEER_SENDING;
	TAILQ_REMOVE(&peer->site->idle, peer, link);
	TAILQ_REMOVE(&direct->idle, peer, idle_link);
	direct->idle_count--;
}

/* Freed by the next sweep. */
static void close_peer(struct fetch_direct *direct, struct fetch_direct_peer *peer)
{
	if (peer->state == PEER_IDLE)
		leave_idle(direct, peer);
	close(peer->fd);
	peer->state = PEER_CLOSED;
	TAILQ_INSERT_TAIL(&direct->closed, peer, link);
}

static void close_idle(struct fetch_direct *direct, struct fetch_site *site)
{
	struct fetch_direct_peer *peer;

	while ((peer = TAILQ_FIRST(&site->idle)) != NULL)
		close_peer(direct, peer);
}

static void keep_peer(struct fetch_direct *direct, struct fetch_direct_peer *peer)
{
	size_t most = direct->max_idle > 0 ? direct->max_idle : MAX_IDLE_DEFAULT;

	if (direct->idle_count >= most)
		close_peer(direct, TAILQ_FIRST(&direct->idle));
	peer->state = PEER_IDLE;
	peer->was_kept = true;
	peer->idle_since_ms = clock_mono_ms();
	TAILQ_INSERT_HEAD(&peer->site->idle, peer, link);
	TAILQ_INSERT_TAIL(&direct->idle, peer, idle_link);
	direct->idle_count++;
}

static int watch(struct fetch_direct *direct, struct fetch_direct_peer *peer, int op, bool to_write)
{
	struct epoll_event event = {
		.events = EPOLLIN | (to_write ? (uint32_t)EPOLLOUT : 0u),
		.data.u64 = (uint64_t)(uintptr_t)peer | 1,
	};

	return epoll_ctl(direct->epoll_fd, op, peer->fd, &event);
}

static struct fetch_direct_peer *connect_peer(struct fetch_direct *direct, struct fetch_site *site)
{
	int one = 1;
	struct fetch_direct_peer *peer;
	int fd;

	fetch_site_use(site);
	fd = socket(
		site->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return NULL;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* After 3 s without an answer libcurl tries all addresses in the time that is left. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&site->address, site->address_len) < 0 &&
		errno != EINPROGRESS) {
		fetch_site_disappoint(site);
		close(fd);
		return NULL;
	}
	peer = xcalloc(1, sizeof(*peer));
	peer->site = site;
	peer->fd = fd;
	peer->state = PEER_CONNECTING;
	if (watch(direct, peer, EPOLL_CTL_ADD, true) == 0)
		return peer;
	close(fd);
	free(peer);
	return NULL;
}

/* What the server has sent unasked is no answer to the next request, and may be its end. */
static bool is_quiet(const struct fetch_direct_peer *peer)
{
	char byte;

	return recv(peer->fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

/* The one used last, unless it waits for too long. */
static struct fetch_direct_peer *idle_peer(struct fetch_direct *direct, struct fetch_site *site)
{
	uint64_t now_ms = clock_mono_ms();
	struct fetch_direct_peer *peer;

	while ((peer = TAILQ_FIRST(&site->idle)) != NULL) {
		if (now_ms - peer->idle_since_ms <= MAX_IDLE_MS && is_quiet(peer)) {
			leave_idle(direct, peer);
			return peer;
		}
		close_peer(direct, peer);
	}
	return NULL;
}

/* --- Transfers. */

static void on_timer(uv_timer_t *timer);

static void arm(struct fetch_direct *direct, uint64_t deadline_ms)
{
	uint64_t now_ms = uv_now(direct->timer.loop);
	uint64_t wait_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;

	if (!uv_is_active((uv_handle_t *)&direct->timer) ||
		uv_timer_get_due_in(&direct->timer) > wait_ms)
		uv_timer_start(&direct->timer, on_timer, wait_ms, 0);
}

/* Most time-outs are the same: its place is near the end. */
static void await_deadline(struct fetch_direct *direct, struct fetch_transfer *transfer)
{
	struct fetch_transfer *before = TAILQ_LAST(&direct->by_deadline, fetch_direct_waiting);

	transfer->deadline_ms = uv_now(direct->timer.loop) + (uint64_t)transfer->timeout_ms;
	while (before != NULL && before->deadline_ms > transfer->deadline_ms)
		before = TAILQ_PREV(before, fetch_direct_waiting, deadline_link);
	if (before == NULL)
		TAILQ_INSERT_HEAD(&direct->by_deadline, transfer, deadline_link);
	else
		TAILQ_INSERT_AFTER(&direct->by_deadline, before, transfer, deadline_link);
	arm(direct, transfer->deadline_ms);
}

/* They have nothing more to do with each other. */
static struct fetch_transfer *part(struct fetch_direct *direct, struct fetch_direct_peer *peer)
{
	struct fetch_transfer *transfer = peer->transfer;

	TAILQ_REMOVE(&direct->by_deadline, transfer, deadline_link);
	transfer->peer = NULL;
	peer->transfer = NULL;
	fetch_answer_fini(&peer->answer);
	buf_free(&peer->unsent);
	return transfer;
}

/* libcurl makes it all from the start. */
static void give_back(struct fetch_direct *direct, struct fetch_direct_peer *peer)
{
	struct fetch_transfer *transfer = part(direct, peer);

	close_peer(direct, peer);
	buf_free(&transfer->result.body);
	transfer->result = (struct fetch_result){.retry_after_ms = -1};
	direct->on_given_back(transfer);
}

static void fail(struct fetch_direct *direct, struct fetch_direct_peer *peer, CURLcode code)
{
	struct fetch_transfer *transfer = part(direct, peer);

	close_peer(direct, peer);
	fetch_forget_headers(&transfer->result);
	transfer->result.status = 0;
	fetch_word_failure(transfer, code);
	direct->on_ended(transfer);
}

/* Nobody may be there any more: libcurl goes and looks. */
static void time_out(struct fetch_direct *direct, struct fetch_direct_peer *peer)
{
	fetch_sites_note_odd(&direct->sites, peer->transfer->request.url);
	if (!fetch_answer_has_begun(&peer->answer)) {
		fetch_site_forget(peer->site);
		close_idle(direct, peer->site);
	}
	fail(direct, peer, CURLE_OPERATION_TIMEDOUT);
}

static void succeed(struct fetch_direct *direct, struct fetch_direct_peer *peer)
{
	bool closes = peer->answer.closes;
	struct fetch_transfer *transfer = part(direct, peer);

	peer->site->trouble.times = 0;
	fetch_sites_note_good(&direct->sites, transfer->request.url);
	peer->site->last_bytes = transfer->result.body.len;
	if (closes)
		close_peer(direct, peer);
	else
		keep_peer(direct, peer);
	direct->on_ended(transfer);
}

static void on_timer(uv_timer_t *timer)
{
	struct fetch_direct *direct = container_of(timer, struct fetch_direct, timer);
	uint64_t now_ms = uv_now(timer->loop);
	struct fetch_transfer *transfer;

	/* One at a time: the callback may close all. */
	transfer = TAILQ_FIRST(&direct->by_deadline);
	if (transfer != NULL && transfer->deadline_ms > now_ms) {
		arm(direct, transfer->deadline_ms);
	} else if (transfer != NULL) {
		/* Set before, as the callback may start and close. */
		uv_timer_start(timer, on_timer, 0, 0);
		time_out(direct, transfer->peer);
	}
}

/* -1: the connection is lost. */
static int send_bytes(
	struct fetch_direct *direct, struct fetch_direct_peer *peer, struct slice bytes)
{
	ssize_t sent = send(peer->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
	struct buf rest = {0};

	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return -1;
	if (sent == (ssize_t)bytes.len) {
		peer->state = PEER_RECEIVING;
		return 0;
	}
	sent = sent < 0 ? 0 : sent;
	buf_append(&rest, bytes.ptr + sent, bytes.len - (size_t)sent);
	buf_free(&peer->unsent);
	peer->unsent = rest;
	peer->state = PEER_SENDING;
	return watch(direct, peer, EPOLL_CTL_MOD, true);
}

static bool set_request(
	struct fetch_direct *direct, const struct fetch_request *request, struct fetch_site **site)
{
	struct slice authority, target;

	if (request->answer_header != NULL || !fetch_plain_read(request, &authority, &target) ||
		(*site = fetch_sites_find(&direct->sites, authority)) == NULL ||
		(*site)->address_len == 0 || fetch_sites_is_odd(&direct->sites, request->url))
		return false;
	buf_clear(&direct->request);
	fetch_plain_write(&direct->request, request, direct->user_agent, authority, target);
	return direct->request.len <= MAX_REQUEST_BYTES;
}

/* A connection on which the request is on its way; NULL: there is none. */
static struct fetch_direct_peer *ask(struct fetch_direct *direct, struct fetch_site *site)
{
	struct slice request = buf_slice(&direct->request);
	struct fetch_direct_peer *peer = idle_peer(direct, site);

	if (peer != NULL && send_bytes(direct, peer, request) == 0)
		return peer;
	if (peer != NULL)
		close_peer(direct, peer);
	if (!fetch_site_is_near(site))
		return NULL;
	peer = connect_peer(direct, site);
	if (peer != NULL)
		buf_append_slice(&peer->unsent, request);
	return peer;
}

bool fetch_direct_take(struct fetch_direct *direct, struct fetch_transfer *transfer)
{
	struct fetch_site *site;
	struct fetch_direct_peer *peer;

	if (!set_request(direct, &transfer->request, &site) || (peer = ask(direct, site)) == NULL)
		return false;
	peer->transfer = transfer;
	peer->answer = (struct fetch_answer){
		.limit_bytes = transfer->limit_bytes, .likely_bytes = site->last_bytes};
	transfer->peer = peer;
	await_deadline(direct, transfer);
	return true;
}

void fetch_direct_cancel(struct fetch_direct *direct, struct fetch_transfer *transfer)
{
	struct fetch_direct_peer *peer = transfer->peer;

	part(direct, peer);
	close_peer(direct, peer);
}

/* --- Answers. */

static void on_bytes(struct fetch_direct *direct, struct fetch_direct_peer *peer, size_t len)
{
	struct slice bytes = {direct->received, len};

	switch (fetch_answer_feed(&peer->answer, &peer->transfer->result, bytes)) {
	case FETCH_ANSWER_MORE:
		break;
	case FETCH_ANSWER_DONE:
		succeed(direct, peer);
		break;
	case FETCH_ANSWER_UNUSUAL:
		fetch_sites_note_odd(&direct->sites, peer->transfer->request.url);
		give_back(direct, peer);
		break;
	case FETCH_ANSWER_TOO_LARGE:
		peer->transfer->overflow = BODY_OVERFLOW;
		fail(direct, peer, CURLE_WRITE_ERROR);
		break;
	}
}

/* The connection is lost: to be expected of a kept one, as long as no answer has begun. */
static void on_lost(struct fetch_direct *direct, struct fetch_direct_peer *peer)
{
	if (fetch_answer_has_begun(&peer->answer))
		fetch_sites_note_odd(&direct->sites, peer->transfer->request.url);
	else if (!peer->was_kept)
		fetch_site_disappoint(peer->site);
	give_back(direct, peer);
}

static void receive(struct fetch_direct *direct, struct fetch_direct_peer *peer)
{
	ssize_t got = (ssize_t)RECEIVE_BYTES;

	for (int i = 0; i < RECEIVES_AT_ONCE && got == (ssize_t)RECEIVE_BYTES; i++) {
		got = recv(peer->fd, direct->received, RECEIVE_BYTES, 0);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0)
			on_lost(direct, peer);
		else
			on_bytes(direct, peer, (size_t)got);
		if (got <= 0 || peer->state != PEER_RECEIVING)
			return;
	}
}

/* Connected, refused, or with room for more. */
static void on_writable(struct fetch_direct *direct, struct fetch_direct_peer *peer)
{
	struct buf unsent = buf_take(&peer->unsent);
	int error = 0;
	socklen_t len = sizeof(error);
	bool is_lost = peer->state == PEER_CONNECTING &&
		       (getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0);

	is_lost = is_lost || send_bytes(direct, peer, buf_slice(&unsent)) != 0 ||
		  (peer->state == PEER_RECEIVING && watch(direct, peer, EPOLL_CTL_MOD, false) != 0);
	buf_free(&unsent);
	if (is_lost)
		on_lost(direct, peer);
}

bool fetch_direct_owns(uint64_t key)
{
	return (key & 1) != 0;
}

void fetch_direct_on_event(struct fetch_direct *direct, uint64_t key, uint32_t events)
{
	struct fetch_direct_peer *peer = (void *)(uintptr_t)(key & ~UINT64_C(1));

	switch (peer->state) {
	case PEER_CONNECTING:
		on_writable(direct, peer);
		break;
	case PEER_SENDING:
		/* An answer before the end of the request is for libcurl to make sense of. */
		if (events & EPOLLIN)
			on_lost(direct, peer);
		else
			on_writable(direct, peer);
		break;
	case PEER_RECEIVING:
		receive(direct, peer);
		break;
	case PEER_IDLE:
		close_peer(direct, peer);
		break;
	case PEER_CLOSED:
		break;
	}
}

void fetch_direct_sweep(struct fetch_direct *direct)
{
	struct fetch_direct_peer *peer;

	while ((peer = TAILQ_FIRST(&direct->closed)) != NULL) {
		TAILQ_REMOVE(&direct->closed, peer, link);
		buf_free(&peer->unsent);
		free(peer);
	}
}

/* --- Learning. */

bool fetch_direct_hopes_for(
	const struct fetch_direct *direct, const struct fetch_transfer *transfer)
{
	const struct fetch_site *site;
	struct slice authority, target;

	if (!fetch_plain_read(&transfer->request, &authority, &target) ||
		fetch_sites_is_odd(&direct->sites, transfer->request.url))
		return false;
	site = fetch_sites_find(&direct->sites, authority);
	return site == NULL ||
	       (!fetch_site_is_hopeless(site) && !fetch_site_is_near(site) && site->was_ordinary);
}

/* Whether libcurl's answer was one of those that can be taken here. */
static bool was_ordinary(CURL *easy)
{
	long redirects = 1, status = 0, version = 0;

	curl_easy_getinfo(easy, CURLINFO_REDIRECT_COUNT, &redirects);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
	return redirects == 0 && status == 200 && version == CURL_HTTP_VERSION_1_1;
}

void fetch_direct_learn(struct fetch_direct *direct, struct fetch_transfer *transfer)
{
	struct slice authority, target;
	struct fetch_site *site;
	char *ip = NULL;
	long port = 0;

	if (!fetch_plain_read(&transfer->request, &authority, &target))
		return;
	site = fetch_sites_find(&direct->sites, authority);
	if (site == NULL && (site = fetch_sites_add(&direct->sites, authority)) == NULL)
		return;
	site->was_ordinary = was_ordinary(transfer->easy);
	if (!site->was_ordinary || fetch_site_is_hopeless(site) || fetch_site_is_near(site))
		return;
	curl_easy_getinfo(transfer->easy, CURLINFO_PRIMARY_IP, &ip);
	curl_easy_getinfo(transfer->easy, CURLINFO_PRIMARY_PORT, &port);
	if (fetch_site_learn(site, ip, port))
		close_idle(direct, site);
	site->last_bytes = transfer->result.body.len;
}

/* --- Start and stop. */

void fetch_direct_start(struct fetch_direct *direct, uv_loop_t *loop)
{
	TAILQ_INIT(&direct->idle);
	TAILQ_INIT(&direct->by_deadline);
	TAILQ_INIT(&direct->closed);
	direct->received = xmalloc(RECEIVE_BYTES);
	if (uv_timer_init(loop, &direct->timer) != 0)
		abort(); /* it does not fail */
}

void fetch_direct_stop(struct fetch_direct *direct)
{
	struct fetch_direct_peer *peer;

	uv_timer_stop(&direct->timer);
	while ((peer = TAILQ_FIRST(&direct->idle)) != NULL)
		close_peer(direct, peer);
	fetch_sites_fini(&direct->sites);
}

void fetch_direct_fini(struct fetch_direct *direct)
{
	fetch_direct_sweep(direct);
	buf_free(&direct->request);
	free(direct->received);
}
