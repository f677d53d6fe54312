/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of the sink that writes files. */
#include "common/config/settings_internal.h"
#include "common/config/settings_security.h"

#define DAY_MS INT64_C(86400000)

static const char *const compressions[] = {"none", "zstd", NULL};

static const struct config_key files_keys[] = {
	{.name = "name",
		.type = CONFIG_STRING,
		CONFIG_AT(struct files_settings, name),
		.max = NAME_MAX_LEN,
		.check = check_durable_part,
		.fallback_note = "`files`, `files_2`, ...",
		.flags = CONFIG_RESTART,
		.help = "Names the sink and its durable consumers."},
	{.name = "dir",
		.type = CONFIG_STRING,
		CONFIG_AT(struct files_settings, dir),
		.flags = CONFIG_REQUIRED | CONFIG_EXPAND | CONFIG_RESTART,
		.check = check_path,
		.help = "The folder; made if what it is in exists. It is the sink's alone."},
	{.name = "compression",
		.type = CONFIG_ENUM,
		CONFIG_AT(struct files_settings, compression),
		.fallback = "none",
		.choices = compressions,
		.help = "Whether files are compressed, and named `.prom.zst` then."},
	{.name = "retention_age",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct files_settings, retention_age_ms),
		.fallback = "15d",
		.min = 0,
		.max = 36600 * DAY_MS,
		.help = "How long a file is kept after it was written. 0 is no limit."},
	{.name = "retention_bytes",
		.type = CONFIG_SIZE,
		CONFIG_AT(struct files_settings, retention_bytes),
		.fallback = "0",
		.max = INT64_MAX,
		.help = "How much all files may take, each in whole blocks of 4 kB; beyond it the "
			"oldest are deleted, though of each target that is alive the latest "
			"stays. 0 is no limit."},
	{.name = "max_age",
		.type = CONFIG_DURATION,
		CONFIG_AT(struct files_settings, max_age_ms),
		.fallback = "0",
		.flags = CONFIG_SECONDS,
		.help = "Scrapes older than this are not written any more. 0, which is the "
			"default for this sink, writes all that the stream has."},
};

const struct config_table files_table = {
	.title = "Files",
	KEYS(files_keys),
	.size = sizeof(struct files_settings),
	POSITION(struct files_settings),
	NO_NAME,
	NO_PRESENT,
};
