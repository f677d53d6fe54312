/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_FETCH_ANSWER_H
#define PS_COMMON_LOOP_FETCH_ANSWER_H
/*
 * An HTTP/1.1 answer as it comes, in pieces of any size. It takes ordinary answers only: a final
 * status other than a redirect, one plain length or plain chunks, no trailers, no folded lines.
 * Whatever else comes is not judged but called unusual, and left to libcurl. Any thread.
 */
#include "common/core/buf.h"

enum fetch_answer_step {
	FETCH_ANSWER_MORE, /* is needed */
	FETCH_ANSWER_DONE,
	FETCH_ANSWER_UNUSUAL,
	FETCH_ANSWER_TOO_LARGE, /* more body than the limit */
};

struct fetch_result;

/* Zero-initialise but for `limit_bytes`; fetch_answer_fini frees. */
struct fetch_answer {
	size_t limit_bytes;  /* of the body */
	size_t likely_bytes; /* of the body, to allocate once; a guess */
	int state;
	int status;
	bool closes;     /* the connection is of no use after this */
	size_t left;     /* of the body, or of the chunk */
	int digits;      /* of the chunk's size so far */
	struct buf head; /* while it is not whole */
};

/* Body and headers go into `result`. Not to be called again after another step than MORE. */
enum fetch_answer_step fetch_answer_feed(
	struct fetch_answer *answer, struct fetch_result *result, struct slice bytes) MUST_CHECK;
/* Whether any of it has come. */
bool fetch_answer_has_begun(const struct fetch_answer *answer);
void fetch_answer_fini(struct fetch_answer *answer);

#endif
