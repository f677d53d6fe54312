/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FEDERATE_ACCEPT_H
#define PS_RECEIVER_SINK_FEDERATE_ACCEPT_H
/* What a request of /federate asks for, out of its parameters and headers. Pure. */
#include "common/wire/codec.h"
#include "receiver/sink/selector.h"

/* Zero-initialise but for `shards`, which is 1. */
struct federate_ask {
	struct selectors selectors; /* the asker's to take or fini */
	uint64_t shard, shards;
	bool is_bad; /* `err` says why */
	struct err err;
};

#define FEDERATE_MAX_SHARDS 1000000

/* One parameter, `match[]` or `shard`; others mean nothing. False: look at no more. */
bool federate_ask_read(struct federate_ask *ask, const char *name, const char *value);

/* Zstd, else gzip, as an Accept-Encoding header (NULL: none) allows; else identity. */
enum encoding federate_choose_encoding(const char *accepted);

/* Whether an Accept header (NULL: none) says that names in quotes are understood. */
bool federate_takes_utf8_names(const char *accepted);

#endif
