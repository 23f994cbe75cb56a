/*
 * Values of the configuration, see config_internal.h: from a text to the field and back, and what
 * to say about a text that is not a value. No state; never blocks, except in printing: names are
 * not looked up. No message contains the text of a value, for it may be a secret that was written
 * after the wrong key.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <strings.h>

#include "shared/base/alloc.h"
#include "shared/base/escape.h"
#include "shared/base/slice.h"
#include "shared/base/state_dir.h"
#include "shared/base/unix_socket.h"
#include "shared/config/config_internal.h"
#include "shared/contract/client_address.h"
#include "shared/contract/duration.h"
#include "shared/contract/origin.h"
#include "shared/contract/redis_url.h"

void config_find(struct config_reading *reading, bool is_error, size_t line, const char *format,
		 ...)
{
	char message[320]; /* a longer one is cut */
	va_list args;

	reading->errors += is_error;
	if (reading->findings > CONFIG_MAX_FINDINGS)
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (reading->findings++ == CONFIG_MAX_FINDINGS) {
		reading->errors++;
		is_error = true;
		snprintf(message, sizeof(message), "more than %d findings: the rest is not shown",
			 CONFIG_MAX_FINDINGS);
	}
	if (reading->report)
		reading->report(reading->context, is_error, reading->file, line, message);
}

/* A decimal number must not have a leading zero, which means octal in YAML 1.1; an octal one must
 * have it, for 432 could be what a program made of 0660. */
static bool set_number(const struct config_key *key, const char *text, int64_t *field)
{
	bool is_octal = key->type == CONFIG_MODE;
	const char *digits = text + (!is_octal && (*text == '-' || *text == '+'));
	size_t len = strspn(digits, is_octal ? "01234567" : "0123456789");

	if (key->zero_word && strcmp(text, key->zero_word) == 0) {
		*field = 0;
		return true;
	}
	errno = 0;
	if (key->type == CONFIG_DURATION
		    ? !duration_parse(text, field)
		    : len == 0 || digits[len] != '\0' ||
			      (*digits == '0' ? !is_octal && len > 1 : is_octal))
		return false;
	if (key->type != CONFIG_DURATION)
		*field = strtoll(text, NULL, is_octal ? 8 : 10);
	return errno == 0 && *field >= key->min && *field <= key->max;
}

/* The index of the word, -1: it is none of them. */
static int index_of(const char *const *words, const char *text, bool in_any_case)
{
	for (int i = 0; words[i]; i++)
		if ((in_any_case ? strcasecmp(text, words[i]) : strcmp(text, words[i])) == 0)
			return i;
	return -1;
}

/* Adds what is between the commas of `text` to the list. Returns faults as `set` does. */
static const char *append(enum config_type type, const char *text, char **list)
{
	struct slice rest = slice_trim(slice_of(text));
	size_t len = strlen(*list), count = len > 0;
	char origin[ORIGIN_SIZE];

	if (rest.len == 0)
		return NULL;
	for (const char *at = *list; *at; at++)
		count += *at == ',';
	while (rest.at) {
		struct slice entry = slice_trim(slice_split(rest, ',', &rest));
		struct client_network network;
		const char *fault = client_network_parse(entry, &network) ? NULL : "";

		if (type == CONFIG_ORIGIN_LIST)
			fault = origin_pattern_fault(entry.at, entry.len, origin);
		if (fault || count++ == CONFIG_LIST_MAX)
			return fault ? fault : "";
		if (type == CONFIG_ORIGIN_LIST)
			entry = slice_of(origin);
		*list = xreallocarray(*list, len + entry.len + 2, 1);
		len += (size_t)snprintf(*list + len, entry.len + 2, "%s%.*s", len ? "," : "",
					(int)entry.len, entry.at);
	}
	return NULL;
}

/* What is wrong with a value that is a single text; NULL: nothing. */
static const char *text_fault(enum config_type type, const char *text)
{
	bool is_socket = strncmp(text, "unix:/", 6) == 0 && text[6];
	size_t len = strlen(text), characters = 0;
	struct client_address address;
	struct redis_url url;

	switch (type) {
	case CONFIG_SECRET: /* it travels in a header, whose value loses the spaces at its ends */
		for (size_t i = 0; i < len; i++)
			characters += (text[i] & 0xC0) != 0x80; /* the first byte of one */
		if (characters < CONFIG_MIN_SECRET_CHARACTERS)
			return "shorter than 32 characters";
		if (text[0] == ' ' || text[len - 1] == ' ')
			return "begins or ends with a space, which a header cannot carry";
		return NULL;
	case CONFIG_URL:
		return redis_url_fault(text, &url);
	case CONFIG_DIRECTORY:
		if (text[0] == '/' && len + strlen("/" WAKEUP_SOCKET_NAME) > UNIX_SOCKET_PATH_MAX)
			return "too long: with /" WAKEUP_SOCKET_NAME
			       " behind it the path of a socket may have 107 bytes";
		return text[0] == '/' ? NULL : "";
	case CONFIG_FILE:
		return text[0] == '/' && len < STATE_DIR_PATH_SIZE ? NULL : "";
	case CONFIG_NAME:
		return len <= CONFIG_NAME_MAX ? NULL : "";
	case CONFIG_LISTEN:
		if (is_socket)
			return len - strlen("unix:") <= UNIX_SOCKET_PATH_MAX ? NULL : "";
		return client_address_parse(text, len, &address) ? NULL : "";
	case CONFIG_ADDRESS:
		return client_address_parse(text, len, &address) ? NULL : "";
	default:
		return "";
	}
}

/* Sets the field and returns NULL; or what is wrong with the text, "" if config_expected says it.
 */
static const char *set(const struct config_key *key, const char *text, void *field)
{
	static const char *const booleans[] = {"false", "true", "no", "yes", "off", "on", NULL};
	const char *fault;
	int index;

	switch (key->type) {
	case CONFIG_INTEGER:
	case CONFIG_DURATION:
	case CONFIG_MODE:
		return set_number(key, text, field) ? NULL : "";
	case CONFIG_BOOLEAN:
		index = index_of(booleans, text, true);
		*(bool *)field = index % 2 == 1;
		return index >= 0 ? NULL : "";
	case CONFIG_CHOICE:
		index = index_of(key->choices, text, false);
		*(unsigned int *)field = (unsigned int)index;
		return index >= 0 ? NULL : "";
	case CONFIG_ADDRESS_LIST:
	case CONFIG_ORIGIN_LIST:
		return append(key->type, text, field);
	default:
		fault = text_fault(key->type, text);
		if (fault)
			return fault;
		free(*(char **)field);
		*(char **)field = xstrdup(text);
		return NULL;
	}
}

void config_set(struct config_reading *reading, const struct config_key *key, const char *name,
		const char *text, size_t len, size_t line)
{
	const char *fault = "must not hold control characters (a line end is one)";
	char expected[CONFIG_EXPECTED_SIZE];

	if (escape_is_plain(text, len)) /* so it holds no NUL either */
		fault = set(key, text, config_field(reading->config, key));
	config_expected(key, expected);
	if (fault)
		config_error(reading, line, "%s: %s", name, *fault ? fault : expected);
}

/* Writes a value that is not a text as it would be in the file. */
static void write_value(const struct config_key *key, const void *field,
			char out[DURATION_TEXT_SIZE])
{
	const int64_t *number = field;

	if (key->type == CONFIG_BOOLEAN)
		snprintf(out, DURATION_TEXT_SIZE, "%s", *(const bool *)field ? "true" : "false");
	else if (key->type == CONFIG_CHOICE)
		snprintf(out, DURATION_TEXT_SIZE, "%s", key->choices[*(const unsigned *)field]);
	else if (key->type == CONFIG_MODE)
		snprintf(out, DURATION_TEXT_SIZE, "\"%04" PRIo64 "\"", (uint64_t)*number);
	else if (key->zero_word && *number == 0)
		snprintf(out, DURATION_TEXT_SIZE, "%s", key->zero_word);
	else if (key->type == CONFIG_DURATION && *number % 1000 == 0)
		duration_format(*number / 1000, out);
	else if (key->type == CONFIG_DURATION)
		snprintf(out, DURATION_TEXT_SIZE, "%" PRId64 "ms", *number);
	else
		snprintf(out, DURATION_TEXT_SIZE, "%" PRId64, *number);
}

#define expect(out, ...) snprintf(out, CONFIG_EXPECTED_SIZE, "expected " __VA_ARGS__)

void config_expected(const struct config_key *key, char out[CONFIG_EXPECTED_SIZE])
{
	static const char *const texts[] = {
		[CONFIG_MODE] = "permission bits in octal with a leading 0, from 0000 to 0777",
		[CONFIG_BOOLEAN] = "true or false",
		[CONFIG_CHOICE] = "one of",
		[CONFIG_SECRET] = "at least 32 characters",
		[CONFIG_URL] = "redis://[user:password@]host[:port][/database], rediss://... for "
			       "TLS, or unix:/absolute/path",
		[CONFIG_DIRECTORY] = "an absolute path",
		[CONFIG_FILE] = "the absolute path of a file",
		[CONFIG_NAME] = "at most 64 bytes",
		[CONFIG_ADDRESS] = "an IPv4 or IPv6 address",
		[CONFIG_LISTEN] = "an IPv4 or IPv6 address, unix:/absolute/path (the path at most "
				  "107 bytes), or nothing for all interfaces",
		[CONFIG_ADDRESS_LIST] = "addresses and CIDR blocks such as 192.0.2.1 or "
					"2001:db8::/32, at most 1000",
		[CONFIG_ORIGIN_LIST] = "origins such as https://example.org, "
				       "https://*.example.org or http://localhost:8080, without a "
				       "path, at most 1000",
	};
	const char *or_zero = key->zero_word ? ", or " : "";
	const char *zero = key->zero_word ? key->zero_word : "";
	char min[DURATION_TEXT_SIZE], max[DURATION_TEXT_SIZE];

	write_value(key, &key->min, min);
	write_value(key, &key->max, max);
	if (key->type == CONFIG_INTEGER)
		expect(out, "a whole number from %s to %s%s%s", min, max, or_zero, zero);
	else if (key->type == CONFIG_DURATION && key->max == INT64_MAX)
		expect(out, "a duration such as 90s, 5m or 24h, at least %s%s%s", min, or_zero,
		       zero);
	else if (key->type == CONFIG_DURATION)
		expect(out, "a duration such as 500ms, from %s to %s", min, max);
	else
		expect(out, "%s", texts[key->type]);
	for (size_t i = 0; key->choices && key->choices[i]; i++) {
		size_t used = strlen(out);

		snprintf(out + used, CONFIG_EXPECTED_SIZE - used, "%s %s", i > 0 ? "," : "",
			 key->choices[i]);
	}
}

static void print_quoted(const char *text, FILE *out)
{
	const char *end = text + strlen(text);
	char shown[ESCAPE_MAX_BYTES];
	size_t shown_len;

	fputc('"', out);
	while (text < end) {
		text += escape_next(text, (size_t)(end - text), shown, &shown_len);
		fwrite(shown, 1, shown_len, out);
	}
	fputc('"', out);
}

void config_print(const struct config *config, FILE *out)
{
	fprintf(out, "# The configuration in use, from %s",
		config->has_file ? "" : "the environment; there is no file ");
	print_quoted(config->path, out);
	fputs("\n", out);
	for (const struct config_key *key = config_keys; key->name; key++) {
		const void *field = config_field(config, key);
		char value[DURATION_TEXT_SIZE];

		/* A URL may hold a password. */
		if ((key->type == CONFIG_SECRET || key->type == CONFIG_URL) &&
		    **(char *const *)field != '\0') {
			fprintf(out, "# %s: (hidden)", key->name);
		} else if (config_type_is_text(key->type)) {
			fprintf(out, "%s: ", key->name);
			print_quoted(*(char *const *)field, out);
		} else {
			write_value(key, field, value);
			fprintf(out, "%s: %s", key->name, value);
		}
		if (config_environment(key))
			fprintf(out, " # from %s", key->environment);
		fputs("\n", out);
	}
}
