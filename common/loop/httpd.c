/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd without threads of its own: its epoll descriptor is polled by the loop, its next
 * deadline is a timer of the loop. The listening socket is ours, so that errors have words and port
 * 0 can be asked for.
 */
#include "common/loop/httpd.h"

#include "common/core/log.h"

#include <microhttpd.h>

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNECTIONS         64
#define CONNECTION_TIMEOUT_S    30
#define CONNECTION_MEMORY_BYTES ((size_t)32 * 1024)
#define LISTEN_BACKLOG          64
#define DEFAULT_CONTENT_TYPE    "text/plain; charset=utf-8"

/* A request whose answer comes later. Freed when it was answered and that was sent, or never will
 * be. */
struct httpd_later {
	struct httpd *httpd; /* NULL once the server is gone */
	struct MHD_Connection *connection;
	struct httpd_response answer;
	bool is_answered;
	LIST_ENTRY(httpd_later) next;
};

struct httpd {
	struct MHD_Daemon *daemon;
	const struct httpd_route *routes;
	void *arg;
	int port;
	bool has_left; /* somebody, since last asked */
	uv_poll_t poll;
	uv_timer_t timer;
	int open_handles;
	LIST_HEAD(, httpd_later) later;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

/* Marks a request of which only the head has come. */
static char begun;

static void run(struct httpd *httpd);

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	run(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void run(struct httpd *httpd)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	/* At the limit it stops to listen, and looks whether it may again only at its next turn. */
	do {
		httpd->has_left = false;
		MHD_run(httpd->daemon);
	} while (httpd->has_left);
	if (MHD_get_timeout(httpd->daemon, &timeout_ms) == MHD_YES)
		uv_timer_start(&httpd->timer, on_timer, timeout_ms, 0);
	else
		uv_timer_stop(&httpd->timer);
}

/* A response for `answer`, whose body it takes over. */
static struct MHD_Response *make_response(struct httpd_response *answer)
{
	struct MHD_Response *response;

	if (answer->body.len == 0) {
		buf_free(&answer->body);
		return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
	}
	response = MHD_create_response_from_buffer(
		answer->body.len, answer->body.ptr, MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
		buf_free(&answer->body);
	return response;
}

static enum MHD_Result send_answer(
	struct MHD_Connection *connection, struct httpd_response *answer, const char *allow)
{
	struct MHD_Response *response = make_response(answer);
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
	if (allow != NULL)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
	result = MHD_queue_response(connection, (unsigned)answer->status, response);
	MHD_destroy_response(response);
	return result;
}

static bool answers(const struct httpd_route *route, const char *method)
{
	return strcmp(route->method, method) == 0 ||
	       (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* The route for it; else NULL, and in `allow` the methods that the path takes, if any. */
static const struct httpd_route *find_route(
	const struct httpd *httpd, const char *path, const char *method, struct buf *allow)
{
	for (const struct httpd_route *route = httpd->routes; route->path != NULL; route++) {
		if (strcmp(route->path, path) != 0)
			continue;
		if (answers(route, method)) {
			buf_clear(allow);
			return route;
		}
		buf_appendf(allow, "%s%s", allow->len > 0 ? ", " : "", route->method);
		if (strcmp(route->method, "GET") == 0)
			buf_append_str(allow, ", HEAD");
	}
	return NULL;
}

static void refuse(struct httpd_response *answer, bool path_is_known)
{
	answer->status = path_is_known ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND;
	buf_append_str(&answer->body, path_is_known ? "method not allowed\n" : "not found\n");
}

struct httpd_later *httpd_defer(struct httpd_response *response)
{
	struct httpd_later *later = xcalloc(1, sizeof(*later));

	response->later = later;
	return later;
}

/* Nothing of the connection goes on until the answer is there. */
static void suspend(
	struct httpd *httpd, struct MHD_Connection *connection, struct httpd_later *later)
{
	later->httpd = httpd;
	later->connection = connection;
	LIST_INSERT_HEAD(&httpd->later, later, next);
	MHD_suspend_connection(connection);
}

static void resume(struct httpd_later *later)
{
	later->is_answered = true;
	MHD_resume_connection(later->connection);
}

void httpd_answer(struct httpd_later *later, struct httpd_response *response)
{
	struct httpd *httpd = later->httpd;

	if (httpd == NULL) {
		buf_free(&response->body);
		free(later);
		return;
	}
	later->answer = *response;
	response->body = (struct buf){0};
	resume(later);
	uv_timer_start(&httpd->timer, on_timer, 0, 0);
}

/* Who has still to answer finds nobody then. */
static void leave(struct httpd_later *later)
{
	LIST_REMOVE(later, next);
	later->httpd = NULL;
	if (!later->is_answered)
		return;
	buf_free(&later->answer.body);
	free(later);
}

static enum MHD_Result send_later(
	struct MHD_Connection *connection, struct httpd_later *later, void **request)
{
	enum MHD_Result result = MHD_NO;

	if (later->is_answered)
		result = send_answer(connection, &later->answer, NULL);
	later->answer.body = (struct buf){0};
	leave(later);
	*request = &begun;
	return result;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **request,
	enum MHD_RequestTerminationCode code)
{
	(void)arg;
	(void)connection;
	(void)code;
	if (*request != NULL && *request != &begun)
		leave(*request);
	*request = NULL;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
	const char *method, const char *version, const char *upload, size_t *upload_bytes,
	void **request)
{
	struct httpd *httpd = arg;
	struct httpd_response answer = {
		.status = MHD_HTTP_OK, .content_type = DEFAULT_CONTENT_TYPE};
	const struct httpd_route *route;
	struct buf allow = {0};
	enum MHD_Result result;

	(void)version;
	(void)upload;
	/* Called once for the head, then for the body, which nobody here wants, then to answer; and
	 * once more where the answer came later. */
	if (*request == NULL || *upload_bytes > 0) {
		*request = &begun;
		*upload_bytes = 0;
		return MHD_YES;
	}
	if (*request != &begun)
		return send_later(connection, *request, request);
	route = find_route(httpd, path, method, &allow);
	if (route != NULL)
		route->handle(httpd->arg, &answer);
	else
		refuse(&answer, allow.len > 0);
	if (answer.later != NULL) {
		*request = answer.later;
		suspend(httpd, connection, answer.later);
		buf_free(&answer.body);
		return MHD_YES;
	}
	result = send_answer(connection, &answer, allow.len > 0 ? buf_cstr(&allow) : NULL);
	buf_free(&allow);
	return result;
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
	enum MHD_ConnectionNotificationCode code)
{
	struct httpd *httpd = arg;

	(void)connection;
	(void)context;
	if (code == MHD_CONNECTION_NOTIFY_CLOSED)
		httpd->has_left = true;
}

PRINTF_LIKE(2, 0) static void on_mhd_log(void *arg, const char *format, va_list args)
{
	char text[256];

	(void)arg;
	vsnprintf(text, sizeof(text), format, args);
	log_debug("web server", LOG_S("says", text));
}

static int bind_to(const struct addrinfo *address, int port, struct err *err)
{
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0 &&
		bind(fd, address->ai_addr, address->ai_addrlen) == 0 &&
		listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
	err_setf(err, "%d: %s", port, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* A listening socket, or -1. */
static int listen_on(const char *address, int port, struct err *err)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	struct addrinfo *found;
	struct err why;
	char service[16];
	int fd, status;

	snprintf(service, sizeof(service), "%d", port);
	status = getaddrinfo(address, service, &hints, &found);
	if (status != 0)
		return err_setf(err, "cannot listen on %s: %s", address, gai_strerror(status));
	fd = bind_to(found, port, &why);
	freeaddrinfo(found);
	if (fd < 0)
		return err_setf(err, "cannot listen on %s:%s", address, why.text);
	return fd;
}

static int port_of(int fd)
{
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	char service[16] = "0";

	if (getsockname(fd, (struct sockaddr *)&bound, &len) == 0)
		getnameinfo((struct sockaddr *)&bound, len, NULL, 0, service, sizeof(service),
			NI_NUMERICSERV);
	return atoi(service);
}

static void watch(struct httpd *httpd, uv_loop_t *loop)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(httpd->daemon, MHD_DAEMON_INFO_EPOLL_FD);

	uv_poll_init(loop, &httpd->poll, info->epoll_fd);
	uv_timer_init(loop, &httpd->timer);
	httpd->poll.data = httpd;
	httpd->timer.data = httpd;
	httpd->open_handles = 2;
	uv_poll_start(&httpd->poll, UV_READABLE, on_readable);
}

struct httpd *httpd_open(uv_loop_t *loop, const char *address, int port,
	const struct httpd_route *routes, void *arg, struct err *err)
{
	struct httpd *httpd;
	int fd = listen_on(address, port, err);

	if (fd < 0)
		return NULL;
	httpd = xcalloc(1, sizeof(*httpd));
	httpd->routes = routes;
	httpd->arg = arg;
	httpd->port = port_of(fd);
	httpd->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		on_request, httpd, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, httpd, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, httpd, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)CONNECTION_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		CONNECTION_MEMORY_BYTES, MHD_OPTION_END);
	if (httpd->daemon == NULL) {
		err_setf(err, "cannot start the web server on %s:%d", address, port);
		close(fd);
		free(httpd);
		return NULL;
	}
	watch(httpd, loop);
	return httpd;
}

int httpd_port(const struct httpd *httpd)
{
	return httpd->port;
}

/* Connections must not be suspended when the server stops. */
static void resume_all(struct httpd *httpd)
{
	struct httpd_later *later;

	LIST_FOREACH (later, &httpd->later, next)
		if (!later->is_answered)
			MHD_resume_connection(later->connection);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct httpd *httpd = handle->data;

	if (--httpd->open_handles > 0)
		return;
	/* Only now: the poll handle watched its descriptor. */
	resume_all(httpd);
	MHD_stop_daemon(httpd->daemon);
	while (!LIST_EMPTY(&httpd->later))
		leave(LIST_FIRST(&httpd->later));
	if (httpd->on_closed != NULL)
		httpd->on_closed(httpd->closed_arg);
	free(httpd);
}

void httpd_close(struct httpd *httpd, void (*on_closed)(void *arg), void *arg)
{
	httpd->on_closed = on_closed;
	httpd->closed_arg = arg;
	uv_close((uv_handle_t *)&httpd->poll, on_handle_closed);
	uv_close((uv_handle_t *)&httpd->timer, on_handle_closed);
}
