/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_DAEMON_H
#define PS_COMMON_LOOP_DAEMON_H
/*
 * What the two mains have in common: the command line, the log, the pid file, signals, the phases
 * of a shutdown and the monitor port's standing routes. The daemon's own work hangs on `struct
 * daemon_program`. Loop thread.
 *
 *	RUNNING --SIGTERM, SIGINT--> DRAINING --drained, deadline--> CLOSING --closed--> exit 0
 *	a second SIGTERM or SIGINT, in any phase: exit 1 at once
 */
#include "common/config/settings.h"
#include "common/core/metrics.h"

#include <uv.h>

struct daemon;
struct webtls_own;

struct daemon_program {
	const char *name;    /* "prometheus-streams-poller" */
	const char *summary; /* one line for --help */
	const struct metric_def *metrics;
	size_t metric_count;
	/* Gauges among them: whether the last reload succeeded, and when one last did. */
	size_t metric_reload_successful, metric_reload_time;

	/* Judges the settings for this daemon (SETTINGS_FOR_…) and appends --check-config's
	 * findings. */
	enum settings_role role;

	/*
	 * Opens everything. -1 and `err` is exit 1; if `*state` was set by then, close() is called
	 * for what is open already. `*state` is passed to the rest.
	 */
	int (*start)(struct daemon *daemon, const struct settings *settings, void **state,
		struct err *err);

	/*
	 * Other settings take the place of those in use, to which they are equal in all keys that
	 * need a restart; those of start() live as long as the daemon. Appends lines for people to
	 * `answer`. -1 and `err`, and nothing has changed. Whoever keeps settings for longer than
	 * until the next reload takes a reference.
	 */
	int (*reload)(void *state, struct settings *settings, struct buf *answer, struct err *err);

	/* Stop taking new work; call daemon_drained() once nothing is in flight any more. */
	void (*drain)(void *state);

	/* Close every handle; call daemon_closed() once, when the last one is closed; frees the
	 * state. */
	void (*close)(void *state);

	/* True when ready, else false with the reason in `why`. */
	bool (*is_ready)(void *state, struct buf *why);

	/* Just before /metrics is written: set gauges that are cheaper to read than to keep. May be
	 * NULL. */
	void (*collect)(void *state);
};

/* main() of either daemon: returns the exit status (0 clean stop, 1 failure, 2 command line or
 * configuration). */
int daemon_main(const struct daemon_program *program, int argc, char **argv);

/* For the program's callbacks. */
uv_loop_t *daemon_loop(struct daemon *daemon);
struct metrics *daemon_metrics(struct daemon *daemon);
int daemon_monitor_port(const struct daemon *daemon); /* the port bound; 0 without a monitor port */
/* The Authorization header for requests of this process to its monitor port; NULL: none needed. */
const char *daemon_monitor_header(const struct daemon *daemon);
/* The certificate that such requests show; NULL: none needed. */
const struct webtls_own *daemon_monitor_own(const struct daemon *daemon);
bool daemon_monitor_is_tls(const struct daemon *daemon);
void daemon_drained(struct daemon *daemon);
void daemon_closed(struct daemon *daemon);

#endif
