/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP answers of arbitrary bytes. Fed whole and byte by byte they come to the same step, status
 * and body, and the body is never above the limit.
 */
#include "common/loop/fetch.h"
#include "common/loop/fetch_answer.h"

#include <assert.h>

#define LIMIT_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static enum fetch_answer_step feed(
	struct fetch_answer *answer, struct fetch_result *result, struct slice text, size_t piece)
{
	enum fetch_answer_step step = FETCH_ANSWER_MORE;

	while (text.len > 0 && step == FETCH_ANSWER_MORE) {
		size_t taken = piece < text.len ? piece : text.len;

		step = fetch_answer_feed(answer, result, (struct slice){text.ptr, taken});
		text.ptr += taken;
		text.len -= taken;
	}
	return step == FETCH_ANSWER_DONE && text.len > 0 ? FETCH_ANSWER_UNUSUAL : step;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice text = {(const char *)bytes, len};
	struct fetch_answer answers[2] = {
		{.limit_bytes = LIMIT_BYTES}, {.limit_bytes = LIMIT_BYTES, .likely_bytes = 100}};
	struct fetch_result results[2] = {{.retry_after_ms = -1}, {.retry_after_ms = -1}};
	enum fetch_answer_step whole = feed(&answers[0], &results[0], text, len);
	enum fetch_answer_step slow = feed(&answers[1], &results[1], text, 1);

	/* A chunk that is too large shows sooner when it comes in one piece; so does what follows
	 * a head that is too long. */
	assert(whole == slow || len > LIMIT_BYTES);
	assert(results[0].body.len <= LIMIT_BYTES && results[1].body.len <= LIMIT_BYTES);
	if (whole == FETCH_ANSWER_DONE && slow == FETCH_ANSWER_DONE) {
		assert(results[0].status == results[1].status);
		assert(slice_eq(buf_slice(&results[0].body), buf_slice(&results[1].body)));
		assert(strcmp(results[0].content_type, results[1].content_type) == 0);
		assert(answers[0].closes == answers[1].closes);
	}
	for (int i = 0; i < 2; i++) {
		fetch_answer_fini(&answers[i]);
		buf_free(&results[i].body);
	}
	return 0;
}
