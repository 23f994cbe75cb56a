/*
 * Findings, see config_findings.h. No state of its own; never blocks but in the callback. The bound
 * keeps a file of a million unknown keys from filling a log.
 */
#include "shared/config/config_findings.h"

#include <stdarg.h>

/* A longer message is cut. */
enum { MESSAGE_SIZE = 320 };

__attribute__((format(printf, 4, 0))) static void
add(struct config_findings *findings, bool is_error, size_t line, const char *format, va_list args)
{
	char message[MESSAGE_SIZE];

	if (is_error)
		findings->errors++;
	if (findings->count > CONFIG_MAX_FINDINGS)
		return;
	if (findings->count == CONFIG_MAX_FINDINGS) {
		findings->errors++;
		is_error = true;
		snprintf(message, sizeof(message), "more than %d findings: the rest is not shown",
			 CONFIG_MAX_FINDINGS);
	} else {
		vsnprintf(message, sizeof(message), format, args);
	}
	findings->count++;
	findings->report(findings->context, is_error, findings->file, line, message);
}

void config_error(struct config_findings *findings, size_t line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(findings, true, line, format, args);
	va_end(args);
}

void config_warning(struct config_findings *findings, size_t line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add(findings, false, line, format, args);
	va_end(args);
}

bool config_findings_full(const struct config_findings *findings)
{
	return findings->count > CONFIG_MAX_FINDINGS;
}
