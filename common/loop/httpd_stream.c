/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces out of their source into what libmicrohttpd has room for. It asks for more only when the
 * client has taken what came before, so that a slow one costs a piece of memory and nothing else;
 * one that takes nothing is cut off by the connection's timeout.
 */
#include "common/loop/httpd_stream.h"

struct httpd_stream {
	struct httpd_source source;
	struct httpd_streams *streams;
	struct MHD_Connection *connection;
	struct buf piece;
	size_t sent; /* of the piece */
	enum httpd_piece state;
	bool is_waiting;
	LIST_ENTRY(httpd_stream) entry;
};

void httpd_stream(struct httpd_response *response, const struct httpd_source *source)
{
	struct httpd_stream *stream = xcalloc(1, sizeof(*stream));

	stream->source = *source;
	stream->connection = response->connection;
	response->stream = stream;
}

static void wait_a_turn(struct httpd_stream *stream)
{
	stream->is_waiting = true;
	LIST_INSERT_HEAD(&stream->streams->waiting, stream, entry);
	MHD_suspend_connection(stream->connection);
}

static ssize_t on_read(void *arg, uint64_t at, char *to, size_t room)
{
	struct httpd_stream *stream = arg;
	size_t left = stream->piece.len - stream->sent;

	(void)at;
	stream->streams->is_moving = true;
	if (left == 0 && stream->state == HTTPD_MORE) {
		buf_clear(&stream->piece);
		stream->sent = 0;
		stream->state = stream->source.next(stream->source.arg, &stream->piece);
		left = stream->piece.len;
	}
	if (left > 0) {
		size_t taken = left < room ? left : room;

		memcpy(to, stream->piece.ptr + stream->sent, taken);
		stream->sent += taken;
		return (ssize_t)taken;
	}
	if (stream->state == HTTPD_MORE)
		wait_a_turn(stream);
	return stream->state == HTTPD_MORE  ? 0
	       : stream->state == HTTPD_END ? MHD_CONTENT_READER_END_OF_STREAM
					    : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void on_free(void *arg)
{
	struct httpd_stream *stream = arg;

	if (stream->is_waiting)
		LIST_REMOVE(stream, entry);
	stream->source.free(stream->source.arg);
	buf_free(&stream->piece);
	free(stream);
}

void httpd_stream_drop(struct httpd_response *response)
{
	if (response->stream != NULL)
		on_free(response->stream);
	response->stream = NULL;
}

struct MHD_Response *httpd_stream_response(
	struct httpd_stream *stream, struct httpd_streams *streams)
{
	struct MHD_Response *response;

	stream->streams = streams;
	response = MHD_create_response_from_callback(
		MHD_SIZE_UNKNOWN, (size_t)128 << 10, on_read, stream, on_free);
	if (response == NULL)
		on_free(stream);
	return response;
}

void httpd_streams_resume(struct httpd_streams *streams)
{
	struct httpd_stream *stream;

	while ((stream = LIST_FIRST(&streams->waiting)) != NULL) {
		LIST_REMOVE(stream, entry);
		stream->is_waiting = false;
		MHD_resume_connection(stream->connection);
	}
}
