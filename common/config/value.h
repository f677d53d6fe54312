/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CONFIG_VALUE_H
#define PS_COMMON_CONFIG_VALUE_H
/*
 * The single values of a table's rows: text into a member, a member into text. A default takes the
 * same way as a value from a file. For config.c and its companions only. Pure; any thread.
 */
#include "common/config/config.h"

/* Whether the row holds one scalar. */
bool config_type_is_scalar(enum config_type type);

/* Whether it is written without quotes. */
bool config_type_is_plain(enum config_type type);

/* Parses, bounds and checks `text`, and stores it; on failure the member is unchanged. */
int config_set(
	const struct config_key *key, void *member, struct slice text, struct err *err) MUST_CHECK;

/* Adds a text, or the texts of a comma list, to a CONFIG_STRINGS member. */
int config_add_strings(const struct config_key *key, struct string_list *list, struct slice text,
	struct err *err) MUST_CHECK;

/* Appends a scalar as it is written. */
void config_format(const struct config_key *key, const void *member, struct buf *out);

bool config_is_utf8(struct slice text);

/*
 * Replaces ${VAR} and $$, appending to `out`. -1 and `err` for a bad name or an unset variable; the
 * latter, if no bad name comes before it, is told by *is_unset.
 */
int config_expand(struct slice text, struct buf *out, bool *is_unset, struct err *err) MUST_CHECK;

/* Whether `word` is near enough to `candidate` to be a slip; the smaller, the nearer. */
bool config_is_near(struct slice word, struct slice candidate, size_t *distance);

#endif
