/*
 * Values of the configuration, see config_key.h: from the text in the file to the field. No state;
 * never blocks. Called by config.c for the defaults and for what stands in the file.
 *
 * No message holds the text of a value: a secret may have got behind the wrong key.
 */
#include "shared/config/config_key.h"

#include <errno.h>
#include <strings.h>

#include "shared/base/alloc.h"
#include "shared/config/config_address.h"
#include "shared/contract/duration.h"
#include "shared/base/escape.h"
#include "shared/contract/origin.h"
#include "shared/base/unix_socket.h"
#include "shared/base/utf8.h"

/* A choice is stored through an unsigned int, whatever its enum. */
_Static_assert(sizeof(enum config_durability) == sizeof(unsigned int), "an enum is an int");
_Static_assert(sizeof(enum config_token_expiry) == sizeof(unsigned int), "an enum is an int");
_Static_assert(sizeof(enum log_level) == sizeof(unsigned int), "an enum is an int");

bool config_type_is_text(enum config_type type)
{
	return type >= CONFIG_SECRET;
}

size_t config_type_size(enum config_type type)
{
	switch (type) {
	case CONFIG_INTEGER:
	case CONFIG_DURATION:
	case CONFIG_MODE:
		return sizeof(int64_t);
	case CONFIG_BOOLEAN:
		return sizeof(bool);
	case CONFIG_CHOICE:
		return sizeof(unsigned int);
	default:
		return sizeof(char *);
	}
}

bool config_type_is_list(enum config_type type)
{
	return type >= CONFIG_ADDRESS_LIST;
}

void *config_field(struct config *config, const struct config_key *key)
{
	return (char *)config + key->offset;
}

const void *config_field_const(const struct config *config, const struct config_key *key)
{
	return (const char *)config + key->offset;
}

/* Digits of `base` and nothing else, up to INT64_MAX. */
static bool read_digits(const char *text, int base, int64_t *out)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*out = strtoll(text, &end, base);
	return errno == 0 && *end == '\0';
}

/* Decimal. With a leading zero YAML 1.1 would read octal and others would not: refused. */
static bool read_integer(const char *text, int64_t *out)
{
	bool negative = *text == '-';

	if (*text == '-' || *text == '+')
		text++;
	if ((text[0] == '0' && text[1] != '\0') || !read_digits(text, 10, out))
		return false;
	if (negative)
		*out = -*out;
	return true;
}

/* Octal as chmod takes it, but with the leading 0: 432 could be the number that YAML 1.1 reads from
 * 0660, written out by a program. */
static bool read_mode(const char *text, int64_t *out)
{
	return text[0] == '0' && text[1] != 'x' && read_digits(text, 8, out);
}

static bool read_boolean(const char *text, bool *out)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcasecmp(text, words[i]) == 0) {
			*out = i % 2 == 1;
			return true;
		}
	}
	return false;
}

static bool read_choice(const struct config_key *key, const char *text, unsigned int *out)
{
	for (unsigned int i = 0; key->choices[i]; i++) {
		if (strcmp(text, key->choices[i]) == 0) {
			*out = i;
			return true;
		}
	}
	return false;
}

static bool set_number(const struct config_key *key, const char *text, int64_t *field)
{
	int64_t number;
	bool is_number;

	if (key->zero_word && strcmp(text, key->zero_word) == 0) {
		*field = 0;
		return true;
	}
	if (key->type == CONFIG_DURATION)
		is_number = duration_parse(text, &number);
	else if (key->type == CONFIG_MODE)
		is_number = read_mode(text, &number);
	else
		is_number = read_integer(text, &number);
	if (!is_number || number < key->min || number > key->max)
		return false;
	*field = number;
	return true;
}

static size_t count_characters(const char *text)
{
	size_t len = strlen(text);
	size_t count = 0;

	for (size_t at = 0; at < len; count++) {
		size_t step = utf8_char_len(text + at, len - at);

		at += step ? step : 1;
	}
	return count;
}

/* The fault of a secret, or NULL. It travels in a header, whose value loses spaces at its ends. */
static const char *secret_fault(const char *text)
{
	size_t len = strlen(text);

	if (count_characters(text) < CONFIG_MIN_SECRET_CHARACTERS)
		return "shorter than 32 characters";
	if (text[0] == ' ' || text[len - 1] == ' ')
		return "begins or ends with a space, which a header cannot carry";
	return NULL;
}

static const char *directory_fault(const char *text)
{
	if (text[0] != '/')
		return "expected an absolute path";
	if (strlen(text) + strlen("/" WAKEUP_SOCKET_NAME) > UNIX_SOCKET_PATH_MAX)
		return "too long: with /" WAKEUP_SOCKET_NAME
		       " behind it the path of a socket may have "
		       "107 bytes";
	return NULL;
}

/* The fault of a text, NULL when it is good; "" when config_value_expected says it. */
static const char *text_fault(enum config_type type, const char *text)
{
	switch (type) {
	case CONFIG_SECRET:
		return secret_fault(text);
	case CONFIG_DIRECTORY:
		return directory_fault(text);
	case CONFIG_ADDRESS:
		return config_is_address(text) ? NULL : "";
	case CONFIG_LISTEN:
		return config_is_listen(text) ? NULL : "";
	default:
		return NULL;
	}
}

static void replace(char **field, char *text)
{
	free(*field);
	*field = text;
}

static const char *set_text(const struct config_key *key, const char *text, char **field)
{
	bool is_optional = key->default_text && *key->default_text == '\0';
	const char *fault = NULL;

	if (key->type == CONFIG_ADDRESS_LIST)
		return config_address_list_add(field, text) ? NULL : "";
	if (key->type == CONFIG_ORIGIN_LIST)
		return origin_list_add(field, text) ? NULL : "";
	if (*text || !is_optional)
		fault = text_fault(key->type, text);
	if (!fault)
		replace(field, xstrdup(text));
	return fault;
}

/* NULL when it is set. */
static const char *set(struct config *config, const struct config_key *key, const char *text)
{
	void *field = config_field(config, key);

	switch (key->type) {
	case CONFIG_INTEGER:
	case CONFIG_DURATION:
	case CONFIG_MODE:
		return set_number(key, text, field) ? NULL : "";
	case CONFIG_BOOLEAN:
		return read_boolean(text, field) ? NULL : "";
	case CONFIG_CHOICE:
		return read_choice(key, text, field) ? NULL : "";
	default:
		return set_text(key, text, field);
	}
}

bool config_value_set(struct config *config, const struct config_key *key, const char *text,
		      size_t len, char why[CONFIG_WHY_SIZE])
{
	const char *fault = "must not hold control characters (a line end is one)";

	if (escape_is_plain(text, len)) /* so it holds no NUL either */
		fault = set(config, key, text);
	if (!fault)
		return true;
	if (*fault)
		snprintf(why, CONFIG_WHY_SIZE, "%s", fault);
	else
		config_value_expected(key, why);
	return false;
}
