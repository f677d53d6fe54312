/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_NATS_SERVER_H
#define PS_TESTS_UNIT_NATS_SERVER_H
/*
 * A real nats-server with JetStream for one test program: found in PATH or /usr/sbin, on a free
 * port of 127.0.0.1, with everything it keeps in a temporary folder. Include once per program.
 */
#include "common/core/clock.h"
#include "common/core/mem.h"

#include <ftw.h>
#include <glob.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NATS_SERVER_START_MS 20000

struct nats_server {
	char path[512]; /* "" where there is none */
	char dir[64];
	pid_t pid;
	int port;
};

static bool nats_server_find(struct nats_server *server)
{
	const char *dirs = getenv("PATH");
	char *list = xasprintf("%s:/usr/sbin:/sbin:/usr/local/bin", dirs == NULL ? "" : dirs);
	bool found = false;

	for (char *save = NULL, *dir = strtok_r(list, ":", &save); dir != NULL && !found;
		dir = strtok_r(NULL, ":", &save)) {
		snprintf(server->path, sizeof(server->path), "%s/nats-server", dir);
		found = access(server->path, X_OK) == 0;
	}
	free(list);
	if (!found)
		server->path[0] = '\0';
	return found;
}

/* The port in the file that the server writes once it listens; 0 before. */
static int nats_server_read_port(const struct nats_server *server)
{
	char pattern[128];
	glob_t found;
	json_t *root = NULL;
	const char *url;
	int port = 0;

	snprintf(pattern, sizeof(pattern), "%s/*_%d.ports", server->dir, (int)server->pid);
	if (glob(pattern, 0, NULL, &found) == 0)
		root = json_load_file(found.gl_pathv[0], 0, NULL);
	globfree(&found);
	url = json_string_value(json_array_get(json_object_get(root, "nats"), 0));
	if (url != NULL)
		port = atoi(strrchr(url, ':') + 1);
	json_decref(root);
	return port;
}

/* On the port it had before; on a free one the first time. False if it does not come up. */
static bool nats_server_start(struct nats_server *server)
{
	char config[128], log[128], port[16];
	uint64_t until = clock_mono_ms() + NATS_SERVER_START_MS;
	int listening = 0;

	snprintf(config, sizeof(config), "%s/server.conf", server->dir);
	snprintf(log, sizeof(log), "%s/log", server->dir);
	snprintf(port, sizeof(port), "%d", server->port > 0 ? server->port : -1);
	server->pid = fork();
	if (server->pid == 0) {
		execl(server->path, server->path, "-c", config, "-a", "127.0.0.1", "-p", port, "-l",
			log, "--ports_file_dir", server->dir, (char *)NULL);
		_exit(127);
	}
	while ((listening = nats_server_read_port(server)) == 0 && clock_mono_ms() < until)
		usleep(20000);
	server->port = listening;
	return listening > 0;
}

static void nats_server_stop(struct nats_server *server)
{
	if (server->pid > 0) {
		kill(server->pid, SIGCONT); /* a test may have failed with it frozen */
		kill(server->pid, SIGTERM);
		waitpid(server->pid, NULL, 0);
	}
	server->pid = 0;
}

/* `config_fmt` has one %s: the folder for JetStream's data. */
static bool nats_server_configure(const struct nats_server *server, const char *config_fmt)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/server.conf", server->dir);
	file = fopen(path, "w");
	if (file == NULL)
		return false;
	for (const char *at = config_fmt; *at != '\0'; at++) {
		if (at[0] == '%' && at[1] == 's') {
			fputs(server->dir, file);
			at++;
		} else {
			fputc(*at, file);
		}
	}
	return fclose(file) == 0;
}

static bool nats_server_setup(struct nats_server *server, const char *config_fmt)
{
	snprintf(server->dir, sizeof(server->dir), "/tmp/nats_server.XXXXXX");
	return mkdtemp(server->dir) != NULL && nats_server_configure(server, config_fmt) &&
	       nats_server_start(server);
}

static int nats_server_remove_entry(
	const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void nats_server_teardown(struct nats_server *server)
{
	nats_server_stop(server);
	if (server->dir[0] != '\0')
		nftw(server->dir, nats_server_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
