/*
 * The configuration file: YAML that must be a flat mapping of the keys in the table. libyaml does
 * the grammar, and makes a document whose nodes keep their lines. No state; never blocks.
 *
 * There are two passes. The first, over the tokens, reports what YAML offers beyond keys, texts and
 * lists, and stops at what is nested too deep, because libyaml's work grows with the square of the
 * depth. The second walks through the document and goes on after a fault, to show all of them at
 * once; only after a fault in the grammar is there no document.
 */
#include <yaml.h>

#include "shared/base/slice.h"
#include "shared/config/config_internal.h"

/* Levels below the mapping: deeper than any slip would go. */
enum { NESTING_MAX = 16 };

struct file {
	struct config_reading *reading;
	struct slice text;
	yaml_document_t document;
	const yaml_node_pair_t *pairs, *end; /* of the mapping */
};

/* The line of a byte, 1-based. */
static size_t line_at(struct slice text, size_t offset)
{
	size_t line = 1;

	for (size_t i = 0; i < offset && i < text.len; i++)
		line += text.at[i] == '\n';
	return line;
}

/* libyaml's messages are constant sentences with nothing of the file in them. Here they get a line
 * that exists (at the end of a file libyaml names the line after it), and a hint about the
 * commonest mistakes. */
static void report_grammar(struct file *file, const yaml_parser_t *parser)
{
	const char *problem = parser->problem ? parser->problem : "out of memory";
	size_t last = line_at(file->text, file->text.len > 0 ? file->text.len - 1 : 0);
	size_t line = parser->problem_mark.line < last ? parser->problem_mark.line + 1 : last;
	size_t from = parser->context_mark.line + 1;
	struct slice rest = file->text, here = {0};

	if (parser->error == YAML_READER_ERROR)
		line = line_at(file->text, parser->problem_offset);
	for (size_t i = 0; i < line; i++)
		here = slice_split(rest, '\n', &rest);
	if (parser->error == YAML_READER_ERROR || !parser->context)
		config_error(file->reading, line, "not YAML: %s", problem);
	else if (here.len > 0 && memchr(here.at, '\t', (size_t)(slice_trim(here).at - here.at)))
		config_error(file->reading, line, "the line begins with a tab: YAML takes spaces");
	else if (from < line)
		config_error(file->reading, line, "not YAML: %s, %s from line %zu", problem,
			     parser->context, from);
	else if (parser->error == YAML_SCANNER_ERROR)
		config_error(file->reading, line,
			     "not YAML: %s (put a value with special characters in quotes)",
			     problem);
	else
		config_error(file->reading, line, "not YAML: %s, %s", problem, parser->context);
}

/* The first pass. False when there is no point in reading on. */
static bool check_tokens(struct file *file, yaml_parser_t *parser)
{
	static const struct {
		int deeper;
		const char *unsupported, *mark;
	} kinds[] = {
		[YAML_BLOCK_SEQUENCE_START_TOKEN] = {.deeper = 1},
		[YAML_BLOCK_MAPPING_START_TOKEN] = {.deeper = 1},
		[YAML_BLOCK_END_TOKEN] = {.deeper = -1},
		[YAML_FLOW_SEQUENCE_START_TOKEN] = {.deeper = 1},
		[YAML_FLOW_SEQUENCE_END_TOKEN] = {.deeper = -1},
		[YAML_FLOW_MAPPING_START_TOKEN] = {.deeper = 1},
		[YAML_FLOW_MAPPING_END_TOKEN] = {.deeper = -1},
		[YAML_ALIAS_TOKEN] = {0, "aliases", "*"},
		[YAML_ANCHOR_TOKEN] = {0, "anchors", "&"},
		[YAML_TAG_TOKEN] = {0, "tags", "!"},
		[YAML_SCALAR_TOKEN] = {0}, /* the last kind */
	};
	yaml_token_type_t type = YAML_NO_TOKEN;
	yaml_token_t token;

	for (int depth = -1; type != YAML_STREAM_END_TOKEN && depth <= NESTING_MAX;) {
		if (!yaml_parser_scan(parser, &token))
			return false;
		type = token.type;
		depth += kinds[type].deeper;
		if (kinds[type].unsupported)
			config_error(
				file->reading, token.start_mark.line + 1,
				"%s are not supported: put a value that begins with %s in quotes",
				kinds[type].unsupported, kinds[type].mark);
		if (depth > NESTING_MAX)
			config_error(file->reading, token.start_mark.line + 1,
				     "nested more than %d deep", NESTING_MAX);
		yaml_token_delete(&token);
	}
	return type == YAML_STREAM_END_TOKEN;
}

static const yaml_node_t *node(struct file *file, int index)
{
	return yaml_document_get_node(&file->document, index);
}

static size_t line_of(struct file *file, int index)
{
	return node(file, index)->start_mark.line + 1;
}

static bool is_text(const yaml_node_t *node, const char *text, size_t len)
{
	return node->type == YAML_SCALAR_NODE && node->data.scalar.length == len &&
	       memcmp(node->data.scalar.value, text, len) == 0;
}

/* Nothing, or an unquoted ~ or null. */
static bool is_empty(const yaml_node_t *node)
{
	return is_text(node, "", 0) || (node->type == YAML_SCALAR_NODE &&
					node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
					(is_text(node, "~", 1) || is_text(node, "null", 4) ||
					 is_text(node, "Null", 4) || is_text(node, "NULL", 4)));
}

/* The first pair with that name; NULL when there is none. */
static const yaml_node_pair_t *find_pair(struct file *file, const char *name, size_t len)
{
	for (const yaml_node_pair_t *pair = file->pairs; pair < file->end; pair++)
		if (is_text(node(file, pair->key), name, len))
			return pair;
	return NULL;
}

/* The name of an unknown key, if it may be shown: it must look like a key and be shorter than a
 * secret. In `{worker_secret:abc}`, where a space is missing, the secret is part of the key. */
static const char *shown_name(const char *name, size_t len)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

	if (len > 0 && len < CONFIG_MIN_SECRET_CHARACTERS && strspn(name, letters) == len)
		return name;
	return "(its name is long or has odd characters)";
}

/* A single text is read as a list of one. */
static void set_key(struct file *file, const struct config_key *key, const yaml_node_pair_t *pair)
{
	const yaml_node_t *value = node(file, pair->value);
	const int *item = &pair->value, *end = item + 1;
	const char *unfit = NULL;
	char expected[CONFIG_EXPECTED_SIZE];

	if (value->type == YAML_SEQUENCE_NODE) {
		item = value->data.sequence.items.start;
		end = value->data.sequence.items.top;
		unfit = key->type >= CONFIG_ADDRESS_LIST ? NULL : "a list";
	}
	if (end - item > CONFIG_LIST_MAX) {
		config_error(file->reading, line_of(file, item[CONFIG_LIST_MAX]),
			     "a list of more than %d entries", CONFIG_LIST_MAX);
		return;
	}
	for (; item < end && !unfit; item++) {
		value = node(file, *item);
		if (value->type != YAML_SCALAR_NODE)
			unfit = "nested values";
		else if (!is_empty(value))
			config_set(file->reading, key, key->name,
				   (const char *)value->data.scalar.value,
				   value->data.scalar.length, line_of(file, *item));
	}
	if (unfit) {
		config_expected(key, expected);
		config_error(file->reading, line_of(file, pair->key), "%s: %s, not %s", key->name,
			     expected, unfit);
	}
}

static void read_pair(struct file *file, const yaml_node_pair_t *pair)
{
	const yaml_node_t *name_node = node(file, pair->key);
	const char *name = (const char *)name_node->data.scalar.value;
	size_t len = name_node->data.scalar.length, line = line_of(file, pair->key);
	const struct config_key *key = config_keys;
	const yaml_node_pair_t *first;

	if (name_node->type != YAML_SCALAR_NODE) {
		config_error(file->reading, line, "expected a key, a plain text");
		return;
	}
	while (key->name && !is_text(name_node, key->name, strlen(key->name)))
		key++;
	first = find_pair(file, name, len);
	if (first != pair)
		config_error(file->reading, line, "%s: duplicate key, first on line %zu",
			     shown_name(name, len), line_of(file, first->key));
	else if (key->name)
		set_key(file, key, pair);
	else
		config_warning(file->reading, line, "unknown key %s", shown_name(name, len));
}

/* The second pass. */
static bool read_documents(struct file *file, yaml_parser_t *parser)
{
	const yaml_node_t *root;
	char expected[CONFIG_EXPECTED_SIZE];

	if (!yaml_parser_load(parser, &file->document))
		return false;
	root = yaml_document_get_root_node(&file->document);
	if (root && root->type == YAML_MAPPING_NODE) {
		file->pairs = root->data.mapping.pairs.start;
		file->end = root->data.mapping.pairs.top;
	}
	/* Keys that are not in the table are findings, which are bounded, so the nested loops are
	 * cheap. */
	for (const yaml_node_pair_t *pair = file->pairs;
	     pair < file->end && file->reading->findings <= CONFIG_MAX_FINDINGS; pair++)
		read_pair(file, pair);
	if (root && root->type != YAML_MAPPING_NODE && !is_empty(root))
		config_error(file->reading, root->start_mark.line + 1,
			     "expected lines of the form key: value");
	else
		/* A required key must be in the file or in the environment. */
		for (const struct config_key *key = config_keys; key->name; key++) {
			const yaml_node_pair_t *pair =
				find_pair(file, key->name, strlen(key->name));

			if (key->default_text || config_environment(key) ||
			    (pair && !is_empty(node(file, pair->value))))
				continue;
			config_expected(key, expected);
			config_error(file->reading, pair ? line_of(file, pair->key) : 1,
				     "%s: missing, %s", key->name, expected);
		}
	yaml_document_delete(&file->document);
	if (!yaml_parser_load(parser, &file->document))
		return false;
	if (yaml_document_get_root_node(&file->document))
		config_error(file->reading, file->document.start_mark.line + 1,
			     "a second document begins here: there must be one only");
	yaml_document_delete(&file->document);
	return true;
}

void config_read(struct config_reading *reading, const char *text, size_t len)
{
	struct file file = {.reading = reading, .text = {text, len}};
	bool is_good = len <= CONFIG_MAX_BYTES;
	yaml_parser_t parser;

	if (!is_good)
		config_error(reading, 0, "longer than 1 MiB");
	for (int pass = 1; pass <= 2 && is_good; pass++) {
		is_good = yaml_parser_initialize(&parser);
		if (is_good) {
			yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
			yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
			is_good = pass == 1 ? check_tokens(&file, &parser)
					    : read_documents(&file, &parser);
		}
		/* What the composer refuses, aliases and anchors, the first pass has reported. */
		if (parser.error != YAML_NO_ERROR && parser.error != YAML_COMPOSER_ERROR)
			report_grammar(&file, &parser);
		yaml_parser_delete(&parser);
	}
}
