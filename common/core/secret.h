/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_SECRET_H
#define PS_COMMON_CORE_SECRET_H
/*
 * Secrets and other small files that are read while running: passwords, keys, certificates. Reading
 * may block: never on the loop's thread once it runs. Errors name the path, never the content. Any
 * thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"

#define SECRET_MAX_FILE_BYTES ((size_t)1 << 20)

/* Appends a regular file of at most SECRET_MAX_FILE_BYTES. */
int secret_read_file(const char *path, struct buf *out, struct err *err) MUST_CHECK;

/*
 * Appends `value`, or if that is NULL, what `path` holds without the spaces and line ends around it
 * (an empty file is an error). With neither nothing is appended.
 */
int secret_read(const char *value, const char *path, struct buf *out, struct err *err) MUST_CHECK;

/* Overwrites before it frees. */
void secret_free(struct buf *secret);

#endif
