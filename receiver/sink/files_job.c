/* SPDX-License-Identifier: Apache-2.0 */
/* A body that is malformed becomes up 0 here, where it is read. */
#include "receiver/sink/files_job.h"

#include "common/core/clock.h"

#define ZSTD_LEVEL 1
/* Of memory, kept from one file to the next. */
#define KEEP_BYTES (1 << 20)

void files_job_init(struct files_job *job)
{
	*job = (struct files_job){.codec = codec_new()};
}

void files_job_fini(struct files_job *job)
{
	codec_free(job->codec);
	buf_free(&job->title);
	buf_free(&job->exposition);
	buf_free(&job->content);
	buf_free(&job->compressed);
	free(job->error);
}

static void reuse(struct buf *buf)
{
	if (buf->capacity > KEEP_BYTES)
		buf_free(buf);
	else
		buf_clear(buf);
}

void files_job_set(struct files_job *job, const struct frame *frame)
{
	const struct wire_scrape *scrape = &frame->scrape;

	reuse(&job->title);
	reuse(&job->exposition);
	reuse(&job->content);
	reuse(&job->compressed);
	free(job->error);
	job->error = scrape->error == NULL ? NULL : xstrdup(scrape->error);
	files_body_title(
		&job->title, frame->publisher, frame->job, frame->instance, &scrape->labels);
	job->scrape = (struct files_scrape){
		.title = buf_slice(&job->title),
		.time_ms = scrape->time_ms,
		.duration_s = scrape->duration_s,
		.ignores_timestamps = (scrape->flags & WIRE_IGNORE_TIMESTAMPS) != 0,
	};
	job->is_up = scrape->up;
	job->malformed.text[0] = '\0';
	job->begun_us = clock_mono_us();
}

static void make(struct files_job *job)
{
	if (job->is_up && files_body_up(&job->content, &job->scrape, buf_slice(&job->exposition),
				  &job->malformed) == 0)
		return;
	files_body_down(&job->content, &job->scrape, job->is_up ? job->malformed.text : job->error);
}

void files_job_run(struct files_job *job)
{
	struct slice content;
	char name[64];
	struct err err;

	make(job);
	content = buf_slice(&job->content);
	if (job->is_compressed && codec_encode(job->codec, ENCODING_ZSTD, ZSTD_LEVEL, content,
					  &job->compressed, &err) == 0)
		content = buf_slice(&job->compressed);
	files_name(name, job->scrape.time_ms, content.ptr == job->compressed.ptr);
	job->bytes = content.len;
	files_store(job->top, job->folder, name, content, &job->result);
}
