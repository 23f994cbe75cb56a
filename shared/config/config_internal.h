/*
 * The inside of the configuration: the table of keys, the values they take, and the faults found. A
 * new key is a field in struct config, a row in config_keys.c, a paragraph in config.sample.yaml
 * and a row in docs/configuration.md; a new kind of value is a config_type and a case in
 * config_value.c.
 */
#ifndef SHARED_CONFIG_INTERNAL_H
#define SHARED_CONFIG_INTERNAL_H

#include "shared/config/config.h"

enum config_type {
	CONFIG_INTEGER, /* int64_t */
	CONFIG_DURATION, /* int64_t, milliseconds; min and max too */
	CONFIG_MODE, /* int64_t, written in octal */
	CONFIG_BOOLEAN, /* bool */
	CONFIG_CHOICE, /* an enum: the index in `choices` */
	CONFIG_SECRET, /* char *, like the types that follow */
	CONFIG_URL,
	CONFIG_DIRECTORY,
	CONFIG_FILE,
	CONFIG_NAME,
	CONFIG_ADDRESS,
	CONFIG_LISTEN, /* an address, or unix:/path */
	CONFIG_ADDRESS_LIST, /* sequences too; addresses and CIDR blocks, joined by commas */
	CONFIG_ORIGIN_LIST, /* likewise; web origins in their normal form */
};

/* The table, config_keys.c; it ends with a row without a name. */
extern const struct config_key {
	const char *name;
	size_t offset, size; /* of the field in struct config */
	enum config_type type;
	const char *default_text; /* as in the file; NULL: required */
	int64_t min, max;
	const char *zero_word; /* of a number or duration: the word for 0; may be NULL */
	const char *const *choices; /* ends in NULL */
	const char *environment; /* the variable that wins over the file; may be NULL */
	bool needs_restart; /* a running program keeps the old value */
} config_keys[];

/* The variable's text; NULL when it is not set, or empty. */
const char *config_environment(const struct config_key *key);

/* A configuration that is being read. config_value.c counts the faults, bounds their number and
 * passes them on to the callback. */
struct config_reading {
	struct config *config;
	const char *file;
	config_report *report;
	void *context;
	size_t findings, errors;
};

__attribute__((format(printf, 4, 5))) void
config_find(struct config_reading *reading, bool is_error, size_t line, const char *format, ...);
#define config_error(reading, line, ...) config_find(reading, true, line, __VA_ARGS__)
#define config_warning(reading, line, ...) config_find(reading, false, line, __VA_ARGS__)

/* True for the types whose field is a char *. */
static inline bool config_type_is_text(enum config_type type)
{
	return type >= CONFIG_SECRET;
}

/* The key's field. */
static inline void *config_field(const struct config *config, const struct config_key *key)
{
	return (char *)config + key->offset;
}

/* Sets the field to what `text`, not empty, says; an entry of a list is added after those already
 * there. A fault is reported; `name` is what the message calls the key. */
void config_set(struct config_reading *reading, const struct config_key *key, const char *name,
		const char *text, size_t len, size_t line);

/* What the key takes: "expected a whole number from 1 to 65535". */
enum { CONFIG_EXPECTED_SIZE = 160 };
void config_expected(const struct config_key *key, char out[CONFIG_EXPECTED_SIZE]);

/* The file, config_yaml.c: sets what the text says, and reports what is wrong with it. */
void config_read(struct config_reading *reading, const char *text, size_t len);

#endif
