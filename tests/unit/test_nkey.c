/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds, what .creds files hold, and secrets read from files. */
#include "common/core/secret.h"
#include "common/nats/nkey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* An example of NATS' documentation. */
#define SEED   "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define PUBLIC "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

static void test_public_key(void **state)
{
	static const struct {
		const char *name, *seed, *expected;
	} cases[] = {
		{"good", SEED, PUBLIC},
		{"empty", "", "is no nkey seed"},
		{"short", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3V",
			"is no nkey seed"},
		{"a slip", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3YV",
			"is no nkey seed"},
		{"lower case", "suacssl3uahudxkfsnvuzrf5uhpmwz6bfdtj7m6usdxiednppqyyycu3vy",
			"is no nkey seed"},
		{"a public key", PUBLIC "AA", "is no nkey seed"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char public_key[NKEY_PUBLIC_BYTES] = "";
		struct err err = {""};
		int result = nkey_public(slice_from(cases[i].seed), public_key, &err);
		const char *got = result == 0 ? public_key : err.text;

		if (strcmp(got, cases[i].expected) != 0)
			fail_msg("%s: %s instead of %s", cases[i].name, got, cases[i].expected);
	}
}

static void test_finding(void **state)
{
	static const char creds[] =
		"-----BEGIN NATS USER JWT-----\n"
		"eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.e30.c2ln\n"
		"------END NATS USER JWT------\n\n*** IMPORTANT ***\n"
		"-----BEGIN USER NKEY SEED-----\r\n" SEED "\r\n------END USER NKEY SEED------\n";
	struct slice found;

	(void)state;
	assert_true(nkey_find_seed(slice_from(creds), &found));
	assert_true(slice_is(found, SEED));
	assert_true(nkey_find_seed(slice_from(SEED), &found));
	assert_true(nkey_find_seed(slice_from("\n" SEED "\n"), &found));
	assert_true(slice_is(found, SEED));
	assert_false(nkey_find_seed(slice_from("SEED of a plant"), &found));
	assert_false(nkey_find_seed((struct slice){NULL, 0}, &found));
	assert_true(nkey_find_jwt(slice_from(creds), &found));
	assert_int_equal(found.ptr - creds, strlen("-----BEGIN NATS USER JWT-----\n"));
	assert_false(nkey_find_jwt(slice_from(SEED), &found));
}

static void test_expiry(void **state)
{
	static const struct {
		const char *jwt;
		int64_t expected;
	} cases[] = {
		{"e30.eyJleHAiOjE3MDAwMDAwMDB9.c2ln", 1700000000},
		{"e30.e30.c2ln", 0},
		{"e30.eyJleHAiOiJzb29uIn0.c2ln", 0},
		{"e30.e30", 0},
		{"e30.*.c", 0},
		{"..", 0},
		{"", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t got;

		assert_int_equal(
			nkey_jwt_expiry(slice_from(cases[i].jwt), &got), cases[i].expected != 0);
		assert_int_equal(got, cases[i].expected);
	}
}

static void check_read(const char *value, const char *path, int expected, const char *text)
{
	struct buf out = {0};
	struct err err = {""};
	int result = secret_read(value, path, &out, &err);

	assert_int_equal(result, expected);
	assert_string_equal(result == 0 ? buf_cstr(&out) : err.text, text);
	secret_free(&out);
}

static void test_reading(void **state)
{
	char path[] = "/tmp/secret-XXXXXX", fifo[64], *message;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	check_read("value ", NULL, 0, "value ");
	check_read("", path, 0, "");
	check_read(NULL, NULL, 0, "");
	message = xasprintf("cannot use %s: it is empty", path);
	check_read(NULL, path, -1, message);
	free(message);
	assert_int_equal(write(fd, "\n a b \r\n\n", 9), 9);
	check_read(NULL, path, 0, "a b");
	assert_int_equal(ftruncate(fd, 2 << 20), 0);
	message = xasprintf("cannot read %s: larger than 1 MB", path);
	check_read(NULL, path, -1, message);
	free(message);
	close(fd);
	unlink(path);
	message = xasprintf("cannot read %s: No such file or directory", path);
	check_read(NULL, path, -1, message);
	free(message);
	/* What nobody writes to is not waited for. */
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	message = xasprintf("cannot read %s: not a regular file", fifo);
	check_read(NULL, fifo, -1, message);
	free(message);
	unlink(fifo);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_public_key),
		cmocka_unit_test(test_finding),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
