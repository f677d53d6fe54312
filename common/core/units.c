/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both grammars are <digits><unit>: durations repeat it with falling units, sizes have it once. The
 * tables are in falling order; a unit's position in them is what "falling" is checked against.
 */
#include "common/core/units.h"

#include <inttypes.h>

/* How much of a wrong value an error quotes. */
#define QUOTE_MAX_BYTES 40

struct duration_unit {
	const char *name;
	int64_t ms;
	bool only_if_exact; /* when formatting */
};

static const struct duration_unit duration_units[] = {
	{"y", INT64_C(365) * 24 * 3600 * 1000, true},
	{"w", INT64_C(7) * 24 * 3600 * 1000, true},
	{"d", INT64_C(24) * 3600 * 1000, false},
	{"h", INT64_C(3600) * 1000, false},
	{"m", INT64_C(60) * 1000, false},
	{"s", INT64_C(1000), false},
	{"ms", INT64_C(1), false},
};

struct size_unit {
	const char *name, *alias;
	int shift;
};

static const struct size_unit size_units[] = {
	{"EB", "EiB", 60},
	{"PB", "PiB", 50},
	{"TB", "TiB", 40},
	{"GB", "GiB", 30},
	{"MB", "MiB", 20},
	{"KB", "KiB", 10},
	{"B", "B", 0},
};

static struct slice quoted(struct slice text)
{
	return (struct slice){text.len == 0 ? "" : text.ptr,
		text.len < QUOTE_MAX_BYTES ? text.len : QUOTE_MAX_BYTES};
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Takes the digits off the front of *text; false if their value is above `max`. */
static bool take_number(struct slice *text, uint64_t max, uint64_t *value)
{
	bool fits = true;

	*value = 0;
	while (text->len > 0 && is_digit(text->ptr[0])) {
		uint64_t digit = (uint64_t)(text->ptr[0] - '0');

		fits = fits && *value <= (max - digit) / 10;
		*value = fits ? *value * 10 + digit : 0;
		text->ptr++;
		text->len--;
	}
	return fits;
}

/* Takes everything up to the next digit off the front of *text. */
static struct slice take_unit(struct slice *text)
{
	struct slice unit = {text->ptr, 0};

	while (unit.len < text->len && !is_digit(unit.ptr[unit.len]))
		unit.len++;
	text->ptr += unit.len;
	text->len -= unit.len;
	return unit;
}

static size_t find_duration_unit(struct slice name)
{
	size_t at = 0;

	while (at < ARRAY_LEN(duration_units) && !slice_is(name, duration_units[at].name))
		at++;
	return at;
}

/* One <digits><unit>; `next` is the first unit that may still come. */
static int take_duration_part(struct slice *rest, size_t *next, int64_t *total_ms, struct err *err)
{
	uint64_t count;
	bool fits;
	struct slice unit;
	size_t at;

	if (!is_digit(rest->ptr[0]))
		return err_setf(err, "expected a number before \"%.*s\"", SLICE_FMT(quoted(*rest)));
	fits = take_number(rest, (uint64_t)UNITS_MAX_DURATION_MS, &count);
	unit = take_unit(rest);
	if (unit.len == 0)
		return err_setf(err, "missing unit (one of y, w, d, h, m, s, ms)");
	at = find_duration_unit(unit);
	if (at == ARRAY_LEN(duration_units))
		return err_setf(err, "unknown unit \"%.*s\" (one of y, w, d, h, m, s, ms)",
			SLICE_FMT(quoted(unit)));
	if (at < *next)
		return err_setf(err,
			"unit \"%s\" is repeated or out of order (y, w, d, h, m, s, ms)",
			duration_units[at].name);
	if (!fits || (int64_t)count > (UNITS_MAX_DURATION_MS - *total_ms) / duration_units[at].ms)
		return err_setf(err, "too long (at most 292y)");
	*total_ms += (int64_t)count * duration_units[at].ms;
	*next = at + 1;
	return 0;
}

int units_parse_duration(struct slice text, int64_t *ms, struct err *err)
{
	struct slice rest = text;
	size_t next = 0;
	int64_t total_ms = 0;

	if (text.len == 0)
		return err_setf(err, "duration is empty");
	if (text.ptr[0] == '-')
		return err_setf(
			err, "duration \"%.*s\" must not be negative", SLICE_FMT(quoted(text)));
	if (slice_is(text, "0"))
		rest.len = 0;
	while (rest.len > 0)
		if (take_duration_part(&rest, &next, &total_ms, err) < 0)
			return err_wrapf(err, "duration \"%.*s\"", SLICE_FMT(quoted(text)));
	*ms = total_ms;
	return 0;
}

void units_format_duration(int64_t ms, struct buf *out)
{
	uint64_t rest = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;

	if (ms == 0)
		buf_append_str(out, "0s");
	if (ms < 0)
		buf_append_char(out, '-');
	for (size_t i = 0; i < ARRAY_LEN(duration_units); i++) {
		uint64_t unit_ms = (uint64_t)duration_units[i].ms;

		if (rest < unit_ms || (duration_units[i].only_if_exact && rest % unit_ms != 0))
			continue;
		buf_appendf(out, "%" PRIu64 "%s", rest / unit_ms, duration_units[i].name);
		rest %= unit_ms;
	}
}

static const struct size_unit *find_size_unit(struct slice name)
{
	for (size_t i = 0; i < ARRAY_LEN(size_units); i++)
		if (slice_is(name, size_units[i].name) || slice_is(name, size_units[i].alias))
			return &size_units[i];
	return name.len == 0 ? &size_units[ARRAY_LEN(size_units) - 1] : NULL;
}

int units_parse_size(struct slice text, uint64_t *bytes, struct err *err)
{
	struct slice rest = text;
	const struct size_unit *unit;
	uint64_t count;
	bool fits;

	if (text.len == 0)
		return err_setf(err, "size is empty");
	if (text.ptr[0] == '-')
		return err_setf(err, "size \"%.*s\" must not be negative", SLICE_FMT(quoted(text)));
	if (!is_digit(text.ptr[0]))
		return err_setf(
			err, "size \"%.*s\" must begin with a number", SLICE_FMT(quoted(text)));
	fits = take_number(&rest, UINT64_MAX, &count);
	unit = find_size_unit(rest);
	if (unit == NULL)
		return err_setf(err,
			"size \"%.*s\" must be a whole number of bytes, or of B, KB, MB, GB, TB, "
			"PB, EB",
			SLICE_FMT(quoted(text)));
	if (!fits || count > UINT64_MAX >> unit->shift)
		return err_setf(
			err, "size \"%.*s\" is too large (below 16EB)", SLICE_FMT(quoted(text)));
	*bytes = count << unit->shift;
	return 0;
}

void units_format_size(uint64_t bytes, struct buf *out)
{
	const struct size_unit *unit = size_units;

	if (bytes == 0) {
		buf_append_char(out, '0');
		return;
	}
	while (bytes & ((UINT64_C(1) << unit->shift) - 1))
		unit++;
	buf_appendf(out, "%" PRIu64 "%s", bytes >> unit->shift, unit->name);
}
