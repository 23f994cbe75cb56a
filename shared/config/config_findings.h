/*
 * Inside the configuration: what was found wrong with a file, passed on to the callback of
 * config_load one by one, counted and bounded.
 */
#ifndef SHARED_CONFIG_FINDINGS_H
#define SHARED_CONFIG_FINDINGS_H

#include "shared/config/config.h"

struct config_findings {
	const char *file;
	config_report *report;
	void *context;
	size_t count;
	size_t errors;
};

__attribute__((format(printf, 3, 4))) void config_error(struct config_findings *findings,
							size_t line, const char *format, ...);

__attribute__((format(printf, 3, 4))) void config_warning(struct config_findings *findings,
							  size_t line, const char *format, ...);

/* True when no more are passed on: there is no sense in reading further. */
bool config_findings_full(const struct config_findings *findings);

#endif
