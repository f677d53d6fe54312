/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sd_notify's protocol without libsystemd: one datagram of NAME=VALUE lines per message. Two
 * timers: one looks once a second whether there is news, the other keeps the watchdog quiet. That
 * both run on the loop is the point of the watchdog: a loop that hangs says nothing.
 */
#include "common/loop/notify.h"

#include "common/core/utf8.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BEAT_MS          1000
#define STATUS_MAX_BYTES 500

struct notify {
	int fd;
	struct sockaddr_un address;
	socklen_t address_len;
	notify_status_cb status;
	void *arg;
	struct buf told; /* the status that the manager has */
	bool is_ready_told;
	bool is_stopping, is_stopping_told;
	uv_timer_t beat, watchdog;
	int to_close;
};

/* False if the manager has no room for it now. */
static bool tell(struct notify *notify, const char *message)
{
	return sendto(notify->fd, message, strlen(message), MSG_DONTWAIT | MSG_NOSIGNAL,
		       (const struct sockaddr *)&notify->address, notify->address_len) >= 0;
}

static bool is_control(unsigned char byte)
{
	return byte < ' ' || byte == 0x7f;
}

/* A reason may hold what a server said: line breaks would be further assignments, and a manager
 * refuses what is not UTF-8. */
static void clean(struct slice text, struct buf *out)
{
	while (text.len > 0) {
		size_t len = utf8_first(text);

		if (len == 0)
			buf_append_str(out, UTF8_REPLACEMENT);
		else if (is_control((unsigned char)*text.ptr))
			buf_append_char(out, ' ');
		else
			buf_append(out, text.ptr, len);
		text.ptr += len == 0 ? 1 : len;
		text.len -= len == 0 ? 1 : len;
	}
	out->len = utf8_cut(buf_slice(out), STATUS_MAX_BYTES).len;
}

static void tell_status(struct notify *notify)
{
	struct buf said = {0}, status = {0}, message = {0};

	notify->status(notify->arg, &said);
	clean(buf_slice(&said), &status);
	buf_appendf(&message, "STATUS=%s", buf_cstr(&status));
	if (!slice_eq(buf_slice(&status), buf_slice(&notify->told)) &&
		tell(notify, buf_cstr(&message))) {
		buf_free(&notify->told);
		notify->told = buf_take(&status);
	}
	buf_free(&message);
	buf_free(&status);
	buf_free(&said);
}

/* What the manager has not taken yet is tried again at the next beat. */
static void on_beat(uv_timer_t *timer)
{
	struct notify *notify = timer->data;

	if (notify->is_stopping && !notify->is_stopping_told)
		notify->is_stopping_told = tell(notify, "STOPPING=1");
	else if (!notify->is_stopping && !notify->is_ready_told)
		notify->is_ready_told = tell(notify, "READY=1");
	tell_status(notify);
}

static void on_watchdog(uv_timer_t *timer)
{
	(void)tell(timer->data, "WATCHDOG=1");
}

static int set_address(struct notify *notify, const char *path, struct err *err)
{
	size_t len = strlen(path);

	if (path[0] != '/' && path[0] != '@')
		return err_setf(
			err, "NOTIFY_SOCKET is neither a path nor an abstract address: %s", path);
	if (len < 2 || len >= sizeof(notify->address.sun_path))
		return err_setf(err, "NOTIFY_SOCKET is no address of a socket: %s", path);
	notify->address.sun_family = AF_UNIX;
	memcpy(notify->address.sun_path, path, len);
	if (path[0] == '@')
		notify->address.sun_path[0] = '\0';
	/* An abstract name ends with its length, a path with its NUL. */
	notify->address_len =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '/'));
	return 0;
}

/* A number of digits only, else 0. */
static uint64_t number_of(const char *text)
{
	char *end;
	unsigned long long value;

	if (text == NULL || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	value = strtoull(text, &end, 10);
	return *end != '\0' || errno != 0 ? 0 : value;
}

/* Half of $WATCHDOG_USEC, unless that is meant for another process ($WATCHDOG_PID); 0: none. */
static uint64_t watchdog_ms(void)
{
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t usec = number_of(getenv("WATCHDOG_USEC"));

	if (usec == 0 || (pid != NULL && number_of(pid) != (uint64_t)getpid()))
		return 0;
	return usec < 2000 ? 1 : usec / 2000;
}

static void start_timers(struct notify *notify, uv_loop_t *loop)
{
	uint64_t half_ms = watchdog_ms();

	uv_timer_init(loop, &notify->beat);
	uv_timer_init(loop, &notify->watchdog);
	notify->beat.data = notify;
	notify->watchdog.data = notify;
	uv_timer_start(&notify->beat, on_beat, 0, BEAT_MS);
	if (half_ms > 0)
		uv_timer_start(&notify->watchdog, on_watchdog, half_ms, half_ms);
}

int notify_open(struct notify **notify, uv_loop_t *loop, notify_status_cb status, void *arg,
	struct err *err)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct notify *made;

	*notify = NULL;
	if (path == NULL || path[0] == '\0')
		return 0;
	made = xcalloc(1, sizeof(*made));
	made->status = status;
	made->arg = arg;
	if (set_address(made, path, err) < 0)
		goto fail;
	made->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (made->fd < 0) {
		err_setf(err, "cannot open a socket for NOTIFY_SOCKET: %s", strerror(errno));
		goto fail;
	}
	start_timers(made, loop);
	*notify = made;
	return 0;
fail:
	free(made);
	return -1;
}

void notify_stopping(struct notify *notify)
{
	if (notify == NULL)
		return;
	notify->is_stopping = true;
	on_beat(&notify->beat);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct notify *notify = handle->data;

	if (--notify->to_close > 0)
		return;
	buf_free(&notify->told);
	free(notify);
}

void notify_close(struct notify *notify)
{
	if (notify == NULL)
		return;
	close(notify->fd);
	notify->to_close = 2;
	uv_close((uv_handle_t *)&notify->beat, on_timer_closed);
	uv_close((uv_handle_t *)&notify->watchdog, on_timer_closed);
}
