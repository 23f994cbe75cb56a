/*
 * Inside the configuration: a YAML text that must be a flat mapping, read key by key. libyaml does
 * the grammar (it is included in config_yaml.c only); what YAML offers beyond key: value and lists
 * of texts is reported and stepped over.
 */
#ifndef SHARED_CONFIG_YAML_H
#define SHARED_CONFIG_YAML_H

#include "shared/config/config_findings.h"

struct config_yaml;

/* A text of the file. It may hold any character, NUL too; there is a NUL behind it. An unquoted ~
 * or null is an empty text. */
struct config_text {
	char *text;
	size_t len;
	size_t line;
};

enum config_shape {
	CONFIG_SHAPE_TEXT, /* one text */
	CONFIG_SHAPE_LIST, /* a sequence of any number of texts */
	CONFIG_SHAPE_NESTED,
	CONFIG_SHAPE_REPORTED, /* a fault that is reported already */
};

/* A key and what stands behind it. */
struct config_entry {
	struct config_text key;
	enum config_shape shape;
	struct config_text *texts;
	size_t count;
};

/* `text` and `findings` are borrowed and must live as long. Free with config_yaml_close. */
struct config_yaml *config_yaml_open(const char *text, size_t len,
				     struct config_findings *findings);

/* The next key, which lives until the next call; NULL at the end or after a fault that ends the
 * reading. */
const struct config_entry *config_yaml_next(struct config_yaml *yaml);

/* True when the whole text was read. */
bool config_yaml_is_complete(const struct config_yaml *yaml);

void config_yaml_close(struct config_yaml *yaml);

#endif
