/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A configuration of arbitrary bytes, for both daemons: it is refused with a report, or what is
 * printed of it loads again and prints the same.
 */
#include "common/config/settings.h"

#include <assert.h>

#define MAX_BYTES (64 << 10) /* the rest only makes it slow */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_print(const struct settings *settings, enum settings_role role)
{
	struct buf first = {0}, second = {0}, report = {0}, words = {0};
	struct settings *again;

	settings_describe(settings, role, &words);
	settings_print(settings, &first);
	again = settings_parse("printed", buf_slice(&first), role, &report);
	/* What is masked may mean something else; without it, all is as it was. */
	if (memmem(first.ptr, first.len, "xxxxx", 5) == NULL) {
		assert(again != NULL);
		settings_print(again, &second);
		assert(slice_eq(buf_slice(&first), buf_slice(&second)));
	}
	settings_free(again);
	buf_free(&first);
	buf_free(&second);
	buf_free(&report);
	buf_free(&words);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice yaml = {(const char *)bytes, len > MAX_BYTES ? MAX_BYTES : len};

	for (int role = SETTINGS_FOR_POLLER; role <= SETTINGS_FOR_RECEIVER; role++) {
		struct buf report = {0};
		struct settings *settings =
			settings_parse("f", yaml, (enum settings_role)role, &report);

		if (settings == NULL)
			assert(report.len > 0);
		else
			check_print(settings, (enum settings_role)role);
		settings_free(settings);
		buf_free(&report);
	}
	return 0;
}
