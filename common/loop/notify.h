/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_NOTIFY_H
#define PS_COMMON_LOOP_NOTIFY_H
/*
 * What a service manager is told: sd_notify's datagrams to $NOTIFY_SOCKET, a path or an abstract
 * address ("@…"), and the watchdog of $WATCHDOG_USEC. It never blocks: what the manager does not
 * take at once is said again. Without NOTIFY_SOCKET it does nothing at all. Loop thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

#include <uv.h>

struct notify;

/* Appends one line for people: how the daemon is. */
typedef void (*notify_status_cb)(void *arg, struct buf *status);

/*
 * From the loop's next turn on: READY=1, STATUS= whenever what `status` says has changed, and
 * WATCHDOG=1 at half of the time that the manager gives. `*notify` is NULL, and that no error,
 * without NOTIFY_SOCKET; -1 and `err` if that is an address that cannot be used.
 */
int notify_open(struct notify **notify, uv_loop_t *loop, notify_status_cb status, void *arg,
	struct err *err) MUST_CHECK;

/* STOPPING=1, and no READY=1 any more; status and watchdog go on. NULL is fine here and below. */
void notify_stopping(struct notify *notify);

/* Says nothing more; the memory is freed in a later turn of the loop. */
void notify_close(struct notify *notify);

#endif
