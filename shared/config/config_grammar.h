/*
 * Inside the configuration: what to say when libyaml cannot read on.
 */
#ifndef SHARED_CONFIG_GRAMMAR_H
#define SHARED_CONFIG_GRAMMAR_H

#include <yaml.h>

#include "shared/config/config_findings.h"

/* Reports the fault that `parser` has stopped at. `text` is all that it was given. */
void config_report_grammar(struct config_findings *findings, const yaml_parser_t *parser,
			   const char *text, size_t len);

#endif
