/* SPDX-License-Identifier: Apache-2.0 */
/* The key reference as a manual page has it: one sub-section per table, one paragraph per key. */
#include "common/config/settings.h"

#include "common/config/settings_internal.h"
#include "common/core/roff.h"

static void write_key(const struct config_key *key, struct buf *out)
{
	struct buf type = {0}, fallback = {0};

	config_describe_type(key, &type);
	config_describe_default(key, &fallback);
	buf_append_str(out, ".TP\n");
	roff_append_in(out, 'B', key->name);
	buf_append_str(out, " (");
	roff_append(out, buf_cstr(&type));
	buf_append_str(out, "; ");
	if (!(key->flags & CONFIG_REQUIRED))
		buf_append_str(out, "default: ");
	roff_append(out, buf_cstr(&fallback));
	buf_append_str(out, ")\n");
	roff_append(out, key->help);
	if (key->flags & CONFIG_EXPAND)
		roff_append(out, " `${VAR}` is expanded.");
	buf_append_char(out, '\n');
	buf_free(&type);
	buf_free(&fallback);
}

static void write_table(void *arg, const char *path, const struct config_table *table)
{
	struct buf *out = arg;

	buf_append_str(out, ".SS \"");
	roff_append(out, table->title);
	if (path[0] != '\0') {
		buf_append_str(out, ": ");
		roff_append(out, path);
	}
	buf_append_str(out, "\"\n");
	for (size_t i = 0; i < table->key_count; i++)
		write_key(&table->keys[i], out);
}

void settings_write_manual(struct buf *out)
{
	config_each_table(&settings_table, write_table, out);
}
