/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As Prometheus judges: 5xx and failures of the network are tried again, 429 where that is asked
 * for, and everything else that is not 2xx is final. A redirect is not followed, and what is sent
 * to the wrong address is not lost for it.
 */
#include "receiver/sink/write_answer.h"

#include "receiver/sink/push_answer.h"

#include <stdio.h>

#define RETRY_AFTER_MAX_MS (INT64_C(5) * 60 * 1000)

static enum write_meaning meaning_of(
	const struct fetch_result *result, enum write_version version, bool retries_429)
{
	int status = result->status;

	if (status >= 200 && status <= 299)
		return version == WRITE_V2 && result->answer_header[0] == '\0' ? WRITE_FALL_BACK
									       : WRITE_TAKEN;
	if (status == 415 && version == WRITE_V2)
		return WRITE_FALL_BACK;
	if (status == 429)
		return retries_429 ? WRITE_RETRY : WRITE_DROPPED;
	return status >= 400 && status <= 499 ? WRITE_DROPPED : WRITE_RETRY;
}

static const char *advice_for(int status)
{
	if (status >= 300 && status <= 399)
		return ", redirected; check the url";
	if (status == 401 || status == 403)
		return ", check the credentials";
	return status == 404 || status == 405 ? ", check the url" : "";
}

static void read_status(struct write_answer *answer, const struct fetch_result *result)
{
	size_t len;

	snprintf(answer->reason, sizeof(answer->reason), "http_%d", result->status);
	snprintf(answer->words, sizeof(answer->words), "HTTP %d%s", result->status,
		advice_for(result->status));
	len = strlen(answer->words);
	if (result->body.len == 0)
		return;
	snprintf(answer->words + len, sizeof(answer->words) - len, ": ");
	push_append_words(answer->words, sizeof(answer->words), buf_slice(&result->body));
}

void write_answer_read(struct write_answer *answer, const struct fetch_result *result,
	enum write_version version, bool retries_429)
{
	static const char *const reasons[] = {
		[FETCH_FAILED] = "connection",
		[FETCH_TIMED_OUT] = "timeout",
		[FETCH_TOO_LARGE] = "answer_too_large",
	};

	*answer = (struct write_answer){.meaning = WRITE_RETRY};
	if (result->outcome != FETCH_DONE) {
		snprintf(answer->reason, sizeof(answer->reason), "%s", reasons[result->outcome]);
		snprintf(answer->words, sizeof(answer->words), "%s", result->error);
		return;
	}
	answer->meaning = meaning_of(result, version, retries_429);
	if (answer->meaning != WRITE_TAKEN)
		read_status(answer, result);
	if (result->retry_after_ms > 0)
		answer->retry_after_ms = result->retry_after_ms < RETRY_AFTER_MAX_MS
						 ? result->retry_after_ms
						 : RETRY_AFTER_MAX_MS;
}
