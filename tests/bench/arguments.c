/*
 * Command lines, see arguments.h. Pure but for the end of the program.
 */
#include "tests/bench/arguments.h"

#include "tests/bench/fail.h"

#define BLANKS " \t\r\n"

void arguments_read(char *line, struct arguments *arguments)
{
	char *rest = NULL;

	*arguments = (struct arguments){.verb = strtok_r(line, BLANKS, &rest)};
	for (char *pair; (pair = strtok_r(NULL, BLANKS, &rest));) {
		char *equals = strchr(pair, '=');

		if (!equals || arguments->count == ARGUMENTS_MAX)
			fail("bad argument: %s", pair);
		*equals = '\0';
		arguments->pairs[arguments->count].key = pair;
		arguments->pairs[arguments->count++].value = equals + 1;
	}
}

const char *argument_text_or(const struct arguments *arguments, const char *key,
			     const char *otherwise)
{
	for (unsigned i = 0; i < arguments->count; i++)
		if (strcmp(arguments->pairs[i].key, key) == 0)
			return arguments->pairs[i].value;
	return otherwise;
}

const char *argument_text(const struct arguments *arguments, const char *key)
{
	const char *value = argument_text_or(arguments, key, NULL);

	if (!value)
		fail("%s needs %s=", arguments->verb, key);
	return value;
}

int64_t argument_number(const struct arguments *arguments, const char *key, int64_t otherwise)
{
	const char *text = argument_text_or(arguments, key, NULL);
	char *end;

	if (!text)
		return otherwise;
	long long number = strtoll(text, &end, 10);
	if (*text == '\0' || *end != '\0' || number < 0)
		fail("%s is not a number: %s", key, text);
	return number;
}
