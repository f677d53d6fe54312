/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a daemon: command line, configuration, log, monitor port, signals, and the way down.
 * Everything is closed in the end, so that uv_loop_close() succeeding proves that nothing leaked.
 */
#include "common/loop/daemon.h"

#include "common/core/clock.h"
#include "common/core/log.h"
#include "common/loop/cmdline.h"
#include "common/loop/httpd.h"
#include "common/loop/notify.h"
#include "common/loop/reload.h"
#include "common/loop/webauth.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum phase { PHASE_RUNNING, PHASE_DRAINING, PHASE_CLOSING };

enum { EXIT_CLEAN = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct daemon {
	const struct daemon_program *program;
	struct cmdline cmdline;
	struct settings *settings; /* in use */
	struct settings *first;    /* of the start: what needs a restart may be kept from it */
	struct metrics *metrics;
	struct httpd *httpd;
	struct notify *notify;   /* NULL without a service manager that wants to know */
	struct webauth *webauth; /* NULL: the monitor port is open to anybody */
	struct reload *reload;
	uv_loop_t loop;
	uv_signal_t term, interrupt, hangup;
	uv_timer_t deadline;
	enum phase phase;
	int exit_status;
	void *state;
};

uv_loop_t *daemon_loop(struct daemon *daemon)
{
	return &daemon->loop;
}

struct metrics *daemon_metrics(struct daemon *daemon)
{
	return daemon->metrics;
}

const char *daemon_monitor_header(const struct daemon *daemon)
{
	return daemon->webauth == NULL ? NULL : webauth_own_header(daemon->webauth);
}

bool daemon_monitor_is_tls(const struct daemon *daemon)
{
	return daemon->webauth != NULL && webauth_cert(daemon->webauth) != NULL;
}

const struct webtls_own *daemon_monitor_own(const struct daemon *daemon)
{
	return daemon->webauth == NULL ? NULL : webauth_own(daemon->webauth);
}

int daemon_monitor_port(const struct daemon *daemon)
{
	return daemon->httpd == NULL ? 0 : httpd_port(daemon->httpd);
}

/* The monitor port's routes. */

static void handle_metrics(void *arg, struct httpd_response *response)
{
	struct daemon *daemon = arg;

	response->content_type = "text/plain; version=0.0.4; charset=utf-8";
	if (daemon->program->collect != NULL && daemon->phase != PHASE_CLOSING)
		daemon->program->collect(daemon->state);
	metrics_write(daemon->metrics, &response->body);
	metrics_write_process(&response->body);
}

static void handle_healthy(void *arg, struct httpd_response *response)
{
	struct daemon *daemon = arg;

	buf_appendf(&response->body, "%s is healthy\n", daemon->program->name);
}

static bool is_ready(struct daemon *daemon, struct buf *why)
{
	if (daemon->phase != PHASE_RUNNING) {
		buf_append_str(why, "stopping");
		return false;
	}
	return daemon->program->is_ready(daemon->state, why);
}

static void handle_ready(void *arg, struct httpd_response *response)
{
	struct daemon *daemon = arg;
	struct buf why = {0};

	if (is_ready(daemon, &why)) {
		buf_appendf(&response->body, "%s is ready\n", daemon->program->name);
	} else {
		response->status = 503;
		buf_appendf(&response->body, "not ready: %s\n", buf_cstr(&why));
	}
	buf_free(&why);
}

static void append_html(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '&' || *text == '<' || *text == '>')
			buf_appendf(out, "&#%d;", *text);
		else
			buf_append_char(out, *text);
	}
}

static void handle_index(void *arg, struct httpd_response *response)
{
	struct daemon *daemon = arg;
	struct buf why = {0};
	bool ready = is_ready(daemon, &why);

	response->content_type = "text/html; charset=utf-8";
	buf_appendf(&response->body,
		"<!DOCTYPE html>\n<html lang=\"en\"><head><title>%s</title></head><body>\n"
		"<h1>%s %s</h1>\n<p>%s</p>\n<p>",
		daemon->program->name, daemon->program->name, VERSION, daemon->program->summary);
	append_html(&response->body, ready ? "ready" : "not ready: ");
	append_html(&response->body, buf_cstr(&why));
	buf_append_str(&response->body,
		"</p>\n<ul><li><a href=\"/metrics\">/metrics</a></li>"
		"<li><a href=\"/-/healthy\">/-/healthy</a></li>"
		"<li><a href=\"/-/ready\">/-/ready</a></li></ul>\n</body></html>\n");
	buf_free(&why);
}

/* Words as Prometheus'. */
static void handle_reload(void *arg, struct httpd_response *response)
{
	struct daemon *daemon = arg;

	if (!daemon->cmdline.has_lifecycle) {
		response->status = 403;
		buf_append_str(&response->body, "Lifecycle API is not enabled.");
	} else if (daemon->phase != PHASE_RUNNING || daemon->reload == NULL) {
		response->status = 503;
		buf_append_str(&response->body, "stopping\n");
	} else {
		reload_ask(daemon->reload, httpd_defer(response));
	}
}

static void handle_reload_by_get(void *arg, struct httpd_response *response)
{
	(void)arg;
	response->status = 405;
	buf_append_str(&response->body, "Only POST or PUT requests allowed");
}

static const struct httpd_route routes[] = {
	{"GET", "/", handle_index},
	{"GET", "/metrics", handle_metrics},
	{"GET", "/-/healthy", handle_healthy},
	{"GET", "/-/ready", handle_ready},
	{"POST", "/-/reload", handle_reload},
	{"PUT", "/-/reload", handle_reload},
	{"GET", "/-/reload", handle_reload_by_get},
	{NULL, NULL, NULL},
};

/* The way down. */

static void close_handle(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* The last to close: without them the loop ends. */
static void close_own_handles(struct daemon *daemon)
{
	close_handle((uv_handle_t *)&daemon->term);
	close_handle((uv_handle_t *)&daemon->interrupt);
	close_handle((uv_handle_t *)&daemon->hangup);
	close_handle((uv_handle_t *)&daemon->deadline);
}

void daemon_closed(struct daemon *daemon)
{
	assert(daemon->phase == PHASE_CLOSING);
	daemon->state = NULL;
	close_own_handles(daemon);
}

static void start_closing(struct daemon *daemon)
{
	daemon->phase = PHASE_CLOSING;
	uv_timer_stop(&daemon->deadline);
	notify_close(daemon->notify);
	daemon->notify = NULL;
	if (daemon->reload != NULL)
		reload_close(daemon->reload);
	daemon->reload = NULL;
	if (daemon->httpd != NULL)
		httpd_close(daemon->httpd, NULL, NULL);
	daemon->httpd = NULL;
	if (daemon->webauth != NULL)
		webauth_close(daemon->webauth, NULL, NULL);
	daemon->webauth = NULL;
	if (daemon->state != NULL)
		daemon->program->close(daemon->state);
	else
		daemon_closed(daemon);
}

void daemon_drained(struct daemon *daemon)
{
	if (daemon->phase == PHASE_DRAINING)
		start_closing(daemon);
}

static void on_deadline(uv_timer_t *timer)
{
	struct daemon *daemon = timer->data;

	log_warn("shutdown_timeout passed before everything was delivered; stopping all the same",
		LOG_I("shutdown_timeout_ms", daemon->settings->shutdown_timeout_ms));
	daemon_drained(daemon);
}

static void start_draining(struct daemon *daemon, const char *signal_name)
{
	log_info("stopping: finishing what is in flight; a second signal stops at once",
		LOG_S("signal", signal_name));
	daemon->phase = PHASE_DRAINING;
	notify_stopping(daemon->notify);
	uv_timer_start(
		&daemon->deadline, on_deadline, (uint64_t)daemon->settings->shutdown_timeout_ms, 0);
	daemon->program->drain(daemon->state);
}

static void on_stop_signal(uv_signal_t *handle, int number)
{
	struct daemon *daemon = handle->data;
	const char *name = number == SIGTERM ? "SIGTERM" : "SIGINT";

	if (daemon->phase == PHASE_RUNNING) {
		start_draining(daemon, name);
		return;
	}
	log_warn("second signal: stopping at once", LOG_S("signal", name));
	cmdline_remove_pid_file(&daemon->cmdline);
	_exit(EXIT_FAILED);
}

/* Reload. */

static enum log_level lowest_level(const struct daemon *daemon)
{
	if (daemon->settings->debug || daemon->cmdline.debug)
		return LOG_DEBUG;
	return daemon->settings->verbose ? LOG_INFO : LOG_WARN;
}

static const struct settings *settings_in_use(void *arg)
{
	const struct daemon *daemon = arg;

	return daemon->settings;
}

static int apply_settings(void *arg, struct settings *fresh, struct buf *answer, struct err *err)
{
	struct daemon *daemon = arg;

	if (daemon->phase != PHASE_RUNNING)
		return err_setf(err, "stopping");
	if (daemon->program->reload(daemon->state, fresh, answer, err) < 0)
		return -1;
	settings_free(daemon->settings);
	daemon->settings = fresh;
	log_set_lowest(lowest_level(daemon));
	return 0;
}

static void note_reload(void *arg, bool is_success)
{
	struct daemon *daemon = arg;
	const struct daemon_program *program = daemon->program;

	series_set(metrics_plain(daemon->metrics, program->metric_reload_successful), is_success);
	if (is_success)
		series_set(metrics_plain(daemon->metrics, program->metric_reload_time),
			(double)clock_wall_ms() / 1e3);
}

static void open_reload(struct daemon *daemon)
{
	const struct reload_options options = {
		.loop = &daemon->loop,
		.path = daemon->cmdline.config,
		.role = daemon->program->role,
		.current = settings_in_use,
		.apply = apply_settings,
		.on_end = note_reload,
		.arg = daemon,
	};

	daemon->reload = reload_open(&options);
	note_reload(daemon, true);
}

static void on_hangup(uv_signal_t *handle, int number)
{
	struct daemon *daemon = handle->data;
	struct err err;

	(void)number;
	if (log_reopen(&err) < 0)
		log_error("cannot reopen the log file; the old one stays in use",
			LOG_S("error", err.text));
	else
		log_info("log file reopened", LOG_S("signal", "SIGHUP"));
	if (daemon->phase == PHASE_RUNNING && daemon->reload != NULL)
		reload_ask(daemon->reload, NULL);
}

/* Start. */

static void watch_signal(
	struct daemon *daemon, uv_signal_t *handle, uv_signal_cb callback, int number)
{
	uv_signal_init(&daemon->loop, handle);
	handle->data = daemon;
	uv_signal_start(handle, callback, number);
}

static void open_own_handles(struct daemon *daemon)
{
	uv_loop_init(&daemon->loop);
	watch_signal(daemon, &daemon->term, on_stop_signal, SIGTERM);
	watch_signal(daemon, &daemon->interrupt, on_stop_signal, SIGINT);
	watch_signal(daemon, &daemon->hangup, on_hangup, SIGHUP);
	uv_timer_init(&daemon->loop, &daemon->deadline);
	daemon->deadline.data = daemon;
}

/* One descriptor per target and more: take what the system grants without asking. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int open_log(struct daemon *daemon, struct err *err)
{
	return log_open(daemon->program->name, daemon->cmdline.log_format, lowest_level(daemon),
		daemon->settings->logfile, err);
}

static int open_monitor(struct daemon *daemon, struct err *err)
{
	const struct settings *settings = daemon->settings;
	const char *given = daemon->cmdline.web_config_file;
	const char *path = given != NULL ? given : settings->web_config_file;

	if (settings->monitor_port == 0) {
		if (path != NULL)
			log_warn("without monitor_port there is nothing that the web config file "
				 "could secure",
				LOG_S("path", path));
		return 0;
	}
	if (path != NULL) {
		daemon->webauth = webauth_load(&daemon->loop, path, err);
		if (daemon->webauth == NULL)
			return err_wrapf(
				err, given != NULL ? "--web.config.file" : "web_config_file");
	}
	daemon->httpd = httpd_open_secured(&daemon->loop, settings->monitor_address,
		settings->monitor_port, routes, daemon, daemon->webauth, err);
	if (daemon->httpd == NULL)
		return err_wrapf(err, "monitor_port");
	return 0;
}

static void on_status(void *arg, struct buf *status)
{
	struct buf why = {0};

	if (is_ready(arg, &why))
		buf_append_str(status, "ready");
	else
		buf_appendf(status, "not ready: %s", buf_cstr(&why));
	buf_free(&why);
}

/* A manager that cannot be told waits for it in vain and ends us: better that than to guess. */
static void open_notify(struct daemon *daemon)
{
	struct err err;

	if (notify_open(&daemon->notify, &daemon->loop, on_status, daemon, &err) < 0)
		log_warn("the service manager is told nothing", LOG_S("error", err.text));
}

/* The pid file last: it says that there is somebody to signal. */
static int start(struct daemon *daemon, struct err *err)
{
	if (open_monitor(daemon, err) < 0)
		return -1;
	if (daemon->program->start(daemon, daemon->settings, &daemon->state, err) < 0)
		return -1;
	open_reload(daemon);
	if (cmdline_write_pid_file(&daemon->cmdline, err) < 0)
		return -1;
	open_notify(daemon);
	return 0;
}

static void run(struct daemon *daemon)
{
	struct err err;

	log_info("starting", LOG_S("version", VERSION), LOG_S("config", daemon->settings->path),
		LOG_S("identity", daemon->settings->identity));
	if (start(daemon, &err) < 0) {
		log_error("cannot start", LOG_S("error", err.text));
		daemon->exit_status = EXIT_FAILED;
		start_closing(daemon);
	}
	uv_run(&daemon->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&daemon->loop) != 0) {
		log_error("handles were left open at the end");
		daemon->exit_status = EXIT_FAILED;
	}
	log_info("stopped", LOG_I("status", daemon->exit_status));
	cmdline_remove_pid_file(&daemon->cmdline);
}

static int run_daemon(struct daemon *daemon)
{
	struct err err;

	signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	if (open_log(daemon, &err) < 0) {
		fprintf(stderr, "%s: %s\n", daemon->program->name, err.text);
		return EXIT_FAILED;
	}
	daemon->metrics = metrics_new(daemon->program->metrics, daemon->program->metric_count);
	open_own_handles(daemon);
	run(daemon);
	metrics_free(daemon->metrics);
	log_close();
	return daemon->exit_status;
}

static void print_buf(FILE *to, struct buf *text)
{
	fputs(buf_cstr(text), to);
	buf_free(text);
}

static int show(const struct daemon *daemon)
{
	struct buf text = {0};

	if (daemon->cmdline.action == CMDLINE_CHECK_CONFIG)
		settings_describe(daemon->settings, daemon->program->role, &text);
	else
		settings_print(daemon->settings, &text);
	print_buf(stdout, &text);
	return EXIT_CLEAN;
}

static int load_and_act(struct daemon *daemon)
{
	struct buf report = {0};
	int status;

	/* Until the log can be reopened, a SIGHUP of whoever rotates it must not end us. */
	signal(SIGHUP, SIG_IGN);
	daemon->settings = settings_load(daemon->cmdline.config, daemon->program->role, &report);
	print_buf(stderr, &report);
	if (daemon->settings == NULL)
		return EXIT_USAGE;
	daemon->first = settings_ref(daemon->settings);
	status = daemon->cmdline.action == CMDLINE_RUN ? run_daemon(daemon) : show(daemon);
	settings_free(daemon->settings);
	settings_free(daemon->first);
	return status;
}

int daemon_main(const struct daemon_program *program, int argc, char **argv)
{
	struct daemon daemon = {.program = program};
	struct buf text = {0};
	struct err err;

	if (cmdline_parse(&daemon.cmdline, argc, argv, &err) < 0) {
		fprintf(stderr, "%s: %s\nTry '%s --help'.\n", program->name, err.text,
			program->name);
		return EXIT_USAGE;
	}
	switch (daemon.cmdline.action) {
	case CMDLINE_HELP:
		cmdline_write_help(&text, program->name, program->summary);
		break;
	case CMDLINE_HELP_CONFIG:
		settings_write_keys(&text);
		break;
	case CMDLINE_VERSION:
		buf_appendf(&text, "%s %s\n", program->name, VERSION);
		break;
	case CMDLINE_RUN:
	case CMDLINE_CHECK_CONFIG:
	case CMDLINE_PRINT_CONFIG:
		return load_and_act(&daemon);
	}
	print_buf(stdout, &text);
	return EXIT_CLEAN;
}
