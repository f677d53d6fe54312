/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyframe stays encoded as it came, unless that was not at all: gzip and zstd cost the same to
 * decode, three times what a frame does that refers to it. It is decoded when it comes, so that
 * frames are never held for one that is of no use.
 */
#include "receiver/keyframe.h"

#define LEVEL 3
/* Of malloc. */
#define PIECE_OVERHEAD_BYTES 16

struct keyframe {
	size_t refs;
	enum encoding encoding;
	size_t decoded_bytes;
	struct buf decoded; /* while it is expanded */
	size_t len;
	char body[];
};

static struct keyframe *make(enum encoding encoding, struct slice body)
{
	struct keyframe *keyframe = xmalloc(sizeof(*keyframe) + body.len);

	*keyframe = (struct keyframe){.refs = 1, .encoding = encoding, .len = body.len};
	if (body.len > 0)
		memcpy(keyframe->body, body.ptr, body.len);
	return keyframe;
}

static struct keyframe *make_encoded(struct codec *codec, struct slice decoded)
{
	struct buf encoded = {0};
	struct keyframe *keyframe;
	struct err err;

	if (codec_encode(codec, ENCODING_ZSTD, LEVEL, decoded, &encoded, &err) == 0 &&
		encoded.len < decoded.len)
		keyframe = make(ENCODING_ZSTD, buf_slice(&encoded));
	else
		keyframe = make(ENCODING_IDENTITY, decoded);
	buf_free(&encoded);
	return keyframe;
}

/* A copy without spare room: what decoding reserves may be twice as much. */
static struct buf exact(struct slice content)
{
	struct buf copy = {.ptr = xmalloc(content.len + 1)};

	copy.len = content.len;
	copy.capacity = content.len + 1;
	memcpy(copy.ptr, content.ptr, content.len);
	return copy;
}

struct keyframe *keyframe_new(struct codec *codec, enum encoding encoding, struct slice body,
	size_t limit_bytes, enum codec_status *status)
{
	struct keyframe *keyframe = NULL;
	struct buf decoded = {0};

	*status = codec_decode(codec, encoding, body, limit_bytes, &decoded);
	if (*status == CODEC_OK) {
		keyframe = body.len < decoded.len ? make(encoding, body)
						  : make_encoded(codec, buf_slice(&decoded));
		keyframe->decoded_bytes = decoded.len;
		if (keyframe_expanded_bytes(keyframe) > 0)
			keyframe->decoded = exact(buf_slice(&decoded));
	}
	buf_free(&decoded);
	return keyframe;
}

struct keyframe *keyframe_ref(struct keyframe *keyframe)
{
	keyframe->refs++;
	return keyframe;
}

void keyframe_unref(struct keyframe *keyframe)
{
	if (keyframe == NULL || --keyframe->refs > 0)
		return;
	buf_free(&keyframe->decoded);
	free(keyframe);
}

size_t keyframe_encoded_bytes(const struct keyframe *keyframe)
{
	return sizeof(*keyframe) + keyframe->len + PIECE_OVERHEAD_BYTES;
}

size_t keyframe_expanded_bytes(const struct keyframe *keyframe)
{
	return keyframe->encoding == ENCODING_IDENTITY
		       ? 0
		       : keyframe->decoded_bytes + PIECE_OVERHEAD_BYTES;
}

static struct slice body_of(const struct keyframe *keyframe)
{
	return (struct slice){keyframe->body, keyframe->len};
}

void keyframe_expand(struct keyframe *keyframe, struct codec *codec)
{
	struct buf decoded = {0};

	if (keyframe->decoded.ptr != NULL || keyframe_expanded_bytes(keyframe) == 0)
		return;
	if (codec_decode(codec, keyframe->encoding, body_of(keyframe), keyframe->decoded_bytes,
		    &decoded) == CODEC_OK)
		keyframe->decoded = exact(buf_slice(&decoded));
	buf_free(&decoded);
}

void keyframe_shrink(struct keyframe *keyframe)
{
	buf_free(&keyframe->decoded);
}

enum codec_status keyframe_read(const struct keyframe *keyframe, struct codec *codec,
	struct buf *scratch, struct slice *exposition)
{
	size_t start = scratch->len;
	enum codec_status status;

	if (keyframe->encoding == ENCODING_IDENTITY || keyframe->decoded.ptr != NULL) {
		*exposition = keyframe->encoding == ENCODING_IDENTITY
				      ? body_of(keyframe)
				      : buf_slice(&keyframe->decoded);
		return CODEC_OK;
	}
	status = codec_decode(
		codec, keyframe->encoding, body_of(keyframe), keyframe->decoded_bytes, scratch);
	*exposition = (struct slice){scratch->ptr + start, scratch->len - start};
	return status;
}
