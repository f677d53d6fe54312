/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_NATS_JETSTREAM_H
#define PS_COMMON_NATS_JETSTREAM_H
/*
 * JetStream's API as JSON: the requests this project makes and the answers it understands. Pure:
 * link.h carries them. Source: NATS architecture decision records 1 (JSON API), 8, 13 (pull
 * consumers) and the server's schemas.
 */
#include "common/config/settings.h"
#include "common/core/buf.h"
#include "common/core/err.h"

/* What any answer may carry instead of its content. */
struct js_error {
	int code;     /* 404, 503, … ; 0 for no error */
	int err_code; /* 10059 stream not found, 10014 consumer not found, … */
	char description[256];
};
enum {
	JS_CONSUMER_NOT_FOUND = 10014,
	JS_STREAM_NOT_FOUND = 10059,
	JS_STREAM_NAME_IN_USE = 10058,
	JS_MESSAGE_NOT_FOUND = 10037,
	JS_MESSAGE_TOO_LARGE = 10054,
	JS_NOT_ENABLED = 10076,
	JS_NOT_ENABLED_FOR_ACCOUNT = 10039,
};

/* A PubAck, or the error in its place; -1 if it is neither. */
struct js_pub_ack {
	char stream[256];
	char domain[64];
	uint64_t sequence;
	bool duplicate;
	struct js_error error;
};
int js_pub_ack_parse(struct js_pub_ack *ack, struct slice json, struct err *err) MUST_CHECK;

struct js_stream_info {
	struct js_error error;
	struct string_list subjects; /* owned: js_stream_info_fini */
	int64_t max_age_ms;          /* 0: none */
	int64_t max_msg_size;        /* -1: none */
	bool is_sourced_or_mirror;   /* it may take our messages without listing our subjects */
	bool is_consumed;            /* it holds only what a consumer still waits for */
	char created[64];
	uint64_t first_seq, last_seq; /* of the messages that it holds */
};
int js_stream_info_parse(
	struct js_stream_info *info, struct slice json, struct err *err) MUST_CHECK;
void js_stream_info_fini(struct js_stream_info *info);

/* Whether one of the stream's subjects takes everything that `subject` (which may end in ">")
 * stands for. */
bool js_subject_covers(const char *pattern, const char *subject);

/* Bodies of $JS.API.STREAM.CREATE.<stream>, with the subjects <topic> and <topic>.>. */
void js_stream_create_request(struct buf *out, const struct stream_settings *settings);

struct js_consumer_settings {
	const char *stream;
	const char *durable;
	const char *filter_subject;
	int64_t start_time_ms; /* since the epoch; 0: all that the stream has */
	int64_t ack_wait_ms;
	int64_t max_ack_pending;
};
/* Body of $JS.API.CONSUMER.DURABLE.CREATE.<stream>.<durable>. */
void js_consumer_create_request(struct buf *out, const struct js_consumer_settings *settings);

/*
 * Body of $JS.API.CONSUMER.CREATE.<stream>: a passing consumer of the newest message of each
 * subject, without acknowledgements, gone when nobody has pulled for `inactive_ms`.
 */
void js_lookback_create_request(
	struct buf *out, const char *stream, const char *filter_subject, int64_t inactive_ms);

struct js_consumer_info {
	struct js_error error;
	char name[256];
	char durable[256];
	char filter_subject[1024];
	char ack_policy[16];
	char created[64];
	bool is_push;
	uint64_t num_pending;
	int64_t num_ack_pending;
	int64_t ack_wait_ms; /* 0: not told */
	uint64_t delivered_consumer_seq;
};
int js_consumer_info_parse(
	struct js_consumer_info *info, struct slice json, struct err *err) MUST_CHECK;

/* Body of $JS.API.CONSUMER.MSG.NEXT.<stream>.<durable>. */
void js_pull_request(struct buf *out, int64_t batch, uint64_t max_bytes, int64_t expires_ms,
	int64_t heartbeat_ms);

/*
 * How many messages to pull at once from a consumer without acknowledgements, given the largest
 * that the server takes. max_bytes is not for those: nats-server (tried: 2.9.10) then loses each
 * message that would have exceeded it.
 */
int64_t js_unacked_batch(uint64_t max_payload);

/*
 * What the reply subject of a delivered message says: $JS.ACK.<stream>.<consumer>.<delivered>.
 * <stream seq>.<consumer seq>.<ns>.<pending>, or the longer form with domain and account hash.
 */
struct js_delivery {
	uint64_t delivered;
	uint64_t stream_seq;
	uint64_t consumer_seq;
	int64_t stored_ms;
	uint64_t pending;
};
int js_delivery_parse(struct js_delivery *delivery, struct slice reply) MUST_CHECK;

/* Body of $JS.API.STREAM.MSG.GET.<stream>: the newest message of one exact subject. */
void js_stored_request(struct buf *out, const char *subject);

/* A stored message in JSON, or the error in its place; -1 if it is neither. */
struct js_stored {
	struct js_error error;
	struct buf headers, body; /* owned: js_stored_fini, on success only */
};
int js_stored_parse(struct js_stored *stored, struct slice json, struct err *err) MUST_CHECK;
void js_stored_fini(struct js_stored *stored);

#endif
