/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of both daemons. tests/data/config/NAME.ROLE.yaml gives NAME.ROLE.expected: the
 * report, and for a good file what --check-config and --print-config say. APPROVE=1 writes them
 * anew.
 */
#include "common/config/settings.h"

#include "common/config/settings_internal.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DATA     "tests/data/config"
#define ORIGINAL "../shared/configs/original-sample.yaml"

static const char *const role_names[] = {"poller", "receiver"};

static char *read_text(const char *path)
{
	struct buf content = {0};
	struct err err;
	char *text;

	if (yaml_read_file(path, &content, &err) != 0)
		fail_msg("%s", err.text);
	text = slice_dup(buf_slice(&content));
	buf_free(&content);
	return text;
}

static char *print(const struct settings *settings)
{
	struct buf out = {0};
	char *text;

	settings_print(settings, &out);
	text = slice_dup(buf_slice(&out));
	buf_free(&out);
	return text;
}

static char *describe(const struct settings *settings, enum settings_role role)
{
	struct buf out = {0};
	char *text;

	settings_describe(settings, role, &out);
	text = slice_dup(buf_slice(&out));
	buf_free(&out);
	return text;
}

/* Settings that must load, without a word where `silent`. */
static struct settings *load(
	const char *name, const char *yaml, enum settings_role role, bool silent)
{
	struct buf report = {0};
	struct settings *settings = settings_parse(name, slice_from(yaml), role, &report);

	if (settings == NULL || (silent && report.len > 0))
		fail_msg("%s for the %s: %s", name, role_names[role], buf_cstr(&report));
	buf_free(&report);
	return settings;
}

/* What is printed loads again, to the same. */
static void check_round_trip(
	const char *name, const struct settings *settings, enum settings_role role)
{
	char *first = print(settings), *first_words = describe(settings, role);
	struct settings *again = load(name, first, role, false);
	char *second = print(again), *second_words = describe(again, role);

	assert_string_equal(first, second);
	assert_string_equal(first_words, second_words);
	settings_free(again);
	free(first);
	free(second);
	free(first_words);
	free(second_words);
}

static enum settings_role role_of(const char *file)
{
	return strstr(file, ".poller.") != NULL ? SETTINGS_FOR_POLLER : SETTINGS_FOR_RECEIVER;
}

/* All that the file gives, as golden files hold it. */
static char *outcome_of(const char *file)
{
	char *path = xasprintf(DATA "/%s", file), *yaml = read_text(path), *text;
	enum settings_role role = role_of(file);
	struct buf out = {0};
	struct settings *settings = settings_parse(file, slice_from(yaml), role, &out);

	if (settings != NULL) {
		settings_describe(settings, role, &out);
		settings_print(settings, &out);
		check_round_trip(file, settings, role);
	}
	settings_free(settings);
	text = slice_dup(buf_slice(&out));
	buf_free(&out);
	free(yaml);
	free(path);
	return text;
}

static void approve(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

/* The word for one, where it is not the key of http_headers. */
static bool shows_secret(const char *text)
{
	for (text = strstr(text, "secret"); text != NULL; text = strstr(text + 1, "secret"))
		if (strncmp(text, "secrets:", strlen("secrets:")) != 0)
			return true;
	return false;
}

static void check_golden(const char *file)
{
	char *got = outcome_of(file), *expected;
	char *path = xasprintf(DATA "/%.*s.expected", (int)(strlen(file) - strlen(".yaml")), file);

	if (getenv("APPROVE") != NULL)
		approve(path, got);
	expected = read_text(path);
	if (strcmp(got, expected) != 0)
		fail_msg("%s gives\n%s\ninstead of\n%s", file, got, expected);
	if (shows_secret(got) || strstr(got, "pa,ss") != NULL)
		fail_msg("%s shows a secret:\n%s", file, got);
	free(expected);
	free(path);
	free(got);
}

static void test_golden_files(void **state)
{
	struct dirent **entries;
	int count = scandir(DATA, &entries, NULL, alphasort), checked = 0;

	(void)state;
	assert_true(count > 0);
	for (int i = 0; i < count; i++) {
		const char *dot = strrchr(entries[i]->d_name, '.');

		if (dot != NULL && strcmp(dot, ".yaml") == 0) {
			check_golden(entries[i]->d_name);
			checked++;
		}
		free(entries[i]);
	}
	free(entries);
	assert_true(checked >= 40);
}

/* Every golden bad file is bad, and no other. */
static void test_bad_files_fail(void **state)
{
	struct dirent **entries;
	int count = scandir(DATA, &entries, NULL, alphasort);

	(void)state;
	for (int i = 0; i < count; i++) {
		const char *file = entries[i]->d_name;
		char *path = xasprintf(DATA "/%s", file);
		struct buf report = {0};
		struct settings *settings;

		if (strstr(file, ".yaml") != NULL) {
			settings = settings_load(path, role_of(file), &report);
			if ((settings == NULL) != (strncmp(file, "bad-", 4) == 0))
				fail_msg("%s: %s", file, buf_cstr(&report));
			settings_free(settings);
		}
		buf_free(&report);
		free(path);
		free(entries[i]);
	}
	free(entries);
}

/* What the original's sample means, and ours of the same structure, apart from the names in it. */
static void check_as_original(const struct settings *settings)
{
	assert_true(settings->verbose);
	assert_false(settings->debug);
	assert_int_equal(settings->max_age_ms, 80000);
	assert_int_equal(settings->scrape_interval_ms, 60000);
	assert_true(settings->poller_stream.present);
	assert_int_equal(settings->poller_stream.urls.count, 1);
	assert_string_equal(settings->poller_stream.topic, "prometheus");
	assert_true(settings->receiver_stream.present);
	assert_true(settings->receiver_stream.legacy);
	assert_string_equal(settings->receiver_stream.topic, "prometheus");
	assert_int_equal(settings->push_gateway_count, 1);
	assert_string_equal(settings->push_gateways[0].name, "push_gateway");
	assert_false(settings->push_gateways[0].publisher_label);
	assert_int_equal(settings->job_count, 1);
	assert_int_equal(settings->jobs[0].scrape_interval_ms, 60000);
	assert_int_equal(settings->jobs[0].target_count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(settings->jobs[0].targets[i].labels.count, 0);
}

static void test_original_sample(void **state)
{
	(void)state;
	if (access(ORIGINAL, R_OK) != 0) {
		print_message("skipped: the original's sample is absent (%s)\n", ORIGINAL);
		skip();
	}
	for (int role = SETTINGS_FOR_POLLER; role <= SETTINGS_FOR_RECEIVER; role++) {
		char *yaml = read_text(ORIGINAL);
		struct settings *settings = load(ORIGINAL, yaml, (enum settings_role)role, true);
		const struct target_settings *target;

		check_as_original(settings);
		assert_string_equal(settings->logfile, "/var/log/prometheus-streams.log");
		assert_string_equal(settings->poller_stream.stream, "dc1_stream");
		assert_string_equal(
			settings->poller_stream.urls.items[0], "nats://nats.dc1.example.net:4222");
		assert_string_equal(settings->receiver_stream.stream, "global_stream");
		assert_string_equal(settings->receiver_stream.client_id, "prometheus_receiver");
		assert_string_equal(
			settings->push_gateways[0].url, "http://prometheus.dc2.example.net:9091");
		assert_string_equal(settings->jobs[0].name, "choria");
		target = &settings->jobs[0].targets[2];
		assert_string_equal(target->instance, "choria3");
		assert_string_equal(
			target->url, "http://choria3.dc1.example.net:8222/choria/prometheus");
		check_round_trip(ORIGINAL, settings, (enum settings_role)role);
		settings_free(settings);
		free(yaml);
	}
}

static void test_classic_sample(void **state)
{
	(void)state;
	for (int role = SETTINGS_FOR_POLLER; role <= SETTINGS_FOR_RECEIVER; role++) {
		char *yaml = read_text(DATA "/classic.receiver.yaml");
		struct settings *settings = load("classic", yaml, (enum settings_role)role, true);

		check_as_original(settings);
		settings_free(settings);
		free(yaml);
	}
}

/* Reports show no secrets, but what is fetched has them. */
static void test_targets_are_whole(void **state)
{
	static const struct {
		const char *url, *instance;
	} expected[] = {
		{"http://web1:9100/metrics?a=x%26y&z=1&z=two%20words", "web1:9100"},
		{"http://web1:9100/metrics?x=1&a=x%26y&z=1&z=two%20words", "web1:9100"},
		{"http://web2:9100/m?a=x%26y&z=1&z=two%20words", "second"},
		{"https://user:secret@web3/m?token=abc&a=x%26y&z=1&z=two%20words", "web3"},
		{"http://[::1]:9100/?a=x%26y&z=1&z=two%20words", "by label"},
	};
	char *yaml = read_text(DATA "/full.poller.yaml");
	struct settings *settings = load("full", yaml, SETTINGS_FOR_POLLER, false);
	const struct job_settings *job = &settings->jobs[0];

	(void)state;
	assert_int_equal(job->target_count, ARRAY_LEN(expected));
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		assert_string_equal(job->targets[i].url, expected[i].url);
		assert_string_equal(job->targets[i].instance, expected[i].instance);
	}
	assert_int_equal(job->targets[1].labels.count, 1);
	assert_string_equal(labels_get(&job->targets[1].labels, "env"), "prod");
	assert_int_equal(job->targets[4].labels.count, 0);
	assert_string_equal(
		settings->poller_stream.urls.items[0], "nats://user:pa,ss@one.example.org:4222");
	assert_int_equal(settings->poller_stream.duplicate_window_ms, 90000);
	settings_free(settings);
	free(yaml);
}

static void test_default_names(void **state)
{
	char host[256] = "";
	struct settings *settings = load("min",
		"poller_stream: {urls: h, stream: s}\njobs: {a: {targets: [{url: "
		"\"http://h\"}]}}\n",
		SETTINGS_FOR_POLLER, true);
	char *durable;

	(void)state;
	assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
	assert_string_equal(settings->identity, host);
	assert_null(settings->logfile);
	settings_free(settings);

	settings = load("min",
		"receiver_stream: {urls: h, stream: s, client_id: c}\npush_gateway: {url: "
		"\"http://h\"}\n",
		SETTINGS_FOR_RECEIVER, true);
	durable = settings_durable_name(&settings->receiver_stream, "sink", NULL);
	assert_string_equal(durable, "c_sink");
	free(durable);
	durable = settings_durable_name(&settings->receiver_stream, "sink", "dc1");
	assert_string_equal(durable, "c_sink_dc1");
	free(durable);
	settings_free(settings);
}

static void test_unreadable_file(void **state)
{
	struct buf report = {0};

	(void)state;
	assert_null(settings_load("/nonexistent.yaml", SETTINGS_FOR_POLLER, &report));
	assert_string_equal(buf_cstr(&report), "/nonexistent.yaml: No such file or directory\n");
	buf_free(&report);
}

/* Takes the # off every "#key: value". */
static char *uncomment(const char *text, int *count)
{
	struct buf out = {0};
	char *result;

	*count = 0;
	for (bool line_start = true; *text != '\0'; text++) {
		bool is_value = line_start && text[0] == '#' && text[1] >= 'a' && text[1] <= 'z';

		*count += is_value;
		if (!is_value)
			buf_append_char(&out, *text);
		line_start = *text == '\n' || (line_start && *text == ' ');
	}
	result = slice_dup(buf_slice(&out));
	buf_free(&out);
	return result;
}

static void test_samples_show_the_defaults(void **state)
{
	(void)state;
	for (int role = SETTINGS_FOR_POLLER; role <= SETTINGS_FOR_RECEIVER; role++) {
		char *path = xasprintf("etc/%s.yaml", role_names[role]);
		char *yaml = read_text(path), *whole, *printed, *whole_printed;
		struct settings *settings = load(path, yaml, (enum settings_role)role, true);
		struct settings *defaults;
		int count;

		whole = uncomment(yaml, &count);
		assert_true(count > 12);
		defaults = load(path, whole, (enum settings_role)role, true);
		printed = print(settings);
		whole_printed = print(defaults);
		assert_string_equal(whole_printed, printed);
		check_round_trip(path, settings, (enum settings_role)role);
		settings_free(settings);
		settings_free(defaults);
		free(printed);
		free(whole_printed);
		free(whole);
		free(yaml);
		free(path);
	}
}

struct samples {
	char *texts[2];
	size_t checked;
};

static bool holds_key(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = strstr(text, name); at != NULL; at = strstr(at + 1, name))
		if (at > text && strchr(" #{\n", at[-1]) != NULL && at[len] == ':')
			return true;
	return false;
}

/* Whom a table is for: what the row at the top says that it hangs on. */
static unsigned audience_of(const char *path)
{
	for (size_t i = 0; i < settings_table.key_count; i++) {
		const struct config_key *key = &settings_table.keys[i];
		size_t len = strlen(key->name);

		if (strncmp(path, key->name, len) == 0 && (path[len] == '\0' || path[len] == '.'))
			return key->audience;
	}
	return 0;
}

static void check_in_samples(void *arg, const char *path, const struct config_table *table)
{
	struct samples *samples = arg;

	for (size_t i = 0; i < table->key_count; i++) {
		const struct config_key *key = &table->keys[i];
		unsigned audience = path[0] == '\0' ? key->audience : audience_of(path);

		for (int role = 0; role < 2; role++)
			if ((audience == 0 || (audience & SETTINGS_AUDIENCE(role))) &&
				!holds_key(samples->texts[role], key->name))
				fail_msg("etc/%s.yaml does not show %s%s%s", role_names[role], path,
					path[0] == '\0' ? "" : ".", key->name);
		assert_non_null(key->help);
		samples->checked++;
	}
}

static void test_samples_have_every_key(void **state)
{
	struct samples samples = {
		{read_text("etc/poller.yaml"), read_text("etc/receiver.yaml")}, 0};

	(void)state;
	config_each_table(&settings_table, check_in_samples, &samples);
	assert_true(samples.checked > 60);
	free(samples.texts[0]);
	free(samples.texts[1]);
}

static void test_reference_is_the_table(void **state)
{
	char *page = read_text("docs/configuration.md");
	struct buf keys = {0};

	(void)state;
	settings_write_keys(&keys);
	if (strstr(page, buf_cstr(&keys)) == NULL)
		fail_msg("docs/configuration.md must end with what --help-config prints:\n%s",
			buf_cstr(&keys));
	buf_free(&keys);
	free(page);
}

/* CPU seconds for `count` targets, in three of the ways to write them. */
static double seconds_for(int count)
{
	struct buf yaml = {0}, report = {0};
	struct settings *settings;
	clock_t start;
	double seconds;

	buf_append_str(&yaml, "poller_stream: {urls: h, stream: s}\njobs:\n  one:\n    targets:\n");
	for (int i = 0; i < count / 2; i++)
		buf_appendf(&yaml,
			"    - {name: n%d, url: \"http://h%d:9100/metrics\", labels: {env: "
			"prod}}\n",
			i, i);
	buf_append_str(&yaml, "    static_configs:\n    - targets:\n");
	for (int i = 0; i < count / 4; i++)
		buf_appendf(&yaml, "      - h%d:9100\n", i);
	for (int i = 0; i < count / 4; i++)
		buf_appendf(&yaml, "  job%d: {targets: [{url: \"http://h\"}]}\n", i);
	start = clock();
	settings = settings_parse("big", buf_slice(&yaml), SETTINGS_FOR_POLLER, &report);
	seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
	if (settings == NULL)
		fail_msg("%s", buf_cstr(&report));
	assert_int_equal(settings->jobs[0].target_count, count / 2 + count / 4);
	settings_free(settings);
	buf_free(&report);
	buf_free(&yaml);
	return seconds;
}

/* Ten times the targets: quadratic work would take a hundred times as long. */
static void test_many_targets(void **state)
{
	double few = seconds_for(5000), many = seconds_for(50000);

	(void)state;
	print_message("50,000 targets in %.2f s\n", many);
	if (many > 30 * few + 0.5)
		fail_msg("5,000 targets take %.3f s, but 50,000 %.3f s", few, many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_files),
		cmocka_unit_test(test_bad_files_fail),
		cmocka_unit_test(test_original_sample),
		cmocka_unit_test(test_classic_sample),
		cmocka_unit_test(test_targets_are_whole),
		cmocka_unit_test(test_default_names),
		cmocka_unit_test(test_unreadable_file),
		cmocka_unit_test(test_samples_show_the_defaults),
		cmocka_unit_test(test_samples_have_every_key),
		cmocka_unit_test(test_reference_is_the_table),
		cmocka_unit_test(test_many_targets),
	};

	setenv("PS_TEST_SET", "ok", 1);
	setenv("PS_TEST_HOST", "web9", 1);
	unsetenv("PS_TEST_UNSET");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
