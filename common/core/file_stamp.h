/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_FILE_STAMP_H
#define PS_COMMON_CORE_FILE_STAMP_H
/*
 * Whether a file is still the one that was read. It says nothing of the content: taken before the
 * file is read, what changes meanwhile is seen the next time. Asking may block: never on the loop's
 * thread once it runs. Any thread.
 */
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

struct file_stamp {
	struct timespec changed;
	ino_t inode;
	off_t bytes; /* -1: there is none */
};

struct file_stamp file_stamp_of(const char *path);
bool file_stamp_is_same(const struct file_stamp *a, const struct file_stamp *b);

#endif
