/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to JetStream's API, the words for their failures, and what is said to a delivery. Holds
 * no state. */
#include "common/nats/api.h"

#include <stdarg.h>
#include <stdio.h>

struct nats_outgoing *nats_api_message(struct buf *body, const char *subject_fmt, ...)
{
	struct buf none = {0};
	char subject[1024];
	va_list args;

	va_start(args, subject_fmt);
	vsnprintf(subject, sizeof(subject), subject_fmt, args);
	va_end(args);
	return nats_outgoing_new(slice_from(subject), NULL, body != NULL ? body : &none);
}

uint64_t nats_api_request(struct nats_link *link, struct nats_outgoing *message,
	nats_reply_callback callback, void *arg)
{
	uint64_t id = nats_link_request(link, message, NATS_API_TIMEOUT_MS, callback, arg);

	nats_outgoing_unref(message);
	return id;
}

void nats_api_outcome(struct err *err, enum nats_reply outcome, const char *text)
{
	static const char *const words[] = {
		[NATS_REPLY_OK] = "answered",
		[NATS_REPLY_TIMEOUT] = "no answer in time",
		[NATS_REPLY_DENIED] = "no permission",
		[NATS_REPLY_NO_RESPONDERS] = "JetStream is not enabled, or out of reach",
		[NATS_REPLY_DOWN] = "the connection went down",
	};

	if (outcome == NATS_REPLY_DENIED && text != NULL && text[0] != '\0')
		err_setf(err, "%s", text);
	else
		err_setf(err, "%s", words[outcome]);
}

void nats_api_error(struct err *err, const struct js_error *error)
{
	if (error->description[0] != '\0')
		err_setf(err, "%s", error->description);
	else
		err_setf(err, "error %d (%d)", error->code, error->err_code);
}

/* Takes the content of `body`. */
static bool answer(struct nats_link *link, struct slice reply, struct buf *body)
{
	struct nats_outgoing *message;

	if (!nats_link_is_up(link)) {
		buf_free(body);
		return false;
	}
	message = nats_outgoing_new(reply, NULL, body);
	nats_link_publish(link, message);
	nats_outgoing_unref(message);
	return true;
}

bool nats_api_ack(struct nats_link *link, struct slice reply)
{
	return nats_link_ack(link, reply);
}

bool nats_api_in_progress(struct nats_link *link, struct slice reply)
{
	struct buf body = {0};

	buf_append_str(&body, "+WPI");
	return answer(link, reply, &body);
}

bool nats_api_give_back(struct nats_link *link, struct slice reply, int64_t delay_ms)
{
	struct buf body = {0};

	buf_appendf(&body, "-NAK {\"delay\": %lld}", (long long)delay_ms * 1000000);
	return answer(link, reply, &body);
}
