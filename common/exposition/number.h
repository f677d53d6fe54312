/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_EXPOSITION_NUMBER_H
#define PS_COMMON_EXPOSITION_NUMBER_H
/*
 * Decimal numbers as Prometheus reads them in sample values: correctly rounded, whatever the locale
 * and however long the text. Hexadecimal numbers and underscores are refused. Pure; any thread.
 */
#include "common/core/buf.h"

enum number_result {
	NUMBER_OK,
	NUMBER_MALFORMED,
	NUMBER_OUT_OF_RANGE, /* larger than the largest double; too small a number is 0 */
};

/* Reads all of `text` into *value, which is left alone unless the result is NUMBER_OK. */
enum number_result number_parse(struct slice text, double *value) MUST_CHECK;

#endif
