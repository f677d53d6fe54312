/* SPDX-License-Identifier: Apache-2.0 */
/* Families by name. A histogram or summary covers its parts, too. */
#include "receiver/sink/write_family.h"

static const struct {
	const char *text;
	size_t len;
	bool of_summary;
} suffixes[] = {{"_bucket", 7, false}, {"_count", 6, true}, {"_sum", 4, true}};

/* The name without its i-th suffix; empty if it has not got it. */
static struct slice without_suffix(struct slice name, size_t i)
{
	size_t len = suffixes[i].len;

	if (name.len <= len || memcmp(name.ptr + name.len - len, suffixes[i].text, len) != 0)
		return (struct slice){NULL, 0};
	return (struct slice){name.ptr, name.len - len};
}

static bool has_part(enum expo_type type, size_t i)
{
	return type == EXPO_HISTOGRAM || (type == EXPO_SUMMARY && suffixes[i].of_summary);
}

struct write_family *write_family_find(const struct write_families *families, struct slice name)
{
	struct write_family *family;

	HASH_FIND(by_name, families->by_name, name.ptr, name.len, family);
	return family;
}

struct write_family *write_family_take(struct write_families *families, struct slice name)
{
	struct write_family *family = write_family_find(families, name);

	if (family == NULL) {
		family = xcalloc(1, sizeof(*family) + name.len + 1);
		memcpy(family->name, name.ptr, name.len);
		HASH_ADD_KEYPTR(by_name, families->by_name, family->name, name.len, family);
	}
	family->refs++;
	return family;
}

void write_family_put(struct write_families *families, struct write_family *family)
{
	if (family == NULL || --family->refs > 0)
		return;
	HASH_DELETE(by_name, families->by_name, family);
	buf_free(&family->help);
	free(family);
}

bool write_meta_covers(const struct write_meta *meta, struct slice metric)
{
	if (meta->name.len == 0 || metric.len < meta->name.len)
		return false;
	if (slice_eq(meta->name, metric))
		return true;
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
		if (has_part(meta->type, i) && slice_eq(without_suffix(metric, i), meta->name))
			return true;
	return false;
}

struct write_family *write_family_of(
	struct write_families *families, const struct write_meta *meta, struct slice metric)
{
	struct write_family *family;

	if (write_meta_covers(meta, metric)) {
		family = write_family_take(families, meta->name);
		write_family_learn(family, meta);
		return family;
	}
	family = write_family_find(families, metric);
	for (size_t i = 0; i < ARRAY_LEN(suffixes) && family == NULL; i++) {
		struct slice stem = without_suffix(metric, i);

		if (stem.len > 0)
			family = write_family_find(families, stem);
		if (family != NULL && !has_part(family->type, i))
			family = NULL;
	}
	if (family != NULL)
		family->refs++;
	return family;
}

/* Of a HELP text, \\ and \n are escapes; it is cut between characters. */
static void set_help(struct buf *help, struct slice text)
{
	buf_clear(help);
	for (size_t i = 0; i < text.len; i++) {
		char next = i + 1 < text.len ? text.ptr[i + 1] : '\0';
		bool is_escape = text.ptr[i] == '\\' && (next == '\\' || next == 'n');

		if (help->len >= WRITE_HELP_MAX_BYTES &&
			((unsigned char)text.ptr[i] & 0xc0) != 0x80)
			break;
		buf_append_char(help, is_escape && next == 'n' ? '\n' : text.ptr[i]);
		i += is_escape;
	}
	buf_trim(help);
}

void write_family_learn(struct write_family *family, const struct write_meta *meta)
{
	if (family->is_own)
		return;
	if (meta->is_typed) {
		family->type = meta->type;
		family->is_typed = true;
	}
	if (meta->help.len > 0 && !slice_eq(buf_slice(&family->help), meta->help))
		set_help(&family->help, meta->help);
}

size_t write_family_bytes(const struct write_family *family)
{
	return sizeof(*family) + strlen(family->name) + family->help.capacity;
}

uint32_t write_family_type(const struct write_family *family)
{
	static const uint32_t numbers[] = {
		[EXPO_UNTYPED] = 0,
		[EXPO_COUNTER] = 1,
		[EXPO_GAUGE] = 2,
		[EXPO_HISTOGRAM] = 3,
		[EXPO_SUMMARY] = 5,
	};

	return family->is_typed ? numbers[family->type] : 0;
}
