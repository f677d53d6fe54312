/* SPDX-License-Identifier: Apache-2.0 */
/* What a fetch brought, judged: words, bounds, encodings, content types. */
#include "poller/scrape.h"

#include "poller/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TIME_MS INT64_C(1700000000123)

struct setup {
	struct job_settings settings;
	struct target_job job;
	struct target target;
	struct codec *codec;
};

static void setup_init(struct setup *setup, uint64_t body_size_limit_bytes)
{
	*setup = (struct setup){
		.settings = {.scrape_interval_ms = 15000,
			.scrape_timeout_ms = 10000,
			.body_size_limit_bytes = body_size_limit_bytes},
		.codec = codec_new(),
	};
	setup->job.settings = &setup->settings;
	setup->job.body_limit_bytes = body_size_limit_bytes > 0 ? (size_t)body_size_limit_bytes
								: FETCH_DEFAULT_LIMIT_BYTES;
	setup->target.job = &setup->job;
}

static void setup_fini(struct setup *setup)
{
	codec_free(setup->codec);
}

struct judgement {
	const char *name;
	uint64_t body_size_limit_bytes;
	enum fetch_outcome outcome;
	int status;
	const char *fetch_error, *content_encoding, *body;
	/* expected */
	enum scrape_outcome judged;
	const char *error; /* NULL: up */
	enum encoding encoding;
};

static const struct judgement judgements[] = {
	{"success", 0, FETCH_DONE, 200, "", "", "a 1\n", SCRAPE_SUCCESS, NULL, ENCODING_IDENTITY},
	{"said to be identity", 0, FETCH_DONE, 200, "", "identity", "a 1\n", SCRAPE_SUCCESS, NULL,
		ENCODING_IDENTITY},
	{"empty body", 0, FETCH_DONE, 200, "", "", "", SCRAPE_SUCCESS, NULL, ENCODING_IDENTITY},
	{"gzip is not looked into", 0, FETCH_DONE, 200, "", "gzip", "no gzip", SCRAPE_SUCCESS, NULL,
		ENCODING_GZIP},
	{"gzip in capitals", 0, FETCH_DONE, 200, "", "GZip", "x", SCRAPE_SUCCESS, NULL,
		ENCODING_GZIP},
	{"gzip's old name", 0, FETCH_DONE, 200, "", "x-gzip", "x", SCRAPE_SUCCESS, NULL,
		ENCODING_GZIP},
	{"brotli", 0, FETCH_DONE, 200, "", "br", "x", SCRAPE_BAD_ENCODING,
		"unsupported content encoding \"br\"", ENCODING_IDENTITY},
	{"zstd, which was not asked for", 0, FETCH_DONE, 200, "", "zstd", "x", SCRAPE_BAD_ENCODING,
		"unsupported content encoding \"zstd\"", ENCODING_IDENTITY},
	{"two encodings", 0, FETCH_DONE, 200, "", "gzip, br", "x", SCRAPE_BAD_ENCODING,
		"unsupported content encoding \"gzip, br\"", ENCODING_IDENTITY},
	{"503", 0, FETCH_DONE, 503, "", "", "down", SCRAPE_BAD_STATUS, "HTTP 503",
		ENCODING_IDENTITY},
	{"204 is no success", 0, FETCH_DONE, 204, "", "", "", SCRAPE_BAD_STATUS, "HTTP 204",
		ENCODING_IDENTITY},
	{"redirects without end", 0, FETCH_DONE, 302, "", "", "", SCRAPE_BAD_STATUS, "HTTP 302",
		ENCODING_IDENTITY},
	{"refused", 0, FETCH_FAILED, 0, "connection refused", "", "", SCRAPE_UNREACHABLE,
		"connection refused", ENCODING_IDENTITY},
	{"percent signs in the reason", 0, FETCH_FAILED, 0, "bad %s%n", "", "", SCRAPE_UNREACHABLE,
		"bad %s%n", ENCODING_IDENTITY},
	{"timed out", 0, FETCH_TIMED_OUT, 0, "", "", "half", SCRAPE_TIMED_OUT,
		"timed out after 10s", ENCODING_IDENTITY},
	{"too large for any", 0, FETCH_TOO_LARGE, 0, "", "", "", SCRAPE_TOO_LARGE,
		"body exceeds 64MB", ENCODING_IDENTITY},
	{"too large for the job", 16 << 20, FETCH_TOO_LARGE, 0, "", "", "", SCRAPE_TOO_LARGE,
		"body exceeds 16MB", ENCODING_IDENTITY},
	{"as large as allowed", 4, FETCH_DONE, 200, "", "", "a 1\n", SCRAPE_SUCCESS, NULL,
		ENCODING_IDENTITY},
	{"larger than allowed", 3, FETCH_DONE, 200, "", "", "a 1\n", SCRAPE_TOO_LARGE,
		"body exceeds 3B", ENCODING_IDENTITY},
	{"a 503 is not too large", 3, FETCH_DONE, 503, "", "", "down", SCRAPE_BAD_STATUS,
		"HTTP 503", ENCODING_IDENTITY},
};

static void check_judgement(const struct judgement *want)
{
	struct setup setup;
	struct fetch_result result = {.outcome = want->outcome, .status = want->status};
	struct scrape *scrape;
	enum scrape_outcome got;

	setup_init(&setup, want->body_size_limit_bytes);
	snprintf(result.error, sizeof(result.error), "%s", want->fetch_error);
	snprintf(result.content_encoding, sizeof(result.content_encoding), "%s",
		want->content_encoding);
	result.duration_s = 0.25;
	buf_append_str(&result.body, want->body);
	scrape = scrape_new(&setup.target, TIME_MS);
	got = scrape_judge(scrape, &result, setup.codec);
	if (got != want->judged)
		fail_msg("%s: outcome %s, want %s", want->name, scrape_outcome_name(got),
			scrape_outcome_name(want->judged));
	if (scrape->wire.up != (want->error == NULL))
		fail_msg("%s: up is %d", want->name, scrape->wire.up);
	if (want->error != NULL)
		assert_string_equal(scrape->wire.error, want->error);
	else if (!slice_is(buf_slice(&scrape->body), want->body))
		fail_msg("%s: body \"%s\"", want->name, buf_cstr(&scrape->body));
	if (want->error != NULL && scrape->body.len != 0)
		fail_msg("%s: a failed scrape kept a body", want->name);
	if (scrape->wire.encoding != want->encoding)
		fail_msg("%s: encoding %d, want %d", want->name, scrape->wire.encoding,
			want->encoding);
	assert_int_equal(scrape->wire.time_ms, TIME_MS);
	assert_int_equal(scrape->wire.interval_ms, 15000);
	assert_true(scrape->wire.duration_s == 0.25);
	scrape_free(scrape);
	buf_free(&result.body);
	setup_fini(&setup);
}

static void test_judgements(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(judgements); i++)
		check_judgement(&judgements[i]);
}

/* A megabyte of zeros is one kilobyte of gzip: the limit is about the megabyte. */
static void test_limit_counts_decoded_bytes(void **state)
{
	static char plain[1 << 20];
	static const struct {
		uint64_t limit_bytes;
		enum scrape_outcome want;
	} cases[] = {
		{sizeof(plain) - 1, SCRAPE_TOO_LARGE},
		{sizeof(plain), SCRAPE_SUCCESS},
		{64 << 10, SCRAPE_TOO_LARGE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct setup setup;
		struct fetch_result result = {
			.outcome = FETCH_DONE, .status = 200, .content_encoding = "gzip"};
		struct scrape *scrape;

		setup_init(&setup, cases[i].limit_bytes);
		assert_int_equal(codec_encode(setup.codec, ENCODING_GZIP, 6,
					 (struct slice){plain, sizeof(plain)}, &result.body, NULL),
			0);
		assert_true(result.body.len < 8192);
		scrape = scrape_new(&setup.target, TIME_MS);
		assert_int_equal(scrape_judge(scrape, &result, setup.codec), cases[i].want);
		scrape_free(scrape);
		buf_free(&result.body);
		setup_fini(&setup);
	}
}

static void test_honor_labels(void **state)
{
	struct setup setup;
	struct scrape *scrape;

	(void)state;
	setup_init(&setup, 0);
	setup.settings.honor_labels = true;
	scrape = scrape_new(&setup.target, TIME_MS);
	assert_int_equal(scrape->wire.flags, WIRE_HONOR_LABELS);
	scrape_free(scrape);
	setup_fini(&setup);
}

static void test_content_types(void **state)
{
	static const struct {
		const char *text;
		bool is_default;
	} cases[] = {
		{"", true},
		{"text/plain", true},
		{"Text/Plain", true},
		{"text/plain; version=0.0.4", true},
		{"text/plain;version=0.0.4;charset=utf-8", true},
		{"text/plain; version=\"0.0.4\"; charset=UTF-8", true},
		{" text/plain ; charset=utf-8 ; ", true},
		{"text/plain; version=1.0.0", false},
		{"text/plain; charset=latin1", false},
		{"text/plain; version=0.0.4; escaping=values", false},
		{"application/openmetrics-text; version=1.0.0; charset=utf-8", false},
		{"text/html", false},
		{"text/plainer", false},
		{"text/plain; version", false},
		{"text/plain; =0.0.4", false},
		{"text/plain; version=\"", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (scrape_is_default_type(slice_from(cases[i].text)) != cases[i].is_default)
			fail_msg("\"%s\" is%s the default", cases[i].text,
				cases[i].is_default ? " not" : "");
}

static void test_content_type_is_kept(void **state)
{
	struct setup setup;
	struct fetch_result result = {.outcome = FETCH_DONE,
		.status = 200,
		.content_type = "application/openmetrics-text; version=1.0.0"};
	struct scrape *scrape;

	(void)state;
	setup_init(&setup, 0);
	scrape = scrape_new(&setup.target, TIME_MS);
	assert_int_equal(scrape_judge(scrape, &result, setup.codec), SCRAPE_SUCCESS);
	assert_string_equal(
		scrape->wire.content_type, "application/openmetrics-text; version=1.0.0");
	scrape_fail(scrape, "no more");
	assert_null(scrape->wire.content_type);
	assert_string_equal(scrape->wire.error, "no more");
	scrape_free(scrape);
	setup_fini(&setup);
}

static void test_trim_gives_memory_back(void **state)
{
	struct setup setup;
	struct scrape *scrape;

	(void)state;
	setup_init(&setup, 0);
	scrape = scrape_new(&setup.target, TIME_MS);
	buf_reserve(&scrape->body, 1 << 16);
	buf_append_str(&scrape->body, "a 1\n");
	scrape_trim(scrape);
	assert_int_equal(scrape->body.capacity, 4);
	assert_in_range(scrape_bytes(scrape), sizeof(*scrape) + 4, sizeof(*scrape) + 64);
	assert_true(slice_is(buf_slice(&scrape->body), "a 1\n"));
	scrape_free(scrape);
	setup_fini(&setup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_judgements),
		cmocka_unit_test(test_limit_counts_decoded_bytes),
		cmocka_unit_test(test_honor_labels),
		cmocka_unit_test(test_content_types),
		cmocka_unit_test(test_content_type_is_kept),
		cmocka_unit_test(test_trim_gives_memory_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
