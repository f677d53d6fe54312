/* SPDX-License-Identifier: Apache-2.0 */
/* Names that nobody may grow /metrics with. */
#include "receiver/tally.h"

#include "receiver/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { NAMES = 50000 };

static size_t lines_with(struct slice text, const char *word)
{
	size_t count = 0, len = strlen(word);

	for (size_t i = 0; i + len <= text.len; i++)
		count += memcmp(text.ptr + i, word, len) == 0;
	return count;
}

/* Each kind of count, by more names than have series of their own. */
static void test_invented_names_share_a_series(void **state)
{
	static const char *const expected[] = {
		"publisher_discards_total{publisher=\"other\",reason=\"malformed\"} 49001\n",
		"publisher_discards_total{publisher=\"n0\",reason=\"malformed\"} 1\n",
		"aged_discards_total{sink=\"s\",receiver_job=\"other\"} 49000\n",
		"clock_resets_total{publisher=\"other\"} 49000\n",
		"future_scrapes_total{publisher=\"other\"} 49000\n",
	};
	struct metrics *metrics = metrics_new(receiver_metric_defs, RM_COUNT);
	struct tally *tally = tally_new(metrics);
	struct buf text = {0};
	char name[16];

	(void)state;
	for (int i = 0; i < NAMES; i++) {
		struct slice own;

		snprintf(name, sizeof(name), "n%d", i);
		own = slice_from(name);
		tally_seen(tally, own, 1, 0);
		tally_future(tally, own);
		tally_clock_reset(tally, own);
		tally_discard(tally, own, "malformed");
		tally_aged(tally, "s", own);
	}
	tally_discard(tally, SLICE(""), "malformed");
	metrics_write(metrics, &text);
	for (size_t i = 0; i < ARRAY_LEN(expected); i++)
		if (strstr(buf_cstr(&text), expected[i]) == NULL)
			fail_msg("no %s", expected[i]);
	assert_int_equal(
		lines_with(buf_slice(&text), "_seen_timestamp_seconds{"), TALLY_MAX_NAMES + 1);
	assert_int_equal(lines_with(buf_slice(&text), "aged_discards_total{"), TALLY_MAX_NAMES + 1);
	buf_free(&text);
	tally_free(tally);
	metrics_free(metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_invented_names_share_a_series),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
