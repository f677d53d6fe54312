/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of an engine: included once by each fast_*.c, which defines before
 *   TARGET         the attribute that allows its instructions,
 *   classify()     the masks of the 64 bytes at an address,
 *   line_end()     the first newline or non-ASCII byte, searching only where it may read.
 *
 * A window is 64 bytes of input, of which the masks tell what each byte is, bit by bit:
 *
 *   http_requests_total{method="post",code="200"} 1027 1395066363000
 *   wwwwwwwwwwwwwwwwwww wwwwww  wwww  wwww  www   wwww wwwwwwwwwwwww    word
 *                                           ddd   dddd ddddddddddddd    digit
 *                              s    s      s   s                        stop
 *
 * so that a token's length is a shift and a count of trailing zeros. Where a token crosses the end
 * of the window, the window slides to its beginning. There is no guard around each byte read: a
 * window is only ever put where SLACK more bytes of input follow it, and offsets into it stay below
 * WINDOW + 4, or are checked first.
 */
#include "common/exposition/chars.h"
#include "common/exposition/fast.h"
#include "common/exposition/sample_labels.h"

#define WINDOW 64
#define SLACK  16
/* What a value or a timestamp may take without another slide. */
#define NUMBER_ROOM 26

struct window {
	const char *base;
	const char *end; /* of the input */
	struct masks is;
};

/* Moves the window to `at`; false if the input ends too soon. */
static inline TARGET bool slide(struct window *w, const char *at)
{
	if (w->end - at < WINDOW + SLACK)
		return false;
	w->base = at;
	classify(at, &w->is);
	return true;
}

/* How many bits from offset `i` on are set; WINDOW or more if all are. */
static inline TARGET unsigned run_length(uint64_t mask, unsigned i)
{
	uint64_t others = ~mask >> i;

	return others == 0 ? WINDOW : (unsigned)__builtin_ctzll(others);
}

static inline TARGET uint32_t load_2(const char *at)
{
	uint16_t bytes;

	memcpy(&bytes, at, sizeof(bytes));
	return bytes;
}

/*
 * Which label names a sample has had, as hashes: a bit found set means that a name may be repeated.
 * So many bits that a dozen labels seldom share one.
 */
struct names_seen {
	uint64_t bits[8];
};

/* 9 bits of hash. `name` must have 8 readable bytes. */
static inline TARGET unsigned name_hash(const char *name, unsigned len)
{
	uint64_t head;

	memcpy(&head, name, sizeof(head));
	if (len < sizeof(head))
		head &= ~(~(uint64_t)0 << (8 * len));
	head += ((uint64_t)(uint8_t)name[len - 1] << 8 | len) * 0xff51afd7ed558ccdu;
	return (unsigned)((head * 0x9e3779b97f4a7c15u) >> 55);
}

/* Notes the name; not zero if it may have been seen before. */
static inline TARGET uint64_t note_name(struct names_seen *seen, const char *name, unsigned len)
{
	unsigned hash = name_hash(name, len);
	uint64_t *word = &seen->bits[hash / 64], bit = (uint64_t)1 << (hash % 64);
	uint64_t before = *word & bit;

	*word |= bit;
	return before;
}

/* Reads a metric name at the window's beginning; returns the offset behind it, or 0. */
static inline TARGET unsigned read_name(struct window *w)
{
	unsigned i;

	if (!((w->is.word & ~w->is.digit) & 1) && *w->base != ':')
		return 0;
	i = run_length(w->is.word, 0);
	while (i < WINDOW - 1 && w->base[i] == ':')
		i += 1 + run_length(w->is.word, i + 1);
	return i;
}

/*
 * Finds the end of a label value that begins at offset `i`, sliding as far as it takes; returns the
 * offset of the byte that may be its closing quote, or WINDOW if the input ends too soon.
 */
static inline TARGET unsigned find_stop(struct window *w, unsigned i)
{
	if (i < WINDOW && w->is.stop >> i != 0)
		return i + (unsigned)__builtin_ctzll(w->is.stop >> i);
	if (!slide(w, w->base + i))
		return WINDOW;
	while (w->is.stop == 0)
		if (!slide(w, w->base + WINDOW))
			return WINDOW;
	return (unsigned)__builtin_ctzll(w->is.stop);
}

/*
 * Reads name="value" pairs, each followed by a comma or the closing brace, from offset `i` on;
 * returns the offset behind the closing brace, or 0.
 */
static inline TARGET unsigned read_labels(struct window *w, unsigned i, struct slice *labels)
{
	const char *start = w->base + i;
	struct names_seen seen = {0};
	/* With __name__ noted from the start, it counts as a repetition. */
	uint64_t repeated = note_name(&seen, "__name__", 8);
	unsigned len;

	while (i >= WINDOW || w->base[i] != '}') {
		len = i < WINDOW ? run_length(w->is.word, i) : WINDOW;
		if (i + len >= WINDOW) {
			if (!slide(w, w->base + i))
				return 0;
			i = 0;
			len = run_length(w->is.word, 0);
			if (len >= WINDOW)
				return 0;
		}
		if (!((w->is.word & ~w->is.digit) >> i & 1) ||
			load_2(w->base + i + len) != load_2("=\""))
			return 0;
		repeated |= note_name(&seen, w->base + i, len);
		i = find_stop(w, i + len + 2);
		if (i >= WINDOW || w->base[i] != '"')
			return 0;
		i++;
		if (w->base[i] == ',')
			i++;
		else if (w->base[i] != '}')
			return 0;
	}
	*labels = (struct slice){start, (size_t)(w->base + i - start)};
	if (repeated != 0 && expo_refused_label(*labels) != NULL)
		return 0;
	return i + 1;
}

/* The offset behind a number that begins at `i`, not above WINDOW - NUMBER_ROOM; 0 if it is
 * unusual. */
static inline TARGET unsigned read_number(const struct window *w, unsigned i)
{
	unsigned len;

	if (memcmp(w->base + i, "NaN", 3) == 0)
		return i + 3;
	if (w->base[i] == '-')
		i++;
	len = run_length(w->is.digit, i);
	if (len == 0)
		return 0;
	i += len;
	if (i < WINDOW - 8 && w->base[i] == '.') {
		len = run_length(w->is.digit, i + 1);
		if (len == 0)
			return 0;
		i += 1 + len;
	}
	if (i < WINDOW - 4 && (w->base[i] | 0x20) == 'e') {
		i++;
		if (w->base[i] == '-' || w->base[i] == '+')
			i++;
		len = run_length(w->is.digit, i);
		/* More could be out of range. */
		if (len == 0 || len > 2)
			return 0;
		i += len;
	}
	return i < WINDOW ? i : 0;
}

/* Makes room for a number at offset *i. */
static inline TARGET bool make_room(struct window *w, unsigned *i)
{
	if (*i <= WINDOW - NUMBER_ROOM)
		return true;
	if (!slide(w, w->base + *i))
		return false;
	*i = 0;
	return true;
}

/* Reads what follows the labels: a space, the value, perhaps a space and a timestamp, the newline.
 */
static inline TARGET bool read_numbers(struct window *w, unsigned i, struct expo_line *line)
{
	unsigned start, len;

	if (w->base[i++] != ' ')
		return false;
	if (!make_room(w, &i))
		return false;
	start = i;
	i = read_number(w, i);
	if (i == 0)
		return false;
	line->value = (struct slice){w->base + start, i - start};
	line->timestamp = (struct slice){NULL, 0};
	if (w->base[i] == ' ') {
		i++;
		if (!make_room(w, &i))
			return false;
		len = run_length(w->is.digit, i);
		/* As many digits are in range. */
		if (len == 0 || len > 18)
			return false;
		line->timestamp = (struct slice){w->base + i, len};
		i += len;
	}
	line->whole.len = (size_t)(w->base + i - line->whole.ptr);
	return w->base[i] == '\n';
}

static inline TARGET enum expo_kind read_sample(
	const char *at, const char *end, struct expo_line *line)
{
	struct window w = {.end = end};
	unsigned i;

	if (!slide(&w, at))
		return EXPO_END;
	i = read_name(&w);
	if (i == 0)
		return EXPO_END;
	if (i >= WINDOW - 1) {
		if (!slide(&w, skip_class(at + WINDOW - 1, end, CHAR_NAME)))
			return EXPO_END;
		i = 0;
	}
	line->name = (struct slice){at, (size_t)(w.base + i - at)};
	line->labels = (struct slice){NULL, 0};
	if (w.base[i] == '{') {
		i = read_labels(&w, i + 1, &line->labels);
		if (i == 0)
			return EXPO_END;
	}
	line->whole.ptr = at;
	if (!read_numbers(&w, i, line))
		return EXPO_END;
	line->kind = EXPO_SAMPLE;
	line->type = EXPO_UNTYPED;
	line->name_quoted = false;
	line->text = (struct slice){NULL, 0};
	return EXPO_SAMPLE;
}

static inline TARGET bool read_type(struct slice word, enum expo_type *type)
{
	if (word.len == 5 && memcmp(word.ptr, "gauge", 5) == 0)
		*type = EXPO_GAUGE;
	else if (word.len == 7 && memcmp(word.ptr, "counter", 7) == 0)
		*type = EXPO_COUNTER;
	else if (word.len == 9 && memcmp(word.ptr, "histogram", 9) == 0)
		*type = EXPO_HISTOGRAM;
	else if (word.len == 7 && memcmp(word.ptr, "summary", 7) == 0)
		*type = EXPO_SUMMARY;
	else if (word.len == 7 && memcmp(word.ptr, "untyped", 7) == 0)
		*type = EXPO_UNTYPED;
	else
		return false;
	return true;
}

static inline TARGET enum expo_kind read_meta(
	const char *at, const char *end, struct expo_line *line)
{
	enum expo_kind kind;
	struct window w = {.end = end};
	const char *text, *newline;
	unsigned i;

	if (!slide(&w, at + strlen("# HELP ")))
		return EXPO_END;
	if (memcmp(at, "# HELP ", 7) == 0)
		kind = EXPO_HELP;
	else if (memcmp(at, "# TYPE ", 7) == 0)
		kind = EXPO_TYPE;
	else
		return EXPO_END;
	i = read_name(&w);
	if (i == 0 || i >= WINDOW || w.base[i] != ' ' || char_is(w.base[i + 1], CHAR_BLANK))
		return EXPO_END;
	text = w.base + i + 1;
	newline = line_end(text, end);
	if (newline == NULL || *newline != '\n')
		return EXPO_END;
	*line = (struct expo_line){
		.kind = kind,
		.name = {w.base, i},
		.text = {text, (size_t)(newline - text)},
		.whole = {at, (size_t)(newline - at)},
	};
	if (kind == EXPO_TYPE && !read_type(line->text, &line->type))
		return EXPO_END;
	return kind;
}

static inline TARGET enum expo_kind read_ordinary_line(
	const char *at, const char *end, struct expo_line *line)
{
	return *at == '#' ? read_meta(at, end, line) : read_sample(at, end, line);
}
