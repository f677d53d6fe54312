/* SPDX-License-Identifier: Apache-2.0 */
/* URLs: how they are split, which are refused in which words, and that no secret is ever shown. */
#include "common/core/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
	const char *text;
	const char *scheme, *host;
	int port;
	bool userinfo;
	const char *path, *host_port;
} good[] = {
	{"http://web1", "http", "web1", 80, false, "/", "web1"},
	{"http://web1:9100/metrics", "http", "web1", 9100, false, "/metrics", "web1:9100"},
	{"HTTPS://Web1/x?y=z#frag", "https", "Web1", 443, false, "/x?y=z", "Web1"},
	{"http://web1:80/", "http", "web1", 80, false, "/", "web1:80"},
	{"http://web1?x=1", "http", "web1", 80, false, "/?x=1", "web1"},
	{"http://web1#x", "http", "web1", 80, false, "/", "web1"},
	{"nats://u:p@n1", "nats", "n1", 4222, true, "/", "n1"},
	{"tls://tok@n1:4443", "tls", "n1", 4443, true, "/", "n1:4443"},
	{"nats://u:p@x@n1", "nats", "n1", 4222, true, "/", "n1"},
	{"http://[::1]:9100/m", "http", "::1", 9100, false, "/m", "[::1]:9100"},
	{"http://[fe80::1%25eth0]", "http", "fe80::1%25eth0", 80, false, "/", "[fe80::1%25eth0]"},
	{"http://127.0.0.1:1/", "http", "127.0.0.1", 1, false, "/", "127.0.0.1:1"},
	{"http://h:65535/a@b:c", "http", "h", 65535, false, "/a@b:c", "h:65535"},
	{"unix+x://h/p", "unix+x", "h", 0, false, "/p", "h"},
	{"http://k\xc3\xb6ln/", "http", "k\xc3\xb6ln", 80, false, "/", "k\xc3\xb6ln"},
};

static const struct {
	const char *text;
	const char *error;
} bad[] = {
	{"", "is empty"},
	{"web1:9100", "does not begin with a scheme"},
	{"/metrics", "does not begin with a scheme"},
	{"://h", "does not begin with a scheme"},
	{"1http://h", "does not begin with a scheme"},
	{"http:/h", "does not begin with a scheme"},
	{"http", "does not begin with a scheme"},
	{"http://", "no host"},
	{"http:///x", "no host"},
	{"http://:80/", "no host"},
	{"http://u:p@", "no host"},
	{"http://h:", "no port"},
	{"http://h:/x", "no port"},
	{"http://h:0", "out of range"},
	{"http://h:65536", "out of range"},
	{"http://h:99999999999999999999", "out of range"},
	{"http://h:-1", "not a number"},
	{"http://h:8x", "not a number"},
	{"http://::1/", "no host"},
	{"http://fe80::1/", "in brackets"},
	{"http://[::1/", "lacks the ']'"},
	{"http://[::g]/", "no valid IPv6"},
	{"http://[]/", "no valid IPv6"},
	{"http://[1.2.3.4]/", "no valid IPv6"},
	{"http://[::1%25a/b]/", "lacks the ']'"},
	{"http://[::1%a b]/", "a space"},
	{"http://[::1]x/", "something other than a port"},
	{"http://[::1]:/", "no port"},
	{"http://h h/", "a space"},
	{"http://h/\n", "control character"},
	{"http://h/\x7f", "control character"},
	{"http://h\\x/", "invalid character in its host"},
	{"http://h,i/", "invalid character in its host"},
	{"http://${HOST}/", "invalid character in its host"},
};

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct url url;
		struct err err = {""};
		char *host_port;

		if (url_parse(&url, slice_from(good[i].text), &err) < 0)
			fail_msg("%s: %s", good[i].text, err.text);
		host_port = url_host_port(&url);
		assert_string_equal(url.scheme, good[i].scheme);
		assert_string_equal(url.host, good[i].host);
		assert_int_equal(url.port, good[i].port);
		assert_int_equal(url.has_userinfo, good[i].userinfo);
		assert_string_equal(url.path_and_query, good[i].path);
		assert_string_equal(host_port, good[i].host_port);
		free(host_port);
		url_fini(&url);
	}
}

static void refuse(struct slice text, const char *name, const char *error)
{
	struct url url;
	struct err err = {""};

	if (url_parse(&url, text, &err) == 0)
		fail_msg("%s: accepted", name);
	if (strstr(err.text, error) == NULL)
		fail_msg("%s: got \"%s\", want \"%s\"", name, err.text, error);
}

static void test_refuse(void **state)
{
	static char longest[URL_MAX_BYTES + 2];
	struct url url;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refuse(slice_from(bad[i].text), bad[i].text, bad[i].error);
	refuse(SLICE("http://h/\0x"), "NUL", "control character");
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "http://h/", 9);
	refuse((struct slice){longest, URL_MAX_BYTES + 1}, "too long", "longer than");
	assert_int_equal(url_parse(&url, (struct slice){NULL, 0}, NULL), -1);
	assert_int_equal(url_parse(&url, (struct slice){longest, URL_MAX_BYTES}, NULL), 0);
	url_fini(&url);
}

/* Every secret in the inputs is spelt SEC or contains it. */
static const struct {
	const char *text, *shown;
} redacted[] = {
	{"", ""},
	{"http://h:80/x?a=b", "http://h:80/x?a=b"},
	{"http://u:SEC@h/x", "http://xxxxx@h/x"},
	{"http://SEC@h", "http://xxxxx@h"},
	{"http://u:SEC@SEC@h/x", "http://xxxxx@h/x"},
	{"http://u:SEC/SEC@h/x", "http://xxxxx@h/x"},
	{"http://u:SEC?SEC@h/x", "http://xxxxx@h/x"},
	{"http://u:SEC#SEC@h/x", "http://xxxxx@h/x"},
	{"http://u:SEC SEC@h", "http://xxxxx@h"},
	{"http://u:SEC", "http://xxxxx"},
	{"http://u:SEC/x", "http://xxxxx/x"},
	{"u:SEC@h:4222", "xxxxx@h:4222"},
	{"nats://a,b:4222", "nats://a,b:4222"},
	{"nats://a:1,nats://u:SEC@b:2", "nats://a:1,nats://xxxxx@b:2"},
	{"nats://u:SEC@a, nats://SEC@b", "nats://xxxxx@a, nats://xxxxx@b"},
	{"nats://u:SEC,SEC@a,tls://SEC@b", "nats://xxxxx@a,tls://xxxxx@b"},
	{"nats://u:SEC,nats://b", "nats://xxxxx,nats://b"},
	{"http://h/?token=SEC", "http://h/?token=xxxxx"},
	{"http://h/?a=1&API_Key=SEC&b=2", "http://h/?a=1&API_Key=xxxxx&b=2"},
	{"http://h/?password=SEC=@SEC", "http://h/?password=xxxxx"},
	{"http://h/?x=1;client_secret=SEC#f", "http://h/?x=1;client_secret=xxxxx#f"},
	{"http://h/#access_token=SEC", "http://h/#access_token=xxxxx"},
	{"http://h/?X-Amz-Signature=SEC", "http://h/?X-Amz-Signature=xxxxx"},
	{"http://h/?token", "http://h/?token"},
	{"/x?token=SEC", "/x?token=xxxxx"},
	{"http://gw/job@base64/eC95", "http://gw/job@base64/eC95"},
	{"http://u:SEC@gw/job@base64/eC95", "http://xxxxx@gw/job@base64/eC95"},
	{"http://[::1]:9091/x", "http://[::1]:9091/x"},
	{"http:///x", "http:///x"},
	{"@", "xxxxx@"},
	{",,@,", "xxxxx@,"},
};

static void test_redact(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(redacted); i++) {
		char *shown = url_redact(redacted[i].text);

		if (strcmp(shown, redacted[i].shown) != 0)
			fail_msg("%s: got %s, want %s", redacted[i].text, shown, redacted[i].shown);
		assert_null(strstr(shown, "SEC"));
		free(shown);
	}
}

/* Userinfo with every printable character within: nothing of it is shown. */
static void test_redact_any_password(void **state)
{
	(void)state;
	for (char c = ' '; c < 0x7f; c++) {
		char *text = xasprintf("nats://user:SEC%cSEC@h:4222,nats://i", c);
		char *shown = url_redact(text);

		if (strstr(shown, "SEC") != NULL || strstr(shown, "user") != NULL)
			fail_msg("%s: got %s", text, shown);
		assert_non_null(strstr(shown, "nats://i"));
		free(shown);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_redact),
		cmocka_unit_test(test_redact_any_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
