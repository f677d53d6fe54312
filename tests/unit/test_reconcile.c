/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload takes over and what it leaves: two files of settings, side by side. */
#include "common/config/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define POLLER                                                                                     \
	"identity: dc1\n"                                                                          \
	"poller_stream: {urls: 'nats://a', stream: S}\n"                                           \
	"jobs: {a: {targets: [{url: 'http://x/m'}]}}\n"
#define RECEIVER                                                                                   \
	"receiver_stream: {urls: 'nats://a', stream: S, client_id: c}\n"                           \
	"push_gateway: [{url: 'http://g1'}, {url: 'http://g2', name: two, timeout: 3s}]\n"

static const struct {
	const char *name;
	enum settings_role role;
	const char *current, *fresh;
	const char *changes; /* "key ", "key! " where it needs a restart */
	const char *holds;   /* in what is printed of it then */
	const char *lacks;
} cases[] = {
	{"the same", SETTINGS_FOR_POLLER, POLLER, POLLER, "", "identity: dc1", NULL},
	{"written otherwise", SETTINGS_FOR_POLLER, POLLER "queue_bytes: 8MB\n",
		"# moved\nqueue_bytes: 8192KB\n" POLLER, "", "8", NULL},
	{"a limit", SETTINGS_FOR_POLLER, POLLER, POLLER "queue_bytes: 8MB\n", "queue_bytes ",
		"queue_bytes: 8MB", NULL},
	{"identity", SETTINGS_FOR_POLLER, POLLER,
		"identity: dc2\n"
		"poller_stream: {urls: 'nats://a', stream: S}\n"
		"jobs: {a: {targets: [{url: 'http://x/m'}]}}\n",
		"identity! ", "dc1", "dc2"},
	{"in a section", SETTINGS_FOR_POLLER, POLLER,
		"identity: dc1\n"
		"poller_stream: {urls: ['nats://b', 'nats://c'], stream: S, topic: t.u}\n"
		"jobs: {a: {targets: [{url: 'http://x/m'}]}}\n",
		"poller_stream.urls! poller_stream.topic! ", "nats://a", "nats://b"},
	{"a job's target", SETTINGS_FOR_POLLER, POLLER,
		"identity: dc1\n"
		"poller_stream: {urls: 'nats://a', stream: S}\n"
		"jobs: {a: {targets: [{url: 'http://y/m'}]}}\n",
		"jobs ", "http://y/m", "http://x/m"},
	{"a job's name", SETTINGS_FOR_POLLER, POLLER,
		"identity: dc1\n"
		"poller_stream: {urls: 'nats://a', stream: S}\n"
		"jobs: {b: {targets: [{url: 'http://x/m'}]}}\n",
		"jobs ", "http://x/m", NULL},
	{"what jobs inherit", SETTINGS_FOR_POLLER, POLLER, POLLER "honor_labels: true\n",
		"honor_labels jobs ", "honor_labels: true", NULL},
	{"a job's password", SETTINGS_FOR_POLLER, POLLER,
		"identity: dc1\n"
		"poller_stream: {urls: 'nats://a', stream: S}\n"
		"jobs: {a: {basic_auth: {username: u, password: p},"
		" targets: [{url: 'http://x/m'}]}}\n",
		"jobs ", "username: u", "password: p"},
	{"who the poller is to NATS", SETTINGS_FOR_POLLER, POLLER,
		"identity: dc1\n"
		"poller_stream: {urls: 'nats://a', stream: S, user: u, password: p}\n"
		"jobs: {a: {targets: [{url: 'http://x/m'}]}}\n",
		"poller_stream.user! poller_stream.password! ", "nats://a", "user: u"},
	{"a section there and not there", SETTINGS_FOR_POLLER, POLLER, POLLER "tls: {}\n", "tls! ",
		"nats://a", "tls:"},
	{"the other daemon's", SETTINGS_FOR_POLLER, POLLER,
		POLLER RECEIVER "max_scrape_bytes: 1MB\n", "", "dc1", NULL},
	{"a log file", SETTINGS_FOR_POLLER, POLLER, POLLER "logfile: /tmp/x\n", "logfile! ",
		"logfile: \"\"", "/tmp/x"},
	{"bounds", SETTINGS_FOR_RECEIVER, RECEIVER, RECEIVER "max_age: 5s\nmax_scrape_bytes: 2MB\n",
		"max_age max_scrape_bytes ", "max_age: 5s", NULL},
	{"of a sink", SETTINGS_FOR_RECEIVER, RECEIVER,
		"receiver_stream: {urls: 'nats://a', stream: S, client_id: c}\n"
		"push_gateway: [{url: 'http://g1', concurrency: 9}, {url: 'http://g2', name: "
		"two}]\n",
		"push_gateway[0].concurrency push_gateway[1].timeout ", "concurrency: 9", "3s"},
	{"a sink more", SETTINGS_FOR_RECEIVER, RECEIVER,
		"receiver_stream: {urls: 'nats://a', stream: S, client_id: c}\n"
		"push_gateway: [{url: 'http://g1'}, {url: 'http://g2', name: two},"
		" {url: 'http://g3'}]\n",
		"push_gateway! ", "3s", "http://g3"},
	{"sinks in another order", SETTINGS_FOR_RECEIVER, RECEIVER,
		"receiver_stream: {urls: 'nats://a', stream: S, client_id: c}\n"
		"push_gateway: [{url: 'http://g2', name: two, concurrency: 7}, {url: "
		"'http://g1'}]\n",
		"push_gateway[0].name! push_gateway[0].url! push_gateway[0].concurrency "
		"push_gateway[1].name! push_gateway[1].url! push_gateway[1].timeout ",
		"3s", "concurrency: 7"},
	{"a sink's token", SETTINGS_FOR_RECEIVER,
		"receiver_stream: {urls: 'nats://a', stream: S, client_id: c}\n"
		"push_gateway: {url: 'http://g1', authorization: {credentials: old}}\n",
		"receiver_stream: {urls: 'nats://a', stream: S, client_id: c}\n"
		"push_gateway: {url: 'http://g1', authorization: {type: X, credentials: new}}\n",
		"push_gateway[0].authorization! ", "type: Bearer", "type: X"},
	{"a filter", SETTINGS_FOR_RECEIVER, RECEIVER,
		"receiver_stream: {urls: 'nats://a', stream: S, client_id: c, filter: [dc7]}\n"
		"push_gateway: [{url: 'http://g1'}, {url: 'http://g2', name: two, timeout: 3s}]\n",
		"receiver_stream.filter! ", "filter: []", "dc7"},
};

static void on_change(void *arg, const char *key, bool needs_restart)
{
	buf_appendf(arg, "%s%s ", key, needs_restart ? "!" : "");
}

static struct settings *parse(const char *text, enum settings_role role)
{
	struct buf report = {0};
	struct settings *settings = settings_parse("test.yaml", slice_from(text), role, &report);

	if (settings == NULL)
		fail_msg("%s", buf_cstr(&report));
	buf_free(&report);
	return settings;
}

static void test_reconcile(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct settings *current = parse(cases[i].current, cases[i].role);
		struct settings *fresh = parse(cases[i].fresh, cases[i].role);
		struct buf changes = {0}, again = {0}, printed = {0};

		settings_reconcile(current, fresh, on_change, &changes);
		if (strcmp(buf_cstr(&changes), cases[i].changes) != 0)
			fail_msg("%s: \"%s\" instead of \"%s\"", cases[i].name, buf_cstr(&changes),
				cases[i].changes);
		/* It stands on its own. */
		settings_free(current);
		settings_print(fresh, &printed);
		if (strstr(buf_cstr(&printed), cases[i].holds) == NULL ||
			(cases[i].lacks != NULL &&
				strstr(buf_cstr(&printed), cases[i].lacks) != NULL))
			fail_msg("%s: prints\n%s", cases[i].name, buf_cstr(&printed));
		current = parse(cases[i].current, cases[i].role);
		settings_reconcile(fresh, current, on_change, &again);
		assert_null(strchr(buf_cstr(&again), '!'));
		settings_free(current);
		settings_free(fresh);
		buf_free(&changes);
		buf_free(&again);
		buf_free(&printed);
	}
}

static void test_references(void **state)
{
	struct settings *settings = parse(POLLER, SETTINGS_FOR_POLLER);

	(void)state;
	assert_ptr_equal(settings_ref(settings), settings);
	settings_free(settings);
	assert_string_equal(settings->identity, "dc1");
	settings_free(settings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reconcile),
		cmocka_unit_test(test_references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
