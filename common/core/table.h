/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CORE_TABLE_H
#define PS_COMMON_CORE_TABLE_H
/*
 * Hash tables are uthash's, always included from here: keys come from foreign data, so that the
 * hash is keyed per process, and running out of memory for an entry ends the process as in mem.h.
 */
#include "common/core/mem.h"

#include <stdint.h>

uint32_t table_hash(const void *key, size_t len);

#define HASH_FUNCTION(key, len, hash) ((hash) = table_hash((key), (len)))
#define uthash_malloc(size)           xmalloc(size)
#include <uthash.h>

#endif
