/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of series; the references that they hold are taken and given back here, and only here. */
#include "receiver/sink/write_series.h"

struct write_list *write_list_new(
	struct write_series *const *items, uint32_t count, uint8_t *stamped)
{
	struct write_list *list = xmalloc(sizeof(*list) + count * sizeof(struct write_series *));

	*list = (struct write_list){.refs = 1, .count = count, .stamped = stamped};
	if (count > 0)
		memcpy(list->items, items, count * sizeof(struct write_series *));
	return list;
}

struct write_list *write_list_ref(struct write_list *list)
{
	list->refs++;
	return list;
}

void write_list_unref(struct write_table *table, struct write_list *list)
{
	if (list == NULL || --list->refs > 0)
		return;
	for (uint32_t i = 0; i < list->count; i++)
		write_series_put(table, list->items[i]);
	free(list->stamped);
	free(list);
}

size_t write_list_bytes(const struct write_list *list)
{
	size_t bytes = sizeof(*list) + (list->stamped == NULL ? 0 : list->count);

	for (uint32_t i = 0; i < list->count; i++)
		bytes += write_series_share(list->items[i]);
	return bytes;
}
