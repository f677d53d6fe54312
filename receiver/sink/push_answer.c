/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any 2xx is success: 200 with the gateway's consistency check, 202 without. What the gateway says
 * of the content is final; what it would say to any content (wrong address, credentials) is not, as
 * acknowledging everything until somebody corrects the configuration would lose it all.
 */
#include "receiver/sink/push_answer.h"

#include <stdio.h>

static const struct {
	int from, to;
	enum push_meaning meaning;
	const char *advice;
} meanings[] = {
	{200, 299, PUSH_TAKEN, ""},
	{300, 399, PUSH_RETRY, "redirected; check the url"},
	{401, 401, PUSH_RETRY, "check the credentials"},
	{403, 403, PUSH_RETRY, "check the credentials"},
	{404, 405, PUSH_RETRY, "check the url"},
	{407, 408, PUSH_RETRY, ""},
	{429, 429, PUSH_RETRY, ""},
	{400, 499, PUSH_REFUSED, ""},
	{0, 999, PUSH_RETRY, ""},
};

void push_append_words(char *words, size_t size, struct slice said)
{
	size_t len = strlen(words), begin = len;

	for (size_t i = 0; i < said.len && i < PUSH_WORDS_BYTES && len + 1 < size; i++) {
		char c = said.ptr[i];
		bool is_blank = (unsigned char)c <= ' ' || c == 0x7f;

		if (!is_blank)
			words[len++] = (unsigned char)c < 0x7f ? c : '?';
		else if (len > begin && words[len - 1] != ' ')
			words[len++] = ' ';
	}
	while (len > begin && words[len - 1] == ' ')
		len--;
	words[len] = '\0';
}

static void read_status(struct push_answer *answer, const struct fetch_result *result)
{
	size_t i = 0, len;

	while (i + 1 < ARRAY_LEN(meanings) &&
		(result->status < meanings[i].from || result->status > meanings[i].to))
		i++;
	answer->meaning = meanings[i].meaning;
	if (answer->meaning == PUSH_TAKEN)
		return;
	snprintf(answer->reason, sizeof(answer->reason), "http_%d", result->status);
	snprintf(answer->words, sizeof(answer->words), "HTTP %d%s%s", result->status,
		meanings[i].advice[0] == '\0' ? "" : ", ", meanings[i].advice);
	len = strlen(answer->words);
	if (result->body.len > 0) {
		snprintf(answer->words + len, sizeof(answer->words) - len, ": ");
		push_append_words(answer->words, sizeof(answer->words), buf_slice(&result->body));
	}
}

void push_answer_read(struct push_answer *answer, const struct fetch_result *result)
{
	static const char *const reasons[] = {
		[FETCH_FAILED] = "connection",
		[FETCH_TIMED_OUT] = "timeout",
		[FETCH_TOO_LARGE] = "answer_too_large",
	};

	*answer = (struct push_answer){.meaning = PUSH_RETRY};
	if (result->outcome == FETCH_DONE) {
		read_status(answer, result);
		return;
	}
	snprintf(answer->reason, sizeof(answer->reason), "%s", reasons[result->outcome]);
	snprintf(answer->words, sizeof(answer->words), "%s", result->error);
}
