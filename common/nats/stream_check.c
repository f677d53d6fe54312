/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STREAM.INFO, and STREAM.CREATE where the stream is missing. Not being allowed to ask is no
 * failure: publishing itself will tell. At most one request is under way.
 */
#include "common/nats/stream_check.h"

#include "common/core/log.h"
#include "common/nats/api.h"

#define SUBJECTS_SHOWN 8

static void pass(struct stream_check *check)
{
	check->on_verdict(check->arg, NULL);
}

static void fail(struct stream_check *check, const char *doing, const struct err *err)
{
	struct err why;

	err_setf(&why, "%s stream \"%s\": %s", doing, check->stream->stream, err->text);
	check->on_verdict(check->arg, why.text);
}

static void fail_for_subjects(struct stream_check *check, const struct string_list *subjects)
{
	struct buf list = {0};
	struct err why;

	for (size_t i = 0; i < subjects->count && i < SUBJECTS_SHOWN; i++)
		buf_appendf(&list, "%s\"%s\"", i > 0 ? ", " : "", subjects->items[i]);
	if (subjects->count > SUBJECTS_SHOWN)
		buf_append_str(&list, ", …");
	err_setf(&why, "stream \"%s\" takes %s and not our \"%s\"", check->stream->stream,
		list.len > 0 ? buf_cstr(&list) : "no subjects", check->publish_subject);
	buf_free(&list);
	check->on_verdict(check->arg, why.text);
}

static bool takes_ours(const struct stream_check *check, const struct js_stream_info *info)
{
	for (size_t i = 0; i < info->subjects.count; i++)
		if (js_subject_covers(info->subjects.items[i], check->publish_subject))
			return true;
	return info->is_sourced_or_mirror;
}

static void judge(struct stream_check *check, const struct js_stream_info *info)
{
	check->max_message_bytes = info->max_msg_size;
	if (takes_ours(check, info))
		pass(check);
	else
		fail_for_subjects(check, &info->subjects);
}

/* 0 with `info` to be finished; -1 after the verdict has been given. */
static int read_answer(struct stream_check *check, const char *doing, enum nats_reply outcome,
	struct nats_incoming *message, const char *text, struct js_stream_info *info)
{
	struct err err;

	if (outcome != NATS_REPLY_OK) {
		nats_api_outcome(&err, outcome, text);
		fail(check, doing, &err);
		return -1;
	}
	if (js_stream_info_parse(info, nats_incoming_body(message), &err) != 0) {
		fail(check, doing, &err);
		return -1;
	}
	return 0;
}

static void on_created(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	struct stream_check *check = arg;
	struct js_stream_info info;
	struct err err;

	check->request = 0;
	if (read_answer(check, "cannot create", outcome, message, text, &info) != 0)
		return;
	if (info.error.code != 0) {
		nats_api_error(&err, &info.error);
		fail(check, "cannot create", &err);
	} else {
		log_info("stream created", LOG_S("stream", check->stream->stream));
		judge(check, &info);
	}
	js_stream_info_fini(&info);
}

static void create(struct stream_check *check)
{
	struct buf body = {0};

	js_stream_create_request(&body, check->stream);
	check->request = nats_api_request(check->link,
		nats_api_message(&body, "$JS.API.STREAM.CREATE.%s", check->stream->stream),
		on_created, check);
}

static void on_refused_info(struct stream_check *check, const struct js_error *error)
{
	struct err why;

	if (error->err_code != JS_STREAM_NOT_FOUND) {
		nats_api_error(&why, error);
		fail(check, "cannot check", &why);
	} else if (check->stream->create) {
		create(check);
	} else {
		err_setf(&why, "stream \"%s\" not found (create: true would make it)",
			check->stream->stream);
		check->on_verdict(check->arg, why.text);
	}
}

static void skip(struct stream_check *check, const char *text)
{
	if (!check->was_skipped)
		log_info("stream not checked before publishing: no permission to ask",
			LOG_S("stream", check->stream->stream), LOG_S("error", text));
	check->was_skipped = true;
	pass(check);
}

static void on_info(
	void *arg, enum nats_reply outcome, struct nats_incoming *message, const char *text)
{
	struct stream_check *check = arg;
	struct js_stream_info info;

	check->request = 0;
	if (outcome == NATS_REPLY_DENIED) {
		skip(check, text);
		return;
	}
	if (read_answer(check, "cannot check", outcome, message, text, &info) != 0)
		return;
	if (info.error.code != 0)
		on_refused_info(check, &info.error);
	else
		judge(check, &info);
	js_stream_info_fini(&info);
}

void stream_check_start(struct stream_check *check)
{
	check->max_message_bytes = -1;
	check->request = nats_api_request(check->link,
		nats_api_message(NULL, "$JS.API.STREAM.INFO.%s", check->stream->stream), on_info,
		check);
}

void stream_check_cancel(struct stream_check *check)
{
	if (check->request != 0)
		nats_link_cancel(check->link, check->request);
	check->request = 0;
}
