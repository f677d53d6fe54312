/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack of open folders, the top one below the others. A folder goes when nothing stays in it;
 * that a file is put into it at that moment makes its storing fail, to be tried again.
 */
#include "receiver/sink/files_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP_ENTRIES 512
/* A file that was being written by a process that died. */
#define TEMPORARY_AGE_MS INT64_C(3600000)
#define TARGET_DEPTH     3 /* names below the top; a target with labels has one more */

struct level {
	DIR *dir;
	char name[256];
	char latest[256]; /* what the link says; "" where there is none */
	bool is_alive;
	size_t kept;
};

struct files_walk {
	char *top;
	int64_t now_ms;
	struct files_cut cut;
	struct files_ages *ages;
	struct level levels[1 + FILES_MAX_DEPTH];
	size_t depth; /* levels open */
	bool has_begun;
	char path[FILES_MAX_DEPTH * 256];
	struct files_tally tally;
	uint64_t gained_bytes; /* of cut.excess_bytes */
};

bool files_cut_for_size(struct files_cut *cut, const struct files_ages *ages, uint64_t excess_bytes)
{
	uint64_t gained = 0;
	size_t i = FILES_AGES;

	cut->excess_bytes = excess_bytes;
	while (i > 0 && gained < excess_bytes)
		gained += ages->bytes[--i];
	cut->size_before_ms = ages->from_ms - (int64_t)(i + 1) * ages->width_ms;
	cut->size_upto_ms = ages->from_ms - (int64_t)i * ages->width_ms;
	/* All that is older is in the last place. */
	if (i == FILES_AGES - 1)
		cut->size_before_ms = 1;
	return gained >= excess_bytes;
}

struct files_walk *files_walk_new(
	const char *top, int64_t now_ms, const struct files_cut *cut, struct files_ages *ages)
{
	struct files_walk *walk = xcalloc(1, sizeof(*walk));

	walk->top = xstrdup(top);
	walk->now_ms = now_ms;
	walk->cut = *cut;
	walk->ages = ages;
	return walk;
}

static struct level *current(struct files_walk *walk)
{
	return &walk->levels[walk->depth - 1];
}

/* Takes the descriptor. */
static bool enter(struct files_walk *walk, int fd, const char *name)
{
	struct level *level = &walk->levels[walk->depth];
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	ssize_t len;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		walk->tally.failed = walk->tally.failed || errno != ENOENT;
		return false;
	}
	*level = (struct level){.dir = dir};
	snprintf(level->name, sizeof(level->name), "%s", name);
	len = readlinkat(fd, FILES_LATEST, level->latest, sizeof(level->latest) - 1);
	level->latest[len > 0 ? len : 0] = '\0';
	walk->depth++;
	return true;
}

/* Of a target that is gone the link goes with the last file. */
static bool is_emptied(struct level *level)
{
	int fd = dirfd(level->dir);

	if (level->kept > 0)
		return false;
	if (level->latest[0] != '\0' &&
		faccessat(fd, level->latest, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
		(void)unlinkat(fd, FILES_LATEST, 0);
	return true;
}

static void leave(struct files_walk *walk)
{
	struct level *level = current(walk);
	bool is_empty = is_emptied(level);

	closedir(level->dir);
	walk->depth--;
	if (walk->depth == 0)
		return;
	if (!is_empty || unlinkat(dirfd(current(walk)->dir), level->name, AT_REMOVEDIR) != 0)
		current(walk)->kept++;
}

static void note_age(struct files_walk *walk, int64_t written_ms, uint64_t bytes)
{
	struct files_ages *ages = walk->ages;
	int64_t place = (ages->from_ms - written_ms) / ages->width_ms;

	/* What was written since then is counted by whoever wrote it. */
	if (written_ms > ages->from_ms)
		return;
	ages->bytes[place < FILES_AGES ? place : FILES_AGES - 1] += bytes;
	if (ages->oldest_ms == 0 || written_ms < ages->oldest_ms)
		ages->oldest_ms = written_ms;
	walk->tally.kept_bytes += bytes;
}

/* The count to go up if a file written then goes; NULL: it stays. */
static uint64_t *reason_to_go(struct files_walk *walk, const char *name, int64_t written_ms)
{
	const struct files_cut *cut = &walk->cut;
	const struct level *level = current(walk);

	if (files_name_is_temporary(name))
		return walk->now_ms - written_ms > TEMPORARY_AGE_MS ? &walk->tally.deleted_temporary
								    : NULL;
	if (level->is_alive && strcmp(level->latest, name) == 0)
		return NULL;
	if (written_ms < cut->age_before_ms)
		return &walk->tally.deleted_age;
	if (written_ms < cut->size_before_ms ||
		(written_ms <= cut->size_upto_ms && walk->gained_bytes < cut->excess_bytes))
		return &walk->tally.deleted_size;
	return NULL;
}

static void look_at_file(struct files_walk *walk, const char *name, const struct stat *info)
{
	struct level *level = current(walk);
	int64_t written_ms = (int64_t)info->st_mtim.tv_sec * 1000 + info->st_mtim.tv_nsec / 1000000;
	uint64_t bytes = files_cost((uint64_t)info->st_size);
	uint64_t *count = reason_to_go(walk, name, written_ms);

	if (count != NULL && unlinkat(dirfd(level->dir), name, 0) == 0) {
		(*count)++;
		walk->tally.freed_bytes += bytes;
		walk->gained_bytes += bytes;
		return;
	}
	walk->tally.failed = walk->tally.failed || count != NULL;
	level->kept++;
	note_age(walk, written_ms, bytes);
}

static enum files_step descend(struct files_walk *walk, const char *name)
{
	int fd = openat(
		dirfd(current(walk)->dir), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (!enter(walk, fd, name)) {
		current(walk)->kept++;
		return FILES_STEP_ON;
	}
	return walk->depth - 1 >= TARGET_DEPTH ? FILES_STEP_FOLDER : FILES_STEP_ON;
}

static enum files_step look_at(struct files_walk *walk, const char *name)
{
	struct level *level = current(walk);
	struct stat info;
	bool is_ours;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, FILES_LATEST) == 0)
		return FILES_STEP_ON;
	if (fstatat(dirfd(level->dir), name, &info, AT_SYMLINK_NOFOLLOW) != 0)
		return FILES_STEP_ON;
	if (S_ISDIR(info.st_mode) && walk->depth <= FILES_MAX_DEPTH && files_name_is_folder(name))
		return descend(walk, name);
	is_ours = walk->depth > TARGET_DEPTH &&
		  ((S_ISREG(info.st_mode) && files_name_is_scrape(name)) ||
			  files_name_is_temporary(name));
	if (is_ours)
		look_at_file(walk, name, &info);
	else
		level->kept++;
	return FILES_STEP_ON;
}

/* What is in the top folder is never all of it: that stays. */
static enum files_step begin(struct files_walk *walk)
{
	walk->has_begun = true;
	return enter(walk, open(walk->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC), "")
		       ? FILES_STEP_ON
		       : FILES_STEP_END;
}

enum files_step files_walk_step(struct files_walk *walk)
{
	enum files_step step = FILES_STEP_ON;

	if (!walk->has_begun)
		return begin(walk);
	for (int i = 0; i < STEP_ENTRIES && step == FILES_STEP_ON; i++) {
		const struct dirent *entry;

		if (walk->depth == 0)
			return FILES_STEP_END;
		entry = readdir(current(walk)->dir);
		if (entry == NULL)
			leave(walk);
		else
			step = look_at(walk, entry->d_name);
	}
	return step;
}

const char *files_walk_folder(const struct files_walk *walk)
{
	char *path = ((struct files_walk *)walk)->path;
	size_t len = 0;

	for (size_t i = 1; i < walk->depth; i++)
		len += (size_t)snprintf(path + len, sizeof(walk->path) - len, "%s%s",
			i == 1 ? "" : "/", walk->levels[i].name);
	return path;
}

void files_walk_answer(struct files_walk *walk, bool is_alive)
{
	current(walk)->is_alive = is_alive;
}

const struct files_tally *files_walk_tally(const struct files_walk *walk)
{
	return &walk->tally;
}

void files_walk_free(struct files_walk *walk)
{
	if (walk == NULL)
		return;
	while (walk->depth > 0)
		closedir(walk->levels[--walk->depth].dir);
	free(walk->top);
	free(walk);
}
