/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Envelopes of arbitrary bytes: refused with words, or read within the bounds that common/wire.md
 * sets; what was read, written as an envelope again, is read as the same.
 */
#include "common/wire/legacy.h"

#include "common/wire/wire.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void append_base64(struct buf *out, struct slice bytes)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t at = 0; at < bytes.len; at += 3) {
		size_t left = bytes.len - at;
		unsigned bits = (unsigned)(unsigned char)bytes.ptr[at] << 16;

		bits |= left > 1 ? (unsigned)(unsigned char)bytes.ptr[at + 1] << 8 : 0;
		bits |= left > 2 ? (unsigned)(unsigned char)bytes.ptr[at + 2] : 0;
		buf_append_char(out, digits[bits >> 18]);
		buf_append_char(out, digits[bits >> 12 & 63]);
		buf_append_char(out, left > 1 ? digits[bits >> 6 & 63] : '=');
		buf_append_char(out, left > 2 ? digits[bits & 63] : '=');
	}
}

/* A second way of writing it, by the library. */
static struct buf write_again(const struct legacy_scrape *scrape)
{
	struct buf base64 = {0}, out = {0};
	json_t *object;
	char *text;

	append_base64(&base64, buf_slice(&scrape->body));
	object = json_pack("{s:s%, s:s%, s:s%, s:I, s:s%}", "job", scrape->job.ptr, scrape->job.len,
		"instance", scrape->instance.ptr, scrape->instance.len, "publisher",
		scrape->publisher.len == 0 ? "" : scrape->publisher.ptr, scrape->publisher.len,
		"time", (json_int_t)(scrape->time_ms / 1000), "Scrape",
		base64.len == 0 ? "" : base64.ptr, base64.len);
	assert(object != NULL);
	text = json_dumps(object, JSON_ENSURE_ASCII);
	assert(text != NULL);
	buf_append_str(&out, text);
	free(text);
	json_decref(object);
	buf_free(&base64);
	return out;
}

static void check_name(const struct buf *name, size_t min_bytes)
{
	assert(name->len >= min_bytes && name->len <= 255);
	assert(name->len == 0 || memchr(name->ptr, '\0', name->len) == NULL);
}

static void check(const struct legacy_scrape *scrape, size_t len)
{
	struct buf json = write_again(scrape);
	struct legacy_scrape again;

	check_name(&scrape->job, 1);
	check_name(&scrape->instance, 1);
	check_name(&scrape->publisher, 0);
	assert(scrape->time_ms >= 0 && scrape->time_ms <= WIRE_TIME_MAX_MS);
	assert(scrape->time_ms % 1000 == 0);
	assert(scrape->body.len > 0 && scrape->body.len < len);
	assert(legacy_parse(&again, buf_slice(&json), NULL) == 0);
	assert(slice_eq(buf_slice(&again.job), buf_slice(&scrape->job)));
	assert(slice_eq(buf_slice(&again.instance), buf_slice(&scrape->instance)));
	assert(slice_eq(buf_slice(&again.publisher), buf_slice(&scrape->publisher)));
	assert(slice_eq(buf_slice(&again.body), buf_slice(&scrape->body)));
	assert(again.time_ms == scrape->time_ms);
	legacy_fini(&again);
	buf_free(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct legacy_scrape scrape;
	struct err err = {""};

	if (legacy_parse(&scrape, (struct slice){(const char *)bytes, len}, &err) < 0) {
		assert(err.text[0] != '\0' && strchr(err.text, '\n') == NULL);
		return 0;
	}
	check(&scrape, len);
	legacy_fini(&scrape);
	return 0;
}
