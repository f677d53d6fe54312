/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By the time of the last change of any kind, which a program cannot set: the time of modification
 * stays where a file is replaced with its times kept, or where only its mode was wrong.
 */
#include "common/core/file_stamp.h"

#include <sys/stat.h>

struct file_stamp file_stamp_of(const char *path)
{
	struct stat about;

	if (stat(path, &about) != 0)
		return (struct file_stamp){.bytes = -1};
	return (struct file_stamp){about.st_ctim, about.st_ino, about.st_size};
}

bool file_stamp_is_same(const struct file_stamp *a, const struct file_stamp *b)
{
	return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
	       a->inode == b->inode && a->bytes == b->bytes;
}
