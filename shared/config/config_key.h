/*
 * Inside the configuration: the table of keys, and how a value gets from the file into its field.
 * Included by shared/config*.c and its test only.
 *
 * A new key is a field in struct config, a row in config_keys.c and a paragraph in
 * config.sample.yaml; a new kind of value is a config_type, a case in each switch of config_value.c
 * and one in config_print.c.
 */
#ifndef SHARED_CONFIG_KEY_H
#define SHARED_CONFIG_KEY_H

#include "shared/config/config.h"

enum config_type {
	CONFIG_INTEGER, /* int64_t */
	CONFIG_DURATION, /* int64_t, milliseconds; min and max too */
	CONFIG_MODE, /* int64_t, written in octal */
	CONFIG_BOOLEAN, /* bool */
	CONFIG_CHOICE, /* an enum: the index in `choices` */
	CONFIG_SECRET, /* char *, as the types that follow */
	CONFIG_URL,
	CONFIG_DIRECTORY,
	CONFIG_ADDRESS,
	CONFIG_LISTEN, /* an address, unix:/path, or empty */
	CONFIG_ADDRESS_LIST, /* addresses and CIDR blocks, in the field joined by commas */
	CONFIG_ORIGIN_LIST, /* web origins in their normal form, likewise */
};

struct config_key {
	const char *name;
	const char *help; /* a sentence or two; lines end in \n but for the last */
	const char *default_text; /* as in the file; NULL: required; "": it may be empty */
	const char *const *choices; /* ends in NULL */
	const char *zero_word; /* of a number: the word that stands for 0; may be NULL */
	size_t offset; /* of the field in struct config */
	int64_t min;
	int64_t max;
	enum config_type type;
	bool needs_restart; /* a program that runs keeps the old value, see config_take_over */
};

/* The table ends in a row without a name. */
enum { CONFIG_KEY_MAX = 64 };
extern const struct config_key config_keys[];

/* Enough for any text of config_value_set and config_value_expected, NUL included. */
enum { CONFIG_WHY_SIZE = 160 };

/* True for the types whose field is a char *. */
bool config_type_is_text(enum config_type type);

/* The size of the field, in bytes. */
size_t config_type_size(enum config_type type);

/* True for those of them that take a sequence too; its entries are set one by one. */
bool config_type_is_list(enum config_type type);

/* A configuration with every default; what is required is "". Free with config_free. */
struct config *config_new(const char *path);

struct config_findings;

/* The configuration in `text`, or NULL after an error was reported. */
struct config *config_read(const char *text, size_t len, struct config_findings *findings);

/* Sets a text's field to "". */
void config_clear_text(struct config *config, const struct config_key *key);

/* The key's field. */
void *config_field(struct config *config, const struct config_key *key);
const void *config_field_const(const struct config *config, const struct config_key *key);

/* What the key takes: "expected a whole number from 1 to 65535". */
void config_value_expected(const struct config_key *key, char why[CONFIG_WHY_SIZE]);

/* Sets the field to what `text` says; an entry of a list is added behind those that are there.
 * Returns false with the fault in `why` when the key does not take it. */
bool config_value_set(struct config *config, const struct config_key *key, const char *text,
		      size_t len, char why[CONFIG_WHY_SIZE]);

#endif
