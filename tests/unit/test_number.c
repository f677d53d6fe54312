/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers: known hard cases, midpoints of any length, and strtod's verdict on many random ones. */
#include "common/exposition/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>

static uint64_t bits_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static void check(const char *text, double wanted)
{
	double got = -12345;
	enum number_result result = number_parse(slice_from(text), &got);

	if (result != NUMBER_OK || bits_of(got) != bits_of(wanted))
		fail_msg("%.60s: result %d, %.17g; expected %.17g", text, result, got, wanted);
}

static const struct {
	const char *text;
	double value;
} values[] = {
	{"0", 0.0},
	{"-0", -0.0},
	{"0000123", 123},
	{"+1.50", 1.5},
	{".5", 0.5},
	{"5.", 5},
	{"1e22", 1e22},
	{"1e23", 1e23},
	{"9007199254740993", 9007199254740992.0},
	{"9007199254740993.0000000000000000000001", 9007199254740994.0},
	{"9007199254740995", 9007199254740996.0},
	{"18446744073709551615", 18446744073709551616.0},
	{"12345678901234567890123", 12345678901234567890123.0},
	{"0.1", 0.1},
	{"0.013300656000000001", 0.013300656000000001},
	{"1.7e-27", 1.7e-27},
	{"9999999999999999999e27", 9999999999999999999e27},
	{"9999999999999999999e-27", 9999999999999999999e-27},
	{"1.7976931348623157e308", 1.7976931348623157e308},
	{"1.7976931348623158e308", 1.7976931348623157e308},
	{"2.2250738585072011e-308", 2.2250738585072011e-308},
	{"4.9e-324", 4.9e-324},
	{"2.4e-324", 0.0},
	{"-1e-400", -0.0},
	{"1e-99999999999999999999", 0.0},
	{"0e99999999999999999999", 0.0},
	{"INF", INFINITY},
	{"+Inf", INFINITY},
	{"-infinity", -INFINITY},
};

static void test_values(void **state)
{
	double nan = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		check(values[i].text, values[i].value);
	assert_int_equal(number_parse(SLICE("nAn"), &nan), NUMBER_OK);
	assert_true(isnan(nan));
}

static void test_refusals(void **state)
{
	static const char *const malformed[] = {"", "-", "+", ".", "e5", "-.e1", "1e", "1e+", "1 ",
		" 1", "1x", "1e5x", "1e5.0", "--1", "0x10", "0x1p3", "1_0", "in", "infi", "-nan",
		"+nan", "nan0", "1,5", "\xd9\xa1", "i\356f"};
	static const char *const too_large[] = {"1e309", "-1e309", "1.7976931348623159e308",
		"1e99999999999999999999", "17976931348623159e292"};
	double kept = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
		print_message("\"%s\"\n", malformed[i]);
		assert_int_equal(number_parse(slice_from(malformed[i]), &kept), NUMBER_MALFORMED);
	}
	for (size_t i = 0; i < ARRAY_LEN(too_large); i++) {
		print_message("\"%s\"\n", too_large[i]);
		assert_int_equal(
			number_parse(slice_from(too_large[i]), &kept), NUMBER_OUT_OF_RANGE);
	}
	assert_true(kept == 7);
}

/* The text ends where the slice does, whatever stands behind it. */
static void test_bounds(void **state)
{
	double value = 0;

	(void)state;
	assert_int_equal(number_parse((struct slice){"12345", 3}, &value), NUMBER_OK);
	assert_true(value == 123);
	assert_int_equal(number_parse((struct slice){"1e5", 2}, &value), NUMBER_MALFORMED);
}

/* 1 + 2^-53 lies halfway between two doubles; what a last digit does however far behind. */
static void test_midpoints(void **state)
{
	static const size_t zeros[] = {0, 1, 10, 700, 800, 900, 100000};
	struct buf text = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(zeros); i++) {
		buf_clear(&text);
		buf_append_str(&text, "1.00000000000000011102230246251565404236316680908203125");
		for (size_t zero = 0; zero < zeros[i]; zero++)
			buf_append_char(&text, '0');
		check(buf_cstr(&text), 1.0);
		buf_append_char(&text, '1');
		check(buf_cstr(&text), 1.0 + 0x1p-52);
	}
	buf_clear(&text);
	buf_append_str(&text, "0.");
	for (int zero = 0; zero < 100000; zero++)
		buf_append_char(&text, '0');
	buf_append_str(&text, "125e100002");
	check(buf_cstr(&text), 12.5);
	buf_free(&text);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void random_text(uint64_t *seed, char *text, size_t size)
{
	uint64_t mantissa = next_random(seed) >> next_random(seed) % 64;
	int exponent = (int)(next_random(seed) % 60) - 30;
	double any;

	switch (next_random(seed) % 4) {
	case 0:
		snprintf(text, size, "%llue%d", (unsigned long long)mantissa, exponent);
		break;
	case 1:
		snprintf(text, size, "%llu.%llue%d", (unsigned long long)(mantissa >> 32),
			(unsigned long long)(mantissa & 0xffffffff), exponent * 10);
		break;
	case 2:
		snprintf(text, size, "-0.%llu", (unsigned long long)mantissa);
		break;
	default:
		mantissa = next_random(seed) % 0x7ff0000000000000;
		memcpy(&any, &mantissa, sizeof(any));
		snprintf(text, size, "%.*e", (int)(next_random(seed) % 20), any);
	}
}

static void test_random_numbers_are_read_as_strtod_reads_them(void **state)
{
	uint64_t seed = 20230101;
	char text[80];

	(void)state;
	for (int i = 0; i < 300000; i++) {
		double wanted, got;

		random_text(&seed, text, sizeof(text));
		wanted = strtod(text, NULL);
		if (isinf(wanted))
			assert_int_equal(number_parse(slice_from(text), &got), NUMBER_OUT_OF_RANGE);
		else
			check(text, wanted);
	}
}

/* Compiles a locale whose decimal point is a comma into `folder` and enters it. */
static bool enter_german_locale(const char *folder)
{
	char *command = xasprintf(
		"localedef -i de_DE -f UTF-8 --no-archive %s/de_DE.UTF-8 2>/dev/null", folder);
	bool made = system(command) == 0;

	free(command);
	return made && setenv("LOCPATH", folder, 1) == 0 &&
	       setlocale(LC_ALL, "de_DE.UTF-8") != NULL;
}

static void remove_folder(const char *folder)
{
	char *command = xasprintf("rm -rf %s", folder);

	assert_int_equal(system(command), 0);
	free(command);
}

static void test_locale(void **state)
{
	char folder[] = "/tmp/test_number-XXXXXX";
	bool entered;

	(void)state;
	assert_non_null(mkdtemp(folder));
	entered = enter_german_locale(folder);
	if (entered) {
		assert_true(strtod("1,5", NULL) == 1.5);
		check("1.5", 1.5);
		check("1234567890.12345678901234567890", 0x1.26580b487e6b7p+30);
		check("1.5e-300", 0x1.01297d23ab683p-996);
		setlocale(LC_ALL, "C");
	}
	remove_folder(folder);
	if (!entered) {
		print_message("absent: localedef or its sources\n");
		skip();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_midpoints),
		cmocka_unit_test(test_random_numbers_are_read_as_strtod_reads_them),
		cmocka_unit_test(test_locale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
