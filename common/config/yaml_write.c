/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer, on libyaml's emitter. Texts that some reader of YAML might take for a number, a
 * boolean or nothing are quoted, although our own would not.
 */
#include "common/config/yaml.h"

#include <yaml.h>

#include <assert.h>
#include <ctype.h>
#include <strings.h>

struct yaml_writer {
	yaml_emitter_t emitter;
	struct buf *out;
};

static int on_output(void *arg, unsigned char *bytes, size_t len)
{
	struct yaml_writer *writer = arg;

	buf_append(writer->out, bytes, len);
	return 1;
}

/* Emitting fails only for lack of memory, or if we nest or encode wrongly. */
static void emit(struct yaml_writer *writer, yaml_event_t *event, int initialized)
{
	int emitted = initialized && yaml_emitter_emit(&writer->emitter, event);

	assert(emitted);
}

struct yaml_writer *yaml_writer_new(struct buf *out)
{
	struct yaml_writer *writer = xcalloc(1, sizeof(*writer));
	yaml_event_t event;
	int initialized = yaml_emitter_initialize(&writer->emitter);

	assert(initialized);
	writer->out = out;
	yaml_emitter_set_output(&writer->emitter, on_output, writer);
	yaml_emitter_set_unicode(&writer->emitter, 1);
	yaml_emitter_set_width(&writer->emitter, -1);
	emit(writer, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	emit(writer, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 0));
	return writer;
}

void yaml_write_open(struct yaml_writer *writer, enum yaml_kind kind)
{
	yaml_event_t event;

	assert(kind != YAML_SCALAR);
	emit(writer, &event,
		kind == YAML_MAPPING ? yaml_mapping_start_event_initialize(
					       &event, NULL, NULL, 1, YAML_BLOCK_MAPPING_STYLE)
				     : yaml_sequence_start_event_initialize(
					       &event, NULL, NULL, 1, YAML_BLOCK_SEQUENCE_STYLE));
}

void yaml_write_close(struct yaml_writer *writer, enum yaml_kind kind)
{
	yaml_event_t event;

	emit(writer, &event,
		kind == YAML_MAPPING ? yaml_mapping_end_event_initialize(&event)
				     : yaml_sequence_end_event_initialize(&event));
}

static bool is_special_word(const char *text)
{
	static const char *const words[] = {
		"true", "false", "yes", "no", "on", "off", "y", "n", "null"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasecmp(text, words[i]) == 0)
			return true;
	return false;
}

/* Begins with a letter, '/' or '_', holds nothing that means something to YAML. */
static bool is_safe_plain(const char *text)
{
	size_t len = strlen(text);

	if (!(isalpha((unsigned char)text[0]) || text[0] == '/' || text[0] == '_'))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && strchr("_-./:@%+=?$&", text[i]) == NULL)
			return false;
	return text[len - 1] != ':' && !is_special_word(text);
}

static void write_scalar(struct yaml_writer *writer, const char *text, yaml_scalar_style_t style)
{
	yaml_event_t event;

	emit(writer, &event,
		yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)text,
			(int)strlen(text), 1, 1, style));
}

void yaml_write_text(struct yaml_writer *writer, const char *text)
{
	write_scalar(writer, text,
		is_safe_plain(text) ? YAML_ANY_SCALAR_STYLE : YAML_DOUBLE_QUOTED_SCALAR_STYLE);
}

void yaml_write_plain(struct yaml_writer *writer, const char *text)
{
	write_scalar(writer, text, YAML_PLAIN_SCALAR_STYLE);
}

void yaml_writer_free(struct yaml_writer *writer)
{
	yaml_event_t event;

	emit(writer, &event, yaml_document_end_event_initialize(&event, 1));
	emit(writer, &event, yaml_stream_end_event_initialize(&event));
	yaml_emitter_delete(&writer->emitter);
	free(writer);
}
