/*
 * The events of libyaml as keys and values, see config_yaml.h. State: the parser, the event in hand
 * and the entry that was returned last. Called by config.c; works on memory and never blocks.
 *
 * A fault of the grammar ends the reading: libyaml cannot go on behind one. Everything else is
 * reported and stepped over, so that one look shows all faults.
 */
#include "shared/config/config_yaml.h"

#include "shared/base/alloc.h"
#include "shared/config/config_grammar.h"

/* Deeper than any mistake of a person. libyaml's work grows with the square of the depth. */
enum { NESTING_MAX = 16 };

enum place { BEFORE_MAPPING, IN_MAPPING, AT_END, AT_FAULT };

struct config_yaml {
	const char *text;
	size_t len;
	struct config_findings *findings;
	enum place place;
	yaml_parser_t parser;
	yaml_event_t event; /* zeroed when there is none */
	struct config_entry entry;
};

static size_t event_line(const struct config_yaml *yaml)
{
	return yaml->event.start_mark.line + 1;
}

/* Reports what no place of the file may have. */
static void check_properties(struct config_yaml *yaml)
{
	const yaml_event_t *event = &yaml->event;
	const yaml_char_t *anchor = NULL;
	const yaml_char_t *tag = NULL;

	if (event->type == YAML_SCALAR_EVENT) {
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
	} else if (event->type == YAML_SEQUENCE_START_EVENT) {
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
	} else if (event->type == YAML_MAPPING_START_EVENT) {
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
	} else if (event->type == YAML_ALIAS_EVENT) {
		config_error(yaml->findings, event_line(yaml),
			     "aliases are not supported: put a value that begins with * in quotes");
	}
	if (anchor)
		config_error(yaml->findings, event_line(yaml),
			     "anchors are not supported: put a value that begins with & in quotes");
	if (tag)
		config_error(yaml->findings, event_line(yaml),
			     "tags are not supported: put a value that begins with ! in quotes");
}

static yaml_event_type_t fail(struct config_yaml *yaml)
{
	yaml->place = AT_FAULT;
	return YAML_NO_EVENT;
}

/* Takes the next event in hand and returns its type, YAML_NO_EVENT after a fault. */
static yaml_event_type_t next_event(struct config_yaml *yaml)
{
	yaml_event_delete(&yaml->event);
	if (yaml->place == AT_FAULT || config_findings_full(yaml->findings))
		return fail(yaml);
	if (!yaml_parser_parse(&yaml->parser, &yaml->event)) {
		config_report_grammar(yaml->findings, &yaml->parser, yaml->text, yaml->len);
		return fail(yaml);
	}
	check_properties(yaml);
	return yaml->event.type;
}

/* Steps over the node whose first event is in hand. A deep one ends the reading: libyaml takes time
 * in the square of the depth. */
static void skip_node(struct config_yaml *yaml)
{
	enum { MAX_DEPTH = 32 };
	yaml_event_type_t type = yaml->event.type;
	size_t depth = 0;

	for (;;) {
		if (type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT)
			depth++;
		else if (type == YAML_SEQUENCE_END_EVENT || type == YAML_MAPPING_END_EVENT)
			depth--;
		if (depth == 0 || type == YAML_NO_EVENT)
			return;
		if (depth > NESTING_MAX) {
			config_error(yaml->findings, event_line(yaml), "nested more than %d deep",
				     NESTING_MAX);
			fail(yaml);
			return;
		}
		type = next_event(yaml);
	}
}

static bool is_null(const char *text)
{
	return strcmp(text, "~") == 0 || strcmp(text, "null") == 0 || strcmp(text, "Null") == 0 ||
	       strcmp(text, "NULL") == 0;
}

/* A copy of the scalar in hand. */
static struct config_text take_text(const struct config_yaml *yaml, bool null_is_empty)
{
	const char *value = (const char *)yaml->event.data.scalar.value;
	size_t len = yaml->event.data.scalar.length;

	if (null_is_empty && yaml->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	    is_null(value))
		len = 0;
	return (struct config_text){
		.text = xstrndup(value, len), .len = len, .line = event_line(yaml)};
}

static void add_text(struct config_entry *entry, struct config_text text)
{
	entry->texts = xreallocarray(entry->texts, entry->count + 1, sizeof(text));
	entry->texts[entry->count++] = text;
}

static void clear_entry(struct config_entry *entry)
{
	free(entry->key.text);
	for (size_t i = 0; i < entry->count; i++)
		free(entry->texts[i].text);
	free(entry->texts);
	*entry = (struct config_entry){.shape = CONFIG_SHAPE_TEXT};
}

static enum config_shape list_too_long(struct config_yaml *yaml)
{
	config_error(yaml->findings, event_line(yaml), "a list of more than %d entries",
		     CONFIG_LIST_MAX);
	fail(yaml);
	return CONFIG_SHAPE_REPORTED;
}

/* The start of a sequence is in hand. */
static enum config_shape read_list(struct config_yaml *yaml)
{
	enum config_shape shape = CONFIG_SHAPE_LIST;

	for (;;) {
		switch (next_event(yaml)) {
		case YAML_SCALAR_EVENT:
			if (yaml->entry.count == CONFIG_LIST_MAX)
				return list_too_long(yaml);
			add_text(&yaml->entry, take_text(yaml, true));
			break;
		case YAML_SEQUENCE_END_EVENT:
		case YAML_NO_EVENT:
			return shape;
		default:
			shape = CONFIG_SHAPE_NESTED;
			skip_node(yaml);
		}
	}
}

static void read_value(struct config_yaml *yaml)
{
	size_t errors = yaml->findings->errors;

	switch (next_event(yaml)) {
	case YAML_SCALAR_EVENT:
		add_text(&yaml->entry, take_text(yaml, true));
		break;
	case YAML_SEQUENCE_START_EVENT:
		yaml->entry.shape = read_list(yaml);
		break;
	default:
		yaml->entry.shape = CONFIG_SHAPE_NESTED;
		skip_node(yaml);
	}
	if (yaml->findings->errors > errors)
		yaml->entry.shape = CONFIG_SHAPE_REPORTED;
}

/* Up to the start of the mapping, or to the end of a file that has none. */
static void read_start(struct config_yaml *yaml)
{
	yaml_event_type_t type = next_event(yaml);

	while (type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_START_EVENT)
		type = next_event(yaml);
	if (type == YAML_MAPPING_START_EVENT) {
		yaml->place = IN_MAPPING;
	} else if (type == YAML_STREAM_END_EVENT) {
		yaml->place = AT_END;
	} else if (type == YAML_SCALAR_EVENT && yaml->event.data.scalar.length == 0) {
		yaml->place = AT_END; /* "---" and nothing else */
	} else if (type != YAML_NO_EVENT) {
		config_error(yaml->findings, event_line(yaml),
			     "expected lines of the form key: value");
		fail(yaml);
	}
}

/* The end of the mapping is in hand. */
static void read_end(struct config_yaml *yaml)
{
	yaml->place = AT_END;
	if (next_event(yaml) == YAML_DOCUMENT_END_EVENT)
		next_event(yaml);
	if (yaml->event.type == YAML_DOCUMENT_START_EVENT) {
		config_error(yaml->findings, event_line(yaml),
			     "a second document begins here: there must be one only");
		fail(yaml);
	}
}

struct config_yaml *config_yaml_open(const char *text, size_t len, struct config_findings *findings)
{
	struct config_yaml *yaml = xcalloc(1, sizeof(*yaml));

	yaml->text = text;
	yaml->len = len;
	yaml->findings = findings;
	if (!yaml_parser_initialize(&yaml->parser)) {
		config_error(findings, 1, "out of memory");
		fail(yaml);
		return yaml;
	}
	yaml_parser_set_encoding(&yaml->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&yaml->parser, (const unsigned char *)text, len);
	return yaml;
}

const struct config_entry *config_yaml_next(struct config_yaml *yaml)
{
	if (yaml->place == BEFORE_MAPPING)
		read_start(yaml);
	while (yaml->place == IN_MAPPING) {
		yaml_event_type_t type = next_event(yaml);

		clear_entry(&yaml->entry);
		if (type == YAML_MAPPING_END_EVENT) {
			read_end(yaml);
		} else if (type == YAML_SCALAR_EVENT) {
			yaml->entry.key = take_text(yaml, false);
			read_value(yaml);
			return yaml->place == IN_MAPPING ? &yaml->entry : NULL;
		} else if (type != YAML_NO_EVENT) {
			if (type != YAML_ALIAS_EVENT)
				config_error(yaml->findings, event_line(yaml),
					     "expected a key, a plain text");
			skip_node(yaml);
			next_event(yaml);
			skip_node(yaml);
		}
	}
	return NULL;
}

bool config_yaml_is_complete(const struct config_yaml *yaml)
{
	return yaml->place == AT_END;
}

void config_yaml_close(struct config_yaml *yaml)
{
	clear_entry(&yaml->entry);
	yaml_event_delete(&yaml->event);
	yaml_parser_delete(&yaml->parser);
	free(yaml);
}
