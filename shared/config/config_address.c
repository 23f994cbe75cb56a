/*
 * Addresses in the configuration, see config_address.h. No state; never blocks: names are not
 * looked up.
 */
#include "shared/config/config_address.h"

#include <arpa/inet.h>

#include "shared/base/alloc.h"
#include "shared/config/config_list.h"
#include "shared/base/unix_socket.h"

static bool parses_as(int family, const char *text)
{
	struct in6_addr address; /* the larger one */

	return inet_pton(family, text, &address) == 1;
}

bool config_is_address(const char *text)
{
	return parses_as(AF_INET, text) || parses_as(AF_INET6, text);
}

bool config_is_listen(const char *text)
{
	static const char prefix[] = "unix:";
	size_t prefix_len = sizeof(prefix) - 1;

	if (strncmp(text, prefix, prefix_len) != 0)
		return config_is_address(text);
	text += prefix_len;
	return text[0] == '/' && text[1] != '\0' && strlen(text) <= UNIX_SOCKET_PATH_MAX;
}

/* "0" to "128", no leading zero; -1 for anything else. */
static int read_prefix_len(const char *text)
{
	int bits = 0;

	if (*text == '\0' || (text[0] == '0' && text[1] != '\0'))
		return -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -1;
		bits = bits * 10 + (*text - '0');
		if (bits > 128)
			return -1;
	}
	return bits;
}

/* An address, or one with /bits behind it. `text` is changed. */
static bool is_block(char *text)
{
	char *slash = strchr(text, '/');
	bool good;

	if (!slash)
		return config_is_address(text);
	int bits = read_prefix_len(slash + 1);
	*slash = '\0';
	good = (bits >= 0 && bits <= 32 && parses_as(AF_INET, text)) ||
	       (bits >= 0 && parses_as(AF_INET6, text));
	*slash = '/';
	return good;
}

bool config_address_list_add(char **list, const char *text)
{
	bool good = true;

	if (text[strspn(text, " ")] == '\0')
		return true;
	while (text && good) {
		char *entry = config_list_next(&text);

		good = is_block(entry) && config_list_add(list, entry);
		free(entry);
	}
	return good;
}
