/* SPDX-License-Identifier: Apache-2.0 */
/* The hash is part of the wire format: these values, from another implementation, never change. */
#include "common/core/hash.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
	const char *bytes;
	size_t len;
	uint64_t hash;
} vectors[] = {
	{"", 0, UINT64_C(0xefd01f60ba992926)},
	{"a", 1, UINT64_C(0x82a2a958a9bece5b)},
	{"foobar", 6, UINT64_C(0x2c22194922d1672b)},
	{"prometheus", 10, UINT64_C(0xcfaad048e5c52dda)},
	{"a\0b\0", 4, UINT64_C(0x9ee055ea1a8ec313)},
};

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		uint64_t got = hash64(vectors[i].bytes, vectors[i].len);

		if (got != vectors[i].hash)
			fail_msg("\"%s\": got %016" PRIx64 ", want %016" PRIx64, vectors[i].bytes,
				got, vectors[i].hash);
	}
}

static void test_in_parts(void **state)
{
	const char *text = "prometheus.scrape.dc1.node.web1";

	(void)state;
	for (size_t cut = 0; cut <= strlen(text); cut++) {
		uint64_t hash = hash64_update(HASH64_START, text, cut);

		hash = hash64_update(hash, text + cut, strlen(text) - cut);
		assert_true(hash64_finish(hash) == hash64(text, strlen(text)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_in_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
