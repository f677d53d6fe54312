/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl reports the sockets it wants watched; they are kept in an epoll set of our own, whose
 * descriptor is the one thing libuv watches. That spares a handle with its own life per socket, and
 * five system calls per request on a kept connection. Whatever curl is told (a socket is ready,
 * time has passed), its messages are drained right after, even if it says that nothing runs any
 * more: the last transfer's timeout is reported in no other way. What goes directly has its sockets
 * in the same set (fetch_direct.c).
 *
 * The user's callbacks are called only while draining or from `refusals`, never below a call of the
 * user, so that they may start, cancel and close. Easy handles exist for transfers in flight, plus
 * a few idle ones; connections live in the multi handles. At the end of each transfer libcurl walks
 * all connections of the multi handle, so that there are several of them, and a host has its own.
 */
#include "common/loop/fetch_client.h"
#include "common/loop/fetch_direct.h"
#include "common/loop/fetch_internal.h"

#include "common/core/clock.h"
#include "common/core/hash.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MAX_IDLE_EASIES       64
#define EVENTS_AT_ONCE        256
#define CONNECTIONS_PER_SHARD 32 /* and twice as many, as hosts do not spread evenly */
#define MAX_SHARDS            256

TAILQ_HEAD(fetch_list, fetch_transfer);

struct fetch_shard {
	struct fetch *fetch;
	CURLM *multi;
	uv_timer_t timer; /* curl's */
	bool is_in_timer;
};

struct fetch {
	struct fetch_shard *shards;
	size_t shard_count;
	int epoll_fd;
	uv_poll_t poll;
	bool goes_directly;
	struct fetch_direct direct;
	uv_timer_t refusals; /* completes what could not be started */
	struct fetch_list running, refused, idle;
	size_t running_count, idle_count;
	char *user_agent;
	struct fetch_clients *clients;
	uv_loop_t *loop;
	bool is_closing;
	int open_handles;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

static void put(struct fetch_transfer *transfer, struct fetch_list *list)
{
	TAILQ_INSERT_TAIL(list, transfer, link);
	transfer->list = list;
}

static void take_off(struct fetch_transfer *transfer)
{
	TAILQ_REMOVE(transfer->list, transfer, link);
	transfer->list = NULL;
}

static struct fetch_transfer *new_transfer(struct fetch *fetch)
{
	struct fetch_transfer *transfer = TAILQ_FIRST(&fetch->idle);

	if (transfer != NULL) {
		take_off(transfer);
		fetch->idle_count--;
		return transfer;
	}
	transfer = xcalloc(1, sizeof(*transfer));
	transfer->fetch = fetch;
	return transfer;
}

static void need_easy(struct fetch_transfer *transfer)
{
	if (transfer->easy != NULL)
		return;
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL)
		abort(); /* out of memory, as in mem.h */
	fetch_easy_set_up(transfer, transfer->fetch->user_agent);
}

static void free_transfer(struct fetch_transfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	curl_slist_free_all(transfer->headers);
	buf_free(&transfer->url);
	curl_slist_free_all(transfer->connect_to);
	fetch_material_unref(transfer->material);
	buf_free(&transfer->result.body);
	free(transfer);
}

/*
 * An easy handle counts for life how often a kept connection turned out to be dead, and fails at
 * the sixth time. One that came through without a new connect has not counted.
 */
static bool is_as_new(const struct fetch_transfer *transfer)
{
	long connects = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connects);
	return transfer->result.outcome == FETCH_DONE && connects == 0;
}

static void clear_easy(struct fetch_transfer *transfer)
{
	if (is_as_new(transfer) && transfer->material == NULL) {
		curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL);
	} else {
		curl_easy_cleanup(transfer->easy);
		transfer->easy = NULL;
	}
	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
	curl_slist_free_all(transfer->connect_to);
	transfer->connect_to = NULL;
	fetch_material_unref(transfer->material);
	transfer->material = NULL;
}

/* Of a transfer in no list, which has ended by itself. */
static void recycle(struct fetch_transfer *transfer)
{
	struct fetch *fetch = transfer->fetch;

	if (fetch->is_closing || fetch->idle_count >= MAX_IDLE_EASIES) {
		free_transfer(transfer);
		return;
	}
	if (transfer->shard != NULL)
		clear_easy(transfer);
	transfer->shard = NULL;
	buf_free(&transfer->result.body);
	put(transfer, &fetch->idle);
	fetch->idle_count++;
}

/* Takes it off whichever list it is in, and away from who makes it. */
static void unlink_transfer(struct fetch_transfer *transfer)
{
	take_off(transfer);
	if (transfer->shard != NULL)
		curl_multi_remove_handle(transfer->shard->multi, transfer->easy);
	else if (transfer->peer != NULL)
		fetch_direct_cancel(&transfer->fetch->direct, transfer);
}

static void complete(struct fetch_transfer *transfer)
{
	struct fetch_result *result = &transfer->result;

	unlink_transfer(transfer);
	transfer->fetch->running_count--;
	result->duration_s = (double)(clock_mono_us() - transfer->start_us) / 1e6;
	if (result->outcome != FETCH_DONE)
		buf_free(&result->body);
	transfer->callback(transfer->arg, result);
	recycle(transfer);
}

static void on_done(struct fetch_transfer *transfer, CURLcode code)
{
	long status = 0;

	if (code == CURLE_OK) {
		curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
		transfer->result.status = (int)status;
		if (transfer->fetch->goes_directly)
			fetch_direct_learn(&transfer->fetch->direct, transfer);
	} else {
		fetch_forget_headers(&transfer->result);
		fetch_word_failure(transfer, code);
	}
	complete(transfer);
}

static void drain(struct fetch_shard *shard)
{
	struct fetch_transfer *transfer;
	const CURLMsg *message;
	CURLcode code;
	int left;

	while (!shard->fetch->is_closing &&
		(message = curl_multi_info_read(shard->multi, &left)) != NULL) {
		if (message->msg != CURLMSG_DONE)
			continue;
		code = message->data.result;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
		on_done(transfer, code);
	}
}

static void act(struct fetch_shard *shard, curl_socket_t socket, int what)
{
	int running;

	curl_multi_socket_action(shard->multi, socket, what, &running);
	drain(shard);
}

/* What epoll keeps of a socket of curl's: whose it is, and its number. */
static uint64_t watch_key(const struct fetch_shard *shard, curl_socket_t socket)
{
	return (uint64_t)(shard - shard->fetch->shards) << 33 | (uint64_t)(uint32_t)socket << 1;
}

static void act_on_event(struct fetch *fetch, uint64_t key, uint32_t got)
{
	if (fetch_direct_owns(key))
		fetch_direct_on_event(&fetch->direct, key, got);
	else
		act(&fetch->shards[key >> 33], (curl_socket_t)(uint32_t)(key >> 1),
			(got & EPOLLIN ? CURL_CSELECT_IN : 0) |
				(got & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
				(got & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0));
}

/* An event of a descriptor that an earlier one of the batch closed is no harm: curl looks itself.
 */
static void on_readable(uv_poll_t *poll, int status, int readable)
{
	struct fetch *fetch = container_of(poll, struct fetch, poll);
	struct epoll_event events[EVENTS_AT_ONCE];
	int count;

	(void)readable;
	assert(status == 0); /* the descriptor is ours */
	count = epoll_wait(fetch->epoll_fd, events, EVENTS_AT_ONCE, 0);
	for (int i = 0; i < count && !fetch->is_closing; i++)
		act_on_event(fetch, events[i].data.u64, events[i].events);
	fetch_direct_sweep(&fetch->direct);
}

static void on_timer(uv_timer_t *timer)
{
	struct fetch_shard *shard = container_of(timer, struct fetch_shard, timer);

	shard->is_in_timer = true;
	act(shard, CURL_SOCKET_TIMEOUT, 0);
	shard->is_in_timer = false;
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct fetch_shard *shard = arg;

	(void)multi;
	/* libuv runs timers of 0 ms started by timers at once, again and again: sockets would
	 * starve. */
	if (timeout_ms == 0 && shard->is_in_timer)
		timeout_ms = 1;
	if (shard->fetch->is_closing || timeout_ms < 0)
		uv_timer_stop(&shard->timer);
	else
		uv_timer_start(&shard->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static int on_curl_socket(CURL *easy, curl_socket_t socket, int what, void *arg, void *watched)
{
	struct fetch_shard *shard = arg;
	int epoll_fd = shard->fetch->epoll_fd;
	struct epoll_event event = {.data.u64 = watch_key(shard, socket)};

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		/* It may be closed already, and gone from the set with that. */
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, socket, NULL);
		return 0;
	}
	event.events =
		(what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (watched != NULL && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, socket, &event) == 0)
		return 0;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, socket, &event) < 0 &&
		(errno != EEXIST || epoll_ctl(epoll_fd, EPOLL_CTL_MOD, socket, &event) < 0))
		return -1;
	curl_multi_assign(shard->multi, socket, shard);
	return 0;
}

static void on_refusals(uv_timer_t *timer)
{
	struct fetch *fetch = container_of(timer, struct fetch, refusals);
	struct fetch_transfer *transfer;
	size_t count = 0;

	/* Those that the callbacks add wait for the next time: the loop must get its turn. */
	TAILQ_FOREACH (transfer, &fetch->refused, link)
		count++;
	while (count-- > 0 && (transfer = TAILQ_FIRST(&fetch->refused)) != NULL)
		complete(transfer);
}

static int64_t clamp_timeout(int64_t ms)
{
	return ms < 1 ? 1 : ms > INT_MAX ? INT_MAX : ms;
}

/* By scheme, host and port as they are written. */
static struct fetch_shard *shard_of(struct fetch *fetch, const char *url)
{
	const char *host = strstr(url, "://");
	size_t len = host == NULL ? 0 : (size_t)(host + 3 - url);

	len += strcspn(url + len, "/?#");
	return &fetch->shards[hash64(url, len) % fetch->shard_count];
}

/* In no list before, in one after. */
static void hand_to_curl(struct fetch_transfer *transfer)
{
	struct fetch *fetch = transfer->fetch;
	int64_t spent_ms = (int64_t)(clock_mono_us() - transfer->start_us) / 1000;
	bool is_last = fetch->goes_directly && fetch_direct_hopes_for(&fetch->direct, transfer);

	need_easy(transfer);
	transfer->shard = shard_of(fetch, transfer->request.url);
	curl_easy_setopt(transfer->easy, CURLOPT_FORBID_REUSE, is_last ? 1L : 0L);
	if (fetch_easy_set_request(transfer, clamp_timeout(transfer->timeout_ms - spent_ms)) == 0) {
		CURLMcode code = curl_multi_add_handle(transfer->shard->multi, transfer->easy);

		if (code == CURLM_OK) {
			put(transfer, &fetch->running);
			return;
		}
		fetch_say(&transfer->result, "", curl_multi_strerror(code));
	}
	transfer->result.outcome = FETCH_FAILED;
	put(transfer, &fetch->refused);
	uv_timer_start(&fetch->refusals, on_refusals, 1, 0);
}

static void on_given_back(struct fetch_transfer *transfer)
{
	take_off(transfer);
	hand_to_curl(transfer);
}

static void set_request(struct fetch_transfer *transfer, const struct fetch_request *request)
{
	transfer->request = *request;
	buf_clear(&transfer->url);
	buf_append_str(&transfer->url, request->url);
	transfer->request.url = buf_cstr(&transfer->url);
	transfer->timeout_ms = clamp_timeout(request->timeout_ms);
	transfer->limit_bytes = request->body_limit_bytes != 0 ? request->body_limit_bytes
							       : FETCH_DEFAULT_LIMIT_BYTES;
}

struct fetch_transfer *fetch_start(struct fetch *fetch, const struct fetch_request *request,
	fetch_callback callback, void *arg)
{
	struct fetch_transfer *transfer;

	assert(!fetch->is_closing);
	transfer = new_transfer(fetch);
	set_request(transfer, request);
	transfer->shard = NULL;
	if (request->client != NULL)
		transfer->material = fetch_client_material(request->client);
	transfer->callback = callback;
	transfer->arg = arg;
	transfer->start_us = clock_mono_us();
	transfer->header_bytes = 0;
	transfer->overflow = NO_OVERFLOW;
	transfer->curl_error[0] = '\0';
	transfer->result = (struct fetch_result){.retry_after_ms = -1};
	fetch->running_count++;
	if (fetch->goes_directly && fetch_direct_take(&fetch->direct, transfer))
		put(transfer, &fetch->running);
	else
		hand_to_curl(transfer);
	return transfer;
}

void fetch_cancel(struct fetch_transfer *transfer)
{
	unlink_transfer(transfer);
	transfer->fetch->running_count--;
	free_transfer(transfer);
}

size_t fetch_running(const struct fetch *fetch)
{
	return fetch->running_count;
}

static void init_curl(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();
}

static void must(bool done)
{
	if (!done) /* only for want of memory or descriptors at start-up */
		abort();
}

static void open_shard(struct fetch *fetch, struct fetch_shard *shard, uv_loop_t *loop)
{
	shard->fetch = fetch;
	must((shard->multi = curl_multi_init()) != NULL);
	must(uv_timer_init(loop, &shard->timer) == 0);
	fetch->open_handles++;
	curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
	curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
	curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
}

void fetch_set_max_idle(struct fetch *fetch, size_t max_idle)
{
	size_t count = fetch->shard_count;
	size_t most = count == 1 ? max_idle : 2 * (max_idle / count + 1);

	fetch->direct.max_idle = max_idle;
	for (size_t i = 0; i < count; i++)
		curl_multi_setopt(fetch->shards[i].multi, CURLMOPT_MAXCONNECTS,
			most > LONG_MAX ? LONG_MAX : (long)most);
}

static void open_shards(struct fetch *fetch, size_t max_idle, uv_loop_t *loop)
{
	size_t count = max_idle / CONNECTIONS_PER_SHARD;

	count = count < 1 ? 1 : count > MAX_SHARDS ? MAX_SHARDS : count;
	fetch->shards = xcalloc(count, sizeof(*fetch->shards));
	fetch->shard_count = count;
	for (size_t i = 0; i < count; i++)
		open_shard(fetch, &fetch->shards[i], loop);
	if (max_idle > 0)
		fetch_set_max_idle(fetch, max_idle);
}

static void open_direct(struct fetch *fetch, const struct fetch_options *options, uv_loop_t *loop)
{
	fetch->goes_directly = options->goes_directly;
	fetch->direct.epoll_fd = fetch->epoll_fd;
	fetch->direct.max_idle = options->max_idle_connections;
	fetch->direct.user_agent = fetch->user_agent;
	fetch->direct.on_ended = complete;
	fetch->direct.on_given_back = on_given_back;
	fetch_direct_start(&fetch->direct, loop);
}

struct fetch *fetch_open(uv_loop_t *loop, const struct fetch_options *options)
{
	static uv_once_t once = UV_ONCE_INIT;
	struct fetch *fetch = xcalloc(1, sizeof(*fetch));

	uv_once(&once, init_curl);
	TAILQ_INIT(&fetch->running);
	TAILQ_INIT(&fetch->refused);
	TAILQ_INIT(&fetch->idle);
	fetch->loop = loop;
	fetch->clients = fetch_clients_new();
	fetch->user_agent = options->user_agent != NULL ? xstrdup(options->user_agent) : NULL;
	must((fetch->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) >= 0);
	must(uv_poll_init(loop, &fetch->poll, fetch->epoll_fd) == 0);
	must(uv_poll_start(&fetch->poll, UV_READABLE, on_readable) == 0);
	must(uv_timer_init(loop, &fetch->refusals) == 0);
	open_direct(fetch, options, loop);
	fetch->open_handles = 3;
	open_shards(fetch, options->max_idle_connections, loop);
	return fetch;
}

struct fetch_client *fetch_client_new(
	struct fetch *fetch, const struct http_client_settings *settings)
{
	return fetch_clients_add(fetch->clients, fetch->loop, settings);
}

static void on_part_closed(void *part_of)
{
	struct fetch *fetch = part_of;
	void (*on_closed)(void *) = fetch->on_closed;
	void *arg = fetch->closed_arg;

	if (--fetch->open_handles > 0)
		return;
	fetch_direct_fini(&fetch->direct);
	close(fetch->epoll_fd);
	free(fetch->shards);
	free(fetch->user_agent);
	free(fetch);
	if (on_closed != NULL)
		on_closed(arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
	on_part_closed(handle->data);
}

static void free_all(struct fetch_list *list)
{
	struct fetch_transfer *transfer;

	while ((transfer = TAILQ_FIRST(list)) != NULL) {
		unlink_transfer(transfer);
		free_transfer(transfer);
	}
}

static void close_handle(struct fetch *fetch, uv_handle_t *handle)
{
	handle->data = fetch;
	uv_close(handle, on_handle_closed);
}

void fetch_close(struct fetch *fetch, void (*on_closed)(void *arg), void *arg)
{
	fetch->is_closing = true;
	fetch->on_closed = on_closed;
	fetch->closed_arg = arg;
	free_all(&fetch->running);
	free_all(&fetch->refused);
	free_all(&fetch->idle);
	fetch_direct_stop(&fetch->direct);
	for (size_t i = 0; i < fetch->shard_count; i++) {
		curl_multi_cleanup(fetch->shards[i].multi);
		close_handle(fetch, (uv_handle_t *)&fetch->shards[i].timer);
	}
	close_handle(fetch, (uv_handle_t *)&fetch->poll);
	close_handle(fetch, (uv_handle_t *)&fetch->refusals);
	close_handle(fetch, (uv_handle_t *)&fetch->direct.timer);
	fetch->open_handles++;
	fetch_clients_close(fetch->clients, on_part_closed, fetch);
}
