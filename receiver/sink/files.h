/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FILES_H
#define PS_RECEIVER_SINK_FILES_H
/*
 * The sink that writes each scrape to a file of its own. A log sink: it takes from
 * context->ordered. A scrape counts as taken once its file has come to the disk. Loop thread; what
 * blocks is done on libuv's threads.
 */
#include "receiver/sink/sink.h"

/* That one such sink, whose disk hangs, may keep busy: files, a sync, and a look at what is there.
 */
#define FILES_MAX_THREADS 10

struct sink *files_open(const struct sink_context *context, const struct files_settings *settings);

#endif
