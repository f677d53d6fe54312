/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_LOOP_RELOAD_H
#define PS_COMMON_LOOP_RELOAD_H
/*
 * Reads the configuration anew, aside: the file is read, judged and compared with what is in use on
 * a thread of the loop's pool; what came of it is applied, logged and answered on the loop. Asked
 * again while it runs, it runs once more, however often it was asked. Loop thread.
 */
#include "common/config/settings.h"
#include "common/loop/httpd.h"

#include <uv.h>

struct reload;

struct reload_options {
	uv_loop_t *loop;
	const char *path; /* kept by reference */
	enum settings_role role;

	/* What is in use. */
	const struct settings *(*current)(void *arg);
	/*
	 * Puts `fresh`, of which the reference is taken, in the place of what is in use, and
	 * appends lines for people to `answer`; or -1 and `err`, and nothing has changed.
	 */
	int (*apply)(void *arg, struct settings *fresh, struct buf *answer, struct err *err);
	/* It came to an end: what was read is in use now, or the old configuration still. */
	void (*on_end)(void *arg, bool is_success);
	void *arg;
};

struct reload *reload_open(const struct reload_options *options);

/* Begins, or is done once more after what runs; `later`, if not NULL, is answered. */
void reload_ask(struct reload *reload, struct httpd_later *later);

/* Applies nothing any more; frees when what runs has ended, which the loop waits for. */
void reload_close(struct reload *reload);

#endif
