/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head is read once it is whole; then body bytes are copied as they come, chunks without their
 * framing. Strict where parsers of HTTP are known to differ: two lengths, a length and chunks, bare
 * line feeds, blanks before a colon and bytes beyond the end are all unusual.
 */
#include "common/loop/fetch_answer.h"

#include "common/loop/fetch_internal.h"

#include <ctype.h>
#include <strings.h>

#define MAX_RESERVE_BYTES ((size_t)1 << 20)
#define MAX_HEAD_BYTES    ((size_t)32 << 10) /* of an ordinary answer */
#define MAX_CHUNK_DIGITS  8

enum state {
	IN_HEAD,
	IN_BODY,
	IN_CHUNK_SIZE,
	AT_SIZE_LF,
	IN_CHUNK,
	AT_CHUNK_CR,
	AT_CHUNK_LF,
	AT_LAST_CR,
	AT_LAST_LF,
	AT_END,
};

struct head {
	bool has_length, is_chunked;
	size_t length;
};

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_word(struct slice s, const char *word)
{
	return s.len == strlen(word) && strncasecmp(s.ptr, word, s.len) == 0;
}

static struct slice trimmed(struct slice s)
{
	while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* "HTTP/1.1 200 OK": 200; 0 if it is anything unusual. */
static int status_of(struct slice line)
{
	static const char prefix[] = "HTTP/1.1 ";
	const char *digits = line.ptr + sizeof(prefix) - 1;
	int status = 0;

	if (line.len < sizeof(prefix) + 2 || memcmp(line.ptr, prefix, sizeof(prefix) - 1) != 0 ||
		(line.len > sizeof(prefix) + 2 && digits[3] != ' '))
		return 0;
	for (int i = 0; i < 3; i++) {
		if (!isdigit((unsigned char)digits[i]))
			return 0;
		status = status * 10 + (digits[i] - '0');
	}
	return status == 200 || (status >= 400 && status < 600) ? status : 0;
}

static bool parse_length(struct slice value, size_t *length)
{
	if (value.len == 0 || value.len > 15)
		return false;
	*length = 0;
	for (size_t i = 0; i < value.len; i++) {
		if (!isdigit((unsigned char)value.ptr[i]))
			return false;
		*length = *length * 10 + (size_t)(value.ptr[i] - '0');
	}
	return true;
}

/* False if it is unusual. */
static bool take_header(struct fetch_answer *answer, struct fetch_result *result, struct head *head,
	struct slice name, struct slice value)
{
	if (is_word(name, "Content-Length")) {
		if (head->has_length || !parse_length(value, &head->length))
			return false;
		head->has_length = true;
	} else if (is_word(name, "Transfer-Encoding")) {
		if (head->is_chunked || !is_word(value, "chunked"))
			return false;
		head->is_chunked = true;
	} else if (is_word(name, "Connection")) {
		answer->closes = answer->closes || !is_word(value, "keep-alive");
	} else {
		fetch_keep_header(result, name, value);
	}
	return true;
}

static bool take_line(struct fetch_answer *answer, struct fetch_result *result, struct head *head,
	struct slice line)
{
	size_t len = 0;

	while (len < line.len && is_name_char(line.ptr[len]))
		len++;
	if (len == 0 || len == line.len || line.ptr[len] != ':')
		return false;
	return take_header(answer, result, head, (struct slice){line.ptr, len},
		trimmed((struct slice){line.ptr + len + 1, line.len - len - 1}));
}

/* Libcurl ends a line there, or refuses it. */
static bool has_odd_byte(struct slice line)
{
	return memchr(line.ptr, '\n', line.len) != NULL || memchr(line.ptr, '\0', line.len) != NULL;
}

/* The lines of a whole head, each with its CR LF; false if one is unusual. */
static bool take_lines(struct fetch_answer *answer, struct fetch_result *result, struct head *head,
	struct slice text)
{
	bool is_first = true;

	while (text.len > 0) {
		const char *end = memmem(text.ptr, text.len, "\r\n", 2);
		struct slice line = {text.ptr, (size_t)(end - text.ptr)};

		text.ptr = end + 2;
		text.len -= line.len + 2;
		if (has_odd_byte(line))
			return false;
		if (is_first ? (answer->status = status_of(line)) == 0
			     : !take_line(answer, result, head, line))
			return false;
		is_first = false;
	}
	return answer->status != 0;
}

/* Of an empty body. */
static void reserve(struct fetch_answer *answer, struct buf *body, size_t bytes)
{
	if (bytes == 0 || bytes > MAX_RESERVE_BYTES || bytes > answer->limit_bytes)
		return;
	/* Exactly so much: it may wait for long. */
	body->ptr = xreallocarray(body->ptr, bytes, 1);
	body->capacity = bytes;
}

static enum fetch_answer_step take_head(
	struct fetch_answer *answer, struct fetch_result *result, struct slice text)
{
	struct head head = {0};

	if (!take_lines(answer, result, &head, text) || head.has_length == head.is_chunked)
		return FETCH_ANSWER_UNUSUAL;
	result->status = answer->status;
	answer->left = head.length;
	if (head.is_chunked)
		answer->state = IN_CHUNK_SIZE;
	else
		answer->state = head.length == 0 ? AT_END : IN_BODY;
	reserve(answer, &result->body, head.is_chunked ? answer->likely_bytes : head.length);
	return FETCH_ANSWER_MORE;
}

static void skip(struct slice *bytes, size_t len)
{
	bytes->ptr += len;
	bytes->len -= len;
}

/*
 * Whether a head that is not whole can still become one of ours. Libcurl may see its end where we
 * do not: waiting for more would be waiting for the deadline.
 */
static bool is_hopeful(struct slice text, size_t from)
{
	static const char prefix[] = "HTTP/1.1 ";
	size_t len = text.len < sizeof(prefix) - 1 ? text.len : sizeof(prefix) - 1;
	const char *lf = text.ptr + from;

	if (memcmp(text.ptr, prefix, len) != 0)
		return false;
	while ((lf = memchr(lf, '\n', (size_t)(text.ptr + text.len - lf))) != NULL)
		if (*(lf++ - 1) != '\r')
			return false;
	return text.len <= MAX_HEAD_BYTES;
}

/* Takes the head off `bytes`, or all of them if it is not whole yet. */
static enum fetch_answer_step feed_head(
	struct fetch_answer *answer, struct fetch_result *result, struct slice *bytes)
{
	size_t before = answer->head.len;
	size_t from = before < 3 ? 0 : before - 3;
	const char *end;
	size_t len;
	enum fetch_answer_step step;

	if (before == 0 && (end = memmem(bytes->ptr, bytes->len, "\r\n\r\n", 4)) != NULL) {
		len = (size_t)(end - bytes->ptr) + 4;
		step = take_head(answer, result, (struct slice){bytes->ptr, len - 2});
		skip(bytes, len);
		return step;
	}
	buf_append_slice(&answer->head, *bytes);
	end = memmem(answer->head.ptr + from, answer->head.len - from, "\r\n\r\n", 4);
	if (end == NULL) {
		skip(bytes, bytes->len);
		return is_hopeful(buf_slice(&answer->head), before) ? FETCH_ANSWER_MORE
								    : FETCH_ANSWER_UNUSUAL;
	}
	len = (size_t)(end - answer->head.ptr) + 4;
	step = take_head(answer, result, (struct slice){answer->head.ptr, len - 2});
	skip(bytes, len - before);
	buf_clear(&answer->head);
	return step;
}

static enum fetch_answer_step feed_body(
	struct fetch_answer *answer, struct fetch_result *result, struct slice *bytes)
{
	size_t len = bytes->len < answer->left ? bytes->len : answer->left;

	if (len > answer->limit_bytes - result->body.len)
		return FETCH_ANSWER_TOO_LARGE;
	buf_append(&result->body, bytes->ptr, len);
	skip(bytes, len);
	answer->left -= len;
	if (answer->left == 0)
		answer->state = answer->state == IN_BODY ? AT_END : AT_CHUNK_CR;
	return FETCH_ANSWER_MORE;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static enum fetch_answer_step feed_chunk_size(struct fetch_answer *answer, char c)
{
	int digit = hex_digit(c);

	if (c == '\r' && answer->digits > 0) {
		answer->state = AT_SIZE_LF;
		return FETCH_ANSWER_MORE;
	}
	if (digit < 0 || ++answer->digits > MAX_CHUNK_DIGITS)
		return FETCH_ANSWER_UNUSUAL;
	answer->left = answer->left * 16 + (size_t)digit;
	return FETCH_ANSWER_MORE;
}

/* One byte of what frames a chunk. */
static enum fetch_answer_step feed_framing(struct fetch_answer *answer, char c)
{
	static const struct {
		char expected;
		int then;
	} framing[] = {
		[AT_SIZE_LF] = {'\n', IN_CHUNK},
		[AT_CHUNK_CR] = {'\r', AT_CHUNK_LF},
		[AT_CHUNK_LF] = {'\n', IN_CHUNK_SIZE},
		[AT_LAST_CR] = {'\r', AT_LAST_LF},
		[AT_LAST_LF] = {'\n', AT_END},
	};
	int at = answer->state;

	if (at == IN_CHUNK_SIZE)
		return feed_chunk_size(answer, c);
	if (c != framing[at].expected)
		return FETCH_ANSWER_UNUSUAL;
	answer->state = framing[at].then;
	if (at == AT_SIZE_LF && answer->left == 0)
		answer->state = AT_LAST_CR;
	if (at == AT_CHUNK_LF)
		answer->digits = 0;
	return FETCH_ANSWER_MORE;
}

enum fetch_answer_step fetch_answer_feed(
	struct fetch_answer *answer, struct fetch_result *result, struct slice bytes)
{
	enum fetch_answer_step step = FETCH_ANSWER_MORE;

	while (step == FETCH_ANSWER_MORE && bytes.len > 0 && answer->state != AT_END) {
		if (answer->state == IN_HEAD) {
			step = feed_head(answer, result, &bytes);
		} else if (answer->state == IN_BODY || answer->state == IN_CHUNK) {
			step = feed_body(answer, result, &bytes);
		} else {
			step = feed_framing(answer, bytes.ptr[0]);
			skip(&bytes, 1);
		}
	}
	if (step != FETCH_ANSWER_MORE || answer->state != AT_END)
		return step;
	return bytes.len == 0 ? FETCH_ANSWER_DONE : FETCH_ANSWER_UNUSUAL;
}

bool fetch_answer_has_begun(const struct fetch_answer *answer)
{
	return answer->state != IN_HEAD || answer->head.len > 0;
}

void fetch_answer_fini(struct fetch_answer *answer)
{
	buf_free(&answer->head);
}
