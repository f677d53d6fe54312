/* SPDX-License-Identifier: Apache-2.0 */
/* All requests of a round are made at once, as families may go while one is under way. */
#include "receiver/sink/write_metadata.h"

#include "receiver/metrics.h"

static void on_due(uv_timer_t *timer);

static void forget_bodies(struct write_metadata *metadata)
{
	for (size_t i = 0; i < metadata->count; i++)
		buf_free(&metadata->bodies[i]);
	free(metadata->bodies);
	free(metadata->families);
	metadata->bodies = NULL;
	metadata->families = NULL;
	metadata->count = metadata->sent = 0;
}

static void await_next(struct write_metadata *metadata)
{
	forget_bodies(metadata);
	uv_timer_start(&metadata->timer, on_due,
		(uint64_t)metadata->sender->settings->metadata.send_interval_ms, 0);
}

static void end_body(struct write_metadata *metadata, struct write_request *request)
{
	size_t i = metadata->count++;

	metadata->bodies =
		xreallocarray(metadata->bodies, metadata->count, sizeof(*metadata->bodies));
	metadata->families =
		xreallocarray(metadata->families, metadata->count, sizeof(*metadata->families));
	metadata->bodies[i] = (struct buf){0};
	metadata->families[i] = write_request_end(request, &metadata->bodies[i]).metadata;
	buf_trim(&metadata->bodies[i]);
}

static void make_bodies(struct write_metadata *metadata)
{
	struct write_sender *sender = metadata->sender;
	int64_t most = sender->settings->metadata.max_samples_per_send, held = 0;
	struct write_family *family, *next;

	HASH_ITER (by_name, write_table_families(sender->table)->by_name, family, next) {
		if (!family->is_typed && family->help.len == 0)
			continue;
		if (held == 0)
			write_request_begin(sender->request, WRITE_V1);
		write_request_add_family(sender->request, family);
		if (++held < most)
			continue;
		end_body(metadata, sender->request);
		held = 0;
	}
	if (held > 0)
		end_body(metadata, sender->request);
}

static void send_next(struct write_metadata *metadata);

static void on_answer(void *arg, struct fetch_result *result)
{
	struct write_metadata *metadata = arg;
	struct write_answer answer;

	metadata->transfer = NULL;
	write_sender_judge(metadata->sender, result, WRITE_V1, &answer);
	if (answer.meaning == WRITE_TAKEN)
		series_add(
			metadata->sender->metadata, (double)metadata->families[metadata->sent - 1]);
	if (answer.meaning == WRITE_RETRY)
		await_next(metadata);
	else
		send_next(metadata);
}

static void send_next(struct write_metadata *metadata)
{
	if (metadata->sent == metadata->count || metadata->is_stopping ||
		metadata->sender->version != WRITE_V1) {
		await_next(metadata);
		return;
	}
	metadata->transfer = write_sender_post(metadata->sender,
		buf_slice(&metadata->bodies[metadata->sent++]), 0, on_answer, metadata);
}

static void on_due(uv_timer_t *timer)
{
	struct write_metadata *metadata = timer->data;

	if (metadata->sender->version == WRITE_V1 && metadata->sender->settings->metadata.send &&
		!metadata->is_stopping)
		make_bodies(metadata);
	send_next(metadata);
}

void write_metadata_init(struct write_metadata *metadata, uv_loop_t *loop)
{
	uv_timer_init(loop, &metadata->timer);
	metadata->timer.data = metadata;
	await_next(metadata);
}

void write_metadata_stop(struct write_metadata *metadata)
{
	metadata->is_stopping = true;
}

void write_metadata_close(struct write_metadata *metadata, uv_close_cb on_closed)
{
	if (metadata->transfer != NULL)
		fetch_cancel(metadata->transfer);
	forget_bodies(metadata);
	uv_close((uv_handle_t *)&metadata->timer, on_closed);
}
