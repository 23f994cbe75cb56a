/*
 * From a text to a configuration: each key of the file finds its row in the table, and what is
 * wrong is reported with its line. No state beyond the call; never blocks. Called by config.c. On a
 * fault it goes on, to report the others too, and returns nothing in the end.
 */
#include "shared/config/config_key.h"

#include "shared/base/alloc.h"
#include "shared/config/config_findings.h"
#include "shared/config/config_yaml.h"

/* What is known while a file is read. */
struct loader {
	struct config *config;
	struct config_findings *findings;
	size_t lines[CONFIG_KEY_MAX]; /* where the key of that row stands, 0: nowhere */
	struct config_text unknown[CONFIG_MAX_FINDINGS]; /* each is a finding */
	size_t unknown_count;
};

/* The row of this name, or the last one, which has none. */
static const struct config_key *find_key(const struct config_text *name)
{
	const struct config_key *key = config_keys;

	while (key->name &&
	       (strlen(key->name) != name->len || memcmp(key->name, name->text, name->len) != 0))
		key++;
	return key;
}

/* The name of an unknown key, if it may be shown: it looks like a key and is shorter than a secret.
 * In
 * `{worker_secret:abc}`, where a space is missing, the secret is a part of the key. */
static const char *shown_name(const struct config_text *name)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

	if (name->len > 0 && name->len < CONFIG_MIN_SECRET_CHARACTERS &&
	    strspn(name->text, letters) == name->len)
		return name->text;
	return "(its name is long or has odd characters)";
}

/* The index of the unknown key of this name, or their count. */
static size_t find_unknown(const struct loader *loader, const struct config_text *name)
{
	size_t i = 0;

	while (i < loader->unknown_count &&
	       (loader->unknown[i].len != name->len ||
		memcmp(loader->unknown[i].text, name->text, name->len) != 0))
		i++;
	return i;
}

static void report_unknown(struct loader *loader, const struct config_text *name)
{
	size_t i = find_unknown(loader, name);

	if (i < loader->unknown_count) {
		config_error(loader->findings, name->line, "%s: duplicate key, first on line %zu",
			     shown_name(name), loader->unknown[i].line);
		return;
	}
	config_warning(loader->findings, name->line, "unknown key %s", shown_name(name));
	if (i < CONFIG_MAX_FINDINGS) {
		loader->unknown[i] = *name;
		loader->unknown[i].text = xstrndup(name->text, name->len);
		loader->unknown_count++;
	}
}

static void set_texts(struct loader *loader, const struct config_key *key,
		      const struct config_entry *entry)
{
	char why[CONFIG_WHY_SIZE];

	if (config_type_is_text(key->type))
		config_clear_text(loader->config, key);
	for (size_t i = 0; i < entry->count; i++) {
		const struct config_text *text = &entry->texts[i];

		if (!config_value_set(loader->config, key, text->text, text->len, why))
			config_error(loader->findings, text->line, "%s: %s", key->name, why);
		else if (key->type == CONFIG_URL && text->len > 0)
			config_warning(loader->findings, text->line,
				       "%s: clusters are not supported by this version; the key is "
				       "ignored",
				       key->name);
	}
}

static void set_key(struct loader *loader, const struct config_key *key,
		    const struct config_entry *entry)
{
	size_t *line = &loader->lines[key - config_keys];
	char why[CONFIG_WHY_SIZE];

	if (*line > 0) {
		config_error(loader->findings, entry->key.line,
			     "%s: duplicate key, first on line %zu", key->name, *line);
		return;
	}
	*line = entry->key.line;
	if (entry->shape == CONFIG_SHAPE_REPORTED)
		return;
	if (entry->shape == CONFIG_SHAPE_TEXT ||
	    (entry->shape == CONFIG_SHAPE_LIST && config_type_is_list(key->type))) {
		set_texts(loader, key, entry);
		return;
	}
	config_value_expected(key, why);
	config_error(loader->findings, entry->key.line, "%s: %s, not %s", key->name, why,
		     entry->shape == CONFIG_SHAPE_LIST ? "a list" : "nested values");
}

/* What only the whole file shows. */
static void check_whole(struct loader *loader)
{
	char why[CONFIG_WHY_SIZE];

	for (const struct config_key *key = config_keys; key->name; key++) {
		size_t line = loader->lines[key - config_keys];

		if (line == 0 && !key->default_text) {
			config_value_expected(key, why);
			config_error(loader->findings, 1, "%s: missing, %s", key->name, why);
		}
	}
}

static void read_keys(struct loader *loader, const char *text, size_t len)
{
	struct config_yaml *yaml = config_yaml_open(text, len, loader->findings);
	const struct config_entry *entry;

	while ((entry = config_yaml_next(yaml)) != NULL) {
		const struct config_key *key = find_key(&entry->key);

		if (key->name)
			set_key(loader, key, entry);
		else
			report_unknown(loader, &entry->key);
	}
	if (config_yaml_is_complete(yaml))
		check_whole(loader);
	config_yaml_close(yaml);
}

struct config *config_read(const char *text, size_t len, struct config_findings *findings)
{
	struct loader loader = {.config = config_new(findings->file), .findings = findings};

	if (len > CONFIG_MAX_BYTES)
		config_error(findings, 1, "longer than 1 MiB");
	else
		read_keys(&loader, text, len);
	for (size_t i = 0; i < loader.unknown_count; i++)
		free(loader.unknown[i].text);
	if (findings->errors == 0)
		return loader.config;
	config_free(loader.config);
	return NULL;
}
