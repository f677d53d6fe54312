/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A decimal is read into a 64-bit mantissa and a power of ten. Three ways lead from there to the
 * nearest double, the cheapest that is exact being taken: one operation on two exact doubles; one
 * on 128-bit integers, whose remainder decides the rounding; strtod on a copy without a decimal
 * point, which no locale changes, cut where no further digit can matter.
 */
#include "common/exposition/number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

/* As many digits fit any 64-bit mantissa. */
#define MANTISSA_DIGITS 19
/* The midpoint between two doubles has at most 767 digits: those behind only break a tie. */
#define DIGITS_THAT_MATTER 800
#define EXPONENT_LIMIT     1000000000000000

struct decimal {
	uint64_t mantissa;
	int64_t exponent;    /* value = mantissa * 10^exponent */
	struct slice digits; /* of the mantissa, the point included, leading zeros not skipped */
	int64_t written;     /* the exponent as it was written */
	bool negative;
	bool cut; /* the mantissa lacks digits */
};

static bool is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

/* Reads a run of digits into the mantissa; returns where it ends. */
static const char *read_digits(const char *at, const char *end, struct decimal *d, int *room)
{
	for (; at < end && is_digit(*at); at++) {
		if (*room > 0) {
			d->mantissa = d->mantissa * 10 + (uint64_t)(*at - '0');
			*room -= d->mantissa != 0;
		} else {
			d->cut = true;
			d->exponent++;
		}
	}
	return at;
}

/* Reads what follows the 'e'; NULL if that is not an exponent. */
static const char *read_exponent(const char *at, const char *end, struct decimal *d)
{
	bool negative = at < end && *at == '-';
	const char *first;
	int64_t exponent = 0;

	if (at < end && (*at == '-' || *at == '+'))
		at++;
	for (first = at; at < end && is_digit(*at); at++)
		if (exponent < EXPONENT_LIMIT)
			exponent = exponent * 10 + (*at - '0');
	if (at == first)
		return NULL;
	d->written = negative ? -exponent : exponent;
	d->exponent += d->written;
	return at;
}

static bool read_decimal(struct slice text, struct decimal *d)
{
	const char *at = text.ptr, *end = text.ptr + text.len, *start, *point;
	int room = MANTISSA_DIGITS;
	size_t digits;

	*d = (struct decimal){.negative = at < end && *at == '-'};
	if (at < end && (*at == '-' || *at == '+'))
		at++;
	start = at;
	at = read_digits(at, end, d, &room);
	digits = (size_t)(at - start);
	if (at < end && *at == '.') {
		point = ++at;
		at = read_digits(at, end, d, &room);
		digits += (size_t)(at - point);
		d->exponent -= at - point;
	}
	d->digits = (struct slice){start, (size_t)(at - start)};
	if (digits == 0)
		return false;
	if (at < end && (*at == 'e' || *at == 'E'))
		at = read_exponent(at + 1, end, d);
	return at == end;
}

#ifdef __SIZEOF_INT128__
#define EXACT_POWERS 27

static const uint64_t powers_of_5[EXACT_POWERS + 1] = {
	1,
	5,
	25,
	125,
	625,
	3125,
	15625,
	78125,
	390625,
	1953125,
	9765625,
	48828125,
	244140625,
	1220703125,
	6103515625,
	30517578125,
	152587890625,
	762939453125,
	3814697265625,
	19073486328125,
	95367431640625,
	476837158203125,
	2384185791015625,
	11920928955078125,
	59604644775390625,
	298023223876953125,
	1490116119384765625,
	7450580596923828125,
};

static double power_of_2(int exponent)
{
	uint64_t bits = (uint64_t)(1023 + exponent) << 52;
	double result;

	memcpy(&result, &bits, sizeof(result));
	return result;
}

/*
 * mantissa / 5^k, both shifted until their top bit is set: the quotient has 62 or 63 bits, and its
 * lowest one stands for all that follow it, so that the conversion to 53 bits rounds right.
 */
static double divide_exactly(uint64_t mantissa, int k)
{
	int shift_mantissa = __builtin_clzll(mantissa);
	int shift_divisor = __builtin_clzll(powers_of_5[k]);
	uint64_t divisor = powers_of_5[k] << shift_divisor;
	unsigned __int128 dividend = (unsigned __int128)(mantissa << shift_mantissa) << 62;
	uint64_t quotient = (uint64_t)(dividend / divisor);

	quotient |= dividend != (unsigned __int128)quotient * divisor;
	return (double)(int64_t)quotient * power_of_2(shift_divisor - shift_mantissa - 62 - k);
}

static bool convert_by_integers(const struct decimal *d, double *value)
{
	if (d->exponent < -EXACT_POWERS || d->exponent > EXACT_POWERS)
		return false;
	if (d->exponent < 0)
		*value = divide_exactly(d->mantissa, (int)-d->exponent);
	else
		*value = (double)((unsigned __int128)d->mantissa * powers_of_5[d->exponent]) *
			 power_of_2((int)d->exponent);
	return true;
}
#else
static bool convert_by_integers(const struct decimal *d, double *value)
{
	(void)d;
	(void)value;
	return false;
}
#endif

#define EXACT_DOUBLES 22

static const double powers_of_10[EXACT_DOUBLES + 1] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8,
	1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Mantissa and power are both exact doubles, so the one operation is the only one that rounds. */
static bool convert_by_doubles(const struct decimal *d, double *value)
{
	if (FLT_EVAL_METHOD != 0 || d->mantissa > (uint64_t)1 << 53)
		return false;
	if (d->exponent < -EXACT_DOUBLES || d->exponent > EXACT_DOUBLES)
		return false;
	if (d->exponent < 0)
		*value = (double)(int64_t)d->mantissa / powers_of_10[-d->exponent];
	else
		*value = (double)(int64_t)d->mantissa * powers_of_10[d->exponent];
	return true;
}

static double convert_by_strtod(const struct decimal *d)
{
	char copy[DIGITS_THAT_MATTER + 32];
	size_t used = 0;
	int64_t exponent = d->written;
	bool fraction = false, more = false;

	for (size_t i = 0; i < d->digits.len; i++) {
		char c = d->digits.ptr[i];

		if (c == '.') {
			fraction = true;
			continue;
		}
		exponent -= fraction;
		if (used == DIGITS_THAT_MATTER) {
			more |= c != '0';
			exponent++;
		} else if (used > 0 || c != '0') {
			copy[used++] = c;
		}
	}
	if (more) {
		copy[used++] = '1';
		exponent--;
	}
	if (exponent < -100000 || exponent > 100000)
		exponent = exponent < 0 ? -100000 : 100000;
	snprintf(copy + used, sizeof(copy) - used, "e%d", (int)exponent);
	return strtod(copy, NULL);
}

static enum number_result convert(const struct decimal *d, double *value)
{
	double result = 0;

	if (d->mantissa == 0)
		result = 0;
	else if (d->cut || (!convert_by_doubles(d, &result) && !convert_by_integers(d, &result)))
		result = convert_by_strtod(d);
	if (isinf(result))
		return NUMBER_OUT_OF_RANGE;
	*value = d->negative ? -result : result;
	return NUMBER_OK;
}

/* Whether the text is the lower-case word in any case; not by strcasecmp, which asks the locale. */
static bool is_word(struct slice text, const char *word)
{
	if (text.len != strlen(word))
		return false;
	for (size_t i = 0; i < text.len; i++)
		if ((text.ptr[i] | 0x20) != word[i])
			return false;
	return true;
}

static enum number_result parse_word(struct slice text, double *value)
{
	bool negative = text.len > 0 && *text.ptr == '-';
	struct slice rest = text;

	if (is_word(text, "nan")) {
		*value = NAN;
		return NUMBER_OK;
	}
	if (text.len > 0 && (*text.ptr == '-' || *text.ptr == '+'))
		rest = (struct slice){text.ptr + 1, text.len - 1};
	if (!is_word(rest, "inf") && !is_word(rest, "infinity"))
		return NUMBER_MALFORMED;
	*value = negative ? -INFINITY : INFINITY;
	return NUMBER_OK;
}

enum number_result number_parse(struct slice text, double *value)
{
	struct decimal d;

	if (text.len == 0)
		return NUMBER_MALFORMED;
	if (!read_decimal(text, &d))
		return parse_word(text, value);
	return convert(&d, value);
}
