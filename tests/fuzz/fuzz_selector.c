/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Selectors out of arbitrary bytes, ended by NUL bytes: what is refused is so with a reason, and
 * what is accepted is bounded and can be matched against anything.
 */
#include "receiver/sink/selector.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check(struct selectors *selectors, const struct selector *selector)
{
	bool is_bound = false;

	assert(selector->count > 0 && selector->count <= SELECTOR_MAX_MATCHERS);
	for (size_t i = 0; i < selector->count; i++) {
		const struct matcher *matcher = &selector->items[i];

		assert((matcher->pattern != NULL) == (matcher->op >= MATCHER_REGEX));
		if (matcher->op == MATCHER_EQUAL)
			assert(selectors_match(selectors, matcher, buf_slice(&matcher->value)));
		(void)selectors_match(selectors, matcher, SLICE("aaaaaaaaaaaaaaaaaaaaaaaa\n"));
		is_bound =
			is_bound || !selectors_match(selectors, matcher, (struct slice){NULL, 0});
	}
	assert(is_bound);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const char *at = (const char *)bytes, *end = at + len;
	struct selectors selectors = {0};

	while (at < end) {
		const char *line = memchr(at, '\0', (size_t)(end - at));
		struct slice text = {at, (size_t)((line == NULL ? end : line) - at)};
		struct err err = {""};

		if (selectors_add(&selectors, text, &err) < 0) {
			assert(err.text[0] != '\0');
			break;
		}
		check(&selectors, &selectors.items[selectors.count - 1]);
		at = line == NULL ? end : line + 1;
	}
	selectors_fini(&selectors);
	return 0;
}
