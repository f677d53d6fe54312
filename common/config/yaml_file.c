/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a configuration file, never more than is worth reading. */
#include "common/config/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define READ_BYTES (64 << 10)

int yaml_read_file(const char *path, struct buf *out, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t limit = out->len + YAML_MAX_FILE_BYTES;
	ssize_t got = 1;

	if (fd < 0)
		return err_setf(err, "%s: %s", path, strerror(errno));
	while (got != 0 && out->len <= limit) {
		got = read(fd, buf_reserve(out, READ_BYTES), READ_BYTES);
		if (got < 0 && errno != EINTR)
			break;
		out->len += got > 0 ? (size_t)got : 0;
	}
	if (got < 0)
		err_setf(err, "%s: %s", path, strerror(errno));
	else if (out->len > limit)
		err_setf(err, "%s: larger than %d MB", path, YAML_MAX_FILE_BYTES >> 20);
	close(fd);
	return got < 0 || out->len > limit ? -1 : 0;
}
