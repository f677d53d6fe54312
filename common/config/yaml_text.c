/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes from a file, and the check that they are text. */
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

/* Bytes of the sequence that begins with `lead`; 0 if none does. */
static size_t sequence_length(unsigned char lead)
{
	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead < 0xe0)
		return 2;
	if (lead >= 0xe0 && lead < 0xf0)
		return 3;
	return lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
}

/* The second byte's range depends on the first: overlong forms, surrogates, beyond U+10FFFF. */
static bool second_fits(unsigned char lead, unsigned char second)
{
	unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;

	return second >= low && second <= high;
}

bool utf8_is_valid(struct slice text)
{
	const unsigned char *bytes = (const unsigned char *)text.ptr;

	for (size_t i = 0; i < text.len;) {
		size_t length = sequence_length(bytes[i]);

		if (length == 0 || text.len - i < length)
			return false;
		if (length > 1 && !second_fits(bytes[i], bytes[i + 1]))
			return false;
		for (size_t k = 2; k < length; k++)
			if ((bytes[i + k] & 0xc0) != 0x80)
				return false;
		i += length;
	}
	return true;
}
