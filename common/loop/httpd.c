/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd without threads of its own: its epoll descriptor is polled by the loop, its next
 * deadline is a timer of the loop. The listening socket is ours, so that errors have words and port
 * 0 can be asked for.
 */
#include "common/loop/httpd.h"

#include "common/core/log.h"
#include "common/loop/httpd_stream.h"
#include "common/loop/webauth.h"
#include "common/loop/webtls.h"

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
#define LARGE_MEMORY_BYTES      ((size_t)256 * 1024)
#define MAX_AT_ONCE_MS          64
#define LISTEN_BACKLOG          64
#define DEFAULT_CONTENT_TYPE    "text/plain; charset=utf-8"

#define TLS_PRIORITIES "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1"

/* One request, between its head and the answer. */
struct request {
	struct httpd *httpd;
	struct MHD_Connection *connection;
	bool is_judged, is_judging, may_pass;
	TAILQ_ENTRY(request) entry; /* while it is judged */
	struct httpd_later *later;  /* its answer, if that comes later */
};

/* An answer that comes later. Freed when it came and was sent, or never will be. */
struct httpd_later {
	struct request *request; /* NULL once nobody waits for it */
	struct httpd_response answer;
	bool is_answered;
	LIST_ENTRY(httpd_later) next;
};

struct httpd {
	struct webauth *auth;
	TAILQ_HEAD(, request) judging;
	struct MHD_Daemon *daemon;
	const struct httpd_route *routes;
	void *arg;
	int port;
	bool has_left;       /* somebody, since last asked */
	uint64_t at_once_ms; /* what "at once" is put off by */
	uv_poll_t poll;
	uv_timer_t timer;
	int open_handles;
	LIST_HEAD(, httpd_later) later;
	struct httpd_streams streams;
	size_t connection_bytes;
	void (*on_closed)(void *arg);
	void *closed_arg;
};

static void run(struct httpd *httpd);

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct httpd *httpd = poll->data;

	(void)status;
	(void)events;
	httpd->at_once_ms = 0;
	run(httpd);
}

/*
 * While a client takes its time over a TLS handshake, libmicrohttpd always wants to run again at
 * once: the loop would do nothing else. What comes in meanwhile, the descriptor tells.
 */
static void on_timer(uv_timer_t *timer)
{
	struct httpd *httpd = timer->data;

	httpd->at_once_ms = httpd->at_once_ms == 0               ? 1
			    : httpd->at_once_ms < MAX_AT_ONCE_MS ? httpd->at_once_ms * 2
								 : MAX_AT_ONCE_MS;
	run(httpd);
}

static void run(struct httpd *httpd)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	httpd_streams_resume(&httpd->streams);
	httpd->streams.is_moving = false;
	/* At the limit it stops to listen, and looks whether it may again only at its next turn. */
	do {
		httpd->has_left = false;
		MHD_run(httpd->daemon);
	} while (httpd->has_left);
	if (httpd->streams.is_moving)
		httpd->at_once_ms = 0;
	if (!LIST_EMPTY(&httpd->streams.waiting))
		uv_timer_start(&httpd->timer, on_timer, 0, 0);
	else if (MHD_get_timeout(httpd->daemon, &timeout_ms) == MHD_YES)
		uv_timer_start(&httpd->timer, on_timer,
			timeout_ms > httpd->at_once_ms ? timeout_ms : httpd->at_once_ms, 0);
	else
		uv_timer_stop(&httpd->timer);
}

/* A response for `answer`, whose body it takes over. */
static struct MHD_Response *make_response(
	struct httpd_response *answer, struct httpd_streams *streams)
{
	struct MHD_Response *response;

	if (answer->stream != NULL) {
		buf_free(&answer->body);
		return httpd_stream_response(answer->stream, streams);
	}
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

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
	if (value != NULL)
		MHD_add_response_header(response, name, value);
}

static enum MHD_Result send_answer(
	struct request *request, struct httpd_response *answer, const char *allow)
{
	struct MHD_Response *response = make_response(answer, &request->httpd->streams);
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
	add_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, answer->content_encoding);
	add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, answer->retry_after);
	add_header(response, MHD_HTTP_HEADER_ALLOW, allow);
	result = MHD_queue_response(request->connection, (unsigned)answer->status, response);
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
static void suspend(struct request *request, struct httpd_later *later)
{
	request->later = later;
	later->request = request;
	LIST_INSERT_HEAD(&request->httpd->later, later, next);
	MHD_suspend_connection(request->connection);
}

void httpd_answer(struct httpd_later *later, struct httpd_response *response)
{
	struct httpd *httpd;

	if (later->request == NULL) {
		buf_free(&response->body);
		free(later);
		return;
	}
	httpd = later->request->httpd;
	later->answer = *response;
	later->is_answered = true;
	response->body = (struct buf){0};
	MHD_resume_connection(later->request->connection);
	uv_timer_start(&httpd->timer, on_timer, 0, 0);
}

/* Who has still to answer finds nobody then. */
static void leave(struct httpd_later *later)
{
	LIST_REMOVE(later, next);
	later->request->later = NULL;
	later->request = NULL;
	if (!later->is_answered)
		return;
	buf_free(&later->answer.body);
	free(later);
}

static enum MHD_Result send_later(struct request *request)
{
	struct httpd_later *later = request->later;
	enum MHD_Result result = MHD_NO;

	if (later->is_answered)
		result = send_answer(request, &later->answer, NULL);
	later->answer.body = (struct buf){0};
	leave(later);
	return result;
}

static enum MHD_Result answer_route(struct request *request, const char *path, const char *method)
{
	struct httpd *httpd = request->httpd;
	struct httpd_response answer = {.status = MHD_HTTP_OK,
		.content_type = DEFAULT_CONTENT_TYPE,
		.connection = request->connection};
	struct buf allow = {0};
	const struct httpd_route *route = find_route(httpd, path, method, &allow);
	enum MHD_Result result;

	if (route != NULL)
		route->handle(httpd->arg, &answer);
	else
		refuse(&answer, allow.len > 0);
	if (strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
		httpd_stream_drop(&answer);
	if (answer.later != NULL) {
		suspend(request, answer.later);
		buf_free(&answer.body);
		return MHD_YES;
	}
	result = send_answer(request, &answer, allow.len > 0 ? buf_cstr(&allow) : NULL);
	buf_free(&allow);
	return result;
}

static enum MHD_Result ask_who(struct MHD_Connection *connection)
{
	static const char text[] = "unauthorized\n";
	struct MHD_Response *response = MHD_create_response_from_buffer(
		sizeof(text) - 1, (void *)text, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, DEFAULT_CONTENT_TYPE);
	MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Basic");
	result = MHD_queue_response(connection, MHD_HTTP_UNAUTHORIZED, response);
	MHD_destroy_response(response);
	return result;
}

static void on_judged(void *arg, bool may_pass)
{
	struct request *request = arg;
	struct httpd *httpd = request->httpd;

	request->may_pass = may_pass;
	request->is_judging = false;
	TAILQ_REMOVE(&httpd->judging, request, entry);
	MHD_resume_connection(request->connection);
	run(httpd);
}

/* False while it has to wait: it is asked for again then. */
static bool judge(struct request *request)
{
	struct httpd *httpd = request->httpd;
	const char *header = MHD_lookup_connection_value(
		request->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
	enum webauth_verdict verdict;

	if (request->is_judged)
		return !request->is_judging;
	request->is_judged = true;
	verdict = httpd->auth == NULL ? WEBAUTH_PASS
				      : webauth_judge(httpd->auth, header, on_judged, request);
	request->may_pass = verdict == WEBAUTH_PASS;
	if (verdict != WEBAUTH_LATER)
		return true;
	request->is_judging = true;
	TAILQ_INSERT_TAIL(&httpd->judging, request, entry);
	MHD_suspend_connection(request->connection);
	return false;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
	const char *method, const char *version, const char *upload, size_t *upload_bytes,
	void **context)
{
	struct httpd *httpd = arg;
	struct request *request = *context;

	(void)version;
	(void)upload;
	httpd->at_once_ms = 0; /* it gets somewhere */
	/* Called once for the head, then for the body, which nobody here wants, then to answer; and
	 * once more where the answer came later. */
	if (request == NULL) {
		request = *context = xcalloc(1, sizeof(*request));
		request->httpd = httpd;
		request->connection = connection;
		return MHD_YES;
	}
	if (*upload_bytes > 0) {
		*upload_bytes = 0;
		return MHD_YES;
	}
	if (request->later != NULL)
		return send_later(request);
	if (!judge(request))
		return MHD_YES;
	return request->may_pass ? answer_route(request, path, method) : ask_who(connection);
}

static void on_request_done(void *arg, struct MHD_Connection *connection, void **context,
	enum MHD_RequestTerminationCode code)
{
	struct request *request = *context;

	(void)arg;
	(void)connection;
	(void)code;
	if (request != NULL && request->later != NULL)
		leave(request->later);
	free(request);
	*context = NULL;
}

/* It would be let in unasked. */
static void refuse_connection(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	if (info != NULL)
		(void)shutdown(info->connect_fd, SHUT_RDWR);
}

/* libmicrohttpd calls this between making a session and its handshake. */
static void secure(struct httpd *httpd, struct MHD_Connection *connection, void **context)
{
	struct webtls *tls = httpd->auth == NULL ? NULL : webauth_tls(httpd->auth);
	const union MHD_ConnectionInfo *info =
		tls == NULL
			? NULL
			: MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

	*context = tls;
	if (info != NULL)
		webtls_apply(tls, info->tls_session);
	else if (tls != NULL)
		refuse_connection(connection);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
	enum MHD_ConnectionNotificationCode code)
{
	struct httpd *httpd = arg;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		secure(httpd, connection, context);
		return;
	}
	webtls_unref(*context);
	*context = NULL;
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

static struct MHD_Daemon *start_daemon(struct httpd *httpd, int fd)
{
	const char *cert = httpd->auth == NULL ? NULL : webauth_cert(httpd->auth);
	unsigned flags = MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME;
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)cert},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, NULL},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITIES},
		{MHD_OPTION_END, 0, NULL},
	};

	if (cert != NULL) {
		flags |= MHD_USE_TLS;
		tls[1].ptr_value = (void *)webauth_key(httpd->auth);
	} else {
		tls[0].option = MHD_OPTION_END;
	}
	return MHD_start_daemon(flags, 0, NULL, NULL, on_request, httpd, MHD_OPTION_EXTERNAL_LOGGER,
		on_mhd_log, NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection, httpd,
		MHD_OPTION_NOTIFY_COMPLETED, on_request_done, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, httpd->connection_bytes, MHD_OPTION_ARRAY, tls,
		MHD_OPTION_END);
}

static struct httpd *open_httpd(uv_loop_t *loop, const char *address, int port,
	const struct httpd *options, struct err *err)
{
	struct webauth *auth = options->auth;
	struct httpd *httpd;
	int fd = listen_on(address, port, err);

	if (fd < 0)
		return NULL;
	httpd = xcalloc(1, sizeof(*httpd));
	*httpd = *options;
	httpd->port = port_of(fd);
	TAILQ_INIT(&httpd->judging);
	httpd->daemon = start_daemon(httpd, fd);
	if (httpd->daemon == NULL) {
		err_setf(err, "cannot start the web server on %s:%d%s", address, port,
			auth != NULL && webauth_cert(auth) != NULL
				? ": its certificate and key may not be usable"
				: "");
		close(fd);
		free(httpd);
		return NULL;
	}
	watch(httpd, loop);
	return httpd;
}

struct httpd *httpd_open_secured(uv_loop_t *loop, const char *address, int port,
	const struct httpd_route *routes, void *arg, struct webauth *auth, struct err *err)
{
	const struct httpd options = {.routes = routes,
		.arg = arg,
		.auth = auth,
		.connection_bytes = CONNECTION_MEMORY_BYTES};

	return open_httpd(loop, address, port, &options, err);
}

struct httpd *httpd_open_large(uv_loop_t *loop, const char *address, int port,
	const struct httpd_route *routes, void *arg, struct webauth *auth, struct err *err)
{
	const struct httpd options = {
		.routes = routes, .arg = arg, .auth = auth, .connection_bytes = LARGE_MEMORY_BYTES};

	return open_httpd(loop, address, port, &options, err);
}

struct httpd *httpd_open(uv_loop_t *loop, const char *address, int port,
	const struct httpd_route *routes, void *arg, struct err *err)
{
	return httpd_open_secured(loop, address, port, routes, arg, NULL, err);
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
			MHD_resume_connection(later->request->connection);
	httpd_streams_resume(&httpd->streams);
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
	struct request *request;

	/* What is suspended cannot be stopped. Its verdict must not come any more: webauth_close.
	 */
	while ((request = TAILQ_FIRST(&httpd->judging)) != NULL) {
		TAILQ_REMOVE(&httpd->judging, request, entry);
		MHD_resume_connection(request->connection);
	}
	httpd->on_closed = on_closed;
	httpd->closed_arg = arg;
	uv_close((uv_handle_t *)&httpd->poll, on_handle_closed);
	uv_close((uv_handle_t *)&httpd->timer, on_handle_closed);
}
