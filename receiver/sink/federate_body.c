/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over the exposition makes of each sample its text and puts it in its family's chain;
 * then the chains are written one behind the other in the order of the families' slots. Families of
 * all targets are touched only when nothing can go wrong any more.
 */
#include "receiver/sink/federate_body_internal.h"

#include "common/core/metrics.h"

/* Of the buffers, from one body to the next. */
#define MAX_KEPT_BYTES ((size_t)4 << 20)

static const struct {
	const char *name, *help;
} own_families[OWN_COUNT] = {
	[OWN_UP] = {"up", "Whether the target could be scraped."},
	[OWN_DURATION] = {"scrape_duration_seconds", "How long the scrape took."},
	[OWN_SCRAPED] = {"scrape_samples_scraped", "Samples that the target exposed."},
	[OWN_REMAINING] = {"scrape_samples_post_metric_relabeling",
		"Samples that remained after relabelling."},
	[OWN_ADDED] = {"scrape_series_added", "Series that the scrape before did not have."},
};

static void *grow(void *items, size_t count, size_t *capacity, size_t size)
{
	if (count < *capacity)
		return items;
	*capacity = *capacity == 0 ? 256 : 2 * *capacity;
	return xreallocarray(items, *capacity, size);
}

/* Families of the body. */

static uint32_t add_family(struct federate_builder *b, struct slice name)
{
	b->families = grow(b->families, b->family_count, &b->family_capacity, sizeof(*b->families));
	b->families[b->family_count] =
		(struct federate_family){.name_at = b->names.len, .name_len = name.len};
	buf_append_slice(&b->names, name);
	return (uint32_t)b->family_count++;
}

static uint32_t family_at(struct federate_builder *b, struct slice name)
{
	uint32_t *known = push_index_at(&b->families_by_name, push_hash(b->rewriter.seed, name));

	if (*known == 0)
		*known = add_family(b, name) + 1;
	return *known - 1;
}

static uint32_t family_of_sample(struct federate_builder *b, struct slice name)
{
	uint64_t hash = push_hash(b->rewriter.seed, name);
	uint32_t known = push_index_get(&b->families_by_name, hash);
	struct slice stem;
	bool of_summary;

	if (known != 0)
		return known - 1;
	if (!family_stem(name, &stem, &of_summary))
		return family_at(b, name);
	known = push_index_get(&b->families_by_name, push_hash(b->rewriter.seed, stem));
	if (known != 0 && (b->families[known - 1].type == EXPO_HISTOGRAM ||
				  (b->families[known - 1].type == EXPO_SUMMARY && of_summary)))
		return known - 1;
	return family_at(b, name);
}

static void read_metadata(struct build *build, const struct expo_line *line)
{
	struct federate_builder *b = build->b;
	struct slice name = line->name;
	struct federate_family *family;
	uint32_t number;

	if (line->name_quoted) {
		buf_clear(&b->scratch);
		expo_unescape(line->name, &b->scratch);
		name = buf_slice(&b->scratch);
	}
	number = family_at(b, name);
	family = &b->families[number];
	if (number < OWN_COUNT)
		return;
	if (line->kind == EXPO_HELP && family->help.len == 0)
		family->help = line->text;
	if (line->kind == EXPO_TYPE && !family->has_type) {
		family->has_type = true;
		family->type = line->type;
	}
}

/* Samples. */

static uint32_t add_opening(struct federate_builder *b, struct slice name)
{
	struct federate_open open = {.at = b->opens.len};
	bool is_legacy = expo_metric_name_is_legacy(name);

	buf_append_str(&b->opens, is_legacy ? "" : "{");
	push_quote_name(&b->opens, name, false);
	buf_append_char(&b->opens, is_legacy ? '{' : ',');
	open.len = b->opens.len - open.at;
	b->openings =
		grow(b->openings, b->opening_count, &b->opening_capacity, sizeof(*b->openings));
	b->openings[b->opening_count] = open;
	return (uint32_t)b->opening_count++;
}

static void find_name(struct build *build, struct slice name, bool is_quoted)
{
	if (build->last_name.ptr != NULL && slice_eq(name, build->last_name))
		return;
	build->last_family = family_of_sample(build->b, name);
	build->last_open = add_opening(build->b, name);
	/* A quoted one is gone with the next sample. */
	build->last_name = is_quoted ? (struct slice){NULL, 0} : name;
}

static struct slice trim(struct slice labels)
{
	while (labels.len > 0 && strchr(" \t,", *labels.ptr) != NULL && *labels.ptr != '\0') {
		labels.ptr++;
		labels.len--;
	}
	while (labels.len > 0 && strchr(" \t,", labels.ptr[labels.len - 1]) != NULL &&
		labels.ptr[labels.len - 1] != '\0')
		labels.len--;
	return labels;
}

/* What stands in the braces of a sample written anew, other than the name. */
static struct slice inner_labels(
	const struct build *build, const struct expo_line *line, const struct push_sample *sample)
{
	size_t begin = federate_open_of(build->b, build->last_open).len;
	size_t end = sample->line_len - line->value.len - 2; /* without "} " */

	/* The last of `open` is the brace or comma before the labels; without any it is not there.
	 */
	if (begin > end)
		return (struct slice){NULL, 0};
	return (struct slice){build->b->rewriter.lines.ptr + sample->line_at + begin, end - begin};
}

static void append_label(struct build *build, struct slice name, struct slice value)
{
	struct federate_builder *b = build->b;

	buf_append_slice(&b->text, name);
	buf_append_str(&b->text, "=\"");
	expo_escape(value, &b->text);
	buf_append_str(&b->text, "\",");
}

/* With honor_labels: the target's labels as far as the sample does not set them. */
static void append_honored(struct build *build, const struct push_sample *sample)
{
	const struct push_labels *labels = &build->target->labels;

	for (size_t i = 0; i < labels->count; i++) {
		const struct push_label *label = &labels->items[i];

		if (sample->exposed[i].ptr == NULL) {
			append_label(build, label->name, label->value);
		} else if (sample->rewritten) {
			buf_clear(&build->b->scratch);
			expo_unescape(sample->exposed[i], &build->b->scratch);
			append_label(build, label->name, buf_slice(&build->b->scratch));
		}
	}
}

static bool has_quoted_names(struct slice labels)
{
	struct expo_label label;

	while (expo_labels_next(&labels, &label))
		if (label.name_quoted)
			return true;
	return false;
}

static uint32_t write_text(
	struct build *build, const struct expo_line *line, const struct push_sample *sample)
{
	struct slice labels =
		sample->rewritten ? inner_labels(build, line, sample) : trim(line->labels);
	struct buf *text = &build->b->text;
	uint32_t flags = sample->rewritten && has_quoted_names(labels) ? LINE_QUOTED : 0;

	if (sample->is_exposed) {
		flags |= LINE_WHOLE;
		append_honored(build, sample);
		if (labels.len == 0)
			text->len--; /* the last comma */
	} else if (labels.len > 0) {
		buf_append_char(text, ',');
	}
	buf_append_slice(text, labels);
	buf_append(text, "} ", 2);
	buf_append_slice(text, line->value);
	if (line->timestamp.len > 0 && !build->target->ignore_timestamps) {
		flags |= LINE_TIMED;
		buf_append_char(text, ' ');
		buf_append_slice(text, line->timestamp);
	}
	return flags;
}

/* Puts the text from `at` on into the chain of the family. */
static void add_item(
	struct federate_builder *b, uint32_t family, uint32_t open, size_t at, uint32_t flags)
{
	struct federate_family *chain = &b->families[family];
	uint32_t number = (uint32_t)++b->item_count; /* + 1 */

	b->items = grow(b->items, number, &b->item_capacity, sizeof(*b->items));
	b->items[number - 1] = (struct federate_item){
		.at = (uint32_t)at,
		.len = (uint32_t)(b->text.len - at),
		.flags = flags,
		.open = open,
		.sample = (uint32_t)b->hash_count,
	};
	if (chain->first == 0)
		chain->first = number;
	else
		b->items[chain->last - 1].next = number;
	chain->last = number;
}

static void note_hash(struct build *build, const struct push_sample *sample)
{
	struct federate_builder *b = build->b;
	uint64_t hash = sample->hash;

	for (size_t i = 0; sample->is_exposed && i < build->target->labels.count; i++)
		if (sample->exposed[i].ptr != NULL)
			hash += push_hash(b->rewriter.seed + i + 1, sample->exposed[i]);
	b->hashes = grow(b->hashes, b->hash_count, &b->hash_capacity, sizeof(*b->hashes));
	b->hashes[b->hash_count++] = hash;
}

/* Whether the sample is of a series that we add. */
static bool is_own(const struct build *build, const struct push_sample *sample)
{
	const struct push_labels *labels = &build->target->labels;

	if (build->last_family >= OWN_COUNT || !sample->is_bare)
		return false;
	for (size_t i = 0; sample->is_exposed && i < labels->count; i++)
		if (sample->exposed[i].ptr != NULL &&
			!slice_eq(sample->exposed[i], labels->items[i].value))
			return false;
	return true;
}

static int read_sample(struct build *build, const struct expo_line *line, struct err *err)
{
	struct federate_builder *b = build->b;
	size_t at = b->text.len;
	struct push_sample sample;
	uint32_t flags;

	buf_clear(&b->rewriter.lines);
	if (push_sample_read(&b->rewriter, line, &sample, err) < 0)
		return -1;
	build->samples++;
	note_hash(build, &sample);
	find_name(build, sample.name, line->name_quoted);
	if (is_own(build, &sample)) {
		build->repairs->samples_displaced++;
		return 0;
	}
	flags = write_text(build, line, &sample);
	add_item(b, build->last_family, build->last_open, at, flags);
	/* What is written per line and run beside the text stays below the text's length. */
	return b->text.len <= BLOCK_MAX_BYTES / 4
		       ? 0
		       : err_setf(err, "too large once its labels are renamed");
}

static int read_all(struct build *build, struct slice exposition, struct err *err)
{
	struct expo_parser parser;
	struct expo_line line;
	int result = 0;

	expo_init(&parser, exposition);
	while (result == 0) {
		switch (expo_next(&parser, &line, err)) {
		case EXPO_END:
			return 0;
		case EXPO_ERROR:
			return -1;
		case EXPO_SAMPLE:
			result = read_sample(build, &line, err);
			break;
		case EXPO_HELP:
		case EXPO_TYPE:
			read_metadata(build, &line);
			break;
		}
	}
	return result;
}

/* What is new, and what came twice. */

static void drop_sample(struct build *build, uint32_t sample, size_t *item)
{
	struct federate_builder *b = build->b;

	while (*item < b->item_count && b->items[*item].sample < sample + 1)
		(*item)++;
	if (*item == b->item_count || b->items[*item].sample != sample + 1)
		return; /* it was displaced already */
	b->items[*item].len = 0;
	build->repairs->samples_repeated++;
}

/* How many series there are that the scrape before had not. */
static uint64_t compare(struct build *build, struct federate_series *series)
{
	enum { IN_FORMER = 1, IN_THIS = 2 };
	struct federate_builder *b = build->b;
	uint64_t added = 0;
	size_t item = 0;

	if (series->count == b->hash_count && !series->has_repeats &&
		(b->hash_count == 0 ||
			memcmp(series->hashes, b->hashes, b->hash_count * sizeof(*b->hashes)) == 0))
		return 0;
	for (size_t i = 0; i < series->count; i++)
		*push_index_at(&b->seen, series->hashes[i]) = IN_FORMER;
	series->has_repeats = false;
	for (size_t i = 0; i < b->hash_count; i++) {
		uint32_t *seen = push_index_at(&b->seen, b->hashes[i]);

		added += *seen == 0;
		if (*seen == IN_THIS) {
			series->has_repeats = true;
			drop_sample(build, (uint32_t)i, &item);
		}
		*seen = IN_THIS;
	}
	push_index_clear(&b->seen);
	series->hashes = xreallocarray(series->hashes, b->hash_count + 1, sizeof(*series->hashes));
	memcpy(series->hashes, b->hashes, b->hash_count * sizeof(*b->hashes));
	series->count = b->hash_count;
	return added;
}

/* Our own series. */

static void add_own(struct build *build, enum own own, double value)
{
	struct federate_builder *b = build->b;
	size_t at = b->text.len;

	buf_append_str(&b->text, "} ");
	metrics_append_number(&b->text, value);
	add_item(b, own, add_opening(b, slice_from(own_families[own].name)), at, 0);
}

/* Beginning and ending. */

static void clear(struct buf *buf)
{
	if (buf->capacity > MAX_KEPT_BYTES)
		buf_free(buf);
	buf_clear(buf);
}

static void clear_items(struct federate_builder *b)
{
	if (b->item_capacity * sizeof(*b->items) > MAX_KEPT_BYTES) {
		free(b->items);
		b->items = NULL;
		b->item_capacity = 0;
	}
	if (b->hash_capacity * sizeof(*b->hashes) > MAX_KEPT_BYTES) {
		free(b->hashes);
		b->hashes = NULL;
		b->hash_capacity = 0;
	}
	b->item_count = b->family_count = b->opening_count = b->hash_count = 0;
}

static void begin(struct federate_builder *b, const struct federate_target *target)
{
	struct buf *const bufs[] = {&b->names, &b->opens, &b->text, &b->scratch, &b->rewriter.lines,
		&b->rewriter.names, &b->rewriter.scratch, &b->rewriter.metric};

	for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
		clear(bufs[i]);
	clear_items(b);
	push_index_clear(&b->families_by_name);
	b->rewriter.group = &target->labels;
	b->rewriter.honor_labels = target->honor_labels;
	b->rewriter.utf8_names = b->rewriter.is_exact = true;
	b->rewriter.labels_renamed = 0;
	b->rewriter.seed = push_hash_seed();
	for (size_t i = 0; i < OWN_COUNT; i++) {
		uint32_t family = family_at(b, slice_from(own_families[i].name));

		b->families[family].type = EXPO_GAUGE;
		b->families[family].help = slice_from(own_families[i].help);
	}
}

struct block *federate_body_build(struct federate_builder *builder, struct slice exposition,
	const struct federate_target *target, struct families *families,
	struct federate_series *series, struct federate_repairs *repairs, struct err *err)
{
	struct build build = {.b = builder, .target = target, .repairs = repairs};
	uint64_t added;

	*repairs = (struct federate_repairs){0};
	begin(builder, target);
	if (exposition.len > BLOCK_MAX_BYTES / 4) {
		err_setf(err, "larger than %zu bytes", BLOCK_MAX_BYTES / 4);
		return NULL;
	}
	if (read_all(&build, exposition, err) < 0)
		return NULL;
	repairs->labels_renamed = builder->rewriter.labels_renamed;
	added = compare(&build, series);
	add_own(&build, OWN_UP, 1);
	add_own(&build, OWN_DURATION, target->duration_s);
	add_own(&build, OWN_SCRAPED, (double)build.samples);
	add_own(&build, OWN_REMAINING, (double)build.samples);
	add_own(&build, OWN_ADDED, (double)added);
	return federate_body_finish(&build, families);
}

struct block *federate_body_down(struct federate_builder *builder,
	const struct federate_target *target, struct families *families)
{
	struct federate_repairs repairs;
	struct build build = {.b = builder, .target = target, .repairs = &repairs};

	begin(builder, target);
	add_own(&build, OWN_UP, 0);
	return federate_body_finish(&build, families);
}

void federate_series_fini(struct federate_series *series)
{
	free(series->hashes);
	*series = (struct federate_series){0};
}

void federate_builder_fini(struct federate_builder *b)
{
	struct buf *const bufs[] = {&b->names, &b->opens, &b->text, &b->scratch};

	for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
		buf_free(bufs[i]);
	push_rewriter_fini(&b->rewriter);
	push_index_free(&b->families_by_name);
	push_index_free(&b->seen);
	free(b->items);
	free(b->families);
	free(b->openings);
	free(b->hashes);
}
