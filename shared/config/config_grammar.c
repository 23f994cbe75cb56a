/*
 * Grammar faults, see config_grammar.h. No state; never blocks. libyaml's own texts are constant
 * sentences that hold nothing of the file; here they get a line that exists, and a hint for the
 * mistakes that people make most.
 */
#include "shared/config/config_grammar.h"

/* The line of a byte, 1-based. */
static size_t line_at(const char *text, size_t len, size_t offset)
{
	size_t line = 1;

	for (size_t i = 0; i < offset && i < len; i++)
		line += text[i] == '\n';
	return line;
}

/* True when the white space that this line begins with has a tab. */
static bool is_tab_indented(const char *text, size_t len, size_t line)
{
	const char *at = text;
	const char *end = text + len;

	while (--line > 0) {
		at = memchr(at, '\n', (size_t)(end - at));
		if (!at)
			return false;
		at++;
	}
	while (at < end && *at == ' ')
		at++;
	return at < end && *at == '\t';
}

/* Where the grammar fails: at the end of a file libyaml names the line behind it. */
static size_t fault_line(const yaml_parser_t *parser, const char *text, size_t len)
{
	size_t line = parser->problem_mark.line + 1;
	size_t last = line_at(text, len, len > 0 ? len - 1 : 0);

	if (parser->error == YAML_READER_ERROR)
		return line_at(text, len, parser->problem_offset);
	return line < last ? line : last;
}

void config_report_grammar(struct config_findings *findings, const yaml_parser_t *parser,
			   const char *text, size_t len)
{
	const char *problem = parser->problem ? parser->problem : "out of memory";
	size_t line = fault_line(parser, text, len);
	size_t from = parser->context_mark.line + 1;

	if (parser->error == YAML_READER_ERROR || !parser->context)
		config_error(findings, line, "not YAML: %s", problem);
	else if (is_tab_indented(text, len, line))
		config_error(findings, line, "the line begins with a tab: YAML takes spaces");
	else if (from < line)
		config_error(findings, line, "not YAML: %s, %s from line %zu", problem,
			     parser->context, from);
	else if (parser->error == YAML_SCANNER_ERROR)
		config_error(findings, line,
			     "not YAML: %s (put a value with special characters in quotes)",
			     problem);
	else
		config_error(findings, line, "not YAML: %s, %s", problem, parser->context);
}
