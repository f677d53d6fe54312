/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_WIRE_STREAM_ENCODER_H
#define PS_COMMON_WIRE_STREAM_ENCODER_H
/*
 * Content encodings of a body that is made piece by piece (codec.h is for whole ones): one gzip
 * member or one zstd frame, fast rather than small, in bounded memory. No socket, no clock.
 */
#include "common/wire/codec.h"

struct stream_encoder;

/* ENCODING_GZIP or ENCODING_ZSTD. */
struct stream_encoder *stream_encoder_new(enum encoding encoding);

/* Appends what `in` comes to; what is still held back comes with the next, or with the last. */
void stream_encoder_add(
	struct stream_encoder *encoder, struct slice in, bool is_last, struct buf *out);

/* NULL is allowed. */
void stream_encoder_free(struct stream_encoder *encoder);

#endif
