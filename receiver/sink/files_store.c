/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every step is relative to the descriptor of the folder before, which was opened as a folder and
 * not as a link: names that somebody changes meanwhile lead nowhere else.
 */
#include "receiver/sink/files_store.h"

#include "common/core/table.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER_MODE 0755
#define FILE_MODE   0644
#define OPEN_FOLDER (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#define TEMPORARY   ".tmp-"

static char *escaped(struct slice name)
{
	struct buf token = {0};

	if (wire_escape(name, &token) != 0) {
		buf_free(&token);
		return NULL;
	}
	(void)buf_cstr(&token);
	return buf_take(&token).ptr;
}

int files_folder_init(struct files_folder *folder, struct slice publisher, struct slice job,
	struct slice instance, uint64_t labels_hash)
{
	const struct slice names[] = {publisher, job, instance};

	*folder = (struct files_folder){0};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		folder->names[folder->depth] = escaped(names[i]);
		if (folder->names[folder->depth] == NULL) {
			files_folder_fini(folder);
			return -1;
		}
		folder->depth++;
	}
	if (labels_hash != 0)
		folder->names[folder->depth++] = xasprintf("%016" PRIx64, labels_hash);
	return 0;
}

void files_folder_fini(struct files_folder *folder)
{
	for (size_t i = 0; i < folder->depth; i++)
		free(folder->names[i]);
	folder->depth = 0;
}

void files_name(char name[64], int64_t time_ms, bool is_compressed)
{
	time_t seconds = (time_t)(time_ms / 1000);
	struct tm tm;
	size_t len;

	gmtime_r(&seconds, &tm);
	len = strftime(name, 64, "%Y%m%dT%H%M%S", &tm);
	snprintf(name + len, 64 - len, ".%03dZ.prom%s", (int)(time_ms % 1000),
		is_compressed ? ".zst" : "");
}

bool files_name_is_scrape(const char *name)
{
	static const char pattern[] = "00000000T000000.000Z.prom";
	size_t len = strlen(name);

	if (len < sizeof(pattern) - 1)
		return false;
	for (size_t i = 0; i < sizeof(pattern) - 1; i++)
		if (pattern[i] == '0' ? !isdigit((unsigned char)name[i]) : name[i] != pattern[i])
			return false;
	return len == sizeof(pattern) - 1 || strcmp(name + sizeof(pattern) - 1, ".zst") == 0;
}

bool files_name_is_temporary(const char *name)
{
	size_t len = strlen(TEMPORARY);

	return strncmp(name, TEMPORARY, len) == 0 &&
	       (files_name_is_scrape(name + len) || strcmp(name + len, FILES_LATEST) == 0);
}

bool files_name_is_folder(const char *name)
{
	return name[0] != '\0' &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			    "0123456789_=-") == strlen(name);
}

/* Failures. */

static const struct {
	const char *name;
	bool passes;
} failures[FILES_FAILURE_COUNT] = {
	[FILES_OK] = {"", false},
	[FILES_FULL] = {"full", true},
	[FILES_PERMISSION] = {"permission", true},
	[FILES_RESOURCES] = {"resources", true},
	[FILES_IO] = {"io", true},
	[FILES_OBSTRUCTED] = {"obstructed", false},
	[FILES_TOO_LARGE] = {"too_large", false},
	[FILES_OTHER] = {"other", true},
};

const char *files_failure_name(enum files_failure failure)
{
	return failures[failure].name;
}

bool files_failure_passes(enum files_failure failure)
{
	return failures[failure].passes;
}

static enum files_failure classify(int error_number)
{
	static const struct {
		int error_number;
		enum files_failure failure;
	} known[] = {
		{ENOSPC, FILES_FULL},
		{EDQUOT, FILES_FULL},
		{EACCES, FILES_PERMISSION},
		{EPERM, FILES_PERMISSION},
		{EROFS, FILES_PERMISSION},
		{EMFILE, FILES_RESOURCES},
		{ENFILE, FILES_RESOURCES},
		{ENOMEM, FILES_RESOURCES},
		{EIO, FILES_IO},
		{ENOTDIR, FILES_OBSTRUCTED},
		{ELOOP, FILES_OBSTRUCTED},
		{EISDIR, FILES_OBSTRUCTED},
		{EEXIST, FILES_OBSTRUCTED},
		{ENOTEMPTY, FILES_OBSTRUCTED},
		{ENAMETOOLONG, FILES_TOO_LARGE},
		{EFBIG, FILES_TOO_LARGE},
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (known[i].error_number == error_number)
			return known[i].failure;
	return FILES_OTHER;
}

static int fail(struct files_error *error, const char *what)
{
	error->error_number = errno;
	error->failure = classify(errno);
	error->what = what;
	return -1;
}

/* Storing. */

/* What is wrong with the top folder is no one scrape's fault: none is given up for it. */
static int fail_top(struct files_error *error)
{
	fail(error, "open dir");
	if (!files_failure_passes(error->failure))
		error->failure = FILES_OTHER;
	return -1;
}

static int open_top(const char *top, struct files_error *error)
{
	int fd = open(top, OPEN_FOLDER);

	if (fd < 0 && errno == ENOENT && (mkdir(top, FOLDER_MODE) == 0 || errno == EEXIST))
		fd = open(top, OPEN_FOLDER);
	return fd >= 0 ? fd : fail_top(error);
}

static int open_below(int parent, const char *name, struct files_error *error)
{
	int fd = openat(parent, name, OPEN_FOLDER | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT &&
		(mkdirat(parent, name, FOLDER_MODE) == 0 || errno == EEXIST))
		fd = openat(parent, name, OPEN_FOLDER | O_NOFOLLOW);
	return fd >= 0 ? fd : fail(error, "make the target's folder");
}

static int open_folder(
	const char *top, const struct files_folder *folder, struct files_error *error)
{
	int fd = open_top(top, error);

	for (size_t i = 0; i < folder->depth && fd >= 0; i++) {
		int below = open_below(fd, folder->names[i], error);

		close(fd);
		fd = below;
	}
	return fd;
}

static int write_all(int fd, struct slice content)
{
	while (content.len > 0) {
		ssize_t written = write(fd, content.ptr, content.len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -1;
		content.ptr += written;
		content.len -= (size_t)written;
	}
	return 0;
}

/* Over what a process that died has left. */
static int create(int folder, const char *name)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(folder, name, flags, FILE_MODE);

	if (fd < 0 && errno == EEXIST && unlinkat(folder, name, 0) == 0)
		fd = openat(folder, name, flags, FILE_MODE);
	return fd;
}

/* Also a network file system tells by closing that it is full. */
static int write_file(int folder, const char *name, struct slice content, struct files_error *error)
{
	int fd = create(folder, name), result;

	if (fd < 0)
		return fail(error, "create a file");
	result = write_all(fd, content) == 0 ? 0 : fail(error, "write");
	if (close(fd) != 0 && result == 0)
		result = fail(error, "write");
	return result;
}

static int make_link(int folder, const char *to, const char *name)
{
	if (symlinkat(to, folder, name) == 0)
		return 0;
	return errno == EEXIST && unlinkat(folder, name, 0) == 0 ? symlinkat(to, folder, name) : -1;
}

/* The link is switched at once: it never leads nowhere. */
static int show_latest(int folder, const char *name, struct files_error *error)
{
	static const char temporary[] = TEMPORARY FILES_LATEST;

	if (make_link(folder, name, temporary) != 0)
		return fail(error, "link to the latest");
	if (renameat(folder, temporary, folder, FILES_LATEST) == 0)
		return 0;
	fail(error, "link to the latest");
	(void)unlinkat(folder, temporary, 0);
	return -1;
}

void files_store(const char *top, const struct files_folder *folder, const char *name,
	struct slice content, struct files_error *error)
{
	char temporary[80];
	int fd;

	*error = (struct files_error){.failure = FILES_OK};
	snprintf(temporary, sizeof(temporary), TEMPORARY "%s", name);
	fd = open_folder(top, folder, error);
	if (fd < 0)
		return;
	if (write_file(fd, temporary, content, error) != 0)
		(void)unlinkat(fd, temporary, 0);
	else if (renameat(fd, temporary, fd, name) == 0)
		(void)show_latest(fd, name, error);
	else {
		fail(error, "rename a file");
		(void)unlinkat(fd, temporary, 0);
	}
	close(fd);
}

void files_sync(const char *top, struct files_error *error)
{
	int fd;

	*error = (struct files_error){.failure = FILES_OK};
	fd = open(top, OPEN_FOLDER);
	if (fd < 0) {
		fail_top(error);
		return;
	}
	if (syncfs(fd) != 0)
		fail(error, "sync");
	close(fd);
}

uint64_t files_cost(uint64_t bytes)
{
	return (bytes + FILES_BLOCK_BYTES - 1) / FILES_BLOCK_BYTES * FILES_BLOCK_BYTES;
}
