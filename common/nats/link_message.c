/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the link, going out and coming in.
 *
 * The headers of received messages are read here and not by natsMsgHeader_Get: in every cnats up to
 * 3.13 that walks a list for each repeated header and frees it by recursion, so that one message of
 * a hostile publisher (a megabyte of "a:b" lines) holds the caller for many seconds and then
 * overflows a stack; up to 3.10 it also reads an empty value as the line that follows. A message
 * whose headers were never asked for carries them as they came; link_layout.c proves where.
 *
 * Without that proof natsMsgHeader_Values it is, which is weaker. Where the trial could not be
 * made, the library is most likely one of those, so that the size is still bounded by the
 * addresses, without a look at what is there: a hostile message costs less than a second and a
 * shallow stack. Where the layout is another one, nothing public tells the size of the headers, and
 * the library has to take care of itself.
 */
#include "common/nats/link_internal.h"
#include "common/nats/link_layout.h"
#include "common/wire/header_block.h"

#include <stdatomic.h>

/* What a server takes on one protocol line is 4096 bytes by default, for subject and reply. */
#define SUBJECT_MAX_BYTES 3072
/* What a server can be told to take, headers included. */
#define PAYLOAD_MAX_BYTES ((size_t)64 << 20)

#define STATUS_LINE_BYTES (sizeof("NATS/1.0\r\n") - 1)

/* A byte below would end the subject early and make the rest a command of its own. */
bool link_subject_is_sendable(struct slice subject)
{
	for (size_t i = 0; i < subject.len; i++)
		if ((unsigned char)subject.ptr[i] <= ' ' || subject.ptr[i] == 0x7f)
			return false;
	return subject.len > 0 && subject.len <= SUBJECT_MAX_BYTES;
}

/* Copies with a NUL to *room, which goes past it. */
static char *copy_text(char **room, struct slice text)
{
	char *copy = *room;

	if (text.len > 0)
		memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	*room += text.len + 1;
	return copy;
}

static void copy_headers(
	struct nats_outgoing *message, const struct wire_headers *headers, char **room)
{
	if (headers == NULL || headers->count == 0)
		return;
	message->header_count = headers->count;
	message->header_bytes = STATUS_LINE_BYTES + 2;
	for (size_t i = 0; i < headers->count; i++) {
		const struct wire_header *from = &headers->items[i];
		struct slice value = slice_from(from->value);

		message->headers[i].name = from->name;
		message->headers[i].value = copy_text(room, value);
		message->header_bytes += strlen(from->name) + value.len + 4;
	}
}

/* Of subject and header values, with a NUL each. */
static size_t text_bytes(struct slice subject, const struct wire_headers *headers)
{
	size_t bytes = subject.len + 1;

	for (size_t i = 0; headers != NULL && i < headers->count; i++)
		bytes += strlen(headers->items[i].value) + 1;
	return bytes;
}

struct nats_outgoing *nats_outgoing_new(
	struct slice subject, const struct wire_headers *headers, struct buf *body)
{
	size_t fixed_bytes = sizeof(struct nats_outgoing) +
			     (headers == NULL ? 0 : headers->count) * sizeof(struct wire_header);
	struct nats_outgoing *message = xmalloc(fixed_bytes + text_bytes(subject, headers));
	char *room = (char *)message + fixed_bytes;

	*message = (struct nats_outgoing){.subject_len = subject.len};
	atomic_init(&message->refs, 1);
	message->subject = copy_text(&room, subject);
	message->sendable = link_subject_is_sendable(subject);
	copy_headers(message, headers, &room);
	if (body != NULL)
		message->body = buf_take(body);
	return message;
}

struct nats_outgoing *nats_outgoing_ref(struct nats_outgoing *message)
{
	atomic_fetch_add_explicit(&message->refs, 1, memory_order_relaxed);
	return message;
}

void nats_outgoing_unref(struct nats_outgoing *message)
{
	if (message == NULL ||
		atomic_fetch_sub_explicit(&message->refs, 1, memory_order_acq_rel) > 1)
		return;
	buf_free(&message->body);
	free(message);
}

size_t nats_outgoing_bytes(const struct nats_outgoing *message)
{
	return message->header_bytes + message->body.len;
}

struct nats_incoming *link_incoming_new(natsMsg *message, uint64_t generation, uint64_t inbox)
{
	struct nats_incoming *incoming = xcalloc(1, sizeof(*incoming));

	incoming->base.kind = LINK_ITEM_MESSAGE;
	incoming->base.generation = generation;
	incoming->inbox = inbox;
	incoming->message = message;
	return incoming;
}

void nats_incoming_free(struct nats_incoming *message)
{
	if (message == NULL)
		return;
	/* Without a lease it never reached the loop. */
	if (message->lease == NULL)
		natsMsg_Destroy(message->message);
	else
		link_spent_add(&message->lease->spent, message->message);
	link_lease_unref(message->lease);
	free(message);
}

struct slice nats_incoming_subject(const struct nats_incoming *message)
{
	return slice_from(natsMsg_GetSubject(message->message));
}

struct slice nats_incoming_reply(const struct nats_incoming *message)
{
	return slice_from(natsMsg_GetReply(message->message));
}

struct slice nats_incoming_body(const struct nats_incoming *message)
{
	return (struct slice){
		natsMsg_GetData(message->message), (size_t)natsMsg_GetDataLength(message->message)};
}

size_t nats_incoming_bytes(const struct nats_incoming *message)
{
	struct slice headers;

	/* In a layout that is not the proven one it may be any number. */
	if (!link_layout_gap(message->message, &headers) || headers.len > PAYLOAD_MAX_BYTES)
		headers.len = 0;
	return sizeof(*message) + nats_incoming_subject(message).len +
	       nats_incoming_reply(message).len + headers.len + nats_incoming_body(message).len;
}

/* --- Headers, read in place. */

/* The header block as it came, NULs and all; empty if there is none or if it is not one. */
static struct slice header_block(const struct nats_incoming *message)
{
	struct slice block;

	if (!link_layout_gap(message->message, &block) || block.len == 0)
		return (struct slice){NULL, 0};
	block.len--; /* the NUL */
	return header_block_is_valid(block) ? block : (struct slice){NULL, 0};
}

/* --- Headers, read by cnats. */

static bool library_may_read(const struct nats_incoming *message)
{
	struct slice gap;

	return link_layout() == LINK_LAYOUT_OTHER || !link_layout_gap(message->message, &gap) ||
	       gap.len <= HEADER_BLOCK_MAX_BYTES + 1;
}

static int header_by_library(
	const struct nats_incoming *message, const char *name, struct slice *value)
{
	const char **texts = NULL;
	int count = 0;

	if (!library_may_read(message) ||
		natsMsgHeader_Values(message->message, name, &texts, &count) != NATS_OK)
		return 0;
	if (count > 0)
		*value = header_value_trimmed(slice_from(texts[0] == NULL ? "" : texts[0]));
	free(texts);
	return count > 1 ? 2 : count;
}

/* --- Either way. */

int nats_incoming_header(void *message, const char *name, struct slice *value)
{
	return link_layout() == LINK_LAYOUT_PROVEN
		       ? header_block_find(header_block(message), name, value)
		       : header_by_library(message, name, value);
}

int nats_incoming_status(const struct nats_incoming *message, struct slice *description)
{
	struct slice text = {"", 0};
	int status;

	*description = (struct slice){"", 0};
	if (link_layout() == LINK_LAYOUT_PROVEN)
		return header_block_status(header_block(message), description);
	/* cnats makes headers of the status line. */
	if (header_by_library(message, "Status", &text) == 0 ||
		(status = header_status_read(text)) == 0)
		return 0;
	(void)header_by_library(message, "Description", description);
	return status;
}
