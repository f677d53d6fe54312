/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_RECEIVER_SINK_FILES_STORE_H
#define PS_RECEIVER_SINK_FILES_STORE_H
/*
 * Where scrapes are below a folder, and how one gets there whole: written under another name,
 * renamed, and then shown by a link called "latest". No symbolic link below the folder is followed,
 * and nothing outside of it is touched, whatever names publishers invent. Blocks: for threads other
 * than the loop's.
 *
 *	<publisher>/<job>/<instance>[/<hash of the target's labels>]/20260102T030405.678Z.prom[.zst]
 */
#include "common/core/buf.h"
#include "common/wire/wire.h"

#define FILES_LATEST    "latest"
#define FILES_MAX_DEPTH 4
/* What a file of so many bytes is counted as: whole blocks. */
#define FILES_BLOCK_BYTES 4096

/* Names of one target's folder from the top; each is one that wire_escape makes, or 16 hex digits.
 */
struct files_folder {
	char *names[FILES_MAX_DEPTH];
	size_t depth;
};

/* -1 where a name cannot be a file's. */
int files_folder_init(struct files_folder *folder, struct slice publisher, struct slice job,
	struct slice instance, uint64_t labels_hash) MUST_CHECK;
void files_folder_fini(struct files_folder *folder);

/* The file of the scrape of that time. */
void files_name(char name[64], int64_t time_ms, bool is_compressed);

/* Whether it is the name of such a file; or of one that was being written. */
bool files_name_is_scrape(const char *name);
bool files_name_is_temporary(const char *name);

/* Whether it may be that of a folder of ours: nothing but [A-Za-z0-9_=-]. */
bool files_name_is_folder(const char *name);

enum files_failure {
	FILES_OK,
	FILES_FULL,       /* no space, or no quota */
	FILES_PERMISSION, /* or read only */
	FILES_RESOURCES,  /* descriptors or memory of this machine */
	FILES_IO,
	FILES_OBSTRUCTED, /* something else has the name of a folder or of "latest" */
	FILES_TOO_LARGE,  /* for the file system: the name or the file */
	FILES_OTHER,
	FILES_FAILURE_COUNT,
};
const char *files_failure_name(enum files_failure failure);

/* Whether trying again may help. */
bool files_failure_passes(enum files_failure failure);

/* Why something failed; `what` is a literal. */
struct files_error {
	enum files_failure failure;
	int error_number;
	const char *what;
};

/*
 * Puts the file there, whole or not at all, over one of the same name, and makes it "latest".
 * Folders are made as needed, the top one too, though not what that is in.
 */
void files_store(const char *top, const struct files_folder *folder, const char *name,
	struct slice content, struct files_error *error);

/* Whether all that was stored has come to the disk. */
void files_sync(const char *top, struct files_error *error);

/* As it is counted. */
uint64_t files_cost(uint64_t bytes);

#endif
