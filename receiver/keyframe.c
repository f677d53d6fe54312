/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever a keyframe came as, it is kept as zstd, which decodes three times as fast as gzip,
 * unless it is smaller as it is. It is decoded once when it comes, so that frames are never held
 * for one that is of no use.
 */
#include "receiver/keyframe.h"

/* One that is not zstd is encoded once and decoded for each of its frames. */
#define LEVEL 3
/* Of malloc. */
#define PIECE_OVERHEAD_BYTES 16

struct keyframe {
	size_t refs;
	enum encoding encoding;
	size_t decoded_bytes;
	size_t len;
	char body[];
};

static struct keyframe *make(enum encoding encoding, struct slice body, size_t decoded_bytes)
{
	struct keyframe *keyframe = xmalloc(sizeof(*keyframe) + body.len);

	*keyframe = (struct keyframe){
		.refs = 1,
		.encoding = encoding,
		.decoded_bytes = decoded_bytes,
		.len = body.len,
	};
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
		keyframe = make(ENCODING_ZSTD, buf_slice(&encoded), decoded.len);
	else
		keyframe = make(ENCODING_IDENTITY, decoded, decoded.len);
	buf_free(&encoded);
	return keyframe;
}

struct keyframe *keyframe_new(struct codec *codec, enum encoding encoding, struct slice body,
	size_t limit_bytes, enum codec_status *status)
{
	struct keyframe *keyframe = NULL;
	struct buf decoded = {0};

	*status = codec_decode(codec, encoding, body, limit_bytes, &decoded);
	if (*status == CODEC_OK && encoding == ENCODING_ZSTD && body.len < decoded.len)
		keyframe = make(encoding, body, decoded.len);
	else if (*status == CODEC_OK)
		keyframe = make_encoded(codec, buf_slice(&decoded));
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
	if (keyframe != NULL && --keyframe->refs == 0)
		free(keyframe);
}

size_t keyframe_bytes(const struct keyframe *keyframe)
{
	return sizeof(*keyframe) + keyframe->len + PIECE_OVERHEAD_BYTES;
}

enum codec_status keyframe_decode(
	const struct keyframe *keyframe, struct codec *codec, struct buf *out)
{
	return codec_decode(codec, keyframe->encoding,
		(struct slice){keyframe->body, keyframe->len}, keyframe->decoded_bytes, out);
}
