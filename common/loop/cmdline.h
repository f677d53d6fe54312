/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_CMDLINE_H
#define PS_COMMON_LOOP_CMDLINE_H
/*
 * The command line both daemons share, from one table: parsing, --help, and the pid file it may ask
 * for. Before the loop runs, or on its thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"
#include "common/core/log.h"

enum cmdline_action {
	CMDLINE_RUN,
	CMDLINE_CHECK_CONFIG,
	CMDLINE_PRINT_CONFIG,
	CMDLINE_HELP,
	CMDLINE_HELP_CONFIG,
	CMDLINE_VERSION,
};

/* Strings are argv's. */
struct cmdline {
	enum cmdline_action action;
	const char *config;
	const char *pid_file;        /* NULL: none */
	const char *web_config_file; /* NULL: as the configuration says */
	enum log_format log_format;
	bool debug;
	bool has_lifecycle; /* the monitor port may reload */
	bool has_pid_file;  /* written, and locked through pid_fd as long as it is ours */
	int pid_fd;
};

/* -1 and `err` for anything the table does not know, or when --config is missing. */
int cmdline_parse(struct cmdline *cmdline, int argc, char **argv, struct err *err) MUST_CHECK;

void cmdline_write_help(struct buf *out, const char *program, const char *summary);

/* The options as a list in the markup of man(7), for the manual pages. */
void cmdline_write_manual(struct buf *out);

/* Nothing without --pid. -1 and `err` also while a running process of ours has the file. */
int cmdline_write_pid_file(struct cmdline *cmdline, struct err *err) MUST_CHECK;

/* Only a file that we have written: never another process's. */
void cmdline_remove_pid_file(struct cmdline *cmdline);

#endif
