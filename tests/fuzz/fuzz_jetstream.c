/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's answers of arbitrary bytes, read as each of the things they may be: refused with
 * words, or read into what fits its place. A reply subject that can be read is read the same again.
 */
#include "common/nats/jetstream.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* A result goes with words, and words with a result. */
static bool is_read(int result, const struct err *err)
{
	assert(result == 0 || (result == -1 && err->text[0] != '\0'));
	return result == 0;
}

static void try_pub_ack(struct slice text)
{
	struct js_pub_ack ack;
	struct err err = {""};

	if (!is_read(js_pub_ack_parse(&ack, text, &err), &err))
		return;
	assert(memchr(ack.stream, '\0', sizeof(ack.stream)) != NULL);
	assert(memchr(ack.domain, '\0', sizeof(ack.domain)) != NULL);
	assert(ack.error.code != 0 || (ack.stream[0] != '\0' && ack.sequence > 0));
}

static void try_stream_info(struct slice text)
{
	struct js_stream_info info;
	struct err err = {""};

	if (is_read(js_stream_info_parse(&info, text, &err), &err))
		for (size_t i = 0; i < info.subjects.count; i++)
			assert(!js_subject_covers(info.subjects.items[i], ">") ||
				js_subject_covers(info.subjects.items[i], "a.*.b.>"));
	js_stream_info_fini(&info);
}

static void try_consumer_info(struct slice text)
{
	struct js_consumer_info info;
	struct err err = {""};

	if (!is_read(js_consumer_info_parse(&info, text, &err), &err))
		return;
	assert(memchr(info.durable, '\0', sizeof(info.durable)) != NULL);
	assert(memchr(info.filter_subject, '\0', sizeof(info.filter_subject)) != NULL);
	assert(info.num_ack_pending >= 0);
}

static void try_delivery(struct slice text)
{
	struct js_delivery delivery, again;
	char reply[256];

	if (js_delivery_parse(&delivery, text) != 0)
		return;
	snprintf(reply, sizeof(reply),
		"$JS.ACK.S.d.%" PRIu64 ".%" PRIu64 ".%" PRIu64 ".%" PRIu64 ".%" PRIu64,
		delivery.delivered, delivery.stream_seq, delivery.consumer_seq,
		(uint64_t)delivery.stored_ms * 1000000, delivery.pending);
	assert(js_delivery_parse(&again, slice_from(reply)) == 0);
	assert(memcmp(&delivery, &again, sizeof(again)) == 0);
}

/* Nothing covers what ">" does not. */
static void try_covers(struct slice text)
{
	char *pattern = slice_dup(text);
	char *end = strchr(pattern, ' ');
	const char *subject = end == NULL ? pattern : end + 1;

	if (end != NULL)
		*end = '\0';
	if (js_subject_covers(pattern, subject))
		assert(js_subject_covers(">", subject));
	free(pattern);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct slice text = {(const char *)bytes, len};

	try_pub_ack(text);
	try_stream_info(text);
	try_consumer_info(text);
	try_delivery(text);
	try_covers(text);
	return 0;
}
