/* SPDX-License-Identifier: Apache-2.0 */
/* A path may be anything, a FIFO too: what is no regular file is not waited for. */
#include "common/core/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES ((size_t)16 << 10)

static int read_all(int fd, const char *path, struct buf *out, struct err *err)
{
	size_t start = out->len;

	for (;;) {
		ssize_t got = read(fd, buf_reserve(out, READ_BYTES), READ_BYTES);

		if (got == 0)
			return 0;
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_setf(err, "cannot read %s: %s", path, strerror(errno));
		out->len += (size_t)got;
		if (out->len - start > SECRET_MAX_FILE_BYTES)
			return err_setf(err, "cannot read %s: larger than 1 MB", path);
	}
}

int secret_read_file(const char *path, struct buf *out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat about;
	int result;

	if (fd < 0)
		return err_setf(err, "cannot read %s: %s", path, strerror(errno));
	if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
		result = err_setf(err, "cannot read %s: not a regular file", path);
	else
		result = read_all(fd, path, out, err);
	close(fd);
	return result;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int secret_read(const char *value, const char *path, struct buf *out, struct err *err)
{
	struct buf file = {0};
	struct slice text;
	int result = 0;

	if (value != NULL) {
		buf_append_str(out, value);
		return 0;
	}
	if (path == NULL)
		return 0;
	result = secret_read_file(path, &file, err);
	text = buf_slice(&file);
	while (text.len > 0 && is_space(text.ptr[text.len - 1]))
		text.len--;
	while (text.len > 0 && is_space(text.ptr[0]))
		text = (struct slice){text.ptr + 1, text.len - 1};
	if (result == 0 && text.len == 0)
		result = err_setf(err, "cannot use %s: it is empty", path);
	if (result == 0)
		buf_append_slice(out, text);
	secret_free(&file);
	return result;
}

void secret_free(struct buf *secret)
{
	if (secret->ptr != NULL)
		explicit_bzero(secret->ptr, secret->capacity);
	buf_free(secret);
}
