/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_WIRE_WIRE_H
#define PS_COMMON_WIRE_WIRE_H
/*
 * What poller and receiver agree on: subjects, headers and message ids, as common/wire.md specifies
 * them. It builds and reads them; it neither sends nor judges. Pure; any thread.
 */
#include "common/core/buf.h"
#include "common/core/err.h"
#include "common/core/labels.h"
#include "common/wire/codec.h"

#define WIRE_TOKEN_MAX_BYTES  255  /* of a name, after escaping */
#define WIRE_HEADER_MAX_BYTES 1024 /* of a header's value */
#define WIRE_LABELS_MAX_BYTES 8192 /* of Ps-Labels */
#define WIRE_LABELS_MAX_COUNT 64

#define WIRE_TIME_MAX_MS     INT64_C(7258118400000) /* the year 2200 */
#define WIRE_DURATION_MAX_S  1e6
#define WIRE_INTERVAL_MAX_MS (INT64_C(366) * 86400 * 1000)

/*
 * Appends the token for a name: bytes outside [A-Za-z0-9_-] become =XX. -1 if the name is empty or
 * its token would be longer than WIRE_TOKEN_MAX_BYTES.
 */
int wire_escape(struct slice name, struct buf *out) MUST_CHECK;

/* Appends the name of a token; -1 unless it is exactly what wire_escape makes of that name. */
int wire_unescape(struct slice token, struct buf *out) MUST_CHECK;

/* Whether `topic` is one or more non-empty tokens without wildcards, spaces or control bytes, at
 * most WIRE_TOKEN_MAX_BYTES long. */
bool wire_topic_is_valid(struct slice topic);

enum wire_kind {
	WIRE_SCRAPE,
	WIRE_KEY,
	WIRE_LEGACY,  /* the bare topic: the original's JSON */
	WIRE_UNKNOWN, /* under our topic, of a kind or version unknown to us: acked and counted */
	WIRE_FOREIGN, /* not under our topic, or malformed: wrong tokens or escapes */
};

/* The identity of a target as its subject says it. Names are unescaped, owned, never empty and
 * UTF-8 without NUL; they are empty unless the kind is WIRE_SCRAPE or WIRE_KEY. */
struct wire_subject {
	enum wire_kind kind;
	struct buf publisher, job, instance;
	uint64_t labels_hash; /* <t> */
	int64_t key_time_ms;  /* WIRE_KEY only */
};

/* Never fails, whatever the length: what cannot be read is WIRE_FOREIGN or WIRE_UNKNOWN. Fini with
 * wire_subject_fini. */
void wire_subject_parse(struct wire_subject *subject, struct slice topic, struct slice text);
void wire_subject_fini(struct wire_subject *subject);

/* Appends <topic>.scrape.<publisher>.<job>.<instance>.<t>; -1 and `err` if a name does not fit, is
 * empty or not UTF-8; `out` is as it was then. */
int wire_scrape_subject(struct buf *out, struct slice topic, struct slice publisher,
	struct slice job, struct slice instance, const struct labels *labels,
	struct err *err) MUST_CHECK;

/* Appends the subject of the keyframe of the target of `scrape_subject`, as wire_scrape_subject
 * made it below `topic`, that was taken at `time_ms`: <topic>.key.…<t>.<time>. */
void wire_key_subject(
	struct buf *out, struct slice topic, struct slice scrape_subject, int64_t time_ms);

enum wire_flag {
	WIRE_HONOR_LABELS = 1 << 0,
	WIRE_IGNORE_TIMESTAMPS = 1 << 1,
	WIRE_STRICT = 1 << 2,
	WIRE_ALLOW_LOOP = 1 << 3,
	WIRE_REMOVED = 1 << 4, /* means something only where not up */
};

/* What the headers of one scrape say. */
struct wire_scrape {
	int64_t time_ms;      /* Ps-Time: start of the scrape, since the epoch */
	double duration_s;    /* Ps-Duration */
	int64_t interval_ms;  /* Ps-Interval; 0 if not said */
	bool up;              /* Ps-Up */
	char *error;          /* Ps-Error, owned; NULL where up */
	struct labels labels; /* Ps-Labels */
	unsigned flags;       /* Ps-Flags: enum wire_flag */
	char *content_type;   /* Content-Type, owned; NULL for the default, text format 0.0.4 */
	enum encoding encoding;
	int64_t key_time_ms; /* Ps-Key: of the keyframe referred to; with ENCODING_ZSTD_DELTA only
			      */
};

void wire_scrape_fini(struct wire_scrape *scrape);

/* One header as it goes out; `name` is a literal, `value` owned by the set. */
struct wire_header {
	const char *name;
	char *value;
};
struct wire_headers {
	struct wire_header items[16];
	size_t count;
};

/*
 * The headers of a scrape, defaults left out, values cut at WIRE_HEADER_MAX_BYTES and made
 * printable UTF-8, with Nats-Msg-Id = wire_msg_id(subject, time). -1 if a time is out of range, or
 * the labels are too many, too long or of names that a target cannot add. Fini with
 * wire_headers_fini, on success only.
 */
int wire_headers_build(struct wire_headers *headers, struct slice subject,
	const struct wire_scrape *scrape, struct err *err) MUST_CHECK;
void wire_headers_fini(struct wire_headers *headers);

/* 16 hex digits and NUL: the hash of the whole subject and the time. */
void wire_msg_id(char id[17], struct slice subject, int64_t time_ms);

/*
 * Looks a received header up by its exact name: 0 if it is absent, 1 if it occurs once, 2 if more
 * often. The value is the first one's; it lives as the message.
 */
typedef int (*wire_header_lookup)(void *arg, const char *name, struct slice *value);

/* Reads a scrape's headers; -1 and `err` if one is malformed or repeated, or Ps-Time is missing.
 * `scrape` needs fini only on success. */
int wire_headers_parse(struct wire_scrape *scrape, wire_header_lookup lookup, void *arg,
	struct err *err) MUST_CHECK;

/* Whether the subject's <t> is the hash of Ps-Labels; a message where it is not is malformed. */
bool wire_labels_match(const struct wire_subject *subject, const struct wire_scrape *scrape);

#endif
