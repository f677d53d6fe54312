/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_TESTS_UNIT_HEADER_TABLE_H
#define PS_TESTS_UNIT_HEADER_TABLE_H
/*
 * Headers of a message that never was: a table which wire_headers_parse looks into. It borrows what
 * is put in; of a name given twice it finds the first and says so, as the link does.
 */
#include "common/wire/wire.h"

struct header_table {
	struct {
		struct slice name, value;
	} items[32];
	size_t count;
};

/* What does not fit is left out. */
static inline void header_table_add(
	struct header_table *table, struct slice name, struct slice value)
{
	if (table->count == ARRAY_LEN(table->items))
		return;
	table->items[table->count].name = name;
	table->items[table->count++].value = value;
}

static inline int header_table_lookup(void *arg, const char *name, struct slice *value)
{
	const struct header_table *table = arg;
	int times = 0;

	for (size_t i = 0; i < table->count && times < 2; i++)
		if (slice_is(table->items[i].name, name) && ++times == 1)
			*value = table->items[i].value;
	return times;
}

/* The headers as they would arrive; valid as long as `headers`. */
static inline struct header_table header_table_of(const struct wire_headers *headers)
{
	struct header_table table = {0};

	for (size_t i = 0; i < headers->count; i++)
		header_table_add(&table, slice_from(headers->items[i].name),
			slice_from(headers->items[i].value));
	return table;
}

#endif
