/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of arbitrary bytes behind an arbitrary keyframe: never more out than the limit nor more
 * memory than that, and what the glance at a frame says agrees with what it decodes to. Then the
 * same bytes as a body of ours: with its keyframe it comes to what it was; with another, with a
 * byte changed, or cut, it comes to that or is corrupt. The first two bytes say how long the
 * keyframe is, the third the limit, the fourth the level and what is changed.
 */
#include "common/wire/codec.h"

#include <assert.h>

#define HEAD_BYTES  4
#define MAX_BYTES   (64 << 10) /* the rest only makes it slow */
#define AMPLE_BYTES (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct codec *codec;

static enum codec_status decode(
	struct slice prefix, struct slice in, size_t limit_bytes, struct buf *out)
{
	enum codec_status status;

	buf_append_char(out, '<');
	status = codec_decode_delta(codec, prefix, in, limit_bytes, out);
	assert(out->len >= 1 && out->ptr[0] == '<');
	assert(out->len - 1 <= limit_bytes);
	assert(status == CODEC_OK || status == CODEC_CORRUPT || status == CODEC_TOO_LARGE);
	assert(status == CODEC_OK || out->len == 1);
	assert(out->capacity <= 2 * limit_bytes + 16384);
	return status;
}

static void check_limit(struct slice prefix, struct slice in, size_t limit_bytes,
	enum codec_status ample, const struct buf *all)
{
	struct buf out = {0};
	enum codec_status status = decode(prefix, in, limit_bytes, &out);
	bool fits = codec_fits(codec, ENCODING_ZSTD_DELTA, in, limit_bytes);

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

static void check_decode(struct slice prefix, struct slice in, size_t limit_bytes)
{
	struct buf all = {0};
	enum codec_status ample = decode(prefix, in, AMPLE_BYTES, &all);

	check_limit(prefix, in, limit_bytes, ample, &all);
	if (ample == CODEC_OK) {
		check_limit(prefix, in, all.len - 1, ample, &all);
		check_limit(prefix, in, all.len > 1 ? all.len - 2 : 0, ample, &all);
	}
	buf_free(&all);
}

/* The checksum lets nothing through but what the body was. */
static void check_never_wrong(struct slice prefix, struct slice in, struct slice text)
{
	struct buf out = {0};

	if (decode(prefix, in, AMPLE_BYTES, &out) == CODEC_OK)
		assert(slice_eq((struct slice){out.ptr + 1, out.len - 1}, text));
	buf_free(&out);
}

static void check_round_trip(struct slice prefix, struct slice text, uint8_t choice)
{
	struct buf packed = {0}, out = {0}, other = {0};
	int made = codec_encode_delta(codec, prefix, 1 + choice % 6, text, &packed, NULL);

	assert(made == 0);
	assert(decode(prefix, buf_slice(&packed), text.len, &out) == CODEC_OK);
	assert(slice_eq((struct slice){out.ptr + 1, out.len - 1}, text));
	buf_append_slice(&other, prefix);
	if (other.len > 0)
		other.ptr[choice * 251 % other.len] ^= 1 + choice % 7;
	check_never_wrong(buf_slice(&other), buf_slice(&packed), text);
	check_never_wrong(SLICE(""), buf_slice(&packed), text);
	check_never_wrong(text, buf_slice(&packed), text);
	check_never_wrong(
		prefix, (struct slice){packed.ptr, packed.len - 1 - choice % packed.len}, text);
	packed.ptr[choice * 251 % packed.len] ^= 1 + choice % 7;
	check_never_wrong(prefix, buf_slice(&packed), text);
	buf_free(&packed);
	buf_free(&out);
	buf_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice prefix, body;
	size_t prefix_bytes;

	if (len < HEAD_BYTES)
		return 0;
	if (codec == NULL)
		codec = codec_new();
	len = len > MAX_BYTES ? MAX_BYTES : len;
	prefix_bytes = (size_t)(bytes[0] << 8 | bytes[1]);
	if (prefix_bytes > len - HEAD_BYTES)
		prefix_bytes = len - HEAD_BYTES;
	prefix = (struct slice){(const char *)bytes + HEAD_BYTES, prefix_bytes};
	body = (struct slice){prefix.ptr + prefix_bytes, len - HEAD_BYTES - prefix_bytes};
	check_decode(prefix, body, (size_t)bytes[2] * bytes[2]);
	check_round_trip(prefix, body, bytes[3]);
	return 0;
}
