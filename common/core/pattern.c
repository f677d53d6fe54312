/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCRE2 with limits and without its compiler to machine code, which hardened systems forbid. It
 * knows more than Prometheus' RE2 (looking around, referring back); what both know means the same.
 */
#include "common/core/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Backtracking steps, their depth, and memory: far above what an honest expression takes. */
#define MATCH_LIMIT    20000
#define DEPTH_LIMIT    2000
#define HEAP_LIMIT_KIB 1024

struct pattern {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *limits;
};

static pcre2_code *compile(struct slice text, struct err *err)
{
	const uint32_t options = PCRE2_UTF | PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY | PCRE2_ANCHORED |
				 PCRE2_ENDANCHORED | PCRE2_NEVER_BACKSLASH_C;
	PCRE2_UCHAR words[128];
	PCRE2_SIZE at;
	pcre2_code *code;
	int why;

	if (text.len > PATTERN_MAX_BYTES) {
		err_setf(err, "longer than %d bytes", PATTERN_MAX_BYTES);
		return NULL;
	}
	code = pcre2_compile((PCRE2_SPTR)text.ptr, text.len, options, &why, &at, NULL);
	if (code == NULL) {
		pcre2_get_error_message(why, words, sizeof(words));
		err_setf(err, "%s at offset %zu", (const char *)words, (size_t)at);
	}
	return code;
}

struct pattern *pattern_new(struct slice text, struct err *err)
{
	pcre2_code *code = compile(text, err);
	struct pattern *pattern;

	if (code == NULL)
		return NULL;
	pattern = xcalloc(1, sizeof(*pattern));
	pattern->code = code;
	pattern->data = pcre2_match_data_create(1, NULL);
	pattern->limits = pcre2_match_context_create(NULL);
	if (pattern->data == NULL || pattern->limits == NULL)
		abort(); /* as xmalloc does */
	pcre2_set_match_limit(pattern->limits, MATCH_LIMIT);
	pcre2_set_depth_limit(pattern->limits, DEPTH_LIMIT);
	pcre2_set_heap_limit(pattern->limits, HEAP_LIMIT_KIB);
	return pattern;
}

enum pattern_verdict pattern_match(const struct pattern *pattern, struct slice text)
{
	const char *subject = text.len == 0 ? "" : text.ptr;
	int result = pcre2_match(pattern->code, (PCRE2_SPTR)subject, text.len, 0,
		PCRE2_NO_UTF_CHECK, pattern->data, pattern->limits);

	if (result >= 0)
		return PATTERN_YES;
	return result == PCRE2_ERROR_NOMATCH ? PATTERN_NO : PATTERN_LIMIT;
}

void pattern_free(struct pattern *pattern)
{
	if (pattern == NULL)
		return;
	pcre2_code_free(pattern->code);
	pcre2_match_data_free(pattern->data);
	pcre2_match_context_free(pattern->limits);
	free(pattern);
}
