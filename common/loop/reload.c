/* SPDX-License-Identifier: Apache-2.0 */
/*
 * While `work` runs, what is in use is only read there, and nothing here changes it: settings are
 * immutable, and only a reload, of which there is one at a time, puts others in their place.
 */
#include "common/loop/reload.h"

#include "common/core/log.h"

#include <assert.h>

/* Who waits for an answer; the web server takes fewer connections. */
#define MAX_WAITING 128

struct waiting {
	struct httpd_later *items[MAX_WAITING];
	size_t count;
};

struct reload {
	struct reload_options options;
	uv_work_t work;
	bool is_running, is_wanted, is_closing;
	struct waiting served, next; /* by what runs, and by what comes after it */
	const struct settings *current;

	/* The work's, while it runs. */
	struct settings *fresh;
	struct buf report;
	struct string_list changed, left; /* keys, and those that need a restart */
};

struct reload *reload_open(const struct reload_options *options)
{
	struct reload *reload = xcalloc(1, sizeof(*reload));

	reload->options = *options;
	reload->work.data = reload;
	return reload;
}

/* On a thread of the pool. */

static void on_change(void *arg, const char *key, bool needs_restart)
{
	struct reload *reload = arg;

	string_list_add(needs_restart ? &reload->left : &reload->changed, slice_from(key));
}

static void read_aside(uv_work_t *work)
{
	struct reload *reload = work->data;

	reload->fresh = settings_load(reload->options.path, reload->options.role, &reload->report);
	if (reload->fresh != NULL)
		settings_reconcile(reload->current, reload->fresh, on_change, reload);
}

/* On the loop. */

static void append_list(struct buf *out, const char *what, const struct string_list *keys)
{
	for (size_t i = 0; i < keys->count; i++)
		buf_appendf(out, "%s%s", i == 0 ? what : ", ", keys->items[i]);
	if (keys->count > 0)
		buf_append_char(out, '\n');
}

static void log_list(enum log_level level, const char *msg, const struct string_list *keys)
{
	struct buf text = {0};

	append_list(&text, "", keys);
	if (text.len > 0) {
		text.len--;
		log_write(level, msg, LOG_FIELDS(LOG_S("keys", buf_cstr(&text))));
	}
	buf_free(&text);
}

/* Warnings and errors come as lines. */
static void log_lines(enum log_level level, const char *msg, const struct buf *text)
{
	const char *at = text->ptr, *end = text->ptr + text->len;

	while (at < end) {
		const char *line_end = memchr(at, '\n', (size_t)(end - at));
		struct slice line = {at, (size_t)((line_end == NULL ? end : line_end) - at)};

		log_write(level, msg, LOG_FIELDS(LOG_SL("at", line)));
		at += line.len + 1;
	}
}

static void fail(struct reload *reload, struct buf *answer)
{
	buf_appendf(answer, "failed to reload config: the configuration in use stays\n");
	buf_append_slice(answer, buf_slice(&reload->report));
	log_error("the configuration cannot be reloaded; the one in use stays",
		LOG_S("config", reload->options.path));
	log_lines(LOG_ERROR, "the configuration is wrong", &reload->report);
}

static void tell_success(struct reload *reload, struct buf *answer)
{
	log_lines(LOG_WARN, "of the configuration", &reload->report);
	log_list(LOG_INFO, "configuration keys have changed", &reload->changed);
	log_list(LOG_WARN,
		"configuration keys have changed that need a restart; they stay as "
		"they were",
		&reload->left);
	log_info("configuration reloaded", LOG_S("config", reload->options.path),
		LOG_I("keys_changed", reload->changed.count),
		LOG_I("keys_left", reload->left.count));
	buf_append_slice(answer, buf_slice(&reload->report));
	append_list(answer, "changed: ", &reload->changed);
	append_list(answer, "needs a restart, stays as it was: ", &reload->left);
	if (reload->changed.count + reload->left.count == 0)
		buf_append_str(answer, "nothing has changed\n");
}

static bool apply(struct reload *reload, struct buf *answer)
{
	struct buf lines = {0};
	struct err err;
	bool is_applied = reload->fresh != NULL;

	if (is_applied && reload->changed.count > 0) {
		is_applied = reload->options.apply(
				     reload->options.arg, reload->fresh, &lines, &err) == 0;
		if (is_applied)
			reload->fresh = NULL;
		else
			buf_appendf(&reload->report, "%s: %s\n", reload->options.path, err.text);
	}
	if (is_applied)
		tell_success(reload, answer);
	else
		fail(reload, answer);
	buf_append_slice(answer, buf_slice(&lines));
	buf_free(&lines);
	return is_applied;
}

static void forget_work(struct reload *reload)
{
	settings_free(reload->fresh);
	reload->fresh = NULL;
	buf_free(&reload->report);
	string_list_free(&reload->changed);
	string_list_free(&reload->left);
}

static void answer_all(struct waiting *waiting, int status, struct slice text)
{
	for (size_t i = 0; i < waiting->count; i++) {
		struct httpd_response response = {
			.status = status, .content_type = "text/plain; charset=utf-8"};

		buf_append_slice(&response.body, text);
		httpd_answer(waiting->items[i], &response);
	}
	waiting->count = 0;
}

static void free_closed(struct reload *reload)
{
	answer_all(&reload->served, 503, SLICE("stopping\n"));
	answer_all(&reload->next, 503, SLICE("stopping\n"));
	free(reload);
}

static void begin(struct reload *reload);

static void on_read(uv_work_t *work, int status)
{
	struct reload *reload = work->data;
	struct buf answer = {0};
	bool is_success;

	reload->is_running = false;
	(void)status; /* cancelled only at the end */
	if (reload->is_closing) {
		forget_work(reload);
		free_closed(reload);
		return;
	}
	is_success = apply(reload, &answer);
	forget_work(reload);
	answer_all(&reload->served, is_success ? 200 : 500, buf_slice(&answer));
	buf_free(&answer);
	reload->options.on_end(reload->options.arg, is_success);
	if (reload->is_wanted)
		begin(reload);
}

static void begin(struct reload *reload)
{
	reload->is_wanted = false;
	reload->is_running = true;
	reload->current = reload->options.current(reload->options.arg);
	reload->served = reload->next;
	reload->next.count = 0;
	uv_queue_work(reload->options.loop, &reload->work, read_aside, on_read);
}

void reload_ask(struct reload *reload, struct httpd_later *later)
{
	assert(later == NULL || reload->next.count < MAX_WAITING);
	if (later != NULL)
		reload->next.items[reload->next.count++] = later;
	reload->is_wanted = true;
	if (!reload->is_running)
		begin(reload);
}

void reload_close(struct reload *reload)
{
	reload->is_closing = true;
	if (reload->is_running)
		(void)uv_cancel((uv_req_t *)&reload->work);
	else
		free_closed(reload);
}
