/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what is taken, what is refused and in which words, and the pid file. */
#include "common/loop/cmdline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static int parse(struct cmdline *cmdline, struct err *err, const char *first, const char *second,
	const char *third)
{
	char *argv[] = {(char *)"program", (char *)first, (char *)second, (char *)third, NULL};
	int argc = 1;

	while (argv[argc] != NULL)
		argc++;
	return cmdline_parse(cmdline, argc, argv, err);
}

static void test_what_is_refused(void **state)
{
	static const struct {
		const char *first, *second, *third, *says;
	} cases[] = {
		{NULL, NULL, NULL, "--config FILE is required"},
		{"--check-config", NULL, NULL, "--config FILE is required"},
		{"--config", NULL, NULL, "--config needs a value"},
		{"--nonsense", NULL, NULL, "unknown option --nonsense"},
		{"--config", "x", "y", "unexpected argument \"y\""},
		{"--config=c", "--web.config.file=", NULL,
			"--web.config.file needs the path of a file"},
		{"--log-format", "xml", NULL, "--log-format is text or json, not \"xml\""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct cmdline cmdline;
		struct err err;

		assert_int_equal(
			parse(&cmdline, &err, cases[i].first, cases[i].second, cases[i].third), -1);
		assert_string_equal(err.text, cases[i].says);
	}
}

static void test_what_is_taken(void **state)
{
	struct cmdline cmdline;
	struct err err;

	(void)state;
	assert_int_equal(parse(&cmdline, &err, "--config", "c.yaml", "--debug"), 0);
	assert_string_equal(cmdline.config, "c.yaml");
	assert_true(cmdline.debug);
	assert_int_equal(cmdline.action, CMDLINE_RUN);
	assert_int_equal(parse(&cmdline, &err, "--config=c.yaml", "--check-config", NULL), 0);
	assert_int_equal(cmdline.action, CMDLINE_CHECK_CONFIG);
	assert_int_equal(parse(&cmdline, &err, "--config=c.yaml", "--print-config", NULL), 0);
	assert_int_equal(cmdline.action, CMDLINE_PRINT_CONFIG);
	assert_int_equal(parse(&cmdline, &err, "--help", NULL, NULL), 0);
	assert_int_equal(cmdline.action, CMDLINE_HELP);
	assert_int_equal(parse(&cmdline, &err, "--config=c", "--log-format=json", NULL), 0);
	assert_int_equal(cmdline.log_format, LOG_JSON);
	assert_null(cmdline.web_config_file);
	assert_int_equal(parse(&cmdline, &err, "--config=c", "--web.config.file", "w.yaml"), 0);
	assert_string_equal(cmdline.web_config_file, "w.yaml");
}

static void test_help_names_every_option(void **state)
{
	static const char *const options[] = {"--config FILE", "--check-config", "--print-config",
		"--log-format text|json", "--debug", "--pid FILE", "--web.config.file FILE",
		"--version", "--help", "--help-config"};
	struct buf help = {0};

	(void)state;
	cmdline_write_help(&help, "program", "summary");
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		assert_non_null(strstr(buf_cstr(&help), options[i]));
	buf_free(&help);
}

static void test_pid_file(void **state)
{
	char path[] = "/tmp/test-cmdline-XXXXXX";
	struct cmdline cmdline = {.pid_file = path};
	struct err err;
	long pid = 0;
	FILE *file;

	(void)state;
	close(mkstemp(path));
	assert_int_equal(cmdline_write_pid_file(&cmdline, &err), 0);
	file = fopen(path, "r");
	assert_int_equal(fscanf(file, "%ld", &pid), 1);
	fclose(file);
	assert_int_equal(pid, getpid());
	cmdline_remove_pid_file(&cmdline);
	assert_int_equal(access(path, F_OK), -1);
	cmdline.pid_file = "/nonexistent/folder/pid";
	assert_int_equal(cmdline_write_pid_file(&cmdline, &err), -1);
	assert_non_null(strstr(err.text, "/nonexistent/folder/pid"));
}

/* A start that fails must leave the file of the one that runs alone. */
static void test_another_process_s_pid_file(void **state)
{
	char path[] = "/tmp/test-cmdline-XXXXXX";
	struct cmdline first = {.pid_file = path}, second = {.pid_file = path};
	struct err err;

	(void)state;
	close(mkstemp(path));
	assert_int_equal(cmdline_write_pid_file(&first, &err), 0);
	assert_int_equal(cmdline_write_pid_file(&second, &err), -1);
	assert_non_null(strstr(err.text, "running"));
	cmdline_remove_pid_file(&second);
	assert_int_equal(access(path, F_OK), 0);
	cmdline_remove_pid_file(&first);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(cmdline_write_pid_file(&second, &err), 0);
	cmdline_remove_pid_file(&second);
	assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_what_is_taken),
		cmocka_unit_test(test_help_names_every_option),
		cmocka_unit_test(test_pid_file),
		cmocka_unit_test(test_another_process_s_pid_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
