/*
 * The configuration file: YAML that must be a flat mapping of the keys in the table. libyaml does
 * the grammar, and makes a document of nodes that keep their lines. Called by config_load.c. No
 * state beyond the call; works on memory and never blocks.
 *
 * Two passes. The first, over the tokens, reports what YAML offers beyond keys, texts and lists,
 * and ends at what is nested too deep, for libyaml's work grows with the square of the depth. The
 * second walks through the document, and goes on behind a fault to show all of them at one look;
 * but for a fault of the grammar, behind which there is no document.
 */
#include <yaml.h>

#include "shared/base/slice.h"
#include "shared/config/config_internal.h"

/* Below the mapping. Deeper than any mistake of a person. */
enum { NESTING_MAX = 16 };

struct reader {
	struct config *config;
	struct config_findings *findings;
	struct slice text;
	yaml_document_t document;
	const yaml_node_t *root; /* a mapping */
};

/* The line of a byte, 1-based. */
static size_t line_at(struct slice text, size_t offset)
{
	size_t line = 1;

	for (size_t i = 0; i < offset && i < text.len; i++)
		line += text.at[i] == '\n';
	return line;
}

/* True when the white space that this line begins with has a tab. */
static bool is_tab_indented(struct slice text, size_t line)
{
	struct slice here = slice_split(text, '\n', &text);

	while (--line > 0)
		here = slice_split(text, '\n', &text);
	while (here.len > 0 && *here.at == ' ')
		here = (struct slice){here.at + 1, here.len - 1};
	return here.len > 0 && *here.at == '\t';
}

/* libyaml's own texts are constant sentences that hold nothing of the file. Here they get a line
 * that exists, for at the end of a file libyaml names the line behind it, and a hint for the
 * mistakes that people make most. */
static void report_grammar(struct reader *reader, const yaml_parser_t *parser)
{
	const char *problem = parser->problem ? parser->problem : "out of memory";
	size_t last = line_at(reader->text, reader->text.len > 0 ? reader->text.len - 1 : 0);
	size_t line = parser->problem_mark.line < last ? parser->problem_mark.line + 1 : last;
	size_t from = parser->context_mark.line + 1;

	if (parser->error == YAML_READER_ERROR)
		line = line_at(reader->text, parser->problem_offset);
	if (parser->error == YAML_READER_ERROR || !parser->context)
		config_error(reader->findings, line, "not YAML: %s", problem);
	else if (is_tab_indented(reader->text, line))
		config_error(reader->findings, line,
			     "the line begins with a tab: YAML takes spaces");
	else if (from < line)
		config_error(reader->findings, line, "not YAML: %s, %s from line %zu", problem,
			     parser->context, from);
	else if (parser->error == YAML_SCANNER_ERROR)
		config_error(reader->findings, line,
			     "not YAML: %s (put a value with special characters in quotes)",
			     problem);
	else
		config_error(reader->findings, line, "not YAML: %s, %s", problem, parser->context);
}

/* Reports what no place of the file may have. Returns by how much the token leads deeper. */
static int judge_token(struct reader *reader, const yaml_token_t *token)
{
	static const char *const unsupported[][2] = {
		[YAML_ALIAS_TOKEN] = {"aliases", "*"},
		[YAML_ANCHOR_TOKEN] = {"anchors", "&"},
		[YAML_TAG_TOKEN] = {"tags", "!"},
	};

	switch (token->type) {
	case YAML_ALIAS_TOKEN:
	case YAML_ANCHOR_TOKEN:
	case YAML_TAG_TOKEN:
		config_error(reader->findings, token->start_mark.line + 1,
			     "%s are not supported: put a value that begins with %s in quotes",
			     unsupported[token->type][0], unsupported[token->type][1]);
		return 0;
	case YAML_BLOCK_SEQUENCE_START_TOKEN:
	case YAML_BLOCK_MAPPING_START_TOKEN:
	case YAML_FLOW_SEQUENCE_START_TOKEN:
	case YAML_FLOW_MAPPING_START_TOKEN:
		return 1;
	case YAML_BLOCK_END_TOKEN:
	case YAML_FLOW_SEQUENCE_END_TOKEN:
	case YAML_FLOW_MAPPING_END_TOKEN:
		return -1;
	default:
		return 0;
	}
}

/* The first pass. False when there is no sense in reading on. */
static bool check_tokens(struct reader *reader, yaml_parser_t *parser)
{
	yaml_token_type_t type = YAML_NO_TOKEN;
	yaml_token_t token;

	for (int depth = 0; type != YAML_STREAM_END_TOKEN; yaml_token_delete(&token)) {
		if (config_findings_full(reader->findings) || !yaml_parser_scan(parser, &token))
			return false;
		type = token.type;
		depth += judge_token(reader, &token);
		if (depth > NESTING_MAX + 1) {
			config_error(reader->findings, token.start_mark.line + 1,
				     "nested more than %d deep", NESTING_MAX);
			yaml_token_delete(&token);
			return false;
		}
	}
	return true;
}

static const yaml_node_t *node(struct reader *reader, int index)
{
	return yaml_document_get_node(&reader->document, index);
}

static size_t line_of(const yaml_node_t *node)
{
	return node->start_mark.line + 1;
}

static bool is_text(const yaml_node_t *node, const char *text, size_t len)
{
	return node->type == YAML_SCALAR_NODE && node->data.scalar.length == len &&
	       memcmp(node->data.scalar.value, text, len) == 0;
}

/* Nothing, or an unquoted ~ or null. */
static bool is_empty(const yaml_node_t *node)
{
	static const char *const nulls[] = {"~", "null", "Null", "NULL"};

	for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
		if (is_text(node, nulls[i], strlen(nulls[i])) &&
		    node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
			return true;
	return is_text(node, "", 0);
}

/* The first pair of that name; NULL when there is none. */
static const yaml_node_pair_t *find_pair(struct reader *reader, const char *name, size_t len)
{
	const yaml_node_pair_t *pair = reader->root->data.mapping.pairs.start;

	for (; pair < reader->root->data.mapping.pairs.top; pair++)
		if (is_text(node(reader, pair->key), name, len))
			return pair;
	return NULL;
}

/* The name of an unknown key, if it may be shown: it looks like a key and is shorter than a secret.
 * In `{worker_secret:abc}`, where a space is missing, the secret is a part of the key. */
static const char *shown_name(const char *name, size_t len)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

	if (len > 0 && len < CONFIG_MIN_SECRET_CHARACTERS && strspn(name, letters) == len)
		return name;
	return "(its name is long or has odd characters)";
}

/* A single text is read as a list of one. */
static void set_key(struct reader *reader, const struct config_key *key,
		    const yaml_node_pair_t *pair)
{
	const yaml_node_t *value = node(reader, pair->value);
	const int *item = &pair->value, *end = item + 1;
	const char *unfit = NULL;
	char expected[CONFIG_EXPECTED_SIZE];

	if (value->type == YAML_SEQUENCE_NODE) {
		item = value->data.sequence.items.start;
		end = value->data.sequence.items.top;
		unfit = config_type_is_list(key->type) ? NULL : "a list";
	}
	for (const int *at = item; at < end; at++)
		if (node(reader, *at)->type != YAML_SCALAR_NODE)
			unfit = "nested values";
	if (unfit) {
		config_expected(key, expected);
		config_error(reader->findings, line_of(node(reader, pair->key)), "%s: %s, not %s",
			     key->name, expected, unfit);
		return;
	}
	if (end - item > CONFIG_LIST_MAX) {
		config_error(reader->findings, line_of(node(reader, item[CONFIG_LIST_MAX])),
			     "a list of more than %d entries", CONFIG_LIST_MAX);
		return;
	}
	for (; item < end; item++) {
		value = node(reader, *item);
		if (!is_empty(value))
			config_set(reader->config, key, key->name,
				   (const char *)value->data.scalar.value,
				   value->data.scalar.length, line_of(value), reader->findings);
	}
}

static void read_pair(struct reader *reader, const yaml_node_pair_t *pair)
{
	const yaml_node_t *key_node = node(reader, pair->key);
	const char *name = (const char *)key_node->data.scalar.value;
	size_t len = key_node->data.scalar.length;
	const struct config_key *key = config_keys;
	const yaml_node_pair_t *first;

	if (key_node->type != YAML_SCALAR_NODE) {
		config_error(reader->findings, line_of(key_node), "expected a key, a plain text");
		return;
	}
	while (key->name && !is_text(key_node, key->name, strlen(key->name)))
		key++;
	first = find_pair(reader, name, len);
	if (first != pair)
		config_error(reader->findings, line_of(key_node),
			     "%s: duplicate key, first on line %zu", shown_name(name, len),
			     line_of(node(reader, first->key)));
	else if (key->name)
		set_key(reader, key, pair);
	else
		config_warning(reader->findings, line_of(key_node), "unknown key %s",
			       shown_name(name, len));
}

/* What is required must be in the file or in the environment. `pair` may be NULL. */
static void check_missing(struct reader *reader, const struct config_key *key,
			  const yaml_node_pair_t *pair)
{
	char expected[CONFIG_EXPECTED_SIZE];

	if (key->default_text || config_environment(key) ||
	    (pair && !is_empty(node(reader, pair->value))))
		return;
	config_expected(key, expected);
	config_error(reader->findings, pair ? line_of(node(reader, pair->key)) : 1,
		     "%s: missing, %s", key->name, expected);
}

static void read_document(struct reader *reader)
{
	const yaml_node_t *root = yaml_document_get_root_node(&reader->document);
	const yaml_node_pair_t *pair = NULL;

	if (root && root->type == YAML_MAPPING_NODE) {
		reader->root = root;
		pair = root->data.mapping.pairs.start;
	} else if (root && !is_empty(root)) {
		config_error(reader->findings, line_of(root),
			     "expected lines of the form key: value");
		return;
	}
	/* All but the keys of the table are findings, so that this is no square of many. */
	for (; pair && pair < root->data.mapping.pairs.top; pair++)
		if (!config_findings_full(reader->findings))
			read_pair(reader, pair);
	for (const struct config_key *key = config_keys; key->name; key++) {
		pair = reader->root ? find_pair(reader, key->name, strlen(key->name)) : NULL;
		check_missing(reader, key, pair);
	}
}

/* The second pass. */
static bool read_documents(struct reader *reader, yaml_parser_t *parser)
{
	if (!yaml_parser_load(parser, &reader->document))
		return false;
	read_document(reader);
	yaml_document_delete(&reader->document);
	if (!yaml_parser_load(parser, &reader->document))
		return false;
	if (yaml_document_get_root_node(&reader->document))
		config_error(reader->findings, reader->document.start_mark.line + 1,
			     "a second document begins here: there must be one only");
	yaml_document_delete(&reader->document);
	return true;
}

void config_read(struct config *config, const char *text, size_t len,
		 struct config_findings *findings)
{
	struct reader reader = {.config = config, .findings = findings, .text = {text, len}};
	bool is_good = len <= CONFIG_MAX_BYTES;
	yaml_parser_t parser;

	if (!is_good)
		config_error(findings, 0, "longer than 1 MiB");
	for (int pass = 1; pass <= 2 && is_good; pass++) {
		is_good = yaml_parser_initialize(&parser);
		if (is_good) {
			yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
			yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
			is_good = pass == 1 ? check_tokens(&reader, &parser)
					    : read_documents(&reader, &parser);
		}
		/* What the composer refuses, aliases and anchors, was reported in the first pass.
		 */
		if (parser.error != YAML_NO_ERROR && parser.error != YAML_COMPOSER_ERROR)
			report_grammar(&reader, &parser);
		yaml_parser_delete(&parser);
	}
}
