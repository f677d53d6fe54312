/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PS_COMMON_CONFIG_CONFIG_H
#define PS_COMMON_CONFIG_CONFIG_H
/*
 * Structs filled from YAML by tables. One row per key says what it is called, what it may hold,
 * where it goes and what it means; from the rows come parsing, bounds, defaults, suggestions for
 * misspelt keys, printing, freeing and the key reference. It knows no key itself. Nothing stops at
 * the first error: all are gathered, with their positions. Pure; any thread.
 */
#include "common/config/yaml.h"

#include <stddef.h>

struct string_list {
	char **items;
	size_t count;
};

void string_list_add(struct string_list *list, struct slice text);
void string_list_copy(struct string_list *to, const struct string_list *from);
void string_list_free(struct string_list *list);

/* The member of a row and what it is written as. */
enum config_type {
	CONFIG_BOOL,     /* bool: true, false, yes, no, on, off */
	CONFIG_INT,      /* int or int64_t: decimal */
	CONFIG_SIZE,     /* int64_t or uint64_t, bytes: 16MB; -1 where `min` is -1 */
	CONFIG_DURATION, /* int64_t, milliseconds: 1m30s */
	CONFIG_ENUM,     /* an enum: its index in `choices` */
	CONFIG_STRING,   /* char * */
	CONFIG_STRINGS,  /* struct string_list: a list or a single text */
	CONFIG_LABELS,   /* struct labels: a mapping of texts */
	CONFIG_SECTION,  /* a struct of `table` within this one (offset 0: the very one) */
	CONFIG_LIST,     /* struct of `table` *: a list; its count at `count_offset` */
	CONFIG_MAP,      /* the same as a mapping, whose keys go to the table's name_offset */
};

enum config_flag {
	CONFIG_REQUIRED = 1 << 0,
	CONFIG_SECRET = 1 << 1,   /* shown as url_redact does; of a map's values: by their name */
	CONFIG_EXPAND = 1 << 2,   /* ${VAR} is replaced, $$ is $ */
	CONFIG_COMMA = 1 << 3,    /* CONFIG_STRINGS: a single text is a comma list */
	CONFIG_SECONDS = 1 << 4,  /* CONFIG_DURATION: a bare number is seconds */
	CONFIG_EMPTY = 1 << 5,    /* CONFIG_STRING: "" is allowed, and stored as NULL */
	CONFIG_SINGLE = 1 << 6,   /* CONFIG_LIST: a mapping is a list of one */
	CONFIG_ALIAS = 1 << 7,    /* another way to write something: parsed, never printed */
	CONFIG_INHERIT = 1 << 8,  /* not given: as the row of this name in the root's table */
	CONFIG_HIDDEN = 1 << 9,   /* a secret as a whole: shown as CONFIG_MASK */
	CONFIG_RESTART = 1 << 10, /* a reload does not change it */
	CONFIG_FIXED_ITEMS = 1 << 11, /* CONFIG_LIST: a reload neither adds nor takes away items;
					 what it changes of them, their rows say */
	CONFIG_FILLED = 1 << 12,      /* CONFIG_SECTION: not given, its keys have their defaults */
};

#define CONFIG_NOWHERE      SIZE_MAX
#define CONFIG_MASK         "xxxxx"
#define CONFIG_MAX_PROBLEMS 1000 /* told one by one; the rest are counted */

struct config_table;

struct config_key {
	const char *name;
	enum config_type type;
	size_t offset, size;        /* of the member: CONFIG_AT(struct x, member) */
	const char *fallback;       /* the default, as it would be written; NULL: none */
	const char *fallback_note;  /* the default in words, where it is worked out */
	int64_t min, max;           /* inclusive; both 0: none. Of strings: max is their length */
	const char *const *choices; /* ended by NULL */
	unsigned flags;
	unsigned audience; /* bits of whom the key is for; 0: everybody */
	const struct config_table *table;
	size_t count_offset;
	/* Judges a text (each of CONFIG_STRINGS, each name of CONFIG_LABELS), expanded. May be
	 * NULL. -1 and `err`, which must not quote it if it is a secret. */
	int (*check)(const char *text, struct err *err);
	const char *help; /* a sentence or more without line breaks */
};

#define CONFIG_AT(type, member)                                                                    \
	.offset = offsetof(type, member), .size = sizeof(((type *)0)->member)

struct config_object;

struct config_table {
	const char *title; /* of its section in the reference */
	const struct config_key *keys;
	size_t key_count;
	size_t size;            /* of the struct */
	size_t position_offset; /* of a struct yaml_position, or CONFIG_NOWHERE */
	size_t present_offset;  /* section: of a bool, or CONFIG_NOWHERE */
	size_t name_offset;     /* of a char *: a map's keys; else CONFIG_NOWHERE */
	bool bare;              /* an item is no mapping, but the value of the only row */
	/* Called when the struct has been filled, sections and items first; also if some of it was
	 * wrong: see config_state. Reports with config_error_at. May be NULL. */
	void (*check)(struct config_object *object);
	/* Frees what no row holds. May be NULL. */
	void (*fini)(void *value);
};

/* A run over one document: what was asked, and what was wrong. */
struct config {
	const char *path;
	unsigned audience; /* in rows that are only for others no ${VAR} is replaced, nor need it be
			      set */
	const struct config_table *root_table;
	void *root;
	struct config_object *root_object; /* while reading */
	bool for_others;                   /* within such a row */
	struct config_problem *problems;
	size_t problem_count, error_count;
};

enum config_state {
	CONFIG_ABSENT,
	CONFIG_GIVEN,
	CONFIG_WRONG,   /* reported; the member holds its default */
	CONFIG_UNKNOWN, /* for others, with variables: checked where they are set, stored as it
			   stands */
};

/* One struct being filled, for its table's check. */
struct config_object {
	struct config *config;
	const struct config_table *table;
	void *value;
	struct yaml_position position;
	bool named; /* by the key of a map */
	struct config_row {
		enum config_state state;
		struct yaml_position position; /* of the value; of the object where absent */
	} * rows;                              /* by index in the table */
};

enum config_state config_state(const struct config_object *object, const char *key);
struct yaml_position config_position(const struct config_object *object, const char *key);

/* Whether a scalar of which the table has the default is written like it. */
bool config_is_default(const struct config_object *object, const char *key);

void config_error_at(struct config *config, struct yaml_position position, const char *fmt, ...)
	PRINTF_LIKE(3, 4);
void config_warn_at(struct config *config, struct yaml_position position, const char *fmt, ...)
	PRINTF_LIKE(3, 4);

/* Fills config->root, zeroed and of config->root_table, from the document. */
void config_read(struct config *config, const struct yaml_node *document);

/*
 * Appends all problems in the order of the file, "path:line:column: …" and "path:line:column:
 * warning: …", and forgets them. Returns the number of errors.
 */
size_t config_report(struct config *config, struct buf *out);

/* Writes the struct, read for this audience, as its keys; with `mask`, secrets are hidden. */
void config_print(const struct config_table *table, const void *value, struct yaml_writer *writer,
	unsigned audience, bool mask);
void config_free(const struct config_table *table, void *value);
void config_free_member(const struct config_key *key, void *value);

/* Whether they say the same. */
bool config_is_equal(const struct config_table *table, const void *a, const void *b);

/* What two structs of one table, read for the same audience, differ in. */
struct config_reconcile {
	unsigned audience; /* rows that are only for others are passed over */
	/* Of each row that differs; `path` as "push_gateway[0].url". */
	void (*on_change)(void *arg, const char *path, bool needs_restart);
	void *arg;
};

/*
 * Tells what `fresh` changes, and sets that which needs a restart back to what it is in `current`.
 * Lists and maps without CONFIG_FIXED_ITEMS are told as a whole.
 */
void config_reconcile(const struct config_table *table, const struct config_reconcile *options,
	const void *current, void *fresh);

/* The table and those below, each once; `path` is "jobs.<name>.targets", "" at the root. */
void config_each_table(const struct config_table *root,
	void (*visit)(void *arg, const char *path, const struct config_table *table), void *arg);

/* Append what the reference says of a row's type and default. */
void config_describe_type(const struct config_key *key, struct buf *out);
void config_describe_default(const struct config_key *key, struct buf *out);

#endif
