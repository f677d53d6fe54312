/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group paths. The gateway decodes %2F before it routes, cleans `.` and `..` away and takes `//`
 * for a redirect, so that such values go as base64; everything else goes percent-encoded, which
 * people can read in the gateway's log.
 */
#include "receiver/sink/push_path.h"

#include "common/core/utf8.h"

static bool is_unreserved(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '.' || c == ':' || c == '~' || c == '-';
}

/* Appends the value with every byte that is not part of UTF-8 replaced. */
static void append_valid_utf8(struct buf *out, struct slice value)
{
	while (value.len > 0) {
		size_t n = utf8_first(value);

		if (n == 0)
			buf_append_str(out, UTF8_REPLACEMENT);
		else
			buf_append(out, value.ptr, n);
		value.ptr += n == 0 ? 1 : n;
		value.len -= n == 0 ? 1 : n;
	}
}

static bool needs_base64(struct slice value)
{
	bool only_dots = true;

	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.ptr[i];

		if (c == '/' || c < 0x20 || c == 0x7f)
			return true;
		only_dots = only_dots && c == '.';
	}
	return only_dots;
}

static void append_base64(struct buf *out, struct slice value)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	if (value.len == 0)
		buf_append_char(out, '='); /* a path component must not be empty */
	for (size_t i = 0; i < value.len; i += 3) {
		size_t n = value.len - i < 3 ? value.len - i : 3;
		uint32_t bits = 0;

		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (k < n ? (unsigned char)value.ptr[i + k] : 0);
		for (size_t k = 0; k <= n; k++)
			buf_append_char(out, digits[bits >> (18 - 6 * k) & 63]);
	}
}

static void append_percent(struct buf *out, struct slice value)
{
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.ptr[i];

		if (is_unreserved(c))
			buf_append_char(out, (char)c);
		else
			buf_appendf(out, "%%%02X", c);
	}
}

static void append_label(struct buf *out, const struct push_label *label)
{
	struct buf clean = {0};
	struct slice value;

	append_valid_utf8(&clean, label->value);
	value = buf_slice(&clean);
	buf_append_char(out, '/');
	buf_append_slice(out, label->name);
	if (needs_base64(value)) {
		buf_append_str(out, "@base64/");
		append_base64(out, value);
	} else {
		buf_append_char(out, '/');
		append_percent(out, value);
	}
	buf_free(&clean);
}

static bool is_group_label(const struct push_labels *group, struct slice name, struct slice value)
{
	if (value.len == 0 || !label_name_is_valid(name))
		return false;
	if (name.len >= 2 && memcmp(name.ptr, "__", 2) == 0)
		return false;
	for (size_t i = 0; i < group->count; i++) {
		if (slice_eq(group->items[i].name, name))
			return false;
	}
	return true;
}

void push_labels_init(struct push_labels *group, struct slice job, struct slice instance,
	struct slice publisher, const struct labels *labels)
{
	size_t own;

	group->count = 0;
	group->items[group->count++] = (struct push_label){SLICE("job"), job};
	group->items[group->count++] = (struct push_label){SLICE("instance"), instance};
	if (publisher.len > 0)
		group->items[group->count++] = (struct push_label){SLICE("publisher"), publisher};
	own = group->count;
	for (size_t i = 0; labels != NULL && i < labels->count; i++) {
		struct slice name = slice_from(labels->items[i].name);
		struct slice value = slice_from(labels->items[i].value);

		if (group->count - own == PUSH_MAX_TARGET_LABELS)
			break;
		if (is_group_label(group, name, value))
			group->items[group->count++] = (struct push_label){name, value};
	}
}

void push_labels_path(struct buf *out, const struct push_labels *group)
{
	buf_append_str(out, "/metrics");
	for (size_t i = 0; i < group->count; i++)
		append_label(out, &group->items[i]);
}

void push_path(struct buf *out, struct slice job, struct slice instance, struct slice publisher,
	const struct labels *labels)
{
	struct push_labels group;

	push_labels_init(&group, job, instance, publisher, labels);
	push_labels_path(out, &group);
}
