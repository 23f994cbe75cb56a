/*
 * The configuration in words: what each key takes, and what is in use. No state; printing may block
 * on the file it is given, whose errors are the caller's to look at.
 */
#include "shared/config/config_key.h"

#include <inttypes.h>

#include "shared/contract/duration.h"
#include "shared/base/escape.h"

static void duration_text(int64_t ms, char out[DURATION_TEXT_SIZE])
{
	if (ms % 1000 == 0)
		duration_format(ms / 1000, out);
	else
		snprintf(out, DURATION_TEXT_SIZE, "%" PRId64 "ms", ms);
}

static void expected_duration(const struct config_key *key, char why[CONFIG_WHY_SIZE])
{
	char min[DURATION_TEXT_SIZE];
	char max[DURATION_TEXT_SIZE];

	duration_text(key->min, min);
	duration_text(key->max, max);
	if (key->max == INT64_MAX)
		snprintf(why, CONFIG_WHY_SIZE,
			 "expected a duration such as 90s, 5m or 24h, at least %s", min);
	else
		snprintf(why, CONFIG_WHY_SIZE, "expected a duration such as 500ms, from %s to %s",
			 min, max);
}

static void expected_choice(const struct config_key *key, char why[CONFIG_WHY_SIZE])
{
	int used = snprintf(why, CONFIG_WHY_SIZE, "expected one of");

	for (const char *const *choice = key->choices; *choice && used < CONFIG_WHY_SIZE; choice++)
		used += snprintf(why + used, (size_t)(CONFIG_WHY_SIZE - used), "%s %s",
				 choice == key->choices ? "" : ",", *choice);
}

static const char *expected_text(enum config_type type)
{
	switch (type) {
	case CONFIG_MODE:
		return "expected permission bits in octal with a leading 0, from 0000 to 0777";
	case CONFIG_BOOLEAN:
		return "expected true or false";
	case CONFIG_SECRET:
		return "expected at least 32 characters";
	case CONFIG_URL:
		return "expected a URL";
	case CONFIG_DIRECTORY:
		return "expected an absolute path";
	case CONFIG_ADDRESS:
		return "expected an IPv4 or IPv6 address";
	case CONFIG_LISTEN:
		return "expected an IPv4 or IPv6 address, unix:/absolute/path (the path at most "
		       "107 bytes), "
		       "or nothing for all interfaces";
	case CONFIG_ADDRESS_LIST:
		return "expected addresses and CIDR blocks such as 192.0.2.1 or 2001:db8::/32, at "
		       "most 1000";
	case CONFIG_ORIGIN_LIST:
		return "expected origins such as https://example.org or http://localhost:8080, "
		       "without a path, at most 1000";
	default:
		return "";
	}
}

void config_value_expected(const struct config_key *key, char why[CONFIG_WHY_SIZE])
{
	if (key->type == CONFIG_INTEGER)
		snprintf(why, CONFIG_WHY_SIZE,
			 "expected a whole number from %" PRId64 " to %" PRId64 "%s%s", key->min,
			 key->max, key->zero_word ? ", or " : "",
			 key->zero_word ? key->zero_word : "");
	else if (key->type == CONFIG_DURATION)
		expected_duration(key, why);
	else if (key->type == CONFIG_CHOICE)
		expected_choice(key, why);
	else
		snprintf(why, CONFIG_WHY_SIZE, "%s", expected_text(key->type));
}

static void print_quoted(const char *text, FILE *out)
{
	size_t len = strlen(text);

	fputc('"', out);
	while (len > 0) {
		char shown[ESCAPE_MAX_BYTES];
		size_t shown_len;
		size_t taken = escape_next(text, len, shown, &shown_len);

		fwrite(shown, 1, shown_len, out);
		text += taken;
		len -= taken;
	}
	fputc('"', out);
}

static void print_value(const struct config_key *key, const void *field, FILE *out)
{
	const int64_t *number = field;
	char duration[DURATION_TEXT_SIZE];

	switch (key->type) {
	case CONFIG_INTEGER:
		if (key->zero_word && *number == 0)
			fputs(key->zero_word, out);
		else
			fprintf(out, "%" PRId64, *number);
		break;
	case CONFIG_DURATION:
		duration_text(*number, duration);
		fputs(duration, out);
		break;
	case CONFIG_MODE:
		fprintf(out, "\"%04" PRIo64 "\"", (uint64_t)*number);
		break;
	case CONFIG_BOOLEAN:
		fputs(*(const bool *)field ? "true" : "false", out);
		break;
	case CONFIG_CHOICE:
		fputs(key->choices[*(const unsigned int *)field], out);
		break;
	default:
		print_quoted(*(char *const *)field, out);
	}
}

/* A URL may hold a password. */
static bool is_hidden(const struct config_key *key, const void *field)
{
	return (key->type == CONFIG_SECRET || key->type == CONFIG_URL) &&
	       **(char *const *)field != '\0';
}

static void print_help(const char *help, FILE *out)
{
	while (*help) {
		size_t len = strcspn(help, "\n");

		fprintf(out, "# %.*s\n", (int)len, help);
		help += len;
		if (*help == '\n')
			help++;
	}
}

void config_print(const struct config *config, FILE *out)
{
	fputs("# The configuration in use, from ", out);
	print_quoted(config->path, out);
	fputs("\n", out);
	for (const struct config_key *key = config_keys; key->name; key++) {
		const void *field = config_field_const(config, key);

		fputs("\n", out);
		print_help(key->help, out);
		if (is_hidden(key, field)) {
			fprintf(out, "# %s: (hidden)\n", key->name);
			continue;
		}
		fprintf(out, "%s: ", key->name);
		print_value(key, field, out);
		fputs("\n", out);
	}
}
