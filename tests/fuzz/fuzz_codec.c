/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of arbitrary bytes in each encoding: never more out than the limit, never much more memory
 * than that, and what a small limit and a glance say agrees with what all of it decodes to. Then
 * the same bytes as a body of ours: encoded and decoded they are what they were. The first byte
 * chooses the encoding and the level, the second the limit.
 */
#include "common/wire/codec.h"

#include <assert.h>

#define MAX_BYTES   (64 << 10) /* the rest only makes it slow */
#define AMPLE_BYTES (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct codec *codec;

static enum codec_status decode(
	enum encoding encoding, struct slice in, size_t limit_bytes, struct buf *out)
{
	enum codec_status status;

	buf_append_char(out, '<');
	status = codec_decode(codec, encoding, in, limit_bytes, out);
	assert(out->len >= 1 && out->ptr[0] == '<');
	assert(out->len - 1 <= limit_bytes);
	assert(status == CODEC_OK || out->len == 1);
	assert(out->capacity <= 2 * limit_bytes + 16384);
	return status;
}

/* `all` is what an ample limit let through, if it did. */
static void check_limit(enum encoding encoding, struct slice in, size_t limit_bytes,
	enum codec_status ample, const struct buf *all)
{
	struct buf out = {0};
	enum codec_status status = decode(encoding, in, limit_bytes, &out);
	bool fits = codec_fits(codec, encoding, in, limit_bytes);

	if (ample != CODEC_OK) {
		assert(status != CODEC_OK);
	} else if (all->len - 1 <= limit_bytes) {
		assert(status == CODEC_OK && fits);
		assert(slice_eq(buf_slice(&out), buf_slice(all)));
	} else {
		assert(status == CODEC_TOO_LARGE && !fits);
	}
	buf_free(&out);
}

static void check_decode(enum encoding encoding, struct slice in, size_t limit_bytes)
{
	struct buf all = {0};
	enum codec_status ample = decode(encoding, in, AMPLE_BYTES, &all);

	assert((ample == CODEC_UNSUPPORTED) ==
		(encoding == ENCODING_UNKNOWN || encoding == ENCODING_ZSTD_DELTA));
	check_limit(encoding, in, limit_bytes, ample, &all);
	if (ample == CODEC_OK) {
		check_limit(encoding, in, all.len - 1, ample, &all);
		check_limit(encoding, in, all.len > 1 ? all.len - 2 : 0, ample, &all);
	}
	buf_free(&all);
}

static void check_round_trip(enum encoding encoding, int level, struct slice text)
{
	struct buf packed = {0}, out = {0};

	if (codec_encode(codec, encoding, level, text, &packed, NULL) < 0) {
		assert(encoding == ENCODING_UNKNOWN || encoding == ENCODING_ZSTD_DELTA);
		assert(packed.len == 0);
		return;
	}
	assert(decode(encoding, buf_slice(&packed), text.len, &out) == CODEC_OK);
	assert(slice_eq((struct slice){out.ptr + 1, out.len - 1}, text));
	assert(codec_fits(codec, encoding, buf_slice(&packed), text.len));
	assert(text.len == 0 || !codec_fits(codec, encoding, buf_slice(&packed), text.len - 1));
	buf_free(&packed);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	enum encoding encoding;
	struct slice body;

	if (len < 2)
		return 0;
	if (codec == NULL)
		codec = codec_new();
	encoding = (enum encoding)(bytes[0] % (ENCODING_UNKNOWN + 1));
	body = (struct slice){(const char *)bytes + 2, len - 2 > MAX_BYTES ? MAX_BYTES : len - 2};
	check_decode(encoding, body, (size_t)bytes[1] * bytes[1]);
	check_round_trip(encoding, 1 + bytes[0] / (ENCODING_UNKNOWN + 1) % 6, body);
	return 0;
}
