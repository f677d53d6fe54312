/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of families. A slot is used again once nobody refers to its family any more, answers
 * under way included, so that what a block says of slots stays true as long as the block lives.
 */
#include "receiver/sink/federate_families.h"

#include "receiver/sink/push_sample.h"

#include <assert.h>

static struct family *find(const struct families *families, struct slice name)
{
	struct family *family;

	HASH_FIND(by_name, families->by_name, name.ptr, name.len, family);
	return family;
}

static uint32_t take_slot(struct families *families)
{
	if (families->free_count > 0)
		return families->free_slots[--families->free_count];
	if (families->slots == families->capacity) {
		families->capacity = families->capacity == 0 ? 256 : 2 * families->capacity;
		families->by_slot = xreallocarray(
			families->by_slot, families->capacity, sizeof(*families->by_slot));
		families->free_slots = xreallocarray(
			families->free_slots, families->capacity, sizeof(*families->free_slots));
	}
	return (uint32_t)families->slots++;
}

struct family *families_ref(struct families *families, struct slice name)
{
	struct family *family = find(families, name);

	if (family == NULL) {
		family = xcalloc(1, sizeof(*family) + name.len);
		family->name_len = name.len;
		memcpy(family->name, name.ptr, name.len);
		family->slot = take_slot(families);
		families->by_slot[family->slot] = family;
		HASH_ADD_KEYPTR(by_name, families->by_name, family->name, name.len, family);
	}
	family->refs++;
	return family;
}

void families_unref(struct families *families, uint32_t slot)
{
	struct family *family = families->by_slot[slot];

	if (--family->refs > 0)
		return;
	HASH_DELETE(by_name, families->by_name, family);
	families->by_slot[slot] = NULL;
	families->free_slots[families->free_count++] = slot;
	families->contradicted -= family->is_contradicted;
	buf_free(&family->help);
	free(family);
}

/* The type that is said; EXPO_UNTYPED with `differ` where there are several. */
static enum expo_type said_type(const struct family *family, bool *differ)
{
	enum expo_type said = EXPO_UNTYPED;

	*differ = false;
	for (enum expo_type type = EXPO_COUNTER; type <= EXPO_SUMMARY; type++) {
		if (family->typed[type] == 0)
			continue;
		*differ = *differ || said != EXPO_UNTYPED;
		said = type;
	}
	return *differ ? EXPO_UNTYPED : said;
}

static void judge(struct families *families, struct family *family)
{
	bool differ;

	(void)said_type(family, &differ);
	families->contradicted += differ;
	families->contradicted -= family->is_contradicted;
	family->is_contradicted = differ;
}

void families_declare(struct families *families, struct family *family, enum expo_type type,
	struct slice help, const void *target)
{
	if (type != EXPO_UNTYPED && family->typed[type]++ == 0)
		judge(families, family);
	if (family->owner == NULL)
		family->owner = target;
	if (help.len == 0 || (family->help_owner != NULL && family->help_owner != target))
		return;
	family->help_owner = target;
	if (slice_eq(buf_slice(&family->help), help))
		return;
	buf_clear(&family->help);
	buf_append_slice(&family->help, help);
	buf_trim(&family->help);
}

void families_retract(
	struct families *families, uint32_t slot, enum expo_type type, const void *target)
{
	struct family *family = families->by_slot[slot];

	if (type != EXPO_UNTYPED) {
		assert(family->typed[type] > 0);
		if (--family->typed[type] == 0)
			judge(families, family);
	}
	if (family->owner == target)
		family->owner = NULL;
	if (family->help_owner == target)
		family->help_owner = NULL;
}

/* HELP that nobody says any more is the family's. */
size_t family_bytes_of(const struct family *family, const void *target)
{
	const void *help_payer = family->help_owner == NULL ? family->owner : family->help_owner;

	return (family->owner == target ? sizeof(*family) + family->name_len : 0) +
	       (help_payer == target ? family->help.len : 0);
}

enum expo_type family_type(const struct family *family)
{
	bool differ;

	return said_type(family, &differ);
}

bool family_stem(struct slice name, struct slice *stem, bool *of_summary)
{
	static const struct {
		struct slice suffix;
		bool of_summary;
	} parts[] = {
		{{"_bucket", 7}, false},
		{{"_count", 6}, true},
		{{"_sum", 4}, true},
	};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		size_t len = parts[i].suffix.len;

		if (name.len <= len ||
			memcmp(name.ptr + name.len - len, parts[i].suffix.ptr, len) != 0)
			continue;
		*stem = (struct slice){name.ptr, name.len - len};
		*of_summary = parts[i].of_summary;
		return true;
	}
	return false;
}

/* Whether samples of this name belong to a histogram or summary called without its suffix. */
static bool is_part(const struct families *families, const struct family *family)
{
	const struct family *whole = NULL;
	struct slice stem;
	bool of_summary;

	if (family_stem((struct slice){family->name, family->name_len}, &stem, &of_summary))
		whole = find(families, stem);
	if (whole == NULL)
		return false;
	return family_type(whole) == EXPO_HISTOGRAM ||
	       (family_type(whole) == EXPO_SUMMARY && of_summary);
}

static void write_line(
	struct buf *out, const char *keyword, struct slice name, bool utf8_names, struct slice text)
{
	buf_append_str(out, keyword);
	if (utf8_names)
		push_quote_name(out, name, false);
	else
		push_name(out, name, false, false);
	buf_append_char(out, ' ');
	buf_append_slice(out, text);
	buf_append_char(out, '\n');
}

void families_write_metadata(const struct families *families, const struct family *family,
	bool utf8_names, struct buf *out)
{
	static const char *const words[] = {
		[EXPO_UNTYPED] = "untyped",
		[EXPO_COUNTER] = "counter",
		[EXPO_GAUGE] = "gauge",
		[EXPO_HISTOGRAM] = "histogram",
		[EXPO_SUMMARY] = "summary",
	};
	struct slice name = {family->name, family->name_len};

	if (is_part(families, family))
		return;
	if (family->help.len > 0)
		write_line(out, "# HELP ", name, utf8_names, buf_slice(&family->help));
	write_line(out, "# TYPE ", name, utf8_names, slice_from(words[family_type(family)]));
}

void families_fini(struct families *families)
{
	assert(families->by_name == NULL);
	free(families->by_slot);
	free(families->free_slots);
	*families = (struct families){0};
}
