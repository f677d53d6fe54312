/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over the files and folders named on the command line, for builds without a
 * fuzzing engine. A crash or a failed assertion is the failure; the file is named on stderr first.
 */
#include "common/core/buf.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static size_t runs;

static bool read_file(FILE *file, struct buf *content)
{
	size_t got;

	do {
		got = fread(buf_reserve(content, 1 << 16), 1, 1 << 16, file);
		content->len += got;
	} while (got > 0);
	return ferror(file) == 0;
}

/* The input is handed over in a block of exactly its size, so that a sanitizer sees overreads. */
static bool run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct buf content = {0};
	uint8_t *exact;
	bool read;

	if (file == NULL)
		return false;
	read = read_file(file, &content);
	fclose(file);
	if (read) {
		exact = xmalloc(content.len == 0 ? 1 : content.len);
		if (content.len > 0)
			memcpy(exact, content.ptr, content.len);
		fprintf(stderr, "%s\n", path);
		LLVMFuzzerTestOneInput(exact, content.len);
		runs++;
		free(exact);
	}
	buf_free(&content);
	return read;
}

static bool run_path(const char *path)
{
	struct dirent **entries;
	struct stat st;
	int count;
	bool ok = true;

	if (stat(path, &st) != 0)
		return false;
	if (!S_ISDIR(st.st_mode))
		return run_file(path);
	count = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char *inner = xasprintf("%s/%s", path, entries[i]->d_name);

		if (entries[i]->d_name[0] != '.' && !run_path(inner))
			ok = false;
		free(inner);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return count >= 0 && ok;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++) {
		if (run_path(argv[i]))
			continue;
		fprintf(stderr, "%s: cannot be read\n", argv[i]);
		failed = 1;
	}
	printf("%s: %zu inputs\n", argv[0], runs);
	return failed;
}
