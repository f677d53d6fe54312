/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_API_H
#define PS_COMMON_NATS_API_H
/*
 * What publisher and consumer share in talking to the server: building a request, wording why no
 * usable answer came, and answering a delivery by its reply subject. Loop thread.
 */
#include "common/nats/jetstream.h"
#include "common/nats/link.h"

#define NATS_API_TIMEOUT_MS 5000

/* The message `body` (emptied; NULL: none) for a formatted subject, to be unref'd by the caller. */
struct nats_outgoing *nats_api_message(struct buf *body, const char *subject_fmt, ...)
	PRINTF_LIKE(2, 3) MUST_CHECK;

/* Sends `message`, which it takes, and awaits the answer as nats_link_request does. */
uint64_t nats_api_request(struct nats_link *link, struct nats_outgoing *message,
	nats_reply_callback callback, void *arg);

/* In words, what an outcome other than NATS_REPLY_OK means for a request; `text` as it came. */
void nats_api_outcome(struct err *err, enum nats_reply outcome, const char *text);

/* The server's own words, or its error codes if it has none. */
void nats_api_error(struct err *err, const struct js_error *error);

/* Acknowledges a delivery, says that it will take longer, or has it delivered again after
 * `delay_ms`. False while down: the stream then delivers it again by itself, later. */
bool nats_api_ack(struct nats_link *link, struct slice reply);
bool nats_api_in_progress(struct nats_link *link, struct slice reply);
bool nats_api_give_back(struct nats_link *link, struct slice reply, int64_t delay_ms);

#endif
