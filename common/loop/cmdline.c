/* SPDX-License-Identifier: Apache-2.0 */
/* One row per option; getopt_long's own table, --help and the manual are made from it. */
#include "common/loop/cmdline.h"

#include "common/core/roff.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

struct option_row {
	const char *name;
	const char *argument; /* NULL: takes none */
	int (*take)(struct cmdline *cmdline, const char *value, struct err *err);
	enum cmdline_action action; /* where take is NULL */
	const char *help;
};

static int take_config(struct cmdline *cmdline, const char *value, struct err *err)
{
	(void)err;
	cmdline->config = value;
	return 0;
}

static int take_web_config(struct cmdline *cmdline, const char *value, struct err *err)
{
	if (value[0] == '\0')
		return err_setf(err, "--web.config.file needs the path of a file");
	cmdline->web_config_file = value;
	return 0;
}

static int take_pid(struct cmdline *cmdline, const char *value, struct err *err)
{
	(void)err;
	cmdline->pid_file = value;
	return 0;
}

static int take_debug(struct cmdline *cmdline, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	cmdline->debug = true;
	return 0;
}

static int take_lifecycle(struct cmdline *cmdline, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	cmdline->has_lifecycle = true;
	return 0;
}

static int take_log_format(struct cmdline *cmdline, const char *value, struct err *err)
{
	if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
		return err_setf(err, "--log-format is text or json, not \"%s\"", value);
	cmdline->log_format = strcmp(value, "json") == 0 ? LOG_JSON : LOG_TEXT;
	return 0;
}

static const struct option_row rows[] = {
	{"config", "FILE", take_config, CMDLINE_RUN, "the configuration, YAML (required)"},
	{"check-config", NULL, NULL, CMDLINE_CHECK_CONFIG,
		"say what was understood and exit; connects nowhere"},
	{"print-config", NULL, NULL, CMDLINE_PRINT_CONFIG,
		"print the effective configuration, secrets masked, and exit"},
	{"log-format", "text|json", take_log_format, CMDLINE_RUN,
		"how log lines are written (text)"},
	{"debug", NULL, take_debug, CMDLINE_RUN,
		"log at level debug, whatever the configuration says"},
	{"web.enable-lifecycle", NULL, take_lifecycle, CMDLINE_RUN,
		"allow POST /-/reload on the monitor port"},
	{"pid", "FILE", take_pid, CMDLINE_RUN, "write the process id to FILE; removed at the end"},
	{"web.config.file", "FILE", take_web_config, CMDLINE_RUN,
		"TLS and users of the monitor port, instead of web_config_file"},
	{"version", NULL, NULL, CMDLINE_VERSION, "print the version and exit"},
	{"help", NULL, NULL, CMDLINE_HELP, "print this and exit"},
	{"help-config", NULL, NULL, CMDLINE_HELP_CONFIG, "print every configuration key and exit"},
};

static void make_getopt_table(struct option *table)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		table[i] = (struct option){rows[i].name,
			rows[i].argument != NULL ? required_argument : no_argument, NULL,
			(int)i + 1};
	table[ARRAY_LEN(rows)] = (struct option){NULL, 0, NULL, 0};
}

static int take_option(
	struct cmdline *cmdline, const struct option_row *row, const char *value, struct err *err)
{
	if (row->take != NULL)
		return row->take(cmdline, value, err);
	cmdline->action = row->action;
	return 0;
}

static bool needs_config(const struct cmdline *cmdline)
{
	return cmdline->action == CMDLINE_RUN || cmdline->action == CMDLINE_CHECK_CONFIG ||
	       cmdline->action == CMDLINE_PRINT_CONFIG;
}

int cmdline_parse(struct cmdline *cmdline, int argc, char **argv, struct err *err)
{
	struct option table[ARRAY_LEN(rows) + 1];
	int at;

	make_getopt_table(table);
	*cmdline = (struct cmdline){.action = CMDLINE_RUN};
	optind = 1;
	opterr = 0;
	while ((at = getopt_long(argc, argv, ":", table, NULL)) != -1) {
		if (at == ':')
			return err_setf(err, "%s needs a value", argv[optind - 1]);
		if (at == '?')
			return err_setf(err, "unknown option %s", argv[optind - 1]);
		if (take_option(cmdline, &rows[at - 1], optarg, err) < 0)
			return -1;
	}
	if (optind < argc)
		return err_setf(err, "unexpected argument \"%s\"", argv[optind]);
	if (needs_config(cmdline) && cmdline->config == NULL)
		return err_setf(err, "--config FILE is required");
	return 0;
}

void cmdline_write_help(struct buf *out, const char *program, const char *summary)
{
	buf_appendf(out, "Usage: %s --config FILE [OPTION]...\n%s\n\n", program, summary);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", rows[i].name, rows[i].argument ? " " : "",
			rows[i].argument ? rows[i].argument : "");
		buf_appendf(out, "  %-24s %s\n", left, rows[i].help);
	}
	buf_append_str(out,
		"\nSIGTERM and SIGINT drain and stop, a second one stops at once; SIGHUP reopens "
		"the log file\nand reloads the configuration.\n"
		"Exit status: 0 clean stop, 1 failure, 2 bad command line or configuration.\n");
}

void cmdline_write_manual(struct buf *out)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[64];

		snprintf(name, sizeof(name), "--%s", rows[i].name);
		buf_append_str(out, ".TP\n");
		roff_append_in(out, 'B', name);
		if (rows[i].argument != NULL) {
			buf_append_char(out, ' ');
			roff_append_in(out, 'I', rows[i].argument);
		}
		buf_append_char(out, '\n');
		roff_append(out, rows[i].help);
		buf_append_str(out, ".\n");
	}
}

static int write_pid(int fd)
{
	return ftruncate(fd, 0) < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0 ? -1 : 0;
}

/* The lock, unlike the number, is gone with its process, however that ended. */
int cmdline_write_pid_file(struct cmdline *cmdline, struct err *err)
{
	const char *path = cmdline->pid_file;
	int fd;

	if (path == NULL)
		return 0;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
	if (fd < 0)
		return err_setf(err, "cannot write the pid file %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		err_setf(err, "the pid file %s belongs to another process, which is running", path);
		close(fd);
		return -1;
	}
	if (write_pid(fd) < 0) {
		err_setf(err, "cannot write the pid file %s: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	cmdline->pid_fd = fd;
	cmdline->has_pid_file = true;
	return 0;
}

void cmdline_remove_pid_file(struct cmdline *cmdline)
{
	if (!cmdline->has_pid_file)
		return;
	(void)unlink(cmdline->pid_file);
	close(cmdline->pid_fd);
	cmdline->has_pid_file = false;
}
