/*
 * Values of the configuration, see config_internal.h: from a text to the field and back, and what
 * to say about a text that is none. No state; never blocks, but for printing: names are not looked
 * up. No message holds the text of a value, for a secret may have got behind the wrong key.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <strings.h>

#include "shared/base/alloc.h"
#include "shared/base/escape.h"
#include "shared/base/slice.h"
#include "shared/base/unix_socket.h"
#include "shared/config/config_internal.h"
#include "shared/contract/duration.h"
#include "shared/contract/origin.h"

enum { MESSAGE_SIZE = 320, NUMBER_SIZE = 32 };
_Static_assert((int)NUMBER_SIZE >= (int)DURATION_TEXT_SIZE, "a duration fits");

void config_find(struct config_findings *findings, bool is_error, size_t line, const char *format,
		 ...)
{
	char message[MESSAGE_SIZE];
	va_list args;

	findings->errors += is_error;
	if (config_findings_full(findings))
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (findings->count++ == CONFIG_MAX_FINDINGS) {
		findings->errors++;
		is_error = true;
		snprintf(message, sizeof(message), "more than %d findings: the rest is not shown",
			 CONFIG_MAX_FINDINGS);
	}
	findings->report(findings->context, is_error, findings->file, line, message);
}

bool config_findings_full(const struct config_findings *findings)
{
	return findings->count > CONFIG_MAX_FINDINGS;
}

void *config_field(const struct config *config, const struct config_key *key)
{
	return (char *)config + key->offset;
}

/* Digits and nothing else, up to INT64_MAX. A decimal number has no leading zero, with which YAML
 * 1.1 reads octal; an octal one must have it, for 432 could be what a program made of 0660. */
static bool read_digits(const char *text, bool is_octal, int64_t *out)
{
	size_t len = strspn(text, is_octal ? "01234567" : "0123456789");

	if (len == 0 || text[len] != '\0' || (is_octal ? *text != '0' : *text == '0' && len > 1))
		return false;
	errno = 0;
	*out = strtoll(text, NULL, is_octal ? 8 : 10);
	return errno == 0;
}

static bool set_number(const struct config_key *key, const char *text, int64_t *field)
{
	bool is_signed = key->type == CONFIG_INTEGER && (*text == '-' || *text == '+');
	int64_t number = 0;

	if (key->zero_word && strcmp(text, key->zero_word) == 0) {
		*field = 0;
		return true;
	}
	if (key->type == CONFIG_DURATION
		    ? !duration_parse(text, &number)
		    : !read_digits(text + is_signed, key->type == CONFIG_MODE, &number))
		return false;
	if (is_signed && *text == '-')
		number = -number;
	if (number < key->min || number > key->max)
		return false;
	*field = number;
	return true;
}

static bool set_boolean(const char *text, bool *field)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*field = i % 2 == 1;
			return true;
		}
	}
	return false;
}

static bool set_choice(const struct config_key *key, const char *text, unsigned int *field)
{
	for (unsigned int i = 0; key->choices[i]; i++) {
		if (strcmp(text, key->choices[i]) == 0) {
			*field = i;
			return true;
		}
	}
	return false;
}

static bool parses_as(int family, const char *text)
{
	struct in6_addr address; /* the larger one */

	return inet_pton(family, text, &address) == 1;
}

static bool is_address(const char *text)
{
	return parses_as(AF_INET, text) || parses_as(AF_INET6, text);
}

/* An address, or one with /bits behind it. */
static bool is_block(struct slice text)
{
	char address[INET6_ADDRSTRLEN + sizeof("/128")];
	int64_t bits = 0;
	char *slash;

	if (text.len >= sizeof(address))
		return false;
	memcpy(address, text.at, text.len);
	address[text.len] = '\0';
	slash = strchr(address, '/');
	if (!slash)
		return is_address(address);
	*slash = '\0';
	return read_digits(slash + 1, false, &bits) &&
	       ((bits <= 32 && parses_as(AF_INET, address)) ||
		(bits <= 128 && parses_as(AF_INET6, address)));
}

/* Adds what stands between the commas of `text` to the list. */
static bool append(enum config_type type, const char *text, char **list)
{
	struct slice rest = slice_trim((struct slice){text, strlen(text)});
	size_t len = strlen(*list), count = len > 0;
	char origin[ORIGIN_SIZE];

	if (rest.len == 0)
		return true;
	for (const char *at = *list; *at; at++)
		count += *at == ',';
	while (rest.at) {
		struct slice entry = slice_trim(slice_split(rest, ',', &rest));

		if (type == CONFIG_ORIGIN_LIST && origin_normalise(entry.at, entry.len, origin))
			entry = (struct slice){origin, strlen(origin)};
		else if (type == CONFIG_ORIGIN_LIST || !is_block(entry))
			return false;
		if (count++ == CONFIG_LIST_MAX)
			return false;
		*list = xreallocarray(*list, len + entry.len + 2, 1);
		len += (size_t)snprintf(*list + len, entry.len + 2, "%s%.*s", len ? "," : "",
					(int)entry.len, entry.at);
	}
	return true;
}

/* A secret travels in a header, whose value loses the spaces at its ends. */
static const char *secret_fault(const char *text)
{
	size_t len = strlen(text), characters = 0;

	for (size_t i = 0; i < len; i++)
		characters += (text[i] & 0xC0) != 0x80; /* the first byte of one */
	if (characters < CONFIG_MIN_SECRET_CHARACTERS)
		return "shorter than 32 characters";
	return text[0] == ' ' || text[len - 1] == ' '
		       ? "begins or ends with a space, which a header cannot carry"
		       : NULL;
}

static const char *directory_fault(const char *text)
{
	if (text[0] != '/')
		return "";
	return strlen(text) + strlen("/" WAKEUP_SOCKET_NAME) > UNIX_SOCKET_PATH_MAX
		       ? "too long: with /" WAKEUP_SOCKET_NAME
			 " behind it the path of a socket may have 107 bytes"
		       : NULL;
}

static bool is_listen(const char *text)
{
	size_t path_len = strncmp(text, "unix:/", 6) == 0 ? strlen(text) - 5 : 0;

	return path_len > 1 ? path_len <= UNIX_SOCKET_PATH_MAX : is_address(text);
}

static const char *set_text(enum config_type type, const char *text, char **field)
{
	const char *fault = NULL;

	if (type == CONFIG_SECRET)
		fault = secret_fault(text);
	else if (type == CONFIG_DIRECTORY)
		fault = directory_fault(text);
	else if (type == CONFIG_ADDRESS)
		fault = is_address(text) ? NULL : "";
	else if (type == CONFIG_LISTEN)
		fault = is_listen(text) ? NULL : "";
	if (fault)
		return fault;
	free(*field);
	*field = xstrdup(text);
	return NULL;
}

/* The fault, NULL when it is set; "" when config_expected says it. */
static const char *set(const struct config_key *key, const char *text, void *field)
{
	switch (key->type) {
	case CONFIG_INTEGER:
	case CONFIG_DURATION:
	case CONFIG_MODE:
		return set_number(key, text, field) ? NULL : "";
	case CONFIG_BOOLEAN:
		return set_boolean(text, field) ? NULL : "";
	case CONFIG_CHOICE:
		return set_choice(key, text, field) ? NULL : "";
	case CONFIG_ADDRESS_LIST:
	case CONFIG_ORIGIN_LIST:
		return append(key->type, text, field) ? NULL : "";
	default:
		return set_text(key->type, text, field);
	}
}

void config_set_default(struct config *config, const struct config_key *key)
{
	void *field = config_field(config, key);

	if (config_type_is_text(key->type))
		*(char **)field = xstrdup("");
	if (key->default_text && *key->default_text && set(key, key->default_text, field))
		abort(); /* a mistake in the table */
}

void config_set(struct config *config, const struct config_key *key, const char *name,
		const char *text, size_t len, size_t line, struct config_findings *findings)
{
	const char *fault = "must not hold control characters (a line end is one)";
	char expected[CONFIG_EXPECTED_SIZE];

	if (escape_is_plain(text, len)) /* so it holds no NUL either */
		fault = set(key, text, config_field(config, key));
	config_expected(key, expected);
	if (fault)
		config_error(findings, line, "%s: %s", name, *fault ? fault : expected);
	else if (key->type == CONFIG_URL)
		config_warning(findings, line,
			       "%s: clusters are not supported by this version; the key is ignored",
			       name);
}

/* As it is written in the file. */
static void number_text(const struct config_key *key, int64_t number, char out[NUMBER_SIZE])
{
	if (key->zero_word && number == 0)
		snprintf(out, NUMBER_SIZE, "%s", key->zero_word);
	else if (key->type == CONFIG_MODE)
		snprintf(out, NUMBER_SIZE, "\"%04" PRIo64 "\"", (uint64_t)number);
	else if (key->type == CONFIG_DURATION && number % 1000 == 0)
		duration_format(number / 1000, out);
	else
		snprintf(out, NUMBER_SIZE, "%" PRId64 "%s", number,
			 key->type == CONFIG_DURATION ? "ms" : "");
}

static void expected_choice(const struct config_key *key, char out[CONFIG_EXPECTED_SIZE])
{
	int used = snprintf(out, CONFIG_EXPECTED_SIZE, "expected one of");

	for (const char *const *choice = key->choices; *choice && used < CONFIG_EXPECTED_SIZE;
	     choice++)
		used += snprintf(out + used, (size_t)(CONFIG_EXPECTED_SIZE - used), "%s %s",
				 choice == key->choices ? "" : ",", *choice);
}

void config_expected(const struct config_key *key, char out[CONFIG_EXPECTED_SIZE])
{
	static const char *const texts[] = {
		[CONFIG_MODE] =
			"expected permission bits in octal with a leading 0, from 0000 to 0777",
		[CONFIG_BOOLEAN] = "expected true or false",
		[CONFIG_SECRET] = "expected at least 32 characters",
		[CONFIG_URL] = "expected a URL",
		[CONFIG_DIRECTORY] = "expected an absolute path",
		[CONFIG_ADDRESS] = "expected an IPv4 or IPv6 address",
		[CONFIG_LISTEN] = "expected an IPv4 or IPv6 address, unix:/absolute/path (the path "
				  "at most 107 bytes), or nothing for all interfaces",
		[CONFIG_ADDRESS_LIST] = "expected addresses and CIDR blocks such as 192.0.2.1 or "
					"2001:db8::/32, at most 1000",
		[CONFIG_ORIGIN_LIST] = "expected origins such as https://example.org or "
				       "http://localhost:8080, without a path, at most 1000",
	};
	char min[NUMBER_SIZE], max[NUMBER_SIZE];

	number_text(key, key->min, min);
	number_text(key, key->max, max);
	if (key->type == CONFIG_INTEGER)
		snprintf(out, CONFIG_EXPECTED_SIZE, "expected a whole number from %s to %s%s%s",
			 min, max, key->zero_word ? ", or " : "",
			 key->zero_word ? key->zero_word : "");
	else if (key->type == CONFIG_DURATION && key->max == INT64_MAX)
		snprintf(out, CONFIG_EXPECTED_SIZE,
			 "expected a duration such as 90s, 5m or 24h, at least %s", min);
	else if (key->type == CONFIG_DURATION)
		snprintf(out, CONFIG_EXPECTED_SIZE,
			 "expected a duration such as 500ms, from %s to %s", min, max);
	else if (key->type == CONFIG_CHOICE)
		expected_choice(key, out);
	else
		snprintf(out, CONFIG_EXPECTED_SIZE, "%s", texts[key->type]);
}

void config_print_quoted(const char *text, FILE *out)
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

void config_print_value(const struct config *config, const struct config_key *key, FILE *out)
{
	const void *field = config_field(config, key);
	char number[NUMBER_SIZE];

	if (config_type_is_text(key->type)) {
		config_print_quoted(*(char *const *)field, out);
	} else if (key->type == CONFIG_BOOLEAN) {
		fputs(*(const bool *)field ? "true" : "false", out);
	} else if (key->type == CONFIG_CHOICE) {
		fputs(key->choices[*(const unsigned int *)field], out);
	} else {
		number_text(key, *(const int64_t *)field, number);
		fputs(number, out);
	}
}
